# SPDX-License-Identifier: GPL-2.0-only
"""What can be told of a run in a guest before a guest is booted for it.

A bundle is read here and never started: it may be a stranger's, which is what guests are for.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path

from page_alloc_bench.packager.errors import NOT_FIT, PackagerError
from page_alloc_bench.runner.bundle_file.archive import Archive, ArchiveError
from page_alloc_bench.runner.kernel import build_identity, cgroup, procfs
from page_alloc_bench.runner.kernel.build_identity import Identity
from page_alloc_bench.runner.options import Options, parse
from page_alloc_bench.runner.preflight.loading import OtherBuild
from page_alloc_bench.runner.result import units
from page_alloc_bench.targets import bench_options, kernels
from page_alloc_bench.targets.kernels import FetchedKernel
from page_alloc_bench.targets.machine import Machine
from page_alloc_bench.targets.process import UsageError

_MACHINE = "x86_64"  # of all guests that have a root, as uname -m says it
_ON_THE_BUNDLE = "looks at the bundle and needs no guest: give it to the bundle itself, here"
_AFTER_A_RUN = "is about a run that goes on, and a new guest has none"
# What a run in a throwaway guest cannot be asked for, and why.
_REFUSED = {
    "list": _ON_THE_BUNDLE,
    "check": _ON_THE_BUNDLE,
    "info": _ON_THE_BUNDLE,
    "extract": _ON_THE_BUNDLE,
    "attach": _AFTER_A_RUN,
    "status": _AFTER_A_RUN,
    "stop": _AFTER_A_RUN,
    "detach": "leaves a run behind, and the guest is removed as soon as the command returns; "
    "leave it out",
    "build_on_target": "needs the kernel's headers and a compiler, which the guest does not have; "
    "build for its kernel: page-alloc-bench build --kernel NAME",
    "output_path": "is a path in the guest, which is removed after the run; use "
    "page-alloc-bench vm -o FILE",
}


def open_bundle(path: Path) -> Archive:
    """Open the bundle PATH and read its manifest; raises UsageError where it is none."""
    make = "make one with: page-alloc-bench build"
    if not path.is_file():
        raise UsageError(f"{path}: no such bundle; {make}")
    try:
        archive = Archive(path)
        archive.manifest()
    except ArchiveError as error:
        raise UsageError(f"{error}; {make}") from error
    return archive


def check_options(bundle: Archive, words: Sequence[str], machine: Machine) -> None:
    """Raise UsageError for options of the benchmark that cannot work on MACHINE.

    Ends the process as the runner does, with its words: for --help and --version, and with 2 for
    options that it does not know. A BUNDLE of another version knows its options itself.
    """
    if bench_options.is_of_this_version(bundle):
        check_own_options(words, machine)
    else:
        _refuse(bench_options.names(words))


def check_own_options(words: Sequence[str], machine: Machine) -> None:
    """Do as check_options() for a bundle of this version, such as one that is yet to be built."""
    options = parse(list(words))
    _check_values(options, machine)
    _refuse({name for name in _REFUSED if getattr(options, name) not in (None, False)})


def _refuse(given: Set[str]) -> None:
    for name, why in _REFUSED.items():
        if name in given:
            raise UsageError(f"--{name.replace('_', '-')} {why}")


def _check_values(options: Options, machine: Machine) -> None:
    bench_options.check_guest(options, machine, "vm --cpus N, before the --, gives it more")
    bench_options.check_size(options, machine, "vm --mem")


def check_memory(machine: Machine) -> None:
    """Raise UsageError where this host has not the memory of MACHINE, all of which a run fills."""
    available = procfs.meminfo().get("MemAvailable", 0)
    group = cgroup.own()
    limit = group.limit_bytes() if group else None
    if limit is not None and group is not None:
        available = min(available, limit - (group.usage_bytes() or 0))
    wanted = machine.memory_mib << 20
    if wanted > available:
        raise UsageError(
            f"--mem: the guest would fill {units.whole_mib(wanted)}, and "
            f"{units.whole_mib(available)} are available here"
        )


def check_kernel(name: str) -> None:
    """Raise UsageError where no guest with ssh can boot the kernel NAME."""
    row = kernels.lookup(name)
    if not row.boots_roots:
        why = "its configuration has no network" if row.config else f"it is for {row.arch}"
        able = ", ".join(k.name for k in kernels.KERNELS if k.boots_roots)
        raise UsageError(
            f"{name} cannot boot a guest with ssh, since {why}: there are {able}. "
            "The matrix of the tests runs it in a guest that has a busybox and nothing else"
        )


def check_module(bundle: Archive, kernel: FetchedKernel) -> None:
    """Raise UsageError where BUNDLE has no module for KERNEL; says which kernel it is for."""
    name = kernel.kernel.name
    advice = f"build one with: page-alloc-bench build --kernel {name}"
    held = _held(bundle)
    for row in kernels.KERNELS:
        cached = row.boots_roots and kernels.cached(row)
        if cached and (kernels.fetch(row).release, _MACHINE) in held:
            advice = f"boot its own with: --kernel {row.name}; or {advice}"
            break
    require_module(bundle, kernel.release, f"--kernel {name}", advice)


def require_module(
    bundle: Archive, release: str, asked: str, advice: str, machine: str = _MACHINE
) -> None:
    """Raise UsageError, with ADVICE, where BUNDLE has no module for RELEASE, which ASKED boots.

    MACHINE is what uname -m says there.
    """
    held = _held(bundle)
    if (release, machine) not in held:
        names = ", ".join(f"{held_release} ({of})" for held_release, of in held)
        raise UsageError(
            f"{bundle.path} has no module for {release} ({machine}), which {asked} boots: it is "
            f"for {names}; {advice}"
        )


def require_build(
    bundle: Archive, release: str, running: Identity, words: Sequence[str], machine: str = _MACHINE
) -> None:
    """Raise PackagerError where the module of BUNDLE is for another build of RELEASE than RUNNING.

    The run would refuse it in the guest, unless WORDS accept that, or only ask for what it finds.
    """
    if bench_options.accepts(OtherBuild.name, words) or "preflight" in bench_options.names(words):
        return
    built = build_identity.of_entry(bundle.entry(release, machine))
    verdict = build_identity.compare(built, running)
    if verdict.same is False:
        told = build_identity.words(verdict, built, running)
        raise PackagerError(
            f"{bundle.path} is for another build of {release}: {told}. {OtherBuild.meaning} "
            f"({OtherBuild.name})",
            f"leave the bundle out, and one is built; or put --accept {OtherBuild.name} after the "
            "--, at your own risk",
            NOT_FIT,
        )


def _held(bundle: Archive) -> list[tuple[str, str]]:
    return [(entry["release"], entry["machine"]) for entry in bundle.manifest()["modules"]]
