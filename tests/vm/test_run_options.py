# SPDX-License-Identifier: GPL-2.0-only
"""What a user can ask a bundle for besides a run with nothing given, and what is no run at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import by_schema
from page_alloc_bench.targets.guest import Guest
from users_host import bench, traces


@pytest.fixture(scope="module")
def host(guest: Guest, bundle: Path) -> Guest:
    guest.copy_to(bundle, "/home/bench/bench.run", user="bench")
    return guest


def test_latencies_all_times_every_operation_within_a_bounded_sample(host: Guest) -> None:
    options = "--iterations 1 --alloc-orders 0 --latencies all --sample-size 500"
    result = json.loads(bench(host, options).stdout)
    by_schema.hold(result)
    count, timed = result["kernel_page_allocs_order0"][0], result["kernel_page_allocs_timed_order0"]
    # Retries after a failure are not part of the count of those chosen.
    assert timed[0] == pytest.approx(count, rel=0.001)
    assert len(result["kernel_page_alloc_latencies_ns_order0"]) == 500


def test_an_extracted_bundle_runs_the_same_and_keeps_nothing_else(host: Guest) -> None:
    before = traces(host)
    host.run("./bench.run --extract there && test -f there/manifest.json", user="bench")
    # In the ancestor's spelling, and with mappings that are smaller than memory.
    options = "-iterations=1 -alloc-orders=1 -findlimit-mmap-size-gib 1 -latencies=true --verbose"
    done = host.run(f"cd / && sudo /home/bench/there/run.sh {options}", user="bench")
    result = json.loads(done.stdout)
    by_schema.hold(result)
    assert result["run"]["parameters"]["findlimit_mmap_size_gib"] == 1
    assert result["idle_available_bytes_order1"][0] > 1 << 30
    assert "loading modules/" in done.stderr
    host.run("rm -r /home/bench/there")
    assert traces(host) == before


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


def test_a_kernel_that_the_bundle_has_no_module_for(bundle: Path) -> None:
    with Guest("5.10", cpus=1, nodes=1, memory="512M") as other:
        other.copy_to(bundle, "/root/bench.run")
        done = other.run("./bench.run", check=False)
        assert done.returncode == 3
        assert done.stdout == ""
        assert "6.1.0" in done.stderr
        assert other.run("uname -r").stdout.strip() in done.stderr
