"""nfsstat3, and which of our errors is answered with which: the only place that knows."""

from enum import IntEnum

from hfnfs import errors
from hfnfs.errors import HfnfsError


class Status(IntEnum):
    """nfsstat3 (RFC 1813 §2.6)."""

    OK = 0
    PERM = 1
    NOENT = 2
    IO = 5
    NXIO = 6
    ACCES = 13
    EXIST = 17
    XDEV = 18
    NODEV = 19
    NOTDIR = 20
    ISDIR = 21
    INVAL = 22
    FBIG = 27
    NOSPC = 28
    ROFS = 30
    MLINK = 31
    NAMETOOLONG = 63
    NOTEMPTY = 66
    DQUOT = 69
    STALE = 70
    REMOTE = 71
    BADHANDLE = 10001
    NOT_SYNC = 10002
    BAD_COOKIE = 10003
    NOTSUPP = 10004
    TOOSMALL = 10005
    SERVERFAULT = 10006
    BADTYPE = 10007
    JUKEBOX = 10008


OK = int(Status.OK)  # Python 3.11 takes as long to find a member as to pack a reply


STATUS_OF: dict[type[HfnfsError], Status] = {
    errors.NoEntry: Status.NOENT,
    errors.EntryExists: Status.EXIST,
    errors.NotDirectory: Status.NOTDIR,
    errors.IsDirectory: Status.ISDIR,
    errors.NotEmpty: Status.NOTEMPTY,
    errors.ReadOnlyVolume: Status.ROFS,
    errors.AccessDenied: Status.ACCES,
    errors.NotPermitted: Status.PERM,
    errors.NameTooLong: Status.NAMETOOLONG,
    errors.InvalidArgument: Status.INVAL,
    errors.NotSupported: Status.NOTSUPP,
    errors.StaleHandle: Status.STALE,
    errors.BadHandle: Status.BADHANDLE,
    errors.BadCookie: Status.BAD_COOKIE,
    errors.ReplyTooSmall: Status.TOOSMALL,
    errors.GuardMismatch: Status.NOT_SYNC,
    errors.NoSpace: Status.NOSPC,
    errors.QuotaExceeded: Status.DQUOT,
    errors.FileTooLarge: Status.FBIG,
    errors.NotDurable: Status.IO,
    errors.WrongType: Status.BADTYPE,
    errors.TryLater: Status.JUKEBOX,
    # What the Hub says of the token is for the user to mend, so it is not hidden in an IO.
    errors.NotAuthenticated: Status.ACCES,
    errors.Forbidden: Status.ACCES,
    errors.GatedRepo: Status.ACCES,
    errors.SourceMissing: Status.IO,
    errors.RevisionMissing: Status.IO,
    # Shown once and gone since: STALE makes a client look the path up again (Linux does).
    errors.RemoteEntryMissing: Status.STALE,
    # But the file is there; at STALE a client would drop what it has still to write to it.
    errors.ContentMissing: Status.IO,
    errors.RateLimited: Status.JUKEBOX,
    errors.RemoteUnavailable: Status.IO,
    errors.RemoteCorrupt: Status.IO,
    errors.Offline: Status.IO,
    errors.QuotaReached: Status.DQUOT,
    errors.FeedUnavailable: Status.IO,
    # The local cache went away under us.
    errors.CacheUnusable: Status.IO,
}


def status_of(error: HfnfsError) -> Status:
    """Give the status that says what error says; SERVERFAULT for one that has no row."""
    rows = (STATUS_OF[kind] for kind in type(error).__mro__ if kind in STATUS_OF)
    return next(rows, Status.SERVERFAULT)
