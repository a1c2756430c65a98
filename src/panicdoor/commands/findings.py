"""What is wrong: findings, the rules that find them, and which of them explains which.

A rule is a plain function. The names of its parameters say which reports it needs, and the
decorator says what area it speaks for, what is normal, and where that comes from:

    @rule("MEMORY", normal="10 % of memory is available", source="Gregg, Systems Performance, 7.5")
    def memory_low(memory: Report, processes: Processes | None = None) -> Iterator[Finding]:
        if memory.available < AVAILABLE_LOW:
            yield Finding(Severity.WARN, "...", next=("memory",))

A parameter with a default is taken where it could be looked at; where another is missing, the
rule's area is unknown. A finding may name rules, areas or keys that would explain it, the
likeliest first: where one of them has found something too, that becomes its cause, and ranks as
high as what it does.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from panicdoor.commands.registry import COMMANDS
from panicdoor.errors import CommandError
from panicdoor.words import parse

# The order of findings that are equally bad: what most often explains others comes first.
AREAS: Final = (
    "MEMORY", "TASKS", "DISK", "FILES", "LOGIN", "NETWORK", "SERVICES", "KERNEL", "CPU", "CERTS",
    "CLOCK",
)  # fmt: skip


class Severity(IntEnum):
    """How bad it is; the smaller, the worse.

    CRITICAL: the host is about to stop working for everybody. BROKEN: something does not work now.
    WARN: it works, and will not for long, or it is not what it should be.
    """

    CRITICAL = 1
    BROKEN = 2
    WARN = 3


class Action(NamedTuple):
    """Something that can be done: a whole command line, what it does, and what takes it back."""

    line: str
    effect: str
    undo: str = "none"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    `next` are command lines that show more; `causes` are names of rules, areas or keys that would
    explain it, and `key` is what this one is called so. `about` is another area that it speaks of,
    which then is not cleared. Of `next` and `actions` only those are told whose command this door
    has.
    """

    severity: Severity
    text: str
    next: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    key: str = ""
    about: str = ""


Find = Callable[..., Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A function that finds, and what has to be known of it."""

    name: str
    area: str
    normal: str
    source: str
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    find: Find


RULES: Final[list[Rule]] = []


def rule(area: str, *, normal: str, source: str) -> Callable[[Find], Find]:
    """Put the decorated function into RULES. Raises TypeError for an area that is not in AREAS."""

    def register(find: Find) -> Find:
        if area not in AREAS:
            raise TypeError(f"rule {find.__name__}: {area} is no area")
        parameters = inspect.signature(find).parameters.values()
        needs = tuple(p.name for p in parameters if p.default is p.empty)
        takes = tuple(p.name for p in parameters if p.default is not p.empty)
        RULES.append(Rule(find.__name__, area, normal, source, needs, takes, find))
        return find

    return register


@dataclass(frozen=True, slots=True)
class Judged:
    """A finding in its place: counted from 1; `because` is the number of what explains it."""

    number: int
    rule: Rule
    finding: Finding
    because: int | None = None

    @property
    def severity(self) -> Severity:
        """How bad it is, or what it explains."""
        return self.finding.severity


@dataclass(frozen=True, slots=True)
class Verdict:
    """Findings, worst first; areas of which nothing was found; and what is not known, and why."""

    findings: tuple[Judged, ...]
    cleared: tuple[str, ...]
    unknown: tuple[tuple[str, str], ...]


def judge(
    reports: Mapping[str, object],
    missing: Mapping[str, str],
    partial: Mapping[str, str] = MappingProxyType({}),
    rules: Sequence[Rule] = RULES,
) -> Verdict:
    """Let every rule look at what it needs.

    `missing` says why a report is not there, `partial` why one does not have all: then nobody knows
    of its area that it is fine.
    """
    found: list[tuple[Rule, Finding]] = []
    unknown: dict[str, str] = {}
    rules = sorted(rules, key=lambda one: AREAS.index(one.area))
    for one in rules:
        lacks = [name for name in one.needs if reports.get(name) is None]
        if lacks:
            unknown.setdefault(one.area.lower(), missing.get(lacks[0], "not looked at"))
            continue
        given = {name: reports[name] for name in one.needs}
        given |= {name: reports[name] for name in one.takes if reports.get(name) is not None}
        for name in one.needs:
            if name in partial:
                unknown.setdefault(one.area.lower(), partial[name])
        try:
            found += [(one, finding) for finding in one.find(**given)]
        except Exception as error:  # one wrong rule must not hide what all the others know
            unknown[one.area.lower()] = f"the rule {one.name} has a bug: {type(error).__name__}"
    areas = dict.fromkeys(one.area.lower() for one in rules)
    bad = {area.lower() for one, finding in found for area in (one.area, finding.about)}
    return Verdict(
        tuple(_ranked(found)),
        tuple(area for area in areas if area not in bad and area not in unknown),
        tuple(unknown.items()),
    )


def _ranked(found: Sequence[tuple[Rule, Finding]]) -> Iterator[Judged]:
    """Yield the findings, worst first, each after its cause."""
    causes = _causes(found)
    severity = [finding.severity for _, finding in found]
    for at in range(len(found)):
        cause = causes.get(at)
        while cause is not None:
            severity[cause] = min(severity[cause], severity[at])
            cause = causes.get(cause)

    def depth(at: int) -> int:
        return 0 if at not in causes else 1 + depth(causes[at])

    order = sorted(range(len(found)), key=lambda at: (severity[at], depth(at), at))
    numbers = {at: number for number, at in enumerate(order, 1)}
    for at in order:
        one, finding = found[at]
        because = numbers[causes[at]] if at in causes else None
        yield Judged(numbers[at], one, replace(finding, severity=severity[at]), because)


def _causes(found: Sequence[tuple[Rule, Finding]]) -> dict[int, int]:
    """Return of each finding that has one its cause. Nothing ever explains itself."""
    causes: dict[int, int] = {}
    for at, (_, finding) in enumerate(found):
        for name in finding.causes:
            cause = next(
                (
                    n
                    for n, (one, other) in enumerate(found)
                    if n != at and name in (one.name, one.area, other.key)
                ),
                None,
            )
            if cause is not None and not _leads_to(causes, cause, at):
                causes[at] = cause
                break
    return causes


def _leads_to(causes: Mapping[int, int], start: int, end: int) -> bool:
    at: int | None = start
    while at is not None:
        if at == end:
            return True
        at = causes.get(at)
    return False


def can_run(line: str) -> bool:
    """Return whether this door has the command of a line, and its words fit."""
    try:
        words = parse(line)
        COMMANDS[words[0]].bind(words[1:])
    except (CommandError, KeyError, IndexError):
        return False
    return True
