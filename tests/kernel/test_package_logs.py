"""Logs of package managers: real lines, other lines, and any text at all."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panicdoor.kernel import package_logs
from panicdoor.kernel.package_logs import Change, read, tail

LOCAL = time.mktime(time.strptime("2026-11-24 03:12:07", "%Y-%m-%d %H:%M:%S"))
UTC = 1795489927.0


@pytest.mark.parametrize(
    ("parse", "text", "change"),
    [
        (
            package_logs.parse_dpkg,
            "2026-11-24 03:12:07 upgrade libc6:amd64 2.36-9 2.36-10\n"
            "2026-11-24 03:12:07 status installed libc6:amd64 2.36-10\nnonsense\n",
            Change(LOCAL, "upgrade", "libc6", "2.36-9 -> 2.36-10"),
        ),
        (
            package_logs.parse_dpkg,
            "2026-11-24 03:12:07 purge sl:amd64 5.02-1 <none>",
            Change(LOCAL, "remove", "sl", "5.02-1"),
        ),
        (
            package_logs.parse_apt,
            "\nStart-Date: 2026-11-24  03:12:07\nCommandline: apt install sl\n"
            "Requested-By: alice (1000)\nInstall: sl:amd64 (5.02-1)\n",
            Change(LOCAL, "run", "", "apt install sl (by alice (1000))"),
        ),
        (
            package_logs.parse_dnf,
            "2026-11-24T04:12:07+0100 SUBDEBUG Upgraded: bash-5.1.8-9.el9.x86_64\n",
            Change(UTC, "upgrade", "bash-5.1.8-9.el9.x86_64", ""),
        ),
        (
            package_logs.parse_pacman,
            "[2026-11-23T22:12:07-0500] [ALPM] installed fish (3.6.1-1)",
            Change(UTC, "install", "fish", "3.6.1-1"),
        ),
        (
            package_logs.parse_zypp,
            "2026-11-24 03:12:07|install|vim|9.0-1|x86_64||repo|0123|\n# 2026 comment",
            Change(LOCAL, "install", "vim", "9.0-1"),
        ),
    ],
)
def test_lines(parse: package_logs.Parse, text: str, change: Change) -> None:
    assert list(parse(text)) == [change]


@given(st.text(max_size=300), st.sampled_from([parse for _, parse in package_logs.LOGS]))
def test_no_text_raises(text: str, parse: package_logs.Parse) -> None:
    list(parse(text))


@pytest.mark.parametrize("when", ["2026-13-45 99:99:99", "0000-00-00 00:00:00"])
def test_times_that_cannot_be(when: str) -> None:
    assert list(package_logs.parse_dpkg(f"{when} install a b c")) == []
    stamp = when.replace(" ", "T")
    assert list(package_logs.parse_dnf(f"{stamp}+0000 DEBUG Install: a")) == []
    assert list(package_logs.parse_zypp(f"{when}|install|a|b|")) == []


def test_only_the_end_of_a_log_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    line = "2026-11-24 03:12:07 install a:all <none> 1\n"
    log.write_text(line * 100)
    assert tail(str(log), 10) == line.encode()[-10:]
    monkeypatch.setattr(package_logs, "TAIL", 3 * len(line))
    monkeypatch.setattr(package_logs.tail, "__defaults__", (3 * len(line),))
    found = read(str(log), package_logs.parse_dpkg, 0.0)
    assert found is not None
    assert len(found) == 3
    assert read(str(log), package_logs.parse_dpkg, LOCAL + 1) == []
    assert read(str(tmp_path / "none"), package_logs.parse_dpkg, 0.0) is None
    assert tail(str(tmp_path)) is None


def test_changes_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_logs, "CHANGES_MAX", 5)
    log = tmp_path / "log"
    log.write_text("".join(f"2026-11-24 03:12:07 install p{n} a b\n" for n in range(9)))
    found = read(str(log), package_logs.parse_dpkg, 0.0)
    assert found is not None
    assert [change.package for change in found] == ["p4", "p5", "p6", "p7", "p8"]
