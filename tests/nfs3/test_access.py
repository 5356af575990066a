import pytest

from hfnfs.nfs3.access import FLAVORS, Access
from hfnfs.rpc.message import AUTH_NONE, AUTH_SYS, AuthNone, AuthSys, CallRefused, Credential
from hfnfs.rpc.session import Caller

CREDENTIALS: list[Credential] = [AuthNone(), AuthSys(0, b"box", 1000, 100, [])]


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_call_and_mount(host: str, credential: Credential) -> None:
    caller = Caller(credential, (host, 700))
    Access().check(caller)
    assert Access().may_mount(caller)


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "2001:db8::1", "::ffff:192.0.2.1"])
def test_another_machine_may_not(host: str, credential: Credential) -> None:
    caller = Caller(credential, (host, 700))
    with pytest.raises(CallRefused, match="TOOWEAK"):
        Access().check(caller)
    assert not Access().may_mount(caller)


def test_auth_sys_is_offered_before_auth_none() -> None:
    assert FLAVORS == (AUTH_SYS, AUTH_NONE)
