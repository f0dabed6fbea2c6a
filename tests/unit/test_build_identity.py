# SPDX-License-Identifier: GPL-2.0-only
"""Which build of a kernel a tree is of, and whether it is the one that runs."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from page_alloc_bench.runner.kernel import build_identity
from page_alloc_bench.runner.kernel.build_identity import Identity

DEBIAN = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)"
CONFIG = 'CONFIG_SMP=y\nCONFIG_HZ=250\nCONFIG_FUSE_FS=m\nCONFIG_LOCALVERSION="-x"\n'


def note(name: bytes, kind: int, content: bytes, order: str = "<") -> bytes:
    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % 4)

    head = struct.pack(f"{order}III", len(name) + 1, len(content), kind)
    return head + padded(name + b"\0") + padded(content)


XEN = note(b"Xen", 6, b"linux\0")
BUILD_ID = bytes(range(20))


def elf(notes: bytes, *, bits: int = 64, order: str = "<", kind: int = 7) -> bytes:
    """An ELF file with one section, of notes unless kind says otherwise."""
    names = b"\0.notes\0.shstrtab\0"
    wide = bits == 64
    size, row = (64, 64) if wide else (52, 40)
    first, last = ("QQQ", "QQQQ") if wide else ("III", "IIII")
    ident = bytes([0x7F, *b"ELF", 2 if wide else 1, 1 if order == "<" else 2, 1]).ljust(16, b"\0")
    table = size + len(notes) + len(names)
    head = ident + struct.pack(
        f"{order}HHI{first}IHHHHHH", 2, 62, 1, 0, 0, table, 0, size, 0, 0, row, 3, 2
    )

    def section(name: int, kind: int, offset: int, length: int) -> bytes:
        fields = struct.pack(f"{order}II{last}", name, kind, 0, 0, offset, length) + bytes(row)
        return fields[:row]

    sections = section(0, 0, 0, 0) + section(1, kind, size, len(notes))
    sections += section(8, 3, size + len(notes), len(names))
    return head + notes + names + sections


def tree(top: Path, **files: bytes | str) -> Path:
    """A kernel tree with these files."""
    places = {
        "vmlinux": "vmlinux",
        "utsversion": "include/generated/utsversion.h",
        "compile": "include/generated/compile.h",
        "auto": "include/config/auto.conf",
        "config": ".config",
    }
    for name, content in files.items():
        path = top / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return top


def of(top: Path) -> Identity:
    return build_identity.of_tree(str(top))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_vmlinux_tells_its_build_id(tmp_path: Path, bits: int, order: str) -> None:
    notes = note(b"Xen", 6, b"linux\0", order) + note(b"GNU", 3, BUILD_ID, order)
    tree(tmp_path, vmlinux=elf(notes, bits=bits, order=order))
    assert of(tmp_path)["build_id"] == BUILD_ID.hex()


def test_what_a_linker_writes_is_read(tmp_path: Path) -> None:
    source = tmp_path / "x.c"
    source.write_text("int main(void) { return 0; }\n")
    command = ["gcc", "-Wl,--build-id=0x0123abcd", "-o", "vmlinux", "x.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert of(tmp_path)["build_id"] == "0123abcd"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF",
        b"not an ELF file" * 100,
        elf(XEN),
        elf(note(b"GNU", 3, BUILD_ID), kind=1),  # a section with other content
        elf(note(b"GNU", 3, BUILD_ID))[:-70],
        elf(note(b"GNU", 1, BUILD_ID)),
        elf(note(b"GNU", 3, BUILD_ID)[:14]),
    ],
    ids=["empty", "header", "text", "no id", "types only", "cut", "another note", "cut note"],
)
def test_a_vmlinux_without_one_tells_nothing(tmp_path: Path, content: bytes) -> None:
    tree(tmp_path, vmlinux=content)
    assert of(tmp_path)["build_id"] is None


def test_the_version_is_where_kbuild_writes_it(tmp_path: Path) -> None:
    old = tree(
        tmp_path / "5.10", compile=f'#define UTS_MACHINE "x"\n#define UTS_VERSION "{DEBIAN}"'
    )
    new = tree(
        tmp_path / "6.1",
        compile='#define LINUX_COMPILER "gcc"\n',
        utsversion=f'#define UTS_VERSION "{DEBIAN}"\n',
    )
    assert [of(top)["version"] for top in (old, new)] == [DEBIAN, DEBIAN]
    assert of(tmp_path) == {"build_id": None, "version": None, "config": None}


def test_the_running_kernel_is_read_from_sys(tmp_path: Path) -> None:
    path = tmp_path / "sys/kernel/notes"
    path.parent.mkdir(parents=True)
    path.write_bytes(XEN + note(b"GNU", 3, BUILD_ID) + note(b"Linux", 0x101, b"\1\0\0\0"))
    running = build_identity.of_running(DEBIAN, CONFIG, str(tmp_path))
    assert running["build_id"] == BUILD_ID.hex()
    assert running["version"] == DEBIAN
    assert running["config"] == of(tree(tmp_path / "tree", config=CONFIG))["config"]


def config(tmp_path: Path, text: str) -> str | None:
    return build_identity.of_running("", text, str(tmp_path))["config"]


@pytest.mark.parametrize(
    "line",
    [
        'CONFIG_BUILD_SALT="6.1.0-56-cloud-amd64"',
        'CONFIG_MODULE_SIG_KEY="output/signing_key.pem"',
        "CONFIG_MODULE_SIG_ALL=y",
        'CONFIG_CC_VERSION_TEXT="gcc-12 (Debian 12.2.0-14) 12.2.0"',
        "CONFIG_GCC_VERSION=120200",
        "CONFIG_AS_AVX512=y",
        "CONFIG_PAHOLE_VERSION=124",
        "# CONFIG_KASAN is not set",
        "# Linux/x86 6.1.192 Kernel Configuration",
    ],
)
def test_a_configuration_that_shapes_no_code_is_the_same(tmp_path: Path, line: str) -> None:
    assert config(tmp_path, f"{line}\n{CONFIG}") == config(tmp_path, CONFIG)


@pytest.mark.parametrize(
    "line", ["CONFIG_NUMA=y", "CONFIG_KASAN=m", "CONFIG_NODES_SHIFT=10", "CONFIG_START=0x1000"]
)
def test_a_configuration_that_shapes_code_is_another(tmp_path: Path, line: str) -> None:
    assert config(tmp_path, f"{CONFIG}{line}\n") != config(tmp_path, CONFIG)


def test_the_order_of_options_is_of_no_matter(tmp_path: Path) -> None:
    other = "".join(reversed(CONFIG.splitlines(keepends=True)))
    assert config(tmp_path, other) == config(tmp_path, CONFIG)


def known(build_id: str | None, version: str | None, config: str | None) -> Identity:
    return {"build_id": build_id, "version": version, "config": config}


ME = known("aa", "#1 Mon", "c1")


@pytest.mark.parametrize(
    ("built", "same", "by"),
    [
        (ME, True, "build_id"),
        (known("bb", "#1 Mon", "c1"), False, "build_id"),
        # A build id decides, whatever else is said: utsversion.h may be newer than vmlinux.
        (known("aa", "#2 Tue", "c2"), True, "build_id"),
        (known(None, "#1 Mon", "c1"), True, "version"),
        (known(None, "#1 Mon", None), True, "version"),
        (known(None, "#2 Mon", "c1"), False, "version"),
        (known(None, "#1 Tue", None), False, "version"),
        # A tree that writes the same version into each build.
        (known(None, "#1 Mon", "c2"), None, "config"),
        (known(None, None, "c2"), False, "config"),
        (known(None, None, "c1"), None, "config"),
        (known(None, None, None), None, None),
    ],
)
def test_the_best_evidence_decides(built: Identity, same: bool | None, by: str | None) -> None:
    verdict = build_identity.compare(built, ME)
    assert (verdict.same, verdict.by) == (same, by)


def test_a_kernel_that_hides_its_notes_is_known_by_its_version() -> None:
    running = known(None, "#1 Mon", "c1")
    assert build_identity.compare(ME, running).same is True
    assert build_identity.compare(known("aa", "#2 Mon", "c1"), running).by == "version"
