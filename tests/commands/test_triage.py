"""The command triage: one screen, whatever is wrong and whatever it is called."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.commands.asking import CONTEXT, document, is_an_observer, parts, screen
from tests.commands.hosts import GIB, HOSTILE, asked, limit, limits, mount, quiet, stat
from tests.commands.test_rules_services import log

from panicdoor.commands import findings, processes, sections, snapshot, triage
from panicdoor.commands.findings import AREAS, Action, Finding, Rule, Severity, Verdict, judge
from panicdoor.commands.login import Report as Login
from panicdoor.commands.login_stages import Stage, State
from panicdoor.commands.snapshot import Snapshot
from panicdoor.commands.triage import LINES, lines, unknown, vitals
from panicdoor.kernel import clock as kernel_clock
from panicdoor.kernel.systemd import Unit


def shown(reports: dict[str, object], missing: dict[str, str] | None = None) -> str:
    """Return the screen of a made-up host, without the header."""
    seen = Snapshot(reports, missing or {})
    text = "".join(lines(seen, judge(reports, seen.missing)))
    assert text.count("\n") <= LINES - 1, text
    assert max(map(len, text.split("\n"))) <= 80, text
    assert re.fullmatch(r"[\n\x20-\x7e]*", text), text
    return text


def test_it_only_looks() -> None:
    is_an_observer("triage")


def test_this_host() -> None:
    text = screen("triage")
    assert text.count("\n") <= LINES
    assert re.match(r"web1  2026-11-24 03:12:07 UTC.*  up .*  read in [0-9.]+ s\n", text)
    assert "CLEARED" in text
    assert text.split("\n")[-2].startswith("more: ")


def test_the_header_comes_before_anything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "look", lambda: pytest.fail("too early"))
    began = time.monotonic()
    first = next(triage.triage(CONTEXT))
    assert time.monotonic() - began < 0.2
    assert first.startswith("web1  ")


@pytest.mark.parametrize("name", ["w", "web1.example", "w" * 200, HOSTILE])
@pytest.mark.parametrize("up", [0.0, 1e9])
def test_the_header_is_one_line(name: str, up: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "look", lambda: Snapshot(quiet(), {}, 1.9))
    monkeypatch.setattr(kernel_clock, "up", lambda: up)
    manual = copy(CONTEXT.manual)
    monkeypatch.setattr(manual, "name", name)
    context = replace(CONTEXT, manual=manual)
    header, *_ = "".join(triage.triage(context)).split("\n")
    assert len(header) <= 80
    assert re.search(r"  2026-11-24 03:12:07 UTC( \(ntp ok\)| \(no ntp\))?  up ", header)
    assert ("read in 1.90 s" in header) == (len(name) < 20)


def test_a_quiet_host() -> None:
    text = shown(quiet())
    assert text.startswith(f"{triage.NOTHING}\n")
    assert "UNKNOWN" not in text
    assert "CLEARED memory, tasks, disk, files, login, network, services, kernel, cpu" in text


def ill() -> dict[str, object]:
    """A host on which everything is wrong at once, and every name hostile."""
    host: Any = quiet()
    many = tuple(limit(100, 100, n, n) for n in range(9))
    host["memory"] = replace(
        host["memory"], memory=host["memory"].memory._replace(available=GIB // 8, swap_free=0)
    )
    host["groups"] = tuple(sections.Group(one, 100) for one in many)
    host["processes"] = replace(
        host["processes"], groups=many, stuck=(stat(5, HOSTILE, "D"),), stuck_count=9,
        shown=(processes.Process(stat(5, HOSTILE * 30, rss=GIB), 99.0, True),),
    )  # fmt: skip
    host["room"] = sections.Room(
        tuple(asked(f"/{HOSTILE * 20}{n}", percent=100) for n in range(9)),
        tuple(mount(HOSTILE, "nfs") for _ in range(9)),
    )
    host["kernel"] = log(
        *[f"EXT4-fs error (device {HOSTILE[:3]}): {'x' * 900}", "Out of memory: Killed process 5"]
    )
    host["sockets"] = limits(descriptors=99, conntrack=99)
    host["login"] = Login((Stage("banner", State.WRONG, f"port 22 says: {HOSTILE}"),))
    host["services"] = replace(
        host["services"], units=(Unit("a.service", HOSTILE * 50, "loaded", "failed", "failed"),) * 9
    )
    return dict(host)


def test_everything_is_wrong() -> None:
    text = shown(ill())
    assert text.startswith("1 CRITICAL MEMORY   128 MiB of 16.0 GiB available, swap 100 % full;")
    assert "type: memory" in text
    assert re.search(r"\([0-9]+ more, less bad: triage --json\)\n", text)
    assert "kernel  10 s ago, " in text


def test_the_document_has_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "look", lambda: Snapshot(ill(), {"clock": "away"}, 0.31))
    said = document("triage")
    numbers = [one["number"] for one in said["findings"]]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 20
    login = next(one for one in said["findings"] if one["rule"] == "login_fails")
    assert login["because"] is not None
    assert said["seconds"] == 0.31
    assert {"what": "\\x1b"} not in said["unknown"]
    assert len(said["vitals"]) == 12
    for one in said["findings"]:
        assert set(one) == {
            "number", "severity", "area", "rule", "text", "because", "next", "actions", "normal",
            "source",
        }  # fmt: skip
        assert one["actions"] == []  # no command of this door acts


def test_one_more_function_is_one_more_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "RULES", made := list(findings.RULES))

    @findings.rule("DISK", normal="none", source="nobody")
    def new(tasks: sections.Tasks) -> Iterator[Finding]:
        yield Finding(Severity.CRITICAL, f"{tasks.used} tasks", ("disks",))

    seen = Snapshot(quiet())
    verdict = judge(seen.reports, {}, rules=made)
    assert "".join(lines(seen, verdict)).startswith("1 CRITICAL DISK     400 tasks; type: disks\n")
    (said,) = map(triage._finding_value, verdict.findings)
    assert isinstance(said, dict)
    assert (said["rule"], said["normal"], said["source"]) == ("new", "none", "nobody")
    assert "disk" in dict(judge({}, {"tasks": "away"}, rules=made).unknown)


def a_verdict(*found: Finding) -> Verdict:
    rule = Rule("r", "DISK", "", "", (), (), lambda: iter(found))
    return judge({}, {}, rules=[rule])


def test_a_cause_is_said() -> None:
    verdict = a_verdict(
        Finding(Severity.WARN, "effect", ("disks",), causes=("k",)),
        Finding(Severity.WARN, "cause", ("freeze 1", "disks"), key="k"),
    )
    text = "".join(lines(Snapshot(), verdict))
    assert text.startswith(
        "1 WARN     DISK     cause; type: disks\n2 WARN     DISK     effect: see 1; type: disks\n"
    )


def test_what_can_be_done_is_told_only_with_commands_of_this_door() -> None:
    verdict = a_verdict(
        Finding(
            Severity.WARN,
            "x",
            actions=(
                Action("freeze 1", "a"),
                Action("doc 2", "shows", "doc 1"),
                Action("doc", "b"),
            ),
        )
    )
    text = "".join(lines(Snapshot(), verdict))
    assert "DO   what   effect  undo\n  a  doc 2  shows   doc 1\n  b  doc    b       none\n" in text
    assert "freeze" not in text


@pytest.mark.parametrize("length", range(30, 70))
def test_what_is_to_be_typed_is_not_divided(length: int) -> None:
    verdict = a_verdict(Finding(Severity.WARN, "x" * length, ("processes 12345",)))
    assert "type: processes 12345\n" in "".join(lines(Snapshot(), verdict))


def test_a_long_finding_keeps_its_command() -> None:
    verdict = a_verdict(Finding(Severity.WARN, "long " * 200, ("disks",)))
    made = "".join(lines(Snapshot(), verdict)).split("\n")
    assert made[2].endswith("~; type: disks")
    assert max(map(len, made)) <= 80
    assert made[3].startswith("        now")


LINES_OF_COMMANDS = st.sampled_from(["memory", "processes 5", "doc 2", "freeze 1", "x\x1b[2J", ""])
ACTIONS = st.builds(Action, LINES_OF_COMMANDS, st.text(max_size=90), st.text(max_size=90))
FINDINGS = st.builds(
    Finding,
    st.sampled_from(Severity),
    st.text(max_size=400),
    st.lists(LINES_OF_COMMANDS, max_size=3).map(tuple),
    st.lists(st.sampled_from("abc"), max_size=3).map(tuple),
    st.lists(ACTIONS, max_size=3).map(tuple),
    st.sampled_from("abc"),
)


@given(
    st.lists(st.tuples(st.sampled_from(AREAS), FINDINGS), max_size=40),
    st.dictionaries(st.text(max_size=90), st.text(max_size=200), max_size=20),
    st.lists(st.text(max_size=90), max_size=9),
    st.text(max_size=300),
)
def test_any_findings_fit(
    found: list[tuple[str, Finding]], why: dict[str, str], points: list[str], said: str
) -> None:
    rules = [
        Rule(f"r{n}", area, "", "", (), (), lambda one=one: iter([one]))
        for n, (area, one) in enumerate(found)
    ]
    verdict = replace(judge({}, {}, rules=rules), unknown=tuple(why.items()))
    room = sections.Room((), tuple(mount("x")._replace(point=p.encode()) for p in points))
    seen = Snapshot({**quiet(), "room": room, "kernel": log(f"EXT4-fs error (device x): {said}")})
    told = "".join(lines(seen, verdict))
    assert told.count("\n") <= LINES - 1
    assert max(map(len, told.split("\n"))) <= 80
    assert re.fullmatch(r"[\n\x20-\x7e]*", told)
    assert "freeze" not in "".join(re.findall("type: .*", told))
    assert told.rstrip().endswith("triage --json")
    # Whatever is not on the screen is counted.
    numbers = re.findall(r"^(\d+) (?:CRITICAL|BROKEN|WARN) ", told, re.MULTILINE)
    left = re.search(r"^\((\d+) more, less bad: triage --json\)$", told, re.MULTILINE)
    assert len(numbers) + (int(left[1]) if left else 0) == len(found)
    assert not found or numbers[0] == "1"


def test_a_host_that_tells_nothing() -> None:
    text = shown({}, {"memory": "no answer in 0.4 s"})
    assert "CLEARED" not in text
    assert "UNKNOWN memory (no answer in 0.4 s)" in text
    assert {vital.now for vital in vitals(Snapshot())} <= {"?", "-", "idle"}


def test_mounts_that_were_not_asked_are_unknown() -> None:
    room = sections.Room((), tuple(mount(f"/mnt{n}", "nfs4") for n in range(5)))
    seen = Snapshot({**quiet(), "room": room})
    assert list(unknown(seen, judge(seen.reports, {}))) == [
        ("/mnt0", "nfs4: not asked"),
        ("/mnt1", "nfs4: not asked"),
        ("/mnt2", "nfs4: not asked"),
        ("2 more mounts", "not asked"),
    ]


def test_swap_that_moves_is_shown_as_a_rate() -> None:
    host: Any = quiet()
    host["memory"] = replace(host["memory"], swapped_in=88 << 20)
    assert [one.now for one in vitals(Snapshot(host)) if one.name == "swap"] == ["88.0 MiB/"]


def test_its_parts_are_few() -> None:
    assert len(parts("triage")) <= 4


@pytest.mark.parametrize(
    "line", ["triage", "triage --json", "login", "services", "changes --since 2h"]
)
def test_nothing_is_imported_at_the_bad_moment(line: str) -> None:
    code = (
        "import sys\nfrom tests.commands.observed import said\nbefore = set(sys.modules)\n"
        f"list(said({line!r}))\nprint(sorted(set(sys.modules) - before))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
    )
    assert run.stdout == "[]\n"
