"""The architecture as two tables: who there is (ROLES), and who may say what to whom (MESSAGES).

`supervisor` fills ROLES in this order and stops them in the reverse; `wires` opens one wire for
each pair of places that MESSAGES joins and lets nothing else through.
"""

from dataclasses import dataclass
from typing import Final

from panicdoor.messages import (
    Answer,
    Ask,
    Become,
    Bug,
    Cancel,
    Fresh,
    Handover,
    Hello,
    Login,
    Logout,
    Message,
    More,
    Output,
    Ping,
    Places,
    Pong,
    Regraded,
    Reload,
    Reloaded,
    Replace,
    Run,
    Session,
    Sign,
    Signed,
    Write,
    Written,
)


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of process. What is not named here, a process of this role does not hold.

    `entry` is the module of `processes` that fills it; `root` whether it keeps its rights;
    `listens` which listening sockets, `secrets` which memfds, `files` which files it keeps;
    `policy` whether it "reads" the policy in force or "writes" it.
    """

    name: str
    entry: str
    n: int
    root: bool
    listens: str = ""
    secrets: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    policy: str = ""


# The writer is the first and the last: whatever the others have to say at their end is written.
ROLES: Final = (
    Role("writer", "writer", 1, root=False, files=("journal", "places", "stderr")),
    Role("monitor", "monitor", 1, root=True, secrets=("identity",), policy="reads"),
    Role("observer", "worker", 1, root=True),
    Role("worker", "worker", 2, root=True, policy="writes"),
    Role("ssh", "ssh", 1, root=False, policy="reads"),
    Role("datagram", "datagram", 1, root=False, listens="udp", policy="reads"),
    Role("stream", "stream", 2, root=False, listens="tcp", secrets=("tls",), policy="reads"),
    Role("spare", "spare", 2, root=True),
)

SUPERVISOR: Final = "supervisor"
SPARE: Final = "spare"

Row = tuple[tuple[str, ...], tuple[str, ...], tuple[type[Message], ...]]

MESSAGES: Final[tuple[Row, ...]] = (
    (("stream", "ssh", "datagram"), ("monitor",), (Ask, Cancel, More)),
    (("monitor",), ("stream", "ssh", "datagram"), (Answer,)),
    (("monitor",), ("stream", "ssh"), (Fresh,)),
    (("monitor",), ("stream", "ssh", "datagram"), (Reloaded,)),
    ((SUPERVISOR,), ("monitor",), (Reload,)),
    (("stream",), ("ssh",), (Handover,)),
    (("ssh",), ("monitor",), (Login, Logout, Sign)),
    (("monitor",), ("ssh",), (Session, Signed, Regraded)),
    (("monitor",), ("observer", "worker"), (Run, Cancel, More)),
    (("observer", "worker"), ("monitor",), (Output,)),
    (("monitor", SUPERVISOR), ("writer",), (Write,)),
    (("writer",), ("monitor",), (Written,)),
    (("writer", "observer", "worker", "ssh", "datagram", "stream"), ("monitor",), (Hello, Bug)),
    ((SUPERVISOR,), ("monitor", "writer", "ssh", "datagram", "stream"), (Ping,)),
    (("monitor", "writer", "ssh", "datagram", "stream"), (SUPERVISOR,), (Pong,)),
    (("monitor",), (SUPERVISOR,), (Replace,)),
    ((SUPERVISOR,), ("writer",), (Places,)),
    ((SUPERVISOR,), ("spare",), (Become,)),
)


def places_of(role: Role) -> tuple[str, ...]:
    """Return the names of a role's seats: `monitor`, or `stream1` and `stream2`."""
    return (role.name,) if role.n == 1 else tuple(f"{role.name}{i + 1}" for i in range(role.n))


ROLE_OF: Final = {place: role for role in ROLES for place in places_of(role)}


def allowed(sender: str, receiver: str) -> tuple[type[Message], ...]:
    """Return what the role `sender` may say to the role `receiver`."""
    return tuple(
        kind
        for senders, receivers, kinds in MESSAGES
        if sender in senders and receiver in receivers
        for kind in kinds
    )
