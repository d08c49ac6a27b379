"""The same stack on one machine: `python -m local --help`."""
