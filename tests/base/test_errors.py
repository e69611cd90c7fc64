"""Errors for people: where, what, which rule, what next; all at once."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError, InvariantError, KubedesError, OutputError, Problem, Problems, near_miss


def test_a_problem_reads_as_a_sentence():
    assert str(Problem("nodes.count", -1, "must be at least 1")) == "nodes.count: -1 must be at least 1"
    assert str(Problem("a.csv:12:4", "x", "is no number", "write 1")) == "a.csv:12:4: 'x' is no number; write 1"


def test_long_values_are_cut():
    text = str(Problem("field", "x" * 500, "is too long"))
    assert text.endswith("... is too long")
    assert len(text) < 110


def test_all_problems_are_told_at_once():
    problems = Problems("file.yaml")
    problems.raise_if_any()
    assert not problems
    problems.add("a", 1, "is wrong")
    assert problems
    with pytest.raises(InputError, match=r"^file\.yaml: 1 problem\n  a: 1 is wrong$"):
        problems.raise_if_any()
    problems.add("b", 2, "is worse", "take 3")
    with pytest.raises(InputError, match=r"^file\.yaml: 2 problems\n  a: 1 is wrong\n  b: 2 is worse; take 3$"):
        problems.raise_if_any()


@pytest.mark.parametrize(("name", "hint"), [
    ("brigde", "did you mean 'bridge'?"),
    ("BRIDGE", "did you mean 'bridge'?"),
    ("Calico_BGP", "did you mean 'calico-bgp'?"),
    ("zzz", "known: bridge, calico-bgp"),
])
def test_near_misses(name: str, hint: str):
    assert near_miss(name, ["calico-bgp", "bridge"]) == hint


def test_nothing_known():
    assert near_miss("x", []) == "none is known"


@pytest.mark.parametrize("kind", [InputError, OutputError, InvariantError])
def test_errors_survive_being_made_again_from_their_arguments(kind: type[KubedesError]):
    """SimPy raises an uncaught exception of a process again as `type(error)(*error.args)`."""
    error = kind("what happened")
    again = type(error)(*error.args)
    assert (type(again), str(again)) == (kind, "what happened")
