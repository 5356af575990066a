"""File handles: which volume, which node, and a seal that only this server can make.

    volume id 8 | fileid 8 | generation 4 | keyed BLAKE2b of the 20 bytes, cut to 12

Nothing in them depends on when the server was started, so with the same key they stay good over
restarts. A handle whose seal is not ours is BadHandle; one of ours whose node is gone is
StaleHandle, which is the tree's to say.
"""

import struct
from hashlib import blake2b
from hmac import compare_digest

from hfnfs.errors import BadHandle
from hfnfs.vfs.node import Node
from hfnfs.vfs.volume import Volume

KEY_BYTES = 32
_NAMED = struct.Struct(">8sQI")
_SEAL_BYTES = 12
HANDLE_BYTES = _NAMED.size + _SEAL_BYTES
# Sealing takes about 1 us, remembering a handle about 200 bytes. A client works with some
# thousands at a time, so a store that is full is emptied rather than kept in order.
HANDLES_KEPT_MAX = 1 << 16


class HandleMaker:
    """Makes the handles of one volume, and knows its own from forged ones."""

    def __init__(self, key: bytes, volume_id: bytes) -> None:
        if len(key) != KEY_BYTES or len(volume_id) != 8:
            raise ValueError("a handle is made of a key of 32 bytes and a volume id of 8")
        self._volume_id = volume_id
        self._sealed_with_key = blake2b(key=key, digest_size=_SEAL_BYTES)
        self._made: dict[tuple[int, int], bytes] = {}
        self._parsed: dict[bytes, tuple[int, int]] = {}

    def handle_of(self, node: Node) -> bytes:
        """Give the handle of a node, the same every time."""
        named = (node.fileid, node.generation)
        handle = self._made.get(named)
        if handle is None:
            start = _NAMED.pack(self._volume_id, *named)
            handle = start + self._seal(start)
            if len(self._made) >= HANDLES_KEPT_MAX:
                self._made.clear()
            self._made[named] = handle
        return handle

    def parse(self, handle: bytes) -> tuple[int, int]:
        """Give fileid and generation of the node a handle was made for. Raises BadHandle."""
        named = self._parsed.get(handle)
        if named is None:
            named = self._open(handle)
            if len(self._parsed) >= HANDLES_KEPT_MAX:
                self._parsed.clear()
            self._parsed[handle] = named
        return named

    def _open(self, handle: bytes) -> tuple[int, int]:
        start, seal = handle[: _NAMED.size], handle[_NAMED.size :]
        if len(handle) != HANDLE_BYTES or not compare_digest(seal, self._seal(start)):
            raise BadHandle(f"{handle.hex()} is no handle of ours")
        volume_id, fileid, generation = _NAMED.unpack(start)
        if volume_id != self._volume_id:
            raise BadHandle(f"{handle.hex()} belongs to another volume")
        return fileid, generation

    def _seal(self, start: bytes) -> bytes:
        sealed = self._sealed_with_key.copy()
        sealed.update(start)
        return sealed.digest()


class Export:
    """A volume, and the handles by which clients name its nodes."""

    __slots__ = ("handle_of", "handles", "volume")

    def __init__(self, volume: Volume, handles: HandleMaker) -> None:
        self.volume = volume
        self.handles = handles
        self.handle_of = handles.handle_of

    def node(self, handle: bytes) -> Node:
        """Give the node a client means. Raises BadHandle, StaleHandle."""
        return self.volume.node(*self.handles.parse(handle))
