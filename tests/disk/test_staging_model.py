"""Random work on staged files, with few of them open, and restarts, against a model."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hfnfs.disk.ranges import Ranges
from hfnfs.disk.staging import Staging
from hfnfs.errors import TryLater

FILEIDS = st.sampled_from([1, 2**64 - 1, 0xABCDEF])
PLACES = st.integers(0, 80_000)
SLACK_BYTES = 4 * 4096  # what a file system may add for itself when it writes a file back


class StagingAgainstModel(RuleBasedStateMachine):
    """Files are what was written, also when few may be open, and after a restart."""

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.files: dict[int, bytearray] = {}
        self.own: dict[int, Ranges] = {}
        self.staging = Staging(Path(self.home.name), None, descriptors_max=2)
        self.staging.open(set())

    def teardown(self) -> None:
        self.staging.close()
        self.home.cleanup()

    def or_later(self, work: Callable[[], object]) -> None:
        try:
            work()
        except TryLater:  # both open files are unsynced
            for fileid in self.staging.unsynced():
                self.staging.sync(fileid)
            work()

    @rule(fileid=FILEIDS, offset=PLACES, seed=st.integers(), count=st.integers(1, 9000))
    def write(self, fileid: int, offset: int, seed: int, count: int) -> None:
        data = random.Random(seed).randbytes(count)
        self.or_later(lambda: self.staging.write(fileid, offset, data))
        model = self.files.setdefault(fileid, bytearray())
        model.extend(bytes(max(offset + count - len(model), 0)))
        model[offset : offset + count] = data
        self.own.setdefault(fileid, Ranges()).add(offset, offset + count)

    @rule(fileid=FILEIDS, size=PLACES)
    def truncate(self, fileid: int, size: int) -> None:
        self.or_later(lambda: self.staging.truncate(fileid, size))
        model = self.files.setdefault(fileid, bytearray())
        del model[size:]
        model.extend(bytes(size - len(model)))
        self.own.setdefault(fileid, Ranges()).truncate(size)

    @rule(fileid=FILEIDS, start=PLACES, end=PLACES)
    def read(self, fileid: int, start: int, end: int) -> None:
        model = self.files.get(fileid, bytearray())
        if start < end and end <= len(model):
            truth = bytes(model[start:end])
            got: list[bytes] = []
            self.or_later(lambda: got.append(self.staging.read(fileid, start, end)))
            assert got == [truth]
            resident = self.staging.read_resident(fileid, start, end)
            assert resident is None or resident == truth

    @rule(fileid=FILEIDS)
    def sync(self, fileid: int) -> None:
        if fileid in self.files:
            self.or_later(lambda: self.staging.sync(fileid))
            assert fileid not in self.staging.unsynced()

    @rule(fileid=FILEIDS, size=PLACES)
    def snapshot(self, fileid: int, size: int) -> None:
        if fileid not in self.files:
            return
        truth = bytearray(size)
        for start, end in self.own[fileid].intersect(0, size):
            truth[start:end] = self.files[fileid][start:end]

        def check() -> None:
            snapshot = self.staging.snapshot(fileid, self.own[fileid], size)
            snapshot.seal()
            assert snapshot.path.read_bytes() == bytes(truth)
            snapshot.discard()

        self.or_later(check)

    @rule(fileid=FILEIDS)
    def remove(self, fileid: int) -> None:
        self.staging.unlink(self.staging.set_aside(fileid))
        self.files.pop(fileid, None)
        self.own.pop(fileid, None)

    @rule(forgotten=FILEIDS, may_lack=st.booleans())
    def restart(self, forgotten: int, *, may_lack: bool) -> None:
        self.staging.close()
        self.staging = Staging(Path(self.home.name), None, descriptors_max=2)
        known = self.files.keys() - {forgotten}
        swept = self.staging.open(known, may_lack=may_lack)
        gone = self.files.pop(forgotten, None)
        lost = [] if gone is None or not may_lack else [bytes(gone)]
        assert [path.read_bytes() for path in swept.lost] == lost
        assert swept.removed == (set() if gone is None or may_lack else {forgotten})
        assert swept.found == known
        assert not swept.missing
        self.own.pop(forgotten, None)

    @invariant()
    def usage_is_what_lies_there(self) -> None:
        paths = [self.staging.path(fileid) for fileid in self.files]
        usage = self.staging.usage()
        assert usage.files == len(paths)
        on_disk = sum(path.stat().st_blocks * 512 for path in paths)
        assert abs(usage.bytes - on_disk) <= SLACK_BYTES * len(paths)
        assert usage.snapshot_bytes == 0
        assert usage.unsynced_bytes <= sum(ranges.total for ranges in self.own.values())


StagingAgainstModel.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None
)
test_staging_against_the_model = StagingAgainstModel.TestCase
