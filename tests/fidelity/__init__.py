"""Recordings of AWS's answers, and their comparison with those of the local stack.

`python -m ops verify --record tests/fidelity/aws` against an account makes the recordings;
tests/end_to_end/test_verify.py compares. There are none of AWS yet: tests/fidelity/local holds answers of the
local stack itself, which show that the comparison works, and nothing about AWS.
"""
