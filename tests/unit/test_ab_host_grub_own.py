# SPDX-License-Identifier: GPL-2.0-only
"""Menu entries of GRUB for kernels that were built here: what they boot, and what they leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_alloc_bench.targets.host import grub_menu, grub_own, shell
from page_alloc_bench.targets.host.facts import HostKernel
from page_alloc_bench.targets.host.grub import Grub
from page_alloc_bench.targets.process import UsageError
from pretended_host import NEW, OLD, local_ssh, of

CUSTOM = """\
if [ -f  ${config_directory}/custom.cfg ]; then
  source ${config_directory}/custom.cfg
fi
"""
MENU = f"""\
menuentry 'Newest' --id newest {{
	linux	{NEW.image} root=UUID=1234 ro quiet
	initrd	{NEW.initrd}
}}
submenu 'More' --id more {{
	menuentry 'Linux 6.1' --class os --id old {{
		insmod ext2
		search --no-floppy --fs-uuid --set=root 1234
		echo	'Loading Linux {OLD.release} ...'
		linux	/vmlinuz-{OLD.release} root=UUID=1234 ro quiet
		initrd	/microcode.img /initrd.img-{OLD.release}
	}}
}}
{CUSTOM}"""
MINE = HostKernel(
    "6.13-mine",
    "/boot/page-alloc-bench/6.13-mine/vmlinuz",
    "/boot/page-alloc-bench/6.13-mine/initrd",
)
ENTRY = """\
menuentry 'page-alloc-bench-6.13-mine' --id 'page-alloc-bench-6.13-mine' {
		insmod ext2
		search --no-floppy --fs-uuid --set=root 1234
		linux	/page-alloc-bench/6.13-mine/vmlinuz root=UUID=1234 ro quiet
		initrd	/microcode.img /page-alloc-bench/6.13-mine/initrd
}
"""


def way(tmp_path: Path, menu: str = MENU) -> Grub:
    return Grub(of(grub_config=str(tmp_path / "grub.cfg")), menu)


def test_a_kernel_from_here_is_started_as_the_present_one_is(tmp_path: Path) -> None:
    with shell.Ssh("box", local_ssh(tmp_path)) as box:
        way(tmp_path).prepare(box, [OLD, MINE, NEW])
    text = (tmp_path / "custom.cfg").read_text()
    assert ENTRY in text
    (entry,) = grub_menu.entries(text)
    assert (entry.path, entry.words) == ("page-alloc-bench-6.13-mine", "root=UUID=1234 ro quiet")


@pytest.mark.parametrize("before", [None, "menuentry 'mine' {\n}\n"])
def test_what_others_have_in_the_file_stays_and_ours_goes(
    before: str | None, tmp_path: Path
) -> None:
    file = tmp_path / "custom.cfg"
    if before is not None:
        file.write_text(before)
        file.chmod(0o600)
    with shell.Ssh("box", local_ssh(tmp_path)) as box:
        for _ in range(2):
            way(tmp_path).prepare(box, [OLD, MINE])
            assert file.read_text().startswith(before or "#")
            assert file.read_text().count("menuentry 'page-alloc-bench") == 1
        grub_own.remove(box, way(tmp_path).facts)
    if before:
        assert file.read_text() == before
        assert file.stat().st_mode & 0o777 == 0o600
    else:
        assert not file.exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"ssh", "custom.cfg"}


def test_what_a_killed_one_left_beside_the_file_goes_too(tmp_path: Path) -> None:
    torn = tmp_path / "custom.cfg.page-alloc-bench"
    others = tmp_path / "custom.cfg.new"
    torn.write_text("menuentry")
    others.write_text("menuentry 'mine' {}")
    with shell.Ssh("box", local_ssh(tmp_path)) as box:
        grub_own.remove(box, way(tmp_path).facts)
    assert not torn.exists()
    assert others.exists()


def test_nothing_is_written_for_kernels_of_the_hosts_own(tmp_path: Path) -> None:
    with shell.Ssh("box", local_ssh(tmp_path)) as box:
        way(tmp_path).prepare(box, [OLD, NEW])
        grub_own.remove(box, way(tmp_path).facts)
    assert not (tmp_path / "custom.cfg").exists()


def test_kernels_from_here_need_a_menu_that_reads_more_and_loads_an_initramfs(
    tmp_path: Path,
) -> None:
    assert way(tmp_path).takes_any
    assert not way(tmp_path, MENU.replace(CUSTOM, "")).takes_any
    bare = MENU.replace(f" /initrd.img-{OLD.release}", "")
    why = f"does not load /initrd.img-{OLD.release} once"
    with shell.Ssh("box", local_ssh(tmp_path)) as box, pytest.raises(UsageError, match=why):
        way(tmp_path, bare).prepare(box, [MINE])
    assert not (tmp_path / "custom.cfg").exists()
