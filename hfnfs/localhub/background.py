"""A local Hub on a thread of its own, for callers that block: tests of clients, benchmarks."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from hfnfs.localhub.hub import LocalHub

T = TypeVar("T")

_CALL_TIMEOUT_S = 600.0


class HubThread:
    """`with HubThread(directory) as thread:` runs `thread.hub`; `thread.do(…)` its coroutines."""

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        self.hub = LocalHub(directory, port=port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="local hub", daemon=True)

    def __enter__(self) -> "HubThread":
        self._thread.start()
        try:
            self.do(self.hub.start())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.do(self.hub.close())
        finally:
            self._stop()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one of the Hub's coroutines where it lives, and wait for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_TIMEOUT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
