"""ARCHITECTURE.md says what the source says: its tables are made from it, its names exist in it.

`python -m tests.test_architecture_page` (`make docs`) writes the tables anew.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.test_architecture import MODULES, ROWS, Module

import panicdoor.commands  # noqa: F401 - fills the table of rules
from panicdoor.commands.findings import AREAS, RULES
from panicdoor.roles import MESSAGES, ROLES, Role, places_of

PAGE = Path(__file__).parents[1] / "ARCHITECTURE.md"

ROW_TITLES = {
    1: "the program at the desk: one file per subcommand",
    2: "everything that waits: one file per role, and what they share",
    3: "what decides, and what explains; no I/O",
    4: "the commands and their registry",
    5: "formats and protocols; no I/O",
    6: "everything asked of the kernel",
    7: "what everybody may know; no I/O",
}

# Whose constants are bounds: what grows with clients, peers, files or time.
BOUNDED = (
    "processes",
    "protocols",
    "messages",
    "words",
    "records",
    "kernel.sockets",
    "kernel.memory",
    "config",
    "keys",
)
BOUND = re.compile(
    r"[A-Z][A-Z0-9_]*(_MAX|_MIN|_S|_MS|_RATE|_BURST|_SIZE|_RESERVE)|STRANGERS|OPERATORS|BACKLOG|BURST"
    r"|BATCH|ACCEPTS|EVENTS|CELLS|MISSES|BUGS_A_MINUTE|OWN_FDS|ROUNDS|FACTOR|STACK_GUARD"
)
NO_BOUND = {"protocols.datagram.KEY_SIZE", "config.PORT_MAX", "keys.RSA_MIN"}


def table(head: str, rows: Iterator[tuple[str, ...]]) -> str:
    """Return a table of Markdown: `head` has its titles, apart by |."""
    titles = [title.strip() for title in head.split("|")]
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def roles() -> Iterator[tuple[str, ...]]:
    for role in ROLES:
        yield (
            role.name,
            f"`processes/{role.entry}.py`",
            ", ".join(places_of(role)),
            "keeps root" if role.root else "gives it up",
            role.listens,
            ", ".join(role.secrets) or _spare_holds(role),
            ", ".join(role.files) or _spare_holds(role),
            role.policy or _spare_holds(role),
        )


def _spare_holds(role: Role) -> str:
    return "all, unread" if role.name == "spare" else ""


def messages() -> Iterator[tuple[str, ...]]:
    for senders, receivers, kinds in MESSAGES:
        names = " ".join(kind.__name__ for kind in kinds)
        yield names, ", ".join(senders), ", ".join(receivers)


def rows() -> Iterator[tuple[str, ...]]:
    existing = {m.package for m in MODULES}
    for row, title in ROW_TITLES.items():
        names = [name for name, number in ROWS.items() if number == row and name in existing]
        yield str(row), " ".join(f"`{name}`" for name in names), title


def rules() -> Iterator[tuple[str, ...]]:
    for area in AREAS:
        for rule in RULES:
            if rule.area == area:
                yield area, f"`{rule.name}`", rule.normal, rule.source


def bounds() -> Iterator[tuple[str, ...]]:
    for m in MODULES:
        if any(m.name == name or m.name.startswith(f"{name}.") for name in BOUNDED):
            yield from constants(m)


def constants(m: Module) -> Iterator[tuple[str, str, str]]:
    """Yield the bounds of a module: name, value as written, and the comment beside it."""
    lines = m.text.splitlines()
    for node in m.tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        name = node.target.id
        if node.value is None or not BOUND.fullmatch(name) or f"{m.name}.{name}" in NO_BOUND:
            continue
        comment = lines[(node.end_lineno or 0) - 1].partition("  # ")[2]
        value = ast.get_source_segment(m.text, node.value) or ""
        if comment and not isinstance(node.value, ast.Call):
            yield f"`{m.name}.{name}`", f"`{value}`", comment.replace("|", "\\|")


TABLES = {
    "roles": lambda: table(
        "role | filled by | places | rights | listens | secrets | files | policy", roles()
    ),
    "messages": lambda: table("message | from | to", messages()),
    "rows": lambda: table("row | packages and modules | what stands there", rows()),
    "rules": lambda: table("area | rule | normal | source", rules()),
    "bounds": lambda: table("constant | value | unit, meaning and reason", bounds()),
}
BLOCK = re.compile(r"(<!-- (\w+): from the source -->\n).*?(<!-- end -->)", re.DOTALL)


def written(text: str) -> str:
    """Return the page with its tables as the source has them."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}\n{block[3]}", text)


def test_tables_are_those_of_the_source() -> None:
    text = PAGE.read_text("utf-8")
    assert sorted(name for _, name, _ in BLOCK.findall(text)) == sorted(TABLES)
    assert text == written(text), "run: make docs"


def test_every_bound_has_its_reason() -> None:
    silent = []
    for m in MODULES:
        if not any(m.name == name or m.name.startswith(f"{name}.") for name in BOUNDED):
            continue
        told = {name for name, _, _ in constants(m)}
        for node in m.tree.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = f"{m.name}.{node.target.id}"
                number = isinstance(node.value, ast.Constant | ast.BinOp)
                if number and BOUND.fullmatch(node.target.id) and name not in NO_BOUND:
                    silent += [name] * (f"`{name}`" not in told)
    assert silent == []


# Names in the text: files, and `Class.method` or `module.name` of the source.
PATHS = re.compile(r"`((?:src|tests|docs|bench|requirements|processes|protocols|kernel|judge|cli"
                   r"|commands|documentation|records)/[\w/.*-]*)`")  # fmt: skip
NAMES = re.compile(r"`([a-z_]+(?:/[a-z_]+)?\.py):([A-Za-z_.]+)`")
TEXT = PAGE.read_text("utf-8") if PAGE.exists() else ""


@pytest.mark.parametrize("path", sorted(set(PATHS.findall(TEXT))))
def test_a_file_that_is_named_exists(path: str) -> None:
    roots = (PAGE.parent, PAGE.parent / "src" / "panicdoor")
    assert any((root / path).exists() for root in roots)


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMES.findall(TEXT))))
def test_a_function_that_is_named_exists(file: str, name: str) -> None:
    found: object = importlib.import_module(f"panicdoor.{file[:-3].replace('/', '.')}")
    for part in name.split("."):
        found = getattr(found, part)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
