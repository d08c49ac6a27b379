"""Handlers with boto3 alone, which make the same AWS calls as the functions."""
