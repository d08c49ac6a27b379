"""Stands in for AWS on one machine: MiniStack, and what it lacks. One module per AWS service.

Imports nothing else of the project.
"""
