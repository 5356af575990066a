"""Uploads made by hand, so that they can be made wrong."""

from dataclasses import dataclass, replace

import aiohttp

from hfnfs.localhub.accounts import DEFAULT_TOKEN
from hfnfs.localhub.hub import LocalHub
from hfnfs.xet import chunk, hashes
from hfnfs.xet.hashes import Sized, to_hex
from hfnfs.xet.shard import Shard, ShardFile, ShardXorb, Term, pack_upload

HUB_HEADERS = {"Authorization": f"Bearer {DEFAULT_TOKEN}"}


@dataclass(frozen=True)
class Upload:
    """A file of some chunks, in one xorb."""

    packed: bytes
    xorb: ShardXorb
    file: ShardFile

    @property
    def name(self) -> str:
        return to_hex(self.xorb.hash)

    def shard(self, **wrong: object) -> bytes:
        """The shard of it, with fields of the file replaced."""
        file = replace(self.file, **wrong)  # type: ignore[arg-type]  # wrong on purpose
        return pack_upload(Shard((file,), (self.xorb,)))


def upload_of(*datas: bytes) -> Upload:
    chunks = tuple(Sized(hashes.chunk_hash(data), len(data)) for data in datas)
    name = hashes.xorb_hash(chunks)
    term = Term(name, 0, len(chunks), sum(part.size for part in chunks))
    proof = hashes.term_hash(part.hash for part in chunks)
    file = ShardFile(hashes.file_hash(chunks), (term,), (proof,))
    return Upload(b"".join(map(chunk.encode, datas)), ShardXorb(name, chunks), file)


async def cas_headers(
    session: aiohttp.ClientSession, hub: LocalHub, scope: str = "write", bucket: str = "local/b"
) -> dict[str, str]:
    """What a client sends to the CAS after it got a token of `bucket`."""
    url = f"{hub.endpoint}/api/buckets/{bucket}/xet-{scope}-token"
    async with session.get(url, headers=HUB_HEADERS) as response:
        return {"Authorization": f"Bearer {(await response.json())['accessToken']}"}


async def put_xorb(
    session: aiohttp.ClientSession, hub: LocalHub, upload: Upload, headers: dict[str, str]
) -> int:
    """Upload its xorb directly; the status."""
    url = f"{hub.cas_url}/v1/xorbs/default/{upload.name}"
    async with session.post(url, data=upload.packed, headers=headers) as response:
        return response.status
