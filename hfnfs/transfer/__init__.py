"""All that waits: where memory and the far side meet."""
