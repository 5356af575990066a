"""The Hub's routes of models, datasets and spaces (read only)."""

import hashlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from aiohttp import web

from hfnfs.localhub.blobs import Blobs
from hfnfs.localhub.gate import Gate
from hfnfs.localhub.repos import Commit, Repo, RepoFile, Repos, Tree
from hfnfs.localhub.wire import Refusal, cursor_of, is_true, iso, limit_of, page, ranged
from hfnfs.xet.hashes import to_hex

_PAGE_ENTRIES = 1000
_PAGE_ENTRIES_EXPANDED = 50
_PATHS_MAX = 1000

# An id has one or two segments; one-segment patterns come first, so that "gpt2/tree" is none.
_ID = r"{id:[^/]+}"
_TWO = r"{id:[^/]+/[^/]+}"
_REVISION = r"{revision:refs/[^/]+/[^/]+|[^/]+}"
_API = "/api/{kind:models|datasets|spaces}/"
RESERVED = {"tree", "refs", "revision", "resolve", "paths-info", "xet-read-token"}


class RepoRoutes:
    """Handlers; their names are the kinds of requests that Counters knows."""

    def __init__(self, gate: Gate, blobs: Blobs, cas_url: str) -> None:
        self._gate = gate
        self._repos: Repos = gate.repos
        self._blobs = blobs
        self._cas_url = cas_url

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register them."""
        for name in (_ID, _TWO):
            api = _API + name
            router.add_get(f"{api}/refs", self.repo_refs)
            router.add_get(f"{api}/revision/{_REVISION}", self.repo_info)
            router.add_get(f"{api}/tree/{_REVISION}", self.repo_tree)
            router.add_get(f"{api}/tree/{_REVISION}/{{path:(?s:.*)}}", self.repo_tree)
            router.add_post(f"{api}/paths-info/{_REVISION}", self.repo_paths_info)
            router.add_get(f"{api}/xet-read-token/{_REVISION}", self.xet_read_token)
            router.add_get(api, self.repo_info)
            for kind in ("{kind:datasets|spaces}/", ""):
                route = f"/{kind}{name}/resolve/{_REVISION}/{{path:(?s:.+)}}"
                router.add_get(route, self.resolve)

    async def repo_info(self, request: web.Request) -> web.Response:
        """GET /api/models/{id}[/revision/{revision}]."""
        repo = self._gate.repo(request)
        commit = self._commit(request, repo)
        files = {path: file for path, file in self._repos.tree(commit).entries.items() if file}
        blobs = is_true(request.query.get("blobs"))
        info = {
            "_id": f"{repo.number:024x}",
            "id": repo.name,
            "author": repo.name.partition("/")[0],
            "sha": commit.sha,
            "lastModified": iso(commit.at_ns),
            "createdAt": iso(repo.created_ns),
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "usedStorage": sum(file.size for file in files.values()),
            "siblings": [_sibling(path, file, blobs=blobs) for path, file in files.items()],
        }
        return web.json_response(info | ({"modelId": repo.name} if repo.kind == "model" else {}))

    async def repo_refs(self, request: web.Request) -> web.Response:
        """GET …/refs."""
        refs = self._repos.refs(self._gate.repo(request))
        lists = {"heads": "branches", "tags": "tags", "convert": "converts", "pr": "pullRequests"}
        found: dict[str, list[dict[str, str]]] = {name: [] for name in lists.values()}
        for ref, sha in refs.items():
            _, group, name = ref.split("/", 2)
            found[lists[group]].append({"name": name, "ref": ref, "targetCommit": sha})
        if not is_true(request.query.get("include_prs")):
            del found["pullRequests"]
        return web.json_response(found)

    async def repo_tree(self, request: web.Request) -> web.Response:
        """GET …/tree/{revision}[/{path}]."""
        tree = self._repos.tree(self._commit(request, self._gate.repo(request)))
        directory = request.match_info.get("path", "").strip("/")
        if directory not in tree.children:
            raise Refusal(404, f"{directory} does not exist", "EntryNotFound")
        paths: Iterable[str] = tree.children[directory]
        if is_true(request.query.get("recursive")):
            prefix = f"{directory}/" if directory else ""
            paths = [path for path in tree.entries if path.startswith(prefix)]
        expand = is_true(request.query.get("expand"))
        most = _PAGE_ENTRIES_EXPANDED if expand else _PAGE_ENTRIES
        limit = limit_of(request, most, most)
        start = cursor_of(request)
        listed = list(paths)[start : start + limit + 1]
        items = [self._item(tree, path, expand=expand) for path in listed[:limit]]
        return page(request, items, str(start + limit) if len(listed) > limit else None)

    async def repo_paths_info(self, request: web.Request) -> web.Response:
        """POST …/paths-info/{revision}, form encoded."""
        tree = self._repos.tree(self._commit(request, self._gate.repo(request)))
        form = await request.post()
        paths = [str(path).strip("/") for path in form.getall("paths", [])]
        if len(paths) > _PATHS_MAX:
            raise Refusal(413, f"more than {_PATHS_MAX} paths")
        expand = is_true(str(form.get("expand", "")))
        known = [path for path in paths if path in tree.entries]
        return web.json_response([self._item(tree, path, expand=expand) for path in known])

    async def xet_read_token(self, request: web.Request) -> web.Response:
        """GET …/xet-read-token/{revision}."""
        self._commit(request, self._gate.repo(request, content=True))
        return self._gate.xet_token(request, self._cas_url, "read")

    async def resolve(self, request: web.Request) -> web.StreamResponse:
        """GET, HEAD /[datasets/|spaces/]{id}/resolve/{revision}/{path}.

        Plain files are answered here, Xet-backed ones by a signed URL of another origin.
        """
        repo = self._gate.repo(request, content=True)
        commit = self._commit(request, repo)
        path = request.match_info["path"]
        file = self._repos.tree(commit).entries.get(path)
        if file is None:
            raise Refusal(404, f"{path} does not exist", "EntryNotFound")
        headers = {"X-Repo-Commit": commit.sha, "ETag": f'"{file.oid}"'}
        if file.xet is None:
            oid = file.oid
            return ranged(request, file.size, lambda a, b: self._blobs.read(oid, a, b), **headers)
        token = f"/api/{repo.kind}s/{repo.name}/xet-read-token/{commit.sha}"
        headers |= xet_headers(file.xet, file.size, f"{request.url.origin()}{token}", self._cas_url)
        headers["X-Linked-ETag"] = f'"{file.sha256}"'
        signed = self._gate.signer.sign(f"/bridge/{to_hex(file.xet)}", {})
        raise web.HTTPFound(f"{self._cas_url}{signed}", headers=headers)

    def _commit(self, request: web.Request, repo: Repo) -> Commit:
        revision = request.match_info.get("revision", "main")
        commit = self._repos.resolve(repo, revision)
        if commit is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def _item(self, tree: Tree, path: str, *, expand: bool) -> dict[str, Any]:
        file = tree.entries[path]
        if file is None:
            listed = repr([(child, tree.entries[child]) for child in tree.children[path]])
            oid = hashlib.sha1(listed.encode(), usedforsecurity=False).hexdigest()
            return {"type": "directory", "oid": oid, "size": 0, "path": path}
        item = {"type": "file", "oid": file.oid, "size": file.size, "path": path, **_lfs(file)}
        if expand:
            last = self._repos.commit_of(file.changed)
            date = iso(last.at_ns)
            item["lastCommit"] = {"id": last.sha, "title": last.title, "date": date}
        return item


def pointer(sha256: str, size: int) -> bytes:
    """What git holds in place of a large file."""
    head = "version https://git-lfs.github.com/spec/v1"
    return f"{head}\noid sha256:{sha256}\nsize {size}\n".encode()


def xet_headers(xet: bytes, size: int, token_url: str, cas_url: str) -> dict[str, str]:
    """What a resolve says about a Xet-backed file."""
    name = to_hex(xet)
    reconstruction = f"{cas_url}/v1/reconstructions/{name}"
    token_url = quote(token_url, safe=":/")
    return {
        "X-Linked-Size": str(size),
        "X-Xet-Hash": name,
        "X-Xet-Refresh-Route": token_url,
        "Link": f'<{token_url}>; rel="xet-auth", <{reconstruction}>; rel="xet-reconstruction-info"',
    }


def _lfs(file: RepoFile) -> dict[str, Any]:
    if file.xet is None or file.sha256 is None:
        return {}
    length = len(pointer(file.sha256, file.size))
    lfs = {"oid": file.sha256, "size": file.size, "pointerSize": length}
    return {"lfs": lfs, "xetHash": to_hex(file.xet)}


def _sibling(path: str, file: RepoFile, *, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    item: dict[str, Any] = {"rfilename": path, "blobId": file.oid, "size": file.size}
    if lfs := _lfs(file).get("lfs"):
        item["lfs"] = {"sha256": lfs["oid"], **lfs}
    return item
