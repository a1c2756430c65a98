"""The wall clock."""

import itertools
import re
import time

import pytest

from panicdoor.processes import clock


def test_it_is_what_people_read_and_programs_too() -> None:
    before = int(time.time())
    text = clock.now_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    read = time.strptime(text, "%Y-%m-%d %H:%M:%S UTC")
    assert before <= time.mktime(read) - time.timezone <= time.time()


def test_it_follows_the_clock_forth_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    for moment, text in (
        (1_795_489_927.9, "2026-11-24 03:12:07 UTC"),
        (1_795_489_927.1, "2026-11-24 03:12:07 UTC"),
        (1_795_489_928.0, "2026-11-24 03:12:08 UTC"),
        (0.0, "1970-01-01 00:00:00 UTC"),
        (1_795_489_927.0, "2026-11-24 03:12:07 UTC"),
    ):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        assert clock.now_text() == text


def test_it_is_made_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    made = itertools.count()
    monkeypatch.setattr(time, "time", lambda: 1_795_489_999.5)
    monkeypatch.setattr(time, "strftime", lambda *_: f"text {next(made)}")
    assert {clock.now_text() for _ in range(1000)} == {"text 0"}
