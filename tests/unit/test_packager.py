# SPDX-License-Identifier: GPL-2.0-only
"""A tree that cannot serve is refused with a reason and a next step; equal inputs, equal bytes."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from bundle_maker import MACHINE, RELEASE, make_bundle
from page_alloc_bench import cli, outputs, resources
from page_alloc_bench.packager import (
    build,
    bundle,
    kbuild,
    manifest,
    parallel,
    tree,
    wheels,
    zipapp,
)
from page_alloc_bench.packager.compiler import Toolchain
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.process import run, run_in_foreground
from page_alloc_bench.runner.bundle_file import kbuild_environment

GCC = 'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0) 12.2.0"'
MODULES = "CONFIG_MODULES=y\nCONFIG_MODULE_UNLOAD=y\n"
CLANG = 'CONFIG_CC_VERSION_TEXT="Debian clang version 14.0.6"'


def everything_installed(_: str) -> str:
    return "/usr/bin/it"


def nothing_installed(_: str) -> None:
    return None


@pytest.fixture
def kdir(tmp_path: Path) -> Path:
    """A tree with all that the probe looks at."""
    top = tmp_path / "linux"
    files = {
        "Makefile": "",
        ".config": "# Linux/x86 6.1.0 Kernel Configuration\n",
        "Module.symvers": "0x1\tpanic\tvmlinux\tEXPORT_SYMBOL\t\n",
        "scripts/mod/modpost": "",
        "include/config/auto.conf": f"{MODULES}CONFIG_MODVERSIONS=y\n{GCC}\n",
        "include/config/kernel.release": "6.1.0\n",
        "include/generated/autoconf.h": "/* Linux/x86 6.1.0 Kernel Configuration */\n",
        "include/generated/utsrelease.h": '#define UTS_RELEASE "6.1.0-mine"\n',
        "include/generated/utsversion.h": '#define UTS_VERSION "#7 SMP Mon"\n',
    }
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (top / "scripts/mod/modpost").chmod(0o755)
    return top


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


# Compilers.


def toolchain_refusal(kdir: Path, tools: Toolchain, which: tree.Which) -> PackagerError:
    with pytest.raises(PackagerError) as caught:
        tree.complete_toolchain(tree.probe(kdir), tools, which)
    assert caught.value.exit_code == 3
    return caught.value


def test_a_missing_compiler_is_named(kdir: Path) -> None:
    (kdir / ".kernelvariables").write_text("CC = $(if $(X),ccache) $(CROSS_COMPILE)gcc-12\n")
    error = toolchain_refusal(kdir, Toolchain(), nothing_installed)
    assert "gcc-12 is not installed" in error.message
    assert "--cc" in error.advice
    assert "gcc-99" in toolchain_refusal(kdir, Toolchain(cc="gcc-99"), nothing_installed).message


@pytest.mark.parametrize("wrapper", ["ccache", "/usr/bin/ccache", "sccache", "distcc"])
@pytest.mark.parametrize("options", ["", " -m64", " -m64 -pipe"])
def test_a_wrapper_is_not_taken_for_the_compiler_nor_an_option(
    kdir: Path, wrapper: str, options: str
) -> None:
    asked = Toolchain(cc=f"{wrapper} gcc-99{options}")
    error = toolchain_refusal(kdir, asked, lambda name: None if name == "gcc-99" else name)
    assert "the compiler gcc-99 is not installed" in error.message
    assert error.advice.startswith("install gcc-99, ")
    error = toolchain_refusal(kdir, asked, lambda name: None if name == wrapper else name)
    assert f"the compiler {wrapper} is not installed" in error.message
    tree.complete_toolchain(tree.probe(kdir), asked, everything_installed)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (" ", "the compiler's name is empty"),
        ("gcc '", "is not a command"),
        ("ccache", "names no compiler after ccache"),
        ("ccache -m64", "names no compiler after ccache"),
    ],
)
def test_a_command_without_a_compiler_is_told(kdir: Path, command: str, words: str) -> None:
    error = toolchain_refusal(kdir, Toolchain(cc=command), everything_installed)
    assert words in error.message
    assert "ccache gcc" in error.advice


@pytest.mark.parametrize(
    ("tools", "missing", "package"),
    [
        (Toolchain(llvm="1"), "llvm-nm", "llvm "),
        (Toolchain(llvm="-15"), "llvm-strip-15", "llvm-15 "),
        (Toolchain(llvm="-15"), "ld.lld-15", "lld-15 "),
        (Toolchain(llvm="/opt/"), "/opt/ld.lld", "lld "),
        (Toolchain(), "nm", "binutils "),
        (Toolchain(cross_compile="x-linux-gnu-"), "x-linux-gnu-ld", "binutils-x-linux-gnu "),
    ],
)
def test_a_compiler_without_its_tools_is_told_before_the_build(
    kdir: Path, tools: Toolchain, missing: str, package: str
) -> None:
    error = toolchain_refusal(kdir, tools, lambda name: None if name == missing else name)
    assert error.message.endswith(f"tools are not installed: {missing}")
    assert error.advice.startswith(f"install {package}")


def built_by(kdir: Path, tmp_path: Path, script: str) -> tuple[PackagerError | None, list[str]]:
    """Run a shell script in place of kbuild; return its failure and what is told of it."""
    (kdir / "Makefile").write_text(f"modules:\n\t@{script}\n")
    told: list[str] = []
    (tmp_path / "kmod").mkdir()
    try:
        kbuild.build(
            tree.probe(kdir), Toolchain(), tmp_path / "kmod", jobs=1, verbose=False,
            progress=told.append,
        )  # fmt: skip
    except PackagerError as error:
        return error, told
    return None, told


@pytest.mark.parametrize(
    "said",
    [
        "/usr/local/bin/cc: 2: exec: gcc-99: not found",
        "/usr/local/bin/cc: line 2: exec: gcc-99: not found",
        'ccache: error: Could not find compiler "gcc-99" in PATH',
    ],
)
def test_a_wrapper_that_lacks_its_compiler_is_explained(
    kdir: Path, tmp_path: Path, said: str
) -> None:
    error, _ = built_by(kdir, tmp_path, f"echo '{said}' >&2; exit 1")
    assert error
    assert "install gcc-99" in error.advice
    assert "modules_prepare" not in error.advice


def test_kbuilds_warning_of_another_compiler_is_shown_whole(kdir: Path, tmp_path: Path) -> None:
    _, told = built_by(
        kdir,
        tmp_path,
        "printf '%s\\n' 'warning: the compiler differs from the one used to build the kernel' "
        "'  The kernel was built by: gcc-12 A' '  You are using:           gcc-13 B' >&2; "
        f": >{tmp_path}/kmod/page_alloc_bench.ko",
    )
    assert told == [
        "warning: the compiler differs from the one used to build the kernel; The kernel was built "
        "by: gcc-12 A; You are using:           gcc-13 B"
    ]


def test_a_clang_tree_wants_llvm(kdir: Path) -> None:
    config = kdir / "include/config/auto.conf"
    config.write_text(f"CONFIG_MODULES=y\n{CLANG}\n")
    assert "--llvm 1" in toolchain_refusal(kdir, Toolchain(), everything_installed).advice
    for tools in (Toolchain(llvm="1"), Toolchain(cc="clang-14")):
        assert tree.complete_toolchain(tree.probe(kdir), tools, everything_installed) == tools


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the foreign tree is arm64's")
def test_a_foreign_tree_wants_a_cross_compiler(kdir: Path) -> None:
    for name in ("include/generated/autoconf.h", ".config"):
        (kdir / name).write_text("# Linux/arm64 6.1.0 Kernel Configuration\n")
    error = toolchain_refusal(kdir, Toolchain(), everything_installed)
    assert "aarch64-linux-gnu-" in error.advice
    tools = Toolchain(cross_compile="aarch64-linux-gnu-")
    complete = tree.complete_toolchain(tree.probe(kdir), tools, everything_installed)
    assert complete.arch == "arm64"
    assert complete.strip == "aarch64-linux-gnu-strip"


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        ("amd64", "is a name for that which kbuild does not know"),
        ("x64", "is a name for that which kbuild does not know"),
        ("arm64", "asks for another"),
        ("aarch64", "asks for another"),
        ("nonsense", "asks for another"),
    ],
)
def test_an_architecture_that_is_not_the_trees(kdir: Path, arch: str, words: str) -> None:
    error = toolchain_refusal(kdir, Toolchain(arch=arch), everything_installed)
    assert f"is a kernel for x86, and --arch {arch} {words}" in error.message
    assert "leave out --arch" in error.advice
    tools = Toolchain(arch=arch, from_environment=("arch",))
    error = toolchain_refusal(kdir, tools, everything_installed)
    assert f"ARCH={arch} in the environment" in error.message
    assert "unset ARCH" in error.advice


@pytest.mark.parametrize("arch", ["x86", "x86_64", "i386"])
def test_kbuilds_own_names_of_an_architecture_are_taken(kdir: Path, arch: str) -> None:
    tools = tree.complete_toolchain(tree.probe(kdir), Toolchain(arch=arch), everything_installed)
    assert tools.arch == arch


@pytest.mark.parametrize("name", ["ARCH", "CC", "CROSS_COMPILE", "LLVM"])
def test_what_the_environment_has_set_is_named(kdir: Path, name: str) -> None:
    value = {"ARCH": "amd64", "CC": "gcc-99", "CROSS_COMPILE": "none-", "LLVM": "-99"}[name]
    arguments = ["build", "--kdir", str(kdir), "-o", f"{kdir}/bench.run"]
    result = CliRunner(env={name: value}).invoke(cli.main, arguments)
    assert result.exit_code == 3
    assert f"{name}={value} in the environment" in result.stderr
    option = f"--{name.lower().replace('_', '-')}"
    result = CliRunner().invoke(cli.main, [*arguments, option, value])
    assert result.exit_code == 3
    assert "in the environment" not in result.stderr


@pytest.mark.parametrize(
    ("llvm", "strip"),
    [("1", "llvm-strip"), ("-15", "llvm-strip-15"), ("/opt/llvm/bin/", "/opt/llvm/bin/llvm-strip")],
)
def test_llvm_is_understood_as_kbuild_does(llvm: str, strip: str) -> None:
    assert Toolchain(llvm=llvm).strip == strip


def test_kbuild_gets_what_was_asked_for(kdir: Path) -> None:
    tools = Toolchain("1", "arm64", "aarch64-", "clang-14", "-Og")
    command = kbuild.make_command(tree.probe(kdir), tools, Path("/s"), 3)
    assert {"LLVM=1", "ARCH=arm64", "CROSS_COMPILE=aarch64-", "CC=clang-14", "-j3"} <= set(command)
    assert "CONFIG_DEBUG_INFO_BTF_MODULES=" in command
    assert "KCFLAGS=-g0 -Og -ffile-prefix-map=/s=kmod" in command
    assert "KBUILD_MODPOST_WARN=1" not in command


# Failures of make.


def failing_tree(kdir: Path, *complaints: str) -> tree.Tree:
    says = "\n".join(f"\t@echo '{line}' >&2" for line in complaints)
    (kdir / "Makefile").write_text(f"modules:\n{says}\n\t@false\n")
    return tree.probe(kdir)


@pytest.mark.parametrize(
    ("complaint", "advice"),
    [
        ("/bin/sh: 1: gcc-12: not found", "install gcc-12"),
        ("make: gcc-9: No such file or directory", "install gcc-9"),
        ("Makefile:1: /usr/src/common/Makefile: No such file or directory", "rest of its headers"),
        ("x.c:3:10: fatal error: linux/mm.h: No such file or directory", "linux/mm.h is missing"),
        ("gcc: error: unrecognized command-line option -fx", "compiler that built the kernel"),
        ("objtool: /lib/libc.so.6: version `GLIBC_2.38` not found", "modules_prepare"),
        ('ERROR: modpost: "new_symbol" [x.ko] undefined!', "does not export new_symbol"),
        ("/bin/sh: 1: scripts/mod/mk_elfconfig: Permission denied", "chmod"),
        ("something unheard of", "modules_prepare"),
    ],
)
def test_a_failure_shows_the_compilers_words_and_what_to_do(
    kdir: Path, tmp_path: Path, complaint: str, advice: str
) -> None:
    kernel = failing_tree(kdir, complaint.replace("'", ""))
    with pytest.raises(PackagerError) as caught:
        kbuild.build(kernel, Toolchain(), tmp_path, jobs=1, verbose=False, progress=lambda _: None)
    assert complaint.replace("'", "") in caught.value.message
    assert advice in caught.value.advice


def test_a_kernel_that_trims_its_symbols_is_not_to_be_reported(kdir: Path, tmp_path: Path) -> None:
    config = kdir / "include/config/auto.conf"
    config.write_text(config.read_text() + "CONFIG_TRIM_UNUSED_KSYMS=y\n")
    kernel = failing_tree(kdir, 'ERROR: modpost: "a_symbol" [x.ko] undefined!')
    with pytest.raises(PackagerError) as caught:
        kbuild.build(kernel, Toolchain(), tmp_path, jobs=1, verbose=False, progress=lambda _: None)
    assert "list a_symbol in CONFIG_UNUSED_KSYMS_WHITELIST" in caught.value.advice
    assert "report" not in caught.value.advice


HOSTILE = (
    "ARCH", "SUBARCH", "CC", "CFLAGS_MODULE", "CPATH", "C_INCLUDE_PATH", "GNUMAKEFLAGS",
    "MAKEFILES", "KBUILD_EXTRA_SYMBOLS", "KBUILD_OUTPUT", "KCPPFLAGS", "KBUILD_CFLAGS", "O", "M",
    "OBJECT_FILES_NON_STANDARD", "GCC_EXEC_PREFIX", "COMPILER_PATH", "CCACHE_PREFIX", "V", "W", "C",
    "LOCALVERSION", "CONFIG_MODVERSIONS", "SOURCE_DATE_EPOCH", "BASH_ENV", "ENV", "SHELL",
)  # fmt: skip


def test_kbuild_sees_nothing_of_the_environment_but_what_it_needs(
    kdir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in HOSTILE:
        monkeypatch.setenv(name, "hostile")
    for name in ("HOME", "CCACHE_DIR"):
        monkeypatch.setenv(name, "/somewhere")
    (kdir / "Makefile").write_text("modules:\n\t@env >&2; false\n")
    monkeypatch.setenv("MAKEFLAGS", "n")  # make would only say what it would do
    with pytest.raises(PackagerError) as caught:
        kbuild.build(
            tree.probe(kdir), Toolchain(), tmp_path, jobs=1, verbose=False, progress=lambda _: None
        )
    lines = caught.value.message.splitlines()
    seen = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    assert seen["HOME"] == seen["CCACHE_DIR"] == "/somewhere"
    assert seen["LC_ALL"] == "C"
    assert "PATH" in seen
    of_make = {
        "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "MAKE_TERMOUT", "MAKE_TERMERR",
        "M", "PWD", "KCFLAGS", "CONFIG_DEBUG_INFO_BTF_MODULES", "KBUILD_MODPOST_WARN",
    }  # fmt: skip
    allowed = {*kbuild_environment.ALLOWED, "TMPDIR", "LC_ALL"}
    assert set(seen) - of_make <= allowed
    assert "hostile" not in seen.values()


def test_warnings_about_the_kernels_own_headers_are_not_passed_on() -> None:
    sources = Path("/scratch/kmod")
    theirs = (
        "/usr/src/common/include/linux/fs.h:1302:9: warning: attribute ignored [-Wattributes]",
        "/scratch/kmod-of-others/x.c:1:1: warning: unused",
        "warning: pahole version differs from the one used to build the kernel",
    )
    ours = (
        "/scratch/kmod/worker.c:3:4: warning: unused variable",
        'WARNING: modpost: "x" [/scratch/kmod/page_alloc_bench.ko] undefined!',
        "warning: the compiler differs from the one used to build the kernel",
    )
    assert all(kbuild.not_ours(line, sources) for line in theirs)
    assert not any(kbuild.not_ours(line, sources) for line in ours)


def test_sources_are_copied_without_what_a_build_left(tmp_path: Path) -> None:
    kmod = tmp_path / "in"
    kmod.mkdir()
    for name in ("Kbuild", "a.c", "a.h", "a.o", "a.ko", ".a.o.cmd", "a.mod.c", "Module.symvers"):
        (kmod / name).write_text("")
    copied = kbuild.copy_sources(kmod, tmp_path)
    assert sorted(path.name for path in copied.iterdir()) == ["Kbuild", "a.c", "a.h"]


def test_compile_commands_speak_of_the_sources_themselves(kdir: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    for name, source in ((".a.o.cmd", "a.c"), (".b.o.cmd", "b.c"), (".m.mod.o.cmd", "m.mod.c")):
        text = f"savedcmd_{scratch}/x.o := gcc -DX -I{scratch} -c -o {scratch}/x.o {scratch}/"
        (scratch / name).write_text(
            text + source + (" ; objtool x.o\n" if name[1] == "b" else "\n")
        )
    # From 6.14 on every module is linked with a part of the kernel, compiled for it.
    (scratch / ".module-common.o.cmd").write_text(
        "savedcmd_.module-common.o := gcc -c -o .module-common.o /linux/scripts/module-common.c\n"
    )
    # From 6.13 on kbuild works in the module's own directory.
    (scratch / "c.c").touch()
    (scratch / ".c.o.cmd").write_text("savedcmd_c.o := gcc -c -o c.o c.c\n")
    made = json.loads(kbuild.compile_commands(tree.probe(kdir), scratch, Path("/kmod")))
    assert [entry["file"] for entry in made] == ["/kmod/a.c", "/kmod/b.c", "/kmod/c.c"]
    assert made[2]["directory"] == "/kmod"
    assert made[1]["command"] == "gcc -DX -I/kmod -c -o /kmod/x.o /kmod/b.c"
    assert made[0]["directory"] == str(kdir)


# The bundle.


def test_a_bundle_holds_the_runner_and_nothing_else_of_us(plain_bundle: Path) -> None:
    with zipfile.ZipFile(plain_bundle) as archive:
        names = set(archive.namelist())
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
        dates = {entry.date_time for entry in archive.infolist()}
    package = resources.kmod_dir().parent / "bundle/page_alloc_bench"
    runner = {
        f"site-packages/page_alloc_bench/runner/{path.relative_to(package / 'runner')}"
        for path in (package / "runner").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != "launch.py"
    }
    typed = (
        {"site-packages/page_alloc_bench/py.typed"} if (package / "py.typed").exists() else set()
    )
    assert names == runner | typed | {
        "__main__.py",
        "_bootstrap/__init__.py",
        "_bootstrap/environment.py",
        "_bootstrap/filelock.py",
        "_bootstrap/interpreter.py",
        "environment.json",
        "kmod/Kbuild",
        "licenses/GPL-2.0-only.txt",
        "licenses/psutil.txt",
        "licenses/shiv.txt",
        "manifest.json",
        f"modules/{RELEASE}-{MACHINE}/page_alloc_bench.ko",
        "run.sh",
        "site-packages/page_alloc_bench/__init__.py",
        "site-packages/page_alloc_bench/runner/__main__.py",
        "site-packages/x86_64/psutil/__init__.py",
        "site-packages/x86_64/psutil/_common.py",
        "site-packages/x86_64/psutil/_pslinux.py",
        "site-packages/x86_64/psutil/_psutil_linux.abi3.so",
        "stub.crc32",
    }
    assert {name for name, mode in modes.items() if mode == 0o755} == {
        "run.sh",
        "site-packages/x86_64/psutil/_psutil_linux.abi3.so",
    }
    assert set(modes.values()) == {0o755, 0o644}
    assert dates == {(1980, 1, 1, 0, 0, 0)}


def test_two_builds_agree_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make_bundle(tmp_path / "bench.run").read_bytes()
    (tmp_path / "other place").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "other place"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    monkeypatch.setenv("HOME", "/proc/absent")
    monkeypatch.setattr("tempfile.tempdir", None)
    previous = os.umask(0o077)
    try:
        second = make_bundle(tmp_path / "other place" / "another.run").read_bytes()
    finally:
        os.umask(previous)
    assert first == second


def test_a_home_that_is_not_there_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(PackagerError, match=f"{home} does not exist") as caught:
        wheels.psutil_wheel(MACHINE)
    assert "XDG_CACHE_HOME" in caught.value.advice
    assert not home.exists()


def test_a_bundle_does_not_tell_where_it_was_made(tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "bench.run")
    with zipfile.ZipFile(path) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    for secret in (
        str(tmp_path),
        str(Path.cwd()),
        tempfile.gettempdir() + "/tmp",
        "@" + os.uname().nodename,
    ):
        assert secret.encode() not in content + path.read_bytes()


def test_manifest_vouches_for_every_part(plain_bundle: Path) -> None:
    with zipfile.ZipFile(plain_bundle) as archive:
        document = json.loads(archive.read("manifest.json"))
        for part in document["parts"]:
            data = archive.read(part["name"])
            assert (len(data), hashlib.sha256(data).hexdigest()) == (part["size"], part["sha256"])
        assert {part["name"] for part in document["parts"]} | {"manifest.json"} == set(
            archive.namelist()
        )
    assert document["format"] == manifest.FORMAT
    assert document["modules"][0]["release"] == RELEASE


def test_zip_starts_at_a_block_and_other_tools_read_it(plain_bundle: Path) -> None:
    data = plain_bundle.read_bytes()
    assert data.index(b"PK\x03\x04") % bundle.BLOCK == 0
    if shutil.which("unzip"):
        finished = run(["unzip", "-tq", str(plain_bundle)])
        assert (finished.status, finished.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("part", ["stub", "run.sh"])
def test_shellcheck_finds_nothing(part: str, plain_bundle: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    if part == "stub":
        stub = plain_bundle.read_bytes().partition(b"PK\x03\x04")[0]
        script.write_bytes(stub.rstrip(b"\n") + b"\n")
    else:
        with zipfile.ZipFile(plain_bundle) as archive:
            script.write_bytes(archive.read(part))
    finished = run(["shellcheck", "--shell=sh", "--severity=style", str(script)])
    assert finished.stdout == ""


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o755), (0o077, 0o700)])
def test_written_whole_with_the_mode_of_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    target = tmp_path / "bench.run"
    target.write_text("old")
    previous = os.umask(umask)
    try:
        outputs.write(target, b"new", executable=True)
    finally:
        os.umask(previous)
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == mode
    assert [path.name for path in tmp_path.iterdir()] == ["bench.run"]


# psutil's wheel.


def test_a_cached_wheel_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/proc/absent/python")
    wheel = wheels.cache_dir() / "psutil-7.2.2-cp36-abi3-manylinux2010_x86_64.whl"
    wheel.parent.mkdir(parents=True)
    wheel.write_bytes(b"a wheel")
    with pytest.raises(PackagerError):
        wheels.psutil_wheel("x86_64")  # its hash is not one of ours
    requirements = tmp_path / "psutil.txt"
    requirements.write_text(f"psutil==7 --hash=sha256:{hashlib.sha256(b'a wheel').hexdigest()}")
    monkeypatch.setattr(wheels, "REQUIREMENTS", requirements)
    assert wheels.psutil_wheel("x86_64") == wheel


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
        (["build", "-j", "0"], 2, "x>=1"),
        (["vm", "/proc/absent"], 2, "does not exist"),
        (["run", "--kdir", "/proc/absent", "--", "--help"], 3, "no kernel tree"),
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
            "1",
            "arm64",
            "a-",
            "gcc",
            "-g",
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
