"""Accepted findings of cdk-nag and checkov, each on one construct and with its reason."""

from typing import cast

from aws_cdk import Acknowledgment, CfnResource, Validations
from constructs import IConstruct

_CHECKOV = "CKV_"


def acknowledge(construct: IConstruct, reason: str, *rules: str) -> None:
    """Accept the rules' findings. checkov (CKV_…) reads its own in the template."""
    nag = [rule for rule in rules if not rule.startswith(_CHECKOV)]
    if nag:
        Validations.of(construct).acknowledge(*(Acknowledgment(id=rule, reason=reason) for rule in nag))
    skips = [{"id": rule, "comment": reason} for rule in rules if rule.startswith(_CHECKOV)]
    if skips:
        resource = cast("CfnResource", construct.node.default_child)
        earlier = (resource.get_metadata("checkov") or {}).get("skip", [])
        resource.add_metadata("checkov", {"skip": [*earlier, *skips]})


def compliance(rule: str) -> tuple[str, str]:
    """The rule in the packs that share it, NIST 800-53 and HIPAA."""
    return f"NIST.800.53.R5-{rule}", f"HIPAA.Security-{rule}"
