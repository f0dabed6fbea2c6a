# SPDX-License-Identifier: GPL-2.0-only
"""Compilers and make: what is missing or fails is named, with what to do about it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from page_alloc_bench import cli
from page_alloc_bench.packager import (
    kbuild,
    tree,
)
from page_alloc_bench.packager.compiler import Toolchain
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.runner.bundle_file import kbuild_environment
from ready_trees import ready_tree

CLANG = 'CONFIG_CC_VERSION_TEXT="Debian clang version 14.0.6"'


def everything_installed(_: str) -> str:
    return "/usr/bin/it"


def nothing_installed(_: str) -> None:
    return None


@pytest.fixture
def kdir(tmp_path: Path) -> Path:
    return ready_tree(tmp_path / "linux")


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
    tools = Toolchain(
        llvm="1", arch="arm64", cross_compile="aarch64-", cc="clang-14", kcflags="-Og"
    )
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
