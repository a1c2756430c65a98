"""Links of descriptors: our own, and the ends of a scan."""

import os
from pathlib import Path

import pytest

from panicdoor.kernel.descriptors import Link, Scan


def test_our_own_are_found(tmp_path: Path) -> None:
    with open(tmp_path / "a\nfile \x1b[31m", "w") as file:
        scan = Scan()
        assert Link(os.getpid(), file.fileno(), file.name) in set(scan)
    assert scan.processes > 0
    assert scan.links > 2
    assert not scan.cut


def test_it_ends_at_a_number() -> None:
    scan = Scan(links_max=3)
    assert len(list(scan)) <= 3
    assert scan.links == 3
    assert scan.cut


def test_it_ends_at_a_time() -> None:
    scan = Scan(seconds=-1)
    assert list(scan) == []
    assert scan.cut


def test_processes_of_others_are_counted() -> None:
    if os.geteuid():
        pytest.skip("only root can become somebody who sees less")
    pid = os.fork()
    if pid == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            scan = Scan()
            mine = {link.pid for link in scan}
            os._exit(0 if scan.unseen > 0 and os.getppid() not in mine else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
