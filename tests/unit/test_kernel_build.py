# SPDX-License-Identifier: GPL-2.0-only
"""Configurations that are asked for and held against each other, and how make is run."""

from __future__ import annotations

import gzip
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from page_alloc_bench.campaign import build_cache, kernel_config, kernel_make
from page_alloc_bench.targets.process import TargetError, UsageError
from waiting import eventually

BASE = "CONFIG_MODULES=y\nCONFIG_HZ=250\n# CONFIG_DEBUG_VM is not set\n"


def test_a_file_a_target_or_the_running_kernels_is_the_base(tmp_path: Path) -> None:
    plain, packed = tmp_path / "config", tmp_path / "config.gz"
    plain.write_text(BASE)
    packed.write_bytes(gzip.compress(BASE.encode()))
    assert kernel_config.asked(str(plain)).base == kernel_config.asked(str(packed)).base == BASE
    assert kernel_config.asked(str(plain)).target == ""
    assert kernel_config.asked("defconfig").target == "defconfig"
    assert kernel_config.asked("tinyconfig", [plain], ["LLVM=1"]).fragments == (BASE,)


@pytest.mark.parametrize("wrong", ["absent.txt", "/etc/passwd", "menu"])
def test_what_is_no_configuration_is_told(wrong: str) -> None:
    with pytest.raises(UsageError):
        kernel_config.asked(wrong)


def test_words_for_make_are_assignments() -> None:
    with pytest.raises(UsageError, match="NAME=VALUE"):
        kernel_config.asked("defconfig", (), ["clean"])


def test_the_users_fragments_come_last(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("# CONFIG_TMPFS is not set\n")
    asked = kernel_config.asked("defconfig", [mine])
    assert asked.merged("amd64")[-1] == mine.read_text()
    assert "CONFIG_TMPFS=y" in asked.merged("amd64")[0]


def test_options_that_differ_are_told_with_those_that_one_lacks() -> None:
    new = "CONFIG_MODULES=y\nCONFIG_HZ=100\nCONFIG_NEW=m\n# CONFIG_DEBUG_VM is not set\n"
    found = [(d.symbol, d.base, d.new) for d in kernel_config.differences(BASE, new)]
    assert found == [("HZ", "250", "100"), ("NEW", "absent", "m")]


@pytest.mark.parametrize(
    "symbol", ["DEBUG_VM", "KASAN", "PROVE_LOCKING", "PAGE_OWNER", "INIT_ON_ALLOC_DEFAULT_ON",
               "DEBUG_PAGEALLOC", "DEBUG_LIST"],
)  # fmt: skip
def test_options_for_debugging_that_differ_are_refused(symbol: str) -> None:
    new = BASE.replace("# CONFIG_DEBUG_VM is not set\n", "") + f"CONFIG_{symbol}=y\n"
    with pytest.raises(UsageError, match=f"# CONFIG_{symbol} is not set"):
        kernel_config.require_comparable(BASE, new, ("v1", "mine"))
    kernel_config.require_comparable(new, new, ("v1", "mine"))


def test_an_option_that_the_other_kernel_does_not_know_is_off() -> None:
    without = BASE.replace("# CONFIG_DEBUG_VM is not set\n", "")
    kernel_config.require_comparable(BASE, without, ("v1", "mine"))


def test_what_a_fragment_asks_for_in_vain_is_told(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("CONFIG_HZ=1000\nCONFIG_MODULES=y\n# CONFIG_GONE is not set\n")
    asked = kernel_config.asked("defconfig", [mine])
    assert kernel_config.lost(asked, BASE) == ["CONFIG_HZ=1000"]


LOG = """\
  CC      mm/page_alloc.o
mm/page_alloc.c: In function '__alloc_pages':
mm/page_alloc.c:5623:2: error: 'gpf' undeclared (first use in this function)
make[3]: *** [scripts/Makefile.build:250: mm/page_alloc.o] Error 1
make[2]: *** [scripts/Makefile.build:500: mm] Error 2
make[1]: *** [/x/Makefile:2012: .] Error 2
make: *** [Makefile:238: __sub-make] Error 2
"""


@pytest.mark.parametrize(
    ("log", "why"),
    [
        (LOG, "mm/page_alloc.c:5623:2: error: 'gpf' undeclared (first use in this function)"),
        ("ld: mm/x.o: in function `f':\nx.c:1: undefined reference to `g'\nmake: *** [x] Error 1\n",
         "x.c:1: undefined reference to `g'"),
        ('ERROR: modpost: "f" [x.ko] undefined!\n', 'ERROR: modpost: "f" [x.ko] undefined!'),
        ("make[1]: *** No rule to make target 'certs/x.pem', needed by 'y'.  Stop.\n",
         "make[1]: *** No rule to make target 'certs/x.pem', needed by 'y'.  Stop."),
        ("Killed\n", "Killed"),
        ("", "make: exit status 2"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failed_build_is_what_the_compiler_said(log: str, why: str) -> None:
    assert kernel_make.reason(log, 2) == why


def test_missing_tools_are_told_before_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError, match=r"make, flex, bison.* not installed: apt-get install"):
        kernel_make.compiler_version(())
    with pytest.raises(TargetError, match="clang-17"):
        kernel_make.compiler_version(("LLVM=-17",))


@pytest.mark.parametrize(
    ("word", "package"),
    [
        ("CROSS_COMPILE=aarch64-linux-gnu-", "gcc-aarch64-linux-gnu"),
        ("CC=aarch64-linux-gnu-gcc-12", "gcc-12-aarch64-linux-gnu"),
        ("CROSS_COMPILE=x86_64-linux-gnu-", "gcc-x86-64-linux-gnu"),
        ("CC=gcc-12", "gcc-12"),
        ("LLVM=/opt/llvm/bin/", "clang"),
    ],
)
def test_a_missing_compiler_is_told_by_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, package: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError) as told:
        kernel_make.compiler_version((word,))
    assert f" {package} libelf-dev" in str(told.value)


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ((), ["gcc"]),
        (("CC=ccache gcc-12",), ["ccache", "gcc-12"]),
        (("LLVM=1",), ["clang"]),
        (("LLVM=-15",), ["clang-15"]),
        (("LLVM=/opt/llvm/bin/",), ["/opt/llvm/bin/clang"]),
        (("ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-"), ["aarch64-linux-gnu-gcc"]),
    ],
)
def test_the_compiler_is_the_one_that_kbuild_takes(
    words: tuple[str, ...], command: list[str]
) -> None:
    assert kernel_make.compiler(words) == command


def test_another_tree_configuration_compiler_or_flag_is_another_kernel() -> None:
    one = ("0123456789abcdef", "CONFIG_A=y", "gcc 12", "LOCALVERSION=-x")
    keys = {build_cache.key(*one)}
    for place in range(len(one)):
        keys.add(build_cache.key(*(f"{w}1"[-16:] if n == place else w for n, w in enumerate(one))))
    assert len(keys) == len(one) + 1


# A make that takes its time, as a compiler does.
SLOW = """
import sys
from pathlib import Path
from page_alloc_bench.campaign import kernel_make
kernel_make.run(["sh", "-c", "sleep 300 & echo $! > pids; wait"], Path(sys.argv[1]), Path("log"))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_compiler_outlives_us(tmp_path: Path, number: int) -> None:
    ours = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)], cwd=tmp_path,
                            stderr=subprocess.DEVNULL)  # fmt: skip
    pids = tmp_path / "pids"
    assert eventually(lambda: pids.exists() and pids.read_text().endswith("\n"), 60)
    compiler = int(pids.read_text())
    ours.send_signal(number)
    ours.wait(60)
    assert eventually(lambda: not alive(compiler), 60)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
