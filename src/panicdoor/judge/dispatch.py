"""The one way of every request that acts, from every protocol, as a generator.

It decides and does nothing itself. It yields what is to be done next and is sent how that went:

    Part      say this to the client (when it has room)     is sent None
    Errand    have this run by an observer or a worker      is sent the Outcome of its first part
    Resume    have the errand say its next part             is sent the next Outcome
    Record    write this to the journal                     is sent None
    Pause     wait, and until the client has taken all      is sent None

A watch is an errand again and again: between two rounds it holds no process. `--follow` is one
whose command goes on from where it stopped, and says nothing where nothing is new.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from panicdoor import words as grammar
from panicdoor.commands.registry import WATCH, WATCH_S, Context, Level, Where, call, find
from panicdoor.errors import CommandError
from panicdoor.judge.policy import Policy, Speaker
from panicdoor.messages import Ask
from panicdoor.protocols.base import Part, parts_of


@dataclass(frozen=True, slots=True)
class Errand:
    """Work for another process."""

    where: Where
    words: tuple[str, ...]
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """The errand may go on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A part of what an errand printed, or what became of it."""

    text: str
    end: bool
    code: int
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """An entry for the journal."""

    kind: str
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds until the next round."""

    seconds: float


Step = Part | Errand | Resume | Record | Pause
Steps = Generator[Step, Outcome | None, None]


def dispatch(
    ask: Ask,
    context: Context,
    policy: Callable[[], Policy] = lambda: Policy(()),
    speaker: Speaker | None = None,
) -> Steps:
    """Judge one request, of `speaker` or of a stranger, and see it through.

    `policy` returns the one that holds now: a watch is judged anew for each round.
    """
    if ask.order:
        yield Part("refused: this door takes no orders yet\n", end=True, code=1)
        return
    try:
        command = find(ask.words)
        options = command.bind(ask.words[1:]).options
        if "watch" in options and "follow" in options:
            raise CommandError("it is either --watch or --follow")
        # What nobody can type is nothing that somebody typed. Strangers' words are not recorded.
        typed = grammar.join(ask.words) if speaker is not None else ""
    except CommandError as error:
        yield Part(f"{error}\n", end=True, code=2)
        return
    entry: dict[str, str] = {}
    if speaker is not None and command.level is not Level.PUBLIC:
        entry = {"by": speaker.principal, "from": speaker.address, "do": typed}
    if why := policy().refused(command, speaker):
        yield from _refusal(why, entry)
        return
    if entry:
        yield Record("typed", entry)
    if command.where in (Where.OBSERVER, Where.WORKER):
        words = tuple(word for word in ask.words if word != WATCH)
        errand = Errand(command.where, words)
        if "watch" in options or "follow" in options:
            top = "watch" in options
            refused = yield from _again(errand, top, lambda: policy().refused(command, speaker))
            if refused:
                yield from _refusal(refused, entry)
        else:
            yield from _elsewhere(errand)
    else:
        yield from parts_of(call(context, ask.words))


def _refusal(why: str, entry: dict[str, str]) -> Steps:
    """Say why not; where there is an `entry`, which is of somebody who is known, record it."""
    if entry:
        yield Record("refused", entry | {"why": why})
    yield Part(f"refused: {why}\n", end=True, code=1)


def _elsewhere(errand: Errand) -> Steps:
    outcome = yield errand
    while outcome is not None:
        yield Part(outcome.text, outcome.end, outcome.code)
        if outcome.end:
            return
        outcome = yield Resume()


def _again(
    errand: Errand, top: bool, refused: Callable[[], str]
) -> Generator[Step, Outcome | None, str]:
    """Have an errand run round after round; return why one is refused, "" where one has failed."""
    while (ended := (yield from _round(errand, top))) is not None:
        yield Pause(WATCH_S)
        if why := refused():
            return why
        errand = replace(errand, cursor=ended.cursor)
    return ""


def _round(errand: Errand, top: bool) -> Generator[Step, Outcome | None, Outcome | None]:
    """Have an errand run once and return how it ended; None where an error is the last part."""
    outcome = yield errand
    while outcome is not None:
        end = outcome.end and outcome.code != 0
        yield Part(outcome.text, end, outcome.code, top)
        if outcome.end:
            return None if end else outcome
        top = top and not outcome.text
        outcome = yield Resume()
    return None
