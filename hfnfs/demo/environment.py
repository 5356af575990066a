"""Keeps the demo apart from what the user has set up."""

from collections.abc import MutableMapping


def forget_the_account(environ: MutableMapping[str, str]) -> None:
    """Take out of the environment whatever leads to the user's Hub, account or proxy.

    huggingface_hub looks when it is imported: call this before.
    """
    for name in list(environ):
        if name.startswith(("HF_", "HUGGING")) or name.lower().endswith("_proxy"):
            del environ[name]
