"""What is exported: a volume, and what is remembered so that hot calls find it at once."""

from collections.abc import Collection
from itertools import islice

from hfnfs.nfs3.handle import HandleMaker
from hfnfs.nfs3.pages import Pages
from hfnfs.rpc.message import AuthSys
from hfnfs.rpc.session import Caller
from hfnfs.vfs.node import Look, Node
from hfnfs.vfs.volume import Volume

# Sealing a handle takes about 1 us; to remember it, its node and the packed attributes takes some
# 400 bytes. A client works with some thousands at a time: half of a full store is given up.
HANDLES_KEPT_MAX = 1 << 16
# Callers and looks of nodes whose ACCESS is remembered: few of either at a time.
ACCESSES_KEPT_MAX = 1024


class Export:
    """A volume, and the handles by which clients name its nodes.

    What was found out about nodes that clients work with is remembered until a node is gone.
    """

    __slots__ = ("_access_of", "_handle_of", "_node_of", "handles", "pages", "volume")

    def __init__(self, volume: Volume, handles: HandleMaker) -> None:
        self.volume = volume
        self.handles = handles
        self.pages = Pages(self.make_handle)
        self._node_of: dict[bytes, Node] = {}
        self._handle_of: dict[Node, bytes] = {}
        self._access_of: dict[tuple[Caller, Look], int] = {}
        volume.tree.when_gone.append(self._forget)
        volume.tree.nodes.earlier.in_use = self._handle_of.__contains__

    def node(self, handle: bytes) -> Node:
        """Give the node a client means. Raises BadHandle, StaleHandle, NotYet."""
        node = self._node_of.get(handle)
        if node is None:
            node = self.volume.node(*self.handles.parse(handle))
            self._remember(handle, node)
        return node

    def handle_of(self, node: Node) -> bytes:
        """Give the handle of a node."""
        handle = self._handle_of.get(node)
        if handle is None:
            handle = self.make_handle(node)
            self._remember(handle, node)
        return handle

    def make_handle(self, node: Node) -> bytes:
        """Give the handle of a node without remembering it."""
        return self.handles.make(node, self.volume.tree.home_of(node))

    def access(self, caller: Caller, node: Node) -> int:
        """Give the ACCESS3 bits that a caller has on a node (RFC 1813 §3.3.4)."""
        asked = caller, node.look
        granted = self._access_of.get(asked)
        if granted is None:
            if len(self._access_of) >= ACCESSES_KEPT_MAX:
                self._access_of.clear()
            granted = self._access_of[asked] = self._granted(*asked)
        return granted

    def _granted(self, caller: Caller, look: Look) -> int:
        attributes, credential = self.volume.attributes, caller.credential
        if isinstance(credential, AuthSys):
            gids = (credential.gid, *credential.gids)
            return attributes.granted(look, credential.uid, gids)
        return attributes.granted(look, None, ())

    def _remember(self, handle: bytes, node: Node) -> None:
        self._forget_one(node)  # one handle of a node, so that it is all of it
        if len(self._node_of) >= HANDLES_KEPT_MAX:
            oldest = list(islice(self._handle_of, HANDLES_KEPT_MAX // 2))
            for known in oldest:
                known.unpack()
            self._forget(oldest)
        self._node_of[handle] = node
        self._handle_of[node] = handle

    def _forget(self, nodes: Collection[Node]) -> None:
        for node in nodes:
            self._forget_one(node)

    def _forget_one(self, node: Node) -> None:
        handle = self._handle_of.pop(node, None)
        if handle is not None:
            del self._node_of[handle]
