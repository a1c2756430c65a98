"""What was measured, as text for a terminal, as Markdown, and as JSON.

No date and no name of the machine: two runs of the same code on the same kind of machine differ
in their figures only.
"""

import json
import os
import platform
from dataclasses import asdict

from bench.part import Part

AIMS = ("aim", "found", "met")


def machine() -> dict[str, str | int]:
    """Return the facts of this machine that the figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.system(),
        "kernel": platform.release().partition("-")[0],
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "user": "other" if os.geteuid() else "root",
    }


def _facts() -> str:
    facts = machine()
    cores = f"{facts['cores']} core{'' if facts['cores'] == 1 else 's'}"
    system = f"{facts['system']} {facts['kernel']} on {facts['architecture']}"
    return f"{cores}, {system}, Python {facts['python']}, run by {facts['user']}"


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() and " " not in cell


def _aim_rows(parts: dict[str, Part]) -> list[tuple[str, ...]]:
    aims = (aim for part in parts.values() for aim in part.aims)
    return [(aim.text, aim.found, "yes" if aim.met else "NO") for aim in aims]


def _lines(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """Return a table that is Markdown, and aligned for whoever reads it as it is."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    right = [bool(rows) and all(_is_number(row[i]) for row in rows) for i in range(len(columns))]

    def line(cells: tuple[str, ...]) -> str:
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * (width + 1) + (":" if to_right else "-")
        for width, to_right in zip(widths, right, strict=True)
    )
    return [line(columns), f"|{'|'.join(rule)}|", *(line(row) for row in rows)]


def as_markdown(parts: dict[str, Part]) -> str:
    """Return the whole report; it is also what the terminal shows."""
    out = ["# Measured by `make bench`", "", f"{_facts()}. Loopback; medians of turns.", ""]
    aims = _aim_rows(parts)
    if aims:
        out += ["## Aims", "", *_lines(AIMS, aims), ""]
    for part in parts.values():
        out += [f"## {part.title}", "", *_lines(part.columns, part.rows), ""]
        out += [*(f"* {note}" for note in part.notes), *([""] if part.notes else [])]
    return "\n".join(out)


def as_json(parts: dict[str, Part]) -> str:
    """Return the figures for other programs: machine, aims, and each part's numbers by name."""
    document = {
        "machine": machine(),
        "aims": [asdict(aim) for part in parts.values() for aim in part.aims],
        "parts": {
            name: {
                "title": part.title,
                "figures": {key: round(value, 4) for key, value in part.figures.items()},
                "notes": part.notes,
            }
            for name, part in parts.items()
        },
    }
    return json.dumps(document, indent=2) + "\n"
