"""The documents of the state machines: written in YAML with anchors, deployed as JSON."""

import json
from pathlib import Path

import yaml

_DOCUMENTS = Path(__file__).parents[1] / "statemachine"
SOURCE = _DOCUMENTS / "athena_query.asl.yaml"
BATCH_SOURCE = _DOCUMENTS / "athena_batch.asl.yaml"


def render_document(source: Path = SOURCE) -> str:
    """The document as JSON with its `${...}` substitutions: anchors resolved, comments removed."""
    return json.dumps(yaml.safe_load(source.read_text()), indent=2, ensure_ascii=False)
