# SPDX-License-Identifier: GPL-2.0-only
"""Menu entries of GRUB for kernels that were built here: in custom.cfg, beside grub.cfg.

util/grub.d/41_custom.in: grub.cfg reads custom.cfg at each boot, after all entries of its own, so
that none of them changes its number. Each of ours is the entry of the present kernel with another
image and initramfs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from page_alloc_bench.targets.host import grub_menu, install
from page_alloc_bench.targets.host.facts import PATH, Facts, HostKernel
from page_alloc_bench.targets.host.shell import Shell, checked
from page_alloc_bench.targets.process import UsageError

_NAME = "page-alloc-bench"
_BEGIN, _END = f"# {_NAME}: begin", f"# {_NAME}: end"
# What others have in the file stays; where nothing is left, it goes. It is replaced as a whole, by
# a file whose name is ours, which one that was killed may have left.
_SHELL = f"""
new=$at.{_NAME}
rest() {{ [ ! -e "$at" ] || sed '/^{_BEGIN}$/,/^{_END}$/d' "$at"; }}
finish() {{
    if [ -s "$new" ]; then
        [ ! -e "$at" ] || chmod --reference="$at" "$new"
        mv "$new" "$at"
    else rm -f "$new" "$at"; fi && sync
}}
"""
_REMOVE = f"""
rm -f "$new"
grep -qsx '{_BEGIN}' "$at" || exit 0
rest >"$new" && finish
"""


def reads(menu: str) -> bool:
    """Return whether a grub.cfg reads custom.cfg."""
    return bool(re.search(r"^\s*source\s+\S*/custom\.cfg", menu, re.MULTILINE))


def is_ours(kernel: HostKernel) -> bool:
    """Return whether a kernel was installed by us."""
    return kernel.image.startswith(f"{install.PLACE}/")


def path(kernel: HostKernel) -> str:
    """Return the path of a kernel's entry of ours: what grub-reboot takes."""
    return f"{_NAME}-{kernel.release}"


def write(shell: Shell, facts: Facts, menu: str, kernels: Sequence[HostKernel]) -> None:
    """Write entries for those KERNELS that are ours, in the place of earlier ones.

    Raises UsageError where the present kernel's entry does not serve for them, and TargetError.
    """
    ours = dict.fromkeys(each for each in kernels if is_ours(each))
    if not ours:
        return
    text = "".join(_entry(facts, menu, kernel) for kernel in ours)
    block = f"{_BEGIN}\n{text}{_END}\n"
    put = f'{{ rest && cat <<"END-OF-FILE"\n{block}END-OF-FILE\n}} >"$new" && finish'
    checked(shell, f"{_begin(facts)}{put}", "to write menu entries of GRUB")


def remove(shell: Shell, facts: Facts) -> None:
    """Remove all entries of ours. Raises TargetError."""
    if facts["grub_config"]:
        checked(shell, f"{_begin(facts)}{_REMOVE}", "to remove menu entries of GRUB")


def _begin(facts: Facts) -> str:
    place = PurePosixPath(facts["grub_config"]).parent
    return f"{PATH}at={place}/custom.cfg\n{_SHELL}"


def _entry(facts: Facts, menu: str, kernel: HostKernel) -> str:
    present = facts.present
    like = grub_menu.entry_of(menu, present.image, facts["cmdline"])
    assert like is not None, "refused before"
    top = like.image.removesuffix(PurePosixPath(present.image).name)  # /boot, as GRUB sees it
    lines = [line for line in like.body if not re.match(r"\s*echo\b", line)]
    text = "\n".join(lines)
    for old, new in ((present.image, kernel.image), (present.initrd, kernel.initrd)):
        there = top + PurePosixPath(old).name
        given = top + str(PurePosixPath(new).relative_to("/boot"))
        text, count = re.subn(rf"(?<=[\s)]){re.escape(there)}(?=\s|$)", given, text)
        if not old or count != 1:
            raise UsageError(
                f"{facts['grub_config']}: the entry {like.path}, of which those for kernels from "
                f"here are made, does not load {there or 'an initramfs'} once: use --boot kexec"
            )
    return f"menuentry '{path(kernel)}' --id '{path(kernel)}' {{\n{text}\n}}\n"
