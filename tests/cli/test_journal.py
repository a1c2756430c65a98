"""`panicdoor journal`: what it reads, says and returns."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from panicdoor.cli.main import main
from panicdoor.records.journal import Entry, encode, following

VECTOR = (Path(__file__).parents[1] / "vectors/v1.journal").read_bytes()
LINES = VECTOR.splitlines(keepends=True)


@pytest.fixture
def door(tmp_path: Path) -> Path:
    (tmp_path / "journal.1").write_bytes(b"".join(LINES[:2]))
    (tmp_path / "journal").write_bytes(LINES[2])
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, list[str]]:
    code = main(["journal", *(str(word) for word in words)])
    return code, capsys.readouterr().out.splitlines()


def test_a_whole_journal(door: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = said(capsys, "verify", door)
    assert code == 0
    assert len(lines) == 1
    assert lines[0].startswith("whole: 3 entries, the last is 3 ")


def test_a_journal_that_is_not(door: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (door / "journal.1").write_bytes(LINES[0])
    code, lines = said(capsys, "verify", door)
    assert code == 1
    assert lines[0] == f"{door}/journal line 1: entry 2 missing before this one, number 3"
    assert lines[-1].startswith("not whole: 2 entries")


@pytest.mark.parametrize("form", ["panicdoor receipt 1\njournal: {}\ntime: x\n", "{}\n", "{}"])
def test_anchors(door: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    hash = LINES[2].split(b" ")[0].decode()
    anchor = door / "receipt"
    anchor.write_text(form.format(f"2 {hash}"))
    code, lines = said(capsys, "verify", door, "--anchor", anchor)
    assert code == 0
    assert lines[0].endswith(", 1 anchor agrees")
    anchor.write_text(form.format(f"2 {'0' * 64}"))
    code, lines = said(capsys, "verify", door, "--anchor", anchor)
    assert code == 1
    assert "entry 2 is another" in lines[0]


def test_an_anchor_that_is_none(door: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (door / "receipt").write_text("hello")
    assert main(["journal", "verify", str(door), "--anchor", str(door / "receipt")]) == 2
    assert "expected a receipt" in capsys.readouterr().err


def test_nothing_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["journal", "verify", str(tmp_path)]) == 2
    assert main(["journal", "show", str(tmp_path / "none")]) == 2
    (tmp_path / "journal").touch()
    assert said(capsys, "verify", tmp_path) == (1, ["no entry was found"])


def test_show(door: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = said(capsys, "show", door)
    assert code == 0
    assert [line.split()[0] for line in lines] == ["1", "2", "3"]
    assert lines[1].startswith("2 2026-11-23T02:13:20Z accept by=alice do='freeze user batch' ")
    assert said(capsys, "show", door, "--by", "alice")[1] == [lines[1]]
    assert said(capsys, "show", door, "--by", "bob")[1] == []
    assert said(capsys, "show", door, "--kind", "start")[1] == [lines[0]]
    assert said(capsys, "show", door, "--since", "2026-11-23T02:10:00Z")[1] == lines[1:]


def test_show_since(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry: Entry | None = None
    text = b""
    for hours in (48, 3, 1):
        then = (datetime.now(UTC) - timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = following(entry, then, "start", encode({"hours": hours}))
        text += entry.line + b"\n"
    (tmp_path / "journal").write_bytes(text)
    for since, count in (("30m", 0), ("2h", 1), ("1d", 2), ("7d", 3), ("600000s", 3)):
        assert len(said(capsys, "show", tmp_path, "--since", since)[1]) == count


@pytest.mark.parametrize("since", ["", "2", "2w", "yesterday", "-2h", "999999d", "2026-11-23"])
def test_since_what(door: Path, capsys: pytest.CaptureFixture[str], since: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["journal", "show", str(door), f"--since={since}"])
    assert ended.value.code == 2
    assert "expected 30m, 2h, 7d or a time" in capsys.readouterr().err


def test_show_json(door: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [json.loads(line) for line in said(capsys, "show", door, "--json")[1]]
    assert [entry["n"] for entry in entries] == [1, 2, 3]
    assert entries[1]["fields"]["by"] == "alice"
    assert entries[0]["hash"] == LINES[1].split(b" ")[0].decode()


def test_show_what_is_no_entry(door: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (door / "journal").open("ab") as file:
        file.write(b"\x1b[2J\n")
    assert said(capsys, "show", door)[1][-1] == "(no entry: \\x1b[2J)"
    assert len(said(capsys, "show", door, "--json")[1]) == 3


def test_export_is_one_file_that_verifies(
    door: Path, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    assert main(["journal", "export", str(door)]) == 0
    assert capsysbinary.readouterr().out == VECTOR
    copy = tmp_path / "copy"
    copy.write_bytes(VECTOR)
    assert main(["journal", "verify", str(copy)]) == 0
