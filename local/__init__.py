"""Runs the stack locally: `python -m local --help`."""
