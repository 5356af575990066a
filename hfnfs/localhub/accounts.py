"""Who may do what: Hub tokens, the CAS tokens made for them, and signed URLs."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from hfnfs.clock import Clock

# What `hf-mount localhub` tells its users to log in with.
DEFAULT_TOKEN = "hf_localhub"  # noqa: S105 -- opens nothing but a Hub on loopback
DEFAULT_ACCOUNTS: Mapping[str, str] = {DEFAULT_TOKEN: "local"}

_TOKEN_LIFE_S = 3600
_URL_LIFE_S = 3600


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks: an account, or anyone."""

    name: str | None = None

    def owns(self, repo_id: str) -> bool:
        """Whether this is the account's own namespace."""
        return self.name is not None and repo_id.partition("/")[0] == self.name


@dataclass(slots=True)
class Accounts:
    """Hub tokens and their accounts' names. A token that is none of these is refused."""

    by_token: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_ACCOUNTS))

    def viewer(self, authorization: str | None) -> Viewer | None:
        """Who sends this header; None: nobody we know."""
        if authorization is None:
            return Viewer()
        name = self.by_token.get(authorization.removeprefix("Bearer "))
        return None if name is None else Viewer(name)


class Signer:
    """Makes and checks what is good for a while: CAS tokens and signed URLs."""

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def now_s(self) -> int:
        """Seconds since 1970."""
        return self._clock.wall_ns() // 1_000_000_000

    def expiry_s(self, *, expired: bool) -> int:
        """When a token or URL made now ends; in the past for one that is to be born expired."""
        return self.now_s() + (-60 if expired else _TOKEN_LIFE_S)

    def token(self, scope: str, expiry_s: int) -> str:
        """A CAS token for `scope` ("read", "write")."""
        body = base64.urlsafe_b64encode(json.dumps({"scope": scope, "exp": expiry_s}).encode())
        return f"{body.decode()}.{self._signature(body)}"

    def scope(self, authorization: str | None) -> str | None:
        """What a CAS request may do: "read", "write", or None."""
        body, _, signature = (authorization or "").removeprefix("Bearer ").partition(".")
        if not hmac.compare_digest(_raw(signature), _raw(self._signature(_raw(body)))):
            return None
        try:
            claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body))
        except (binascii.Error, ValueError):
            return None
        return claims["scope"] if claims["exp"] > self.now_s() else None

    def sign(self, path: str, fields: Mapping[str, str], *, expired: bool = False) -> str:
        """`path` with `fields`, an end and a signature over all of it in its query."""
        expiry = self.now_s() + (-60 if expired else _URL_LIFE_S)
        query = {**fields, "expires": str(expiry)}
        return f"{path}?{urlencode({**query, 'signature': self._signed(path, query)})}"

    def accepts(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether a URL is one that we signed, unaltered, and still good."""
        fields = {name: value for name, value in query.items() if name != "signature"}
        given = _raw(query.get("signature", ""))
        if not hmac.compare_digest(given, _raw(self._signed(path, fields))):
            return False
        return int(fields["expires"]) > self.now_s()

    def _signed(self, path: str, fields: Mapping[str, str]) -> str:
        return self._signature(json.dumps([path, sorted(fields.items())]).encode())

    def _signature(self, body: bytes) -> str:
        return hmac.new(self._key, body, hashlib.sha256).hexdigest()


def _raw(text: str) -> bytes:
    """Bytes of what a peer sent, whatever that was."""
    return text.encode(errors="surrogateescape")
