"""Signals that ask us to end, counted instead of killing us in the middle of something."""

import asyncio
import signal
from typing import Any

from hfnfs.errors import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Takes SIGINT, SIGTERM and SIGHUP while entered, in the main thread's event loop.

    starting --signal--> the task that entered is cancelled, leaving raises Interrupted
    starting --orderly()--> orderly --signal--> `asked` counts, `wake` is set; after
        last_call(), and unless it was the first one, `enough` too
    """

    def __init__(self) -> None:
        self.asked = 0
        self.wake = asyncio.Event()
        self.enough = asyncio.Event()  # nothing more is waited for
        self._signal_number = 0
        self._is_orderly = self._is_last_call = False
        self._before: dict[signal.Signals, Any] = {}

    def orderly(self) -> None:
        """From now on whoever reads `asked` ends things."""
        self._is_orderly = True

    def last_call(self) -> asyncio.Event:
        """`enough`, which a signal sets from now on that is not the first one."""
        self._is_last_call = True
        return self.enough

    def __enter__(self) -> "StopRequests":
        loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        for number in _SIGNALS:
            # nohup(1) has its child ignore SIGHUP, a shell's "&" SIGINT; that stays so.
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                loop.add_signal_handler(number, self._take, number)
                self._before[number] = before
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number, before in self._before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, before)
        if kind is asyncio.CancelledError and self.asked and not self._is_orderly:
            assert self._task is not None
            self._task.uncancel()
            raise Interrupted(self._signal_number) from None

    def _take(self, number: signal.Signals) -> None:
        self.asked += 1
        self._signal_number = number
        self.wake.set()
        if self._is_last_call and self.asked > 1:
            self.enough.set()
        if not self._is_orderly and self.asked == 1:
            assert self._task is not None
            self._task.cancel()
