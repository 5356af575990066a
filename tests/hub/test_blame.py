"""Whose fault it was is found, and what concerns all is not looked for."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import Forbidden, RemoteError, RemoteUnavailable
from hfnfs.hub import blame


class Asking:
    """Fails as long as one of the culprits is among what is asked for."""

    def __init__(self, culprits: set[int], kind: type[RemoteError] = RemoteError) -> None:
        self.culprits = culprits
        self.kind = kind
        self.times = 0

    async def __call__(self, items: Sequence[int]) -> list[str]:
        self.times += 1
        if self.culprits & set(items):
            raise self.kind("no")
        return [str(item) for item in items]


@given(count=st.integers(0, 200), culprits=st.sets(st.integers(0, 199), max_size=4))
async def test_only_culprits_fail(count: int, culprits: set[int]) -> None:
    asking = Asking(culprits)
    found = await blame.each(range(count), asking)
    assert [isinstance(one, RemoteError) for one in found] == [n in culprits for n in range(count)]
    assert all(one == str(n) for n, one in enumerate(found) if n not in culprits)


@given(culprit=st.integers(0, 299))
async def test_one_that_gets_no_answer_is_found(culprit: int) -> None:
    asking = Asking({culprit}, RemoteUnavailable)
    found = await blame.each(range(300), asking)
    assert [n for n, one in enumerate(found) if isinstance(one, RemoteError)] == [culprit]


@pytest.mark.parametrize(
    ("kind", "times"), [(Forbidden, 1), (RemoteUnavailable, 3), (RemoteError, 64)]
)
async def test_when_all_fail_it_is_not_asked_for_ever(kind: type[RemoteError], times: int) -> None:
    asking = Asking(set(range(1000)), kind)
    found = await blame.each(range(1000), asking)
    assert asking.times == times
    assert {type(one) for one in found} == {kind}
    assert len(found) == 1000
