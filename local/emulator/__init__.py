"""Stands in for AWS locally: MiniStack plus what it lacks. One module per AWS service.

Imports nothing else from the project.
"""
