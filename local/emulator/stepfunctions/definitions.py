"""What AWS refuses of a Distributed Map when a state machine is created or changed, and MiniStack accepts."""

import json
from collections.abc import Iterator
from typing import Any

from ministack.services import stepfunctions as ministack

# Step Functions developer guide, "Using Map state in Distributed mode", the field Label.
_LABEL_CHARACTERS = 40
_NOT_IN_LABELS = frozenset('?*<>{}[]:;,\\|^~$#%&`"')
_NOT_EXPRESS = (".sync", ".waitForTaskToken")

_ministack_validate = ministack._validate_definition_jsonata


def install() -> None:
    ministack._validate_definition_jsonata = _validate


def _validate(text: Any) -> str | None:
    """Why the definition is refused; None if it is accepted."""
    refusal: str | None = _ministack_validate(text)
    if refusal is None and isinstance(text, str):
        try:
            definition = json.loads(text)
        except ValueError:
            return None  # refused by another check
        refusal = next(_refusals(definition, ""), None)
    return refusal


def _refusals(node: Any, path: str) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("Type") == "Map":
            yield from (f"SCHEMA_VALIDATION_FAILED: {reason} at {path}" for reason in _reasons(node))
        for name, value in node.items():
            yield from _refusals(value, f"{path}/{name}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _refusals(value, f"{path}[{index}]")


def _reasons(state: dict[str, Any]) -> Iterator[str]:
    processor = state.get("ItemProcessor") or {}
    config = processor.get("ProcessorConfig") or {}
    if config.get("Mode") != "DISTRIBUTED":
        return
    kind, label = config.get("ExecutionType"), str(state.get("Label", ""))
    if kind not in {"STANDARD", "EXPRESS"}:
        yield "ExecutionType must be STANDARD or EXPRESS where Mode is DISTRIBUTED"
    if kind == "EXPRESS" and any(pattern in json.dumps(processor) for pattern in _NOT_EXPRESS):
        yield f"an Express workflow has no integration of the patterns {' and '.join(_NOT_EXPRESS)}"
    if len(label) > _LABEL_CHARACTERS:
        yield f"Label is longer than {_LABEL_CHARACTERS} characters"
    if any(character.isspace() or character in _NOT_IN_LABELS for character in label):
        yield "Label contains a character that is not allowed"
