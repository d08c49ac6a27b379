"""Athena: `api` answers requests, `dialect` reads SQL, `engine` runs it on DuckDB."""
