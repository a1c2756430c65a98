"""`python -m bench [PART]...`: measure, print, and after a whole run write bench/results.

Exit codes: 0 measured (whatever was found), 1 not everything could be, 2 usage.
"""

import resource
import sys
from collections.abc import Callable
from typing import Final

from bench import client, measure, operators, picture, report, strangers
from bench.client import HERE, SkippedError
from bench.part import Part

RESULTS = HERE / "results"

PARTS: Final[dict[str, Callable[[], Part]]] = {
    "latency": measure.latency,
    "connections": measure.connections,
    "datagrams": measure.datagrams,
    "memory": measure.memory,
    "ssh": operators.command,
    "triage": operators.triage,
    "sessions": operators.sessions,
    "flood": strangers.flood,
}


def _admit_many() -> None:
    """Servers inherit the limit: a peer is not to look worse for a small one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _measure(names: list[str]) -> dict[str, Part]:
    parts = {}
    for name in names:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            parts[name] = PARTS[name]()
        except SkippedError as reason:
            print(f"{name} skipped: {reason}", file=sys.stderr)
    return parts


def _write(parts: dict[str, Part]) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "latest.json").write_text(report.as_json(parts))
    (RESULTS / "latest.md").write_text(report.as_markdown(parts))
    (RESULTS / "latest.svg").write_text(picture.draw(parts))


def main(names: list[str]) -> int:
    """Measure the parts named, or all of them."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"no such part: {' '.join(unknown)}; there are: {' '.join(PARTS)}", file=sys.stderr)
        return 2
    _admit_many()
    try:
        client.build()
    except SkippedError as reason:
        print(f"nothing can be measured: {reason}", file=sys.stderr)
        return 1
    wanted = names or list(PARTS)
    parts = _measure(wanted)
    print(report.as_markdown(parts))
    if len(parts) == len(PARTS):
        _write(parts)
    return 0 if len(parts) == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
