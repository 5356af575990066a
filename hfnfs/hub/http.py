"""One HTTP client for the Hub, the CAS and what they point to.

It knows no repo: it sends, follows redirects without handing the token to strangers, tries again
what is worth it, paces itself as servers ask, bounds every wait and body, and counts. What a
status means is decided in errors.py by the caller, who gets the last answer.
"""

import asyncio
import json
import logging
import urllib.request
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple, NoReturn, Self, TypeVar

import aiohttp
from yarl import URL

from hfnfs.clock import Clock
from hfnfs.errors import Offline, RateLimited, RemoteCorrupt, RemoteUnavailable, UsageError
from hfnfs.hub.pace import Lane, Pace, Patience, Presence

JSON_BYTES_MAX = 64 * 1024 * 1024
REFUSAL_BYTES_MAX = 64 * 1024  # of an error's body, only its message is wanted
REDIRECTS_MAX = 5
CONNECTIONS_MAX = 64
HEADER_BYTES_MAX = 64 * 1024  # signed URLs in Location are long
# Of each body; more is not received until some of it was taken. What is received while chunks are
# decoded waits here, so with less the network would wait for them.
BODY_BYTES_WAITING_MAX = 1024 * 1024

# Found and not: 501 and 505 will not change, 507 is a full quota, 511 a captive portal.
_LASTING = {501, 505, 507, 511}
_REDIRECTS = {301, 302, 303, 307, 308}
# Ways to get no answer. TimeoutError and OSError come from below aiohttp at times.
_NO_ANSWER = (aiohttp.ClientError, TimeoutError, OSError)
_HOPELESS = (aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL, aiohttp.ClientSSLError)

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Cut(Exception):
    """A body ended early, or is not to be had from this address any more; asking anew may help.

    It stays within hub/: whoever fetches bytes carries on, or makes a RemoteError of it.
    """


@dataclass(frozen=True, slots=True)
class Request:
    """What to send; the token goes to the URL's own origin only."""

    url: str
    lane: Lane
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    token: str | None = field(default=None, repr=False)
    read_timeout_s: float | None = None  # between two pieces of the answer; None: as for all

    def __post_init__(self) -> None:
        try:
            url = URL(self.url, encoded=True)
            is_good = url.scheme in {"http", "https"} and url.host and url.raw_user is None
        except ValueError:
            is_good = False
        if not is_good:
            raise RemoteCorrupt(f"{self.place!r} is no address to fetch from")

    @property
    def place(self) -> str:
        """Where it goes, for messages; the query may be a secret (signed URLs)."""
        return self.url.partition("?")[0]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. `first` are the headers before any redirect was followed."""

    status: int
    headers: Mapping[str, str]
    first: Mapping[str, str]
    body: bytes
    place: str  # URL without its query

    def object(self) -> dict[str, Any]:
        """The JSON object in the body. Raises RemoteCorrupt."""
        value = self._json()
        if not isinstance(value, dict):
            raise RemoteCorrupt(f"{self.place}: the answer is no JSON object")
        return value

    def array(self) -> list[Any]:
        """The JSON array in the body. Raises RemoteCorrupt."""
        value = self._json()
        if not isinstance(value, list):
            raise RemoteCorrupt(f"{self.place}: the answer is no JSON array")
        return value

    def _json(self) -> Any:
        try:
            return json.loads(self.body.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise RemoteCorrupt(f"{self.place}: the answer is not JSON") from None


class Stream:
    """An answer whose body is still arriving."""

    def __init__(self, hop: "_Hop", count: Callable[[int], None]) -> None:
        self._response = hop.response
        self._count = count
        self.status = hop.response.status
        self.headers: Mapping[str, str] = hop.response.headers
        self.first = hop.first
        self.place = _place(hop.response.url)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives. Raises Cut when it ends early or stops coming."""
        try:
            async for data, _ in self._response.content.iter_chunks():  # not joined, as by iter_any
                self._count(len(data))
                yield data
        except _NO_ANSWER as error:
            raise Cut(f"{self.place}: cut off ({_why(error)})") from error

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else drop it."""
        self._response.release()


class Counters:
    """What was sent and received so far; redirects count as requests, bytes are of bodies."""

    def __init__(self) -> None:
        self.requests: Counter[Lane] = Counter()
        self.bytes: Counter[Lane] = Counter()
        self.retries = 0

    def __str__(self) -> str:
        lanes = [lane for lane in Lane if self.requests[lane]]
        each = (f"{x.value}: {self.requests[x]} requests, {self.bytes[x]} bytes" for x in lanes)
        return "; ".join(each) or "no requests"


class _Hop(NamedTuple):
    response: aiohttp.ClientResponse
    first: Mapping[str, str]


class Http:
    """The client; use it as an async context manager."""

    def __init__(
        self,
        clock: Clock,
        *,
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 30.0,
        offline: bool = False,
        patience: Patience = Patience(),  # noqa: B008  # frozen
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.clock = clock
        self.counters = Counters()
        self._timeout = aiohttp.ClientTimeout(
            connect=connect_timeout_s + read_timeout_s,  # with the wait for a free connection
            sock_connect=connect_timeout_s,
            sock_read=read_timeout_s,
        )
        self._offline = offline
        self._patience = patience
        self._sleep = sleep
        self._pace = Pace(clock)
        self._presence = Presence(clock)
        self._proxies: dict[str, str] = {}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._proxies = urllib.request.getproxies_environment()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": user_agent()},
            timeout=self._timeout,
            max_field_size=HEADER_BYTES_MAX,
            max_line_size=HEADER_BYTES_MAX,
            read_bufsize=BODY_BYTES_WAITING_MAX // 2,  # aiohttp stops at twice as much
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fetch(self, request: Request, bytes_max: int = JSON_BYTES_MAX) -> Answer:
        """The whole answer, whatever its status, after all tries that were worth it.

        Raises RemoteUnavailable (no answer), RateLimited, Offline, RemoteCorrupt (too long).
        """

        async def once() -> Answer:
            hop = await self._follow(request)
            try:
                return await self._read(request, hop, bytes_max)
            finally:
                hop.response.release()

        return await self._until_answered(request, once)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream | Answer]:
        """A good answer as a Stream; a refusal, after all tries, as an Answer.

        Raises as fetch does. A body that is cut later is the caller's to fetch again.
        """

        async def once() -> Stream | Answer:
            hop = await self._follow(request)
            if hop.response.status < 300:
                return Stream(hop, lambda n: self._count_bytes(request.lane, n))
            try:
                return await self._read(request, hop, JSON_BYTES_MAX)
            finally:
                hop.response.release()

        got = await self._until_answered(request, once)
        try:
            yield got
        finally:
            if isinstance(got, Stream):
                got.close()

    async def back_off(self, attempts: int) -> None:
        """Wait before trying again what failed so many times in a row."""
        self.counters.retries += 1
        await self._sleep(self._patience.delay_s(attempts))

    async def pause(self, seconds: float) -> None:
        """Wait, by the clock that all waits go by."""
        await self._sleep(seconds)

    # ---------------------------------------------------------------- trying

    async def _until_answered(
        self, request: Request, once: Callable[[], Awaitable[T | Answer]]
    ) -> T | Answer:
        origin = _origin(URL(request.url, encoded=True))
        attempts, attempts_max = 0, self._tries(request, origin)
        asked_at = self.clock.now()
        deadline = asked_at + self._patience.total_s
        while True:
            await self._wait_for_lane(request, origin, deadline)
            attempts += 1
            got: T | Answer | None = None
            failure: BaseException | None = None
            wait_s: float | None = None
            try:
                got = await once()
            except _HOPELESS as error:
                _give_up(request, error)
            except _NO_ANSWER as error:
                failure = error
            else:
                self._presence.note_answer(origin)
                if not isinstance(got, Answer) or not is_worth_a_retry(got.status):
                    return got
                wait_s = self._pace.note(request.lane, origin, got.status, got.headers)
            delay_s = self._patience.delay_s(attempts) if wait_s is None else wait_s
            paused_s = max(delay_s, self._pace.wait_s(request.lane, origin))
            is_over = self.clock.now() + paused_s > deadline
            if attempts >= attempts_max or is_over:
                if got is not None:
                    return got
                self._presence.note_silence(origin, asked_at)
                _give_up(request, failure)
            self.counters.retries += 1
            _log.debug("%s: trying again in %.1f s", request.place, paused_s)
            if delay_s:
                await self._sleep(delay_s)

    def _tries(self, request: Request, origin: str) -> int:
        """How often the request may be tried. Raises Offline, RemoteUnavailable: not at all."""
        if self._offline:
            raise Offline(f"{request.place}: not asked, because of HF_HUB_OFFLINE or --offline")
        tries = self._presence.tries(origin, self._patience.attempts_max)
        if not tries:
            raise RemoteUnavailable(f"{origin} cannot be reached: it gave no answer just now")
        return tries

    async def _wait_for_lane(self, request: Request, origin: str, deadline: float) -> None:
        while wait_s := self._pace.claim(request.lane, origin):
            if self.clock.now() + wait_s > deadline:
                raise RateLimited(
                    f"{origin} takes no more requests ({request.lane.value}) for {wait_s:.0f} s"
                )
            await self._sleep(wait_s)

    # --------------------------------------------------------------- sending

    async def _follow(self, request: Request) -> _Hop:
        """Send, and follow redirects; the token stays at the first origin."""
        url = home = URL(request.url, encoded=True)
        token = request.token
        first: Mapping[str, str] | None = None
        for _ in range(REDIRECTS_MAX + 1):
            response = await self._send(request, url, token)
            if first is None:
                first = response.headers
            if _origin(url) == _origin(home) and response.status < 400:
                self._pace.note(request.lane, _origin(home), response.status, response.headers)
            location = response.headers.get("Location")
            if location is None or not _is_followed(request.method, response.status):
                return _Hop(response, first)
            response.release()
            url = _redirected(url, location)
            if _origin(url) != _origin(home):
                token = None
        raise RemoteUnavailable(f"{request.place}: more than {REDIRECTS_MAX} redirects")

    async def _send(self, request: Request, url: URL, token: str | None) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("Http is not open")
        headers = dict(request.headers)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self.counters.requests[request.lane] += 1
        return await self._session.request(
            request.method,
            url,
            headers=headers,
            data=request.body,
            allow_redirects=False,
            proxy=self._proxy_for(url),
            timeout=self._timeout_of(request),
        )

    def _timeout_of(self, request: Request) -> aiohttp.ClientTimeout:
        if request.read_timeout_s is None:
            return self._timeout
        return aiohttp.ClientTimeout(
            connect=self._timeout.connect,
            sock_connect=self._timeout.sock_connect,
            sock_read=request.read_timeout_s,
        )

    def _proxy_for(self, url: URL) -> str | None:
        """What HTTP_PROXY and the like say of this URL, and NO_PROXY does not forbid."""
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if proxy is None or urllib.request.proxy_bypass_environment(  # type: ignore[attr-defined]  # not in typeshed
            f"{url.host}:{url.port}", self._proxies
        ):
            return None
        if not proxy.startswith(("http://", "https://")):
            raise UsageError(f"proxies other than http:// are not spoken, as for {url.scheme}")
        return proxy

    async def _read(self, request: Request, hop: _Hop, bytes_max: int) -> Answer:
        response = hop.response
        place = _place(response.url)
        body = bytearray()
        if response.status >= 400:
            bytes_max = min(bytes_max, REFUSAL_BYTES_MAX)
        async for data in response.content.iter_any():
            self._count_bytes(request.lane, len(data))
            body += data
            if len(body) > bytes_max:
                if response.status >= 400:
                    break
                raise RemoteCorrupt(f"{place}: the answer is longer than {bytes_max} bytes")
        return Answer(response.status, response.headers, hop.first, bytes(body), place)

    def _count_bytes(self, lane: Lane, count: int) -> None:
        self.counters.bytes[lane] += count


def is_worth_a_retry(status: int) -> bool:
    """Whether the same request may fare better soon."""
    return status in {408, 429} or (status >= 500 and status not in _LASTING)


def user_agent() -> str:
    """Who we say we are."""
    try:
        return f"hfnfs/{version('hfnfs')}"
    except PackageNotFoundError:  # run from a checkout
        return "hfnfs/0"


def same_origin(url: str, other: str) -> bool:
    """Whether scheme, host and port are equal, so that what one may see the other may."""
    try:
        return _origin(URL(url, encoded=True)) == _origin(URL(other, encoded=True))
    except ValueError:
        return False


def _is_followed(method: str, status: int) -> bool:
    return status in _REDIRECTS and (method in {"GET", "HEAD"} or status in {307, 308})


def _redirected(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location, encoded=True))
        is_good = target.scheme in {"http", "https"} and target.host and target.raw_user is None
    except ValueError:
        is_good = False
    if not is_good or (url.scheme == "https" and target.scheme != "https"):
        raise RemoteCorrupt(f"{_place(url)}: redirected to where we do not go")
    return target


def _origin(url: URL) -> str:
    """Scheme, host and port, always with the port."""
    if not url.host:
        raise ValueError(url)
    return f"{url.scheme}://{url.host.lower()}:{url.port}"


def _place(url: URL) -> str:
    return str(url).partition("?")[0]


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(word)


def _why(error: BaseException) -> str:
    """One short phrase; aiohttp's own text may hold a signed URL."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not valid"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.partition("[")[0].strip() or type(error).__name__
    return type(error).__name__


def _give_up(request: Request, error: BaseException | None) -> NoReturn:
    host = URL(request.url, encoded=True).host
    reason = "no answer" if error is None else _why(error)
    raise RemoteUnavailable(
        f"{host} cannot be reached ({reason}); check the network and HF_ENDPOINT"
    ) from error
