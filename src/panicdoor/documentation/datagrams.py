"""The manual in pages for datagrams. The first stands alone; the rest may be lost on the way."""

from typing import Final

from panicdoor.commands.registry import Level
from panicdoor.documentation.facts import Line, Stock
from panicdoor.documentation.help import explain, listing
from panicdoor.documentation.layout import pack, table, wrap
from panicdoor.documentation.screens import ASK_ABOUT, ASK_PAGE, owner, title, ways_to_text
from panicdoor.documentation.template import FRESH, HOST, NOW, PORT, Template

PAGE_MAX: Final = 1200  # bytes: passes every network whole, tunnels included
PAGES_MAX: Final = 256  # the page number is one byte
_ELSEWHERE_ROWS: Final = 16  # all that door.toml may have, were every text a long one


def pages(stock: Stock) -> list[str]:
    """Return the pages, with blanks; filled in, each has at most PAGE_MAX bytes."""
    name = stock.facts.name
    head = f"panicdoor {name} page {PAGES_MAX}/{PAGES_MAX}\n"
    blocks = [_identity(stock), *_more(stock)]
    found = pack(blocks, PAGE_MAX - len(head), lambda text: len(Template(text).longest()))
    if len(found) > PAGES_MAX:
        raise ValueError(f"the manual has {len(found)} pages, and {PAGES_MAX} can be asked for")
    return [f"panicdoor {name} page {n + 1}/{len(found)}\n{page}" for n, page in enumerate(found)]


def _identity(stock: Stock) -> list[str]:
    facts = stock.facts
    lines = wrap("An emergency door, not a login. Never send a password.")
    lines += wrap(title(facts), "Door   ")
    lines += wrap(owner(facts), "Owner  ")
    lines += [f"Key    {facts.fingerprint}  (as you noted it?)"]
    lines += [f"Clock  {NOW}"]
    if stock.only_explains:
        lines += ["Limit  so far it only explains itself: it cannot repair the host"]
    lines += stock.keep([Line(FRESH, commands=("challenge",))])
    lines += ["Page 2, 3, ...: 400 zero bytes, but the second one is 1, 2, ...; as here:"]
    lines += [f"  {ASK_PAGE}"]
    lines += stock.keep([Line(f"All of it by tcp: nc {HOST} {PORT}  then type: doc", ("nc",))])
    return lines


def _more(stock: Stock) -> list[list[str]]:
    elsewhere = table(list(stock.facts.elsewhere.items()), _ELSEWHERE_ROWS, "")
    blocks = [["If this door is not enough:", *elsewhere]] if elsewhere else []
    blocks += [["Other ways to this text:", *ways_to_text(stock)]]
    everybody = stock.level(Level.PUBLIC)  # a page costs a budget: the others can be asked for
    commands = [explain(c, examples=False).split("\n") for c in everybody]
    if commands:
        about = ["One byte 1 and a command, padded with blanks, bring its answer:"]
        about += [f"  {ASK_ABOUT}", ""]
        blocks += [[*about, *commands[0]], *commands[1:]]
    if len(everybody) < len(stock.commands) and "help" in stock.commands:
        blocks += [listing(c for c in stock.commands.values() if c not in everybody).split("\n")]
    return blocks


def short(limit: int, port: int | None) -> str:
    """Return the longest answer to a short question that has at most `limit` bytes."""
    tcp = f"tcp {port}" if port else "tcp"
    for text in (
        f"panicdoor: send 400 zero bytes, or use {tcp}, for help\n",
        f"panicdoor: use {tcp}\n",
    ):
        if len(text) <= limit:
            return text
    return ""
