# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's tables are read right, on machines larger than the one at hand too."""

from __future__ import annotations

from pathlib import Path

import pytest

from page_alloc_bench.runner.kernel import host_facts, page_types, procfs, watermarks


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,8\n", [0, 1, 2, 3, 8]), ("", []), ("5", [5]), ("10,2", [2, 10]), ("0-0", [0])],
)
def test_lists_are_read_as_the_kernel_writes_them(text: str, numbers: list[int]) -> None:
    assert procfs.parse_list(text) == numbers


@pytest.mark.parametrize("text", ["-1", "1-", "a", "3-1", "1 2", "0x1", "\u00b2"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"list|end is before its start"):
        procfs.parse_list(text)


def test_lists_are_written_as_the_kernel_does() -> None:
    assert procfs.format_list([8, 0, 1, 3, 2, 3]) == "0-3,8"
    assert procfs.format_list([]) == ""


def test_meminfo_of_the_machine_and_of_a_node_are_in_bytes() -> None:
    text = "MemTotal:       16 kB\nHugePages_Total:       3\n"
    assert procfs.parse_meminfo(text) == {"MemTotal": 16384, "HugePages_Total": 3}
    assert procfs.parse_meminfo("Node 10 MemTotal:      16 kB\n") == {"MemTotal": 16384}


def test_buddyinfo_keeps_zones_of_nodes_apart() -> None:
    text = "Node 0, zone      DMA      1      0\nNode 10, zone   Normal      2      7\n"
    assert procfs.parse_buddyinfo(text) == {"node 0 DMA": [1, 0], "node 10 Normal": [2, 7]}


TYPES = """\
Page block order: 9
Pages per block:  512

Free pages count per migrate type at order       0      1      2
Node    0, zone      DMA, type    Unmovable      0      0      0
Node    0, zone      DMA, type      Movable      0      0      3
Node   10, zone   Normal, type    Unmovable     30      4      1
Node   10, zone   Normal, type      Movable >100000     70      2
Node   10, zone  Movable, type      Movable      0      0      0

Number of blocks type     Unmovable      Movable  Reclaimable
Node 0, zone      DMA            1            7            0
Node 10, zone   Normal            9          490            3
Node 10, zone  Movable            0            0            0

Number of mixed blocks    Unmovable      Movable  Reclaimable
Node 0, zone      DMA            5            5            5
"""


def test_free_blocks_are_told_by_migratetype() -> None:
    """What the kernel did not count is not a number; blocks that are mixed are something else."""
    assert page_types.parse(TYPES.splitlines(keepends=True)) == [
        {
            "zone": "node 0 zone DMA",
            "free": {"Movable": [0, 0, 3]},
            "pageblocks": {"Unmovable": 1, "Movable": 7},
        },
        {
            "zone": "node 10 zone Normal",
            "free": {"Unmovable": [30, 4, 1], "Movable": [None, 70, 2]},
            "pageblocks": {"Unmovable": 9, "Movable": 490, "Reclaimable": 3},
        },
    ]


def test_nodes_from_ten_on_come_in_the_order_of_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):
        directory = tmp_path / f"node{number}"
        directory.mkdir()
        (directory / "cpulist").write_text("" if number == 11 else f"{number}\n")
        (directory / "meminfo").write_text(f"Node {number} MemTotal: {number} kB\n")
        (directory / "distance").write_text("10 20\n")
    (tmp_path / "online").write_text("0-11\n")
    monkeypatch.setattr(procfs, "NODES", str(tmp_path))
    found = host_facts.nodes()
    assert [(node["node"], node["memory_bytes"]) for node in found] == [
        (n, n * 1024) for n in range(12)
    ]
    assert host_facts.node_of_cpu() == {str(n): n for n in range(11)}  # node 11 has memory alone


def test_config_tells_what_is_not_set_from_what_is_not_known() -> None:
    options = host_facts.parse_config("CONFIG_KASAN=y\n# CONFIG_KFENCE is not set\nCONFIG_HZ=250\n")
    assert (options["KASAN"], options["KFENCE"], options["HZ"]) == ("y", "n", "250")


def test_a_kernel_without_readable_config_is_null_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(host_facts, "read_config", refuse)
    found = host_facts.config("1.2.3")
    assert found["options"] is None
    assert "/boot/config-1.2.3" in found["reason"]


def test_the_choice_of_a_setting_is_what_stands_in_brackets() -> None:
    assert host_facts.chosen("always [madvise] never") == "madvise"
    assert host_facts.chosen("2097152") == "2097152"


def test_the_configuration_of_the_tree_stands_in_for_one_that_the_host_lacks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(host_facts, "read_config", refuse)
    built = host_facts.describe_config("CONFIG_KASAN=y\n")
    found = host_facts.config("1.2.3", built)
    assert (found["path"], found["reason"]) == ("bundle", None)
    assert found["sha256"] == built["sha256"]
    assert found["options"]["KASAN"] == "y"


def test_a_device_tree_tells_of_a_hypervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_facts, "DEVICE_TREE", str(tmp_path))
    assert host_facts.hypervisor_in_device_tree() is None
    (tmp_path / "memory@40000000").mkdir()
    assert host_facts.hypervisor_in_device_tree() is None
    (tmp_path / "fw-cfg@9020000").mkdir()
    assert host_facts.hypervisor_in_device_tree() == "QEMU"
    (tmp_path / "hypervisor").mkdir()
    (tmp_path / "hypervisor/compatible").write_bytes(b"xen,xen-4.17\0xen,xen\0")
    assert host_facts.hypervisor_in_device_tree() == "xen,xen-4.17"
    monkeypatch.setattr(host_facts, "DEVICE_TREE", str(tmp_path / "none"))
    assert host_facts.hypervisor_in_device_tree() is None


def test_the_largest_order_is_the_last_of_buddyinfo(monkeypatch: pytest.MonkeyPatch) -> None:
    row = "Node 0, zone   Normal" + "      1" * 11 + "\n"
    monkeypatch.setattr(procfs, "read", {"/proc/buddyinfo": row}.__getitem__)
    assert procfs.largest_order() == 10


def test_modules_that_taint_the_kernel_are_named(tmp_path: Path) -> None:
    for name, taint in (("ext4", "\n"), ("nvidia", "POE\n"), ("built_in", None)):
        directory = tmp_path / "sys/module" / name
        directory.mkdir(parents=True)
        if taint is not None:
            (directory / "taint").write_text(taint)
    assert host_facts.tainting_modules(str(tmp_path)) == ["nvidia"]
    assert host_facts.tainting_modules(str(tmp_path / "nowhere")) == []


ZONEINFO = """\
Node 0, zone      DMA
  pages free     1000
{boost}        min      700
        low      800
        high     900
  pagesets
    cpu: 0
              count:    5
              high:     77
              high_min: 60
Node 0, zone    DMA32
  pages free     20000
        boost    0
        min      5000
        low      6250
        high     7500
"""


@pytest.mark.parametrize(
    ("boost", "found"),
    # Some kernels do not tell the boost: it is then taken for what is always kept.
    [("        boost    600\n", (5100, 7800, 11700)), ("", (5700, 8400, 12600))],
)
def test_watermarks_are_told_without_what_they_have_risen_by(
    boost: str, found: tuple[int, int, int], tmp_path: Path
) -> None:
    (tmp_path / "proc/sys/vm").mkdir(parents=True)
    (tmp_path / "proc/zoneinfo").write_text(ZONEINFO.format(boost=boost))
    (tmp_path / "proc/sys/vm/watermark_boost_factor").write_text("15000\n")
    assert watermarks.read(str(tmp_path)) == found
    (tmp_path / "proc/sys/vm/watermark_boost_factor").unlink()
    assert watermarks.read(str(tmp_path)) == (*found[:2], 0)
