"""The manual as one HTML page: no script, nothing fetched, readable on a phone at night.

The style stands in the page, because `style-src 'unsafe-inline'` is all that the door's
Content-Security-Policy allows. Everything that is not ours to write goes through `escape`.
"""

from typing import Final

from panicdoor.commands.registry import Command, Level
from panicdoor.documentation.facts import Line, Stock
from panicdoor.documentation.help import LEVELS
from panicdoor.documentation.layout import cut
from panicdoor.documentation.screens import NAME_MAX, SSH, WAYS_TO_TEXT, title
from panicdoor.documentation.template import AT, FRESH, NOW

STYLE: Final = """
:root{color-scheme:light dark;--bg:#fbfaf8;--card:#fff;--ink:#1b1b1a;--soft:#55534e;--line:#dad6ce;
--code:#f1eee8;--mark:#a3261b;--link:#0b57a4}
@media (prefers-color-scheme:dark){:root{--bg:#131416;--card:#1b1d20;--ink:#ecebe8;--soft:#a9a7a1;
--line:#35373b;--code:#0c0d0e;--mark:#ff8a7d;--link:#8cbcff}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);font:1.0625rem/1.55 system-ui,sans-serif;
overflow-wrap:anywhere}
header,main,footer{max-width:46rem;margin:0 auto;padding:0 1rem}
header{padding-top:1.75rem;border-top:.375rem solid var(--mark);max-width:none}
header>*{max-width:44rem;margin-left:auto;margin-right:auto}
h1{font-size:1.75rem;line-height:1.2;margin-top:0;margin-bottom:.5rem}
h1 small{display:block;font-size:.8125rem;letter-spacing:.08em;text-transform:uppercase;
color:var(--mark);font-weight:700;margin-bottom:.25rem}
h2{font-size:1.1875rem;margin:2.25rem 0 .75rem;padding-top:.75rem;border-top:1px solid var(--line)}
p,dl,pre{margin-top:0;margin-bottom:.75rem}
.note{border-left:.25rem solid var(--mark);padding-left:.75rem;font-weight:600}
.soft{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.3rem 1rem}
dt{color:var(--soft)}dd{margin:0}
pre,code,kbd{font:.9375em/1.5 ui-monospace,Menlo,Consolas,monospace}
pre{background:var(--code);border:1px solid var(--line);border-radius:.375rem;
padding:.5rem .75rem;white-space:pre-wrap;overflow-wrap:anywhere}
pre.out{white-space:pre;overflow-x:auto;font-size:.84375rem}
@media (max-width:46rem){pre.out{white-space:pre-wrap}}
h3{font-size:.875rem;font-weight:600;color:var(--soft);margin:.9rem 0 .25rem}
a{color:var(--link)}
nav a{display:inline-block;padding:.3rem .9rem .3rem 0}
details{background:var(--card);border:1px solid var(--line);border-radius:.375rem;margin:0 0 .5rem}
summary{padding:.6rem .75rem;cursor:pointer}
summary code{font-weight:700}
summary span{display:block;color:var(--soft)}
details>div{padding:0 .75rem .25rem}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
footer{margin-top:2.25rem;padding-top:.75rem;padding-bottom:2rem;color:var(--soft);font-size:.9375rem}
"""

# What `html.escape` does; with that module come the names of 2,231 characters, in every process.
_ESCAPED: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
)


def escape(text: str) -> str:
    """Return `text` as it may stand in HTML, in attributes too."""
    return text.translate(_ESCAPED)


def frame(heading: str, body: str) -> str:
    """Return a whole page; `heading` is text, `body` is HTML."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n'
        f"<title>{escape(heading)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}</body>\n</html>\n"
    )


def page(stock: Stock, secure: bool) -> str:
    """Return the manual as a page, with blanks."""
    facts = stock.facts
    return frame(
        f"panicdoor of {cut(facts.name, NAME_MAX)}",
        f"<header>\n<h1><small>Panic door</small>{escape(title(facts))}</h1>\n"
        "<p>The emergency door of this host: held in memory, it answers when ssh, PAM, LDAP, DNS, "
        "systemd, fork or the disk have failed.</p>\n"
        f"<p><strong>Not a login.</strong> No accounts, no passwords: never type one here. "
        f"{_wire(secure)}</p>\n{_limit(stock)}{_contents(stock)}</header>\n<main>\n"
        f"{_with_a_key(stock)}{_identity(stock)}{_elsewhere(stock)}{_commands(stock)}{_ways(stock)}</main>\n"
        f"<footer>Page made {NOW}, by the door's own clock, for {AT}.</footer>\n",
    )


def framed(heading: str, text: str) -> str:
    """Return a page with the output of a command in it."""
    return frame(
        heading,
        f"<header>\n<h1><small>Panic door</small>{escape(heading)}</h1>\n</header>\n"
        f'<main>\n<pre class="out" tabindex="0">{escape(text)}</pre>\n'
        '<p><a href="/">The manual of this door</a></p>\n</main>\n',
    )


def _wire(secure: bool) -> str:
    if secure:
        return (
            "TLS hides this page from listeners. The certificate is the door's own, so it does "
            "not prove who answers."
        )
    return "This page came as plain text: others may read it, or change it on the way."


def _limit(stock: Stock) -> str:
    if not stock.only_explains:
        return ""
    return '<p class="note">So far this door only explains itself: it cannot repair the host.</p>\n'


def _contents(stock: Stock) -> str:
    entries = [("#ssh", "With your ssh key")] if "ssh" in stock.ways else []
    entries += [("#who", "Whose door this is")]
    entries += [("#elsewhere", "If this is not enough")] if stock.facts.elsewhere else []
    entries += [("#may", "What you may type"), ("#ways", "Clients")]
    links = " ".join(f'<a href="{to}">{text}</a>' for to, text in entries)
    return f'<nav aria-label="On this page">{links}</nav>\n'


def _list(pairs: list[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{value}</dd>\n" for key, value in pairs)
    return f"<dl>\n{rows}</dl>\n"


def _with_a_key(stock: Stock) -> str:
    lines = stock.keep(
        [
            Line(f"{SSH} triage", ("ssh",), ("triage",)),
            Line(f"{SSH} login", ("ssh",), ("login",)),
            Line(SSH, ("ssh",)),
        ]
    )
    if not lines:
        return ""
    return (
        '<section id="ssh"><h2>With your ssh key</h2>\n<p class="soft">What is wrong, on one '
        "screen; why nobody can log in; a console. None of it needs sshd.</p>\n"
        f"<pre>{escape(chr(10).join(lines))}</pre></section>\n"
    )


def _identity(stock: Stock) -> str:
    facts = stock.facts
    pairs = [("Door", escape(facts.name))]
    pairs += [("Fleet", escape(facts.fleet))] if facts.fleet else []
    pairs += [("Owner", escape(facts.contact))] if facts.contact else []
    pairs += [("You reached", f"<code>{AT}</code>"), ("Clock", NOW)]
    call = (
        f"<p>Not on call for {escape(cut(facts.name, NAME_MAX))}? Call the owner first.</p>\n"
        if facts.contact
        else ""
    )
    return (
        f'<section id="who"><h2>Whose door this is</h2>\n{_list(pairs)}{call}'
        f"<h3>Key</h3><pre>{escape(facts.fingerprint)}</pre>\n"
        '<p class="soft">Compare it with the copy that you noted earlier. If they differ, stop. '
        "If they agree, that alone proves nothing: anybody can print a fingerprint.</p>"
        "</section>\n"
    )


def _commands(stock: Stock) -> str:
    text = [
        '<section id="may"><h2>What you may type</h2>\n<p class="soft">On a line from one of the '
        '<a href="#ways">clients</a> below: a command, then Enter.</p>\n'
    ]
    for level in Level:
        found = stock.level(level)
        if found:
            text.append(f"<h3>{level.value.capitalize()}: {LEVELS[level]}</h3>\n")
            text += [_command(stock, entry) for entry in found]
    if stock.has(Line("", commands=("challenge",))):
        text.append(f"<h3>For an order, good at this moment</h3><pre>{FRESH}</pre>\n")
    return "".join([*text, "</section>\n"])


def _command(stock: Stock, entry: Command) -> str:
    body = [f"<p>{escape(paragraph)}</p>\n" for paragraph in entry.manual]
    if entry.undo:
        body.append(f"<p>Undo: <code>{escape(entry.undo)}</code></p>\n")
    if entry.makes_root:
        body.append("<p>Whoever may run this can become root.</p>\n")
    if entry.arguments:
        body.append(_list([(a.shown, escape(a.about)) for a in entry.arguments]))
    anybody = entry.level is Level.PUBLIC and not any(a.required for a in entry.arguments)
    if "http" in stock.ways and anybody:
        body.append(f'<p><a href="/{escape(entry.name)}">Ask it from here</a></p>\n')
    return (
        f"<details><summary><code>{escape(entry.usage)}</code>"
        f"<span>{escape(entry.summary)}</span></summary><div>\n{''.join(body)}</div></details>\n"
    )


def _ways(stock: Stock) -> str:
    lines = "".join(
        f"<h3>{escape(label)}</h3><pre>{escape(line.text)}</pre>\n"
        for line, label in WAYS_TO_TEXT
        if stock.has(line)
    )
    programs = stock.keep(
        [
            Line(
                '<p>For programs: <a href="/index.json">index.json</a> has all of this, as '
                "<code>doc --json</code> has on a line.</p>\n",
                ("http",),
                ("doc",),
            )
        ]
    )
    return (
        '<section id="ways"><h2>Clients</h2>\n'
        '<p class="soft">All of them reach this same text, without a key.</p>\n'
        f"{lines}{''.join(programs)}</section>\n"
    )


def _elsewhere(stock: Stock) -> str:
    if not stock.facts.elsewhere:
        return ""
    pairs = [(key, _linked(value)) for key, value in stock.facts.elsewhere.items()]
    return (
        f'<section id="elsewhere"><h2>If this door is not enough</h2>\n{_list(pairs)}</section>\n'
    )


def _linked(value: str) -> str:
    shown = escape(value)
    if value.startswith(("https://", "http://")) and " " not in value:
        return f'<a href="{shown}" rel="noreferrer">{shown}</a>'
    return shown
