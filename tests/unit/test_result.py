# SPDX-License-Identifier: GPL-2.0-only
"""The result document is what its schema says, whole or not."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import by_schema
from page_alloc_bench.runner.kernel import host_facts
from page_alloc_bench.runner.kernel.procfs import difference
from page_alloc_bench.runner.result import document as result
from page_alloc_bench.runner.result import metrics
from page_alloc_bench.runner.result.case import SUFFIX, Case, key, split_key
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS, bucket_floor, trim

# Programs that were written for the first page_alloc_bench find these in every result.
CONTRACTED = (
    "idle_available_bytes",
    "antagonized_available_bytes",
    "kernel_page_allocs",
    "kernel_alloc_failures",
    "kernel_page_allocs_remote",
    "kernel_page_alloc_latencies_ns",
    "kernel_page_free_latencies_ns",
)
ADDED = (
    "kernel_page_allocs_per_second",
    "kernel_page_frees",
    "antagonist_held_bytes",
    "kernel_page_alloc_latency_histogram",
    "kernel_page_free_latency_histogram",
    "kernel_alloc_failure_latencies_ns",
    "kernel_page_alloc_latency_max_ns",
)


def document() -> result.Document:
    """Return a result of this host as a run would begin it."""
    made = result.Document(
        {
            "tool_version": "0",
            "started_at": "2026-01-01T00:00:00Z",
            "boot_id": host_facts.boot_id(),
            "bundle": {},
            "kernel": host_facts.kernel(),
            "machine": host_facts.machine([0]),
            "cpus": [0],
            "seed": 1,
            "parameters": {
                "iterations": 1,
                "alloc_orders": [0],
                "timeout_s": 0.0,
                "latencies": "all",
                "time_one_in": 1,
                "findlimit_mmap_size_gib": 0,
                "held": 1,
                "spread": 1,
                "seed": 1,
                "sample_size": 1,
                "thp": "inherit",
            },
        }
    )
    made.append("idle_available_bytes", 0, 1 << 40)
    made.put("kernel_page_alloc_latencies_ns", 10, [3, 1, 2])
    made.end(complete=True, reason=None, exit_code=0)
    return made


def errors(text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(result.schema())
    return [error.message for error in validator.iter_errors(json.loads(text))]


def test_a_result_says_of_which_boot_it_is() -> None:
    """So that compare can count boots, not runs; uuidgen's form, as the kernel writes it."""
    boot = host_facts.boot_id()
    assert boot is not None
    assert uuid.UUID(boot).version == 4
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(result.schema())


def test_a_result_of_this_host_is_valid() -> None:
    assert errors("".join(document().chunks())) == []


def test_what_is_written_is_what_was_put_in() -> None:
    read = json.loads("".join(document().chunks()))
    assert read["idle_available_bytes_order0"] == [1 << 40]
    assert read["kernel_page_alloc_latencies_ns_order10"] == [3, 1, 2]
    assert read["run"]["complete"] is True


def test_a_result_does_not_begin_with_the_digests_of_files() -> None:
    parts = [{"name": f"file{number}", "size": 1, "sha256": "0"} for number in range(100)]
    bundle = {"parts": parts, "tool": {"version": "1"}}
    written = result.Document({"bundle": bundle, "kernel": {"release": "6.1"}})
    text = "".join(written.chunks())
    assert text.index('"parts"') > max(text.index('"release"'), text.index('"version"'))
    assert json.loads(text)["run"]["bundle"] == bundle
    assert len(text.partition('"parts"')[0].splitlines()) < 20


def test_a_result_cut_short_says_so_and_is_valid() -> None:
    cut = document()
    cut.end(complete=False, reason="stopped by SIGTERM", exit_code=143)
    text = "".join(cut.chunks())
    assert errors(text) == []
    assert json.loads(text)["run"]["complete"] is False


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(surprise_order0=[1]),
        lambda d: d.update(idle_available_bytes=[1]),
        lambda d: d.update(idle_available_bytes_order0=1),
        lambda d: d.update(idle_available_bytes_order0=[1.5]),
        lambda d: d.update(idle_available_bytes_order0=[-1]),
        lambda d: d.pop("run"),
        lambda d: d["run"].pop("complete"),
        lambda d: d["run"].update(surprise=1),
        lambda d: d["run"].update(schema_version=2),
        lambda d: d["run"]["machine"].pop("nodes"),
    ],
)
def test_the_schema_refuses_what_is_no_result(spoil: Any) -> None:
    changed = json.loads("".join(document().chunks()))
    spoil(changed)
    assert errors(json.dumps(changed))


@pytest.mark.parametrize("name", [*CONTRACTED, *ADDED])
def test_the_schema_has_the_metrics_that_users_parse(name: str) -> None:
    assert f"^{name}{SUFFIX}$" in result.schema()["patternProperties"]
    assert metrics.declared(name).contracted is (name in CONTRACTED)


def test_each_metric_has_a_unit_and_says_which_direction_is_good() -> None:
    for name, about in result.schema()["patternProperties"].items():
        assert about["unit"], name
        assert about["better"] in ("higher", "lower", "neither"), name
        assert about["description"].endswith("."), name


def test_names_of_metrics_lead_to_their_order_and_back() -> None:
    assert split_key(key("a_order_of_things", 10)) == ("a_order_of_things", Case(10))
    with pytest.raises(ValueError, match="names no order"):
        split_key("run")


def test_a_histogram_keeps_all_counts_between_edges_that_fit_them() -> None:
    counts = [0] * HIST_BUCKETS
    counts[3], counts[20], counts[21] = 5, 6, 7
    trimmed, edges = trim(counts)
    assert sum(trimmed) == 18
    assert (trimmed[0], trimmed[-1]) == (5, 7)
    assert len(edges) == len(trimmed) + 1
    assert (edges[0], edges[-1]) == (bucket_floor(3), bucket_floor(22))
    assert edges == sorted(set(edges))


def test_a_histogram_of_nothing_is_empty() -> None:
    assert trim([0] * HIST_BUCKETS) == ([], [])


def test_the_last_bucket_has_an_edge_too() -> None:
    counts = [0] * HIST_BUCKETS
    counts[-1] = 1
    assert trim(counts)[1][-1] == 1 << 40


def test_only_what_changed_of_vmstat_is_kept() -> None:
    assert difference({"a": 1, "b": 5, "gone": 1}, {"a": 1, "b": 3, "new": 1}) == {"b": -2}


def test_contracted_names_are_of_the_default_workload_only() -> None:
    made = document()
    made.metrics.clear()
    made.run["parameters"]["workload"] = ["pairs"]
    read = json.loads("".join(made.chunks()))
    assert not [name for name in CONTRACTED if f"{name}_order0" in read]


def test_contracted_names_are_there_whatever_was_measured() -> None:
    """As empty arrays, which what looks at results takes for nothing measured."""
    made = document()
    made.metrics.clear()
    made.append("idle_available_bytes", 0, 5)
    made.end(complete=True, reason=None, exit_code=0)
    read = json.loads("".join(made.chunks()))
    assert read["idle_available_bytes_order0"] == [5]
    for name in CONTRACTED[1:]:
        assert read[f"{name}_order0"] == []
    by_schema.hold(read)
