"""Holds a hand-packed decoder to its declaration, on good and on bad bytes."""

import struct
from typing import Any

from hfnfs.errors import WireError
from hfnfs.nfs3.types import Decoder
from hfnfs.rpc.xdr import Codec, decode


def outcome(decoder: Decoder[Any], buf: bytes, pos: int, end: int) -> Any:
    """What a decoder gives; None if it refuses."""
    try:
        return decoder(buf, pos, end)
    except (WireError, struct.error):
        return None


def assert_decodes_alike(twin: Decoder[Any], codec: Codec[Any], body: bytes) -> None:
    """The same value or the same refusal, with other bytes before and behind."""

    def declaration(buf: bytes | memoryview, pos: int, end: int, /) -> Any:
        return decode(codec, buf, pos, end)

    buf = b"\xff" * 5 + body + b"\0" * 90
    end = 5 + len(body)
    assert outcome(twin, buf, 5, end) == outcome(declaration, buf, 5, end)


def spoiled(body: bytes, at: int, byte: int, cut: int) -> bytes:
    """Body with one byte changed and its end cut or extended."""
    at %= max(len(body), 1)
    changed = body[:at] + bytes([byte]) + body[at + 1 :]
    return changed[:cut] if cut < len(body) else changed + bytes(cut - len(body))
