"""Secrets of a whole test run, searched for in everything that leaves the functions.

Secrets are the task tokens, statements, literals and parameters that the executor received
(local/emulator/recording.py).
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

FILE = "record.jsonl"
# Shorter ones may be part of a name by chance.
_SHORTEST = 8


def read(file: Path) -> list[tuple[str, str]]:
    """Kind and text of each record."""
    return [(kind, text) for kind, text in map(json.loads, file.read_text().splitlines())]


def find_exposures(records: Iterable[tuple[str, str]]) -> list[str]:
    """Where a secret was found. The message does not contain the secret."""
    written, secrets = [], set()
    for kind, text in records:
        if kind == "secret":
            literals = re.findall(r"'([^']*)'", text)
            secrets |= {one for one in (text, *literals) if len(one) >= _SHORTEST}
        else:
            written.append((kind, text))
    return [
        f"a secret of {len(secret)} characters is in: {kind} {text.replace(secret, '[secret]')[:300]}"
        for kind, text in written
        for secret in secrets
        if secret in text or json.dumps(secret)[1:-1] in text
    ]
