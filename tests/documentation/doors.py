"""The doors that tests of the documentation tell about: a usual one, and the largest possible."""

from typing import Final

from panicdoor.commands.registry import COMMANDS, Here
from panicdoor.documentation.facts import Facts
from panicdoor.documentation.manual import Manual

FINGERPRINT: Final = "SHA256:TJHTMnH5fkD48dHFfooRtZyOfoMQJ5IuBeNMujJhfT8"
WEB1: Final = Facts(
    name="web1",
    fleet="prod",
    contact="Example Ops, +49 30 1234567",
    elsewhere={
        "console": "https://bmc.example.com/web1",
        "power": "pdu7 outlet 12",
        "runbook": "https://wiki.example.com/web1",
        "bridge": "+49 30 7654321",
    },
    fingerprint=FINGERPRINT,
    version="0.1.0",
)
LONGEST: Final = Facts(
    name="w" * 32,
    fleet="f" * 32,
    contact="50% of {host} <b>&\\x %s \"quoted\" 'text' and so on, up to the very last column!!",
    elsewhere={"k" * 11 + c: "https://" + c * 72 for c in "abcdefgh"},
    fingerprint=FINGERPRINT,
    version="0.1.0",
)
V4: Final = Here("192.0.2.10", 903)
LONG_V4: Final = Here("255.255.255.255", 65535)
V6: Final = Here("2001:db8::10", 903)
LONG_V6: Final = Here("ffff:" * 7 + "ffff%abcdefghijklmno", 65535)
NOW: Final = "2026-11-24 03:12:07 UTC"
CHALLENGE: Final = "aadq-caqd-6enx-hcig-x4ir-mkkx"


def manual(facts: Facts = WEB1) -> Manual:
    """Return the manual of a door with all the commands that there are."""
    return Manual(facts, COMMANDS)
