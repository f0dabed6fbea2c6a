# SPDX-License-Identifier: GPL-2.0-only
"""From kernel trees to a bundle."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from page_alloc_bench import outputs, resources, space
from page_alloc_bench.packager import (
    bundle,
    interpreter,
    kbuild,
    manifest,
    parallel,
    signing,
    tree,
    wheels,
    zipapp,
)
from page_alloc_bench.packager.compiler import Toolchain
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.place import HERE, Place
from page_alloc_bench.runner.bundle_file import kbuild_environment
from page_alloc_bench.space import Room
from page_alloc_bench.temporary import temporary_directory

Progress = Callable[[str], None]

EMBEDDED = "embedded"
HOST = "host"
_ROOM = Room(64, 1000)  # to build in
_made_here: dict[tuple[object, ...], interpreter.Interpreter] = {}


def _no_progress(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class TreeRequest(Toolchain):
    """A kernel tree and how to compile for it. ``within``: where; it must know the tree."""

    kdir: Path
    within: Place = HERE

    @property
    def toolchain(self) -> Toolchain:
        """The part of the request that kbuild is told; what is empty is its own default."""
        names = [each.name for each in fields(Toolchain)]
        return Toolchain(**{name: value for name in names if (value := getattr(self, name))})


@dataclass(frozen=True, kw_only=True)
class BuildRequest(TreeRequest):
    """What to build: the options of ``page-alloc-bench build``.

    ``more``: trees beside the first, for bundles that serve several kernels. ``jobs``: compilers at
    once, by default one per CPU.

    ``python``: EMBEDDED or HOST. ``python_roots``: trees to take the embedded Python of their
    architecture from. Without one this very Python is taken, for its architecture, and
    ``fetch_python`` is asked for the tree of any other (as uname -m says it).
    """

    output: Path
    more: tuple[TreeRequest, ...] = ()
    jobs: int | None = None
    compile_commands: Path | None = None
    signer: signing.Signer | None = None
    sbom: Path | None = None
    python: str = EMBEDDED
    python_roots: tuple[Path, ...] = ()
    fetch_python: Callable[[str], Path] | None = field(default=None, compare=False)
    verbose: bool = False

    @property
    def trees(self) -> tuple[TreeRequest, ...]:
        """All trees, the first one first."""
        return (self, *self.more)


@dataclass(frozen=True)
class BuildResult:
    """What was built: size in bytes, digest in hexadecimal, modules in the order of their trees."""

    path: Path
    size: int
    sha256: str
    modules: tuple[kbuild.BuiltModule, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Job:
    """A tree that is fit to be built against, and the compiler for it."""

    kernel: tree.Tree
    tools: Toolchain
    sources: Path
    within: Place


def build(request: BuildRequest, progress: Progress = _no_progress) -> BuildResult:
    """Build the bundle that ``request`` describes; raise PackagerError if that cannot be done.

    Nothing is written but the output and what else the request names, each whole.
    """
    try:
        with contextlib.ExitStack() as stack:
            return _build(request, stack, progress)
    except outputs.OutputError as error:
        raise PackagerError(error.message, exit_code=error.exit_code) from error


def _build(request: BuildRequest, stack: contextlib.ExitStack, progress: Progress) -> BuildResult:
    """Build into files that get their names, in the order given here, when stack is closed."""
    outputs.refuse_twins((request.output, request.sbom, request.compile_commands))
    bundle_file, sbom_file, commands_file = (
        stack.enter_context(outputs.OutputFile(path, executable=path is request.output))
        if path
        else None
        for path in (request.output, request.sbom, request.compile_commands)
    )
    with _scratch() as scratch:
        kernels = [tree.probe(asked.kdir) for asked in request.trees]
        _refuse_twins(kernels)
        jobs = [
            _prepare(request, asked, kernel, scratch / str(number), progress)
            for number, (asked, kernel) in enumerate(zip(request.trees, kernels))
        ]
        warnings = _warnings(request, kernels)
        for warning in warnings:
            progress(f"warning: {warning}")
        kmod = manifest.read_tree(jobs[0].sources)
        modules = _compile(request, jobs, progress)
        if commands_file:
            commands_file.write(_compile_commands(jobs[0]))
        machines = sorted({module.info.machine for module in modules})
        psutils = {machine: wheels.psutil_wheel(machine) for machine in machines}
        members = zipapp.make_members(psutils, scratch)
        pythons = _pythons(request, psutils, zipapp.programs(members), scratch, progress)
        data = bundle.assemble(modules, members, kmod, pythons)
    if sbom_file:
        sbom_file.write(_sbom(data))
    assert bundle_file
    bundle_file.write(data)
    return BuildResult(
        request.output, len(data), manifest.sha256(data), tuple(modules), tuple(warnings)
    )


def _prepare(
    request: BuildRequest, asked: TreeRequest, kernel: tree.Tree, place: Path, progress: Progress
) -> _Job:
    """Find out whatever is missing before the first compiler starts."""
    if not asked.within.which("make"):
        raise PackagerError("make is not installed", "install make and a compiler", 3)
    tools = tree.complete_toolchain(kernel, asked.toolchain, asked.within.which)
    if request.signer:
        signing.require(kernel, request.signer)
    progress(f"kernel   {kernel.release} from {kernel.path} ({kernel.compiler})")
    said = ", ".join(asked.toolchain.origin(name) for name in asked.from_environment)
    progress(f"compile  with {tree.compiler_of(kernel, tools)}{f' ({said})' if said else ''}")
    place.mkdir()
    sources = kbuild.copy_sources(resources.kmod_dir(), place)
    return _Job(kernel, tools, sources, asked.within)


def _compile(
    request: BuildRequest, jobs: Sequence[_Job], progress: Progress
) -> list[kbuild.BuiltModule]:
    """Return a module for each of ``jobs``; the first failure in their order is raised."""
    workers, threads = parallel.share(request.jobs or os.cpu_count() or 1, len(jobs))
    modules = []
    builds = [
        functools.partial(
            kbuild.build,
            job.kernel,
            job.tools,
            job.sources,
            jobs=threads,
            verbose=request.verbose,
            progress=progress,
            signer=request.signer,
            within=job.within,
        )
        for job in jobs
    ]
    for module in parallel.run(builds, workers):
        if isinstance(module, PackagerError):
            raise module
        progress(f"module   {len(module.data):,} bytes, {module.info.vermagic}")
        modules.append(module)
    return modules


def _refuse_twins(kernels: Sequence[tree.Tree]) -> None:
    """Raise PackagerError where a target could not tell which of two modules is meant for it."""
    seen: dict[tuple[str, str], Path] = {}
    for kernel in kernels:
        twin = seen.setdefault((kernel.release, kernel.arch), kernel.path)
        if twin is not kernel.path:
            raise PackagerError(
                f"{twin} and {kernel.path} are both kernel {kernel.release} for "
                f"{kernel.arch or 'this machine'}, and uname -r tells no difference",
                "leave out one of them, give one kernel a CONFIG_LOCALVERSION of its own, or make "
                "two bundles",
            )


def _warnings(request: BuildRequest, kernels: Sequence[tree.Tree]) -> list[str]:
    """Return what the user should know about the modules, a sentence each."""
    found = [warning for kernel in kernels for warning in kernel.warnings()]
    if request.signer is None:
        found += [
            f"the kernel of {kernel.path} loads only signed modules (CONFIG_MODULE_SIG_FORCE) and "
            "will refuse this one; see --sign-key"
            for kernel in kernels
            if kernel.signed_only
        ]
    elif not request.signer.repeatable:
        found.append(
            f"{request.signer.certificate} is for an ECDSA key, whose signatures differ each time: "
            "the bundle cannot be reproduced; an RSA key's can"
        )
    return found


def _pythons(
    request: BuildRequest,
    psutils: Mapping[str, Path],
    programs: Sequence[str],
    scratch: Path,
    progress: Progress,
) -> list[interpreter.Interpreter]:
    """Return the Pythons to embed, one for each of the machines that ``psutils`` has a wheel of."""
    if request.python == HOST:
        return []
    given = {source.machine: source for source in map(interpreter.from_root, request.python_roots)}
    made = []
    for machine, wheel in psutils.items():
        source = given.get(machine) or _python_for(machine, request.fetch_python)
        python = _python(source, wheel, tuple(programs), scratch / f"python-{machine}")
        progress(f"python   {python.version} for {machine}, {len(python.data):,} bytes")
        if not python.bytecode:
            progress(
                f"warning: no Python {source.library.version} is here to compile the library of "
                f"the one for {machine}: it travels as source, and starts slower"
            )
        made.append(python)
    return made


def _python(
    source: interpreter.Source, wheel: Path, programs: tuple[str, ...], place: Path
) -> interpreter.Interpreter:
    """Return the Python that runs PROGRAMS with psutil's WHEEL; PLACE does not exist yet.

    This host's own is made once in a process, however many kernels bundles are built for.
    """

    def make() -> interpreter.Interpreter:
        place.mkdir()
        return interpreter.make(source, zipapp.extensions(wheel, place), programs, place / "parts")

    if source.root.top != Path("/"):
        return make()
    # PATH says with which tools.
    key = (source.program, wheel.read_bytes(), programs, os.environ.get("PATH"))
    if key not in _made_here:
        _made_here[key] = make()
    return _made_here[key]


def _python_for(machine: str, fetch: Callable[[str], Path] | None) -> interpreter.Source:
    """Return the Python to embed for ``machine`` where the user has named none."""
    if machine == platform.machine():
        return interpreter.own()
    if fetch is None:
        raise PackagerError(
            f"there is no Python for {machine} to embed",
            "give --python-root a directory tree with one, or build with --python host",
        )
    return interpreter.from_root(fetch(machine))


def _compile_commands(job: _Job) -> bytes:
    return kbuild.compile_commands(job.kernel, job.sources, resources.kmod_dir()).encode()


def _sbom(data: bytes) -> bytes:
    # Its library takes a quarter of a second to load.
    from page_alloc_bench.packager import sbom  # noqa: PLC0415

    return sbom.of_bundle(data).encode()


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a directory that is removed afterwards; explain a disk that is full."""
    parent = _scratch_parent()
    advice = "make room there, or set TMPDIR to a directory that has it"
    lacking = space.shortage(Path(parent), _ROOM)
    if lacking:
        raise PackagerError(f"building {lacking}", advice)
    try:
        with temporary_directory(parent) as made:
            yield made
    except (OSError, PackagerError) as error:
        if not space.ran_out(error, [Path(parent)]):
            raise
        raise PackagerError(f"no space left to build in {parent}:\n{error}", advice) from error


def _scratch_parent() -> str:
    """Return where to build; make cannot, in a directory whose name means something to it."""
    try:
        asked = tempfile.gettempdir()
    except OSError as error:
        # It says which places it has tried.
        raise PackagerError(
            f"{error.strerror}: none can be written to, or all are full",
            "set TMPDIR to a directory that has room",
        ) from error
    for parent in (asked, "/var/tmp", "/tmp"):  # noqa: S108 - parents of private directories
        if kbuild_environment.is_fit(parent) and os.access(parent, os.W_OK | os.X_OK):
            return parent
    raise PackagerError(
        f"the kernel's build cannot work in {asked}",
        "set TMPDIR to a directory that you can write to, its path of letters, digits and /.+@-_",
    )
