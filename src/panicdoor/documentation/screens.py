"""The greeting and the two screens: what somebody reads at three in the morning.

Order, density and limits (80 columns, 24 rows, ASCII) are the point. What is true of one door only
(owner, console, runbook) appears where its owner wrote it; what needs a way in or a command that
is not there does not appear. Lines to copy hold the client's own address, so with IPv6 they may
pass the margin.
"""

from typing import Final

from panicdoor.commands.registry import Level
from panicdoor.documentation.facts import Facts, Line, Stock
from panicdoor.documentation.layout import COLUMNS, MARGIN, ROWS, TITLE_MAX, cut, table, wrap
from panicdoor.documentation.template import AT, CONNECT, FRESH, HOST, NOW, PORT, QUOTE, URL

WAYS_TO_TEXT: Final = (
    (Line(f"telnet {HOST} {PORT}", ("telnet",)), "telnet"),
    (Line(f"nc {HOST} {PORT}", ("nc",)), "netcat"),
    (Line(f"exec 3<>/dev/tcp/{HOST}/{PORT}; cat <&3 & echo doc >&3", ("nc",)), "bash only"),
    (Line(f"curl {URL}", ("http",)), "curl"),
    (Line(f"openssl s_client -quiet -connect {CONNECT}", ("tls",)), "TLS"),
    (Line(f"head -c 400 /dev/zero | nc -u -w1 {HOST} {PORT}", ("udp",)), "datagram"),
    (Line(f"panicdoor ask {CONNECT}", ("udp",)), "program"),
)
SSH: Final = f"ssh -p {PORT} YOU@{HOST}"
WITH_A_KEY: Final = (
    Line("", ("ssh",)),
    Line("WITH YOUR SSH KEY  (nine times in ten; needs no sshd)", ("ssh",)),
    Line(f"  {SSH} triage    what is wrong, one screen", ("ssh",), ("triage",)),
    Line(f"  {SSH} login     why nobody can log in", ("ssh",), ("login",)),
    Line(f"  {SSH}           console: help, Tab, history", ("ssh",)),
)
ASK_PAGE: Final = f"printf '\\0\\1%398s' | tr ' ' '\\0' | nc -u -w1 {HOST} {PORT}"
ASK_ABOUT: Final = f"printf '\\1about%394s' | nc -u -w1 {HOST} {PORT}"
ELSEWHERE_ROWS: Final = 3  # lines of other ways to the host that short words make room for
ELSEWHERE_MORE: Final = "  more of these: type about"
NAME_MAX: Final = 36  # columns of a door's name where a sentence has to fit around it


def title(facts: Facts) -> str:
    """Return the door's name, and its fleet."""
    return f"{facts.name} ({facts.fleet})" if facts.fleet else facts.name


def owner(facts: Facts) -> str:
    """Return whose door it is, and what a stranger should do about it; may be empty."""
    contact = facts.contact.strip()
    if not contact:
        return ""
    end = "" if contact.endswith((".", "!", "?")) else "."
    return f"{contact}{end} Not on call for {cut(facts.name, NAME_MAX)}? Call first."


def ways_to_text(stock: Stock) -> list[str]:
    """Return a line for each client that can fetch the manual."""
    browser = (Line(f"http://{AT}/", ("http",)), "browser")
    return [f"  {label:<10} {w.text}" for w, label in (*WAYS_TO_TEXT, browser) if stock.has(w)]


def greeting(stock: Stock) -> str:
    """Return what is said into silence: under 80 columns, no prompt, no end of conversation."""
    facts = stock.facts
    name = cut(facts.name, NAME_MAX)
    lines = wrap(f"panicdoor of {name}: an emergency door, not a login. Never type a password.")
    first = "triage" if "triage" in stock.commands else ""
    lines += stock.keep(
        [
            Line(f"On call?  {SSH} {first}".rstrip() + "  (your own ssh key)", ("ssh",)),
            Line("Type  help  for what you can do here, or  quit  to leave", commands=("help",)),
            Line(
                "      doc   for the manual, two screens (a zero byte: the first)",
                commands=("doc",),
            ),
        ]
    )
    if stock.only_explains:
        lines += ["So far it only explains itself: it cannot repair this host."]
    if facts.contact:
        lines += [cut(f"Owner: {facts.contact}", MARGIN)]
    lines += [f"Door key {facts.fingerprint}"]
    return "\n".join([*lines, ""])


def screens(stock: Stock, secure: bool) -> list[str]:
    """Return the screens, with blanks; `secure` for clients inside TLS."""
    bodies = [_who(stock, secure), _ways(stock)]
    return [_screen(stock.facts, body, n + 1, len(bodies)) for n, body in enumerate(bodies)]


def _screen(facts: Facts, body: list[str], n: int, of: int) -> str:
    page = f"{n} of {of}"
    left = f"PANICDOOR {title(facts)}"
    if len(left) > TITLE_MAX:
        left = cut(f"PANICDOOR {facts.name}", TITLE_MAX)
    head = f"{left:<45}{page}     {NOW}"
    more = f"more: doc {n + 1}" if n < of else "back: doc"
    lines = [head, *body, f"{more:>{MARGIN}}"]
    if len(lines) > ROWS:
        raise ValueError(f"screen {n} of the manual would have {len(lines)} lines")
    return "\n".join([*lines, ""])


def _who(stock: Stock, secure: bool) -> list[str]:
    facts = stock.facts
    lines = wrap(
        f"The emergency door of this host, port {PORT}: held in memory, it answers when ssh, PAM, "
        "LDAP, DNS, systemd, fork(2) or the disk have failed."
        + (" So far it only explains itself: it cannot repair the host." * stock.only_explains)
    )
    lines += wrap(f"Not a login: no accounts, no passwords; never type one here. {_wire(secure)}")
    lines += wrap(owner(facts), "Owner  ") if facts.contact else []
    lines += [f"Key    {facts.fingerprint}  (as you noted it?)"]
    lines += stock.keep(WITH_A_KEY)
    lines += ["", "ANYONE MAY TYPE  (a line, then Enter; quit leaves)"]
    elsewhere = list(facts.elsewhere.items())
    room = ROWS - 2 - len(lines)
    taken = 2 + len(table(elsewhere, ELSEWHERE_ROWS, ELSEWHERE_MORE)) if elsewhere else 0
    lines += _public(stock, room - taken)
    if elsewhere:
        room = ROWS - 2 - len(lines)
        lines += ["", "IF THIS DOOR IS NOT ENOUGH"]
        lines += table(elsewhere, room - 2, ELSEWHERE_MORE)
    return lines


def _wire(secure: bool) -> str:
    if secure:
        return "TLS hides this text from listeners; it does not prove who answers."
    return "This comes as plain text: others may read it, or change it on the way."


def _public(stock: Stock, rows: int) -> list[str]:
    commands = stock.level(Level.PUBLIC)
    left = max((len(c.brief) for c in commands), default=0)
    lines = [cut(f"  {c.brief:<{left}}  {c.summary}", COLUMNS) for c in commands]
    if len(lines) <= rows:
        return lines
    return wrap(" | ".join(c.brief for c in commands), "  ")[: max(rows, 1)]


def _ways(stock: Stock) -> list[str]:
    lines = ["OTHER WAYS TO THIS TEXT", *ways_to_text(stock)]
    lines += stock.keep(
        [
            Line("", ("udp",)),
            Line("BY DATAGRAM  (the answer grows with the question, so pad it)", ("udp",)),
            Line(
                "  400 zero bytes bring page 1; with 1 as the second byte, page 2; ...",
                ("udp",),
            ),
            Line(f"    {ASK_PAGE}", ("udp",)),
            Line("  one byte of 1 and a command bring its answer", ("udp",), ("about",)),
            Line(f"    {ASK_ABOUT}", ("udp",), ("about",)),
            Line("", commands=("doc",)),
            Line("FOR PROGRAMS  (type doc --json: all of this as JSON)", commands=("doc",)),
            Line(f"  curl {QUOTE}http://{AT}/index.json{QUOTE}", ("http",), ("doc",)),
            Line("", commands=("challenge", "order")),
            Line("FOR AN ORDER  (order NAME prints all of it)", commands=("challenge", "order")),
            Line(f"  {FRESH}", commands=("challenge", "order")),
        ]
    )
    return lines
