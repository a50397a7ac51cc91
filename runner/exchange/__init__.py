"""The embedded exchange: a server that speaks Polymarket's API and knows nothing of plans.

It stands alone: it imports nothing of the rest of the program, not even its arithmetic, and
nothing of the official client (shared code would hide bugs on either side).
"""
