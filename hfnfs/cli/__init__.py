"""The command line: only words and exit codes."""
