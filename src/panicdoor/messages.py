"""What may be said between two places: frozen types, checked on arrival against their annotations.

A packet is one message in MessagePack. A packet that does not fit its type, or whose type is not
in the receiver's row of `roles.MESSAGES`, is dropped and counted; it can never raise.

Times are seconds of CLOCK_MONOTONIC, which all processes of one machine share. `epoch` is the
birth of the process that asked (nanoseconds of the same clock): an answer to a predecessor's
question is recognised by it and dropped.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

PACKET_MAX: Final = 16 * 1024  # bytes; a default wire holds at least 8 of these
PART_MAX: Final = 3 * 1024  # characters of a part; escaped fourfold it still fits a packet

Name = Annotated[str, Meta(min_length=1, max_length=32)]
Text = Annotated[str, Meta(max_length=PART_MAX)]
Word = Annotated[str, Meta(max_length=1024)]
Words = Annotated[tuple[Word, ...], Meta(max_length=64)]
Order = Annotated[str, Meta(max_length=8192)]
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Code = Annotated[int, Meta(ge=0, le=255)]
Moment = Annotated[float, Meta(ge=0, le=2**53)]
Bytes = Annotated[bytes, Meta(max_length=6144)]  # two of them still fit a packet
TRANSCRIPT_MAX: Final = 8 * 1024  # bytes; OpenSSH's key exchange has 5 KiB
Transcript = Annotated[bytes, Meta(max_length=TRANSCRIPT_MAX)]
Token = Annotated[str, Meta(max_length=32)]
Scope = Annotated[str, Meta(max_length=64)]


class Message(Struct, frozen=True, tag_field="is", forbid_unknown_fields=True):
    """What all messages have in common: an immutable value with a tag."""


class Ask(Message, frozen=True, tag="ask"):
    """A client's request as a frontend understood it; `peer` and `scope` are hints, never proof.

    `session` is the token of who logged in by ssh, "" for a stranger.
    """

    id: Number
    epoch: Number
    until: Moment
    way: Name
    peer: Scope
    scope: Scope
    words: Words = ()
    order: Order = ""
    session: Token = ""


class Handover(Message, frozen=True, tag="handover"):
    """A client that speaks ssh, with its socket; `host` and `port` are what it reached.

    `fd` is what the kernel made of the socket at the receiver: what the packet says is replaced.
    """

    peer: Scope
    host: Scope
    port: Number
    fd: Number = 0


class Sign(Message, frozen=True, tag="sign"):
    """The hash of a key exchange, to be signed with the door's key, and what was hashed."""

    id: Number
    epoch: Number
    connection: Number
    hash: Bytes
    transcript: Transcript


class Signed(Message, frozen=True, tag="signed"):
    """The signature, or nothing where the hash gets none."""

    id: Number
    epoch: Number
    signature: Bytes


class Login(Message, frozen=True, tag="login"):
    """A request to log in: the packet up to its signature, and that, or b"" for a question."""

    id: Number
    epoch: Number
    connection: Number
    body: Bytes
    signature: Bytes
    peer: Scope


class Session(Message, frozen=True, tag="session"):
    """What became of a Login: `known` for a key that would do, `token` for a session.

    `level` is the highest that may be typed, `note` what its greeting has to say about that.
    """

    id: Number
    epoch: Number
    known: bool
    token: Token = ""
    principal: Scope = ""
    level: Scope = ""
    note: Text = ""


class Regraded(Message, frozen=True, tag="regraded"):
    """Another policy holds: the highest level that this session may type now.

    "" where its grant is gone, and the session with it.
    """

    epoch: Number
    connection: Number
    level: Scope = ""


class Logout(Message, frozen=True, tag="logout"):
    """A connection has ended, and whatever session it had."""

    epoch: Number
    connection: Number


class Run(Message, frozen=True, tag="run"):
    """The monitor's errand for an observer or a worker: the next part must be said by `until`.

    No words are the errand that no client can ask for: read the policy anew.
    `to` is the epoch of the process that is meant, as its Hello said: its successor finds the
    packet and leaves it. 0 means whoever holds the place. `cursor` is that of the last Output of
    the round before, where a command is followed.
    """

    id: Number
    epoch: Number
    to: Number
    until: Moment
    words: Words
    cursor: Scope = ""


class Cancel(Message, frozen=True, tag="cancel"):
    """Nobody waits for this answer any more."""

    id: Number
    epoch: Number


class More(Message, frozen=True, tag="more"):
    """The reader has room for one more part of this answer."""

    id: Number
    epoch: Number


class Answer(Message, frozen=True, tag="answer"):
    """One part of the answer to an Ask; `top` where a round of a watch begins with it."""

    id: Number
    epoch: Number
    text: Text
    end: bool
    code: Code = 0
    top: bool = False


class Output(Message, frozen=True, tag="output"):
    """One part of what a Run printed. The last may say from where the command is to go on."""

    id: Number
    epoch: Number
    text: Text
    end: bool
    code: Code = 0
    cursor: Scope = ""


class Fresh(Message, frozen=True, tag="fresh"):
    """A challenge for clients over tcp, said every few seconds: documentation waits for nobody.

    `epoch` is the monitor's: another one than before has never heard what was asked of that.
    """

    challenge: Scope
    epoch: Number


class Reload(Message, frozen=True, tag="reload"):
    """The installer wants the policy read anew: somebody sent SIGHUP."""


class Reloaded(Message, frozen=True, tag="reloaded"):
    """The policy with this serial holds, and stands in the policy's memory."""

    serial: Number


class Write(Message, frozen=True, tag="write"):
    """An entry for the journal. `fields` is a JSON object as `records.journal` encodes it."""

    id: Number
    epoch: Number
    kind: Name
    fields: Annotated[str, Meta(max_length=PART_MAX)]


class Written(Message, frozen=True, tag="written"):
    """The entry stands on disk, as number `n` with the hash of its line."""

    id: Number
    epoch: Number
    n: Number
    hash: Scope


class Hello(Message, frozen=True, tag="hello"):
    """I have just taken this place: forget my predecessor. `fill` counts who held it, from 1."""

    place: Name
    fill: Number
    epoch: Number


class Bug(Message, frozen=True, tag="bug"):
    """Something was raised that nobody expected: what it was and where."""

    place: Name
    text: Annotated[str, Meta(max_length=512)]


class Ping(Message, frozen=True, tag="ping"):
    """Are you there?"""

    n: Number


class Pong(Message, frozen=True, tag="pong"):
    """I am."""

    n: Number


class Replace(Message, frozen=True, tag="replace"):
    """This place missed a deadline."""

    place: Name
    why: Scope


class Become(Message, frozen=True, tag="become"):
    """Take this place. `pid` says which spare is meant: a packet may outlive its reader."""

    place: Name
    fill: Number
    pid: Number


class Holder(Struct, frozen=True):
    """Who holds a place: pid and start time (clock ticks since boot, as /proc/PID/stat has it)."""

    place: Name
    pid: Number
    started: Number


class Places(Message, frozen=True, tag="places"):
    """Everybody who holds a place now, for the file that a later supervisor finds orphans by."""

    holders: Annotated[tuple[Holder, ...], Meta(max_length=64)]
