"""A call that must not run twice is begun once, and its reply goes to whoever asked last."""

from hfnfs.rpc.replay import CallKey, ReplyCache, digest


class Client:
    """Collects what is delivered to it."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def deliver(self, reply: bytes) -> None:
        self.got.append(reply)


def key(xid: int, *, host: str = "127.0.0.1", user: int = 0, arguments: bytes = b"") -> CallKey:
    return CallKey(host, user, 100003, 3, 12, xid.to_bytes(4), digest(memoryview(arguments)))


def test_a_finished_call_gets_the_same_reply_again() -> None:
    cache, first, second = ReplyCache(8, 800), Client(), Client()
    call = cache.begin(key(1), first)
    assert call is not None
    cache.finish(call, b"removed")
    assert cache.begin(key(1), second) is None
    assert cache.begin(key(1), second) is None
    assert (first.got, second.got) == ([b"removed"], [b"removed", b"removed"])


def test_a_running_call_is_not_begun_again_and_answers_who_asked_last() -> None:
    cache, first, second = ReplyCache(8, 800), Client(), Client()
    call = cache.begin(key(1), first)
    assert call is not None
    assert cache.begin(key(1), second) is None
    assert not second.got
    cache.finish(call, b"removed")
    assert (first.got, second.got) == ([], [b"removed"])


def test_another_host_user_xid_or_argument_is_another_call() -> None:
    cache, client = ReplyCache(8, 800), Client()
    others = [
        key(1),
        key(2),
        key(1, host="127.0.0.2"),
        key(1, user=7),
        key(1, arguments=b"name"),
        key(1, arguments=b"names"),
    ]
    assert all(cache.begin(other, client) for other in others)


def test_a_cancelled_call_runs_again() -> None:
    cache, client = ReplyCache(8, 800), Client()
    call = cache.begin(key(1), client)
    assert call is not None
    cache.abandon(call)
    assert cache.begin(key(1), client) is not None
    assert not client.got


def remember(cache: ReplyCache, xid: int, reply: bytes) -> None:
    call = cache.begin(key(xid), Client())
    assert call is not None
    cache.finish(call, reply)


def knows(cache: ReplyCache, xid: int) -> bool:
    """Whether the call has a reply; if so it is now the one used last."""
    client = Client()
    call = cache.begin(key(xid), client)
    if call is not None:
        cache.abandon(call)
    return bool(client.got)


def test_of_too_many_replies_the_least_recently_used_is_forgotten() -> None:
    cache = ReplyCache(count_max=3, bytes_max=10_000)
    for xid in (1, 2, 3):
        remember(cache, xid, b"reply")
    assert knows(cache, 1)
    remember(cache, 4, b"reply")
    assert [xid for xid in (1, 2, 3, 4) if knows(cache, xid)] == [1, 3, 4]


def test_of_too_many_bytes_the_least_recently_used_are_forgotten() -> None:
    cache = ReplyCache(count_max=100, bytes_max=100)
    for xid in (1, 2, 3):
        remember(cache, xid, bytes(30))
    remember(cache, 4, bytes(60))
    assert [xid for xid in (1, 2, 3, 4) if knows(cache, xid)] == [3, 4]


def test_a_reply_larger_than_the_bound_is_sent_and_not_kept() -> None:
    cache, client = ReplyCache(count_max=100, bytes_max=100), Client()
    call = cache.begin(key(1), client)
    assert call is not None
    cache.finish(call, bytes(101))
    assert client.got == [bytes(101)]
    assert not knows(cache, 1)
    remember(cache, 2, bytes(100))
    assert knows(cache, 2)


def test_a_mark_tells_a_call_from_all_others_and_is_the_same_for_every_process() -> None:
    call = key(1)
    others = [
        key(2),
        key(1, user=1),
        key(1, host="127.0.0.2"),
        key(1, arguments=b"other"),
        call._replace(user=None),
        call._replace(procedure=1, version=32),
        call._replace(version=2),
    ]
    assert len({each.mark for each in (call, *others)}) == 1 + len(others)
    assert call.mark.hex() == "d08ff28c082dc4401b8124fe4e25d8ef"
