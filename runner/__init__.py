"""pmrun: a declarative execution runner for Polymarket's order book."""
