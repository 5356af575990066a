"""Compare hfnfs, in one run and in turns, with other servers and with what the machine can do.

Each table starts its servers over the same files, and runs its jobs by ours, theirs, ours, … ours
(race.py says how that is judged). Ratios count; rates and times are medians, good for nothing but
a feeling of the size. With --runs all of that is done again, with servers started anew; then a last
table pools the ratios of all runs, each run's own median in brackets.

    ganesha   calls over libnfs, everything in the cache, against nfs-ganesha
    loopback  the same bytes, sent by one sendmsg after the other
    waiting   small calls while READs wait for the Hub, against the same when idle
    rclone    calls against `rclone serve nfs`
    writes    WRITE with COMMIT and FILE_SYNC, and CREATE, against nfs-ganesha on the same disk
    kernel    cat, find and the load of a model by the Linux NFS client, against nfs-ganesha

Run it by scripts/bench/compare.
"""

import argparse
import dataclasses
import fcntl
import json
import shutil
import socket
import struct
from pathlib import Path

from bench import Bench, Table
from calls import against_ganesha, against_loopback, against_rclone
from kernel import by_kernel
from race import HEAD, Run, row
from waiting import against_idle
from writes import by_writing

TABLES: dict[str, Table] = {
    "ganesha": against_ganesha,
    "loopback": against_loopback,
    "waiting": against_idle,
    "rclone": against_rclone,
    "writes": by_writing,
    "kernel": by_kernel,
}
SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="default: ganesha")
    parser.add_argument("--rounds", type=int, default=9, help="runs of the others for each job")
    parser.add_argument("--runs", type=int, default=1, help="how often all of it is run")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each run")
    parser.add_argument("--entries", type=int, default=100_000, help="of the long directory")
    parser.add_argument("--mib", type=int, default=1024, help="size of the kernel client's file")
    parser.add_argument("--only", default="", help="jobs whose name contains this")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    args = parser.parse_args()
    if unknown := set(args.tables) - TABLES.keys():
        parser.error(f"no such table: {', '.join(sorted(unknown))}")
    return args


def bring_up_loopback() -> None:
    """A new network namespace has its loopback down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", IFF_UP | IFF_RUNNING)
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, request)


def told(run: Run) -> dict[str, object]:
    """A run as JSON has it."""
    return {
        "name": run.race.name,
        "against": run.race.against,
        "unit": run.race.unit,
        "ours": [dataclasses.asdict(sample) for sample in run.ours],
        "theirs": [dataclasses.asdict(sample) for sample in run.theirs],
    }


def run_tables(args: argparse.Namespace) -> list[Run]:
    """Run all tables once, print each row as it is known."""
    print(HEAD, flush=True)
    runs = []
    for name in args.tables or ["ganesha"]:
        work = args.work / name
        work.mkdir()
        bench = Bench(work, args.seconds, args.rounds, args.entries, args.mib, args.only)
        for race in TABLES[name](bench):
            runs.append(race.run(args.rounds))
            print(row(runs[-1:]), flush=True)
        shutil.rmtree(work)
    return runs


def main() -> None:
    """Run the tables, print the rows."""
    args = parse()
    bring_up_loopback()
    by_run = []
    for number in range(1, args.runs + 1):
        if args.runs > 1:
            print(f"\nRun {number} of {args.runs}\n")
        by_run.append(run_tables(args))
    if args.runs > 1:
        print(f"\n{args.runs} runs pooled\n\n{HEAD}")
        for runs in zip(*by_run, strict=True):
            print(row(runs))
    if args.json:
        args.json.write_text(json.dumps([told(run) for runs in by_run for run in runs], indent=1))


if __name__ == "__main__":
    main()
