"""The figures as one SVG picture: panels of bars on a logarithmic scale, with the aims.

Made by hand, so that it needs no library and no font of its own. It brings its own background,
for it cannot know whether the page around it is dark or light.
"""

import math
from dataclasses import dataclass
from html import escape

from bench.doors import PEERS
from bench.measure import (
    AIM_BANNER,
    AIM_CONNECTION_BYTES,
    AIM_CONNECTIONS,
    AIM_DATAGRAMS,
    AIM_FLOOR,
    AT_ONCE,
    FLOODS,
    HELD,
)
from bench.operators import AIM_COMMAND, COMMANDS, CROWDS, SSHDS
from bench.part import Part
from bench.strangers import STRANGERS

WIDTH = 860
LABELS = 270  # where the bars begin
BARS = 470  # what the longest may take; the rest is for its figure
ROW = 26
BAR = 16
HEAD = 52  # above a panel's first bar
FOOT = 44  # below its last: the axis

STYLE = """
  svg { font: 13px system-ui, sans-serif; }
  .ground { fill: #ffffff; } .text { fill: #1f2328; } .faint { fill: #59636e; }
  .grid { stroke: #d1d9e0; } .aim { stroke: #bc4c00; stroke-dasharray: 5 3; stroke-width: 1.5; }
  .aimed { fill: #bc4c00; } .door { fill: #0969da; } .peer { fill: #9198a1; }
  .value { paint-order: stroke; stroke-width: 4px; fill: #1f2328; stroke: #ffffff; }
  .title { font-weight: 600; font-size: 15px; }
  .end { text-anchor: end; } .mid { text-anchor: middle; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } .text { fill: #f0f6fc; } .faint { fill: #9198a1; }
    .value { fill: #f0f6fc; stroke: #0d1117; }
    .grid { stroke: #30363d; } .aim { stroke: #f0883e; } .aimed { fill: #f0883e; }
    .door { fill: #4493f8; } .peer { fill: #656c76; }
  }
"""


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of bars: (label, name of its figure), shown where the figure was measured.

    `aim` is a value on the same axis, with the words that stand beside its line.
    """

    part: str
    title: str
    axis: str
    bars: tuple[tuple[str, str], ...]
    aim: tuple[float, str] | None = None


def _operators_panels(parts: dict[str, Part]) -> list[Panel]:
    command = parts["ssh"].figures
    peers = [command[f"{name} cpu ms"] for name in SSHDS if f"{name} cpu ms" in command]
    return [
        Panel(
            "ssh",
            "A command over ssh, login included: what it costs the server",
            "milliseconds of CPU time, median (less is better)",
            (
                *((f"panicdoor, {words}", f"panicdoor {words} cpu ms") for words in COMMANDS),
                *((f"{name}, true", f"{name} cpu ms") for name in SSHDS),
            ),
            (min(peers) / AIM_COMMAND, f"sshd / {AIM_COMMAND}") if peers else None,
        ),
        Panel(
            "triage",
            "triage beside ps and top, by the processes on the machine",
            "milliseconds until the answer is whole, median (less is better)",
            tuple(
                (f"{name}, {crowd:,}", f"{name} {crowd} p50 ms")
                for crowd in CROWDS
                for name in ("panicdoor triage", "ps aux", "top -bn1")
            ),
        ),
        Panel(
            "sessions",
            "Memory of an idle session over ssh",
            "KiB that no file backs, proportional set size (less is better)",
            tuple((name, f"{name} own KiB each") for name in ("panicdoor", *SSHDS)),
        ),
        Panel(
            "flood",
            "While strangers keep ssh busy: documentation, and sshd's banner",
            "milliseconds, 99th percentile (less is better; not shown: nobody was answered)",
            tuple(
                (f"{who}, from {where}", f"{who} {what}, strangers from {where} p99 ms")
                for who, what in (("panicdoor", "documentation"), ("sshd", "banner"))
                for where in STRANGERS
            ),
        ),
    ]


def _panels(parts: dict[str, Part]) -> list[Panel]:
    figures = parts["latency"].figures
    floor = figures["floor one by one p50 ms"]
    banner = figures.get("sshd one by one p50 ms", math.inf)
    limit = min((floor * AIM_FLOOR, f"{AIM_FLOOR} x floor"), (banner / AIM_BANNER, "sshd / 20"))
    held = parts["memory"].figures
    crowd = f"{AT_ONCE} at once p50 ms"
    return [
        Panel(
            "latency",
            "Time from connect to an answer, one by one",
            "milliseconds, median (less is better)",
            (
                ("panicdoor, whole documentation", "panicdoor one by one p50 ms"),
                ("floor.c: accept, write, close", "floor one by one p50 ms"),
                ("telnetlib3, first byte", "telnetlib3 one by one p50 ms"),
                ("dropbear, first byte", "dropbear one by one p50 ms"),
                ("sshd, first byte", "sshd one by one p50 ms"),
            ),
            limit,
        ),
        Panel(
            "latency",
            f"The same, {AT_ONCE} connections at once",
            "milliseconds, median (less is better)",
            (("panicdoor", f"panicdoor {crowd}"), ("floor.c", f"floor {crowd}")),
        ),
        Panel(
            "connections",
            "Connections on one core",
            "a second (more is better)",
            (
                ("panicdoor, whole documentation", "panicdoor a second"),
                ("floor.c", "floor a second"),
            ),
            (AIM_CONNECTIONS, "aim"),
        ),
        Panel(
            "datagrams",
            "Datagrams answered or refused on one core",
            "a second (more is better)",
            tuple((name, f"{name} a second") for name in FLOODS),
            (AIM_DATAGRAMS, "aim"),
        ),
        Panel(
            "memory",
            f"Memory of an idle connection, {HELD:,} held or as many as were admitted",
            "KiB, proportional set size (less is better)",
            tuple(
                (f"{name}, {held[f'{name} admitted']:,.0f} held", f"{name} KiB each")
                for name in ("panicdoor", *PEERS)
                if f"{name} admitted" in held
            ),
            (AIM_CONNECTION_BYTES / 1024, "aim"),
        ),
        *_operators_panels(parts),
    ]


def _text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(words)}</text>'


def _line(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" class="{kind}"/>'


def _tick(power: int) -> str:
    return f"{10**power:,}" if power >= 0 else f"{10.0**power:g}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _panel(panel: Panel, figures: dict[str, float], top: float) -> tuple[list[str], float]:
    """Return a panel's elements and where the next one may begin."""
    bars = [(label, figures[key]) for label, key in panel.bars if figures.get(key, 0) > 0]
    marks = [value for _, value in bars] + ([panel.aim[0]] if panel.aim else [])
    first = math.floor(math.log10(min(marks) * 0.7))
    last = max(math.ceil(math.log10(max(marks))), first + 1)

    def place(value: float) -> float:
        return LABELS + BARS * (math.log10(value) - first) / (last - first)

    bottom = top + HEAD + ROW * len(bars)
    out = [_text(24, top + 20, panel.title, "text title")]
    for power in range(first, last + 1):
        out.append(_line(place(10.0**power), top + HEAD - 8, bottom, "grid"))
        out.append(_text(place(10.0**power), bottom + 16, _tick(power), "faint mid"))
    out.append(_text(LABELS + BARS / 2, bottom + 34, f"{panel.axis}, log scale", "faint mid"))
    over = []
    for i, (label, value) in enumerate(bars):
        y = top + HEAD + ROW * i
        kind = "door" if label.startswith("panicdoor") or panel.part == "datagrams" else "peer"
        width = max(place(value) - LABELS, 1)
        size = f'width="{width:.1f}" height="{BAR}"'
        out.append(f'<rect x="{LABELS}" y="{y:.1f}" {size} class="{kind}"/>')
        over.append(_text(LABELS - 10, y + 13, label, "text end"))
        over.append(_text(LABELS + width + 6, y + 13, _figure(value), "value"))
    if panel.aim:
        at, words = place(panel.aim[0]), panel.aim[1]
        out.append(_line(at, top + HEAD - 8, bottom, "aim"))
        out.append(_text(at, top + HEAD - 13, words, "aimed mid"))
    return [*out, *over], bottom + FOOT + 16


def draw(parts: dict[str, Part]) -> str:
    """Return the picture of a whole run."""
    out: list[str] = []
    top = 12.0
    for panel in _panels(parts):
        elements, top = _panel(panel, parts[panel.part].figures, top)
        out += elements
    size = f'width="{WIDTH}" height="{top:.0f}" viewBox="0 0 {WIDTH} {top:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
            "<title>panicdoor beside its peers: time, rates, memory and CPU</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{WIDTH}" height="{top:.0f}" class="ground"/>',
            *out,
            "</svg>",
            "",
        ]
    )
