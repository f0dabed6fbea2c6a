# SPDX-License-Identifier: GPL-2.0-only
"""The manual's target for kdevops, on a host that is one of its inventory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

import fleet_runner
import recorded
from bundle_maker import make_bundle
from manual_examples import example
from sshd_hosts import SshHost, make_keys


@pytest.mark.seconds(30)
@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces with sshds need root")
def test_the_target_for_kdevops_runs_on_its_inventory(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    (tmp_path / "bundles").mkdir()
    source = fleet_runner.source(recorded.BASE)
    make_bundle(tmp_path / "bundles/x.run", source, release=platform.release())
    (tmp_path / "Makefile").write_text(example("fleet", "page-alloc-bench:"))
    host = SshHost("node", tmp_path / "at", keys, ("result-0",))
    (tmp_path / "hosts").write_text(
        f"[baseline]\nnode ansible_port={host.port} ansible_user=root ansible_host=127.0.0.1 "
        f"ansible_ssh_private_key_file={keys}/user ansible_ssh_common_args='-o "
        "UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no'\n"
    )
    beside = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    try:
        done = subprocess.run(
            ["make", "page-alloc-bench", "KERNEL=6.1"], cwd=tmp_path, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, env={**os.environ, "PATH": beside},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "node  ok" in done.stdout
        assert host.left() == []
    finally:
        host.end()
    assert "--label kernel=6.1" in (tmp_path / "fleet-6.1/log/node.log").read_text()
    assert len(list((tmp_path / "results/runs").rglob("*.parquet"))) == 1
