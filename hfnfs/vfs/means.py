"""What every change of a volume works with."""

from typing import NamedTuple

from hfnfs.clock import Clock
from hfnfs.vfs.journal import Journal
from hfnfs.vfs.keeping import Keeper
from hfnfs.vfs.ours import Ours
from hfnfs.vfs.tree import Tree
from hfnfs.vfs.writing import Writing


class Means(NamedTuple):
    """The owners whose state a change touches."""

    tree: Tree
    ours: Ours
    writing: Writing
    keeper: Keeper
    journal: Journal
    clock: Clock
