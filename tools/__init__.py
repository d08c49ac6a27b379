"""Generators of the documentation."""
