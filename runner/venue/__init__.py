"""Polymarket's API in our words: the only package that knows the wire format."""
