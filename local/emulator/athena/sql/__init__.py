"""Athena's queries as DuckDB runs them.

`dialect` parses. `queries` and `expressions` determine types and generate DuckDB's SQL. `functions` defines
the supported functions. Anything else, and anything whose result would differ from Athena's, is refused.
"""
