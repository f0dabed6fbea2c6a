# SPDX-License-Identifier: GPL-2.0-only
"""What people type to get rid of a run in a guest: 10 s later nothing of it is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

BENCH = "/root/bench.run"
OPTIONS = "--iterations 50 --alloc-orders 0 --quiet --output-path none"
EMBEDDED = "PAGE_ALLOC_BENCH_PYTHON=embedded"
WAYS = {
    "own": BENCH,
    "sh": f"sh {BENCH}",
    "python": f"python3 {BENCH}",
    "embedded": f"env {EMBEDDED} {BENCH}",
    "detached": f"{BENCH} --detach",
    "extracted": "/root/out/run.sh",
    "extracted, embedded": f"env {EMBEDDED} /root/out/run.sh",
}
# Run from a file, so that the shell that types is not found by what it types.
KILLED = """
rm -rf /run/page-alloc-bench
cd /root
setsid {start} {options} </dev/null >/root/said 2>&1 &
leader=$!
end=$(($(date +%s) + 120))
until pgrep -x pab-findlimit >/dev/null; do
	[ "$(date +%s)" -lt $end ] || {{ echo "the run did not begin"; cat /root/said; exit; }}
	sleep 0.2
done
{typed}
end=$(($(date +%s) + 10))
while
	left=$(grep ^page_alloc_bench /proc/modules; ls -d /dev/shm/page-alloc-bench.* 2>/dev/null
		ps -e -o comm=,args= | grep -E '^pab-|bench[.]run|/root/ou[t]')
	[ "$left" ] && [ "$(date +%s)" -lt $end ]
do
	sleep 0.2
done
echo "$left"
"""

pytestmark = pytest.mark.seconds(20)


@pytest.fixture(scope="module")
def host(bundle: Path) -> Iterator[Guest]:
    with Guest(kernel="6.1", cpus=2, nodes=1, memory="768M") as guest:
        guest.copy_to(bundle, BENCH)
        guest.run(f"{BENCH} --extract /root/out")
        yield guest


def left(host: Guest, start: str, typed: str) -> str:
    """Type it while a run measures; return what is there of the run 10 s later."""
    script = KILLED.format(start=start, options=OPTIONS, typed=typed)
    host.run("cat >/root/typed.sh", input=script)
    return host.run("sh /root/typed.sh", timeout=PATIENCE_S).stdout.strip()


@pytest.mark.attempt("pkill -9 -f bench.run", "nothing is left after 10 s", "idle, each way")
@pytest.mark.parametrize("way", list(WAYS))
def test_pkill_by_the_name_of_the_bundle(way: str, host: Guest) -> None:
    word = "root/out" if way.startswith("extracted") else "bench.run"
    assert left(host, WAYS[way], f"pkill -9 -f {word}") == ""


@pytest.mark.attempt("{typed}", "nothing is left after 10 s", "idle")
@pytest.mark.parametrize("typed", ["pkill -9 -x python3", "pkill -9 -f page-alloc"])
def test_other_things_that_are_typed(typed: str, host: Guest) -> None:
    assert left(host, WAYS["python"], typed) == ""
