"""Every error that hfnfs raises on purpose.

A class says what happened; the message names the object and the fact. What NFS answers is
decided in nfs3/status.py, what an HTTP status means in hub/errors.py, the exit code in cli/.
"""


class HfnfsError(Exception):
    """Base of every error raised on purpose; anything else that escapes is a bug."""


class WireError(HfnfsError):
    """Bytes from a peer are not what the format says (cut, too long, a value out of range)."""


# ------------------------------------------------------------------------ files


class FileError(HfnfsError):
    """The request cannot be done, in file system words."""


class NoEntry(FileError):
    """The directory has no entry of that name."""


class EntryExists(FileError):
    """The name is taken."""


class NotDirectory(FileError):
    """A directory is needed and this is none."""


class IsDirectory(FileError):
    """This is a directory and must not be one."""


class NotEmpty(FileError):
    """The directory still has entries."""


class ReadOnlyVolume(FileError):
    """The volume takes no changes."""


class AccessDenied(FileError):
    """The caller's permission does not reach that far."""


class NotPermitted(FileError):
    """Not allowed to anyone but the owner, or to no one at all."""


class NameTooLong(FileError):
    """A name is longer than the volume holds."""


class InvalidArgument(FileError):
    """The request makes no sense for this object."""


class NotSupported(FileError):
    """The volume has no such operation or object."""


class StaleHandle(FileError):
    """The handle was good and what it named is gone."""


class BadHandle(FileError):
    """The handle was never ours, or was altered."""


class BadCookie(FileError):
    """A directory cookie that cannot be read."""


class ReplyTooSmall(FileError):
    """Not one entry fits into the reply that the caller allows."""


class GuardMismatch(FileError):
    """SETATTR's guard is not the object's ctime (RFC 1813 §3.3.2)."""


class NoSpace(FileError):
    """The local disk is full, or takes no more of this."""


class QuotaExceeded(NoSpace):
    """The user may not store that much: by the mount's quota, or the local disk's."""


class FileTooLarge(NoSpace):
    """No file here can reach that far."""


class NotDurable(FileError):
    """It was done, and cannot be relied on: it did not get where it survives a crash."""


class WrongType(FileError):
    """Objects of that type are not made in this way."""


class TryLater(FileError):
    """Not ready in time; the caller should ask again (NFS3ERR_JUKEBOX, RFC 1813 §2.6)."""


# ---------------------------------------------------------------------- the Hub


class RemoteError(HfnfsError):
    """The Hub did not do what was asked."""


class NotAuthenticated(RemoteError):
    """The Hub wants a token, or does not take this one (401)."""


class Forbidden(RemoteError):
    """The token does not reach that far (403)."""


class GatedRepo(RemoteError):
    """The repo's owner wants its terms accepted first."""


class SourceMissing(RemoteError):
    """There is no repo or bucket of that id that this token may see (404)."""


class RevisionMissing(RemoteError):
    """The repo has no such branch, tag or commit."""


class RemoteEntryMissing(RemoteError):
    """The repo or bucket has no such file or directory (any more)."""


class ContentMissing(RemoteEntryMissing):
    """The bytes of a file are not to be had (any more), though it was listed with them."""


class RateLimited(RemoteError):
    """The Hub asked us to slow down, and still does after we waited (429)."""


class RemoteUnavailable(RemoteError):
    """No answer, or one that says the fault is theirs (5xx), after all retries."""


class RemoteCorrupt(RemoteError):
    """The answer does not decode, is too short, or its hash is wrong."""


class Offline(RemoteError):
    """Asked to stay offline, and this is not cached."""


class QuotaReached(RemoteError):
    """The account has no room left (413, 507)."""


class FeedUnavailable(RemoteError):
    """The Hub does not tell what changes in the bucket, or not now."""


# ----------------------------------------------------------------- this machine


class HostError(HfnfsError):
    """This machine, as it is, cannot do what was asked; the message says what to do."""


class UsageError(HostError):
    """What the user typed makes no sense; the message names the word."""


class MountHelperMissing(HostError):
    """mount.nfs or mount_nfs is not installed."""


class KernelWithoutNfs(HostError):
    """The kernel has no NFS client."""


class MountNotPermitted(HostError):
    """Mounting needs a privilege that this process lacks."""


class MountPointUnusable(HostError):
    """The mount point is busy, no directory, or cannot be made."""


class MountFailed(HostError):
    """The mount helper was run and failed for another reason."""


class UnmountFailed(HostError):
    """The mount is still there, whatever was tried; the message says what to do."""


class ChangesUnsent(HostError):
    """It ended in order, and the Hub lacks something: it is kept for the next mount."""


class NotServing(HostError):
    """No mount of that name answers."""


class Interrupted(HostError):
    """A signal came before there was anything to end in order."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.signal_number = signal_number


class PortRefused(HostError):
    """The port to serve on cannot be had."""


class CacheUnusable(HostError):
    """The cache directory cannot be made, is not ours, or is in use by another process."""
