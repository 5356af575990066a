"""A Hub of one's own on loopback, over the real wire."""
