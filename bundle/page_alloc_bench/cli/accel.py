# SPDX-License-Identifier: GPL-2.0-only
"""The option that says what runs a guest's CPUs."""

from __future__ import annotations

import click

from page_alloc_bench.targets import accel

ACCEL = click.option(
    "--accel",
    type=click.Choice(accel.CHOICES),
    default="auto",
    show_default=True,
    help="What runs the guests' CPUs: this host's (kvm) if that works, else QEMU (tcg).",
)
