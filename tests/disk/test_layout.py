import os
import stat
from pathlib import Path

import pytest

from hfnfs.disk.layout import HANDLE_KEY_BYTES, default_cache_dir, open_cache, passing_state
from hfnfs.errors import CacheUnusable


def test_the_default_follows_xdg_and_ignores_a_relative_path() -> None:
    home = Path.home() / ".cache" / "hfnfs"
    assert default_cache_dir({"XDG_CACHE_HOME": "/srv/cache"}) == Path("/srv/cache/hfnfs")
    assert default_cache_dir({"XDG_CACHE_HOME": "cache"}) == home
    assert default_cache_dir({"XDG_CACHE_HOME": ""}) == home
    assert default_cache_dir({}) == home


def test_a_new_cache_is_for_its_owner_only(tmp_path: Path) -> None:
    layout = open_cache(tmp_path / "deep" / "cache")
    for directory in (layout.root, layout.blocks, layout.root / "volumes"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sorted(os.listdir(layout.root)) == [
        "blocks",
        "hashed",
        "names",
        "sources",
        "version",
        "volumes",
    ]


def test_it_can_be_opened_again(tmp_path: Path) -> None:
    assert open_cache(tmp_path / "cache") == open_cache(tmp_path / "cache")


def test_what_another_start_is_about_to_publish_is_no_foreign_file(tmp_path: Path) -> None:
    (tmp_path / ".new-0123").write_bytes(b"1\n")
    assert open_cache(tmp_path).blocks.is_dir()


def test_a_directory_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(CacheUnusable, match="not empty"):
        open_cache(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_another_version_is_refused(tmp_path: Path) -> None:
    open_cache(tmp_path / "cache")
    (tmp_path / "cache" / "version").write_bytes(b"2\n")
    with pytest.raises(CacheUnusable, match="another version"):
        open_cache(tmp_path / "cache")


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    open_cache(tmp_path / "cache")
    (tmp_path / "link").symlink_to(tmp_path / "cache")
    with pytest.raises(CacheUnusable):
        open_cache(tmp_path / "link")


def test_a_linked_version_file_is_refused(tmp_path: Path) -> None:
    open_cache(tmp_path / "cache")
    version = tmp_path / "cache" / "version"
    version.rename(tmp_path / "elsewhere")
    version.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CacheUnusable):
        open_cache(tmp_path / "cache")


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o770)
    with pytest.raises(CacheUnusable, match="others may write"):
        open_cache(tmp_path / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_someone_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    os.chown(tmp_path / "cache", 12345, -1)
    with pytest.raises(CacheUnusable, match="belongs to uid 12345"):
        open_cache(tmp_path / "cache")


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(CacheUnusable):
        open_cache(tmp_path / "cache")


def test_a_volume_state_survives_a_restart(tmp_path: Path) -> None:
    first = open_cache(tmp_path / "cache").volume_state("models/openai-community/gpt2")
    again = open_cache(tmp_path / "cache").volume_state("models/openai-community/gpt2")
    assert again == first
    assert len(first.key) == HANDLE_KEY_BYTES
    assert len(first.id) == 8
    (key_file,) = (tmp_path / "cache/volumes").glob("*/*")
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert key_file.name == "handle-key"


def test_volumes_share_nothing(tmp_path: Path) -> None:
    layout = open_cache(tmp_path / "cache")
    one, two = layout.volume_state("models/a"), layout.volume_state("datasets/a")
    assert one.id != two.id
    assert one.key != two.key
    assert len(os.listdir(tmp_path / "cache/volumes")) == 2


def test_a_passing_state_has_the_same_id_and_a_key_of_its_own(tmp_path: Path) -> None:
    kept = open_cache(tmp_path / "cache").volume_state("models/a")
    one, two = passing_state("models/a"), passing_state("models/a")
    assert one.id == two.id == kept.id
    assert len({one.key, two.key, kept.key}) == 3


def test_names_of_a_source_are_its_own(tmp_path: Path) -> None:
    layout = open_cache(tmp_path / "cache")
    layout.names("models/a").keep_entry("", "x", None, 0)
    assert layout.names("models/a").entry("", "x") is not None
    assert layout.names("datasets/a").entry("", "x") is None


def test_whoever_publishes_first_gives_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = open_cache(tmp_path / "cache")
    link = os.link
    theirs = bytes(range(HANDLE_KEY_BYTES))

    def link_too_late(src: str, dst: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        fd = os.open(dst, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=dst_dir_fd)
        os.write(fd, theirs)
        os.close(fd)
        link(src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "link", link_too_late)
    state = layout.volume_state("models/a")
    assert state.key == theirs
    assert [path.name for path in (tmp_path / "cache/volumes").glob("*/*")] == ["handle-key"]


def test_a_cut_key_is_refused(tmp_path: Path) -> None:
    state = open_cache(tmp_path / "cache").volume_state("models/a")
    (key_file,) = (tmp_path / "cache/volumes").glob("*/*")
    key_file.write_bytes(state.key[:-1])
    with pytest.raises(CacheUnusable, match="31 bytes"):
        open_cache(tmp_path / "cache").volume_state("models/a")
