"""Local files: the cache directory and what lies in it; knows no node."""
