"""Eighteen small things that programs do to files, each in names of its own.

steps.py        does them in the working directory, which must hold THEIRS, and reports as a line
                of JSON what became of each, and all that is there afterwards

A step raises where the file system is not as POSIX has it. What must be left in the end is LEFT.
"""

import errno
import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.live.inside.manifest import manifest, remount

# What is on the Hub before, and nothing of it in any cache.
THEIRS = {
    "theirs/long.txt": b"0123456789" * 5000,
    "theirs/dirty.txt": b"as it was\n",
    "theirs/read.txt": b"the end is near",
    "theirs/over.txt": b"what was there before, and longer than what comes\n",
    "theirs/taken.txt": b"will be renamed over\n",
    "theirs/folder/one.txt": b"1\n",
    "theirs/folder/deep/two.txt": b"2\n",
    "theirs/gone/one.txt": b"will be unlinked\n",
    "theirs/kept/one.txt": b"stays\n",
}
LEFT = {
    "mine/empty": b"",
    "mine/notes.txt": b"written\nand read back\n",
    "mine/zero.txt": b"",
    "theirs/long.txt": THEIRS["theirs/long.txt"][:12_345],
    "theirs/read.txt": THEIRS["theirs/read.txt"],
    "theirs/moved.txt": b"as it was\nand more\n",
    "mine/nest/deep/er/file.txt": b"nested\n",
    "theirs/renamed/one.txt": b"1\n",
    "theirs/renamed/deep/two.txt": b"2\n",
    "theirs/renamed/three.txt": b"3\n",
    "theirs/kept/one.txt": b"stays\n",
    "theirs/over.txt": b"what is there now\n",
    "mine/twice.txt": b"first second",
    "mine/self.txt": b"itself\n",
    "theirs/taken.txt": b"the one that won\n",
    "mine/full/file": b"in the way\n",
    "mine/source/file": b"could not go\n",
    "mine/place/file": b"could go\n",
    "mine/right/crossed.txt": b"across\n",
}
EMPTY_DIRECTORIES = {"mine/left"}


def put(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def got(path: str) -> bytes:
    return Path(path).read_bytes()


def fails_with(number: int, call: Callable[..., object], *words: str) -> None:
    """Take that error and no other, and no success."""
    seen: int | None = None
    try:
        call(*words)
    except OSError as error:
        seen = error.errno
    assert seen == number, f"{call.__name__} {words}: error {seen}, not {number}"


def an_empty_file_exists() -> None:
    put("mine/empty", b"")
    assert os.stat("mine/empty").st_size == 0


def what_is_written_reads_back() -> None:
    put("mine/notes.txt", b"written\nand read back\n")
    assert got("mine/notes.txt") == b"written\nand read back\n"


def a_file_is_truncated_to_nothing() -> None:
    put("mine/zero.txt", b"soon gone")
    os.truncate("mine/zero.txt", 0)
    assert got("mine/zero.txt") == b""


def a_file_of_the_hub_is_truncated_to_a_part() -> None:
    os.truncate("theirs/long.txt", 12_345)
    assert got("theirs/long.txt") == THEIRS["theirs/long.txt"][:12_345]


def nothing_is_read_past_the_end() -> None:
    file = os.open("theirs/read.txt", os.O_RDONLY)
    size = os.fstat(file).st_size
    assert os.pread(file, 100, size - 4) == b"near"
    assert os.pread(file, 100, size) == os.pread(file, 100, size + 5000) == b""
    os.close(file)


def a_changed_file_of_the_hub_is_renamed() -> None:
    with open("theirs/dirty.txt", "ab") as file:
        file.write(b"and more\n")
    os.rename("theirs/dirty.txt", "theirs/moved.txt")
    assert got("theirs/moved.txt") == b"as it was\nand more\n"
    fails_with(errno.ENOENT, os.stat, "theirs/dirty.txt")


def a_file_lies_deep_in_new_directories() -> None:
    os.makedirs("mine/nest/deep/er")
    put("mine/nest/deep/er/file.txt", b"nested\n")
    assert os.listdir("mine/nest/deep") == ["er"]


def a_directory_of_the_hub_is_renamed() -> None:
    put("theirs/folder/three.txt", b"3\n")
    os.rename("theirs/folder", "theirs/renamed")
    assert sorted(os.listdir("theirs/renamed")) == ["deep", "one.txt", "three.txt"]
    assert got("theirs/renamed/deep/two.txt") == b"2\n"
    fails_with(errno.ENOENT, os.stat, "theirs/folder/one.txt")


def a_file_and_its_directory_are_removed() -> None:
    os.unlink("theirs/gone/one.txt")
    assert os.listdir("theirs/gone") == []
    os.rmdir("theirs/gone")
    assert "gone" not in os.listdir("theirs")


def a_directory_with_a_file_is_not_removed() -> None:
    fails_with(errno.ENOTEMPTY, os.rmdir, "theirs/kept")
    assert got("theirs/kept/one.txt") == b"stays\n"


def a_file_of_the_hub_is_overwritten() -> None:
    put("theirs/over.txt", b"what is there now\n")
    assert got("theirs/over.txt") == b"what is there now\n"


def two_descriptors_of_one_file_close_one_by_one() -> None:
    first = os.open("mine/twice.txt", os.O_WRONLY | os.O_CREAT)
    second = os.dup(first)
    os.write(first, b"first ")
    os.close(first)
    os.write(second, b"second")
    os.close(second)
    assert got("mine/twice.txt") == b"first second"


def a_file_is_renamed_to_itself() -> None:
    put("mine/self.txt", b"itself\n")
    os.rename("mine/self.txt", "mine/self.txt")
    assert got("mine/self.txt") == b"itself\n"


def what_is_missing_is_not_renamed() -> None:
    fails_with(errno.ENOENT, os.rename, "mine/missing", "mine/found")
    fails_with(errno.ENOENT, os.stat, "mine/found")


def a_file_is_renamed_over_another() -> None:
    put("mine/winner.txt", b"the one that won\n")
    os.rename("mine/winner.txt", "theirs/taken.txt")
    assert got("theirs/taken.txt") == b"the one that won\n"
    fails_with(errno.ENOENT, os.stat, "mine/winner.txt")


def a_directory_is_not_renamed_over_one_with_a_file() -> None:
    os.mkdir("mine/full")
    put("mine/full/file", b"in the way\n")
    os.mkdir("mine/source")
    put("mine/source/file", b"could not go\n")
    fails_with(errno.ENOTEMPTY, os.rename, "mine/source", "mine/full")


def a_directory_is_renamed_over_an_empty_one() -> None:
    os.mkdir("mine/coming")
    put("mine/coming/file", b"could go\n")
    os.mkdir("mine/place")
    os.rename("mine/coming", "mine/place")
    assert got("mine/place/file") == b"could go\n"
    fails_with(errno.ENOENT, os.stat, "mine/coming")


def a_file_is_renamed_into_another_directory() -> None:
    os.mkdir("mine/left")
    os.mkdir("mine/right")
    put("mine/left/crossing.txt", b"across\n")
    os.rename("mine/left/crossing.txt", "mine/right/crossed.txt")
    assert os.listdir("mine/left") == []
    assert os.listdir("mine/right") == ["crossed.txt"]


STEPS: dict[str, Callable[[], None]] = {
    step.__name__: step
    for step in (
        an_empty_file_exists,
        what_is_written_reads_back,
        a_file_is_truncated_to_nothing,
        a_file_of_the_hub_is_truncated_to_a_part,
        nothing_is_read_past_the_end,
        a_changed_file_of_the_hub_is_renamed,
        a_file_lies_deep_in_new_directories,
        a_directory_of_the_hub_is_renamed,
        a_file_and_its_directory_are_removed,
        a_directory_with_a_file_is_not_removed,
        a_file_of_the_hub_is_overwritten,
        two_descriptors_of_one_file_close_one_by_one,
        a_file_is_renamed_to_itself,
        what_is_missing_is_not_renamed,
        a_file_is_renamed_over_another,
        a_directory_is_not_renamed_over_one_with_a_file,
        a_directory_is_renamed_over_an_empty_one,
        a_file_is_renamed_into_another_directory,
    )
}


def outcome(step: Callable[[], None]) -> str:
    """ "" if the step went well, else what went wrong."""
    try:
        step()
    except (AssertionError, OSError):
        return traceback.format_exc()
    return ""


def main() -> None:
    os.mkdir("mine")
    outcomes = {name: outcome(step) for name, step in STEPS.items()}
    before = manifest()
    remount()
    print(json.dumps({"outcomes": outcomes, "before": before, "after": manifest()}))


if __name__ == "__main__":
    main()
