# SPDX-License-Identifier: GPL-2.0-only
"""The first Python to run on a target: it stands in a bundle as ``__main__.py``.

It runs from the zip of a bundle, however that was started (``./bench.run``, ``python3 bench.run``),
and from an extracted directory. It makes the private scratch directory that shiv unpacks into,
tells the runner about both places, and takes the directory away again when the runner returns,
raises, or is ended by a signal that nobody else handles.

What the runner finds in its environment:

``PAGE_ALLOC_BENCH_BUNDLE``
    the absolute path of the bundle, or of the directory it was extracted to;
``PAGE_ALLOC_BENCH_SCRATCH``
    the scratch directory, absent when none is needed. It stays if the runner sets
    ``PAGE_ALLOC_BENCH_KEEP``, having told the user so.

Python is started once more, ``-I -S -B``, if it was started without: what PYTHONPATH and the like
put before our own code is not there any more when the first of that is imported.

A child process, the keeper, removes the scratch directory should this process be killed before the
runner's own watchdog takes over: it waits for the end of a pipe of which the option
``-X page_alloc_bench_alive=FD[:PID]`` names the other end. Where Python is the embedded one, the
shell has made both the directory (``-X page_alloc_bench_home``) and a keeper of its own.

Few imports; a Python too old for the runner still understands it, so that it can say so.
"""

import os
import sys

TYPE_CHECKING = False  # typing itself takes milliseconds to import
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import NoReturn, Optional

NAME = "page-alloc-bench"
KEEP = "PAGE_ALLOC_BENCH_KEEP"  # set by the runner once it has told the user so
OLDEST_PYTHON = (3, 9)
NEEDED_BYTES = 2 << 20  # for what is unpacked: the runner and psutil
# Answered from within the zip, so that they work on a host with no place to unpack to.
WITHOUT_SCRATCH = (
    "-h", "-help", "--help", "--version", "--list", "--check", "--info", "--extract", "--attach",
    "--status", "--stop", "--list-workloads",
)  # fmt: skip
SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
# What a 64-bit kernel calls itself under setarch(8): include/linux/compat.h, COMPAT_UTS_MACHINE.
MACHINES = {"i686": "x86_64", "armv8l": "aarch64"}
FAILED, NOT_FIT = 1, 3  # exit codes
# Options of Python's own, which nobody sets but who starts it.
HOME_OPTION = "page_alloc_bench_home"
ALIVE_OPTION = "page_alloc_bench_alive"
SITE_OPTION = "page_alloc_bench_site"
FILE_SIZE_OPTION = "page_alloc_bench_file_size"


def _fail(status: int, message: str) -> "NoReturn":
    try:  # noqa: SIM105 - contextlib takes long to import
        os.write(2, os.fsencode(f"{NAME}: error: {message}\n"))
    except OSError:
        pass  # nobody listens
    sys.exit(status)


def _occupy_standard_descriptors() -> None:
    """Open /dev/null as those of 0, 1 and 2 that are closed, so that no file of ours gets them."""
    while True:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        if descriptor > 2:
            os.close(descriptor)
            return
        os.set_inheritable(descriptor, True)


def _require_isolation(bundle: str) -> None:
    """Start again if somebody's variables or files may have changed what is imported.

    Nothing but what Python itself has loaded by then is imported before.
    """
    if sys.flags.isolated and sys.flags.no_site and sys.flags.dont_write_bytecode:
        return
    python = sys.executable or "/proc/self/exe"
    try:
        os.execv(python, [python, "-I", "-S", "-B", bundle, *sys.argv[1:]])  # noqa: S606
    except OSError as error:
        _fail(
            NOT_FIT,
            f"cannot start {python} again: {error.strerror}; if sudo forbids it (NOEXEC), "
            "allow it for this command",
        )


def scrub_environment() -> None:
    """Drop what could steer shiv, or the Python of a child, away from what we packed."""
    for name in list(os.environ):
        if name.startswith(("PYTHON", "SHIV_")) or name in ("PAGE_ALLOC_BENCH_SCRATCH", KEEP):
            del os.environ[name]
    if os.geteuid() == 0 and "PATH" in os.environ:
        os.environ["PATH"] = ":".join(filter(_is_roots, os.environ["PATH"].split(":")))


def _is_roots(directory: str) -> bool:
    """Return whether nobody but root can choose what programs are in a directory of PATH.

    The system's own are taken as they are.
    """
    if directory in SYSTEM_PATH:
        return True
    try:
        mode = os.stat(directory).st_mode
        return directory.startswith("/") and not mode & 0o022 and not others_may_change(directory)
    except OSError:
        return False


def _check_stub(bundle: str) -> None:
    """Refuse to run from a stub that was altered: who knows what it did to the arguments."""
    import zlib  # an extracted tree does without

    promised, size = globals()["__loader__"].get_data("stub.crc32").split()
    with open(bundle, "rb") as file:
        stub = file.read(int(size))
    # What is put in last counts as zeros. Without re, which takes longer than all of --help.
    for name in (b"\nfile_size=", b"\npayload_sha256="):
        before, _, rest = stub.partition(name)
        value, end, after = rest.partition(b"\n")
        if not value.strip(b"0123456789abcdef"):
            stub = before + name + b"0" * len(value) + end + after
    if zlib.crc32(stub) != int(promised, 16):
        _fail(FAILED, f"{bundle} is damaged (the shell script at its start): copy it again")


def others_may_change(path: str) -> bool:
    """Return whether somebody else can have a part of ``path`` stand for something else.

    What is unpacked runs as root. A directory where everybody may make files, and nobody remove
    those of others, is safe for a name that nobody can guess.
    """
    path = os.path.realpath(path)
    while True:
        status = os.stat(path)
        loose = status.st_mode & 0o022 and not status.st_mode & 0o1000  # stat.S_ISVTX
        if loose or status.st_uid not in (0, os.geteuid()):
            return True
        if path == "/":
            return False
        path = os.path.dirname(path)


def _candidates() -> "Iterator[Optional[str]]":
    """Yield where a scratch directory might go: memory first, for a test host's disk is slow."""
    yield os.environ.get("PAGE_ALLOC_BENCH_TMPDIR")
    yield "/dev/shm"  # noqa: S108 - the directory made there is private and unpredictable
    yield os.environ.get("TMPDIR")
    yield "/var/tmp"  # noqa: S108
    yield "/tmp"  # noqa: S108
    yield "/run"
    yield "."


class Scratch:
    """A private directory on a file system that lets code run."""

    def __init__(self, path: str = "") -> None:
        self.owner = os.getpid()
        self.path = path
        self._keeper = -1  # our end of the pipe to it

    def make(self) -> None:
        """Create it in the first place that serves, or end the program saying why none does."""
        self._keeper = _start_keeper()
        reasons = []
        for candidate in filter(None, _candidates()):
            reason = self._make_in(candidate)
            if not reason:
                return
            reasons.append(f"{candidate}: {reason}")
            self.remove()
        _fail(
            NOT_FIT,
            "found no directory to unpack to that has room and is not mounted noexec; name one in "
            f"PAGE_ALLOC_BENCH_TMPDIR ({'; '.join(reasons)})",
        )

    def _make_in(self, parent: str) -> str:
        """Try one place; return what is wrong with it, or nothing."""
        try:
            # Known before it exists, so that whatever comes in between finds what to remove.
            if others_may_change(parent):
                return "other users could replace it"
            self.path = os.path.join(os.path.abspath(parent), f"{NAME}.{os.urandom(8).hex()}")
            os.write(self._keeper, os.fsencode(self.path) + b"\0")
            os.mkdir(self.path, 0o700)
            _require_exec(self.path)
        except OSError as error:
            return error.strerror or str(error)
        return ""

    def remove(self) -> None:
        """Take it away, unless it is to be kept or belongs to another process.

        Not by shutil, which a signal may find half imported.
        """
        if os.getpid() != self.owner:
            return
        if KEEP in os.environ:
            _dismiss_keeper()
        elif self.path:
            _remove_tree(self.path)

    def remove_and_die(self, number: int, _frame: "Optional[FrameType]") -> None:
        """Handle a signal: end as it ends a program that does not handle it."""
        import signal  # loaded long since, or we would not be here

        self.remove()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _remove_tree(path: str) -> None:
    for top, directories, files in os.walk(path, topdown=False):
        for remove, names in ((os.unlink, files), (os.rmdir, directories)):
            for name in names:
                _unless_gone(remove, os.path.join(top, name))
    _unless_gone(os.rmdir, path)


def _unless_gone(remove: "Callable[[str], None]", path: str) -> None:
    try:  # noqa: SIM105 - contextlib takes long to import
        remove(path)
    except OSError:
        pass  # the runner or its watcher was faster


def _require_exec(path: str) -> None:
    """Raise OSError unless files in ``path`` can be mapped as code and there is room for ours.

    Mapping is what loading a shared object does, and a file system mounted noexec refuses it.
    """
    import mmap  # not every start comes here

    name = os.path.join(path, "probe")
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o700)
    try:
        os.posix_fallocate(descriptor, 0, NEEDED_BYTES)
        mmap.mmap(descriptor, 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC).close()
    finally:
        os.close(descriptor)
        os.unlink(name)


def _start_keeper() -> int:
    """Fork what removes the paths it is told of when we have ended without a word.

    Returns the descriptor to tell it by; programs that replace this one inherit it.
    """
    reader, writer = os.pipe()
    ready, say_ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _keep(reader, say_ready)
        finally:
            os._exit(0)
    os.close(reader)
    os.close(say_ready)
    os.read(ready, 1)
    os.close(ready)
    os.set_inheritable(writer, True)
    sys._xoptions[ALIVE_OPTION] = f"{writer}:{pid}"
    return writer


def _keep(reader: int, say_ready: int) -> None:
    """Be the keeper."""
    _find_runner(os.path.join(os.environ["PAGE_ALLOC_BENCH_BUNDLE"], "site-packages"))
    from page_alloc_bench.runner.lifetime import keeper

    keeper.keep(reader, say_ready, _remove_tree)


def _dismiss_keeper() -> None:
    """Have the keeper leave everything where it is, unless the runner has told it so already."""
    alive = sys._xoptions.pop(ALIVE_OPTION, None)
    if alive:
        os.write(int(str(alive).partition(":")[0]), b"bye\n")


def _find_runner(site_packages: str) -> None:
    """Let the runner be imported from where it lies, be that inside the zip."""
    machine = os.uname().machine
    machine = MACHINES.get(machine, machine)
    sys.path[:0] = [site_packages, os.path.join(site_packages, machine)]


def _run_from(site_packages: str) -> "NoReturn":
    """Run the runner from where it lies."""
    _find_runner(site_packages)
    from page_alloc_bench.runner.__main__ import main  # found there only

    sys.exit(main())


def _guarded(scratch: "Scratch") -> None:
    """Let a signal that ends the program take the scratch directory along."""
    import signal  # not every start comes here

    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
            signal.signal(number, scratch.remove_and_die)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _unpack(scratch: "Scratch") -> None:
    """Let shiv unpack the runner into a scratch directory, and go on in a fresh Python."""
    import resource

    _guarded(scratch)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    sys._xoptions[FILE_SIZE_OPTION] = f"{limit[0]}:{limit[1]}"  # unpacked.py sets it back
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    except ValueError:  # an ordinary user may go as far as the hard limit
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit[1], limit[1]))
    try:
        if not scratch.path:
            scratch.make()
        os.environ["PAGE_ALLOC_BENCH_SCRATCH"] = scratch.path
        os.environ["SHIV_ROOT"] = scratch.path
        import _bootstrap  # type: ignore[import-not-found]  # shiv's, in the zip

        _bootstrap.bootstrap()  # ends in unpacked.py
    finally:
        scratch.remove()


def _run_guarded(scratch: "Scratch", site_packages: str) -> None:
    """Run the runner from where it lies; afterwards remove the scratch directory, if any."""
    if scratch.path:
        _guarded(scratch)
    try:
        _run_from(site_packages)
    finally:
        scratch.remove()


def launch() -> None:
    """Run what this file came with."""
    _end_by_sigint()
    if sys.version_info[:2] < OLDEST_PYTHON:
        _fail(NOT_FIT, f"Python {sys.version.split()[0]} is too old: 3.9 or newer is needed")
    unpacked_to = sys._xoptions.get(SITE_OPTION)  # by unpacked.py
    if unpacked_to:
        _run_guarded(Scratch(os.environ["PAGE_ALLOC_BENCH_SCRATCH"]), str(unpacked_to))
    _occupy_standard_descriptors()
    bundle = _own_path()
    _require_isolation(bundle)
    scrub_environment()
    os.environ["PAGE_ALLOC_BENCH_BUNDLE"] = bundle
    scratch = Scratch(str(sys._xoptions.get(HOME_OPTION, "")))
    if scratch.path:
        os.environ["PAGE_ALLOC_BENCH_SCRATCH"] = scratch.path
    try:
        _start(bundle, scratch)
    finally:
        scratch.remove()


def _own_path() -> str:
    """Return where we are, by a name that stays true when descriptors have been closed."""
    bundle = os.path.dirname(os.path.abspath(__file__))
    if bundle.startswith(("/proc/", "/dev/")):
        target = os.path.realpath(bundle)
        return target if os.path.isfile(target) else bundle
    return bundle


def _end_by_sigint() -> None:
    """Let SIGINT end the process: as an exception it may come up where Python ignores those."""
    # What signal wraps, without the milliseconds.
    import _signal  # type: ignore[import-not-found]

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def _start(bundle: str, scratch: "Scratch") -> None:
    """Run from where it lies what can be, and unpack the rest."""
    site_packages = os.path.join(bundle, "site-packages")
    if os.path.isdir(bundle):
        _run_guarded(scratch, site_packages)
    _check_stub(bundle)
    words = sys.argv[2:] if sys.argv[1:2] == ["--"] else sys.argv[1:]
    if words and words[0].partition("=")[0] in WITHOUT_SCRATCH:
        _run_guarded(scratch, site_packages)
    _unpack(scratch)


if __name__ == "__main__":
    launch()
