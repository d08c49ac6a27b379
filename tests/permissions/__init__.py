"""Why each statement of each role is there: what fails without it, on the local stack.

`statements` has a row for each statement, `operations` what needs them, `policies` takes a statement from a
deployed role. `python -m tests.permissions --record` tries every row and keeps the results, which
docs/permissions.md shows.
"""
