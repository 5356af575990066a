"""The rules of the house that a machine can keep: floors, sizes, where waiting and time may stand.

    7  __main__                                   python -m hfnfs
    6  cli                                        what the user typed
    5  demo                                       the product, started on a Hub of its own
    4  app                                        joins the parts, starts and ends them
    3  nfs3/, transfer/                           RFC 1813; all that waits
    2  vfs/                                       one exported volume, in memory
    1  rpc/ disk/ hub/ localhub/ crypt/ host/     strangers to each other
    0  errors, remote, clock, config, xet/        the shared vocabulary, pure formats

A module imports from floors below its own, or from its own room.
"""

import ast
import re
import tokenize
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FLOORS: list[set[str]] = [
    {"errors", "remote", "clock", "config", "xet"},
    {"rpc", "disk", "hub", "localhub", "crypt", "host"},
    {"vfs"},
    {"nfs3", "transfer"},
    {"app"},
    {"demo"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 50
PARAMETERS_MAX = 6
VOLUME_LINES_MAX = 100
NFS3_WAITS = {"waiting", "client"}  # a request for its need; our own client for the server

PRODUCT = sorted((ROOT / "hfnfs").rglob("*.py"))
OURS = PRODUCT + [p for d in ("tests", "scripts") for p in sorted((ROOT / d).rglob("*.py"))]
IN_C = sorted((ROOT / "scripts").rglob("*.[ch]"))
# What a person reads of the repo; names of this or that machine have no place in it.
TEXTS = [
    *OURS,
    *(p for d in (".ci", "docs", "scripts") for p in sorted((ROOT / d).rglob("*")) if p.is_file()),
    *(p for p in sorted(ROOT.glob("*")) if p.suffix in {".md", ".toml"}),
]
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|root|home|Users)/\w")
EXCUSE = re.compile(r"#\s*(?P<kind>type:\s*ignore|noqa)(?P<codes>\[[^]]+\]|:\s*[A-Z0-9, ]+)?")
DATES = ("datetime.now", "datetime.utcnow", "date.today", "loop.time")
TIME_NAMES = {name.rpartition(".")[2] for name in DATES} | {
    name + unit for name in ("time", "monotonic", "perf_counter") for unit in ("", "_ns")
}
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), named(path))


def lines_of(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@cache
def nodes_of(path: Path) -> list[tuple[str, ast.AST]]:
    walked = ast.walk(parsed(path))
    return [(f"{named(path)}:{n.lineno}", n) for n in walked if isinstance(n, ast.stmt | ast.expr)]


def nodes(paths: Iterable[Path]) -> Iterator[tuple[str, ast.AST]]:
    """Every statement and expression, and where it stands, as file:line."""
    for path in paths:
        yield from nodes_of(path)


def functions(paths: Iterable[Path]) -> Iterator[tuple[str, FunctionNode]]:
    for where, node in nodes(paths):
        if isinstance(node, FunctionNode):
            yield f"{where}: {node.name}", node


def keep(rule: str, broken: Iterable[str]) -> None:
    """Fail with the rule and all places that break it."""
    places = list(broken)
    assert not places, "\n".join([rule, *places])


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "hfnfs").with_suffix("").parts[0]


def imported_rooms(path: Path) -> Iterator[tuple[str, str]]:
    """Where and which room of hfnfs is imported; "" for the package itself."""
    package = list(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for where, node in nodes([path]):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            near = package[: len(package) + 1 - node.level] if node.level else []
            source = near + (node.module.split(".") if node.module else [])
            targets = [[*source, alias.name] for alias in node.names]
        else:
            continue
        yield from ((where, "".join(t[1:2])) for t in targets if t[0] == "hfnfs")


def misplaced_imports(path: Path) -> Iterator[str]:
    room = room_of(path)
    floor = FLOOR_OF.get(room, -1)
    for where, other in imported_rooms(path):
        other_floor = FLOOR_OF.get(other, len(FLOORS))
        if not (other == room or other_floor < floor or other_floor == floor == 0):
            yield f"{where}: {room} (floor {floor}) imports {other or 'hfnfs'} ({other_floor})"


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(path): path for path in PRODUCT}
    keep(
        "give it a floor at the top of this file",
        (named(path) for room, path in rooms.items() if room not in {*FLOOR_OF, "__init__"}),
    )


def test_imports_go_down_or_stay_in_the_room() -> None:
    keep(
        "declare a Protocol where it is needed, and let app hand the object over",
        (wrong for path in PRODUCT for wrong in misplaced_imports(path)),
    )


def test_a_file_can_be_read_in_one_go() -> None:
    keep(
        f"more than {FILE_LINES_MAX} lines: find the two jobs in it",
        (f"{named(p)}: {lines_of(p)}" for p in (*OURS, *IN_C) if lines_of(p) > FILE_LINES_MAX),
    )


def test_a_function_fits_on_a_screen() -> None:
    lengths = ((w, (f.end_lineno or 0) - f.lineno + 1) for w, f in functions(OURS))
    keep(
        f"more than {FUNCTION_LINES_MAX} lines: which part of it has a name of its own?",
        (f"{where}: {lines}" for where, lines in lengths if lines > FUNCTION_LINES_MAX),
    )


def is_command(node: FunctionNode) -> bool:
    """Whether typer calls it: the parameters are then the options that a user may type."""
    calls = (d.func for d in node.decorator_list if isinstance(d, ast.Call))
    return any(isinstance(c, ast.Attribute) and c.attr in {"command", "callback"} for c in calls)


def parameter_count(node: FunctionNode) -> int:
    given = node.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_a_function_takes_few_parameters() -> None:
    counts = ((w, parameter_count(f)) for w, f in functions(OURS) if not is_command(f))
    keep(
        f"more than {PARAMETERS_MAX} parameters: which of them belong together?",
        (f"{where}: {count}" for where, count in counts if count > PARAMETERS_MAX),
    )


def is_core(path: Path) -> bool:
    """Whether nothing in it may wait, so that what it checked stays true until it returns."""
    room = path.parent.name
    return room in {"vfs", "disk"} or (room == "nfs3" and path.stem not in NFS3_WAITS)


def outside_protocols(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        bases = child.bases if isinstance(child, ast.ClassDef) else []
        if not any("Protocol" in ast.unparse(base) for base in bases):
            yield child
            yield from outside_protocols(child)


def test_the_core_never_waits() -> None:
    waiting = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith
    found = (
        f"{named(path)}:{node.lineno}"
        for path in PRODUCT
        if is_core(path)
        for node in outside_protocols(parsed(path))
        if isinstance(node, waiting)
    )
    keep("no async here: raise NotYet(need), and let transfer/ meet it", found)


def asks_the_time(node: ast.AST) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module == "time"
    if not (isinstance(node, ast.Attribute) and node.attr in TIME_NAMES):
        return False
    asked = ast.unparse(node)
    return asked == f"time.{node.attr}" or asked.endswith(DATES)


def test_only_the_clock_asks_the_machine_for_the_time() -> None:
    keep(
        "take a Clock (clock.py) as a parameter",
        (w for w, n in nodes(p for p in PRODUCT if p.name != "clock.py") if asks_the_time(n)),
    )


def starts_a_loose_task(node: ast.AST) -> bool:
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    if node.func.attr == "create_task":
        owner = ast.unparse(node.func.value)
        return owner.rpartition(".")[2].lstrip("_") not in {"tasks", "group"}
    return node.func.attr in {"ensure_future", "gather"}


def test_every_task_belongs_to_a_task_group() -> None:
    keep(
        "start it in a TaskGroup called `tasks` or `group`, which waits for it and fails with it",
        (where for where, node in nodes(PRODUCT) if starts_a_loose_task(node)),
    )


def test_a_package_says_what_it_is_and_nothing_else() -> None:
    packages = {p: parsed(p) for p in PRODUCT if p.name == "__init__.py"}
    keep(
        "a docstring, no code",
        (named(p) for p, m in packages.items() if len(m.body) != 1 or not ast.get_docstring(m)),
    )


def test_the_volume_only_joins() -> None:
    volume = ROOT / "hfnfs" / "vfs" / "volume.py"
    assert lines_of(volume) < VOLUME_LINES_MAX, "logic belongs to tree, data and attributes"


def silenced_without_reason(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        comments = [t for t in tokenize.tokenize(file.readline) if t.type == tokenize.COMMENT]
    for comment in comments:
        excuses = list(EXCUSE.finditer(comment.string))
        bare = not all(excuse["codes"] for excuse in excuses)
        if excuses and (bare or not re.search("[A-Za-z]{3}", EXCUSE.sub("", comment.string))):
            yield f"{named(path)}:{comment.start[0]}: {comment.string}"


def test_a_silenced_check_says_which_and_why() -> None:
    keep(
        "write `# noqa: RULE  # reason` or `# type: ignore[rule]  # reason`",
        (wrong for path in OURS for wrong in silenced_without_reason(path)),
    )


def test_the_repo_names_no_machine() -> None:
    texts = {path: path.read_text("utf-8") for path in TEXTS if path.suffix != ".pyc"}
    keep(
        "a path of somebody's machine",
        (f"{named(path)}: {m[0]}" for path, t in texts.items() for m in MACHINE_PATH.finditer(t)),
    )
