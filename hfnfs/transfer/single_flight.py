"""Equal work is done once."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from hfnfs.errors import HfnfsError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs one job per key at a time; callers who come meanwhile share its outcome.

    A job that nobody waits for any more is finished all the same. It has to be bounded by
    itself, and its failure reaches those who wait for it and no one else.
    """

    def __init__(self, tasks: asyncio.TaskGroup, job: Callable[[K], Awaitable[V]]) -> None:
        self._tasks = tasks
        self._job = job
        self._flying: dict[K, asyncio.Future[V]] = {}

    def is_flying(self, key: K) -> bool:
        """Whether the job of that key runs just now."""
        return key in self._flying

    @property
    def flying(self) -> list[K]:
        """The keys whose jobs run just now."""
        return list(self._flying)

    async def __call__(self, key: K) -> V:
        """The outcome of the job of that key, the running one if there is one."""
        future = self._flying.get(key)
        if future is None:
            future = self._flying[key] = asyncio.get_running_loop().create_future()
            self._tasks.create_task(self._fly(key, future), name=f"fetch {key!r}")
        return await asyncio.shield(future)  # a caller that is cancelled leaves the job flying

    async def _fly(self, key: K, future: "asyncio.Future[V]") -> None:
        try:
            future.set_result(await self._job(key))
        except asyncio.CancelledError:
            future.cancel()
            raise
        except Exception as error:  # a background loop: those who wait are told
            future.set_exception(error)
            if isinstance(error, HfnfsError):
                future.exception()  # foreseen: no complaint if everybody has left
        finally:
            del self._flying[key]
