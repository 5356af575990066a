#!/usr/bin/env python3
"""Install what the tests need on Debian, run all of them, and take no skip for an answer."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "python3-venv": "scripts/test makes its environment with it",
    "user-mode-linux": "a Linux kernel with an NFS client, as a process",
    "busybox-static": "what that kernel starts first",
    "nfs-common": "mount.nfs",
    "netbase": "/etc/protocols, which mount.nfs reads",
    "git": "works on a mount in the tests",
    "rsync": "likewise",
    "vim-tiny": "likewise",
    "libnfs-utils": "nfs-ls, nfs-cat, nfs-cp: a second client",
    "libnfs-dev": "the benchmark's load generator",
    "gcc": "compiles it",
    "libc6-dev": "so that it compiles",
    "nfs-ganesha": "the benchmark's reference",
    "nfs-ganesha-vfs": "its file system",
}
# Installing starts no service: the tests start what they need, on ports of their own.
NO_SERVICES = "#!/bin/sh\nexit 101\n"
POLICY = Path("/usr/sbin/policy-rc.d")


def installed(package: str) -> bool:
    asked = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout == "installed"


def install_packages() -> None:
    missing = [package for package in PACKAGES if not installed(package)]
    if not missing:
        return
    print("installing", *missing, flush=True)
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text(NO_SERVICES)
        POLICY.chmod(0o755)
    try:
        apt("update")
        apt("install", "--no-install-recommends", *missing)
    finally:
        if ours:
            POLICY.unlink()


def apt(*words: str) -> None:
    command = ["apt-get", "-qq", "-y", "-o", "DPkg::Lock::Timeout=300", *words]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f".ci/checks.py: {' '.join(command)} failed:\n{done.stdout}")


def run_tests(report: Path) -> tuple[int, str]:
    """Exit status and last line of scripts/test, whose output is passed on."""
    command = [str(ROOT / "scripts" / "test"), f"--junitxml={report}", *sys.argv[1:]]
    last = ""
    with subprocess.Popen(
        command, env={**os.environ, "CI": "true"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    ) as tests:  # fmt: skip
        assert tests.stdout is not None
        for line in tests.stdout:
            print(line, end="", flush=True)
            last = line.strip() or last
    return tests.returncode, last


def complaints(report: Path) -> list[str]:
    """What pytest calls success and we do not: tests that did not run."""
    cases = list(ElementTree.parse(report).iter("testcase"))
    ran = {case.get("classname", "") for case in cases if case.find("skipped") is None}
    missing = [
        f"nothing ran of {path.relative_to(ROOT)}"
        for path in sorted((ROOT / "tests" / "live").glob("test_*.py"))
        if not any(name.startswith(f"tests.live.{path.stem}") for name in ran)
    ]
    skipped = [
        f"skipped: {case.get('classname')}.{case.get('name')}: {reason.get('message')}"
        for case in cases
        if (reason := case.find("skipped")) is not None
    ]
    return missing + skipped


def main() -> int:
    install_packages()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        status, last = run_tests(report)
        if status:
            return status
        found = complaints(report)
    if found:
        print(*found, last, sep="\n", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
