# SPDX-License-Identifier: GPL-2.0-only
"""A tree that cannot serve is refused with a reason and a next step; equal inputs, equal bytes."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from page_alloc_bench import cli, resources
from page_alloc_bench.packager import (
    build,
    kbuild,
    parallel,
    tree,
    zipapp,
)
from page_alloc_bench.packager.compiler import Toolchain
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.process import run, run_in_foreground
from ready_trees import GCC, ready_tree


@pytest.fixture
def kdir(tmp_path: Path) -> Path:
    return ready_tree(tmp_path / "linux")


def refusal(kdir: Path) -> PackagerError:
    with pytest.raises(PackagerError) as caught:
        tree.probe(kdir)
    assert caught.value.exit_code == 3
    assert caught.value.advice
    return caught.value


# Trees.


def test_a_ready_tree_is_described(kdir: Path) -> None:
    found = tree.probe(kdir)
    assert (found.release, found.arch) == ("6.1.0-mine", "x86")
    assert found.compiler == "gcc-12 (Debian 12.2.0) 12.2.0"
    assert found.modversions
    assert found.symvers
    assert found.build["version"] == "#7 SMP Mon"
    assert found.warnings() == []


def test_a_tree_says_once_that_its_build_cannot_be_told(kdir: Path) -> None:
    (kdir / "include/generated/utsversion.h").unlink()
    (warning,) = tree.probe(kdir).warnings()
    assert "does not tell which build of 6.1.0-mine" in warning
    assert "no vmlinux" in warning


def test_no_tree_says_which_headers_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "build"
    link.symlink_to("/usr/src/gone")
    monkeypatch.setattr(tree, "of_running_kernel", lambda: link)
    error = refusal(link)
    assert "/usr/src/gone" in error.message
    assert f"linux-headers-{os.uname().release}" in error.advice


def test_a_path_that_was_given_is_not_asked_for_again(tmp_path: Path) -> None:
    error = refusal(tmp_path / "missing")
    assert f"no kernel tree at {tmp_path}/missing" in error.message
    assert "give one" not in error.advice
    assert error.advice.startswith("check the path of --kdir; this host has ")


def test_a_directory_that_is_no_tree(tmp_path: Path) -> None:
    assert "no Makefile" in refusal(tmp_path).message


@pytest.mark.parametrize(
    "name", ["include/config/auto.conf", "include/generated/autoconf.h", "scripts/mod/modpost"]
)
def test_an_unprepared_tree_is_told_to_be_prepared(kdir: Path, name: str) -> None:
    (kdir / name).unlink()
    error = refusal(kdir)
    assert name in error.message
    assert f"make -C {kdir} modules_prepare" in error.advice


def test_an_unconfigured_tree_may_have_been_built_elsewhere(kdir: Path) -> None:
    (kdir / ".config").unlink()
    (kdir / "include/config/auto.conf").unlink()
    error = refusal(kdir)
    assert "O=" in error.advice
    assert "olddefconfig" in error.advice


def test_a_headers_package_without_its_tools(kdir: Path) -> None:
    shutil.rmtree(kdir / "scripts")
    (kdir / "scripts").symlink_to("/usr/lib/linux-kbuild-gone/scripts")
    assert "linux-kbuild" in refusal(kdir).advice


def test_a_kernel_without_modules(kdir: Path) -> None:
    (kdir / "include/config/auto.conf").write_text(GCC)
    assert "CONFIG_MODULES" in refusal(kdir).advice


def test_without_symvers_it_builds_and_says_what_is_lost(kdir: Path) -> None:
    (kdir / "Module.symvers").unlink()
    found = tree.probe(kdir)
    assert "refuse the module" in found.warnings()[0]
    command = kbuild.make_command(found, Toolchain(), Path("/s"), 1)
    assert "KBUILD_MODPOST_WARN=1" in command
    (kdir / "include/config/auto.conf").write_text(f"CONFIG_MODULES=y\n{GCC}\n")
    assert "only when" in tree.probe(kdir).warnings()[0]


@pytest.mark.parametrize("text", ["", "\n", "0x1\tmine\tdrivers/x\tEXPORT_SYMBOL\t\n"])
def test_symvers_without_the_kernels_symbols_are_none(kdir: Path, text: str) -> None:
    (kdir / "Module.symvers").write_text(text)
    found = tree.probe(kdir)
    assert "no Module.symvers with the kernel's symbols" in found.warnings()[0]
    assert "KBUILD_MODPOST_WARN=1" in kbuild.make_command(found, Toolchain(), Path("/s"), 1)


BINARY = bytes(range(256)) * 40
TEXTS = (
    ".config", ".kernelvariables", "Module.symvers", "include/config/auto.conf",
    "include/generated/autoconf.h", "include/generated/compile.h",
    "include/generated/utsrelease.h", "include/generated/utsversion.h", "vmlinux",
)  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_binary_file_is_no_traceback(kdir: Path, name: str) -> None:
    (kdir / name).write_bytes(BINARY)
    result = CliRunner().invoke(cli.main, ["build", "--kdir", str(kdir), "-o", f"{kdir}/x.run"])
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code in (1, 3)
    assert "try: " in result.stderr


@pytest.mark.parametrize("name", ["scripts/mod/modpost", "tools/objtool/objtool"])
def test_a_tool_that_may_not_be_executed_is_named(kdir: Path, name: str) -> None:
    (kdir / name).parent.mkdir(parents=True, exist_ok=True)
    (kdir / name).write_text("")
    (kdir / name).chmod(0o644)
    error = refusal(kdir)
    assert f"{kdir / name} may not be executed" in error.message
    assert f"chmod +x {kdir / name}" in error.advice
    assert "modules_prepare" not in error.advice


def test_a_kernel_that_cannot_unload_modules_is_warned_of(kdir: Path) -> None:
    config = kdir / "include/config/auto.conf"
    config.write_text(config.read_text().replace("CONFIG_MODULE_UNLOAD=y\n", ""))
    (warning,) = tree.probe(kdir).warnings()
    assert "cannot unload modules (CONFIG_MODULE_UNLOAD is off)" in warning
    assert "reboot" in warning


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("closed", [".", "include", "include/config", ".."])
def test_a_tree_that_may_not_be_read_is_told_in_one_line(kdir: Path, closed: str) -> None:
    for path in (kdir, *kdir.parents):
        if path.is_relative_to("/tmp") and path != Path("/tmp"):
            path.chmod(0o755)
    (kdir / closed).chmod(0o600)
    script = (
        "import os, sys; from page_alloc_bench.packager import tree; from pathlib import Path\n"
        "from page_alloc_bench.packager.errors import PackagerError\n"
        "os.setuid(65534)\n"
        "try: tree.probe(Path(sys.argv[1]))\n"
        "except PackagerError as error: print(error.message, '|', error.advice)"
    )
    done = run([sys.executable, "-c", script, str(kdir)])
    assert done.stderr == ""
    assert "read" in done.stdout
    assert "make the tree readable" in done.stdout


# Where it is built.


@pytest.mark.parametrize("name", ["a place", "a,b", "a=b", "a:b", "a#b", "a%b", "$a", "ä", "link"])
def test_make_never_sees_a_scratch_directory_that_it_cannot_name(
    kdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    asked = tmp_path / name
    if name == "link":
        (tmp_path / "x,y").mkdir()
        asked.symlink_to("x,y")
    else:
        asked.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(asked))
    (kdir / "Makefile").write_text('modules:\n\t@echo M is "$(M)" >&2; false\n')
    with pytest.raises(PackagerError) as caught:
        build.build(build.BuildRequest(kdir, output=tmp_path / "bench.run"))
    assert "M is kmod" in caught.value.message
    assert list(asked.iterdir()) == []


# The command.


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["build", "--kdir", "/proc/absent"], 3, "no kernel tree"),
        (["build", "--kdir", "/proc/absent", "-o", "/"], 2, "is a directory"),
        (
            ["build", "--kdir", "/proc/absent", "-o", "/proc/absent/x"],
            2,
            "No such file or directory",
        ),
        (["build", "--no-such-option"], 2, "No such option"),
        (["build", "-j", "0"], 2, "1<=x"),
        (["vm", "/proc/absent"], 2, "does not exist"),
        (["run", "--kdir", "/proc/absent", "--", "--list"], 3, "no kernel tree"),
    ],
)
def test_bad_input_is_refused_on_stderr(arguments: list[str], code: int, word: str) -> None:
    result = CliRunner().invoke(cli.main, arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert word in result.stderr


def test_version_and_help() -> None:
    assert re.fullmatch(
        r"page-alloc-bench, version \d+\.\d+\.\d+\n",
        CliRunner().invoke(cli.main, ["--version"]).stdout,
    )
    for command in ([], ["build"], ["run"], ["vm"]):
        assert CliRunner().invoke(cli.main, [*command, "--help"]).exit_code == 0


def test_settings_come_from_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[build.BuildRequest] = []

    def note(request: build.BuildRequest, _: object) -> None:
        seen.append(request)
        raise PackagerError("enough")

    monkeypatch.setattr("page_alloc_bench.packager.build.build", note)
    environment = {
        "LLVM": "1", "ARCH": "arm64", "CROSS_COMPILE": "a-", "CC": "clang", "KCFLAGS": "-g",
    }  # fmt: skip
    arguments = ["build", "--kdir", str(tmp_path), "-j", "4", "--cc", "gcc"]
    CliRunner(env=environment).invoke(cli.main, arguments)
    assert seen == [
        build.BuildRequest(
            tmp_path,
            llvm="1",
            arch="arm64",
            cross_compile="a-",
            cc="gcc",
            kcflags="-g",
            from_environment=("llvm", "arch", "cross_compile", "kcflags"),
            output=Path("bench.run"),
            jobs=4,
        )
    ]


def test_an_ended_build_stops_make_and_leaves_nothing(kdir: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (kdir / "Makefile").write_text("modules:\n\t@echo $$PPID >started; exec sleep 60\n")
    command = [sys.executable, "-m", "page_alloc_bench.cli", "build", "--kdir", str(kdir)]
    with subprocess.Popen(
        [*command, "-o", str(tmp_path / "bench.run")],
        env={**os.environ, "TMPDIR": str(scratch)},
        stderr=subprocess.DEVNULL,
    ) as process:
        started = kdir / "started"
        for _ in range(200):
            if started.exists() and started.read_text():
                break
            time.sleep(0.1)
        make = int(started.read_text())
        process.terminate()
        assert process.wait(20) == 143
    assert list(scratch.iterdir()) == []
    assert not (tmp_path / "bench.run").exists()
    assert not Path(f"/proc/{make}").exists()


def test_run_ends_as_the_benchmark_does() -> None:
    assert run_in_foreground(["sh", "-c", "exit 7"]) == 7
    assert run_in_foreground(["sh", "-c", "kill -TERM $$"]) == 143


# The wheel.


def test_a_wheel_carries_the_module_and_the_templates(tmp_path: Path) -> None:
    checkout = resources.kmod_dir().parent
    if not (checkout / "pyproject.toml").exists():
        pytest.skip("installed from a wheel already")
    built = subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
            "--wheel-dir", str(tmp_path), str(checkout),
        ],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        names = set(archive.namelist())
    data = "page_alloc_bench/data"
    assert {f"{data}/kmod/Kbuild", f"{data}/templates/run.sh.j2"} <= names
    for path in (checkout / "kmod").glob("*.[ch]"):
        if not path.name.endswith(".mod.c"):
            assert f"{data}/kmod/{path.name}" in names
    assert {"page_alloc_bench/runner/launch.py", "page_alloc_bench/packager/psutil.txt"} <= names
    assert not [name for name in names if name.endswith((".o", ".ko", ".cmd"))]
    assert any(name.endswith("GPL-2.0-only.txt") for name in names)


def test_what_travels_is_the_runner_alone() -> None:
    names = zipapp.runner_sources()
    assert "page_alloc_bench/__init__.py" in names
    assert all(
        name.startswith("page_alloc_bench/runner/") or name.count("/") == 1 for name in names
    )
    assert not any(name.startswith("page_alloc_bench/cli/") for name in names)


# Several builds at once.


@pytest.mark.parametrize(
    ("jobs", "builds", "shares"), [(8, 2, (2, 4)), (2, 8, (2, 1)), (1, 3, (1, 1)), (4, 1, (1, 4))]
)
def test_jobs_are_shared_out(jobs: int, builds: int, shares: tuple[int, int]) -> None:
    assert parallel.share(jobs, builds) == shares


def test_builds_run_at_once_and_come_back_in_order() -> None:
    together = threading.Barrier(2, timeout=20)

    def meet(name: str) -> str:
        together.wait()
        if name == "bad":
            raise PackagerError("bad")
        return name

    functions = [functools.partial(meet, name) for name in ("bad", "a", "b", "c")]
    first, *others = parallel.run(functions, 2)
    assert isinstance(first, PackagerError)
    assert others == ["a", "b", "c"]


def test_what_interrupts_one_build_ends_the_programs_of_all() -> None:
    started = threading.Event()

    def sleep() -> int:
        started.set()
        return run(["sleep", "60"]).status

    def interrupted() -> int:
        started.wait(20)
        raise KeyboardInterrupt

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(parallel.run([interrupted, sleep], 2))
    assert time.monotonic() - begun < 30


def test_two_kernels_that_a_target_cannot_tell_apart(kdir: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(kdir, other)
    request = build.BuildRequest(
        kdir, output=tmp_path / "bench.run", more=(build.TreeRequest(other),)
    )
    with pytest.raises(PackagerError) as caught:
        build.build(request)
    assert all(word in caught.value.message for word in (str(kdir), str(other), "6.1.0-mine"))
    assert "LOCALVERSION" in caught.value.advice
