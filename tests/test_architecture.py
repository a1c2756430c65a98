"""The shape of the source: who may import whom, what may do I/O, how long anything may be.

Every rule is a function from a module to its violations, and `test_the_rules_see_what_they_are_for`
shows each of them a module that breaks it.
"""

import ast
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "panicdoor"

MONITOR = ("processes.monitor", "processes.cases")  # the monitor's own modules
MODULE_LINES = 500
FUNCTION_LINES = 60

# A module imports from rows with a higher number, or from its own package.
ROWS = {
    "cli": 1,
    "processes": 2,
    "judge": 3,
    "documentation": 3,
    "commands": 4,
    "orders": 5,
    "protocols": 5,
    "records": 5,
    "kernel": 6,
    "roles": 7,
    "messages": 7,
    "config": 7,
    "errors": 7,
    "words": 7,
    "printable": 7,
    "keys": 7,
    "certificates": 7,
}
BASE = 7

# What decides and what formats: time and randomness are arguments there, the world is not seen.
PURE = (
    "judge",
    "documentation",
    "orders",
    "protocols",
    "records",
    "commands.registry",
    "messages",
    "errors",
    "config",
    "words",
    "printable",
    "roles",
    "keys",
    "certificates",
)
WORLD = {
    "asyncio", "concurrent", "ctypes", "fcntl", "io", "logging", "mmap", "multiprocessing", "os",
    "pathlib", "random", "secrets", "select", "selectors", "shutil", "signal", "socket",
    "subprocess", "sys", "tempfile", "threading", "time",
}  # fmt: skip
WORLD_CALLS = {"open", "input", "print", "now", "utcnow", "today"}

# The one place that imports by name: the program imports only the subcommand that runs.
DISPATCH = "cli.main"

VAGUE_MODULES = {"utils", "util", "helpers", "helper", "common", "core", "misc"}
VAGUE_CLASS = re.compile(r"Manager|Handler|Helper|Util")

# Modules without a test file of their own, and why.
UNTESTED = {
    "errors": "five names",
    "protocols.base": "the contract, which test_contract checks with every protocol",
    "cli.docs": "run by test_docs, which compares what it writes",
}
# Tests of more than one file.
WHOLE = {
    "test_architecture.py",
    "test_architecture_page.py",
    "test_docs.py",
    "test_startup.py",
    "protocols/test_contract.py",
    "processes/test_opening_certificate.py",
}
WHOLE_FOLDERS = {"bounds", "faults", "clients", "privileged"}


@dataclass(frozen=True, slots=True)
class Module:
    """A source file of the package: `name` is like `protocols.telnet`, or empty for the top."""

    name: str
    text: str
    tree: ast.Module
    is_package: bool = False

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    def imports(self) -> Iterator[tuple[str, int]]:
        """Yield the full name of each thing imported, and its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                start = "." * node.level + (node.module or "")
                yield from ((f"{start}.{alias.name}", node.lineno) for alias in node.names)

    def ours(self) -> Iterator[tuple[str, int]]:
        """Yield the same for our own modules, without the name of the whole package."""
        for name, line in self.imports():
            if name.startswith("panicdoor."):
                yield name.removeprefix("panicdoor."), line


def module(name: str, text: str, is_package: bool = False) -> Module:
    return Module(name, text, ast.parse(text), is_package)


def read(file: Path) -> Module:
    parts = list(file.relative_to(SOURCE).with_suffix("").parts)
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return module(name, file.read_text("utf-8"), is_package)


MODULES = [read(file) for file in sorted(SOURCE.rglob("*.py"))]


def rows(m: Module) -> Iterator[str]:
    if m.name in ("", "__main__"):
        allowed = {"cli"} if m.name else set()
        for name, line in m.ours():
            if name.partition(".")[0] not in allowed:
                yield f"line {line}: {name}"
        return
    row = ROWS.get(m.package)
    if row is None:
        yield f"{m.package} is in no row"
        return
    for name, line in m.ours():
        other = name.partition(".")[0]
        if name == "__version__" or other == m.package or row == ROWS.get(other) == BASE:
            continue
        if ROWS.get(other, 0) <= row:
            yield f"line {line}: row {row} imports {name}"


def no_relative_imports(m: Module) -> Iterator[str]:
    yield from (f"line {line}: {name}" for name, line in m.imports() if name.startswith("."))


def is_pure(m: Module) -> bool:
    return any(m.name == name or m.name.startswith(f"{name}.") for name in PURE)


def pure_modules_see_no_world(m: Module) -> Iterator[str]:
    if not is_pure(m):
        return
    for name, line in m.imports():
        if name.partition(".")[0] in WORLD or name.startswith("panicdoor.kernel"):
            yield f"line {line}: {name}"
    for node in ast.walk(m.tree):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.id if isinstance(called, ast.Name) else ""
            name = called.attr if isinstance(called, ast.Attribute) else name
            bare = isinstance(called, ast.Name)
            if name in WORLD_CALLS and (bare or name in ("now", "utcnow", "today")):
                yield f"line {node.lineno}: calls {name}"


def only_the_monitor_judges(m: Module) -> Iterator[str]:
    if m.name in MONITOR or m.package == "judge":
        return
    for name, line in m.ours():
        if name.partition(".")[0] == "judge":
            yield f"line {line}: {name}"


def functions(m: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(m.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def sizes(m: Module) -> Iterator[str]:
    lines = len(m.text.splitlines())
    if lines > MODULE_LINES:
        yield f"{lines} lines"
    for function in functions(m):
        length = (function.end_lineno or 0) - function.lineno + 1
        if length > FUNCTION_LINES:
            yield f"line {function.lineno}: {function.name} has {length} lines"


def imports_stand_at_the_top(m: Module) -> Iterator[str]:
    for function in functions(m):
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield f"line {node.lineno}: import inside {function.name}"
    if m.name != DISPATCH:
        for node in ast.walk(m.tree):
            name = node.id if isinstance(node, ast.Name) else ""
            name = node.attr if isinstance(node, ast.Attribute) else name
            if name in ("__import__", "import_module") and isinstance(node, ast.expr):
                yield f"line {node.lineno}: imports by name"


def names_say_something(m: Module) -> Iterator[str]:
    if VAGUE_MODULES & set(m.name.split(".")):
        yield m.name
    for node in ast.walk(m.tree):
        if isinstance(node, ast.ClassDef) and VAGUE_CLASS.search(node.name):
            yield f"line {node.lineno}: {node.name}"


def docstring_first(m: Module) -> Iterator[str]:
    if not ast.get_docstring(m.tree):
        yield "no docstring"


def packages_export_nothing(m: Module) -> Iterator[str]:
    if m.is_package:
        for node in m.tree.body[1:]:
            version = isinstance(node, ast.Assign) and m.name == ""
            if not version and not loads_its_own(node, m):
                yield f"line {node.lineno}: only a docstring stands here"


def loads_its_own(node: ast.stmt, m: Module) -> bool:
    """Return whether `node` imports whole modules of the package, which register themselves."""
    if not isinstance(node, ast.ImportFrom) or node.module != f"panicdoor.{m.name}":
        return False
    return all((SOURCE / m.name / f"{alias.name}.py").is_file() for alias in node.names)


RULES: list[Callable[[Module], Iterator[str]]] = [
    rows,
    no_relative_imports,
    pure_modules_see_no_world,
    only_the_monitor_judges,
    sizes,
    imports_stand_at_the_top,
    names_say_something,
    docstring_first,
    packages_export_nothing,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule: Callable[[Module], Iterator[str]]) -> None:
    assert [f"{m.name or '__init__'}: {said}" for m in MODULES for said in rule(m)] == []


BROKEN = [
    (rows, "protocols.x", "from panicdoor.processes import stream"),
    (rows, "protocols.x", "from panicdoor.records.journal import Line"),
    (rows, "protocols.x", "import panicdoor.cli.main"),
    (rows, "judge.x", "from panicdoor import documentation"),
    (rows, "config", "from panicdoor.kernel import ports"),
    (rows, "processes.x", "from panicdoor.cli import init"),
    (rows, "__main__", "from panicdoor.processes import supervisor"),
    (rows, "stray", "x = 1"),
    (no_relative_imports, "judge.x", "from . import y"),
    (no_relative_imports, "judge.x", "from ..processes import y"),
    (pure_modules_see_no_world, "judge.x", "import time"),
    (pure_modules_see_no_world, "orders.x", "from os import path"),
    (pure_modules_see_no_world, "protocols.x", "def f():\n    import socket.x"),
    (pure_modules_see_no_world, "protocols.x", "from panicdoor.kernel import ports"),
    (pure_modules_see_no_world, "commands.registry", "import asyncio"),
    (pure_modules_see_no_world, "config", "open('x')"),
    (pure_modules_see_no_world, "keys", "datetime.now(UTC)"),
    (only_the_monitor_judges, "processes.stream", "from panicdoor.judge import dispatch"),
    (only_the_monitor_judges, "processes.stream", "from panicdoor import judge"),
    (sizes, "x", "\n" * (MODULE_LINES + 1)),
    (sizes, "x", "def f():\n" + "    x = 1\n" * FUNCTION_LINES),
    (sizes, "x", "class A:\n    async def f(self):\n" + "        x = 1\n" * FUNCTION_LINES),
    (imports_stand_at_the_top, "x", "def f():\n    if x:\n        import os"),
    (imports_stand_at_the_top, "cli.main", "def f():\n    import os"),
    (imports_stand_at_the_top, "cli.x", "import importlib\nimportlib.import_module('x')"),
    (imports_stand_at_the_top, "cli.x", "__import__('x')"),
    (names_say_something, "protocols.utils", "x = 1"),
    (names_say_something, "x", "class SocketManager: pass"),
    (names_say_something, "x", "class HandlerOfIt: pass"),
    (docstring_first, "x", "import os"),
]


@pytest.mark.parametrize(("rule", "name", "text"), BROKEN)
def test_the_rules_see_what_they_are_for(
    rule: Callable[[Module], Iterator[str]], name: str, text: str
) -> None:
    assert list(rule(module(name, text))) != []


def test_the_rules_see_exports_in_packages() -> None:
    text = '"""Words."""\nfrom panicdoor.judge.dispatch import run'
    assert list(packages_export_nothing(module("judge", text, is_package=True))) != []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("protocols.telnet", "from panicdoor.protocols.base import Part"),
        ("processes.monitor", "from panicdoor.judge import dispatch"),
        ("roles", "from panicdoor.messages import Ask"),
        ("cli.main", "from panicdoor import __version__"),
        ("__main__", "from panicdoor.cli.main import main"),
        ("keys", "from datetime import UTC, datetime\nbook.open()"),
    ],
)
def test_the_rules_let_pass_what_is_right(name: str, text: str) -> None:
    m = module(name, f'"""Words."""\n{text}')
    assert [said for rule in RULES for said in rule(m)] == []


def test_every_rule_is_shown_a_breach() -> None:
    shown = {rule for rule, _, _ in BROKEN} | {packages_export_nothing}
    assert shown == set(RULES)


# Tests


def mirrored(test: Path) -> str:
    """Return the module that a test file is about, by its path."""
    relative = test.relative_to(ROOT / "tests")
    name = relative.with_name(relative.name.removeprefix("test_")).with_suffix("")
    return ".".join(name.parts)


TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def test_every_module_has_its_tests() -> None:
    have = {mirrored(test) for test in TESTS}
    need = {m.name for m in MODULES if not m.is_package and m.name != "__main__"}
    assert sorted(need - have - set(UNTESTED)) == []


def test_every_test_has_its_module() -> None:
    names = {m.name for m in MODULES if not m.is_package}
    stray = []
    for test in TESTS:
        path = test.relative_to(ROOT / "tests")
        whole = path.as_posix() in WHOLE or path.parts[0] in WHOLE_FOLDERS
        if not whole and mirrored(test) not in names:
            stray.append(path.as_posix())
    assert stray == []


def test_no_exception_outlives_its_reason() -> None:
    have = {mirrored(test) for test in TESTS}
    assert [name for name in UNTESTED if name in have] == []


# Every file that git knows


def tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        pytest.skip("this is no git checkout, so nobody knows which files belong to it")
    files = [ROOT / name for name in listing.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


# Written in two parts, or this file would be the first to break the rule.
UNFINISHED = re.compile(r"\bTO" r"DO\b|\bFIX" r"ME\b|\bXX" r"X\b|\b[Ff]or no" r"w\b(?! in )")
MACHINE = re.compile(
    r"/wo" r"rk/|/ro" r"ot/|(?:extra-)?index-" r"url|trusted-" r"host|find-" r"links|://[^/\s\"']*:[^/\s\"'@]*@"
)  # fmt: skip


@pytest.mark.parametrize("pattern", [UNFINISHED, MACHINE], ids=["unfinished", "machine"])
def test_no_file_says(pattern: re.Pattern[str]) -> None:
    found = []
    for file in tracked():
        try:
            text = file.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if match := pattern.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {match[0]}")
    assert found == []


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (UNFINISHED, "# TO" "DO: more"),
        (UNFINISHED, "that will do for no" "w."),
        (MACHINE, "/wo" "rk/main/src"),
        (MACHINE, "--index-" "url https://packages.example"),
        (MACHINE, "https:/" "/me:secret@packages.example/simple"),
    ],
)  # fmt: skip
def test_the_patterns_see_what_they_are_for(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)
