# SPDX-License-Identifier: GPL-2.0-only
"""scripts/prepare: what `try` installs is a part of what `test` does, and no more than it needs."""

from __future__ import annotations

import re
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).resolve().parents[2]
SCRIPTS = TOP / "scripts"


def locked(name: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return what a lock file pins: name → version and hashes."""
    text = re.sub(r"(?m)^ *#.*\n", "", (TOP / name).read_text()).replace("\\\n", " ")
    found = {}
    for line in filter(str.strip, text.splitlines()):
        package, _, rest = line.partition("==")
        version, *hashes = rest.split()
        found[canonicalize_name(package)] = (version, tuple(sorted(hashes)))
    return found


def needed(requirements: list[str]) -> set[str]:
    """Return the names of all that the requirements ask for here, directly or not."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        asked = waiting.pop()
        marker = asked.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in ("", *asked.extras)):
            continue
        name = canonicalize_name(asked.name)
        if name not in found:
            found.add(name)
            waiting += [Requirement(text) for text in metadata.requires(name) or []]
    return found


def test_the_lock_of_try_is_the_part_of_the_whole_that_the_program_needs() -> None:
    run, whole = locked("requirements-run.lock"), locked("requirements.lock")
    assert all(hashes for _, hashes in run.values())
    assert run.items() <= whole.items()
    runtime = [
        text for text in metadata.requires("page-alloc-bench") or [] if "extra ==" not in text
    ]
    assert set(run) == needed(runtime)
    assert not {"pytest", "mypy", "playwright", "numpy"} & set(run)


def test_every_script_installs_what_it_needs() -> None:
    asked = {
        path.name: re.findall(r"(?m)^scripts/prepare(.*)$", path.read_text())
        for path in SCRIPTS.iterdir()
    }
    asked = {name: words for name, words in asked.items() if words}
    assert asked.pop("try") == [" try"]
    whole = ("test", "perf", "sanitize", "kernels", "calibrate", "costs", "manual")
    assert asked == {name: [" test"] for name in whole}
    assert "./scripts/test" in (TOP / ".ci/run").read_text()


@pytest.mark.parametrize("words", [[], ["all"]])
def test_prepare_wants_to_know_for_what(words: list[str]) -> None:
    done = subprocess.run(
        [SCRIPTS / "prepare", *words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "usage: scripts/prepare try|test" in done.stderr


def machine(tmp_path: Path, *, root: bool, apt: str = "") -> dict[str, str]:
    """Return the environment of a machine where every Debian package is missing."""
    tools = tmp_path / "bin"
    tools.mkdir()
    programs = {
        "id": f"echo {0 if root else 1000}",
        "dpkg-query": "exit 1",
        "apt-get": f'echo "apt-get $*" >>{tmp_path}/asked; echo unpacking; {apt}',
    }
    for name, text in programs.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    for name in ("sh", "dirname", "mktemp", "rm", "tail", "grep", "cat", "sha256sum", "env"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    checkout = tmp_path / "checkout"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "scripts/prepare").write_bytes((SCRIPTS / "prepare").read_bytes())
    for name in ("pyproject.toml", "requirements-run.lock"):
        (checkout / name).write_text(name)
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").write_text(f'#!/bin/sh\necho "pip $*" >>{tmp_path}/asked\n')
    (checkout / ".venv/bin/python").chmod(0o755)
    return {"PATH": str(tools), "TMPDIR": str(tmp_path)}


def prepare(tmp_path: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "checkout/scripts/prepare"
    return subprocess.run(
        ["/bin/sh", script, "try"], env=environment, capture_output=True, text=True, check=False
    )


def test_try_is_quiet_and_installs_little(tmp_path: Path) -> None:
    environment = machine(tmp_path, root=True)
    done = prepare(tmp_path, environment)
    assert (done.returncode, done.stdout) == (0, "")
    assert len(done.stderr.splitlines()) == 2
    update, install, pip = (tmp_path / "asked").read_text().splitlines()
    assert update.startswith("apt-get update")
    assert "qemu-system-x86" in install
    for name in ("chromium", "qemu-system-arm", "shellcheck", "sparse", "poppler"):
        assert name not in install
    assert "--require-hashes -r requirements-run.lock" in pip
    (tmp_path / "asked").unlink()
    (tmp_path / "bin/dpkg-query").write_text("#!/bin/sh\necho installed\n")
    again = prepare(tmp_path, environment)
    assert (again.returncode, again.stderr) == (0, "")
    assert not (tmp_path / "asked").exists()
    assert not list(tmp_path.glob("tmp.*"))


def test_a_failure_of_apt_is_shown_with_its_own_words(tmp_path: Path) -> None:
    done = prepare(tmp_path, machine(tmp_path, root=True, apt="echo E: no route >&2; exit 100"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "E: no route" in done.stderr
    assert not list(tmp_path.glob("tmp.*"))


def test_a_user_without_sudo_is_told_before_anything_is_tried(tmp_path: Path) -> None:
    done = prepare(tmp_path, machine(tmp_path, root=False))
    assert (done.returncode, done.stdout) == (1, "")
    assert "run this as root, or install sudo" in done.stderr
    assert not (tmp_path / "asked").exists()
