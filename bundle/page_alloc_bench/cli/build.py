# SPDX-License-Identifier: GPL-2.0-only
"""``page-alloc-bench build`` and ``run``: from a kernel tree to a bundle."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from page_alloc_bench import installation, outputs
from page_alloc_bench.cli.common import CONTEXT, JOBS, OUTPUT, BenchCommand, PathType, complain
from page_alloc_bench.cli.kernels import KERNEL
from page_alloc_bench.packager import build as packager
from page_alloc_bench.packager import manifest, process, signing, tree
from page_alloc_bench.packager.errors import NOT_FIT, PackagerError
from page_alloc_bench.runner.options import parse
from page_alloc_bench.targets import building, kernels
from page_alloc_bench.targets.process import TargetError
from page_alloc_bench.temporary import temporary_directory

Function = TypeVar("Function", bound=Callable[..., Any])
Value = TypeVar("Value")

_PATH = PathType()
_DEFAULT_KDIR = "/lib/modules/$(uname -r)/build"
_KDIR_HELP = (
    "The kernel tree, as make -C takes it: a distribution's headers, a built tree, an O= "
    "directory, or a tree with make modules_prepare."
)
# What is said of a tree and not of a bundle.
_TREE_OPTIONS = ("llvm", "arch", "cross_compile", "cc", "kcflags")


class _Reporter:
    """Progress on stderr: one line per step, with the seconds since the start."""

    def __init__(self, *, quiet: bool) -> None:
        self._start = time.monotonic()
        self._quiet = quiet

    def __call__(self, message: str) -> None:
        """Print ``message``; a warning always, anything else unless quiet."""
        if message.startswith("warning:"):
            click.secho(message, fg="yellow", err=True)
        elif not self._quiet:
            click.echo(f"[{time.monotonic() - self._start:5.1f}s] {message}", err=True)


def _build_options(function: Function) -> Function:
    """Add what ``build`` and ``run`` have in common: kbuild's own conventions."""
    for option in reversed(
        (
            click.option(
                "--llvm",
                envvar="LLVM",
                show_envvar=True,
                metavar="1|-VERSION|DIR/",
                help="Build with clang and the LLVM tools, as LLVM= does for the kernel.",
            ),
            click.option(
                "--arch",
                metavar="ARCH",
                envvar="ARCH",
                show_envvar=True,
                help="The tree's architecture.",
            ),
            click.option(
                "--cross-compile",
                envvar="CROSS_COMPILE",
                show_envvar=True,
                metavar="PREFIX",
                help="The prefix of the tools, such as aarch64-linux-gnu-.",
            ),
            click.option(
                "--cc", metavar="COMPILER", envvar="CC", show_envvar=True, help="The compiler."
            ),
            click.option(
                "--kcflags",
                envvar="KCFLAGS",
                show_envvar=True,
                metavar="FLAGS",
                help="More flags for the compiler.",
            ),
            click.option(
                "-j",
                "--jobs",
                type=JOBS,
                metavar="N",
                help="Compilers at once.  [default: one for each CPU]",
            ),
            click.option("-q", "--quiet", is_flag=True, help="Warnings and errors only."),
            click.option("-v", "--verbose", is_flag=True, help="Show what make says."),
        )
    ):
        function = option(function)
    return function


@click.command(context_settings=CONTEXT)
@click.option(
    "--kdir",
    "kdirs",
    type=_PATH,
    multiple=True,
    show_default=_DEFAULT_KDIR,
    help=f"{_KDIR_HELP} Repeat it for one bundle that serves several kernels; the options below "
    "hold for all of them, and --matrix-file gives each its own.",
)
@click.option(
    "--kernel",
    "kernel_names",
    type=KERNEL,
    metavar="NAME",
    multiple=True,
    help="Fetch the headers of a kernel of `kernels --list`, and a compiler for them where this "
    "host has none. Repeatable, also beside --kdir.",
)
@_build_options
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="FILE",
    show_default="bench.run",
    help="The bundle to write; - is stdout. A bundle in its place is replaced at once, when all is "
    "done. With --matrix-file, the directory of all that is written.",
)
@click.option(
    "--matrix-file",
    type=_PATH,
    metavar="FILE",
    help="Build for the kernels that a TOML file lists, in parallel, each with its own tree and "
    "compiler; `page-alloc-bench help build` shows one.",
)
@click.option(
    "--compile-commands",
    type=OUTPUT,
    metavar="FILE",
    help="Write compile_commands.json for clangd too.",
)
@click.option(
    "--sign-key",
    metavar="FILE|URI",
    help="Sign the modules with this key: PEM, or a PKCS#11 URI. KBUILD_SIGN_PIN unlocks it.",
)
@click.option(
    "--sign-cert",
    type=_PATH,
    metavar="FILE",
    help="The X.509 certificate of that key, which the target's kernel must trust.",
)
@click.option(
    "--sbom",
    type=OUTPUT,
    metavar="FILE",
    help="Write a bill of materials too: what is inside, with digests and licences (CycloneDX).",
)
@click.option(
    "--python",
    type=click.Choice([packager.EMBEDDED, packager.HOST]),
    default=packager.EMBEDDED,
    show_default=True,
    help="Pack a Python for hosts that have none, or rely on the host's.",
)
@click.option(
    "--python-root",
    "python_roots",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    multiple=True,
    metavar="DIR",
    help="Take the Python to pack from this directory tree (DIR/usr/bin/python3.x and what it "
    "needs), for the architecture that it is of. By default it is the one that runs this, and for "
    "another architecture Debian's. Repeatable.",
)
def build(
    *,
    kdirs: tuple[Path, ...],
    kernel_names: tuple[str, ...],
    matrix_file: Path | None,
    output: Path | None,
    quiet: bool,
    sign_key: str | None,
    sign_cert: Path | None,
    **options: Any,
) -> None:
    """Build one file that runs the benchmark on the kernels it was built for.

    Prints what it made, a `name: value` line each or, with --matrix-file, a table.
    """
    compilers: dict[str, Any] = {name: options.pop(name) for name in _TREE_OPTIONS}
    compilers["from_environment"] = _from_environment()
    options["signer"] = _signer(sign_key, sign_cert)
    options["fetch_python"] = _fetch_python
    if matrix_file:
        if kdirs or kernel_names or options.pop("sbom") or options.pop("compile_commands"):
            raise click.UsageError(
                "--matrix-file excludes --kdir, --kernel, --sbom and --compile-commands"
            )
        if output is None:
            raise click.UsageError("--matrix-file needs a directory to write to: -o DIR/")
        _build_matrix(matrix_file, output, compilers, options, quiet=quiet)
        return
    output = output or Path("bench.run")
    for path in filter(None, (output, options["sbom"], options["compile_commands"])):
        outputs.check(path)  # before a kernel is fetched
    first, *more = _trees(kdirs, kernel_names, compilers)
    request = packager.BuildRequest(**vars(first), more=tuple(more), output=output, **options)
    made = _guarded(lambda: packager.build(request, _Reporter(quiet=quiet)))
    if not quiet:
        written = (request.output, request.sbom, request.compile_commands)
        _print(made, err=any(map(outputs.is_stdout, written)))


def _build_matrix(
    path: Path,
    directory: Path,
    compilers: Mapping[str, Any],
    options: dict[str, Any],
    *,
    quiet: bool,
) -> None:
    """Build for the kernels of a file; exit 1 when one of them failed."""
    from page_alloc_bench.packager import matrix

    outputs.check_directory(directory)
    defaults = _tree(Path(), compilers)
    reporter = _Reporter(quiet=quiet)
    rows = _guarded(
        lambda: matrix.build_all(matrix.read(path, defaults), directory, options, reporter)
    )
    click.echo(matrix.table(rows))
    failures = [(row, row.outcome) for row in rows if isinstance(row.outcome, PackagerError)]
    for row, error in failures:
        _explain(error, row.path.stem)
    if failures:
        sys.exit(1)


def _trees(
    kdirs: tuple[Path, ...], kernel_names: tuple[str, ...], compilers: Mapping[str, Any]
) -> list[packager.TreeRequest]:
    """Return the trees of the command line, by default that of the running kernel."""
    named = [_fetch(name, compilers) for name in kernel_names]
    kdirs = kdirs or (() if named else (tree.of_running_kernel(),))
    return [_tree(kdir, compilers) for kdir in kdirs] + named


def _tree(kdir: Path, compilers: Mapping[str, Any]) -> packager.TreeRequest:
    return packager.TreeRequest(kdir, **compilers)


def _from_environment() -> tuple[str, ...]:
    """Return which of the options for a tree have been set by the environment alone."""
    source = click.get_current_context().get_parameter_source
    return tuple(name for name in _TREE_OPTIONS if source(name) is ParameterSource.ENVIRONMENT)


def _signer(key: str | None, certificate: Path | None) -> signing.Signer | None:
    if key is None and certificate is None:
        return None
    if key is None or certificate is None:
        raise click.UsageError("--sign-key and --sign-cert need each other")
    return signing.Signer(key, certificate)


def _print(result: packager.BuildResult, *, err: bool) -> None:
    """Print what was made, for people and for programs; err: to stderr."""
    lines = [("path", str(result.path)), ("size", f"{result.size:,} bytes")]
    for module in result.modules:
        info, digest = module.info, manifest.sha256(module.data)
        lines += [
            ("kernel", f"{info.release} ({info.machine})"),
            ("compiler", info.compiler),
            ("module", f"{len(module.data):,} bytes, sha256 {digest}"),
        ]
    for name, value in [*lines, ("sha256", result.sha256)]:
        click.echo(f"{name + ':':<10}{value}", err=err)


@click.command(cls=BenchCommand, context_settings=CONTEXT)
@click.option(
    "--kdir",
    type=_PATH,
    default=tree.of_running_kernel,
    show_default=_DEFAULT_KDIR,
    help=_KDIR_HELP,
)
@_build_options
@click.argument("bench_options", nargs=-1, type=click.UNPROCESSED)
def run(quiet: bool, bench_options: tuple[str, ...], **options: Any) -> None:
    """Build for the running kernel, and run the benchmark on this host.

    This host will run out of memory several times. BENCH_OPTIONS follow a `--`:

    \b
        sudo page-alloc-bench run -- --iterations 3 --output-path result.json
    """
    asked = parse(list(bench_options))
    if os.geteuid() != 0 and asked.verb is None:
        _explain(PackagerError("only root can load a kernel module", installation.as_root()))
        sys.exit(NOT_FIT)
    with temporary_directory() as made:
        request = packager.BuildRequest(
            output=made / "bench.run",
            python=packager.HOST,
            from_environment=_from_environment(),
            **options,
        )
        result = _guarded(lambda: packager.build(request, _Reporter(quiet=quiet)))
        status = process.run_in_foreground(["sh", str(result.path), *bench_options])
    sys.exit(status)


def _fetch(kernel: str, compilers: Mapping[str, Any]) -> packager.TreeRequest:
    try:
        asked = dict(compilers)
        said = asked.pop("from_environment")
        return building.tree_request(kernels.fetch(kernel), asked, said)
    except TargetError as error:
        raise click.ClickException(str(error)) from error


def _fetch_python(machine: str) -> Path:
    from page_alloc_bench.targets import foreign_python

    try:
        return foreign_python.fetch(machine)
    except TargetError as error:
        raise PackagerError(
            f"there is no Python for {machine} to embed: {error}",
            "give --python-root a directory tree with one, or build with --python host",
        ) from error


def _guarded(function: Callable[[], Value]) -> Value:
    """Call what builds; tell what it complains of."""
    try:
        return function()
    except PackagerError as error:
        _explain(error)
        sys.exit(error.exit_code)


def _explain(error: PackagerError, name: str = "") -> None:
    """Print what went wrong, where, and, below it, what to do."""
    complain(f"{name}: {error.message}" if name else error.message, error.advice)
