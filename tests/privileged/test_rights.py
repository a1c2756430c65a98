"""What processes of a real door may still do, tried by themselves; and that their stacks hold.

Every place that is filled first uses nearly all of its stack, with its memory locked as it is in
earnest: one that this killed would never have reported.
"""

import json
import pwd
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.born import CODE, LANDLOCK, REPORTS
from tests.child import NOBODY, status
from tests.running import ROOT, Door, descriptors, need_user, running, wait_for

from panicdoor.config import USER
from panicdoor.kernel.confine import landlock_abi
from panicdoor.roles import ROLE_OF

pytestmark = pytest.mark.skipif(not ROOT, reason="needs root")

SPARES = [name for name, role in ROLE_OF.items() if role.name == "spare"]
OTHERS = [name for name in ROLE_OF if name not in SPARES]
CONFINED = [name for name in OTHERS if not ROLE_OF[name].root]
DENIED = "PermissionError"
MISSING = "FileNotFoundError"
NET_ABI, SCOPE_ABI = 4, 6
KEEPING = ("--securebits=+no_setuid_fixup", "--inh-caps=+kill", "--ambient-caps=+kill")
CAN_SET_SECUREBITS = subprocess.run(["setpriv", *KEEPING, "true"], check=False).returncode == 0

Reports = dict[str, dict[str, Any]]


def reports(directory: Path) -> Reports:
    """Return what every place has found, by name; those that have written nothing are absent."""
    found = {}
    for file in directory.iterdir():
        if text := file.read_text():
            found[file.name] = json.loads(text)
    return found


def reported(directory: Path, name: str) -> bool:
    return name in reports(directory)


@pytest.fixture(scope="module", params=["landlock", "empty root"])
def door(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Door, Path, str]]:
    """A door whose processes report what they can do, with landlock and without."""
    how: str = request.param
    if how == "landlock" and not landlock_abi():
        pytest.skip("no landlock here")
    directory = tmp_path_factory.mktemp("rights")
    (directory / "reports").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REPORTS, str(directory / "reports"))
        patch.setenv(LANDLOCK, "1" if how == "landlock" else "0")
        with running(directory / "door", code=CODE) as door:
            yield door, directory / "reports", how


def check(found: Reports, how: str, names: list[str]) -> None:
    """Compare what the places found with what their roles may do."""
    assert sorted(found) == sorted(names)
    user = pwd.getpwnam(USER)
    abi = landlock_abi() if how == "landlock" else 0
    for name, report in found.items():
        status, tried = report["status"], report["tried"]
        assert status["NoNewPrivs"] == "1"
        assert status["Threads"] == "1"
        assert int(status["VmLck"].split()[0]) > 0
        if name not in CONFINED:
            assert status["Uid"].split() == ["0"] * 4
            assert not tried["read"]
            assert not tried["look"]
            continue
        assert status["Uid"].split() == [str(user.pw_uid)] * 4, name
        assert status["Gid"].split() == [str(user.pw_gid)] * 4, name
        assert status["Groups"] == ""
        assert {int(status[f], 16) for f in ("CapEff", "CapPrm", "CapAmb")} == {0}
        absent = DENIED if abi else MISSING
        assert tried == {
            "read": absent,
            "list": absent,
            "write": absent,
            "write here": DENIED,
            "run": "OSError",
            "connect": DENIED if abi >= NET_ABI else "",
            "signal": DENIED,
            "look": absent,
            "become root": DENIED,
        }, name


def test_places_that_were_forked(door: tuple[Door, Path, str]) -> None:
    _, directory, how = door
    wait_for(lambda: len(reports(directory)) == len(OTHERS))
    check(reports(directory), how, OTHERS)


def test_places_that_spares_have_taken(door: tuple[Door, Path, str]) -> None:
    running_door, directory, how = door
    for file in directory.iterdir():
        file.unlink()
    names = OTHERS if how == "landlock" else CONFINED
    for name in names:
        running_door.wait_filled(name, running_door.kill(name))
        wait_for(partial(reported, directory, name))
        wait_for(lambda: set(running_door.places()) == set(ROLE_OF))
    check(reports(directory), how, names)
    # Each was killed once, by us, and by nothing else.
    lost = [line for line in running_door.said().splitlines() if " lost: " in line]
    assert len(lost) == len(names)
    wait_for(lambda: b"pong" in running_door.talk(b"ping\r\n"))
    assert running_door.documented()


def test_the_empty_root_is_empty(door: tuple[Door, Path, str]) -> None:
    running_door, _, how = door
    empty = running_door.directory / "empty"
    if how == "landlock":
        assert not empty.exists()
        return
    assert list(empty.iterdir()) == []
    for name in CONFINED:
        assert Path(f"/proc/{running_door.place(name)}/root").readlink() == empty
    for name in OTHERS:  # spares hold it for whoever they become
        assert str(empty) not in descriptors(running_door.place(name)).values()
    for name in {*ROLE_OF} - {*CONFINED}:
        assert Path(f"/proc/{running_door.place(name)}/root").readlink() == Path("/")


@pytest.mark.skipif(not CAN_SET_SECUREBITS, reason="this root may not change its securebits")
def test_no_capability_is_left_whatever_was_given(tmp_path: Path) -> None:
    """With such securebits a change of user alone takes none away: capabilities(7)."""
    with running(tmp_path / "door", prefix=("setpriv", *KEEPING)) as door:
        for name in CONFINED:
            pid = door.place(name)
            fields = ("CapEff", "CapPrm", "CapInh", "CapAmb")
            assert {field: int(status(field, pid), 16) for field in fields} == dict.fromkeys(
                fields, 0
            ), name


def test_the_user_is_one_of_its_own() -> None:
    need_user()
    assert pwd.getpwnam(USER).pw_uid not in (0, NOBODY.pw_uid)
