"""The tree of a volume, as its configuration wants it to look."""

import secrets
from math import inf

from hfnfs.app.ground import Ground
from hfnfs.config import MountConfig
from hfnfs.vfs.attributes import Appearance
from hfnfs.vfs.ours import Claims
from hfnfs.vfs.tree import Freshness, Tree

# A listing has to stay young for as long as the request that asked for it takes to run again.
_TTL_S_MIN = 1.0


def grown(config: MountConfig, ground: Ground, claims: Claims | None) -> Tree:
    """A tree of which nothing is known yet; without `claims` it takes no changes."""
    is_fixed = claims is None
    appearance = Appearance(
        fsid=int.from_bytes(ground.state.id),
        uid=config.uid,
        gid=config.gid,
        file_mode=_mode(config.file_mode, 0o444 if is_fixed else 0o644),
        directory_mode=_mode(config.directory_mode, 0o555 if is_fixed else 0o755),
        modified_ns=ground.far.revision.modified_ns,
    )
    ttl_s = inf if ground.far.remote.immutable else max(config.metadata_ttl_s, _TTL_S_MIN)
    return Tree(
        appearance,
        Freshness(ttl_s, config.lookups_before_listing, config.nodes_soft_max),
        boot_verifier=secrets.token_bytes(8),
        clock=ground.far.clock,
        claims=claims,
    )


def _mode(given: int | None, default: int) -> int:
    return default if given is None else given
