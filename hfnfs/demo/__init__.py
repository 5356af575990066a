"""The product, shown on a Hub of its own: no token, no internet."""
