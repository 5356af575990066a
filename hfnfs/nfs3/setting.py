"""SETATTR (RFC 1813 §3.3.2)."""

from hfnfs.nfs3.export import Export
from hfnfs.nfs3.owners import ns_of, require_may_set, set_by, wanted_of
from hfnfs.nfs3.types import (
    FILE_HANDLE,
    NFSTIME3,
    SATTR3,
    WCC_DATA,
    NfsTime3,
    Sattr3,
    WccData,
    changed_from,
    encode_wcc_ok,
    result_of,
)
from hfnfs.nfs3.unpacking import by_hand, handle_at, is_present_at, sattr_at, time_at
from hfnfs.rpc.session import Caller
from hfnfs.rpc.xdr import optional, struct_of, wire
from hfnfs.vfs.needs import Held


@wire
class SetattrArgs:
    """SETATTR3args; `guard` is the ctime the object must still have."""

    object: bytes
    new_attributes: Sattr3
    guard: NfsTime3 | None


@wire
class SetattrOk:
    """SETATTR3resok."""

    obj_wcc: WccData


SETATTR_ARGS = struct_of(
    SetattrArgs, object=FILE_HANDLE, new_attributes=SATTR3, guard=optional(NFSTIME3)
)
SETATTR_OK = struct_of(SetattrOk, obj_wcc=WCC_DATA)
SETATTR_RESULT = result_of(SETATTR_OK, WCC_DATA)


def _setattr_at(buf: bytes | memoryview, pos: int) -> tuple[SetattrArgs, int]:
    handle, pos = handle_at(buf, pos)
    attributes, pos = sattr_at(buf, pos)
    guard = None
    is_guarded, pos = is_present_at(buf, pos)
    if is_guarded:
        guard, pos = time_at(buf, pos)
    return SetattrArgs(handle, attributes, guard), pos


decode_setattr_args = by_hand(_setattr_at, SETATTR_ARGS)


def encode_setattr_ok(result: SetattrOk) -> bytes:
    """Hand-packed twin of SETATTR_OK, with its status."""
    return encode_wcc_ok(result.obj_wcc)


def setattr_(export: Export, args: SetattrArgs, caller: Caller) -> Held[SetattrOk]:
    """Set attributes of an object, all or none."""
    node = export.node(args.object)
    setting = export.volume.changes.setting
    wanted = wanted_of(args.new_attributes)
    require_may_set(export, caller, node, wanted)
    wanted = set_by(caller, node, wanted)
    before = node.fattr3
    held = setting.set(node, wanted, None if args.guard is None else ns_of(args.guard))
    return Held(SetattrOk(changed_from(before, node.fattr3)), held.until)
