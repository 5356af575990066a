"""The control socket: who may ask, what is answered, what is left behind."""

import asyncio
import os
import socket
from pathlib import Path

import pytest

from hfnfs.errors import NotServing
from hfnfs.host import control
from hfnfs.host.control import Words, answering, ask, places, sockets


@pytest.fixture(autouse=True)
def short_place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One place alone, whatever the machine has."""
    place = tmp_path_factory.mktemp("c") / "hfnfs"
    monkeypatch.setattr(control, "places", lambda: [place])
    return place


def echo(request: str) -> Words:
    return {"asked": request}


async def said(path: Path, heard: bytes) -> bytes:
    """What a client hears that says that."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(heard)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_a_request_is_answered_and_nothing_is_left(short_place: Path) -> None:
    async with answering(echo) as path:
        assert path is not None
        assert sockets() == [path]
        assert await asyncio.to_thread(ask, path, "status") == {"asked": "status"}
    assert sockets() == []
    assert os.listdir(short_place) == []


async def test_two_mounts_of_one_process_have_a_socket_each() -> None:
    async with answering(echo) as one, answering(echo) as other:
        assert {one, other} == set(sockets())
        assert one != other


async def test_nobody_else_may_enter(short_place: Path) -> None:
    async with answering(echo):
        assert os.stat(short_place).st_mode & 0o777 == 0o700


def spoilt(place: Path, how: str) -> Path:
    """Make it a place that must not be used; where it leads if it is a link."""
    elsewhere = place.parent / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    if how == "a link":
        place.symlink_to(elsewhere)
    elif how == "a file":
        place.touch(0o600)
    else:
        place.mkdir()
        place.chmod(0o770)
    return elsewhere


@pytest.mark.parametrize("spoil", ["open to others", "a link", "a file"])
async def test_a_place_that_others_have_a_hand_in_is_not_used(
    short_place: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    elsewhere = spoilt(short_place, spoil)
    async with answering(echo) as path:
        assert path is None
    assert "nowhere to listen" in caplog.text
    assert sockets() == []
    assert os.listdir(elsewhere) == []


async def test_a_place_whose_name_is_too_long_for_an_address_is_passed_over(
    short_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "places", lambda: [short_place / ("x" * 90), short_place])
    async with answering(echo) as path:
        assert path is not None
        assert path.parent == short_place


@pytest.mark.parametrize("heard", [b"\n", b"x\n", b"[]\n", b'{"request": 1}\n', b"\xff\n"])
async def test_what_is_no_request_is_answered_with_an_error(heard: bytes) -> None:
    async with answering(echo) as path:
        assert path is not None
        assert await said(path, heard) == b'{"error": "no request"}\n'


async def test_who_says_too_much_or_comes_too_often_is_hung_up_on() -> None:
    async with answering(echo) as path:
        assert path is not None
        assert await said(path, b"x" * (control.REQUEST_BYTES_MAX + 1)) == b""
        held = [await asyncio.open_unix_connection(str(path)) for _ in range(16)]
        assert await said(path, b"") == b""
        for _, writer in held:
            writer.close()


async def test_who_says_nothing_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "PATIENCE_S", 0)
    async with answering(echo) as path:
        assert path is not None
        assert await said(path, b"") == b""


def test_the_socket_of_a_process_that_is_gone_is_removed(short_place: Path) -> None:
    short_place.mkdir(mode=0o700)
    gone = short_place / "4194305-00000000.sock"  # no Linux gives such a pid
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(gone))
    with pytest.raises(NotServing, match="gone"):
        ask(gone, "status")
    assert sockets() == []


def test_the_socket_of_one_that_begins_to_serve_stays(short_place: Path) -> None:
    short_place.mkdir(mode=0o700)
    begins = short_place / f"{os.getpid()}-00000000.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(begins))
        with pytest.raises(NotServing):
            ask(begins, "status")
    assert sockets() == [begins]


async def test_an_error_is_no_answer() -> None:
    async with answering(lambda _: {"error": "no such request"}) as path:
        assert path is not None
        with pytest.raises(NotServing, match="no such request"):
            await asyncio.to_thread(ask, path, "dance")


async def test_it_ends_while_someone_is_connected() -> None:
    async with answering(echo) as path:
        assert path is not None
        reader, writer = await asyncio.open_unix_connection(str(path))
        await said(path, b"\n")  # by now the other one was let in, too
    assert await reader.read() == b""
    writer.close()


def test_the_places_are_the_runtime_directory_and_one_of_ones_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/x/run")
    assert places()[0] == Path("/x/run/hfnfs")
    assert places()[-1].name == f"hfnfs-{os.geteuid()}"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert places()[0] == Path(f"/run/user/{os.geteuid()}/hfnfs")
