"""Who may mount and who may call: the only place that decides.

Today: whoever is on this machine, under the name that AUTH_SYS claims or under none (AUTH_NONE);
rpc/ lets no other credential in. What a caller may do with a file, the file's mode decides
(vfs/attributes.py) and ACCESS tells; clients keep to it. What they leave to us is in owners.py.
"""

from ipaddress import IPv6Address, ip_address

from hfnfs.rpc.message import AUTH_NONE, AUTH_SYS, AuthStat, CallRefused
from hfnfs.rpc.session import Caller

# What MNT offers, best first; BSD clients refuse a server that does not offer AUTH_SYS.
FLAVORS = (AUTH_SYS, AUTH_NONE)
_NEAR = ("127.0.0.1", "::1")  # nearly all callers: known without a look at the address


class Access:
    """Decides before a call is looked at, and before a mount is granted."""

    def check(self, caller: Caller) -> None:
        """Let pass who may call at all. Raises CallRefused."""
        host = caller.peer[0]
        if host not in _NEAR and not _is_loopback(host):
            raise CallRefused(AuthStat.TOOWEAK)

    def may_mount(self, caller: Caller) -> bool:
        """Whether a caller that passed `check` gets the handle of what is exported."""
        return _is_loopback(caller.peer[0])


def _is_loopback(host: str) -> bool:
    address = ip_address(host)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
