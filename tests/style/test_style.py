# SPDX-License-Identifier: GPL-2.0-only
"""The code keeps to the rules of its language's own checkers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench import resources
from sanitize import sanitizers

TOP = Path(__file__).resolve().parents[2]
KERNEL_CODE = sorted([*TOP.glob("kmod/**/*.[ch]"), *TOP.glob("tests/kmod/*/*.[ch]")])
MODULES = ["kmod", "tests/kmod/floor"]
PROGRAMS = sorted([*TOP.glob("tests/perf/*.c"), *TOP.glob("tests/sanitize/**/*.c")])
SHELL_CODE = sorted([*TOP.glob("scripts/*"), TOP / ".ci/run"])


def clean(*command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_python_is_formatted() -> None:
    clean(sys.executable, "-m", "ruff", "format", "--check", ".")


def test_python_is_linted() -> None:
    clean(sys.executable, "-m", "ruff", "check", "--no-cache", ".")


def test_python_is_typed() -> None:
    clean(sys.executable, "-m", "mypy")


@pytest.mark.parametrize("path", SHELL_CODE, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(path: Path) -> None:
    clean("shellcheck", path)


@pytest.mark.parametrize(
    ("template", "values"),
    [
        ("guest-init.sh.j2", {"hostname": "guest", "marker": "ready"}),
        ("guest-systemd.sh.j2", {}),
        ("guest-initramfs.sh.j2",
         {"modules": ["a"], "address": "10.0.2.15/24", "gateway": "10.0.2.2", "init": "/init",
          "disks": "/dev/sd?"}),
        ("appliance-init.sh.j2",
         {"modules": ["a"], "script": "/script", "collect": "/collect", "output": "/output",
          "disks": "/dev/sd?", "ready": "ready", "alive": "alive", "alive_s": "60"}),
        ("serial-init.sh.j2",
         {"script": "/script", "output": "/output", "port": "/dev/ttyS1", "ready": "A",
          "told": "B", "alive": "C", "alive_s": 60, "begin": "D", "end": "E"}),
    ],
)  # fmt: skip
def test_guest_scripts_pass_shellcheck(
    template: str, values: dict[str, object], tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text(resources.render(template, **values))
    clean("shellcheck", "--shell=sh", script)


def test_every_file_states_its_licence() -> None:
    clean(sys.executable, "-m", "reuse", "lint", "--quiet")


def test_kernel_code_passes_checkpatch(checkpatch: Path) -> None:
    clean("perl", checkpatch, "--no-tree", "--strict", "--quiet", "--terse",
          "--max-line-length=100", "--file", *KERNEL_CODE)  # fmt: skip


@pytest.mark.parametrize("name", ["failnth", "fuzz"])
def test_programs_of_the_tests_build_without_warnings(name: str) -> None:
    assert sanitizers.program(name).is_file()


def copy(module: str, place: Path) -> None:
    """Copy the source of a module, with that of ours which it includes."""
    for directory in {"kmod", module}:
        shutil.copytree(TOP / directory, place / directory)


# gcc's rather than clang-tidy: it is the compiler that builds the module anyway, and reads the
# kernel's headers as they are. Leaks it does not see; kmemleak does.
ANALYZER = f"KCFLAGS=-fanalyzer -include {TOP}/tests/style/allocators.h"


def built(kdir: Path, place: Path, module: str, *words: str) -> tuple[list[str], str]:
    """Build a copied module; return what is said of our files, and what make tells."""
    done = subprocess.run(
        ["make", "-C", kdir, f"M={place / module}", *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith(str(place))], done.stdout


@pytest.mark.parametrize(
    ("module", "analyzer"),
    [*((module, [ANALYZER]) for module in MODULES), ("tests/kmod/planted", [])],
    ids=[*MODULES, "planted, whose mistakes are there to be found"],
)
def test_compiler_analyzer_and_sparse_say_nothing_of_kernel_code(
    kdir: Path, tmp_path: Path, module: str, analyzer: list[str]
) -> None:
    copy(module, tmp_path)
    found, said = built(kdir, tmp_path, module, "W=1", "C=2", *analyzer)
    assert not found, "\n".join(found)
    assert "CHECK" in said


@pytest.mark.parametrize("fault", ["use_after_free", "null_dereference"])
def test_the_analyzer_would_find_a_fault(kdir: Path, tmp_path: Path, fault: str) -> None:
    copy("tests/kmod/faulty", tmp_path)
    found, _ = built(kdir, tmp_path, "tests/kmod/faulty", ANALYZER, f"{fault}.o")
    finding = f"-Wanalyzer-{fault.replace('_', '-')}"
    assert any(f"{fault}.c" in line and finding in line for line in found), found


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_programs_pass_gccs_analyzer(path: Path, tmp_path: Path) -> None:
    clean("gcc", "-fanalyzer", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-c", path,
          "-o", tmp_path / "program.o")  # fmt: skip
