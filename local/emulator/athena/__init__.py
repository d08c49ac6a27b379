"""Athena: `api` serves requests, `statements` parses SQL, `engine` runs it on DuckDB."""
