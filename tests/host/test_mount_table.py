"""What /proc/self/mountinfo says."""

import os

from hypothesis import given
from hypothesis import strategies as st

from hfnfs.host.mount_table import MountEntry, again, parse_mountinfo, topmost, unescaped

ROOT = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
NFS = b"41 22 0:52 / /mnt/gpt2 ro,nosuid,nodev shared:9 master:2 - nfs 127.0.0.1:/ ro,vers=3\n"
PLAIN = b"42 22 0:53 / /mnt/plain rw - tmpfs none rw\n"


def escaped(path: str) -> bytes:
    """As the kernel writes it (seq_path with " \\t\\n\\\\")."""
    raw = os.fsencode(path)
    return b"".join(b"\\%03o" % c if c in b" \t\n\\" else bytes([c]) for c in raw)


def test_an_entry_is_read_with_any_number_of_optional_fields() -> None:
    root, nfs, plain = parse_mountinfo(ROOT + NFS + PLAIN)
    assert root == MountEntry(22, "8:1", "/", "ext4", "/dev/sda1", "rw,errors=remount-ro")
    assert nfs == MountEntry(41, "0:52", "/mnt/gpt2", "nfs", "127.0.0.1:/", "ro,vers=3")
    assert plain == MountEntry(42, "0:53", "/mnt/plain", "tmpfs", "none", "rw")


def test_the_port_of_an_nfs_mount_is_told() -> None:
    def port(type_: str, options: str) -> int | None:
        return MountEntry(1, "0:1", "/m", type_, "127.0.0.1:/", options).port

    assert port("nfs", "rw,mountport=7,port=20049,addr=127.0.0.1") == 20049
    assert port("nfs", "rw,vers=3") is None
    assert port("ext4", "rw,port=20049") is None


def test_space_tab_newline_and_backslash_are_octal() -> None:
    assert unescaped(rb"/mnt/a\040b\011c\012d\134e") == "/mnt/a b\tc\nd\\e"


def test_an_escaped_backslash_before_digits_is_no_second_escape() -> None:
    assert unescaped(rb"/mnt/\134040") == r"/mnt/\040"


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")))
def test_any_mount_point_comes_back_as_it_is(name: str) -> None:
    line = b"41 22 0:52 / /%s ro - nfs 127.0.0.1:/ ro\n" % escaped(name)
    (entry,) = parse_mountinfo(line)
    assert entry.mount_point == "/" + name


@given(st.binary(max_size=60).map(lambda raw: raw.replace(b"\0", b"")))
def test_names_that_are_not_utf_8_come_back_as_fsdecode_gives_them(raw: bytes) -> None:
    path = os.fsdecode(b"/" + raw)
    (entry,) = parse_mountinfo(b"41 22 0:52 / %s ro - nfs s ro\n" % escaped(path))
    assert entry.mount_point == path


@given(st.binary())
def test_whatever_is_no_entry_is_passed_over(noise: bytes) -> None:
    entries = list(parse_mountinfo(noise + b"\n" + NFS))
    assert entries[-1].mount_point == "/mnt/gpt2"


def test_the_later_of_two_mounts_at_one_place_is_what_one_sees() -> None:
    over = NFS.replace(b"41 22", b"50 41").replace(b"127.0.0.1:/", b"other:/")
    entries = list(parse_mountinfo(ROOT + NFS + over))
    top = topmost(entries, "/mnt/gpt2")
    assert top is not None
    assert (top.mount_id, top.source) == (50, "other:/")
    assert topmost(entries, "/mnt") is None


def test_a_mount_is_known_again_after_it_was_moved() -> None:
    (before,) = parse_mountinfo(NFS)
    moved = list(parse_mountinfo(ROOT + NFS.replace(b"/mnt/gpt2", b"/srv")))
    now = again(moved, before)
    assert now is not None
    assert now.mount_point == "/srv"


def test_another_mount_at_the_same_place_is_not_taken_for_ours() -> None:
    (before,) = parse_mountinfo(NFS)
    assert again(parse_mountinfo(NFS.replace(b"41 22", b"43 22")), before) is None


def test_without_ids_place_type_and_source_tell_mounts_apart() -> None:
    ours = MountEntry(None, "", "/Volumes/x", "nfs", "127.0.0.1:/")
    other = ours._replace(source="127.0.0.1:/b")
    assert again([other, ours], ours) == ours
    assert again([other], ours) is None
