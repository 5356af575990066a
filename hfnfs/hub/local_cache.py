"""Where huggingface_hub keeps what `hf download` has brought to this machine."""

from pathlib import Path

from hfnfs.hub.source import Source, SourceType


def blobs_of(source: Source) -> Path | None:
    """The directory of a repo's blobs, there or not; None: of buckets none are kept.

    Imports huggingface_hub: in a thread.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if source.type is SourceType.BUCKET:
        return None
    folder = repo_folder_name(repo_id=source.id, repo_type=source.type.value)
    return Path(constants.HF_HUB_CACHE) / folder / "blobs"
