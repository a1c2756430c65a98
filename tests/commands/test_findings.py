"""What the mechanism makes of rules: order, causes, what is cleared, what is unknown."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands.hosts import quiet

import panicdoor.commands  # noqa: F401 - fills the table of rules
from panicdoor.commands.findings import (
    AREAS,
    RULES,
    Finding,
    Rule,
    Severity,
    Verdict,
    can_run,
    judge,
    rule,
)

CRITICAL, BROKEN, WARN = Severity.CRITICAL, Severity.BROKEN, Severity.WARN


def a_rule(name: str, area: str, *found: Finding, needs: tuple[str, ...] = ()) -> Rule:
    def find(**_: object) -> Iterator[Finding]:
        yield from found

    return Rule(name, area, "normal", "source", needs, (), find)


def order(verdict: Verdict) -> list[tuple[str, int | None]]:
    return [(judged.finding.text, judged.because) for judged in verdict.findings]


def test_worst_first_then_by_area() -> None:
    verdict = judge(
        {},
        {},
        rules=[
            a_rule("a", "CLOCK", Finding(WARN, "clock")),
            a_rule("b", "MEMORY", Finding(WARN, "memory")),
            a_rule("c", "KERNEL", Finding(BROKEN, "kernel")),
            a_rule("d", "LOGIN", Finding(CRITICAL, "login"), Finding(WARN, "login too")),
        ],
    )
    assert order(verdict) == [
        ("login", None), ("kernel", None), ("memory", None), ("login too", None), ("clock", None),
    ]  # fmt: skip
    assert [judged.number for judged in verdict.findings] == [1, 2, 3, 4, 5]


def test_a_cause_stands_before_what_it_explains_and_is_as_bad() -> None:
    verdict = judge(
        {},
        {},
        rules=[
            a_rule("login", "LOGIN", Finding(BROKEN, "no banner", causes=("nothing", "low"))),
            a_rule("low", "MEMORY", Finding(WARN, "memory low", causes=("leak",))),
            a_rule("leak", "KERNEL", Finding(WARN, "leak")),
            a_rule("disk", "DISK", Finding(WARN, "disk")),
        ],
    )
    assert order(verdict) == [("leak", None), ("memory low", 1), ("no banner", 2), ("disk", None)]
    assert [judged.severity for judged in verdict.findings] == [BROKEN, BROKEN, BROKEN, WARN]


def test_causes_by_area_and_by_key() -> None:
    verdict = judge(
        {},
        {},
        rules=[
            a_rule("a", "CPU", Finding(WARN, "by area", causes=("MEMORY",))),
            a_rule("b", "MEMORY", Finding(WARN, "memory")),
            a_rule("c", "DISK", Finding(WARN, "by key", causes=("deleted 8:1",))),
            a_rule("d", "DISK", Finding(WARN, "other", key="deleted 8:2")),
            a_rule("e", "DISK", Finding(WARN, "this", key="deleted 8:1")),
        ],
    )
    assert dict(order(verdict)) == {
        "memory": None, "other": None, "this": None, "by key": 3, "by area": 1,
    }  # fmt: skip


def test_nothing_explains_itself() -> None:
    verdict = judge(
        {},
        {},
        rules=[
            a_rule("a", "CPU", Finding(WARN, "a", causes=("a", "CPU", "b"))),
            a_rule("b", "DISK", Finding(WARN, "b", causes=("c",))),
            a_rule("c", "FILES", Finding(WARN, "c", causes=("a",))),
        ],
    )
    assert sum(judged.because is None for judged in verdict.findings) == 1
    assert all((judged.because or 0) < judged.number for judged in verdict.findings)


NAMES = ("a", "b", "c", "d", "e")


@given(st.lists(st.tuples(st.sampled_from(Severity), st.lists(st.sampled_from(NAMES))), max_size=5))
def test_any_graph_ends(graph: list[tuple[Severity, list[str]]]) -> None:
    rules = [
        a_rule(name, "DISK", Finding(severity, name, causes=tuple(causes)))
        for name, (severity, causes) in zip(NAMES, graph, strict=False)
    ]
    verdict = judge({}, {}, rules=rules)
    assert len(verdict.findings) == len(rules)
    assert all((judged.because or 0) < judged.number for judged in verdict.findings)
    severities = [judged.severity for judged in verdict.findings]
    assert severities == sorted(severities)


def test_what_is_cleared_and_what_is_unknown() -> None:
    rules = [
        a_rule("a", "MEMORY", needs=("memory",)),
        a_rule("b", "DISK", needs=("room",)),
        a_rule("c", "DISK", needs=()),
        a_rule("d", "LOGIN", Finding(WARN, "x")),
        a_rule("e", "CLOCK", needs=("nobody looks",)),
    ]
    verdict = judge({"memory": ()}, {"room": "no answer in 0.3 s"}, rules=rules)
    assert verdict.cleared == ("memory",)
    assert dict(verdict.unknown) == {"disk": "no answer in 0.3 s", "clock": "not looked at"}


def test_of_what_a_finding_speaks_is_not_cleared_by_others() -> None:
    """The kernel has killed for memory, of which there is enough again."""
    rules = [
        a_rule("a", "MEMORY"),
        a_rule("b", "DISK"),
        a_rule("c", "KERNEL", Finding(WARN, "killed", about="MEMORY")),
    ]
    assert judge({}, {}, rules=rules).cleared == ("disk",)


def test_what_was_seen_in_part_is_not_cleared() -> None:
    rules = [a_rule("a", "DISK", needs=("held",)), a_rule("b", "FILES", Finding(WARN, "x"))]
    verdict = judge({"held": ()}, {}, {"held": "too many"}, rules)
    assert (verdict.cleared, verdict.unknown) == ((), (("disk", "too many"),))
    assert order(verdict) == [("x", None)]


def test_a_wrong_rule_hides_nothing() -> None:
    def find() -> Iterator[Finding]:
        yield Finding(WARN, "before")
        raise ZeroDivisionError

    bad = Rule("bad", "CPU", "", "", (), (), find)
    verdict = judge({}, {}, rules=[bad, a_rule("a", "DISK", Finding(WARN, "disk"))])
    assert order(verdict) == [("disk", None)]
    assert verdict.unknown == (("cpu", "the rule bad has a bug: ZeroDivisionError"),)


def test_parameters_are_what_a_rule_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Rule] = []
    monkeypatch.setattr("panicdoor.commands.findings.RULES", made)

    @rule("DISK", normal="n", source="s")
    def both(memory: str, clock: str = "none") -> Iterator[Finding]:
        yield Finding(WARN, f"{memory} {clock}")

    assert (made[0].needs, made[0].takes) == (("memory",), ("clock",))
    assert order(judge({"memory": "m"}, {}, rules=made)) == [("m none", None)]
    assert order(judge({"memory": "m", "clock": "c"}, {}, rules=made)) == [("m c", None)]
    with pytest.raises(TypeError, match="SINK is no area"):
        rule("SINK", normal="", source="")(both)


def test_only_commands_of_this_door_can_run() -> None:
    assert can_run("memory")
    assert can_run("processes 123")
    assert not can_run("freeze 123")
    assert not can_run("memory now")
    assert not can_run("")
    assert not can_run("'")


@pytest.mark.parametrize("one", RULES, ids=lambda one: one.name)
def test_every_rule_says_what_is_normal_and_who_says_so(one: Rule) -> None:
    assert one.area in AREAS
    assert one.normal
    assert one.source
    assert one.find.__doc__


def test_names_of_rules_are_one_each() -> None:
    names = [one.name for one in RULES]
    assert len(set(names)) == len(names)
    assert not set(names) & set(AREAS)


def test_every_rule_finds_nothing_on_a_quiet_host() -> None:
    verdict = judge(quiet(), {})
    assert verdict == Verdict((), tuple(area.lower() for area in AREAS), ())


def test_nothing_known_is_nothing_cleared() -> None:
    verdict = judge({}, {"memory": "away"})
    assert (verdict.findings, verdict.cleared) == ((), ())
    assert dict(verdict.unknown)["memory"] == "away"
