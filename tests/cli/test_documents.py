"""The documents keep to what is tested and to what is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISE = re.compile(r"^- (?P<text>.+?)(?=^- |^#|\Z)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#]+)\)")


def all_tests() -> set[str]:
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    functions = (
        node for tree in trees for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )  # fmt: skip
    return {function.name for function in functions if function.name.startswith("test_")}


def promises() -> list[str]:
    text = (ROOT / "docs/SEMANTICS.md").read_text("utf-8").partition("## What there is not")[0]
    return [" ".join(match["text"].split()) for match in PROMISE.finditer(text)]


def test_every_promise_names_tests_that_exist() -> None:
    known = all_tests()
    wrong = []
    for promise in promises():
        named = re.search(r"\[(test_\w+(?:, test_\w+)*)\]$", promise)
        if named is None or not set(named[1].split(", ")) <= known:
            wrong.append(promise)
    assert len(promises()) > 20
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md", "docs/SEMANTICS.md"])
def test_links_within_the_project_lead_somewhere(name: str) -> None:
    document = ROOT / name
    targets = [match["path"] for match in LINK.finditer(document.read_text("utf-8"))]
    assert [t for t in targets if not (document.parent / t).exists()] == []


def test_every_command_in_the_readme_is_one() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    commands = set(re.findall(r"^    (?:\$ )?(hf-mount-nfs \w+)", text, re.MULTILINE))
    assert commands == {"hf-mount-nfs repo", "hf-mount-nfs bucket"}
