# SPDX-License-Identifier: GPL-2.0-only
"""A host that is restarted by EFI's BootNext: what refuses it, and what is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from page_alloc_bench.targets.host import efi, facts, measure, shell
from page_alloc_bench.targets.host.efi import Efi
from page_alloc_bench.targets.host.facts import HostKernel
from page_alloc_bench.targets.host.method import Method
from page_alloc_bench.targets.process import TargetError, UsageError
from pretended_host import NEW, OLD, Host, kexec, local_ssh, of, refused, restarter

SAID = {
    "efi": "64",
    "efi_vars": "rw,nosuid,nodev,noexec,relatime",
    "efibootmgr": "/usr/bin/efibootmgr",
    "efi_esp": "/boot/efi",
    "efi_device": "/dev/vda1",
    "efi_options": "rw,relatime,fmask=0077",
    "efi_disk": "/dev/vda",
    "efi_part": "1",
    "efi_free_kib": "200000",
    "efi_stubs": f"{OLD.release} {NEW.release}",
    "kernel_kib": f"{OLD.release}=40000 {NEW.release}=50000",
}
STATE = """\
BootCurrent: 0001
Timeout: 0 seconds
BootOrder: 0001,0000
Boot0000* UiApp
Boot0001* page-alloc-bench of another
"""


def booted_by_efi(**changed: str) -> facts.Facts:
    return of(**{**SAID, **changed})


def way(known: facts.Facts) -> Method:
    return Efi(known)


def test_a_host_that_was_booted_by_efi_is_restarted() -> None:
    assert refused(booted_by_efi(), way) == ""


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"efi": ""}, "it was not booted by EFI: use --boot kexec or --boot grub"),
        ({"efi": "32"}, "its EFI firmware is of 32 bits: use --boot kexec"),
        ({"efi_vars": ""}, "EFI's variables are not there: mount -t efivarfs"),
        ({"efi_vars": "ro,nosuid"}, "EFI's variables are read-only: mount -o remount,rw"),
        ({"efibootmgr": ""}, "there is no efibootmgr: apt-get install efibootmgr"),
        ({"efi_next": "0003"}, "BootNext is set already (0003): restart it"),
        ({"efi_esp": ""}, "no EFI system partition is on /boot/efi, /efi or /boot: mount it"),
        ({"efi_options": "ro"}, "/boot/efi is read-only: mount -o remount,rw /boot/efi"),
        (
            {"efi_device": "/dev/md0", "efi_part": ""},
            "/boot/efi is on /dev/md0, which is not a partition of a disk: use --boot kexec",
        ),
        ({"efi_stubs": OLD.release}, f"{NEW.release} has no EFI stub (CONFIG_EFI_STUB): use"),
        (
            {"efi_free_kib": "80000"},
            "the copies of the kernels need 89.9 MiB, and /boot/efi has 78.1: make room there",
        ),
        ({"secure_boot": "1"}, "Secure Boot is on there: turn it off"),
    ],
)
def test_efi_is_refused_where_it_cannot_start_a_kernel(changed: dict[str, str], why: str) -> None:
    assert why in refused(booted_by_efi(**changed), way)


def test_a_host_without_efi_is_restarted_otherwise() -> None:
    assert "not booted by EFI" in refused(of(), way)
    assert refused(of(), kexec) == ""


# Keeps boot entries in a file, a line for each, as the tool prints them.
EFIBOOTMGR = """\
#!/bin/sh
state={directory}/state
[ -e $state ] || exit 1
case $2 in
'') cat $state;;
--create-only) echo "Boot0002* $8{more}" >>$state; shift 8; printf '%s\\n' "$@" >{directory}/given;;
--bootnext) echo "BootNext: $3" >>$state;;
--delete-bootnext) sed -i /^BootNext/d $state;;
--bootnum) sed -i "/^Boot$3/d" $state;;
esac
"""


@pytest.fixture(params=["", "\tHD(1,GPT,1-2)/File(x)i.n.i.t.r.d."], ids=["17", "18"])
def state(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What efibootmgr of two versions shows; it is in the directory of a host's programs."""
    tool = tmp_path / "efibootmgr"
    tool.write_text(EFIBOOTMGR.format(directory=tmp_path, more=request.param))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = tmp_path / "state"
    path.write_text(STATE)
    return path


def down_by(state: Path, line: str) -> str:
    """A program that is called as ssh is; what would restart this machine runs a line."""
    program = state.with_name("down")
    program.write_text(f"#!/bin/sh\n{line}\n")
    program.chmod(0o755)
    return local_ssh(state.parent, f"sed 's,systemctl,{program},g'")


def armed(state: Path) -> None:
    with shell.Ssh("box", down_by(state, "true")) as box:
        Efi(booted_by_efi()).restart(box, NEW, "page_alloc_bench.tried=1")


def test_bootnext_names_an_entry_outside_bootorder(state: Path) -> None:
    armed(state)
    said = state.read_text()
    assert said.startswith(STATE)
    assert said.splitlines()[-1] == "BootNext: 0002"
    there = f"\\EFI\\page-alloc-bench\\{NEW.release}\\"
    words = f"initrd={there}initrd root=/dev/vda1 ro quiet page_alloc_bench.tried=1"
    given = ["--loader", f"{there}vmlinuz.efi", "--unicode", words]
    assert state.with_name("given").read_text().splitlines() == given


def test_what_the_firmware_has_taken_leaves_the_variables_as_they_were(state: Path) -> None:
    armed(state)
    state.write_text(state.read_text().replace("BootNext: 0002\n", ""))
    with shell.Ssh("box", local_ssh(state.parent)) as box:
        assert Efi(booted_by_efi()).took(box) is True
    assert state.read_text() == STATE


def test_what_the_firmware_has_not_taken_is_told_and_taken_back(state: Path) -> None:
    armed(state)
    with shell.Ssh("box", local_ssh(state.parent)) as box:
        assert Efi(booted_by_efi()).took(box) is False
    assert state.read_text() == STATE


def test_a_kernel_without_variables_does_not_know_whether_it_was_started_so(state: Path) -> None:
    state.unlink()
    with shell.Ssh("box", local_ssh(state.parent)) as box:
        assert Efi(booted_by_efi()).took(box) is None


def test_an_entry_does_not_outlive_a_restart_that_is_refused(state: Path) -> None:
    with (
        shell.Ssh("box", down_by(state, f"cat {state} >&2; exit 1")) as box,
        pytest.raises(TargetError) as told,
    ):
        Efi(booted_by_efi()).restart(box, NEW, "")
    assert "BootNext: 0002" in str(told.value)
    assert state.read_text() == STATE


def test_an_entry_that_gets_into_bootorder_is_not_used(state: Path) -> None:
    tool = state.with_name("efibootmgr")
    more = "sed -i '/^BootOrder/s/$/,0002/' $state; echo"
    tool.write_text(tool.read_text().replace("--create-only) echo", f"--create-only) {more}"))
    with (
        shell.Ssh("box", down_by(state, f"touch {state}.down")) as box,
        pytest.raises(TargetError, match="by EFI's BootNext failed"),
    ):
        Efi(booted_by_efi()).restart(box, NEW, "")
    assert "BootNext" not in state.read_text()
    assert not Path(f"{state}.down").exists()


def test_the_same_release_that_was_started_otherwise_is_told() -> None:
    host = Host([NEW.release])
    host.cmdline = "root=/dev/vda1 ro quiet"
    wanted = measure.Measurement(NEW, "", Path("/none"), (), 3600, {})
    made = measure.measure(replace(restarter(host), method=Efi(booted_by_efi())), wanted)
    word = f"initrd=\\EFI\\page-alloc-bench\\{NEW.release}\\initrd"
    assert made.end == "panic"
    assert f"{NEW.release} came up without {word} on its command line" in made.reason


def test_what_a_kernel_without_variables_has_left_is_removed_from_the_default_one() -> None:
    host = Host([OLD.release])
    replace(restarter(host), method=Efi(booted_by_efi())).into_default()
    (down,) = [n for n, each in enumerate(host.scripts) if "systemctl reboot" in each]
    assert any("--delete-bootnum" in each for each in host.scripts[down + 1 :])


@pytest.fixture
def kernels(tmp_path: Path) -> tuple[HostKernel, HostKernel]:
    """Two kernels, the second without an initramfs."""
    made = []
    for name, initrd in (("6.1", "initrd"), ("6.12+x", "")):
        (tmp_path / name).write_bytes(b"MZ\0" + name.encode())
        (tmp_path / "initrd").write_text("initrd of all")
        path = str(tmp_path / initrd) if initrd else ""
        made.append(HostKernel(name, str(tmp_path / name), path))
    return made[0], made[1]


@pytest.fixture
def esp(tmp_path: Path) -> Iterator[Path]:
    """An EFI system partition with files of others, which stay."""
    path = tmp_path / "esp"
    (path / "EFI/BOOT").mkdir(parents=True)
    (path / "EFI/BOOT/BOOTX64.EFI").write_text("boot loader")
    before = files(path)
    yield path
    assert {name: files(path)[name] for name in before} == before


def files(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in place.rglob("*")
        if path.is_file()
    }


def test_kernels_are_copied_to_the_system_partition_and_removed(
    esp: Path, kernels: tuple[HostKernel, HostKernel], tmp_path: Path
) -> None:
    known, before = booted_by_efi(efi_esp=str(esp), efi_vars=""), files(esp)
    with shell.Ssh("box", local_ssh(tmp_path)) as box:
        Efi(known).prepare(box, kernels)
        ours = {
            "EFI/page-alloc-bench/6.1/vmlinuz.efi": b"MZ\x006.1",
            "EFI/page-alloc-bench/6.1/initrd": b"initrd of all",
            "EFI/page-alloc-bench/6.12+x/vmlinuz.efi": b"MZ\x006.12+x",
        }
        assert files(esp) == {**before, **ours}
        Efi(known).prepare(box, kernels[:1])
        del ours["EFI/page-alloc-bench/6.12+x/vmlinuz.efi"]
        assert files(esp) == {**before, **ours}
        assert efi.uninstall(box, known) == ["6.1"]
        assert efi.uninstall(box, known) == []
    assert files(esp) == before
    assert not (esp / "EFI/page-alloc-bench").exists()


def test_a_kernel_without_stub_is_refused_before_anything_is_copied(
    esp: Path, kernels: tuple[HostKernel, HostKernel], tmp_path: Path
) -> None:
    Path(kernels[1].image).write_text("ELF")
    with (
        shell.Ssh("box", local_ssh(tmp_path)) as box,
        pytest.raises(UsageError, match=r"6\.12\+x has no EFI stub.*CONFIG_EFI_STUB=y"),
    ):
        Efi(booted_by_efi(efi_esp=str(esp))).prepare(box, kernels)
    assert not (esp / "EFI/page-alloc-bench").exists()


def test_a_kernel_that_cannot_be_copied_leaves_nothing(
    esp: Path, kernels: tuple[HostKernel, HostKernel], tmp_path: Path
) -> None:
    Path(kernels[0].initrd).unlink()
    with (
        shell.Ssh("box", local_ssh(tmp_path)) as box,
        pytest.raises(TargetError, match="make room there"),
    ):
        Efi(booted_by_efi(efi_esp=str(esp))).prepare(box, kernels[:1])
    assert not (esp / "EFI/page-alloc-bench").exists()


def test_uninstall_removes_an_entry_that_a_killed_call_has_left(state: Path, esp: Path) -> None:
    armed(state)
    with shell.Ssh("box", local_ssh(state.parent)) as box:
        assert efi.uninstall(box, booted_by_efi(efi_esp=str(esp))) == []
    assert state.read_text() == STATE
