# SPDX-License-Identifier: GPL-2.0-only
"""A run that is killed while it measures an order leaves a valid result of those before."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import big_machine
from page_alloc_bench.analysis import results

# The runner, on a machine whose module does not come back when order 4 is configured.
PROGRAM = """
import sys, time
from pathlib import Path

import big_machine
from fake_device import FakeDevice
from page_alloc_bench.runner.run import keep_so_far
from page_alloc_bench.runner.telling import output


class Hanging(FakeDevice):
    def configure(self, *, order, **other):
        if order == 4:
            print("order 4", flush=True)
            time.sleep(600)
        super().configure(order=order, **other)


tree, path = Path(sys.argv[1]), sys.argv[2]
out = output.open_output(path, lambda _temporary: None)
with big_machine.readings_from(tree):
    big_machine.run(
        tree, Path("/dev/null"), cpu_count=2, timed=100, device_of=Hanging,
        on_case_end=lambda document: keep_so_far(document, out),
    )
"""


def test_a_runner_killed_in_order_4_leaves_order_0(tmp_path: Path) -> None:
    tree, path = big_machine.make_tree(tmp_path / "machine"), tmp_path / "out" / "result.json"
    path.parent.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tree, path],
        env={"PYTHONPATH": ":".join(sys.path)}, stdout=subprocess.PIPE, text=True,
    ) as runner:  # fmt: skip
        assert runner.stdout is not None
        assert runner.stdout.readline() == "order 4\n"
        runner.kill()
    assert [entry.name for entry in path.parent.iterdir()] == ["result.json"]
    document = json.loads(path.read_text())
    ended = document["run"]["ended"]
    assert not document["run"]["complete"]
    assert ended == {"complete": False, "reason": ended["reason"], "exit_code": 137}
    assert "was killed" in ended["reason"]
    loaded = results.load(path)
    measured = {name for name, case in loaded.metrics if case.order == 0}
    assert {"idle_available_bytes", "kernel_page_allocs", "kernel_page_alloc_latencies_ns"} <= (
        measured
    )
    # Idle memory is measured for all orders first; of the antagonist at order 4 there is nothing.
    of_the_next = {name for name, case in loaded.metrics if case.order == 4}
    assert "idle_available_bytes" in of_the_next
    assert not any(name.startswith(("kernel_", "antagon")) for name in of_the_next)
