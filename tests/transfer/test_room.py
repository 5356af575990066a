import asyncio
import random

import pytest

from hfnfs.transfer.room import Room


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_who_comes_first_is_admitted_first_within_both_bounds() -> None:
    room, order = Room(3, 100), []
    doors = {name: asyncio.Event() for name in "abcde"}

    async def guest(name: str, needed: int) -> None:
        async with room.taken(needed):
            order.append(name)
            await doors[name].wait()

    async with asyncio.TaskGroup() as tasks:
        for name, needed in zip("abcde", (60, 30, 40, 5, 5), strict=True):
            tasks.create_task(guest(name, needed))
        await turns()
        assert order == ["a", "b"]  # 40 do not fit; 5 would, but it is not their turn
        doors["b"].set()
        await turns()
        assert order == ["a", "b", "c"]
        assert (room.count, room.bytes_taken) == (2, 100)
        doors["a"].set()
        await turns()
        assert order == ["a", "b", "c", "d", "e"]
        for door in doors.values():
            door.set()
    assert (room.count, room.bytes_taken) == (0, 0)


async def test_who_needs_more_than_all_gets_all() -> None:
    room = Room(3, 100)
    async with room.taken(1000):
        assert room.bytes_taken == 100


@pytest.mark.parametrize("seed", range(20))
async def test_no_room_is_lost_whoever_is_cancelled_whenever(seed: int) -> None:
    chance, room = random.Random(seed), Room(3, 100)

    async def guest() -> None:
        async with room.taken(chance.randrange(1, 120)):
            assert room.count <= 3
            assert room.bytes_taken <= 100
            await turns(chance.randrange(4))

    async with asyncio.TaskGroup() as tasks:
        guests = [tasks.create_task(guest()) for _ in range(40)]
        for _ in range(15):
            await turns(chance.randrange(4))
            chance.choice(guests).cancel()
    assert (room.count, room.bytes_taken) == (0, 0)
