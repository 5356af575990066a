import asyncio
import sys

import pytest
import uvloop

from hfnfs.cli.loop import loop_factory, run


async def the_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_a_program_runs_on_uvloop_where_it_is_installed() -> None:
    assert isinstance(run(the_loop()), uvloop.Loop)


def test_without_uvloop_it_runs_on_asyncios_own_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert loop_factory() is None
    assert isinstance(run(the_loop()), asyncio.SelectorEventLoop)


def test_what_a_program_gives_and_raises_comes_back() -> None:
    async def gives() -> int:
        return 7

    async def fails() -> None:
        raise KeyError("k")

    assert run(gives()) == 7
    with pytest.raises(KeyError):
        run(fails())
