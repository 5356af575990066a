"""Which Hub, and as whom: endpoint and token, found as huggingface_hub finds them, or given.

A token is asked for with every request, because it may rotate: a file is looked at again every
few seconds, what huggingface_hub finds (it renews a browser login by itself) every minute, and
both at once after a 401. Looking may read files or the network, so it runs in a thread.
"""

import asyncio
import configparser
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from hfnfs.clock import Clock
from hfnfs.errors import NotAuthenticated, UsageError

FILE_CHECK_S = 5.0  # a rotated file is taken up this fast without a 401
LOGIN_CHECK_S = 60.0
REFUSED_CHECK_S = 5.0  # between two looks because of a 401
LOOK_TIMEOUT_S = 30.0  # huggingface_hub's own renewal has no timeout
TOKEN_CHARS_MAX = 8192

_log = logging.getLogger(__name__)


class Finder(NamedTuple):
    """How a token is looked for: a blocking call, and what to call its place in messages."""

    look: Callable[[], str | None]
    place: str
    every_s: float | None  # how old an answer may get; None: it never changes


class Account:
    """The Hub's address and the token to send there; never prints the token."""

    def __init__(self, endpoint: str, finder: Finder, clock: Clock) -> None:
        self.endpoint = endpoint
        self._finder = finder
        self._clock = clock
        self._token: str | None = None
        self._looked_at: float | None = None
        self._looking = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Account at {self.endpoint}, token from {self._finder.place}>"

    async def token(self) -> str | None:
        """The token to send now; None: go without. Raises UsageError, NotAuthenticated."""
        if self._is_due(self._finder.every_s):
            async with self._looking:
                if self._is_due(self._finder.every_s):
                    await self._look()
        return self._token

    async def has_other_than(self, refused: str | None) -> bool:
        """Whether there is another token now than the one that was refused with a 401."""
        async with self._looking:
            may_change = self._finder.every_s is not None
            if self._token == refused and may_change and self._is_due(REFUSED_CHECK_S):
                await self._look()
            return self._token != refused

    def _is_due(self, every_s: float | None) -> bool:
        if self._looked_at is None:
            return True
        return every_s is not None and self._clock.now() - self._looked_at >= every_s

    async def _look(self) -> None:
        is_first = self._looked_at is None
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                found = await asyncio.to_thread(self._finder.look)
        except (UsageError, NotAuthenticated, TimeoutError) as error:
            if is_first:
                if isinstance(error, TimeoutError):
                    raise NotAuthenticated(
                        f"{self._finder.place} gave no token within {LOOK_TIMEOUT_S:.0f} s"
                    ) from None
                raise
            # Being rotated just now, perhaps; the Hub will say if the known one is refused.
            _log.warning("keeping the known token: %s", error or "looking took too long")
        else:
            self._token = found
        self._looked_at = self._clock.now()


async def find_account(
    clock: Clock,
    *,
    endpoint: str | None = None,
    token: str | None = None,
    token_file: Path | None = None,
) -> Account:
    """The account to use; what is not given is found as huggingface_hub finds it.

    A token file is preferred to a token, for it can rotate. Raises UsageError.
    """
    if endpoint is None:
        endpoint = await asyncio.to_thread(_default_endpoint)
    checked = checked_endpoint(endpoint)
    if token_file is not None:
        path = token_file
        finder = Finder(lambda: _read_token(path), f"file {path}", FILE_CHECK_S)
    elif token is not None:
        given = clean_token(token, "the given token")
        finder = Finder(lambda: given, "the command", None)
    else:
        finder = Finder(_login_token, "the Hugging Face login", LOGIN_CHECK_S)
    return Account(checked, finder, clock)


async def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE (or its older name) asks to stay offline."""

    def look() -> bool:
        from huggingface_hub import constants

        return constants.HF_HUB_OFFLINE

    return await asyncio.to_thread(look)


def checked_endpoint(endpoint: str) -> str:
    """The Hub's base URL without a slash at its end. Raises UsageError."""
    try:
        url = urlsplit(endpoint)
        port_is_good = url.port is None or url.port > 0
    except ValueError:
        raise UsageError(f"endpoint {endpoint!r} is no URL") from None
    is_plain = not (url.username or url.password or url.query or url.fragment)
    is_printable = endpoint.isascii() and endpoint.isprintable() and " " not in endpoint
    is_good = url.scheme in {"http", "https"} and url.hostname and port_is_good
    if not (is_good and is_plain and is_printable):
        raise UsageError(f"endpoint {endpoint!r} is not of the form https://host[:port][/path]")
    return endpoint.rstrip("/")


def clean_token(token: str, place: str) -> str:
    """The token without the white space around it, fit for a header. Raises UsageError."""
    cleaned = token.strip()
    if not cleaned:
        raise UsageError(f"{place} is empty")
    if len(cleaned) > TOKEN_CHARS_MAX or not (cleaned.isascii() and cleaned.isprintable()):
        raise UsageError(f"{place} holds no token: too long, or not plain text")
    if " " in cleaned:
        raise UsageError(f"{place} holds no token: there is a space in it")
    return cleaned


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(TOKEN_CHARS_MAX + 2)
    except OSError as error:
        raise UsageError(f"token file {path}: {error.strerror}") from None
    return clean_token(raw.decode("ascii", "replace"), f"token file {path}")


def _default_endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


def _login_token() -> str | None:
    """What huggingface_hub would send by default; it renews a login that is about to expire."""
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import DeviceCodeError, OIDCError

    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    try:
        token = get_token()
    except (OIDCError, DeviceCodeError, OSError, ValueError, configparser.Error) as error:
        raise NotAuthenticated(
            f"the Hugging Face login cannot be used: {type(error).__name__}"
        ) from None
    return None if token is None else clean_token(token, "the Hugging Face login")
