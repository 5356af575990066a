import pytest

from hfnfs.errors import UsageError
from hfnfs.localhub.faults import NO_FAULT, Faults, Lie, described


def test_a_fault_befalls_as_many_requests_as_told() -> None:
    faults = Faults()
    faults.add("/tree", status=503, after=1, count=2)
    statuses = [faults.take("GET", "/api/x/tree").status for _ in range(5)]
    assert statuses == [0, 503, 503, 0, 0]


def test_other_methods_and_paths_are_spared() -> None:
    faults = Faults()
    fault = faults.add(r"/tree/.*\?recursive=true", method="GET", status=500, count=None)
    assert faults.take("POST", "/tree/x?recursive=true") is NO_FAULT
    assert faults.take("GET", "/tree/x?recursive=false") is NO_FAULT
    assert faults.take("GET", "/tree/x?recursive=true") is fault


def test_the_first_of_several_is_taken_and_then_the_next() -> None:
    faults = Faults()
    faults.add("/", status=500)
    faults.add("/", status=501)
    assert [faults.take("GET", "/").status for _ in range(3)] == [500, 501, 0]
    faults.add("/", status=502)
    faults.clear()
    assert faults.take("GET", "/") is NO_FAULT


def test_a_typed_fault_is_read_in_its_types() -> None:
    faults = Faults()
    text = "GET '/xorbs/ x' status=503 latency_s=0.5 count=all drop=true lie=expired-url"
    fault = faults.add_described(described(text))
    assert (fault.method, fault.path, fault.status) == ("GET", "/xorbs/ x", 503)
    assert (fault.latency_s, fault.count, fault.drop) == (0.5, None, True)
    assert fault.lie is Lie.EXPIRED_URL


def test_a_word_in_capitals_alone_is_no_method() -> None:
    assert described("/GET cut_after=3") == {"path": "/GET", "method": "", "cut_after": "3"}


@pytest.mark.parametrize(
    "text", ["", "GET", "/x nonsense=1", "/x status=abc", "/x lie=white", "/( status=500", "/x y"]
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Faults().add_described(described(text))
