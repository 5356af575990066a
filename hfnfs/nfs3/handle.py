"""File handles: which volume, which node, and a seal that only this server can make.

    volume id 8 | fileid 8 | directory's fileid 8 | generation 4 | keyed BLAKE2b of these, cut to 12

Nothing in them depends on when the server was started, nor on where the node has been moved since:
clients compare them byte by byte. The directory is the one that showed the node first: a node that
was dropped to save memory is found again by listing it, and one that was moved is never dropped. A
handle whose seal is not ours is BadHandle; one of ours whose node is gone is StaleHandle, which is
the tree's to say.
"""

import struct
from hashlib import blake2b
from hmac import compare_digest
from typing import NamedTuple

from hfnfs.errors import BadHandle
from hfnfs.vfs.node import Node

KEY_BYTES = 32
_NAMED = struct.Struct(">8sQQI")
_VOLUME_ID_BYTES = 8
_SEAL_BYTES = 12
HANDLE_BYTES = _NAMED.size + _SEAL_BYTES


class Named(NamedTuple):
    """What a handle names."""

    fileid: int
    directory: int  # fileid; 0 for the root
    generation: int


class HandleMaker:
    """Makes the handles of one volume, and knows its own from forged ones."""

    def __init__(self, key: bytes, volume_id: bytes) -> None:
        if len(key) != KEY_BYTES or len(volume_id) != _VOLUME_ID_BYTES:
            raise ValueError("a handle is made of a key of 32 bytes and a volume id of 8")
        self._volume_id = volume_id
        # What all handles begin with is hashed once; that halves the time of a seal.
        self._sealed_so_far = blake2b(volume_id, key=key, digest_size=_SEAL_BYTES)

    def make(self, node: Node, home: int) -> bytes:
        """Give the handle of a node, the same every time; `home` as the tree tells it."""
        named = _NAMED.pack(self._volume_id, node.fileid, home, node.generation)
        return named + self._seal(named)

    def parse(self, handle: bytes) -> Named:
        """Give what a handle was made for. Raises BadHandle."""
        named, seal = handle[: _NAMED.size], handle[_NAMED.size :]
        if len(handle) != HANDLE_BYTES or not named.startswith(self._volume_id):
            raise BadHandle(f"{handle.hex()} is no handle of this volume")
        if not compare_digest(seal, self._seal(named)):
            raise BadHandle(f"{handle.hex()} was not sealed by us")
        return Named(*_NAMED.unpack(named)[1:])

    def _seal(self, named: bytes) -> bytes:
        sealed = self._sealed_so_far.copy()
        sealed.update(named[_VOLUME_ID_BYTES:])
        return sealed.digest()
