# SPDX-License-Identifier: GPL-2.0-only
"""A comparison on a real host: what refuses it, and what is told before."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from page_alloc_bench.cli import main
from page_alloc_bench.targets.host import shell
from page_alloc_bench.targets.host.shell import Answer
from pretended_host import NEW, OLD, answering_ssh, kexec, local_ssh, of, refused


def test_a_host_that_is_fit_is_restarted() -> None:
    assert refused(of()) == ""


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"users": "eve mallory"}, "others are logged in there (eve mallory)"),
        ({"load": "3.5"}, "its load is 3.5"),
        ({"running": "yes"}, "the module of a run is loaded"),
        ({"root_options": "ro,relatime"}, "its root is mounted read-only"),
        ({"root_errors": "2"}, "2 errors of ext4"),
        ({"secure_boot": "1"}, "Secure Boot is on"),
        ({"lockdown": "integrity"}, "locked down (integrity)"),
        ({"run_is": "ext4"}, "its /run is on ext4: what is put there would stay"),
        ({"run_is": ""}, "its /run is on its root"),
        ({"restart": ""}, "neither systemctl nor reboot"),
        ({"kexec": ""}, "kexec is not installed"),
        ({"kexec_kernel": ""}, "its kernel has no kexec"),
        ({"kexec_disabled": "1"}, "kexec_load_disabled is 1"),
    ],
)
def test_a_host_is_not_restarted(changed: dict[str, str], why: str) -> None:
    said = refused(of(**changed))
    assert said.startswith("box is not restarted:")
    assert why in said


def test_all_reasons_are_told_at_once_and_those_of_use_can_be_accepted() -> None:
    busy = of(users="eve", load="9", kexec_disabled="1")
    said = refused(busy, kexec, "users", "load")
    assert "kexec_load_disabled" in said
    assert "eve" not in said
    assert "--accept users" in refused(busy)
    assert "not one of users, load, run" in refused(busy, kexec, "lockdown")


@pytest.fixture
def a_host(tmp_path: Path) -> str:
    return answering_ssh(tmp_path)


def test_a_script_of_ours_is_not_eaten_by_what_it_starts(tmp_path: Path) -> None:
    with shell.Ssh("box", local_ssh(tmp_path)) as box:
        assert box.run("cat\necho after; exit 3") == Answer(3, "after\n", "")


def test_a_host_that_does_not_answer_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "ssh"
    gone.write_text("#!/bin/sh\necho 'Connection refused' >&2; exit 255\n")
    gone.chmod(0o755)
    done = CliRunner().invoke(main, ["ab", "--host", "box", "--ssh", str(gone), "--base", "a",
                                     "--new", "b"])  # fmt: skip
    assert done.exit_code == 5
    assert "box cannot be reached by ssh: Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--host", "box", "--cpus", "2"], "--cpus is of guests"),
        (["--host", "box", "--exact"], "--exact is of guests"),
        (["--power-hook", "true"], "--power-hook is of a host: give --host too"),
        (["--host", "-oProxyCommand=x"], "is not the name of a host"),
        (
            ["--host", "box"],
            f"'a' is not in /boot of the host with its modules in /lib/modules "
            f"(there are: {OLD.release}, {NEW.release})",
        ),
        (["--host", "box", "--base", OLD.release], f"no bundle has a module for {OLD.release}"),
        (
            ["--host", "box", "--boot", "efi"],
            "it was not booted by EFI: use --boot kexec or --boot grub",
        ),
        (["--host", "box", "--uninstall"], "--uninstall removes all that was installed"),
        (["--host", "box", "v6.1", "v6.2"], "give two revisions, or --base and --new, not both"),
        (["--host", "box", "--tree", "/"], "--tree is of revisions"),
        (["--uninstall"], "--uninstall is of a host: give --host too"),
        (["--host", "box", "--power-hook", "'"], "--power-hook: ': No closing quotation"),
        (
            ["--host", "box", "--console", "no-such-program x"],
            "'no-such-program x' is not a program",
        ),
        (
            ["--host", "box", "--boot", "hook", "--boot-hook", ""],
            "--boot-hook: '' is not a program",
        ),
        (["--host", "box", "--boot", "hook", "--boot-hook", "'"], "--boot-hook: ': No closing"),
        (["--host", "box", "--ssh", "'"], "--ssh: ': No closing quotation"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], why: str, a_host: str) -> None:
    ssh = ["--ssh", a_host] if "--host" in words else []
    done = CliRunner().invoke(main, ["ab", *ssh, "--base", "a", "--new", "b", *words])
    assert done.exit_code == 3
    assert why in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "--boot hook starts kernels of the host's own: name releases of it, or use --boot"),
        (["--cmdline-new", "quiet"], "--boot hook gives kernels no --cmdline-*: use --boot kexec"),
    ],
)
def test_revisions_are_refused_before_they_are_built_where_they_could_not_be_started(
    words: list[str], why: str, a_host: str, tmp_path: Path
) -> None:
    way = ["--boot", "hook", "--boot-hook", "true", "--tree", str(tmp_path), *words]
    done = CliRunner().invoke(main, ["ab", "--host", "box", "--ssh", a_host, "v1", "v2", *way])
    assert done.exit_code == 3
    assert why in " ".join(done.stderr.split())
