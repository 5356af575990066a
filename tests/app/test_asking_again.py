"""What a client is answered whose server was killed before it had answered."""

from hfnfs.nfs3.naming import (
    MKDIR_ARGS,
    REMOVE_ARGS,
    RENAME_ARGS,
    MkdirArgs,
    RemoveArgs,
    RenameArgs,
)
from hfnfs.nfs3.status import Status
from hfnfs.nfs3.types import DirOpArgs, Sattr3, TimeHow
from hfnfs.rpc.xdr import encode
from tests.app.bucket import Bucket, Mount
from tests.nfs3.wire import Wire, status_of

NO_CHANGE = (TimeHow.DONT_CHANGE, None)
PLAIN = Sattr3(0o755, None, None, None, NO_CHANGE, NO_CHANGE)


async def ask(mount: Mount, first_xid: int) -> list[Status]:
    """Ask for three changes, over connections that are new."""
    gone, old, new, made = (DirOpArgs(mount.root, n) for n in (b"gone", b"old", b"new", b"made"))
    calls = {
        "REMOVE": encode(REMOVE_ARGS, RemoveArgs(gone)),
        "RENAME": encode(RENAME_ARGS, RenameArgs(old, new)),
        "MKDIR": encode(MKDIR_ARGS, MkdirArgs(made, PLAIN)),
    }
    wire = Wire(mount.port)
    try:
        return [
            status_of(await wire.ask(name, arguments, first_xid + number))
            for number, (name, arguments) in enumerate(calls.items())
        ]
    finally:
        await wire.close()


async def test_changes_whose_answers_a_kill_took_are_answered_by_the_next_server(
    bucket: Bucket,
) -> None:
    await bucket.put({"gone": b"1", "old": b"2"})
    for _ in range(2):
        async with bucket.in_a_process() as mount:
            assert await ask(mount, 1) == [Status.OK] * 3
            assert await mount.paths() == {"new", "made"}
    async with bucket.mounted() as mount:
        assert await ask(mount, 11) == [Status.NOENT, Status.NOENT, Status.EXIST]
        await mount.drained()
    assert await bucket.files() == {"new": b"2"}
