"""The registry: a command is a plain function, and its signature and docstring are its manual.

    @command(level=Level.PUBLIC, where=Where.FRONTEND)
    def doc(context: Context, page: int = 1, *, json: bool = False) -> Iterator[str]:
        '''Show the manual, one screen at a time.

        What more there is to say, in paragraphs.

        Arguments:
            page: which screen, counted from 1
            json: the whole manual as one JSON object

        Examples:
            > doc 2
            ...more: doc 1...
        '''

Everything that is said about a command anywhere is made from this. What would leave a hole in the
manual (an argument without a description, an example that does not parse) stops the import.
Keyword-only arguments are options: a `bool` is a flag; a `str`, an `int` or a `Seconds` takes the
next word, and is described under Arguments: as `since AGO: how far to look back`. Where that word
is one of a few, they stand there: `by cpu|memory: what comes first`. `*rest` takes the words that
are left. What looks at the host from a process of its own has the flag `--watch` besides, which
the judge sees to.
"""

import inspect
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import total_ordering
from typing import Final, Literal, NamedTuple, NewType, Protocol, TypeVar

from panicdoor import words as grammar
from panicdoor.commands.fields import Field
from panicdoor.errors import CommandError
from panicdoor.messages import PART_MAX
from panicdoor.printable import escape_line

SUMMARY_MAX: Final = 50  # characters: beside a usage of 26 it still fits on a screen of 80
QUOTE_MAX: Final = 40  # characters of a wrong word that an error repeats

ALIKE_MIN: Final = 3  # characters at both ends that make two words alike
WATCH_S: Final = 2.0  # seconds between two answers to `--watch` or `--follow`
WATCH: Final = "--watch"

Seconds = NewType("Seconds", int)  # typed as 90s, 15m, 6h, 2d
Kind = Literal["str", "int", "bool", "seconds"]

_KINDS: Final[dict[object, Kind]] = {str: "str", int: "int", bool: "bool", Seconds: "seconds"}
_MAPPED: Final = "::ffff:"  # how an IPv4 client looks on an IPv6 socket (RFC 4291, 2.5.5.2)


@total_ordering
class Level(Enum):
    """What a command may do. A later level may do more than an earlier one."""

    PUBLIC = "public"
    OBSERVE = "observe"
    RECOVER = "recover"
    DEFEND = "defend"

    def __lt__(self, other: "Level") -> bool:
        order = list(Level)
        return order.index(self) < order.index(other)


class Where(Enum):
    """Which process answers: `FRONTEND` is the one that holds the client, from prepared data."""

    FRONTEND = "frontend"
    MONITOR = "monitor"
    OBSERVER = "observer"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Here:
    """The address that the client reached: numeric, as the kernel gave it, with its port.

    `secure` says that the client came through TLS, `udp` that it came by datagram.
    """

    address: str
    port: int
    udp: bool = False
    secure: bool = False

    @property
    def host(self) -> str:
        """The address as telnet, nc and people take it: without brackets."""
        if self.address.startswith(_MAPPED) and "." in self.address:
            return self.address[len(_MAPPED) :]
        return self.address

    @property
    def authority(self) -> str:
        """Address and port as URLs take them: `192.0.2.10:903`, `[2001:db8::10]:903`."""
        host = self.host
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


class Manual(Protocol):
    """What commands need of the documentation. All of it is prepared before a client comes."""

    @property
    def name(self) -> str:
        """The door's name."""

    @property
    def fingerprint(self) -> str:
        """The door's public key, as `SHA256:...`."""

    @property
    def certificate(self) -> bytes:
        """What the door shows to clients of TLS, in DER; empty where it shows nothing."""

    @property
    def ways(self) -> frozenset[str]:
        """The ways in that this door has: `telnet`, `nc`, `http`, `tls`, `udp`, ..."""

    @property
    def screens(self) -> int:
        """How many screens the manual has."""

    def screen(self, n: int, here: Here, now: str, challenge: str) -> str:
        """Return screen `n`, counted from 1. Raises CommandError where there is none."""

    def help(self, name: str = "") -> str:
        """Return the list of commands, or one of them in full. Raises CommandError."""

    def help_json(self, name: str = "") -> str:
        """Return the same as JSON."""

    def about(self, here: Here) -> str:
        """Return whose door this is."""

    def about_json(self, here: Here) -> str:
        """Return the same as JSON."""

    def json(self, here: Here) -> str:
        """Return the whole manual as one JSON object."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every command gets first. `now` is like `2026-11-24 03:12:07 UTC`.

    `challenge` returns a fresh challenge, or `""` where none is at hand; it never waits. `cursor`
    is what the command returned the last time, where it has `--follow`; `""` the first time.
    """

    manual: Manual
    here: Here
    now: str
    challenge: Callable[[], str]
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command. `rest` takes all the words that are left.

    An option is typed as `--name`; `value` says what the word behind it is, `""` for a flag.
    """

    name: str
    kind: Kind
    about: str
    required: bool
    default: str | int | bool
    rest: bool
    option: bool = False
    value: str = ""

    @property
    def word(self) -> str:
        """The word that names an option: `--since`."""
        return "--" + self.name.replace("_", "-")

    @property
    def choices(self) -> tuple[str, ...]:
        """What an option's value is one of; nothing where it may be anything."""
        return tuple(self.value.split("|")) if "|" in self.value else ()

    @property
    def shown(self) -> str:
        """How it is written in a usage line, without the brackets: `PAGE`, `--since AGO`."""
        if self.option:
            return f"{self.word} {self.value}".rstrip()
        return self.name.replace("_", "-").upper() + ("..." if self.rest else "")


class Example(NamedTuple):
    """A line that can be typed, and what it prints; `...` stands for any text."""

    line: str
    output: str


class Bound(NamedTuple):
    """Words as the function takes them: `run(context, *values, **options)`."""

    values: tuple[str | int, ...]
    options: dict[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class Command:
    """One documented thing that the door can do."""

    name: str
    level: Level
    where: Where
    summary: str
    manual: tuple[str, ...]
    arguments: tuple[Argument, ...]
    examples: tuple[Example, ...]
    undo: str
    makes_root: bool
    verbatim: bool
    run: Callable[..., Iterator[str]]
    fields: tuple[Field, ...] = ()  # of its JSON

    @property
    def usage(self) -> str:
        """The command as it is typed: `doc [PAGE] [--json]`."""
        return self._usage(self.arguments)

    @property
    def brief(self) -> str:
        """The usage without the options, for where space is short."""
        return self._usage(tuple(a for a in self.arguments if not a.option))

    def _usage(self, arguments: tuple[Argument, ...]) -> str:
        return " ".join(
            [self.name, *(a.shown if a.required else f"[{a.shown}]" for a in arguments)]
        )

    def bind(self, words: Sequence[str]) -> Bound:
        """Sort the words that follow the command's name into its arguments.

        Raises CommandError, a sentence for the operator, where they do not fit.
        """
        declared = {a.word: a for a in self.arguments if a.option}
        places = [a for a in self.arguments if not a.option and not a.rest]
        rest = next((a for a in self.arguments if a.rest), None)
        values: list[str | int] = []
        options: dict[str, str | int | bool] = {}
        left = deque(words)
        while left:
            word = left.popleft()
            after = len(values) >= len(places)
            if word.startswith("-") and not (after and self.verbatim):
                name, equals, value = word.partition("=")
                option = declared.get(name)
                if option is None or (equals and option.kind == "bool"):
                    raise CommandError(f"{self.name} knows no {_quote(word)}; {self._see}")
                if option.name in options:
                    raise CommandError(f"{name} is there twice")
                if equals:
                    left.appendleft(value)
                options[option.name] = self._option(option, left)
            elif not after:
                values.append(_value(places[len(values)], word))
            elif rest is not None:
                values.append(_value(rest, word))
            else:
                raise CommandError(f"{_quote(word)} is one word too many; {self._see}")
        for argument in places[len(values) :]:
            if argument.required:
                raise CommandError(f"{argument.shown} is missing; {self._see}")
            values.append(argument.default)
        return Bound(tuple(values), options)

    def _option(self, option: Argument, left: deque[str]) -> str | int | bool:
        """Take the value of an option from the words that are left."""
        if option.kind == "bool":
            return True
        if not left or left[0].startswith("-"):
            raise CommandError(f"{option.value} is missing after {option.word}; {self._see}")
        return _value(option, left.popleft())

    @property
    def _see(self) -> str:
        return f"usage: {self.usage}"


COMMANDS: Final[dict[str, Command]] = {}


def find(words: Sequence[str]) -> Command:
    """Return the command that `words`, a whole typed line, begins with. Raises CommandError."""
    if not words:
        raise CommandError("nothing to do; type: help")
    found = COMMANDS.get(words[0])
    if found is None:
        near = _nearest(words[0])
        hint = f"did you mean {near}? " if near else ""
        raise CommandError(f"no command {_quote(words[0])}; {hint}type: help")
    return found


def call(context: Context, words: Sequence[str]) -> Iterator[str]:
    """Run the command of a whole typed line and return its parts. Raises CommandError.

    It may also be raised by any part: a command finds out only by working.
    """
    found = find(words)
    bound = found.bind(words[1:])
    return found.run(context, *bound.values, **bound.options)


def parts(text: str) -> Iterator[str]:
    """Cut a long text into parts of at most PART_MAX characters, at line ends where there are any.

    Joined they are the text again; an empty text has no parts.
    """
    at = 0
    while at < len(text):
        end = at + PART_MAX
        if end < len(text):
            line_end = text.rfind("\n", at, end)
            end = line_end + 1 if line_end >= at else end
        yield text[at:end]
        at = end


_WATCH: Final = Argument(
    "watch", "bool", f"again every {WATCH_S:.0f} seconds, until Ctrl-C", False, False, False, True
)

Function = TypeVar("Function", bound=Callable[..., Iterator[str]])


def command(
    *,
    level: Level,
    where: Where,
    undo: str = "",
    makes_root: bool = False,
    verbatim: bool = False,
    fields: tuple[Field, ...] = (),
) -> Callable[[Function], Function]:
    """Put the decorated function into COMMANDS.

    `undo` is the line that takes it back. `verbatim` says that its rest is another command's line,
    whose flags are not its own. `fields` are those of its JSON. Raises TypeError, which stops the
    import, on a hole in the manual.
    """

    def register(function: Function) -> Function:
        name = function.__name__.replace("_", "-")
        if name in COMMANDS:
            raise TypeError(f"command {name}: there is one already")
        summary, manual, described, examples = _read(name, function.__doc__)
        arguments = _arguments(name, function, described)
        if level is Level.OBSERVE and where in (Where.OBSERVER, Where.WORKER):
            arguments += (_WATCH,)
        made = Command(
            name, level, where, summary, manual, arguments, examples, undo, makes_root,
            verbatim, function, fields,
        )  # fmt: skip
        for example in examples:
            typed = grammar.parse(example.line)
            if typed[:1] != (name,):
                raise TypeError(f"command {name}: the example {example.line!r} is another's")
            made.bind(typed[1:])
        COMMANDS[name] = made
        return function

    return register


def _nearest(word: str) -> str:
    """Return the command that begins and ends most like `word`, where there is one such."""
    alike = {name: _shared(name, word) for name in COMMANDS}
    most = max(alike.values(), default=0)
    near = [name for name, shared in alike.items() if shared == most]
    return near[0] if most >= ALIKE_MIN and len(near) == 1 else ""


def _shared(one: str, other: str) -> int:
    """Return how many characters two words share at the beginning and, if any, at the end."""
    first = _begins(one, other)
    return first and first + _begins(one[first:][::-1], other[first:][::-1])


def _begins(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _quote(word: str) -> str:
    shown = escape_line(word)
    return f"'{shown}'" if len(shown) <= QUOTE_MAX else f"'{shown[:QUOTE_MAX]}...'"


def _value(argument: Argument, word: str) -> str | int:
    name = argument.word if argument.option else argument.shown
    if argument.choices and word not in argument.choices:
        raise CommandError(f"{name} is {' or '.join(argument.choices)}, not {_quote(word)}")
    if argument.kind == "seconds":
        seconds = grammar.seconds(word)
        if seconds is None:
            raise CommandError(f"{name} is a time such as 90s, 15m, 6h or 2d, not {_quote(word)}")
        return seconds
    if argument.kind == "int":
        if re.fullmatch("[0-9]{1,18}", word) is None:
            raise CommandError(f"{name} is a number, not {_quote(word)}")
        return int(word)
    return word


def _arguments(
    name: str, function: Callable[..., Iterator[str]], described: dict[str, str]
) -> tuple[Argument, ...]:
    values = {key.partition(" ")[0]: key.partition(" ")[2] for key in described}
    abouts = {key.partition(" ")[0]: about for key, about in described.items()}
    found = []
    for p in list(inspect.signature(function, eval_str=True).parameters.values())[1:]:
        kind = _KINDS.get(p.annotation)
        about, value = abouts.pop(p.name, ""), values.get(p.name, "")
        rest, option = p.kind is p.VAR_POSITIONAL, p.kind is p.KEYWORD_ONLY
        if kind is None:
            raise TypeError(f"command {name}: {p.name} must be a str, int, bool or Seconds")
        if not about:
            raise TypeError(f"command {name}: nothing is said about {p.name} under Arguments:")
        if kind == "bool" and (not option or p.default is not False):
            raise TypeError(f"command {name}: a flag is a keyword-only bool, False by default")
        if option and p.default is p.empty:
            raise TypeError(f"command {name}: an option can be left out")
        if bool(value) != (option and kind != "bool"):
            raise TypeError(f"command {name}: `{p.name} VALUE: what it is` is for options only")
        required = p.default is p.empty and not rest
        default = "" if p.default is p.empty else p.default
        found.append(Argument(p.name, kind, about, required, default, rest, option, value))
    if abouts:
        raise TypeError(f"command {name}: there is no argument {', '.join(abouts)}")
    return tuple(found)


def _read(
    name: str, docstring: str | None
) -> tuple[str, tuple[str, ...], dict[str, str], tuple[Example, ...]]:
    lines = inspect.cleandoc(docstring or "").split("\n")
    summary = lines[0]
    if not summary.endswith(".") or len(summary) > SUMMARY_MAX:
        raise TypeError(f"command {name}: one sentence of {SUMMARY_MAX} characters comes first")
    sections: dict[str, list[str]] = {"": [], "Arguments:": [], "Examples:": []}
    section = ""
    for line in lines[1:]:
        if line in sections and line:
            section = line
        else:
            sections[section].append(line)
    text = "\n".join(sections[""]).strip("\n")
    return (
        summary,
        tuple(re.split(r"\n{2,}", text)) if text else (),
        _described(name, inspect.cleandoc("\n".join(["", *sections["Arguments:"]]))),
        _examples(inspect.cleandoc("\n".join(["", *sections["Examples:"]]))),
    )


def _described(name: str, text: str) -> dict[str, str]:
    described: dict[str, str] = {}
    last = ""
    for line in filter(None, text.split("\n")):
        if line.startswith(" ") and last:
            described[last] += " " + line.strip()
            continue
        last, colon, about = line.partition(": ")
        if not colon:
            raise TypeError(f"command {name}: under Arguments: a line is `name: what it is`")
        described[last] = about
    return described


def _examples(text: str) -> tuple[Example, ...]:
    found = []
    for block in re.split(r"^> ", text, flags=re.MULTILINE)[1:]:
        line, _, output = block.partition("\n")
        found.append(Example(line, output.strip("\n")))
    return tuple(found)
