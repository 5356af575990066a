"""The Hub's routes of buckets."""

import json
import re
from itertools import islice
from typing import Any

from aiohttp import web

from hfnfs.localhub import batch, events
from hfnfs.localhub.batch import Known, is_text
from hfnfs.localhub.buckets import NS_PER_MS, Bucket, BucketFile, Buckets
from hfnfs.localhub.contents import Contents
from hfnfs.localhub.events import Bell
from hfnfs.localhub.gate import Gate
from hfnfs.localhub.repo_routes import xet_headers
from hfnfs.localhub.repos import KINDS
from hfnfs.localhub.wire import FAULT, Refusal, body_of, cursor_of, is_true, iso, limit_of, page
from hfnfs.xet.hashes import to_hex

_PAGE_ENTRIES = 1000
_PAGE_ENTRIES_MAX = 10_000
_JSON_BYTES_MAX = 1 << 20
_BATCH_BYTES_MAX = 8 << 20
_PATHS_MAX = 1000
_NAME = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}\Z", re.ASCII)


class BucketRoutes:
    """Handlers; their names are the kinds of requests that Counters knows."""

    def __init__(self, gate: Gate, contents: Contents, bell: Bell, cas_url: str) -> None:
        self._gate = gate
        self._buckets: Buckets = gate.buckets
        self._contents = contents
        self._bell = bell
        self._cas_url = cas_url

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register them."""
        api = "/api/buckets/{namespace}/{name}"
        router.add_get("/api/buckets/{namespace}", self.bucket_list)
        router.add_post(api, self.bucket_create)
        router.add_get(api, self.bucket_info)
        router.add_delete(api, self.bucket_delete)
        router.add_put(f"{api}/settings", self.bucket_settings)
        router.add_post("/api/repos/move", self.bucket_move)
        router.add_get(f"{api}/tree", self.bucket_tree)
        router.add_get(f"{api}/tree/{{prefix:(?s:.*)}}", self.bucket_tree)
        router.add_post(f"{api}/paths-info", self.bucket_paths_info)
        router.add_post(f"{api}/batch", self.bucket_batch)
        router.add_get(f"{api}/events", self.bucket_events)
        router.add_get(f"{api}/xet-read-token", self.bucket_read_token)
        router.add_get(f"{api}/xet-write-token", self.bucket_write_token)
        router.add_get("/buckets/{namespace}/{name}/resolve/{path:(?s:.+)}", self.bucket_resolve)

    async def bucket_list(self, request: web.Request) -> web.Response:
        """GET /api/buckets/{namespace}."""
        viewer = self._gate.viewer(request)
        namespace = request.match_info["namespace"]
        if namespace == "me":
            namespace = self._gate.account(request)
        search = request.query.get("search", "")
        found = [
            self._described(bucket)
            for bucket in self._buckets.of_namespace(namespace)
            if search in bucket.name and (not bucket.private or viewer.owns(bucket.name))
        ]
        limit = limit_of(request, _PAGE_ENTRIES, _PAGE_ENTRIES)
        start = cursor_of(request)
        rest = len(found) > start + limit
        return page(request, found[start : start + limit], str(start + limit) if rest else None)

    async def bucket_create(self, request: web.Request) -> web.Response:
        """POST /api/buckets/{namespace}/{name}."""
        account, name = self._gate.account(request), self._gate.bucket_name(request)
        if name.partition("/")[0] != account:
            raise Refusal(403, f"No right to create in this namespace: {name}")
        if not _NAME.match(name):
            raise Refusal(400, f"{name} is no name for a bucket")
        asked = await _json_of(request)
        private = asked.get("visibility") == "private" or asked.get("private") is True
        url = {"url": f"{request.url.origin()}/buckets/{name}"}
        try:
            self._buckets.create(name, private=private)
        except ValueError:
            error = {"error": "You already created this bucket", **url}
            return web.json_response(error, status=409)
        return web.json_response(url)

    async def bucket_info(self, request: web.Request) -> web.Response:
        """GET /api/buckets/{namespace}/{name}."""
        return web.json_response(self._described(self._gate.bucket(request)))

    async def bucket_delete(self, request: web.Request) -> web.Response:
        """DELETE /api/buckets/{namespace}/{name}."""
        self._buckets.delete(self._gate.bucket(request, change=True))
        self._bell.ring()
        return web.Response(status=204)

    async def bucket_settings(self, request: web.Request) -> web.Response:
        """PUT …/settings."""
        bucket = self._gate.bucket(request, change=True)
        asked = await _json_of(request)
        if not isinstance(asked.get("private"), bool):
            raise Refusal(400, "private must be true or false")
        self._buckets.set_private(bucket, private=asked["private"])
        return web.json_response({"private": asked["private"]})

    async def bucket_move(self, request: web.Request) -> web.Response:
        """POST /api/repos/move."""
        viewer, asked = self._gate.viewer(request), await _json_of(request)
        source, target = str(asked.get("fromRepo")), str(asked.get("toRepo"))
        bucket = self._buckets.find(source) if asked.get("type") == "bucket" else None
        if bucket is None:
            raise Refusal(404, "Bucket not found", "RepoNotFound")
        if not viewer.owns(source) or not viewer.owns(target):
            raise Refusal(403, f"No right to move {source} to {target}")
        if not _NAME.match(target):
            raise Refusal(400, f"{target} is no name for a bucket")
        try:
            self._buckets.rename(bucket, target)
        except ValueError:
            raise Refusal(409, f"{target} exists") from None
        self._bell.ring()
        return web.json_response({"url": f"{request.url.origin()}/buckets/{target}"})

    async def bucket_tree(self, request: web.Request) -> web.Response:
        """GET …/tree[/{prefix}]."""
        bucket = self._gate.bucket(request)
        prefix = request.match_info.get("prefix", "")
        recursive = is_true(request.query.get("recursive"))
        limit = limit_of(request, _PAGE_ENTRIES, _PAGE_ENTRIES_MAX)
        files = self._buckets.snapshot(bucket, request[FAULT].late_by)
        lines = files.page(prefix, request.query.get("cursor", ""), recursive=recursive)
        listed = list(islice(lines, limit + 1))
        items = [_item(line.path, line.file) for line in listed[:limit]]
        return page(request, items, listed[limit - 1].after if len(listed) > limit else None)

    async def bucket_paths_info(self, request: web.Request) -> web.Response:
        """POST …/paths-info; what is no file is left out."""
        bucket = self._gate.bucket(request)
        paths = (await _json_of(request)).get("paths")
        if not isinstance(paths, list) or len(paths) > _PATHS_MAX:
            raise Refusal(400, f"paths must be a list of at most {_PATHS_MAX}")
        texts = [path for path in paths if isinstance(path, str) and is_text(path)]
        found = [(path, self._buckets.file(bucket, path)) for path in texts]
        return web.json_response([_item(path, file) for path, file in found if file])

    async def bucket_batch(self, request: web.Request) -> web.Response:
        """POST …/batch; some operations may fail while the others are done."""
        bucket = self._gate.bucket(request, change=True)
        operations = batch.read_operations(await body_of(request, _BATCH_BYTES_MAX))
        # The body took its time: the bucket is looked up again before it is changed.
        bucket = self._gate.bucket(request, change=True)
        decided = batch.decide(operations, self._known(request, bucket))
        if decided.changes:
            self._buckets.change(bucket, decided.changes)
            self._bell.ring()
        status = 422 if decided.failed and not decided.changes else 200
        body = {"success": not decided.failed, "processed": len(operations)}
        return web.json_response({**body, "failed": decided.failed}, status=status)

    async def bucket_events(self, request: web.Request) -> web.StreamResponse:
        """GET …/events."""
        return await events.follow(request, self._buckets, self._gate.bucket(request), self._bell)

    async def bucket_read_token(self, request: web.Request) -> web.Response:
        """GET …/xet-read-token."""
        self._gate.bucket(request)
        return self._gate.xet_token(request, self._cas_url, "read")

    async def bucket_write_token(self, request: web.Request) -> web.Response:
        """GET …/xet-write-token."""
        self._gate.bucket(request, change=True)
        return self._gate.xet_token(request, self._cas_url, "write")

    async def bucket_resolve(self, request: web.Request) -> web.StreamResponse:
        """GET, HEAD /buckets/{namespace}/{name}/resolve/{path}."""
        bucket, path = self._gate.bucket(request), request.match_info["path"]
        file = self._buckets.file(bucket, path)
        if file is None:
            raise Refusal(404, f"{path} does not exist", "EntryNotFound")
        token = f"{request.url.origin()}/api/buckets/{bucket.name}/xet-read-token"
        headers = xet_headers(file.xet, file.size, token, self._cas_url)
        headers["ETag"] = headers["X-Linked-ETag"] = f'"{to_hex(file.xet)}"'
        if file.mtime is not None:
            headers["X-Mtime"] = iso(file.mtime * NS_PER_MS)
        signed = self._gate.signer.sign(f"/bridge/{to_hex(file.xet)}", {})
        raise web.HTTPFound(f"{self._cas_url}{signed}", headers=headers)

    def _known(self, request: web.Request, bucket: Bucket) -> Known:
        viewer = self._gate.viewer(request)

        def size_of(name: bytes) -> int | None:
            file = self._contents.file(name)
            return None if file is None else file.size

        def has_source(kind: str, name: str) -> bool:
            repos = self._gate.repos
            found = self._buckets.find(name) if kind == "bucket" else None
            other = repos.find(kind, name) if kind in KINDS else None
            source = found or other
            return source is not None and (not source.private or viewer.owns(source.name))

        now = self._gate.signer.now_s() * 1000
        return Known(
            size_of, lambda path: self._buckets.file(bucket, path) is not None, has_source, now
        )

    def _described(self, bucket: Bucket) -> dict[str, Any]:
        size, files = self._buckets.usage(bucket)
        return {
            "id": bucket.name,
            "author": bucket.name.partition("/")[0],
            "private": bucket.private,
            "createdAt": iso(bucket.created * NS_PER_MS),
            "updatedAt": iso(bucket.updated * NS_PER_MS),
            "size": size,
            "totalFiles": files,
        }


def _item(path: str, file: BucketFile | None) -> dict[str, Any]:
    if file is None:
        return {"type": "directory", "path": path}
    return {
        "type": "file",
        "path": path,
        "size": file.size,
        "xetHash": to_hex(file.xet),
        "mtime": None if file.mtime is None else iso(file.mtime * NS_PER_MS),
        "uploadedAt": iso(file.uploaded * NS_PER_MS),
        **({"contentType": file.type} if file.type else {}),
    }


async def _json_of(request: web.Request) -> dict[str, Any]:
    body = await body_of(request, _JSON_BYTES_MAX)
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        raise Refusal(400, "body is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "body is no JSON object")
    return value
