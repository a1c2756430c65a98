"""The desk of a frontend: where a client's request is answered, or sent on to the monitor.

What is documentation is answered here, from prepared data, without asking anyone. The rest is
asked of the monitor, part by part against credit, and with a deadline: a monitor that is dead or
stopped costs a client two seconds and a clear line, never a hang.
"""

import time
from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from json import dumps
from typing import Final

from msgspec.structs import replace

from panicdoor.commands.registry import Command, Context, Here, Where, call, find
from panicdoor.config import Door
from panicdoor.errors import CommandError
from panicdoor.messages import Answer, Ask, Cancel, Fresh, More, Reloaded
from panicdoor.processes.clock import now_text
from panicdoor.processes.place import Place
from panicdoor.protocols.base import Form, Part, Request, parts_of

ASK_S: Final = 2.0  # seconds until the monitor must have said a first word
WORK_S: Final = 15.0  # seconds for each further part: a worker's deadline, and some
ASKS_MAX: Final = 256  # questions of one frontend at once: its wire to the monitor holds as many
PAGE_MAX: Final = 256 << 10  # characters of an answer that is shown as one page of HTML
FRESH_FOR_S: Final = 600.0  # seconds a challenge is shown for: it is good for 15 minutes
SILENT: Final = 3  # the code of an answer that could not be had: nobody is there to give it
GONE: Final = "the monitor does not answer and is being replaced; try again in a few seconds\n"
SLOW: Final = f"nothing more was said in {WORK_S:.0f} seconds; try again\n"
REPLACED: Final = "the monitor was replaced before this was done; look, and try again\n"
NOWHERE: Final = Here("", 0)  # for commands that run where nobody connects to

Deliver = Callable[[Part], None]


class Desk:
    """What one frontend answers, and what it waits for.

    `door` is the one whose grants hold now; `changed` is called with each later one.
    """

    def __init__(self, place: Place) -> None:
        self.manual: Final = place.world.manual
        self.door = place.world.door
        self.changed: Callable[[Door], None] = lambda _: None
        self._policy = place.world.holdings.policy
        self._serial = 0
        self._look()
        self._place = place
        self._fresh = ""
        self._fresh_until = 0.0
        self._monitor = 0
        self._asked: dict[int, Asked] = {}
        self._ids = 0
        place.on(Answer, self._answered)
        place.on(Fresh, self._freshened)
        place.on(Reloaded, self._reloaded)

    def ask(
        self,
        request: Request,
        here: Here,
        way: str,
        peer: str,
        scope: str,
        deliver: Deliver,
        session: str = "",
    ) -> "Asked | Prepared":
        """Start an answer; its parts are delivered one by one, each after a call of `more`."""
        try:
            prepared = self._prepared(request, here)
            words = self._words(request)
        except CommandError as error:
            prepared, words = iter([Part(f"{error}\n", end=True, code=2)]), ()
        if request.form is Form.HTML and not _whole(request):
            deliver = self._framed(" ".join(request.words), deliver)
        elif request.form is Form.JSON:
            deliver = _errors_as_json(deliver)
        if prepared is not None:
            return Prepared(prepared, deliver)
        if len(self._asked) >= ASKS_MAX:
            return Prepared(iter([Part("the door is busy; try again\n", True, SILENT)]), deliver)
        self._ids += 1
        epoch = self._place.epoch
        ask = Ask(self._ids, epoch, 0.0, way, peer, scope, words, request.order, session)
        asked = Asked(self, ask, deliver)
        self._asked[ask.id] = asked
        return asked

    def challenge(self) -> str:
        """Return the last challenge for tcp, or "" when the monitor has been silent for long."""
        return self._fresh if time.monotonic() < self._fresh_until else ""

    def context(self, here: Here) -> Context:
        """Return what a command of the documentation is given."""
        return Context(self.manual, here, now_text(), self.challenge)

    def _prepared(self, request: Request, here: Here) -> Iterator[Part] | None:
        """Return the answer where it needs nobody else. Raises CommandError."""
        if request.order:
            return None
        if _whole(request) and request.form is not Form.JSON:
            show = self.manual.html if request.form is Form.HTML else self.manual.whole
            return iter([Part(show(here, now_text(), self.challenge()), end=True)])
        words = self._words(request)
        command = find(words)
        command.bind(words[1:])  # what does not fit is said here, and costs the monitor nothing
        if command.where is not Where.FRONTEND:
            return None
        return parts_of(call(self.context(here), words))

    def _words(self, request: Request) -> tuple[str, ...]:
        """Return the words of a request, in the form it is wanted in. Raises CommandError."""
        if request.form is not Form.JSON or request.order:
            return request.words
        command = find(request.words or ("doc",))
        if not _has_json(command):
            raise CommandError(f"{command.name} has no JSON form")
        words = request.words or ("doc",)
        return words if "--json" in words else (*words, "--json")

    def _framed(self, title: str, deliver: Deliver) -> Deliver:
        """Collect an answer, and deliver it as one page."""
        texts: list[str] = []

        def collect(part: Part) -> None:
            if sum(map(len, texts)) < PAGE_MAX:
                texts.append(part.text)
            page = self.manual.framed(title, "".join(texts)) if part.end else ""
            deliver(Part(page, part.end, part.code))

        return collect

    def _answered(self, answer: Answer, _: str) -> None:
        asked = self._asked.get(answer.id)
        if asked is not None and answer.epoch == self._place.epoch:
            asked.heard(answer)

    def _freshened(self, fresh: Fresh, _: str) -> None:
        self._fresh = fresh.challenge
        self._fresh_until = time.monotonic() + FRESH_FOR_S
        before, self._monitor = self._monitor, fresh.epoch
        if before not in (0, fresh.epoch):
            for asked in list(self._asked.values()):
                asked.bereaved()

    def _reloaded(self, message: Reloaded, _: str) -> None:
        if message.serial != self._serial:
            self._look()
            self.changed(self.door)

    def _look(self) -> None:
        """Take what holds since the last reload, if there was one."""
        found = self._policy.read_door()
        if found is not None:
            self._serial, self.door = found
            self.manual.grant(self.door.grants)

    # For Asked alone

    def tell(self, message: Ask | More | Cancel) -> bool:
        """Send to the monitor."""
        return self._place.tell("monitor", message)

    def later(self, seconds: float, callback: Callable[[], None]) -> TimerHandle:
        """Have something called after a while."""
        return self._place.loop.call_later(seconds, callback)

    def forget(self, number: int) -> None:
        """An answer is complete, or nobody waits for it any more."""
        self._asked.pop(number, None)


class Prepared:
    """An answer that is all here."""

    __slots__ = ("_deliver", "_parts")

    def __init__(self, parts: Iterator[Part], deliver: Deliver) -> None:
        self._parts = parts
        self._deliver = deliver

    def more(self) -> None:
        """Deliver the next part."""
        self._deliver(next(self._parts))

    def cancel(self) -> None:
        """Nobody waits any more: nothing to undo."""


class Asked:
    """A question to the monitor."""

    __slots__ = ("_ask", "_begun", "_deliver", "_desk", "_sent", "_timer")

    def __init__(self, desk: Desk, ask: Ask, deliver: Deliver) -> None:
        self._desk = desk
        self._ask = ask
        self._deliver = deliver
        self._sent = self._begun = False
        self._timer: TimerHandle | None = None

    def more(self) -> None:
        """Ask, the first time; then let the monitor say one more part."""
        message: Ask | More
        if self._sent:
            message = More(self._ask.id, self._ask.epoch)
        else:
            message = replace(self._ask, until=time.monotonic() + ASK_S)
        self._wait(WORK_S if self._sent else ASK_S)
        self._sent = True
        if not self._desk.tell(message):
            self._give_up(GONE)

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._end()
        if self._sent:
            self._desk.tell(Cancel(self._ask.id, self._ask.epoch))

    def heard(self, answer: Answer) -> None:
        """Deliver a part; an empty one that is not the last only says that work has begun."""
        self._begun = True
        if answer.end:
            self._end()
        elif not answer.text:
            self._wait(WORK_S)
            return
        elif self._timer is not None:
            self._timer.cancel()
        self._deliver(Part(answer.text, answer.end, answer.code, answer.top))

    def _wait(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._desk.later(seconds, self._missed)

    def bereaved(self) -> None:
        """The monitor has a successor, which knows nothing of what the first one had begun."""
        if self._begun:
            self._give_up(REPLACED)

    def _missed(self) -> None:
        self._give_up(SLOW if self._begun else GONE)

    def _give_up(self, text: str) -> None:
        self.cancel()
        self._deliver(Part(text, end=True, code=SILENT))

    def _end(self) -> None:
        self._desk.forget(self._ask.id)
        if self._timer is not None:
            self._timer.cancel()


def _whole(request: Request) -> bool:
    """No words at all ask for the whole manual, as a browser does: it has no 24 lines."""
    return not request.words and not request.order


def _has_json(command: Command) -> bool:
    return any(argument.name == "json" for argument in command.arguments)


def _errors_as_json(deliver: Deliver) -> Deliver:
    def convert(part: Part) -> None:
        if part.end and part.code:
            part = Part(dumps({"error": part.text.strip()}) + "\n", end=True, code=part.code)
        deliver(part)

    return convert
