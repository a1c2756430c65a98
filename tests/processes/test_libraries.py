"""What a door has of other libraries, seen from a process of its own."""

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_what_is_not_spoken_is_not_there_and_the_rest_is_left_alone() -> None:
    said = run(
        "from panicdoor.processes import libraries; import sys\n"
        "import asyncssh; print(len(asyncssh.SFTPServer.__mro__), *sys.modules, sep='\\n')"
    )
    assert said.startswith("2\n")  # an empty class, and no server
    assert "asyncssh.connection" in said.split()
    unused = {"cryptography.x509", "bcrypt", "fido2", "tempfile", "decimal", "unicodedata"}
    assert unused & set(said.split()) == set()


def test_what_is_not_its_own_is_left_as_it_was() -> None:
    run(
        "import sys, tempfile, ctypes.util; before = tempfile, ctypes.util.find_library\n"
        "from panicdoor.processes import libraries\n"
        "assert before == (sys.modules['tempfile'], ctypes.util.find_library)\n"
    )
    run("from panicdoor.processes import libraries; import ctypes.util as u; u.find_library('c')")


def test_nothing_is_done_after_a_fork() -> None:
    said = run(
        "import os; real = os.register_at_fork\n"
        "from panicdoor.processes import libraries; import random\n"
        "assert os.register_at_fork is real\n"
        "before = random.getstate()\n"
        "child = os.fork()\n"
        "if child: os.waitpid(child, 0)\n"
        "else: print(random.getstate() == before)"
    )
    assert said == "True\n"


def test_it_starts_no_program() -> None:
    run(
        "import subprocess; subprocess.Popen = None\n"
        "from panicdoor.processes import libraries; import asyncssh"
    )


def test_who_has_all_of_it_keeps_all_of_it() -> None:
    code = "import asyncssh; from panicdoor.processes import libraries; import sys; "
    assert run(code + "print(hasattr(asyncssh.SFTPServer, 'open'))") == "True\n"


def test_wide_characters_look_narrow_and_harm_nothing() -> None:
    said = run(
        "from panicdoor.processes import libraries\n"
        "from asyncssh import editor, saslprep\n"
        "print([editor._is_wide(c) for c in 'a\\u4e2d\\u00e4\\U0001f600'], saslprep.saslprep('x'))"
    )
    assert said == "[False, False, False, False] x\n"
