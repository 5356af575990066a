"""Ranges of contents, brought into the cache: planned ahead, fetched once, joined by everybody.

A range that is asked for joins the flights that already carry a part of it; the rest is cut into
new ones, which go on beyond it as the history of the content's reads suggests. What is asked for
always flies, as far as there is room: `fetches_in_flight_max` at a time, within
`memory_bytes_max`. Reading ahead takes at most half of them, and gives way: when something is
asked for and all are taken, a flight that nobody waits for is cancelled. A flight also ends when
its content was not asked for in a while; not sooner, as a client that gave up asks again.
"""

import asyncio
import logging
from collections.abc import Iterator
from functools import partial
from math import inf
from typing import Final

from hfnfs.clock import Clock
from hfnfs.config import MIB, MountConfig
from hfnfs.errors import HfnfsError, TryLater
from hfnfs.remote import ContentId, Remote
from hfnfs.transfer.flight import Flight
from hfnfs.transfer.readahead import History, Plan, Windows
from hfnfs.transfer.room import Room
from hfnfs.vfs.ports import Extents, Tripwires

# Contents whose history of reads is remembered.
_CONTENTS_MAX: Final = 1024
# A longer range is brought by several flights.
_FLIGHT_BYTES_MAX: Final = 64 * MIB

_log = logging.getLogger(__name__)


class _Route:
    """What is known and on its way of one content."""

    __slots__ = ("asked_at", "flights", "history")

    def __init__(self, history: History) -> None:
        self.history = history
        self.flights: list[Flight] = []
        self.asked_at = -inf  # monotonic seconds


class Fetcher:
    """Brings ranges of contents from the far side into the cache."""

    def __init__(
        self,
        remote: Remote,
        extents: Extents,
        config: MountConfig,
        tasks: asyncio.TaskGroup,
        *,
        clock: Clock,
        tripwires: Tripwires,
    ) -> None:
        self._remote = remote
        self._extents = extents
        self._config = config
        self._tasks = tasks
        self._windows = Windows(config.window_bytes_min, config.window_bytes_max)
        self._clock = clock
        self._tripwires = tripwires
        # The other half is for the blocks themselves, where no disk keeps them.
        self.room = Room(config.fetches_in_flight_max, config.memory_bytes_max // 2)
        self._routes: dict[ContentId, _Route] = {}  # longest quiet first
        self._flying: dict[Flight, asyncio.Task[Exception | None]] = {}

    async def bring(self, content: ContentId, start: int, end: int) -> None:
        """Return once [start, end) is in the cache; pin it before.

        Raises RemoteError, NoSpace, CacheUnusable. Who is cancelled leaves the flights flying.
        """
        route = self._route(content)
        route.asked_at = self._clock.now()
        self._launch(content, route, route.history.plan(start, end))
        self._stretch_wires(content, route)
        arrivals = [
            flight.until(min(end, flight.end))
            for flight in route.flights
            if flight.start < end and flight.end > start
        ]
        self._give_way()
        try:
            for arrival in arrivals:
                await arrival
        finally:
            for arrival in arrivals:
                if not arrival.cancel() and not arrival.cancelled():
                    arrival.exception()  # one failure of several was raised: it is known

    def _route(self, content: ContentId) -> _Route:
        route = self._routes.pop(content, None)
        if route is None:
            route = _Route(History(content.size, self._windows))
            surplus = max(len(self._routes) + 1 - _CONTENTS_MAX, 0)
            for quiet in list(self._routes)[:surplus]:
                if not self._routes[quiet].flights:
                    del self._routes[quiet]
                    self._tripwires.pop(quiet.key, None)
        self._routes[content] = route
        return route

    def _stretch_wires(self, content: ContentId, route: _Route) -> None:
        if wires := route.history.wires:
            self._tripwires[content.key] = wires
        else:
            self._tripwires.pop(content.key, None)

    def _launch(self, content: ContentId, route: _Route, plan: Plan) -> None:
        for begin, end in list(self._missing(content, route, plan)):
            start = begin
            while start < end:
                # One stream carries all that is needed of the gap, and a window at least.
                stop = min(end, max(plan.needed, start + plan.window), start + _FLIGHT_BYTES_MAX)
                if start >= plan.needed and not self._may_read_ahead(route):
                    return
                self._start(route, Flight(content, start, stop))
                start = stop

    def _missing(self, content: ContentId, route: _Route, plan: Plan) -> Iterator[tuple[int, int]]:
        """Ranges of the plan that are neither in the cache nor on their way, ascending."""
        start = plan.start
        for flight in sorted(route.flights, key=lambda flight: flight.start):
            if flight.start < plan.end and flight.end > start:
                yield from self._gap(content, start, flight.start)
                start = flight.end
        yield from self._gap(content, start, plan.end)

    def _gap(self, content: ContentId, start: int, end: int) -> Iterator[tuple[int, int]]:
        gap = self._extents.gap(content, start, end) if start < end else None
        if gap is not None:
            yield gap

    def _may_read_ahead(self, route: _Route) -> bool:
        return (
            len(route.flights) < self._config.windows_in_flight_max
            and 2 * len(self._flying) < self._config.fetches_in_flight_max
        )

    def _give_way(self) -> None:
        """Make room for what was just asked for, if need be."""
        needed = sum(flight.memory_bytes for flight in self._flying)
        if len(self._flying) <= self.room.count_max and needed <= self.room.bytes_max:
            return
        for flight, task in self._flying.items():
            flights = self._routes[flight.content].flights
            if flight in flights and not flight.is_awaited:
                flights.remove(flight)  # nobody shall join it any more
                task.cancel()
                return

    def _start(self, route: _Route, flight: Flight) -> None:
        name = f"fetch {flight.content.key} [{flight.start}, {flight.end})"
        task = self._tasks.create_task(self._fly(route, flight), name=name)
        route.flights.append(flight)
        self._flying[flight] = task
        task.add_done_callback(partial(self._ended, route, flight))

    async def _fly(self, route: _Route, flight: Flight) -> Exception | None:
        """Fly it; what went wrong is given, as a task's failure would end all others."""
        goes_on = partial(self._goes_on, route, flight)
        try:
            async with self.room.taken(flight.memory_bytes):
                stall_s = self._config.stall_timeout_s
                await flight.run(self._remote, self._extents, stall_s, goes_on)
        except Exception as error:  # a background loop: those who wait are told
            return error
        return None

    def _goes_on(self, route: _Route, flight: Flight) -> bool:
        """Whether somebody may still want it; else nobody shall join it any more."""
        quiet_s = self._clock.now() - route.asked_at
        if flight.is_awaited or quiet_s < self._config.read_ahead_linger_s:
            return True
        if flight in route.flights:
            route.flights.remove(flight)
        return False

    def _ended(self, route: _Route, flight: Flight, task: "asyncio.Task[Exception | None]") -> None:
        del self._flying[flight]
        if flight in route.flights:
            route.flights.remove(flight)
        error = TryLater("gave way to other fetches") if task.cancelled() else task.result()
        if error is None:
            return
        if isinstance(error, HfnfsError):
            _log.debug("%s: %s: %s", task.get_name(), type(error).__name__, error)
        elif not flight.is_awaited:
            _log.error("%s failed", task.get_name(), exc_info=error)
        flight.fail(error)
