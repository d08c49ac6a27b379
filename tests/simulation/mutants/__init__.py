"""Known-bad variants of the functions, the document and the stack: the simulation must catch each.

A mutant shows that the checks can fail. Each is one small change, and most are bugs of real designs, or were
found here. The modules register theirs when they are imported (registry.py).
"""

from tests.simulation.mutants import documents, ending, outcomes, rendezvous, reports, starting
from tests.simulation.mutants.registry import MUTANTS, Mutant, applied

__all__ = [
    "MUTANTS",
    "Mutant",
    "applied",
    "documents",
    "ending",
    "outcomes",
    "rendezvous",
    "reports",
    "starting",
]
