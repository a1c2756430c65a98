"""Whether a JSON answer is what its command's manual says, in both directions."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from panicdoor.commands.fields import Field
from panicdoor.commands.registry import COMMANDS

TYPES: Final[dict[str, tuple[type, ...]]] = {
    "text": (str,),
    "bool": (bool,),
    "int": (int,),
    "bytes": (int,),
    "seconds": (int, float),
    "percent": (int, float),
    "time": (int, float),
    "date": (str,),
    "number": (int, float),
    "object": (dict,),
}


def check(line: str, document: Any) -> None:
    """Fail unless an answer to `line` is what is documented: nothing more and nothing less."""
    name = line.split(" ")[0]
    assert list(misfits(COMMANDS[name].fields, document)) == []


def misfits(fields: tuple[Field, ...], document: Any) -> Iterator[str]:
    """Yield what is not documented, missing, or of another kind."""
    alone = {field.path for field in fields if field.about.startswith("alone")}
    if isinstance(document, dict) and {f".{key}" for key in document} <= alone:
        fields = tuple(f for f in fields if f".{f.path.split('.')[1]}" in alone)
    else:
        fields = tuple(f for f in fields if f".{f.path.split('.')[1]}" not in alone)
    yield from _walk({field.path: field.kind for field in fields}, "", document)


def _walk(kinds: dict[str, str], path: str, value: Any) -> Iterator[str]:
    kind = kinds.get(path, "")
    below = {_first(p[len(path) :]) for p in kinds if p.startswith((f"{path}.", f"{path}["))}
    if value is None:
        if not kind.endswith("?"):
            yield f"{path} is null"
    elif below == {"[]"}:
        if not isinstance(value, list):
            yield f"{path} is no list"
            return
        for item in value:
            yield from _walk(kinds, f"{path}[]", item)
    elif below:
        if not isinstance(value, dict):
            yield f"{path} is no object"
            return
        named = "." + "*" not in below
        for key, inner in value.items():
            if named and f".{key}" not in below:
                yield f"{path}.{key} is not documented"
            else:
                yield from _walk(kinds, f"{path}.{key}" if named else f"{path}.*", inner)
        if named:
            yield from (f"{path}{key} is missing" for key in below - {f".{k}" for k in value})
    elif not kind:
        yield f"{path} is not documented"
    else:
        yield from _leaf(path, kind.rstrip("?"), value)


def _leaf(path: str, kind: str, value: Any) -> Iterator[str]:
    if not isinstance(value, TYPES[kind]) or isinstance(value, bool) != (kind == "bool"):
        yield f"{path} is {value!r}, not of kind {kind}"
    elif kind == "date":
        try:
            aware = datetime.fromisoformat(str(value)).tzinfo is not None
        except ValueError:
            aware = False
        if not aware:
            yield f"{path} is {value!r}, no date"


def _first(path: str) -> str:
    """Return the first step of `.a.b[]`."""
    if path.startswith("[]"):
        return "[]"
    return "." + path[1:].split(".")[0].split("[")[0]
