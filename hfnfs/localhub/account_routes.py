"""The Hub's route that says who one is."""

from aiohttp import web

from hfnfs.localhub.gate import Gate


class AccountRoutes:
    """Handlers; their names are the kinds of requests that Counters knows."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register them."""
        router.add_get("/api/whoami-v2", self.whoami)

    async def whoami(self, request: web.Request) -> web.Response:
        """GET /api/whoami-v2."""
        name = self._gate.account(request)
        token = {"displayName": name, "role": "write"}
        return web.json_response(
            {
                "type": "user",
                "id": name,
                "name": name,
                "fullname": name,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": token},
            }
        )
