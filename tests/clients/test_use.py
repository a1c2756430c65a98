"""What use costs: the memory of all processes, once operators have looked at everything."""

import signal
from pathlib import Path

from tests.clients.programs import need, run
from tests.logins import inhabited
from tests.measures import everybody, resident
from tests.running import wait_for

from panicdoor.commands.registry import COMMANDS, Level

PSS_MAX = 96 << 10  # KiB, of all processes together
ROUNDS = 3


def test_all_memory_together_after_use(tmp_path: Path) -> None:
    """Everything that looks, over ssh, again and again, and then another policy."""
    need("ssh")
    looks = [name for name, command in COMMANDS.items() if command.level is Level.OBSERVE]
    with inhabited(tmp_path, extra=False) as people:
        door = people.door
        for _ in range(ROUNDS):
            for line in (*looks, "help"):
                assert run(*people.ssh("alice"), line).returncode in (0, 1)
        door.process.send_signal(signal.SIGHUP)
        wait_for(lambda: '"policy":1' in (door.directory / "journal").read_text())
        together = resident(list(everybody(door).values()))
        print(f"all processes together, after use: {together / 1024:.1f} MiB")
        assert together <= PSS_MAX
