"""Names that are kept here alone, and that the Hub never hears of; pure."""

from typing import Final

# What an NFS client calls a file that is removed while a program has it open.
_OF_CLIENTS: Final = ".nfs"
# What macOS and Windows leave in directories that people look into.
_OF_SYSTEMS: Final = frozenset(
    {
        ".DS_Store",
        ".Spotlight-V100",
        ".Trashes",
        ".fseventsd",
        "Thumbs.db",
        "__MACOSX",
        "desktop.ini",
    }
)
_APPLE_DOUBLE: Final = "._"  # before the name of the file whose attributes are in it


def is_of_clients(path: str) -> bool:
    """Whether a path is that of a file which is removed but still open."""
    return path.rpartition("/")[2].startswith(_OF_CLIENTS)


def is_private(path: str) -> bool:
    """Whether a path is such a one, or below what an operating system made for itself."""
    return is_of_clients(path) or any(
        name in _OF_SYSTEMS or name.startswith(_APPLE_DOUBLE) for name in path.split("/")
    )
