"""Benchmarks: each measures the project and an alternative in one run, and checks a goal.

`python -m benchmarks NAME` prints a table, writes benchmarks/results/NAME.json, and exits 1 if the goal is
missed.
"""
