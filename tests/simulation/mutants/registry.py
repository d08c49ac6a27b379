"""How mutants are described, registered and applied."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from tests.simulation.deployment import EditDocument
from tests.simulation.world import Variant


class Patches(ExitStack):
    """Changes of the functions' code, which last as long as the context does."""

    def replace(self, target: Any, name: str, new: Any) -> None:
        self.enter_context(patch.object(target, name, new))


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`caught_by` names the check that it was made for; others may catch it too.

    `scenario` is the one that meets its condition often. `patch` changes the functions' code while it is
    applied, `variant` the document and the stack.
    """

    about: str
    caught_by: str
    scenario: str
    patch: Callable[[Patches], None] | None = None
    variant: Variant = Variant()  # noqa: RUF009 — immutable


MUTANTS: dict[str, Mutant] = {}


def code(
    name: str, about: str, *, caught_by: str, scenario: str = "mixed"
) -> Callable[[Callable[[Patches], None]], None]:
    """Register the decorated function, which patches the functions' code."""

    def register(change: Callable[[Patches], None]) -> None:
        _register(name, Mutant(about=about, caught_by=caught_by, scenario=scenario, patch=change))

    return register


def document(
    name: str, about: str, *, caught_by: str, scenario: str = "mixed"
) -> Callable[[EditDocument], None]:
    """Register the decorated function, which edits the state machine's document."""

    def register(edit: EditDocument) -> None:
        variant = Variant(edit_document=edit)
        _register(name, Mutant(about=about, caught_by=caught_by, scenario=scenario, variant=variant))

    return register


def stack(name: str, about: str, variant: Variant, *, caught_by: str, scenario: str = "mixed") -> None:
    """Register a change of the stack around the functions."""
    _register(name, Mutant(about=about, caught_by=caught_by, scenario=scenario, variant=variant))


def _register(name: str, mutant: Mutant) -> None:
    assert name not in MUTANTS, name
    MUTANTS[name] = mutant


@contextmanager
def applied(name: str | None) -> Iterator[Variant]:
    """Apply a mutant, or none, while the context lasts."""
    with Patches() as patches:
        if name is None:
            yield Variant()
            return
        mutant = MUTANTS[name]
        if mutant.patch is not None:
            mutant.patch(patches)
        yield mutant.variant
