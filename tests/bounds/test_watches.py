"""Watches in a monitor: round after round, and everything that ends or bounds them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.monitors import RUNNERS, hurry, linger, out, part, taken, written
from tests.places import EPOCH, FAR, End, Places
from tests.processes.test_ssh import ALICE, TakenOver, knowing_alice

from panicdoor.judge import dispatch, sessions
from panicdoor.messages import Answer, Ask, Cancel, Hello, Logout, More, Output, Run, Write
from panicdoor.processes import cases

PAUSE = 0.4  # seconds between two rounds in these tests


def quick() -> None:
    hurry()
    setattr(dispatch, "WATCH_S", PAUSE)  # noqa: B010 - it is Final for everybody else


def deaf() -> None:
    quick()
    cases.READER_S = 0.3  # type: ignore[misc]


def slow() -> None:
    hurry()
    setattr(dispatch, "WATCH_S", 3600.0)  # noqa: B010


class House:
    """A monitor, alice's session at it, and the ends of who is at either side."""

    def __init__(self, places: Places) -> None:
        for runner, epoch in RUNNERS.items():
            places.end(runner, "monitor").say(Hello(runner, 1, epoch))
        self.places = places
        self.ssh = TakenOver(places)
        self.end: End = self.ssh.end
        self.ssh.sign(self.ssh.h1)
        self.token = self.ssh.login("alice", ALICE, self.ssh.h1).token
        self.observer = places.end("observer", "monitor")

    def ask(self, number: int, *words: str) -> None:
        self.end.say(Ask(number, EPOCH, FAR, "ssh", "127.0.0.1", "", words, "", self.token))

    def watch(self, number: int) -> None:
        self.ask(number, "rows", "--watch")

    def round(self, number: int, text: str) -> None:
        """Let a round of one part go by, read by its client."""
        run = self.observer.hear(Run)
        assert run.words == ("rows",)
        out(self.observer, run, text)
        said = self.end.hear(Answer, id=number, text=text)
        assert (said.top, said.end) == (True, False)
        self.observer.hear(More, id=run.id)
        out(self.observer, run, "", last=True)
        self.end.say(More(number, EPOCH))

    def quiet(self) -> bool:
        """Whether nothing is run any more."""
        linger(self.places, 2 * PAUSE)
        return not any(isinstance(m, Run) for m in self.observer.waiting())


@pytest.fixture
def opened_door(tmp_path: Path) -> Iterator[Places]:
    with knowing_alice(tmp_path / "first", "observe") as found:
        yield found


@pytest.fixture
def house(opened_door: Places) -> House:
    opened_door.fill("monitor", quick)
    return House(opened_door)


@pytest.fixture
def resting(opened_door: Places) -> House:
    """One whose watches have only their first round."""
    opened_door.fill("monitor", slow)
    return House(opened_door)


def test_round_after_round_recorded_once(house: House) -> None:
    house.watch(1)
    for number in range(3):
        house.round(1, f"{number}\n")
    assert written(house.places, "typed")["do"] == "rows --watch"
    entries = [m for m in house.places.end("writer", "monitor").waiting() if isinstance(m, Write)]
    assert "typed" not in [m.kind for m in entries]


def test_between_two_rounds_it_holds_no_process(resting: House) -> None:
    resting.watch(1)
    resting.round(1, "1\n")
    for number in range(3):
        resting.ask(100 + number, "rows", "1")
        run = resting.observer.hear(Run)
        assert run.words == ("rows", "1")
        out(resting.observer, run, "", last=True)


@pytest.mark.parametrize("texts", [("1\n", ""), ("1\n",)])
def test_what_is_not_read_is_not_run_again(house: House, texts: tuple[str, ...]) -> None:
    """One part waits at the client, and no process works for it, until it reads on."""
    house.watch(1)
    run = house.observer.hear(Run)
    for text in texts:
        out(house.observer, run, text, last=text is texts[-1])
    assert part(house.end, 1)[0] == "1\n"
    assert house.quiet()
    house.end.say(More(1, EPOCH))
    house.observer.hear(Run)


def test_who_stops_reading_is_let_go(opened_door: Places) -> None:
    opened_door.fill("monitor", deaf)
    house = House(opened_door)
    house.watch(1)
    run = house.observer.hear(Run)
    out(house.observer, run, "1\n", last=False)
    assert part(house.end, 1)[0] == "1\n"
    out(house.observer, run, "", last=True)
    linger(opened_door, 0.5)
    house.end.say(More(1, EPOCH))
    assert "not read for too long" in part(house.end, 1)[0]


def test_cancel_ends_it_between_two_rounds(house: House) -> None:
    house.watch(1)
    house.round(1, "1\n")
    house.end.say(Cancel(1, EPOCH))
    assert house.quiet()


def test_cancel_ends_it_in_a_round(house: House) -> None:
    house.watch(1)
    run = house.observer.hear(Run)
    house.end.say(Cancel(1, EPOCH))
    house.observer.hear(Cancel, id=run.id)
    out(house.observer, run, "cancelled\n", last=True, code=1)
    assert house.quiet()


def test_a_logout_ends_it(house: House) -> None:
    """Whatever a frontend forgets to cancel."""
    house.watch(1)
    house.round(1, "1\n")
    house.end.say(Logout(EPOCH, 1))
    assert house.quiet()
    assert not any(isinstance(m, Answer) and m.text for m in house.end.waiting())


def test_a_frontend_that_is_replaced_ends_it(house: House) -> None:
    house.watch(1)
    house.round(1, "1\n")
    house.end.say(Hello("ssh", 2, EPOCH + 1))
    assert house.quiet()


def test_a_process_that_is_replaced_between_two_rounds_does_not_end_it(house: House) -> None:
    house.watch(1)
    house.round(1, "1\n")
    house.observer.say(Hello("observer", 2, 99))
    house.round(1, "2\n")
    assert not house.quiet()


def test_an_error_ends_it(house: House) -> None:
    house.watch(1)
    house.round(1, "1\n")
    run = house.observer.hear(Run)
    out(house.observer, run, "it cannot be done\n", last=True, code=1)
    assert part(house.end, 1) == ("it cannot be done\n", True, 1)
    assert house.quiet()


def test_so_many_of_one_principal_and_no_more(resting: House) -> None:
    most = cases.WATCHES_OF_ONE_MAX
    for number in range(most + 1):
        resting.watch(number)
        resting.round(number, "1\n")
    text, end, code = part(resting.end, most)
    assert text == cases.WATCHED
    assert (end, code) == (True, 1)
    resting.end.say(Cancel(0, EPOCH))
    resting.watch(most + 1)
    resting.round(most + 1, "1\n")
    taken(resting.places)
    assert not any(m.end for m in resting.end.waiting() if isinstance(m, Answer))


def test_so_many_of_all_and_no_more(opened_door: Places) -> None:
    def crowded() -> None:
        slow()
        cases.WATCHES_MAX = 2  # type: ignore[misc]

    opened_door.fill("monitor", crowded)
    house = House(opened_door)
    for number in range(3):
        house.watch(number)
        house.round(number, "1\n")
    assert part(house.end, 2) == (cases.WATCHED, True, 1)


def test_what_is_followed_is_told_where_it_was(house: House) -> None:
    worker = house.places.end("worker1", "monitor")
    house.ask(1, "onward", "--follow")
    cursor = ""
    for number in range(3):
        run = worker.hear(Run)
        assert (run.words, run.cursor) == (("onward", "--follow"), cursor)
        cursor = f"{number}"
        worker.say(Output(run.id, run.epoch, "", end=True, cursor=cursor))
    taken(house.places)
    said = [m for m in house.end.waiting() if isinstance(m, Answer) and m.id == 1]
    assert len(said) >= 3
    assert all((m.text, m.end) == ("", False) for m in said)  # it goes on, and says nothing


def test_a_dead_process_is_told_behind_what_was_said_before(house: House) -> None:
    """A part that waits for its client is not the last where the process ends meanwhile."""
    house.ask(1, "rows")
    run = house.observer.hear(Run)
    out(house.observer, run, "1\n")
    house.observer.hear(More, id=run.id)
    out(house.observer, run, "2\n")
    taken(house.places)
    house.observer.say(Hello("observer", 2, 99))
    assert part(house.end, 1) == ("1\n", False, 0)
    house.end.say(More(1, EPOCH))
    assert part(house.end, 1) == ("2\n", False, 0)
    house.end.say(More(1, EPOCH))
    assert part(house.end, 1) == ("the process that ran this ended\n", True, 1)


def test_a_session_that_ends_without_a_logout_ends_it(opened_door: Places) -> None:
    def one_session() -> None:
        quick()
        setattr(sessions, "SESSIONS_MAX", 1)  # noqa: B010 - it is Final for everybody else

    opened_door.fill("monitor", one_session)
    house = House(opened_door)
    house.watch(1)
    house.round(1, "1\n")
    house.ssh.sign(house.ssh.h2, connection=2)
    assert house.ssh.login("alice", ALICE, house.ssh.h2, connection=2).token
    text, end, code = part(house.end, 1)
    assert (text, end, code) == ("this session has ended; log in again\n", True, 3)
    assert house.quiet()
