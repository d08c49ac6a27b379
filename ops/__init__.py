"""Operator and caller tools for a deployed stack, on AWS or local: `python -m ops --help`."""
