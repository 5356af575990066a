"""What depends on who calls: who owns what is made, and who may set which attributes.

Linux asks ACCESS before it opens, creates or removes, and keeps to the answer; before chmod, chown
and utimes it asks nothing and leaves them to the server. So these are decided here, as POSIX has
it. Who has no name (AUTH_NONE) owns nothing.
"""

from hfnfs.errors import AccessDenied, InvalidArgument, NotPermitted
from hfnfs.nfs3.export import Export
from hfnfs.nfs3.types import NfsTime3, Sattr3, TimeHow
from hfnfs.rpc.message import AuthSys
from hfnfs.rpc.session import Caller
from hfnfs.vfs.attributes import ACCESS_MODIFY, SERVER_TIME, Wanted
from hfnfs.vfs.node import FileType, Node

MODE_BITS = 0o7777
SET_ID = 0o6000
_SET_UID = 0o4000
_SET_GID = 0o2000
_GROUP_EXECUTES = 0o010
_NS = 1_000_000_000
_ROOT = 0


def wanted_of(new: Sattr3) -> Wanted:
    """Give what a sattr3 says is to be set. Raises InvalidArgument for a time that is none."""
    return Wanted(
        mode=None if new.mode is None else new.mode & MODE_BITS,
        uid=new.uid,
        gid=new.gid,
        size=new.size,
        atime_ns=_time_ns(*new.atime),
        mtime_ns=_time_ns(*new.mtime),
    )


def ns_of(time: NfsTime3) -> int:
    """Give a time in nanoseconds since 1970. Raises InvalidArgument."""
    if time.nseconds >= _NS:
        raise InvalidArgument(f"{time.nseconds} ns are more than a second")
    return time.seconds * _NS + time.nseconds


def made_by(caller: Caller, directory: Node, wanted: Wanted, *, is_directory: bool) -> Wanted:
    """Give what is wanted of an object that a caller makes, completed by whose it is.

    It is the caller's, and the caller's group's; root may make it anybody's. What is made in a
    directory with the set-group-ID bit is of the directory's group, and a directory has that bit.
    """
    credential = caller.credential
    uid, gid, mode = wanted.uid, wanted.gid, wanted.mode
    if isinstance(credential, AuthSys):
        if uid is None or credential.uid != _ROOT:
            uid = credential.uid
        if gid is None or not (credential.uid == _ROOT or gid in credential.gids):
            gid = credential.gid
    else:
        uid = gid = None  # as the volume has it
    if directory.look.mode & _SET_GID:
        gid = directory.look.gid
        if is_directory and mode is not None:
            mode |= _SET_GID
    if mode is not None and not is_directory and gid is not None and not _is_in(caller, gid):
        mode = mode & ~_SET_GID if mode & _GROUP_EXECUTES else mode
    return wanted._replace(mode=mode, uid=uid, gid=gid)


def is_root(caller: Caller) -> bool:
    """Tell whether the caller may do anything."""
    return isinstance(caller.credential, AuthSys) and caller.credential.uid == _ROOT


def disarmed(mode: int) -> int:
    """Give a mode without the bits that lend a file's owner and group to whoever runs it.

    The set-group-ID bit of a file that its group cannot run means something else.
    """
    mode &= ~_SET_UID
    return mode & ~_SET_GID if mode & _GROUP_EXECUTES else mode


def set_by(caller: Caller, node: Node, wanted: Wanted) -> Wanted:
    """Give what a caller who may set it sets, as POSIX has it of the set-ID bits.

    A file loses them when it is given away, or cut by anyone but root. Who is not in the file's
    group cannot set the set-group-ID bit.
    """
    mode, look = wanted.mode, node.look
    gid = look.gid if wanted.gid is None else wanted.gid
    if mode is not None and not _is_in(caller, gid):
        mode &= ~_SET_GID
    is_given = wanted.uid is not None or wanted.gid is not None
    is_cut = wanted.size is not None and not is_root(caller)
    if look.type is FileType.REG and (is_given or is_cut):
        if mode is None and look.mode & SET_ID:
            mode = disarmed(look.mode)
        elif mode is not None and not is_root(caller):
            mode = disarmed(mode)
    return wanted._replace(mode=mode)


def _is_in(caller: Caller, gid: int) -> bool:
    """Whether a caller may act for a group."""
    credential = caller.credential
    if not isinstance(credential, AuthSys):
        return False
    return credential.uid == _ROOT or gid == credential.gid or gid in credential.gids


def require_may_set(export: Export, caller: Caller, node: Node, wanted: Wanted) -> None:
    """Refuse what a caller may not set. Raises NotPermitted, AccessDenied.

    Mode, group and a time of one's choice are for the owner to set, the owner for root. The size,
    and the time of now, are also for whoever may write.
    """
    credential, look = caller.credential, node.look
    uid = credential.uid if isinstance(credential, AuthSys) else None
    if uid == _ROOT:
        return
    if uid is not None and uid == look.uid:
        assert isinstance(credential, AuthSys)
        if wanted.uid not in (None, uid):
            raise NotPermitted(f"{node!r}: only root gives files away")
        if wanted.gid not in (None, look.gid, credential.gid, *credential.gids):
            raise NotPermitted(f"{node!r}: {uid} is not in group {wanted.gid}")
        return
    is_for_owner = any(value is not None for value in (wanted.mode, wanted.uid, wanted.gid))
    if is_for_owner or not {wanted.atime_ns, wanted.mtime_ns} <= {None, SERVER_TIME}:
        raise NotPermitted(f"{node!r} is not {uid}'s")
    if not export.access(caller, node) & ACCESS_MODIFY:
        raise AccessDenied(f"{node!r} is not for {uid} to write")


def _time_ns(how: TimeHow, time: NfsTime3 | None) -> int | None:
    if how is TimeHow.DONT_CHANGE:
        return None
    if time is None:
        return SERVER_TIME
    return ns_of(time)
