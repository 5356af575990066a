"""Builds everything of one mount from its MountConfig, starts it, and ends it in order."""
