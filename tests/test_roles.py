"""The two tables: that they agree with each other, and what they must never say."""

import itertools

import pytest

from panicdoor import messages
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
from panicdoor.processes.directory import SECRETS
from panicdoor.processes.supervisor import ENTRIES
from panicdoor.roles import MESSAGES, ROLE_OF, ROLES, SPARE, SUPERVISOR, allowed, places_of

NAMES = (SUPERVISOR, *(role.name for role in ROLES))
FRONTENDS = ("datagram", "ssh", "stream")


def senders(kind: type[Message]) -> set[str]:
    return {a for a, b in itertools.product(NAMES, NAMES) if kind in allowed(a, b)}


def receivers(kind: type[Message]) -> set[str]:
    return {b for a, b in itertools.product(NAMES, NAMES) if kind in allowed(a, b)}


def test_places_are_the_seats_of_roles() -> None:
    assert [place for role in ROLES for place in places_of(role)] == list(ROLE_OF)
    assert {p for p, role in ROLE_OF.items() if role.name == "stream"} == {"stream1", "stream2"}
    assert ROLE_OF["monitor"].name == "monitor"
    assert all(len(places_of(role)) == role.n for role in ROLES)
    assert SUPERVISOR not in ROLE_OF
    assert all(0 < len(place) <= 32 for place in ROLE_OF)


def test_every_role_has_an_entry_and_every_entry_a_role() -> None:
    assert {role.entry for role in ROLES if role.name != SPARE} == set(ENTRIES)


def test_the_table_of_messages_speaks_of_roles_and_of_every_kind_of_message() -> None:
    said = set()
    for row_senders, row_receivers, row in MESSAGES:
        assert {*row_senders, *row_receivers} <= set(NAMES)
        assert not set(row_senders) & set(row_receivers)
        said |= set(row)
    kinds = {k for k in vars(messages).values() if isinstance(k, type) and issubclass(k, Message)}
    assert said == kinds - {Message}


@pytest.mark.parametrize(
    ("kind", "who", "whom"),
    [
        (Ask, {*FRONTENDS}, {"monitor"}),
        (Cancel, {*FRONTENDS, "monitor"}, {"monitor", "observer", "worker"}),
        (More, {*FRONTENDS, "monitor"}, {"monitor", "observer", "worker"}),
        (Answer, {"monitor"}, {*FRONTENDS}),
        (Fresh, {"monitor"}, {"ssh", "stream"}),
        (Handover, {"stream"}, {"ssh"}),
        (Login, {"ssh"}, {"monitor"}),
        (Logout, {"ssh"}, {"monitor"}),
        (Sign, {"ssh"}, {"monitor"}),
        (Session, {"monitor"}, {"ssh"}),
        (Signed, {"monitor"}, {"ssh"}),
        (Regraded, {"monitor"}, {"ssh"}),
        (Reload, {SUPERVISOR}, {"monitor"}),
        (Reloaded, {"monitor"}, {*FRONTENDS}),
        (Run, {"monitor"}, {"observer", "worker"}),
        (Output, {"observer", "worker"}, {"monitor"}),
        (Write, {"monitor", SUPERVISOR}, {"writer"}),
        (Written, {"writer"}, {"monitor"}),
        (Hello, {*FRONTENDS, "writer", "observer", "worker"}, {"monitor"}),
        (Bug, {*FRONTENDS, "writer", "observer", "worker"}, {"monitor"}),
        (Ping, {SUPERVISOR}, {"monitor", "writer", *FRONTENDS}),
        (Pong, {"monitor", "writer", *FRONTENDS}, {SUPERVISOR}),
        (Replace, {"monitor"}, {SUPERVISOR}),
        (Places, {SUPERVISOR}, {"writer"}),
        (Become, {SUPERVISOR}, {SPARE}),
    ],
)
def test_who_may_say_what_to_whom(kind: type[Message], who: set[str], whom: set[str]) -> None:
    assert senders(kind) == who
    assert receivers(kind) == whom


def test_a_taken_over_frontend_reaches_the_monitor_and_nobody_else() -> None:
    for frontend, receiver in itertools.product(FRONTENDS, NAMES):
        said = set(allowed(frontend, receiver))
        if receiver == "monitor":
            login = {Login, Logout, Sign} if frontend == "ssh" else set()
            assert said == {Ask, Cancel, More, Hello, Bug} | login
        elif receiver == SUPERVISOR:
            assert said == {Pong}
        else:
            assert said == ({Handover} if (frontend, receiver) == ("stream", "ssh") else set())


def test_nobody_but_the_supervisor_is_heard_by_spares_and_by_nobody_spares_are() -> None:
    assert {a for a in NAMES if allowed(a, SPARE)} == {SUPERVISOR}
    assert {b for b in NAMES if allowed(SPARE, b)} == set()


def test_secrets_files_and_rights_are_where_they_must_be_and_nowhere_else() -> None:
    holders = {secret: {r.name for r in ROLES if secret in r.secrets} for secret in SECRETS}
    assert holders == {"identity": {"monitor"}, "tls": {"stream"}}
    assert {r.name for r in ROLES if r.files} == {"writer"}
    assert {r.name for r in ROLES if r.policy == "writes"} == {"worker"}
    assert {r.name for r in ROLES if r.policy == "reads"} == {"monitor", *FRONTENDS}
    assert {r.name for r in ROLES if r.listens} == {"datagram", "stream"}
    assert {r.name for r in ROLES if not r.root} == {"writer", *FRONTENDS}
    assert not any(r.secrets or r.listens for r in ROLES if r.entry == "worker")


def test_the_writer_outlives_everybody_who_has_something_to_be_written() -> None:
    order = [role.name for role in ROLES]
    assert all(order.index("writer") < order.index(name) for name in senders(Write) - {SUPERVISOR})
    assert order.index("monitor") < min(order.index(name) for name in (*FRONTENDS, "worker"))
