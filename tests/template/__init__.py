"""Tests of the synthesized template."""

# Before any test imports aws_cdk: it chooses the Node that aws_cdk runs on.
import infra  # noqa: F401
