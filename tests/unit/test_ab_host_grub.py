# SPDX-License-Identifier: GPL-2.0-only
"""A host that is restarted by GRUB's one-shot entry: what refuses it, and what is left of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_alloc_bench.targets.host import facts, grub_menu, shell
from page_alloc_bench.targets.host.grub import Grub
from page_alloc_bench.targets.host.method import Method
from page_alloc_bench.targets.process import TargetError
from pretended_host import NEW, OLD, kexec, local_ssh, of, refused

MENU = f"""\
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
fi
function gfxmode {{
	set gfxpayload="${{1}}"
}}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-1234' {{
	linux	{NEW.image} root=UUID=1234 ro quiet
	initrd	{NEW.initrd}
}}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-1234' {{
	menuentry 'Linux 6.1 (recovery mode)' $menuentry_id_option 'gnulinux-6.1-recovery-1234' {{
		linux	{OLD.image} root=UUID=1234 ro single
	}}
	menuentry 'Linux 6.1' --class os $menuentry_id_option 'gnulinux-6.1-advanced-1234' {{
		insmod ext2
		linux	/vmlinuz-{OLD.release} root=UUID=1234 ro quiet
		initrd	{OLD.initrd}
	}}
}}
menuentry 'Memory test' {{
	linux16	/boot/memtest86+x64.bin
}}
"""


OTHER_SYSTEM = f"""\
menuentry 'Another system on this disk' --id other {{
	linux	{NEW.image} root=/dev/sdb1 ro
}}
"""


def grub(known: facts.Facts) -> Method:
    return Grub(known, MENU)


def test_a_host_whose_grub_can_write_is_restarted() -> None:
    assert refused(of(), grub) == ""


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"grub_fs": "ext2", "grub_abstraction": "lvm"}, "ext2 on lvm"),
        ({"grub_fs": "ext2", "grub_abstraction": "diskfilter mdraid1x"}, "on diskfilter mdraid1x"),
        ({"grub_fs": "btrfs"}, "which is on btrfs"),
        ({"grub_fs": "zfs"}, "which is on zfs"),
        ({"grub_fs": ""}, "an unknown file system"),
        ({"grub_next": "next_entry=other"}, "a one-shot entry is set already (other)"),
        ({"grub_config": ""}, "there is no grub.cfg"),
        ({"grub_editenv": ""}, "there is no grub-editenv"),
        ({"grub_probe": ""}, "there is no grub-probe"),
        ({"grub_env": ""}, "there is no grubenv"),
    ],
)
def test_grub_is_refused_where_its_one_shot_entry_would_stay(
    changed: dict[str, str], why: str
) -> None:
    said = refused(of(**changed), grub)
    assert why in said
    assert refused(of(**changed), kexec) == ""


def test_grub_is_refused_where_its_menu_cannot_do_it() -> None:
    old = MENU.replace("next_entry", "saved_entry")
    assert "knows no one-shot entry" in refused(of(), lambda known: Grub(known, old))
    less = MENU.replace(f"/vmlinuz-{OLD.release}", "/vmlinuz-5.10")
    said = refused(of(), lambda known: Grub(known, less))
    assert f"no menu entry of GRUB boots {OLD.release}" in said
    assert NEW.release not in said


def test_a_menu_entry_is_found_by_the_kernel_it_boots_and_never_one_for_recovery() -> None:
    def path(image: str, cmdline: str = "root=UUID=1234 ro") -> str | None:
        found = grub_menu.entry_of(MENU + OTHER_SYSTEM, image, cmdline)
        return found.path if found else None

    assert path(NEW.image) == "gnulinux-simple-1234"
    assert path(NEW.image, "quiet root=/dev/sdb1") == "other"
    assert path(OLD.image) == "gnulinux-advanced-1234>gnulinux-6.1-advanced-1234"
    assert path("/boot/vmlinuz-6.1") is None


# Keeps an environment in a file as GRUB's own tool does, a line for each variable.
EDITENV = """\
#!/bin/sh
case $2 in
list) cat "$1";;
set) sed -i "/^${3%%=*}=/d" "$1"; echo "$3" >>"$1";;
unset) sed -i "/^$3=/d" "$1";;
esac
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    (tmp_path / "grub-editenv").write_text(EDITENV)
    (tmp_path / "grub-editenv").chmod(0o755)
    path = tmp_path / "grubenv"
    path.write_text("saved_entry=old\n")
    return path


def way(environment: Path, **more: str) -> Grub:
    tool = str(environment.with_name("grub-editenv"))
    return Grub(of(grub_editenv=tool, grub_env=str(environment), **more), MENU)


@pytest.mark.parametrize("had", ["", "next_entry=\n"])
def test_an_entry_that_grub_has_taken_leaves_its_environment_as_it_was(
    had: str, environment: Path, tmp_path: Path
) -> None:
    environment.write_text(f"saved_entry=old\n{had}")
    before = environment.read_text()
    with shell.Ssh("box", local_ssh(tmp_path)) as box:
        environment.write_text("saved_entry=old\nnext_entry=\n")  # as GRUB leaves it
        assert way(environment, grub_next=had.strip()).took(box) is True
    assert environment.read_text() == before


def test_an_entry_that_grub_has_not_taken_is_told_and_taken_back(
    environment: Path, tmp_path: Path
) -> None:
    before = environment.read_text()
    with shell.Ssh("box", local_ssh(tmp_path)) as box:
        environment.write_text(f"{before}next_entry=gnulinux-simple-1234\n")
        assert way(environment).took(box) is False
    assert environment.read_text() == before


def test_an_entry_does_not_outlive_a_restart_that_is_refused(
    environment: Path, tmp_path: Path
) -> None:
    """What would restart this machine says what is armed then, and fails."""
    before = environment.read_text()
    refuse = tmp_path / "refuse"
    refuse.write_text(f"#!/bin/sh\ncat {environment} >&2; exit 1\n")
    refuse.chmod(0o755)
    ssh = local_ssh(tmp_path, f"sed 's,systemctl,{refuse},g'")
    with shell.Ssh("box", ssh) as box, pytest.raises(TargetError) as told:
        way(environment).restart(box, NEW, "")
    assert "next_entry=gnulinux-simple-1234" in str(told.value)
    assert environment.read_text() == before
