# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel came up on a host: another release, or another build, is not measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bundle_maker import make_bundle
from page_alloc_bench.cli import ab_host_kernels, main
from page_alloc_bench.runner.kernel.build_identity import Identity
from page_alloc_bench.targets import bootable
from page_alloc_bench.targets.host import facts
from page_alloc_bench.targets.host.efi import Efi
from page_alloc_bench.targets.host.facts import Facts
from page_alloc_bench.targets.host.grub import Grub
from page_alloc_bench.targets.host.method import Method
from page_alloc_bench.targets.host.shell import Ssh
from page_alloc_bench.targets.process import UsageError
from pretended_host import (
    BUILD_ID,
    NEW,
    OLD,
    VERSION,
    Host,
    answering_ssh,
    kexec,
    local_ssh,
    measured,
    of,
)  # fmt: skip

OTHER = "#2 SMP PREEMPT_DYNAMIC Tue Jan 6 2026"
MENU = f"""\
menuentry 'Linux' --id new {{
	linux {NEW.image} root=/dev/vda1 ro
}}
"""


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ({"version": OTHER}, f"its uname -v is {VERSION}, not {OTHER}"),
        (
            {"version": VERSION, "build_id": "ff" * 10},
            f"its build id is {BUILD_ID}, not {'ff' * 10}",
        ),
    ],
)
def test_another_build_of_the_release_is_told_and_not_measured(
    wanted: Identity, why: str, tmp_path: Path
) -> None:
    host = Host([NEW.release])
    assert measured(host, build=wanted) == (
        "wrong-kernel",
        f"another build of {NEW.release} came up than was asked for: {why}",
    )
    assert not [script for script in host.scripts if "--detach" in script]


@pytest.mark.parametrize(
    "wanted",
    [
        {"version": VERSION, "build_id": BUILD_ID},
        {"version": VERSION},
        {"build_id": BUILD_ID, "version": None},
        {},
    ],
)
def test_the_build_that_was_asked_for_is_measured(wanted: Identity) -> None:
    end, why = measured(Host([NEW.release]), build=wanted)
    assert (end, "/none" in why) == ("infra", True)  # there is no such bundle


def test_a_host_whose_notes_cannot_be_read_is_known_by_its_version() -> None:
    host = Host([NEW.release])
    host.notes = ""
    build: Identity = {"version": VERSION, "build_id": "ff" * 10}
    assert measured(host, build=build)[0] == "infra"
    host = Host([NEW.release])
    host.notes, host.version = "", OTHER
    assert measured(host, build=build)[0] == "wrong-kernel"


def by_efi(known: Facts) -> Method:
    return Efi(known)


def by_grub(known: Facts) -> Method:
    return Grub(known, MENU)


@pytest.mark.parametrize("release", [OLD.release, "6.6.1"])
@pytest.mark.parametrize(
    ("way", "cmdline"),
    [
        (kexec, "root=/dev/vda1 ro quiet mark=1"),
        (by_efi, f"initrd=\\EFI\\page-alloc-bench\\{NEW.release}\\initrd root=/dev/vda1 mark=1"),
        (by_grub, f"BOOT_IMAGE={NEW.image} root=/dev/vda1 ro"),
        (by_grub, f"BOOT_IMAGE=(hd0,gpt2){NEW.image} root=/dev/vda1 ro"),
    ],
)
def test_an_image_of_another_kernel_than_its_name_says_is_told_from_one_that_panics(
    release: str, way: Callable[[Facts], Method], cmdline: str
) -> None:
    """Also where it is an image of the host's default kernel, which any other restart brings."""
    host = Host([release])
    host.cmdline = cmdline
    assert measured(host, words="" if way is by_grub else "mark=1", way=way) == (
        "wrong-kernel",
        f"{release} came up, not {NEW.release}: the image of that name is of {release}",
    )


def test_a_kernel_that_is_neither_this_one_nor_the_default_is_the_wrong_one() -> None:
    host = Host(["6.6.1"])
    host.cmdline = "root=/dev/vdb1"
    assert measured(host) == (
        "wrong-kernel",
        f"6.6.1 came up, not {NEW.release}, and the host's default is {OLD.release}",
    )


def test_what_a_kernel_was_built_as_is_read_from_its_image(tmp_path: Path) -> None:
    boot, modules = tmp_path / "boot", tmp_path / "modules"
    boot.mkdir()
    said = f"6.12.95-amd64 (debian-kernel@lists.debian.org) {VERSION}"
    images = {
        "6.12.95-amd64": bzimage(said),
        # init/version.c: one that is replaced as the kernel is linked stays in it.
        "6.12.95-arm64": b"MZ" + bytes(700) + b"Linux version 6.12.95-arm64 (a@b) (gcc) # SMP\n\0"
        + b"Linux version 6.12.95-arm64 (a@b) (gcc, ld) "
        + VERSION.encode() + b"\n\0Linux version %s (%s)\0",
        "6.12.95-packed": b"MZ" + bytes(700),
    }  # fmt: skip
    for release, content in images.items():
        (boot / f"vmlinuz-{release}").write_bytes(content)
        (modules / release).mkdir(parents=True)
    edits = f"sed 's,/boot/,{boot}/,g; s,/lib/modules,{modules},g'"
    with Ssh("box", local_ssh(tmp_path, edits)) as box:
        found = facts.read(box).kernels
    assert {release: each.version for release, each in found.items()} == {
        "6.12.95-amd64": VERSION,
        "6.12.95-arm64": VERSION,
        "6.12.95-packed": "",
    }
    for release, each in found.items():
        assert bootable.version(boot / f"vmlinuz-{release}") == each.version


def bzimage(said: str) -> bytes:
    """The head of an image: Documentation/arch/x86/boot.rst, kernel_version."""
    head = bytearray(0x1000)
    head[:2], head[0x202:0x206] = b"MZ", b"HdrS"
    head[0x20E:0x210] = (0x400).to_bytes(2, "little")
    head[0x600 : 0x600 + len(said)] = said.encode()
    return bytes(head)


def options(bundle: Path, *bench_options: str) -> dict[str, Any]:
    return {
        "tree": None, "bundles": bundle, "base": NEW.release, "news": (), "aa": True,
        "cmdline_base": "", "cmdline_new": "", "bench_options": bench_options,
    }  # fmt: skip


def test_a_bundle_for_another_build_is_refused_before_any_restart(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "a.run", release=NEW.release, build={"version": OTHER})
    with pytest.raises(UsageError, match="is for another build of 6") as told:
        ab_host_kernels.named(tmp_path, of(), options(bundle))
    assert f"uname -v of that is {OTHER}, and the host's image says {VERSION}" in str(told.value)
    accepted = options(bundle, "--accept", "other-build")
    (base, _new) = ab_host_kernels.named(tmp_path, of(), accepted).values()
    assert base.build(bundle, "x86_64") == {"build_id": None, "version": VERSION, "config": None}


def test_what_comes_up_is_held_against_the_image_and_what_its_module_was_built_for(
    tmp_path: Path,
) -> None:
    build = {"version": VERSION, "build_id": BUILD_ID, "config": "c"}
    bundle = make_bundle(tmp_path / "a.run", release=NEW.release, build=build)
    chosen = ab_host_kernels.named(tmp_path, of(), options(bundle))["base"]
    assert chosen.build(bundle, "x86_64") == build
    assert chosen.about["version"] == VERSION


def test_an_image_that_does_not_say_which_build_it_is_is_told_before(tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    for each in (OLD, NEW):
        make_bundle(bundles / f"{each.release}.run", release=each.release)
    words = ["ab", "--host", "box", "--ssh", answering_ssh(tmp_path), "--bundles", str(bundles)]
    words += ["--base", OLD.release, "--new", NEW.release, "--plan"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.stderr
    unknown = " (its image does not say which build of that it is)"
    assert f"base: {OLD.release}{unknown}\nnew: {NEW.release}\n" in done.stderr
