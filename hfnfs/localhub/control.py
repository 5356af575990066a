"""Routes beside the Hub's own: faults in, counters out, for those who talk HTTP only.

POST /_localhub/faults      a fault's fields, or a list of them
DELETE /_localhub/faults
GET /_localhub/counters     DELETE: count from zero again
GET /_localhub/log          the latest requests
"""

import json

from aiohttp import web

from hfnfs.errors import UsageError
from hfnfs.localhub.counters import Counters
from hfnfs.localhub.faults import Faults
from hfnfs.localhub.wire import Refusal, body_of


class ControlRoutes:
    """Handlers; their names are the kinds of requests that Counters knows."""

    def __init__(self, faults: Faults, counters: Counters) -> None:
        self._faults = faults
        self._counters = counters

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register them."""
        router.add_post("/_localhub/faults", self.control_add)
        router.add_delete("/_localhub/faults", self.control_clear)
        router.add_get("/_localhub/counters", self.control_counters)
        router.add_delete("/_localhub/counters", self.control_reset)
        router.add_get("/_localhub/log", self.control_log)

    async def control_add(self, request: web.Request) -> web.Response:
        """POST /_localhub/faults."""
        try:
            asked = json.loads(await body_of(request, 1 << 20))
            for description in asked if isinstance(asked, list) else [asked]:
                self._faults.add_described(dict(description))
        except (ValueError, TypeError, UsageError) as error:
            raise Refusal(400, str(error)) from None
        return web.Response(status=204)

    async def control_clear(self, _request: web.Request) -> web.Response:
        """DELETE /_localhub/faults."""
        self._faults.clear()
        return web.Response(status=204)

    async def control_counters(self, _request: web.Request) -> web.Response:
        """GET /_localhub/counters."""
        return web.json_response(self._counters.as_json())

    async def control_reset(self, _request: web.Request) -> web.Response:
        """DELETE /_localhub/counters."""
        self._counters.clear()
        return web.Response(status=204)

    async def control_log(self, _request: web.Request) -> web.Response:
        """GET /_localhub/log."""
        return web.json_response([request._asdict() for request in self._counters.log])
