import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hfnfs.localhub.plans import plan
from hfnfs.xet.hashes import Sized
from hfnfs.xet.shard import Term
from hfnfs.xet.xorb import XorbIndex, index_of

XORBS = (b"a" * 32, b"b" * 32)


def xorb(seed: int) -> tuple[XorbIndex, list[bytes]]:
    rng = random.Random(seed)
    datas = [rng.randbytes(rng.randrange(1, 9)) for _ in range(12)]
    chunks = [Sized(bytes([number]) * 32, len(data)) for number, data in enumerate(datas)]
    return index_of(chunks, [100 * (number + 1) for number in range(len(chunks))]), datas


TERMS = st.lists(
    st.tuples(st.sampled_from(XORBS), st.integers(0, 11), st.integers(1, 12)), max_size=6
)


@given(TERMS, st.integers(0, 99), st.data())
def test_following_a_plan_gives_the_range(
    spans: list[tuple[bytes, int, int]], seed: int, data: st.DataObject
) -> None:
    made = {name: xorb(seed + number) for number, name in enumerate(XORBS)}
    terms, whole = [], b""
    for name, start, count in spans:
        end = min(start + count, 12)
        part = b"".join(made[name][1][start:end])
        terms.append(Term(name, start, end, len(part)))
        whole += part
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    found = plan(terms, lambda name: made[name][0], start, end)
    parts = [b"".join(made[term.xorb][1][term.start : term.end]) for term in found.terms]
    assert [term.length for term in found.terms] == [len(part) for part in parts]
    assert b"".join(parts)[found.skip :][: end - start] == whole[start:end]
    if found.terms:
        first = made[found.terms[0].xorb][1][found.terms[0].start]
        assert found.skip < len(first), "a whole chunk is fetched for nothing"
    for term in found.terms:
        inside = [r for r in found.fetches[term.xorb] if r[0] <= term.start and term.end <= r[1]]
        assert len(inside) == 1
    for ranges in found.fetches.values():
        assert all(a[1] < b[0] for a, b in pairwise(ranges))
