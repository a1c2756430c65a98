"""Tests of the warm-up of an ssh process: that it does everything, and that it ends."""

import time
from pathlib import Path

import pytest
from tests import sshclients
from tests.places import Places, opened
from tests.sshclients import alice_in, journal_has_no_bug

from panicdoor.messages import Fresh, Login, Ping, Pong, Sign
from panicdoor.processes.ssh_warmup import CHALLENGE_S, COMMANDS, ROUND_S


def ready(places: Places, seconds: float) -> float:
    """Fill the place, and return how long it took until it has warmed up."""
    begun = time.monotonic()
    places.fill("ssh")
    places.end("supervisor", "ssh").say(Ping(1))
    places.end("supervisor", "ssh").hear(Pong, seconds)
    return time.monotonic() - begun


def test_it_ends_where_there_is_no_monitor(tmp_path: Path) -> None:
    with opened(tmp_path / "door") as places:
        assert ready(places, 15.0) < ROUND_S + CHALLENGE_S + 5.0
        said = places.end("monitor", "ssh").waiting()
        assert [m for m in said if isinstance(m, Login)] == []


def test_it_is_refused_and_let_in_as_a_stranger(tmp_path: Path) -> None:
    """Two key exchanges are signed, no session is given, and nothing is a bug."""
    with alice_in(tmp_path / "door", sshclients.key()) as places:
        journal_has_no_bug(places)
        assert places.lives("ssh")


def test_it_shows_a_challenge(tmp_path: Path) -> None:
    """Without one nothing is signed, and nothing warmed."""
    with opened(tmp_path / "door") as places:
        monitor = places.end("monitor", "ssh")
        places.fill("ssh")
        monitor.say(Fresh("aaaa-bbbb-cccc", 1))
        assert b"SSH-2.0-panicdoor aaaa-bbbb-cccc" in monitor.hear(Sign, 10.0).transcript


@pytest.mark.parametrize("word", ["help", "ping"])
def test_it_asks_what_people_ask(word: str) -> None:
    assert word in COMMANDS
