"""What users type to name a repo or bucket."""

import pytest
from huggingface_hub.errors import HfUriError
from huggingface_hub.utils._hf_uris import parse_hf_uri
from hypothesis import given
from hypothesis import strategies as st

from hfnfs.errors import UsageError
from hfnfs.hub.source import Source, SourceKind, SourceType, is_id, parse

MODEL, DATASET, SPACE, BUCKET = SourceType


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("gpt2", None, Source(MODEL, "gpt2")),
        ("gpt2/", None, Source(MODEL, "gpt2")),
        ("openai-community/gpt2", "repo", Source(MODEL, "openai-community/gpt2")),
        ("models/openai-community/gpt2", None, Source(MODEL, "openai-community/gpt2")),
        ("gpt2@main", None, Source(MODEL, "gpt2", "main")),
        ("gpt2@main/onnx", None, Source(MODEL, "gpt2", "main", "onnx")),
        ("a/b@refs/pr/3", None, Source(MODEL, "a/b", "refs/pr/3")),
        ("a/b@refs/pr/3/sub/dir", None, Source(MODEL, "a/b", "refs/pr/3", "sub/dir")),
        ("a/b@refs/convert/parquet/x", None, Source(MODEL, "a/b", "refs/convert/parquet", "x")),
        ("a/b@v1/sub", None, Source(MODEL, "a/b", "v1", "sub")),
        ("a/b@feature%2Fx/sub", None, Source(MODEL, "a/b", "feature/x", "sub")),
        ("a/b/sub/dir/", None, Source(MODEL, "a/b", None, "sub/dir")),
        ("a/b/file@1", None, Source(MODEL, "a/b", None, "file@1")),
        ("datasets/squad", None, Source(DATASET, "squad")),
        ("datasets/ns/x@rev", "repo", Source(DATASET, "ns/x", "rev")),
        ("spaces/ns/x", None, Source(SPACE, "ns/x")),
        ("hf://datasets/ns/x/sub", None, Source(DATASET, "ns/x", None, "sub")),
        ("hf://buckets/me/data/sub dir/é", None, Source(BUCKET, "me/data", None, "sub dir/é")),
        ("buckets/me/data", "bucket", Source(BUCKET, "me/data")),
        ("me/data/sub", "bucket", Source(BUCKET, "me/data", None, "sub")),
        ("me/data/a@b", "bucket", Source(BUCKET, "me/data", None, "a@b")),
        ("https://huggingface.co/a/b", None, Source(MODEL, "a/b")),
        ("huggingface.co/a/b", None, Source(MODEL, "a/b")),
        ("https://hf.co/datasets/a/b/tree/refs/pr/1/s%20p?x=1#y", None,
         Source(DATASET, "a/b", "refs/pr/1", "s p")),
        ("https://huggingface.co/a/b/tree/feature%2Fx", None, Source(MODEL, "a/b", "feature/x")),
        ("https://huggingface.co/a/b/tree", None, Source(MODEL, "a/b")),
        ("https://huggingface.co/buckets/me/data/tree/x/y", None,
         Source(BUCKET, "me/data", None, "x/y")),
    ],
)  # fmt: skip
def test_what_can_be_typed(text: str, kind: SourceKind | None, expected: Source) -> None:
    assert parse(text, kind) == expected


def test_a_url_of_the_endpoint_is_understood() -> None:
    home = "http://localhost:8080/hf"
    assert parse(f"{home}/datasets/a/b", endpoint=home) == Source(DATASET, "a/b")
    with pytest.raises(UsageError, match="not the Hub"):
        parse("http://localhost:8081/datasets/a/b", endpoint=home)


@pytest.mark.parametrize("revision", ["main", "v1.0", "feature/x", "refs/pr/7", "é", "a" * 40])
def test_a_revision_can_be_given_beside_it(revision: str) -> None:
    assert parse("a/b/sub", "repo", revision) == Source(MODEL, "a/b", revision, "sub")
    assert parse(f"a/b@{revision.replace('/', '%2F')}", None, revision).revision == revision


@pytest.mark.parametrize(
    "revision",
    ["", "..", "a..b", "a b", "a\n", "a\0", "/a", "a/", "a//b", ".a", "a/.b", "-x", "a:b", "a?",
     "a*", "a[", "a\\", "a^", "a~1", "a@{0}", "x.lock", "a" * 256, "a\u200b"],
)  # fmt: skip
def test_what_git_calls_no_revision_is_refused(revision: str) -> None:
    with pytest.raises(UsageError, match="revision"):
        parse("a/b", "repo", revision)


@pytest.mark.parametrize(
    ("text", "kind", "word"),
    [
        ("", None, "names no"),
        ("/", None, "''"),
        ("..", None, r"'\.\.'"),
        ("a/..", None, r"'\.\.'"),
        ("a/b/../c", None, r"'\.\.'"),
        ("a/b//c", None, "''"),
        ("a/b/./c", None, r"'\.'"),
        ("a/b\0", None, "names no"),
        ("a/\ud800", None, "UTF-8"),
        ("a/" + "b" * 97, None, "b" * 97),
        ("a/b/" + "c" * 256, None, "c" * 80),
        ("a/b/" + "/".join(["c" * 255] * 17), None, "longer than"),
        ("a b", None, "a b"),
        ("a/b@", None, "revision"),
        ("@main", None, "''"),
        ("datasets", None, "datasets/namespace/name"),
        ("datasets/", None, "''"),
        ("dataset/a/b", None, "datasets/"),
        ("kernels/a/b", None, "kernels"),
        ("hf://", None, "names no|''"),
        ("data", "bucket", "namespace/name"),
        ("me/data@main", "bucket", "no revisions"),
        ("datasets/a/b/c", "bucket", "hf-mount-nfs repo datasets/a/b/c"),
        ("buckets/me/data/x", "repo", "hf-mount-nfs bucket me/data/x"),
        ("https://example.com/a/b", None, "example.com"),
        ("https://huggingface.co/a", None, "names no repo"),
        ("https://huggingface.co/a/b/blob/main/x.txt", None, "folder"),
        ("https://huggingface.co/a/b/discussions", None, "folder"),
        ("https://[/a/b", None, "no URL"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(text: str, kind: SourceKind, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        parse(text, kind)


def test_a_bucket_takes_no_revision() -> None:
    with pytest.raises(UsageError, match="bucket me/data has no revisions"):
        parse("me/data", "bucket", "main")


def test_two_different_revisions_are_one_too_many() -> None:
    with pytest.raises(UsageError, match="'v2' is given, and 'v1'"):
        parse("a/b@v1", None, "v2")


def test_an_id_and_a_folder_of_a_one_word_id_look_alike() -> None:
    source = parse("datasets/squad/plain_text/train", None, "v1")
    assert source == Source(DATASET, "squad/plain_text", "v1", "train")
    assert source.alternative == Source(DATASET, "squad", "v1", "plain_text/train")
    for clear in ("gpt2", "a/b@main", "a@main/b", "buckets/a/b", "https://huggingface.co/a/b@v"):
        assert parse(clear).alternative is None


@given(st.text(max_size=40))
def test_any_text_is_a_source_or_a_usage_error(text: str) -> None:
    try:
        source = parse(text)
    except UsageError:
        return
    assert is_id(source.id)
    parts = source.subfolder.split("/") if source.subfolder else []
    assert not {"", ".", ".."} & set(parts)


PARTS = st.text("ab1._- %é@", min_size=1, max_size=5)
IDS = st.from_regex(r"[ab1]{1,4}/[ab1]{1,4}", fullmatch=True)
TAILS = st.lists(PARTS, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
REVISIONS = st.sampled_from(["", "@main", "@refs/pr/12", "@refs/convert/parquet", "@a%2Fb"])


@given(st.sampled_from(["", "models/", "datasets/", "spaces/"]), IDS, REVISIONS, TAILS)
def test_uris_mean_what_huggingface_hub_says(
    prefix: str, id_: str, revision: str, tail: str
) -> None:
    uri = f"hf://{prefix}{id_}{revision}{tail}"
    try:
        ours = parse(uri)
    except UsageError:
        return
    theirs = parse_hf_uri(uri)
    assert (ours.type.value, ours.id, ours.revision) == (theirs.type, theirs.id, theirs.revision)
    assert ours.subfolder == theirs.path_in_repo.rstrip("/")


@given(st.sampled_from(["", "datasets/", "spaces/", "buckets/"]), IDS, TAILS)
def test_urls_mean_what_huggingface_hub_says(prefix: str, id_: str, tail: str) -> None:
    route = f"/tree/main{tail}" if prefix != "buckets/" else f"/tree{tail}"
    url = f"https://huggingface.co/{prefix}{id_}{route}"
    try:
        ours = parse(url)
    except UsageError:
        return
    try:
        theirs = parse_hf_uri(url)
    except HfUriError:
        pytest.fail(f"{url} is not understood by huggingface_hub")
    assert (ours.type.value, ours.id, ours.revision) == (theirs.type, theirs.id, theirs.revision)
    assert ours.subfolder == theirs.path_in_repo.rstrip("/")


@given(IDS, st.sampled_from(SourceType), TAILS)
def test_what_we_tell_users_to_type_means_the_same(id_: str, type_: SourceType, tail: str) -> None:
    try:
        source = parse(f"{type_.plural}/{id_}{tail}")
    except UsageError:
        return
    assert parse(source.typed, source.kind) == source
