"""Every tunable of a mount, with its unit, its default and the reason for it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

# A page of the block cache and the unit of every fetch: two Xet chunks of average size, so that
# a random read of 4 KiB fetches a few hundred KiB at most (hub-and-xet §E.4).
BLOCK_BYTES = 128 * KIB
# READ and WRITE carry at most this; Linux clients cap rsize and wsize here (nfs-performance §4).
TRANSFER_BYTES_MAX = MIB


@dataclass(frozen=True, slots=True)
class MountConfig:
    """How one volume is mounted and served."""

    source: str  # as typed: "openai-community/gpt2", "datasets/x@rev", "hf://buckets/me/b/sub"
    cache_dir: Path
    kind: Literal["repo", "bucket"] | None = None  # what the command says; None: the source does
    mount_point: Path | None = None  # None: serve only
    revision: str | None = None  # None: what the source names, else the default branch
    endpoint: str | None = None  # None: as huggingface_hub finds it
    token: str | None = field(default=None, repr=False)  # None: as huggingface_hub finds it
    token_file: Path | None = None  # read again when it changes, and on a 401
    offline: bool = False
    read_only: bool = False  # repos always are

    # What files look like. The Hub keeps neither owners nor modes.
    uid: int = 0
    gid: int = 0
    file_mode: int | None = None  # 644, of what takes no changes 444
    directory_mode: int | None = None  # 755, or 555

    # Serving. Port 0: of the kernel's choice.
    host: str = "127.0.0.1"
    port: int = 0
    # A Linux client sends a call again after 60 s (TCP); NFS3ERR_JUKEBOX has to come well before.
    serve_deadline_s: float = 20.0
    # What was done and must become durable may take longer: it is not answered "later" any more.
    # A client that asks again meanwhile waits for the same answer.
    hold_deadline_s: float = 60.0
    # Rounds of "wait, then run again" before a request is answered NFS3ERR_JUKEBOX.
    attempts_max: int = 16
    # Calls that wait on one connection before reading from it pauses; Linux sends up to 128.
    calls_in_flight_max: int = 256

    # Freshness of what can change (buckets): listings older than this are fetched again.
    # It is also what the client is told to cache attributes for at most.
    metadata_ttl_s: float = 10.0
    # Where the Hub does not tell what changes (all repos) it is asked so often whether anything
    # did; 0: never.
    poll_interval_s: float = 30.0
    # Directories that are listed at once when something did, so that users' requests go between.
    poll_listing_concurrency: int = 4
    # Lookups of single names in a directory that is not listed before the whole is.
    lookups_before_listing: int = 3
    # Files and directories held in memory, at some 600 bytes each; beyond it those that nobody
    # uses are forgotten, and listed again when they are asked for.
    nodes_soft_max: int = 1_000_000

    # Reading.
    cache_bytes_max: int = 10 * GIB  # block cache on disk, all mounts of the user together
    cache_mode: Literal["block", "file"] = "block"  # file: fetch the rest of what is read, too
    disk_cache: bool = True  # else nothing that is read is written to disk
    # What reading may hold in memory in all: blocks on their way in one half, and in the other,
    # without a disk cache or while its disk takes no more, those that are kept. 64 readers of
    # 20 files at full windows need less than half of it.
    memory_bytes_max: int = 512 * MIB
    # hf-xet: hf_xet reads Xet content instead of our own reader. It pays where many connections
    # at once do; the first byte comes later.
    reader: Literal["hfnfs", "hf-xet"] = "hfnfs"
    window_bytes_min: int = BLOCK_BYTES  # first read of a content, and random ones
    window_bytes_max: int = 16 * MIB  # sequential: two requests for each, so not much smaller
    windows_in_flight_max: int = 4  # of one content, beyond which nothing more is read ahead
    # Reading ahead ends when its content was not asked for in so long.
    read_ahead_linger_s: float = 10.0
    fetches_in_flight_max: int = 16  # of a mount: what the Hub and a home line bear
    # One request to the Hub or CAS: to connect, and between two pieces of a body.
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 30.0
    # A fetch or listing that brings nothing for so long, all retries included, is given up.
    stall_timeout_s: float = 120.0

    # Writing (buckets).
    # Written bytes on the local disk, of all files of a mount. Those that the Hub has are given up
    # first; writers wait while it lacks all of them.
    staging_bytes_max: int = 10 * GIB
    # Written bytes that may be in the page cache only; then writers wait for the disk. Linux
    # begins to slow down who writes at a tenth of the memory, which would stop the whole server.
    unsynced_bytes_max: int = 128 * MIB
    # What the whole volume may hold, and what df calls its size; None: no bound.
    quota_bytes: int | None = None
    # What was changed goes to the Hub when it was quiet for so long, but no later than the window
    # after its first change: programs write a file in many steps, and a request takes many files.
    flush_debounce_s: float = 2.0
    flush_window_s: float = 30.0
    # At the end what the Hub lacks is sent for so long; the rest goes up at the next mount.
    flush_shutdown_timeout_s: float = 45.0
    # Whether what operating systems strew about is kept from the Hub.
    filter_os_files: bool = True
