"""Accepted findings of cdk-nag, each on one construct and with its reason."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, reason: str, *rules: str) -> None:
    Validations.of(construct).acknowledge(*(Acknowledgment(id=rule, reason=reason) for rule in rules))


def compliance(rule: str) -> tuple[str, str]:
    """The rule in the packs that share it, NIST 800-53 and HIPAA."""
    return f"NIST.800.53.R5-{rule}", f"HIPAA.Security-{rule}"
