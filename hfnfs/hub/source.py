"""What the user names to mount: a repo at a revision or a bucket, and a folder in it; pure.

    [hf://][models/|datasets/|spaces/|buckets/]ID[@REVISION][/FOLDER]
    https://huggingface.co/[datasets/|spaces/|buckets/]ID[/tree/REVISION[/FOLDER]]

ID is "namespace/name"; a repo's may be a single old name ("gpt2", "datasets/squad"), which the
Hub resolves. "squad/plain_text" could then be read in two ways; `Source.alternative` is the other.
"""

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal
from urllib.parse import unquote, urlsplit

from hfnfs.errors import UsageError

NAME_BYTES_MAX = 255  # one component of a path, as file systems have it
PATH_BYTES_MAX = 4096
REVISION_BYTES_MAX = 255

SourceKind = Literal["repo", "bucket"]

_HUB_HOSTS = {"huggingface.co", "hf.co", "hub-ci.huggingface.co"}
_ID_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}")
# Revisions with a slash of their own, which "@REVISION/FOLDER" must not be cut at.
_SLASHED_REVISION = re.compile(r"refs/(?:convert/[\w.-]+|pr/\d+)(?=/|$)")
# What git's own rules for the names of refs forbid (git-check-ref-format), and "..".
_NO_REVISION = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|^[-./]|[./]$")


class SourceType(Enum):
    """What the Hub keeps files in."""

    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"
    BUCKET = "bucket"

    @property
    def plural(self) -> str:
        """The word in ids and URLs."""
        return f"{self.value}s"


_TYPES = {t.plural: t for t in SourceType}


@dataclass(frozen=True, slots=True)
class Source:
    """A repo or bucket, and the folder in it to mount ("" for all of it)."""

    type: SourceType
    id: str
    revision: str | None = None  # None: the default branch; a bucket has none
    subfolder: str = ""
    # The id may have been meant as its first part alone, followed by a folder.
    is_ambiguous: bool = field(default=False, compare=False)

    @property
    def kind(self) -> SourceKind:
        """The command's word for it."""
        return "bucket" if self.type is SourceType.BUCKET else "repo"

    @property
    def name(self) -> str:
        """For messages: "dataset squad", "bucket me/data"."""
        return f"{self.type.value} {self.id}"

    @property
    def typed(self) -> str:
        """What to type after "repo" or "bucket" to mean this."""
        prefix = (
            "" if self.type in {SourceType.MODEL, SourceType.BUCKET} else f"{self.type.plural}/"
        )
        revision = f"@{self.revision}" if self.revision else ""
        folder = f"/{self.subfolder}" if self.subfolder else ""
        return f"{prefix}{self.id}{revision}{folder}"

    @property
    def alternative(self) -> "Source | None":
        """The other reading: "squad/plain_text" as the folder plain_text of squad."""
        if not self.is_ambiguous:
            return None
        first, _, second = self.id.partition("/")
        folder = f"{second}/{self.subfolder}".rstrip("/")
        return replace(self, id=first, subfolder=folder, is_ambiguous=False)


def parse(
    text: str,
    kind: SourceKind | None = None,
    revision: str | None = None,
    *,
    endpoint: str | None = None,
) -> Source:
    """The source that `text` names.

    `kind` is what the command says it is; without it the prefix decides. `revision` is given
    besides `text`. URLs are understood of the Hub and of `endpoint`. Raises UsageError.
    """
    _refuse_unprintable(text)
    body = _body(text, endpoint)
    first, slash, rest = body.partition("/")
    if slash and first in _TYPES:
        type_ = _TYPES[first]
    else:
        _refuse_other_prefix(text, first, bool(slash))
        type_ = SourceType.BUCKET if kind == "bucket" else SourceType.MODEL
        rest = body
    source = _bucket(text, rest) if type_ is SourceType.BUCKET else _repo(text, type_, rest)
    if kind is not None and kind != source.kind:
        raise UsageError(f"{text!r} is a {source.kind}: hf-mount-nfs {source.kind} {source.typed}")
    return source if revision is None else _at(source, revision)


def _body(text: str, endpoint: str | None) -> str:
    """The text without hf:// or, of a URL, in the same short form."""
    if text.startswith("hf://"):
        return text[len("hf://") :]
    if text.lower().startswith(("http://", "https://")):
        return _body_of_url(text, endpoint)
    if text.partition("/")[0].lower() in _HUB_HOSTS:
        return _body_of_url(f"https://{text}", endpoint)
    return text


def _body_of_url(text: str, endpoint: str | None) -> str:
    try:
        url, home = urlsplit(text), urlsplit(endpoint or "")
    except ValueError:
        raise UsageError(f"{text!r} is no URL") from None
    path = url.path
    if url.netloc.lower() == home.netloc.lower():
        path = path.removeprefix(home.path.rstrip("/"))
    elif (url.hostname or "") not in _HUB_HOSTS:
        raise UsageError(f"{text!r}: {url.netloc!r} is not the Hub; set HF_ENDPOINT for another")
    parts = [part for part in path.split("/") if part]
    head = parts[:1] if parts and parts[0] in _TYPES else []
    name, rest = parts[len(head) : len(head) + 2], parts[len(head) + 2 :]
    if len(name) < 2:
        raise UsageError(f"{text!r} names no repo or bucket: …/namespace/name is needed")
    located = "/".join([*head, *name])
    if len(rest) < 2:
        if rest not in ([], ["tree"]):
            raise UsageError(f"{text!r}: only the address of a folder, …/tree/…, can be mounted")
        return located
    if rest[0] != "tree":
        raise UsageError(f"{text!r}: only the address of a folder, …/tree/…, can be mounted")
    tail = "/".join(unquote(part).replace("/", "%2F") for part in rest[1:])
    return f"{located}/{tail}" if head == ["buckets"] else f"{located}@{tail}"


def _bucket(text: str, rest: str) -> Source:
    namespace, _, tail = rest.partition("/")
    name, _, folder = tail.partition("/")
    if "@" in name:
        raise UsageError(f"{text!r}: a bucket has no revisions, so no '@' belongs here")
    id_ = _checked_id(text, [namespace, name])
    return Source(SourceType.BUCKET, id_, None, _checked_folder(text, folder))


def _repo(text: str, type_: SourceType, rest: str) -> Source:
    before, at, after = rest.partition("@")
    if at and before.count("/") <= 1:
        id_ = _checked_id(text, before.split("/"))
        revision, folder = _split_revision(after)
        return Source(type_, id_, checked_revision(revision), _checked_folder(text, folder))
    # An "@" further behind is part of a file's name.
    parts = rest.rstrip("/").split("/")
    id_, folder = _checked_id(text, parts[:2]), "/".join(parts[2:])
    return Source(type_, id_, None, _checked_folder(text, folder), is_ambiguous=len(parts) > 1)


def _split_revision(text: str) -> tuple[str, str]:
    """Revision and folder of what stands behind "@"."""
    slashed = _SLASHED_REVISION.match(text)
    if slashed:
        return slashed[0], text[slashed.end() + 1 :]
    revision, _, folder = text.partition("/")
    return unquote(revision), folder


def _at(source: Source, revision: str) -> Source:
    if source.kind == "bucket":
        raise UsageError(f"revision {revision!r}: {source.name} has no revisions")
    if source.revision not in {None, revision}:
        raise UsageError(f"revision {revision!r} is given, and {source.revision!r} after the '@'")
    # "squad/plain_text" keeps its two readings, whatever the revision.
    return replace(source, revision=checked_revision(revision))


def is_id(text: str) -> bool:
    """Whether the Hub could call a repo or bucket so."""
    parts = text.split("/")
    return len(parts) <= 2 and all(_ID_PART.fullmatch(p) and ".." not in p for p in parts)


def checked_revision(revision: str) -> str:
    """The name of a branch, tag or commit, or refs/pr/N. Raises UsageError."""
    if not revision or len(revision.encode("utf-8", "replace")) > REVISION_BYTES_MAX:
        raise UsageError(f"revision {revision[:80]!r} is empty or too long")
    if _NO_REVISION.search(revision) or not revision.isprintable():
        raise UsageError(f"revision {revision!r} is no branch, tag, commit or refs/pr/N")
    return revision


def _checked_id(text: str, parts: list[str]) -> str:
    for part in parts:
        if not _ID_PART.fullmatch(part) or ".." in part:
            wanted = "namespace/name" if len(parts) > 1 else "a name"
            raise UsageError(f"{text!r}: {part!r} cannot be part of an id; {wanted} is needed")
    return "/".join(parts)


def _checked_folder(text: str, folder: str) -> str:
    folder = folder.rstrip("/")
    if not folder:
        return ""
    for part in folder.split("/"):
        if part in {"", ".", ".."} or len(part.encode()) > NAME_BYTES_MAX:
            raise UsageError(f"{text[:200]!r}: {part[:80]!r} cannot be part of a folder's path")
    if len(folder.encode()) > PATH_BYTES_MAX:
        raise UsageError(f"{text[:200]!r}: the folder's path is longer than {PATH_BYTES_MAX} bytes")
    return folder


def _refuse_unprintable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text[:200]!r} is not valid UTF-8") from None
    if not text or "\0" in text:
        raise UsageError(f"{text[:200]!r} names no repo or bucket")


def _refuse_other_prefix(text: str, first: str, has_more: bool) -> None:
    """A type that is none of ours, or in the singular, is better named than looked up."""
    if first in _TYPES:
        raise UsageError(
            f"{text!r} names no {_TYPES[first].value}: {first}/namespace/name is needed"
        )
    if has_more and f"{first}s" in _TYPES:
        raise UsageError(f"{text!r}: write {first}s/ instead of {first}/")
    if has_more and first in {"kernel", "kernels", "papers", "collections"}:
        raise UsageError(f"{text!r}: {first} cannot be mounted")
