"""The graph of a document's states."""

from collections.abc import Iterator, Mapping
from typing import Any


def next_states(state: Any) -> Iterator[str]:
    """Every state that may come next."""
    for part in (state, *state.get("Choices", []), *state.get("Catch", [])):
        if "Next" in part:
            yield part["Next"]
    if "Default" in state:
        yield state["Default"]


def reached_from(states: Mapping[str, Any], name: str) -> set[str]:
    """The states that may be entered after this one; with it if it ends the execution."""
    found: set[str] = {name} if states[name]["Type"] == "Succeed" else set()
    ahead = [name]
    while ahead:
        for following in next_states(states[ahead.pop()]):
            if following not in found:
                found.add(following)
                ahead.append(following)
    return found
