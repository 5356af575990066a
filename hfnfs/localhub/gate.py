"""Who is asking and whether they may: what the routes of repos and buckets ask first."""

from dataclasses import dataclass

from aiohttp import web

from hfnfs.localhub.accounts import Accounts, Signer, Viewer
from hfnfs.localhub.buckets import Bucket, Buckets
from hfnfs.localhub.faults import Lie
from hfnfs.localhub.repos import Repo, Repos
from hfnfs.localhub.wire import FAULT, Refusal


@dataclass(frozen=True, slots=True)
class Gate:
    """Finds what a request names, or refuses as the Hub does."""

    accounts: Accounts
    repos: Repos
    buckets: Buckets
    signer: Signer

    def viewer(self, request: web.Request) -> Viewer:
        """Who asks. Raises Refusal (401)."""
        viewer = self.accounts.viewer(request.headers.get("Authorization"))
        if viewer is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return viewer

    def account(self, request: web.Request) -> str:
        """The account that asks. Raises Refusal (401)."""
        name = self.viewer(request).name
        if name is None:
            raise Refusal(401, "Invalid username or password.")
        return name

    def repo(self, request: web.Request, *, content: bool = False) -> Repo:
        """The repo of the URL; for its content, its terms must have been accepted.

        Raises Refusal, and a redirect to the canonical name.
        """
        viewer, asked = self.viewer(request), request.match_info["id"]
        kind = request.match_info.get("kind", "models").removesuffix("s")
        repo = self.repos.find(kind, asked)
        if repo is None or (repo.private and not viewer.owns(repo.name)):
            raise _missing(viewer, "Repository not found")
        if repo.name != asked:
            there = request.path_qs.replace(f"/{asked}", f"/{repo.name}", 1)
            raise web.HTTPTemporaryRedirect(there)
        if content and repo.gated and not viewer.owns(repo.name):
            status = 401 if viewer.name is None else 403
            raise Refusal(status, f"Access to {repo.name} is restricted", "GatedRepo")
        return repo

    def bucket(self, request: web.Request, *, change: bool = False) -> Bucket:
        """The bucket of the URL, to read or to change. Raises Refusal."""
        viewer = self.viewer(request)
        name = self.bucket_name(request)
        bucket = self.buckets.find(name)
        if bucket is None or (bucket.private and not viewer.owns(name)):
            raise _missing(viewer, "Bucket not found")
        if change and not viewer.owns(name):
            raise Refusal(401 if viewer.name is None else 403, "No right to change this bucket")
        return bucket

    def bucket_name(self, request: web.Request) -> str:
        """namespace/name of the URL, "me" resolved. Raises Refusal (401)."""
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        return f"{self.account(request) if namespace == 'me' else namespace}/{name}"

    def xet_token(self, request: web.Request, cas_url: str, scope: str) -> web.Response:
        """A CAS token, both in JSON and in headers: clients differ in what they read."""
        expired = request[FAULT].lie is Lie.EXPIRED_TOKEN
        expiry = self.signer.expiry_s(expired=expired)
        token = self.signer.token(scope, expiry)
        headers = {
            "X-Xet-Cas-Url": cas_url,
            "X-Xet-Access-Token": token,
            "X-Xet-Token-Expiration": str(expiry),
        }
        body = {"casUrl": cas_url, "exp": expiry, "accessToken": token}
        return web.json_response(body, headers=headers)


def _missing(viewer: Viewer, message: str) -> Refusal:
    """The Hub tells someone unknown to log in first, whether or not there is such a thing."""
    return Refusal(401 if viewer.name is None else 404, message, "RepoNotFound")
