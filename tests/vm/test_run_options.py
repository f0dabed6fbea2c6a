# SPDX-License-Identifier: GPL-2.0-only
"""What a user can ask a bundle for besides a run with nothing given, also where nothing runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from page_alloc_bench.targets.guest import Guest
from users_host import bench, traces


@pytest.fixture(scope="module")
def host(guest: Guest, bundle: Path) -> Guest:
    guest.copy_to(bundle, "/home/bench/bench.run", user="bench")
    return guest


def test_keep_keeps_the_scratch_directory_and_names_it(host: Guest) -> None:
    done = bench(host, "--keep --held 100000")
    kept = re.search(r"keeping (\S+)", done.stderr)
    assert kept
    assert host.run(f"stat -c %a {kept[1]} && rm -r {kept[1]}").stdout == "700\n"


def test_the_bundle_tells_about_itself_without_root(host: Guest) -> None:
    listed = host.run("./bench.run --list", user="bench").stdout
    assert "site-packages/x86_64/psutil/" in listed
    assert "page_alloc_bench.ko" in listed
    info = json.loads(host.run("./bench.run --info", user="bench").stdout)
    assert info["modules"][0]["release"] == host.run("uname -r").stdout.strip()
    assert host.run("./bench.run --check", user="bench").returncode == 0
    flip = "cp bench.run bad.run && printf '\\377' | dd of=bad.run bs=1 seek=100000 conv=notrunc"
    bad = host.run(f"{flip} 2>/dev/null; ./bad.run --check; echo $?; rm bad.run", user="bench")
    assert bad.stdout.split()[-1] == "1"
    assert "damaged" in bad.stderr


# What the host or the way out has a part in; tests/unit has what is wrong on every host.
BAD = [
    ("--alloc-orders 11", 2, ["11", "10"]),
    ("--cpus 0,17", 2, ["17"]),
    ("--keep --cpus x", 2, ["x"]),
    ("--output-path /nowhere/out.json", 2, ["/nowhere"]),
    ("--output-path /proc/out.json", 2, ["/proc/out.json"]),
    ("--held 100000", 3, ["--held"]),
]


def test_bad_input_is_one_clear_line_and_changes_nothing(host: Guest) -> None:
    before = traces(host)
    host.run("dmesg --clear")
    for options, code, words in BAD:
        done = bench(host, options)
        errors = [line for line in done.stderr.splitlines() if "error:" in line]
        assert (done.returncode, done.stdout) == (code, ""), (options, done.stderr)
        assert len(errors) == 1, options
        assert all(word in errors[0] for word in words), errors
    assert traces(host) == before
    assert "Killed process" not in host.dmesg()


def test_without_root_it_says_so(host: Guest) -> None:
    done = host.run("./bench.run", user="bench", check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert "root" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_and_version_need_no_root(host: Guest) -> None:
    done = host.run("./bench.run --help && ./bench.run --version", user="bench")
    for option in ("--iterations", "--held", "--thp", "--timeout-s", "--extract", "124"):
        assert option in done.stdout
    assert done.stderr == ""
