"""The messages: what they are, what they refuse, and that each fits a packet."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panicdoor import messages
from panicdoor.messages import PACKET_MAX, PART_MAX, Ask, Holder, Message, Places

KINDS = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]
FIT = {
    "Name": "stream1",
    "Text": "text\n",
    "Words": ("ping",),
    "Order": "panicdoor order 1\n",
    "Number": 7,
    "Code": 2,
    "Moment": 1.5,
    "Scope": "127.0.0.1",
    "Token": "0123456789abcdef",
    "Bytes": b"bytes",
    "Transcript": b"what was hashed",
}


def fitting(kind: type[Message]) -> dict[str, object]:
    values: dict[str, object] = {"is": kind.__struct_config__.tag}
    for field, annotation in kind.__annotations__.items():
        for name, value in FIT.items():
            if annotation is vars(messages)[name]:
                values[field] = value
    for field in kind.__struct_fields__:
        values.setdefault(
            field,
            {
                "end": True,
                "known": True,
                "top": True,
                "holders": (),
                "text": "",
                "fields": "{}",
            }.get(field),
        )
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_is_an_immutable_value_that_crosses_whole(kind: type[Message]) -> None:
    message = msgspec.convert(fitting(kind), kind)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=kind)
    assert again == message
    assert hash(again) == hash(message)
    with pytest.raises(AttributeError):
        setattr(message, (*kind.__struct_fields__, "none")[0], 1)


def test_the_tags_differ_and_are_the_names() -> None:
    assert len(KINDS) == 25
    assert [k.__struct_config__.tag for k in KINDS] == [k.__name__.lower() for k in KINDS]
    assert len({k.__struct_config__.tag for k in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_no_field_may_be_null_or_unknown_or_of_another_type(kind: type[Message]) -> None:
    good = fitting(kind)
    for field in kind.__struct_fields__:
        other = "x" if isinstance(good[field], bytes) else b"x"
        for wrong in (None, [None], {"a": 1}, other, "x" * 20_000):
            with pytest.raises(msgspec.ValidationError):
                msgspec.convert({**good, field: wrong}, kind)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**good, "other": 1}, kind)


@pytest.mark.parametrize("until", [float("nan"), float("inf"), -1.0, -0.001, 2.0**53 + 2, 1e300])
def test_no_time_is_absurd(until: float) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**fitting(Ask), "until": until}, Ask)


@pytest.mark.parametrize("number", [-1, 2**63, 2**64, 1.5, True, "1"])
def test_no_number_is_absurd(number: object) -> None:
    for kind in KINDS:
        for field, annotation in kind.__annotations__.items():
            if annotation is messages.Number:
                with pytest.raises(msgspec.ValidationError):
                    msgspec.convert({**fitting(kind), field: number}, kind)


def test_every_field_is_bounded() -> None:
    """The largest of each kind, but for an Ask whose words and order are both at their limits."""
    largest: dict[object, object] = {
        messages.Name: "\U0010ffff" * 32,
        messages.Text: "\U0010ffff" * PART_MAX,
        messages.Number: 2**63 - 1,
        messages.Code: 255,
        messages.Moment: 2.0**53,
        messages.Scope: "\U0010ffff" * 64,
        messages.Words: ("x" * 1024,) * 15,
        messages.Order: "",
        messages.Token: "\U0010ffff" * 32,
        messages.Bytes: b"x" * 6144,
        messages.Transcript: b"x" * messages.TRANSCRIPT_MAX,
        bool: True,
    }
    for kind in KINDS:
        annotations = kind.__annotations__.items()
        values = {name: largest[a] for name, a in annotations if a in largest}
        if kind is Places:
            holder = Holder("\U0010ffff" * 32, 2**63 - 1, 2**63 - 1)
            values["holders"] = (holder,) * 64
        if "text" not in values and "text" in kind.__struct_fields__:
            values["text"] = "\U0010ffff" * 512
        if "fields" in kind.__struct_fields__:
            values["fields"] = "\U0010ffff" * PART_MAX
        packet = msgspec.msgpack.encode(kind(**values))
        assert msgspec.msgpack.decode(packet, type=kind) == kind(**values)
        assert len(packet) <= PACKET_MAX, kind


@given(st.sampled_from(KINDS), st.binary(max_size=200))
@settings(max_examples=200, deadline=None, database=None)
def test_no_bytes_raise_but_what_the_wires_expect(kind: type[Message], data: bytes) -> None:
    try:
        message = msgspec.msgpack.decode(data, type=kind)
    except (ValueError, RecursionError):
        return
    assert isinstance(message, kind)
