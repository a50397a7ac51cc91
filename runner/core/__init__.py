"""The pure core: everything that decides, and nothing that touches the world."""
