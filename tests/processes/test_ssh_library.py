"""What a door has of asyncssh, seen from a process of its own."""

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_what_is_not_spoken_is_not_there_and_the_rest_is_left_alone() -> None:
    said = run(
        "from panicdoor.processes import ssh_library; import sys\n"
        "import asyncssh; print(len(asyncssh.SFTPServer.__mro__), *sys.modules, sep='\\n')"
    )
    assert said.startswith("2\n")
    assert "asyncssh.connection" in said.split()
    assert {"cryptography.x509", "bcrypt", "fido2", "tempfile"} & set(said.split()) == set()


def test_what_is_not_its_own_is_left_as_it_was() -> None:
    run(
        "import sys, tempfile, ctypes.util; before = tempfile, ctypes.util.find_library\n"
        "from panicdoor.processes import ssh_library\n"
        "assert before == (sys.modules['tempfile'], ctypes.util.find_library)\n"
    )
    run("from panicdoor.processes import ssh_library; import ctypes.util as u; u.find_library('c')")


def test_it_starts_no_program() -> None:
    run(
        "import subprocess; subprocess.Popen = None\n"
        "from panicdoor.processes import ssh_library; import asyncssh"
    )


def test_who_has_all_of_it_keeps_all_of_it() -> None:
    code = "import asyncssh; from panicdoor.processes import ssh_library; import sys; "
    assert run(code + "print(hasattr(asyncssh.SFTPServer, 'open'))") == "True\n"
