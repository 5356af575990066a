"""Our codecs write what raw xdrlib3 calls write, and refuse what is not as declared."""

import struct
from enum import IntEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xdrlib3 import Packer

from hfnfs.errors import WireError
from hfnfs.rpc.xdr import (
    Codec,
    array_of,
    boolean,
    decode,
    decode_prefix,
    encode,
    enum_of,
    fixed,
    i32,
    linked_list_of,
    list_of,
    opaque,
    optional,
    string,
    struct_of,
    u32,
    u64,
    union_of,
    void,
    wire,
)

U32 = st.integers(0, 2**32 - 1)


class Color(IntEnum):
    RED = 1
    BLUE = 7


@wire
class Point:
    """x and y."""

    x: int
    name: bytes


POINT = struct_of(Point, x=u64, name=opaque(8))
SHAPE = union_of(enum_of(Color), {Color.RED: POINT, Color.BLUE: None})


def packed(*calls: tuple[str, Any]) -> bytes:
    """What xdrlib3 writes for (name of the pack method without pack_, value)."""
    packer = Packer()
    for name, value in calls:
        if name == "fopaque":
            packer.pack_fopaque(len(value), value)
        else:
            getattr(packer, f"pack_{name}")(value)
    return packer.get_buffer()


class Example(NamedTuple):
    codec: Codec[Any]
    value: Any
    wire: bytes


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """A codec, a value of it, and its bytes by raw xdrlib3."""
    number = draw(U32)
    signed = draw(st.integers(-(2**31), 2**31 - 1))
    wide = draw(st.integers(0, 2**64 - 1))
    text = draw(st.binary(max_size=8))
    numbers = draw(st.lists(U32, max_size=5))
    yes = draw(st.booleans())
    point = [("uhyper", wide), ("opaque", text)]
    chain = [call for n in numbers for call in (("bool", True), ("uint", n))]
    chosen: Example = draw(
        st.sampled_from(
            [
                Example(u32, number, packed(("uint", number))),
                Example(i32, signed, packed(("int", signed))),
                Example(u64, wide, packed(("uhyper", wide))),
                Example(boolean, yes, packed(("bool", yes))),
                Example(void, None, b""),
                Example(enum_of(Color), Color.BLUE, packed(("enum", 7))),
                Example(opaque(8), text, packed(("opaque", text))),
                Example(string(8), text, packed(("string", text))),
                Example(fixed(len(text)), text, packed(("fopaque", text))),
                Example(optional(u32), None, packed(("bool", False))),
                Example(optional(u32), number, packed(("bool", True), ("uint", number))),
                Example(
                    array_of(u32, len(numbers)), numbers, packed(*(("uint", n) for n in numbers))
                ),
                Example(
                    list_of(u32, 5),
                    numbers,
                    packed(("uint", len(numbers)), *(("uint", n) for n in numbers)),
                ),
                Example(linked_list_of(u32, 5), numbers, packed(*chain, ("bool", False))),
                Example(POINT, Point(wide, text), packed(*point)),
                Example(SHAPE, (Color.RED, Point(wide, text)), packed(("enum", 1), *point)),
                Example(SHAPE, (Color.BLUE, None), packed(("enum", 7))),
            ]
        )
    )
    return chosen


@given(examples())
def test_a_value_is_written_as_xdrlib_writes_it(example: Example) -> None:
    assert encode(example.codec, example.value) == example.wire


@given(examples(), st.binary(max_size=9), st.binary(max_size=9))
def test_a_value_is_read_back_from_anywhere_in_a_buffer(
    example: Example, before: bytes, behind: bytes
) -> None:
    buf = before + example.wire + behind
    end = len(before) + len(example.wire)
    for kind in (bytes, bytearray, memoryview):
        assert decode(example.codec, kind(buf), len(before), end) == example.value
    assert decode_prefix(example.codec, buf, len(before)) == (example.value, end)


@given(examples(), st.data())
def test_a_cut_value_is_refused(example: Example, data: st.DataObject) -> None:
    if example.wire:
        cut = data.draw(st.integers(0, len(example.wire) - 1))
        with pytest.raises(WireError):
            decode(example.codec, example.wire, 0, cut)


@given(examples(), st.binary(min_size=1, max_size=8))
def test_bytes_behind_a_value_are_refused(example: Example, more: bytes) -> None:
    with pytest.raises(WireError):
        decode(example.codec, example.wire + more)


@given(st.binary(max_size=64))
def test_random_bytes_decode_or_are_refused(data: bytes) -> None:
    codecs: list[Codec[Any]] = [
        list_of(SHAPE, 4),
        linked_list_of(optional(POINT), 4),
        list_of(boolean, 9),
    ]
    for codec in codecs:
        try:
            decode(codec, data)
        except WireError:
            continue


def test_decoded_bytes_outlive_the_buffer() -> None:
    buf = bytearray(packed(("opaque", b"name")))
    name = decode(opaque(8), buf)
    buf[:] = bytes(len(buf))
    assert name == b"name"
    assert type(name) is bytes


@pytest.mark.parametrize(
    ("codec", "data"),
    [
        (opaque(8), packed(("opaque", bytes(9)))),
        (opaque(8), packed(("uint", 2**32 - 1))),
        (list_of(u32, 2), packed(("uint", 3), ("uint", 1), ("uint", 2), ("uint", 3))),
        (list_of(void, 2), packed(("uint", 2**32 - 1))),
        (linked_list_of(void, 2), packed(*[("bool", True)] * 3, ("bool", False))),
        (boolean, packed(("uint", 2))),
        (optional(u32), packed(("uint", 2), ("uint", 2))),
        (enum_of(Color), packed(("enum", 2))),
        (SHAPE, packed(("enum", 2))),
        (union_of(u32, {1: u32}), packed(("uint", 2), ("uint", 2))),
    ],
)
def test_what_is_too_long_or_out_of_range_is_refused(codec: Codec[Any], data: bytes) -> None:
    with pytest.raises(WireError):
        decode(codec, data)


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (u32, -1),
        (u32, 2**32),
        (i32, 2**31),
        (u64, -1),
        (u64, 2**64),
        (opaque(8), bytes(9)),
        (fixed(8), bytes(7)),
        (list_of(u32, 2), [1, 2, 3]),
        (linked_list_of(u32, 2), [1, 2, 3]),
        (array_of(u32, 2), [1]),
        (SHAPE, (3, None)),
    ],
)
def test_a_value_that_does_not_fit_is_our_mistake(codec: Codec[Any], value: Any) -> None:
    with pytest.raises(ValueError):
        encode(codec, value)


def test_a_default_arm_takes_every_other_discriminant() -> None:
    nothing_else = union_of(u32, {0: u32}, default=None)
    number_else = union_of(u32, {0: None}, default=u32)
    assert decode(nothing_else, struct.pack(">I", 9)) == (9, None)
    assert encode(nothing_else, (9, None)) == struct.pack(">I", 9)
    assert decode(number_else, struct.pack(">II", 9, 4)) == (9, 4)
    assert decode(number_else, struct.pack(">I", 0)) == (0, None)


def test_a_structure_whose_codecs_miss_a_field_cannot_be_declared() -> None:
    with pytest.raises(TypeError):
        struct_of(Point, x=u64)
    with pytest.raises(TypeError):
        struct_of(Point, name=opaque(8), x=u64)
