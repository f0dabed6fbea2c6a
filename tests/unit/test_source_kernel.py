# SPDX-License-Identifier: GPL-2.0-only
"""What is decided about kernels built from source before a compiler starts."""

from __future__ import annotations

import pytest

from page_alloc_bench import resources
from page_alloc_bench.targets import kernels, source_kernel

OTHERS = (kernels.SANITIZER, kernels.REBUILT, kernels.OWN)
ROWS = [kernel for kernel in (*kernels.KERNELS, *OTHERS) if kernel.config]


@pytest.mark.parametrize("kernel", ROWS, ids=lambda kernel: kernel.name)
def test_no_row_asks_for_an_option_twice(kernel: kernels.Kernel) -> None:
    lines = source_kernel.read_fragments(kernel.config).splitlines()
    options = [line for line in lines if source_kernel.options_of(line)]
    names = [name for line in options for name in source_kernel.options_of(line)]
    assert len(set(names)) == len(names) > 20
    comments = [line for line in lines if line not in options]
    assert all(line.startswith("# ") for line in comments), comments


def test_every_fragment_is_of_some_row() -> None:
    fragments = {path.stem for path in (resources.templates_dir() / "kernel-config").iterdir()}
    assert fragments == {name for kernel in ROWS for name in kernel.config}


def test_options_that_vanish_are_found() -> None:
    asked = '# a comment\nCONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D="-x"\n'
    whole = '# CONFIG_Z is not set\nCONFIG_A=y\nCONFIG_B=y\nCONFIG_D="-x"\n'
    assert source_kernel.missing_options(asked, whole) == []
    got = '# CONFIG_A is not set\nCONFIG_C=y\nCONFIG_D=""\n'
    missing = ["CONFIG_C=n", "CONFIG_A=y", "CONFIG_B=y", 'CONFIG_D="-x"']
    assert source_kernel.missing_options(asked, got) == missing


def test_the_release_ends_as_the_row_does() -> None:
    row = kernels.lookup("6.12-nonuma")
    assert source_kernel.local_version(row) == 'CONFIG_LOCALVERSION="-nonuma"\n'


def test_the_sanitizers_kernel_is_found_by_name_only() -> None:
    row = kernels.SANITIZER
    assert kernels.lookup("6.12-debug") is row
    assert row not in kernels.KERNELS
    assert row.boots_roots
    assert not kernels.lookup("6.12-nonuma").boots_roots
    asked = source_kernel.options_of(source_kernel.read_fragments(row.config))
    # KASAN vanishes without a word together with this one.
    assert asked["SLUB_TINY"] == "n"
    assert asked["KASAN"] == "y"
