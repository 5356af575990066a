"""Which directories show something, so that it may be out of date."""

import asyncio
from math import inf
from typing import Final

from hfnfs.vfs.directory import Directory
from hfnfs.vfs.tree import Tree

# Directories that are looked at before others are served.
_SLICE: Final = 256


async def loaded(tree: Tree) -> list[Directory]:
    """Directories of which something was asked for; first those in use, then the oldest."""
    found: list[Directory] = []
    waiting = [tree.root]
    seen = 0
    while waiting:
        directory = waiting.pop()
        inner = [node for node in directory.children.values() if isinstance(node, Directory)]
        waiting += inner
        if directory.listed_at is not None or directory.asked or directory.children:
            found.append(directory)
        seen += 1
        if seen % _SLICE == 0:
            await asyncio.sleep(0)
    found.sort(key=lambda each: (not each.is_used, each.listed_at or inf))
    return found
