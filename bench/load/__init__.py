"""Clients that cost little: what they do is the work that is measured elsewhere."""
