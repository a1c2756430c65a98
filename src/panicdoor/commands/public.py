"""What anyone may ask, without a key: the commands that explain the door.

They read only what the door's owner wrote about it and what the client knows already; nothing
here may tell of the host: no kernel, no users, no uptime.
"""

from collections.abc import Iterator
from json import dumps

from panicdoor import words as grammar
from panicdoor.commands.registry import Context, Level, Where, command, find, parts
from panicdoor.errors import CommandError

ORDER_LINE_MAX = 160  # characters: what an order's line may have, so that it prints as one


@command(level=Level.PUBLIC, where=Where.FRONTEND)
def help(context: Context, name: str = "", *, json: bool = False) -> Iterator[str]:
    """List the commands, or explain one of them.

    Without NAME: the commands of this door. With the name of a command: what it does, its
    arguments, and an example that can be typed. With a level, such as observe: its commands, a
    line each.

    Arguments:
        name: the command to explain, or a level
        json: print JSON, for programs

    Examples:
        > help
        ...ping...
        > help ping
        ping
        ...
    """
    yield from parts(context.manual.help_json(name) if json else context.manual.help(name))


@command(level=Level.PUBLIC, where=Where.FRONTEND)
def doc(context: Context, page: int = 1, *, json: bool = False) -> Iterator[str]:
    """Show this door's manual, screen by screen.

    A screen fits on a terminal of 80 columns and 24 lines. The lines to copy have the address in
    them that you reached. With --json comes everything at once, commands and arguments included.

    Arguments:
        page: which screen, counted from 1
        json: print the whole manual as one JSON object

    Examples:
        > doc 2
        PANICDOOR web1...2 of 2...
    """
    if json:
        yield from parts(context.manual.json(context.here))
    else:
        yield context.manual.screen(page, context.here, context.now, context.challenge())


@command(level=Level.PUBLIC, where=Where.FRONTEND)
def about(context: Context, *, json: bool = False) -> Iterator[str]:
    """Say whose door this is, and whom to call.

    Prints the door's name, its owner, the fingerprint of its key, and the other ways to this
    machine, as far as its owner wrote them down. A fingerprint that differs from the one that you
    noted earlier is another door's; one that agrees proves nothing alone, as anybody can print it.

    Arguments:
        json: print JSON, for programs

    Examples:
        > about
        name...web1
        ...
    """
    manual = context.manual
    yield from parts(manual.about_json(context.here) if json else manual.about(context.here))


@command(level=Level.PUBLIC, where=Where.MONITOR)
def ping(context: Context) -> Iterator[str]:
    """Check that the door is whole, not only its text.

    The manual is served by any one process of the door. This answer comes from the process that
    decides what may be done. The time is the door's own clock, which may be wrong.

    Examples:
        > ping
        pong from web1, ... UTC
    """
    yield f"pong from {context.manual.name}, {context.now}\n"


@command(level=Level.PUBLIC, where=Where.MONITOR)
def challenge(context: Context, *, json: bool = False) -> Iterator[str]:
    """Get a fresh challenge, for an order to be signed.

    It shows that the order is new and meant for this door. It is good for 15 minutes, and no longer
    than this run of the door. One that came over tcp serves anywhere but in a datagram; one that
    came by datagram serves in datagrams from your own network.

    Arguments:
        json: print JSON, for programs

    Examples:
        > challenge
        ...-...-...
    """
    fresh = context.challenge()
    if not fresh:
        raise CommandError("no challenge is at hand just now; ask again in a moment")
    yield f"{dumps({'challenge': fresh})}\n" if json else f"{fresh}\n"


@command(level=Level.PUBLIC, where=Where.FRONTEND, verbatim=True)
def order(context: Context, name: str, *words: str) -> Iterator[str]:
    """Print the text of an order; this runs nothing.

    An order is a short text that asks this door to run one command once, and that a person who may
    do so has signed. Here its blanks are filled in, no more: nothing is signed. It is no secret.

    Arguments:
        name: the command that the order is to run
        words: its arguments, as they would be typed

    Examples:
        > order ping
        Nothing was run...
        panicdoor order 1
        door: web1 SHA256:...
        fresh: challenge ...
        by: YOU
        do: ping
        why: WHY, TICKET
    """
    manual = context.manual
    line = f"do: {grammar.join((name, *words))}"
    if len(line) > ORDER_LINE_MAX:
        raise CommandError(f"a line of an order has {ORDER_LINE_MAX} characters at most")
    yield from _remarks(context, (name, *words))
    yield "\n".join(
        [
            "",
            "panicdoor order 1",
            f"door: {manual.name} {manual.fingerprint}",
            f"fresh: challenge {context.challenge() or 'GET-ONE-WITH-THE-COMMAND-challenge'}",
            "by: YOU",
            line,
            "why: WHY, TICKET",
            "",
        ]
    )


def _remarks(context: Context, words: tuple[str, ...]) -> Iterator[str]:
    yield "Nothing was run: this is only the text, and it does nothing until it is signed.\n"
    if "order" not in context.manual.ways:
        yield "This door does not take orders yet, not even signed ones.\n"
    try:
        find(words).bind(words[1:])
    except CommandError as wrong:
        yield f"As it stands, this door would refuse it: {wrong}.\n"
