"""Errors for people: where, what value, which rule, what to do next.

Readers and checkers collect every `Problem` of a file and raise once. Every exception class here takes
one `str`, because SimPy re-creates an uncaught exception from its arguments.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


class KubedesError(Exception):
    """Base class: something the user can mend; the command line prints it without a traceback, exit code 2."""


class InputError(KubedesError):
    """A scenario, manifest, configuration or trace that cannot be used. The text lists all its problems."""


class OutputError(KubedesError):
    """Results that cannot be written: no room, no permission. Nothing half-written is left behind."""


class StuckError(KubedesError):
    """A run that cannot progress; the text says what is stuck where."""


class InvariantError(KubedesError):
    """A conservation law that does not hold at the end of a run: a defect of the simulator, never of the input."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input."""

    path: str
    """Where: `nodes.pools[0].count`, or `file.csv:12:4` for tables."""
    value: object
    """What stands there."""
    rule: str
    """What it breaks, as a sentence fragment: `must be at least 1`."""
    hint: str = ""
    """What to do next, for example a near miss: `did you mean 'flannel-vxlan'?`."""

    def __str__(self) -> str:
        shown = repr(self.value)
        if len(shown) > 80:
            shown = shown[:77] + "..."
        text = f"{self.path}: {shown} {self.rule}"
        return f"{text}; {self.hint}" if self.hint else text


class Problems:
    """Collects problems while an input is read, and raises them all at once."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.found: list[Problem] = []

    def add(self, path: str, value: object, rule: str, hint: str = "") -> None:
        self.found.append(Problem(path, value, rule, hint))

    def __bool__(self) -> bool:
        return bool(self.found)

    def raise_if_any(self) -> None:
        """Raise `InputError` with one line a problem, if there are any."""
        if self.found:
            count = len(self.found)
            head = f"{self.subject}: {count} problem{'s' if count > 1 else ''}"
            raise InputError("\n".join([head, *(f"  {problem}" for problem in self.found)]))


def near_miss(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known name, or all of them when none is close."""
    names = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in names}
    close = difflib.get_close_matches(str(name).casefold(), folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{folded[close[0]]}'?"
    return "known: " + ", ".join(names) if names else "none is known"
