"""The command `verify`: tries the documented claims about AWS against a deployed stack.

`claims` holds the checks, `session` what they work with, `report` how results are shown, `recording` keeps
AWS's answers. Add a claim by a function in `claims`, and its row in docs/fidelity.md.
"""
