"""What stands before every handler of the local Hub."""

import pytest
from aiohttp import ClientError, ClientSession, web

from hfnfs.localhub.counters import Counters
from hfnfs.localhub.faults import Faults
from hfnfs.localhub.wire import Front


async def test_a_client_that_leaves_while_it_is_answered_is_no_error() -> None:
    """The log is watched: an error in it fails every test."""

    async def told_in_parts(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        assert request.transport is not None
        request.transport.abort()
        await response.write(b"two")
        await response.write(b"three")
        raise AssertionError("nobody listens any more")

    app = web.Application(middlewares=[Front(Faults(), Counters()).middleware()])
    app.router.add_get("/", told_in_parts)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    try:
        async with ClientSession() as session:
            with pytest.raises(ClientError):
                async with session.get(f"http://{host}:{port}/") as response:
                    await response.read()
    finally:
        await runner.cleanup()
