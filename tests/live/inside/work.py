"""What people and their programs do to a file system, each in a directory of its own.

work.py FILES      does all of it in the working directory, tar and cp with that many files, and
                   reports as a line of JSON what became of each, and all that is there, before
                   the file system is mounted again and after

A piece of work raises where something is not as on a local disk.
"""

import json
import mmap
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.live.inside.manifest import Manifest, drop_caches, manifest, remount

ELSEWHERE = Path("/mnt/elsewhere")  # in the guest's own memory
NS_PER_MS = 1_000_000
SAVES = 12
ROWS, WRITERS = 15, 2
LINES, LOOPS = 60, 2
MOVES = 12
MAPPED_BYTES = 3 * 1024 * 1024 + 777
# A user's own settings shall not matter to git.
GIT = {
    **{f"GIT_{who}_{what}": f"{who}@example.org" for who in ("AUTHOR", "COMMITTER")
       for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
}  # fmt: skip


def sh(script: str) -> str:
    """What a shell script wrote; raises unless it ended well."""
    return run("sh", "-euc", script)


def run(*argv: str) -> str:
    environment = {**os.environ, **GIT}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def side_by_side(scripts: Sequence[Sequence[str]]) -> None:
    """Run programs at the same time; all must end well."""
    running = [subprocess.Popen(argv) for argv in scripts]
    ends = [program.wait() for program in running]
    assert not any(ends), ends


def make_tree(folder: Path, files: int) -> Path:
    """Files of many sizes and names, links and empty directories.

    Their times are whole milliseconds, which is what the Hub keeps and FSINFO says.
    """
    dice = random.Random(files)
    for number in range(files):
        path = folder / f"d{number % 20:02}" / f"file {number:05} ü.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(dice.choice((0, 1, 100, 900, 5000))))
    (folder / "d00" / "run").write_text("#!/bin/sh\n")
    (folder / "d00" / "run").chmod(0o755)
    (folder / "link").symlink_to("d00/run")
    (folder / "nothing in it").mkdir()
    (folder / "large.bin").write_bytes(dice.randbytes(3_000_000))
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.is_file() and not path.is_symlink():
            os.utime(path, ns=(10**18, 10**18 + number * NS_PER_MS))
    return folder


# ------------------------------------------------------------------------ whole trees


def copied(files: int) -> None:
    """`cp -r`: the same bytes under the same names."""
    source = make_tree(ELSEWHERE / "cp", files // 10)
    run("cp", "-r", str(source), "tree")
    drop_caches()
    assert run("diff", "-r", "--no-dereference", str(source), "tree") == ""


def synced(files: int) -> None:
    """`rsync -a`, twice: the second time there is nothing to do, also on a new mount."""
    source = make_tree(ELSEWHERE / "rsync", files // 10)
    rsync = ("rsync", "-a", "--itemize-changes", f"{source}/", "tree/")
    assert "large.bin" in run(*rsync)
    assert (moved := run(*rsync)) == "", moved
    remount()
    assert (moved := run(*rsync)) == "", moved


def unpacked(files: int) -> None:
    """`tar x`: all files are there with their modes and times."""
    archive = str(ELSEWHERE / "many.tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(make_tree(ELSEWHERE / "tar", files), "tree")
    run("tar", "xf", archive)
    drop_caches()
    assert run("tar", "df", archive) == ""


def committed(files: int) -> None:
    """git: init, add, commit, change, commit, gc; nothing is broken or missing."""
    make_tree(Path("repo/tree"), 60)
    sh("""
        cd repo
        git init --quiet --initial-branch=main .
        git add .
        git commit --quiet --message first
        for n in 1 2 3 4 5; do
            echo $n >> notes.txt
            git add notes.txt
            git commit --quiet --message "number $n"
        done
        git checkout --quiet -b side HEAD~3
        echo aside > side.txt
        git add side.txt
        git commit --quiet --message aside
        git checkout --quiet main
        git merge --quiet --no-edit side
        git gc --quiet --prune=now
    """)
    remount()
    assert run("git", "-C", "repo", "status", "--porcelain") == ""
    run("git", "-C", "repo", "fsck", "--full", "--strict")
    assert len(run("git", "-C", "repo", "log", "--format=%h").splitlines()) == 8
    assert Path("repo/notes.txt").read_text() == "1\n2\n3\n4\n5\n"


# ------------------------------------------------------------------------------ editors


def saved_with_a_backup(files: int) -> None:
    """As vim saves: the old file becomes the backup, a new one is written, the backup goes."""
    Path("notes.txt").write_text("version 0\n")
    for number in range(1, SAVES):
        Path("4913").touch()  # may one write here?
        os.unlink("4913")
        os.rename("notes.txt", "notes.txt~")
        write_and_sync("notes.txt", f"version {number}\n" * number)
        assert Path("notes.txt~").read_text() == f"version {number - 1}\n" * max(1, number - 1)
        os.unlink("notes.txt~")
        assert Path("notes.txt").read_text() == f"version {number}\n" * number
    assert os.listdir() == ["notes.txt"]


def saved_by_rename(files: int) -> None:
    """As most editors and `sed -i` save: a new file is written and takes the old one's name."""
    Path("settings.json").write_text("{}")
    for number in range(SAVES):
        write_and_sync(".settings.json.tmp", json.dumps({"version": number}) + "\n")
        os.replace(".settings.json.tmp", "settings.json")
        assert json.loads(Path("settings.json").read_text()) == {"version": number}
    run("sed", "-i", "s/version/release/", "settings.json")
    assert Path("settings.json").read_text() == f'{{"release": {SAVES - 1}}}\n'
    assert os.listdir() == ["settings.json"]


def saved_in_place(files: int) -> None:
    """As nano saves: the file is opened, truncated and written anew; it keeps its number."""
    Path("draft.txt").write_text("version 0\n")
    number_before = os.stat("draft.txt").st_ino
    for number in range(SAVES):
        write_and_sync("draft.txt", f"version {number}\n" * (SAVES - number))
        assert Path("draft.txt").read_text() == f"version {number}\n" * (SAVES - number)
    assert os.stat("draft.txt").st_ino == number_before


def saved_by_emacs(files: int) -> None:
    """As emacs saves: a link locks the file, the first save moves it aside, later ones keep it."""
    Path("notes.txt").write_text("version 0\n")
    for number in range(1, SAVES):
        os.symlink("me@host.123:456", ".#notes.txt")
        write_and_sync("#notes.txt#", f"version {number}\n" * number)
        assert os.readlink(".#notes.txt") == "me@host.123:456"
        if number == 1:
            os.rename("notes.txt", "notes.txt~")
        write_and_sync("notes.txt", f"version {number}\n" * number)
        os.unlink("#notes.txt#")
        os.unlink(".#notes.txt")
        assert Path("notes.txt").read_text() == f"version {number}\n" * number
    assert Path("notes.txt~").read_text() == "version 0\n"
    assert sorted(os.listdir()) == ["notes.txt", "notes.txt~"]


VIM = shutil.which("vim.tiny") or shutil.which("vim") or ""
VIM_SETTINGS = [
    f"backupcopy={how} {backup} {swap}"
    for how in ("auto", "yes", "no")
    for backup, swap in (("nobackup", "swapfile"), ("backup", "swapfile"), ("backup", "noswapfile"))
]


def saved_by_vim(files: int) -> None:
    """vim itself, however it is told to save, leaves what it leaves in the guest's memory."""
    elsewhere = ELSEWHERE / "vim"
    for number, settings in enumerate(VIM_SETTINGS):
        for folder in (elsewhere / str(number), Path(str(number))):
            folder.mkdir(parents=True)
            edit(folder, settings)
        assert (Path(str(number)) / "notes.txt").read_text() == EDITED
        here, there = manifest(str(number)), manifest(str(elsewhere / str(number)))
        assert dated_never(here) == dated_never(there), settings


EDITED = "".join(f"{word}\n" for word in ["first", *(f"line {n}" for n in range(1, SAVES))])


def edit(folder: Path, settings: str) -> None:
    """Open a file, add lines, save it after each, and once more from another vim."""
    (folder / "notes.txt").write_text("first\n")
    (folder / "notes.txt").chmod(0o640)
    for begin, end in ((1, SAVES - 1), (SAVES - 1, SAVES)):
        lines = "".join(f"$a\nline {number}\n.\nw\n" for number in range(begin, end))
        script = f"set backupskip= {settings}\n{lines}!ls -a > names-{begin}\nq\n"
        argv = [VIM, "-u", "NONE", "-i", "NONE", "-N", "-es", "notes.txt"]
        done = subprocess.run(argv, cwd=folder, input=script, text=True, check=False)
        assert done.returncode == 0, settings


def dated_never(found: Manifest) -> Manifest:
    return {path: {**facts, "mtime_ns": 0} for path, facts in found.items()}


def write_and_sync(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


# ------------------------------------------------------------------------- shared files

INSERT = """
import fcntl, sqlite3, sys
who, rows = sys.argv[1:]
with open("lock", "w") as lock:
    for number in range(int(rows)):
        fcntl.flock(lock, fcntl.LOCK_EX)
        with sqlite3.connect("data.db") as db:
            db.execute("PRAGMA synchronous = FULL")
            db.execute("INSERT INTO rows VALUES (?, ?, ?)", (who, number, "x" * 700))
            db.execute("UPDATE total SET count = count + 1")
        db.close()
        fcntl.flock(lock, fcntl.LOCK_UN)
"""


def kept_in_sqlite(files: int) -> None:
    """SQLite with a rollback journal: two processes under flock lose no row of each other."""
    with sqlite3.connect("data.db") as db:
        assert db.execute("PRAGMA journal_mode = delete").fetchone() == ("delete",)
        db.execute("CREATE TABLE rows (who TEXT, number INTEGER, text TEXT)")
        db.execute("CREATE TABLE total (count INTEGER)")
        db.execute("INSERT INTO total VALUES (0)")
    db.close()
    writer = [sys.executable, "-c", INSERT]
    side_by_side([[*writer, str(who), str(ROWS)] for who in range(WRITERS)])
    remount()
    with sqlite3.connect("data.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count FROM total").fetchone() == (ROWS * WRITERS,)
        rows = db.execute("SELECT who, number FROM rows ORDER BY who, number").fetchall()
    db.close()
    assert rows == [(str(who), number) for who in range(WRITERS) for number in range(ROWS)]
    assert sorted(os.listdir()) == ["data.db", "lock"]


def appended_by_shell_loops(files: int) -> None:
    """`>>` in loops, two at a time under flock: every line is there, whole and in its order."""
    loop = """
        n=0
        while [ $n -lt $2 ]; do
            exec 9> lock
            flock 9
            echo "loop $1 line $n" >> log
            exec 9>&-
            n=$((n + 1))
        done
    """
    side_by_side([["sh", "-euc", loop, "-", str(n), str(LINES)] for n in range(LOOPS)])
    remount()
    lines = Path("log").read_text().splitlines()
    for loop_number in range(LOOPS):
        mine = [line for line in lines if line.startswith(f"loop {loop_number} ")]
        assert mine == [f"loop {loop_number} line {n}" for n in range(LINES)]
    assert len(lines) == LOOPS * LINES


APPEND = """
import fcntl, os, sys
who, lines = sys.argv[1:]
log = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for number in range(int(lines)):
    fcntl.flock(log, fcntl.LOCK_EX)
    os.write(log, f"{who} {number} {'x' * (number % 700)}\\n".encode())
    fcntl.flock(log, fcntl.LOCK_UN)
"""


def appended_by_programs(files: int) -> None:
    """Two that keep a log open and append under flock: no line is lost or torn."""
    appender = [sys.executable, "-c", APPEND]
    side_by_side([[*appender, str(who), str(files)] for who in range(WRITERS)])
    remount()
    lines = Path("log").read_text().splitlines()
    for who in range(WRITERS):
        mine = [line for line in lines if line.startswith(f"{who} ")]
        assert mine == [f"{who} {number} {'x' * (number % 700)}" for number in range(files)]
    assert len(lines) == WRITERS * files


def moved_while_it_is_written(files: int) -> None:
    """The directories above an open file get other names, again and again; writing goes on."""
    os.makedirs("top-0/middle-0")
    expected = b""
    with open("top-0/middle-0/data.bin", "w+b", buffering=0) as file:
        for number in range(1, MOVES + 1):
            piece = random.Random(number).randbytes(50_000)
            expected += piece
            file.write(piece[:20_000])
            os.rename(f"top-{number - 1}", f"top-{number}")
            file.write(piece[20_000:40_000])
            os.rename(f"top-{number}/middle-{number - 1}", f"top-{number}/middle-{number}")
            file.write(piece[40_000:])
            name = f"top-{number}/middle-{number}/data.bin"
            assert os.stat(name).st_size == len(expected)
            if number % 3 == 0:
                os.fsync(file.fileno())
                assert Path(name).read_bytes() == expected
        file.seek(0)
        assert file.read() == expected
    assert os.listdir() == [f"top-{MOVES}"]
    assert Path(name).read_bytes() == expected


def removed_while_it_goes_up(files: int) -> None:
    """`rm -rf` of a tree, some of which is on the Hub by then and some is on its way."""
    for number in range(files):
        path = Path(f"tree/d{number % 7}/e{number % 3}/{number}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n" * 20)
    Path("beside.txt").write_text("stays\n")
    run("rm", "-r", "tree")
    assert os.listdir() == ["beside.txt"]
    os.mkdir("tree")
    Path("tree/d1").write_text("a file where a directory was\n")
    remount()
    assert Path("tree/d1").read_text() == "a file where a directory was\n"
    assert sorted(os.listdir()) == ["beside.txt", "tree"]
    assert os.listdir("tree") == ["d1"]


def written_through_a_map(files: int) -> None:
    """A shared map of a file: what is stored in it is in the file, at the places it was put."""
    dice = random.Random(5)
    expected = bytearray(dice.randbytes(MAPPED_BYTES))
    Path("mapped.bin").write_bytes(expected)
    drop_caches()
    with open("mapped.bin", "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        for _ in range(200):
            at = dice.randrange(MAPPED_BYTES - 9000)
            data = dice.randbytes(dice.choice((1, 100, 4096, 9000)))
            pages[at : at + len(data)] = expected[at : at + len(data)] = data
        pages.flush()
    remount()
    assert Path("mapped.bin").read_bytes() == expected


WORK: dict[str, Callable[[int], None]] = {
    work.__name__: work
    for work in (
        copied,
        synced,
        unpacked,
        committed,
        saved_with_a_backup,
        saved_by_rename,
        saved_in_place,
        saved_by_emacs,
        saved_by_vim,
        kept_in_sqlite,
        appended_by_shell_loops,
        appended_by_programs,
        moved_while_it_is_written,
        removed_while_it_goes_up,
        written_through_a_map,
    )
}


def outcome(work: Callable[[int], None], files: int) -> str:
    """ "" if the work went well in a directory of its own name, else what went wrong."""
    root = os.getcwd()
    os.mkdir(work.__name__)
    os.chdir(work.__name__)
    try:
        work(files)
    except (AssertionError, OSError, sqlite3.Error, ValueError):
        return traceback.format_exc()
    finally:
        os.chdir(root)
    return ""


def main() -> None:
    files = int(sys.argv[1])
    shutil.rmtree(ELSEWHERE, ignore_errors=True)
    outcomes = {name: outcome(work, files) for name, work in WORK.items()}
    before = manifest()
    remount()
    print(json.dumps({"outcomes": outcomes, "before": before, "after": manifest()}))


if __name__ == "__main__":
    main()
