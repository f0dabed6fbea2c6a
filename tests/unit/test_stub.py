# SPDX-License-Identifier: GPL-2.0-only
"""The shell at the start of a bundle stands whatever environment and whatever damage it meets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle_maker import start

SHELLS = [
    pytest.param(shell, marks=pytest.mark.skipif(not shutil.which(shell[0]), reason="not here"))
    for shell in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"], ["zsh"])
]
EMBEDDED = {"PAGE_ALLOC_BENCH_PYTHON": "embedded"}


@pytest.fixture(scope="module")
def bench(embedding_bundle: Path) -> Path:
    return embedding_bundle


def told(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return what the runner said, and nobody else on either stream."""
    assert (finished.returncode, finished.stderr) == (0, "")
    document: dict[str, Any] = json.loads(finished.stdout)
    return document


def one_line(finished: subprocess.CompletedProcess[str], code: int) -> str:
    assert (finished.returncode, finished.stdout) == (code, "")
    assert finished.stderr.startswith("page-alloc-bench: ")
    assert finished.stderr.count("\n") == 1
    return finished.stderr


# What of its environment Python would take for its own.


def plant(place: Path) -> Path:
    """Put what Python imports by itself, and what the bundle does, into a directory."""
    names = ("sitecustomize", "usercustomize", "signal", "re", "zlib", "json", "mmap", "shutil",
             "_bootstrap", "runpy", "zipfile", "psutil", "argparse")  # fmt: skip
    for name in names:
        (place / f"{name}.py").write_text("import os; os.abort()")
    for package in ("page_alloc_bench", "page_alloc_bench/runner"):
        (place / package).mkdir()
        (place / package / "__init__.py").write_text("import os; os.abort()")
    (place / "evil.pth").write_text("import os; os.abort()\n")
    (place / "startup").write_text("import os; os.abort()\n")
    return place


def hostile(place: Path) -> dict[str, str]:
    """What would have Python run something else, that it obeys once it has begun."""
    directories = ("PYTHONPATH", "PYTHONUSERBASE", "HOME", "SHIV_ROOT", "SHIV_ENTRY_POINT",
                   "SHIV_PREAMBLE", "SHIV_INTERPRETER", "SHIV_MODULE")  # fmt: skip
    return {
        **{name: str(place) for name in directories},
        "PYTHONSTARTUP": f"{place}/startup",
        **dict.fromkeys(["PYTHONINSPECT", "PYTHONOPTIMIZE", "PYTHONDEVMODE"], "1"),
        **dict.fromkeys(["PYTHONSAFEPATH", "SHIV_EXTEND_PYTHONPATH"], "1"),
        "PYTHONWARNINGS": "error",
        "PYTHONIOENCODING": "ascii",
    }  # fmt: skip


def steered(bench: Path, command: list[str], env: dict[str, str], place: Path) -> None:
    document = told(start([*command, str(bench)], env=env, cwd=place))
    assert document["flags"] == [1, 1, 1]
    assert document["package"].startswith("/dev/shm/page-alloc-bench.")
    assert document["inherited"] == ["SHIV_ROOT"]


@pytest.mark.parametrize("python", ["host", "embedded"])
def test_nothing_of_pythons_environment_steers_it(python: str, bench: Path, tmp_path: Path) -> None:
    env = {"PAGE_ALLOC_BENCH_PYTHON": "embedded"} if python == "embedded" else {}
    env |= hostile(plant(tmp_path))
    env |= {"PYTHONHOME": str(tmp_path), "PYTHONPLATLIBDIR": str(tmp_path), "PYTHONVERBOSE": "1"}
    steered(bench, ["sh"], env, tmp_path)


def test_python_that_is_told_to_start_it_imports_ours(bench: Path, tmp_path: Path) -> None:
    """But for what Python itself runs or imports before it opens the file that it is given."""
    plant(tmp_path)
    for name in ("sitecustomize", "usercustomize", "zlib", "runpy"):
        (tmp_path / f"{name}.py").unlink()
    own = start([sys.executable, "-c", ""], env=hostile(tmp_path))
    assert own.returncode == 0, "this Python does not start with such an environment at all"
    steered(bench, [sys.executable], hostile(tmp_path), tmp_path)


def test_what_lies_beside_it_is_not_imported(bench: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(bench, plant(tmp_path)))
    out = tmp_path / "out"
    assert start([str(bench), "--extract", str(out)]).returncode == 0
    for command in (
        [str(copy)],
        [sys.executable, str(copy)],
        [str(out / "run.sh")],
        [sys.executable, str(out)],
        [sys.executable, str(out / "__main__.py")],
    ):
        assert told(start(command, cwd=tmp_path))["flags"] == [1, 1, 1]


# Pythons that do not serve.


def bad_python(path: Path, kind: str) -> None:
    if kind == "directory":
        path.mkdir()
        return
    text = {
        "no interpreter": "#!/nonexistent/interp\n",
        "talkative": f'#!/bin/sh\necho "hello"\nexec {sys.executable} "$@"\n',
        "talkative about paths": "#!/bin/sh\necho /bin/true\n",
        "names what cannot run": f"#!/bin/sh\necho {path.parent}\n",
        "names itself": f"#!/bin/sh\necho {path}; exit 1\n",
        "silent": "#!/bin/sh\n",
        "echoes": '#!/bin/sh\necho "$@"\n',
        "other machine": "\x7fELF\2\1\1" + 9 * "\0" + "\2\0\xf3\0" + 100 * "\0",
        "not executable": "#!/bin/sh\n",
        "hangs": "#!/bin/sh\nexec sleep 600\n",
        "binary rubbish": "\0\1\2",
    }[kind]
    path.write_text(text, encoding="latin-1")
    path.chmod(0o644 if kind == "not executable" else 0o755)


QUICK = ["no interpreter", "talkative", "talkative about paths", "names what cannot run",
         "names itself", "silent", "echoes", "other machine", "not executable", "directory",
         "binary rubbish"]  # fmt: skip


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("kinds", [QUICK[:6], QUICK[6:]])
def test_a_python_that_does_not_serve_is_passed_over(
    kinds: list[str], shell: list[str], bench: Path, hidden: list[str], tmp_path: Path
) -> None:
    """All of them one after the other, and at last the one that serves."""
    names = ["python3", *(f"python3.{minor}" for minor in range(14, 9, -1))]
    for name, kind in zip(names, kinds):
        bad_python(tmp_path / name, kind)
    (tmp_path / "python3.9").symlink_to("served")
    env = {"PATH": f"{tmp_path}:{tools(tmp_path / 'tools')}"}
    told(start([*hidden, shutil.which(shell[0]) or "", *shell[1:], str(bench)], env=env))


def tools(place: Path) -> Path:
    """Make a directory of what the stub needs, without any Python."""
    place.mkdir()
    for tool in ("env", "wc", "dd", "sha256sum", "ls", "uname", "gzip", "tar", "sh", "mkdir",
                 "mkfifo", "chmod", "sleep", "rm", "setsid", "timeout", "true"):  # fmt: skip
        (place / tool).symlink_to(shutil.which(tool) or "/nonexistent")
    return place


@pytest.mark.parametrize("kind", ["no interpreter", "talkative", "other machine", "directory"])
def test_without_another_the_embedded_python_is_taken(
    kind: str, bench: Path, hidden: list[str], tmp_path: Path
) -> None:
    bad_python(tools(tmp_path / "bin") / "python3", kind)
    env = {"PATH": f"{tmp_path}/bin"}
    command = [*hidden, "/bin/sh", str(bench)]
    told(start(command, env=env))
    env["PAGE_ALLOC_BENCH_PYTHON"] = f"{tmp_path}/bin/python3"
    assert "is not a Python 3.9 or newer" in one_line(start(command, env=env), 3)


def test_a_python_that_hangs_is_given_up(bench: Path, hidden: list[str], tmp_path: Path) -> None:
    """After 20 s, as timeout is told; the timeout of this PATH makes less of them."""
    programs = tools(tmp_path / "bin")
    bad_python(programs / "python3", "hangs")
    (programs / "timeout").unlink()
    (programs / "timeout").write_text(
        f'#!/bin/sh\ntest "$1 $2 $3" = "-s KILL 20" && shift 3 &&\n'
        f'exec {shutil.which("timeout")} -s KILL .3 "$@"\n'
    )
    (programs / "timeout").chmod(0o755)
    told(start([*hidden, "/bin/sh", str(bench)], env={"PATH": str(programs)}))


# What of its environment would steer the programs that it starts.

VARIABLES = """
    first python path limit why reason dir uid nl err self keeper setsid uuid machine status size
    missing reasons entry
"""  # of the stub's own
NOISY = {
    "TAR_OPTIONS": "-v", "TAPE": "/nonexistent", "GZIP": "-v -k", "POSIXLY_CORRECT": "1",
    "LS_COLORS": "x", "LS_BLOCK_SIZE": "human", "QUOTING_STYLE": "c", "TIME_STYLE": "+%s",
    "BLOCK_SIZE": "human", "COLUMNS": "3", "LC_NUMERIC": "tr_TR.UTF-8", "LANG": "xx",
    "LANGUAGE": "de", "LOCPATH": "/nonexistent", "GCONV_PATH": "/nonexistent",
    "CDPATH": "/usr:/", "IFS": "/", "ENV": "/nonexistent", "PS4": "$(echo x)",
    "SHELLOPTS": "errexit:nounset:noglob:noclobber:allexport",
    **dict.fromkeys(VARIABLES.split(), "x"),
}  # fmt: skip
FUNCTIONS = """
    wc dd tar env command printf cd read echo pwd exec unset trap true python3 test gzip set exit
    return
"""


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("env", [NOISY, {"TAR_OPTIONS": "--nonsense"}], ids=["noisy", "wrong"])
def test_the_environment_does_not_steer_what_it_starts(
    env: dict[str, str], shell: list[str], bench: Path
) -> None:
    told(start([*shell, str(bench)], env={**env, **EMBEDDED}))


def test_functions_that_bash_exports_are_not_called(bench: Path) -> None:
    hostile = {f"BASH_FUNC_{name}%%": "() {  echo planted\n}" for name in FUNCTIONS.split()}
    told(start(["bash", str(bench)], env={**hostile, **EMBEDDED}))
    for name in ("exec", "unset", "trap", "set", "exit", "return"):
        del hostile[f"BASH_FUNC_{name}%%"]  # that bash itself refuses
    told(start(["bash", "--posix", str(bench)], env=hostile))


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_options_of_the_shell_do_not_matter(shell: str, bench: Path) -> None:
    told(start([shell, "-eufCa", str(bench)], env=EMBEDDED))


@pytest.mark.parametrize("shell", ["dash", "bash"])
@pytest.mark.parametrize("option", ["-x", "-v", "-xe"])
def test_a_shell_that_shows_what_it_does_does_it_all_the_same(
    shell: str, option: str, bench: Path
) -> None:
    """What is shown is on stderr, which is where the words of other programs are read from."""
    finished = start([shell, option, str(bench)], env=EMBEDDED)
    assert (finished.returncode, json.loads(finished.stdout)["argv"][1:]) == (0, [])


def test_options_that_bash_takes_from_the_environment_do_not_matter(bench: Path) -> None:
    shown = {"SHELLOPTS": "errexit:noglob:noclobber:xtrace:verbose"}
    finished = start(["bash", str(bench)], env={**EMBEDDED, **shown})
    assert "set +a +e" in finished.stderr  # they were taken
    assert (finished.returncode, json.loads(finished.stdout)["argv"][1:]) == (0, [])


# Why no place serves.


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_the_reason_is_what_the_program_said(bench: Path) -> None:
    script = f"""
        mount -t tmpfs tmpfs /mnt && cp '{bench}' /mnt/bench.run || exit 77
        mount -t tmpfs -o size=1m tmpfs /dev/shm || exit 77
        mount -t tmpfs -o noexec tmpfs /var/tmp || exit 77
        mount -t tmpfs -o nr_inodes=1 tmpfs /run || exit 77
        mount -t tmpfs -o ro tmpfs /tmp || exit 77
        cd /run
        exec /mnt/bench.run
    """
    env = {**EMBEDDED, "TMPDIR": "/nonexistent", "PAGE_ALLOC_BENCH_TMPDIR": ""}
    finished = start(["unshare", "--mount", "sh", "-c", script], env=env)
    if finished.returncode == 77 or "unshare failed" in finished.stderr:
        pytest.skip("no mounting here")
    words = one_line(finished, 3)
    reasons = dict(reason.split(": ", 1) for reason in words.partition(" (")[2].split("; "))
    assert reasons["/dev/shm"].startswith("cannot unpack: tar: ")
    assert reasons["/dev/shm"].endswith("No space left on device")
    assert reasons["/var/tmp"].startswith("programs cannot be run there, as if mounted noexec")
    assert reasons["/var/tmp"].endswith("Permission denied")
    assert reasons["/run"].endswith("No space left on device")
    assert reasons["/tmp"].endswith("Read-only file system")


# A file that is not as it was, or not a file.


def test_line_ends_of_another_system_are_named(bench: Path, tmp_path: Path) -> None:
    text = bench.read_bytes().replace(b"\n", b"\r\n")
    (tmp_path / "bench.run").write_bytes(text)
    for shell in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]):
        assert "CRLF" in one_line(start([*shell, "bench.run"], cwd=tmp_path), 1)


def test_a_byte_order_mark_is_damage(bench: Path, tmp_path: Path) -> None:
    (tmp_path / "bench.run").write_bytes(b"\xef\xbb\xbf" + bench.read_bytes())
    finished = start(["sh", "bench.run"], cwd=tmp_path)
    assert (finished.returncode, finished.stdout) == (1, "")
    assert "page-alloc-bench: " in finished.stderr
    assert "damaged" in finished.stderr.splitlines()[-1]


PIPES: dict[str, Callable[[Path], str]] = {
    "a pipe": lambda bench: f"cat {bench} | sh",
    "a pipe, options": lambda bench: f"cat {bench} | sh -s -- --list",
    "a pipe by name": lambda bench: f"cat {bench} | sh /dev/stdin",
    "standard input": lambda bench: f"sh <{bench}",
    "standard input of bash": lambda bench: f"bash <{bench}",
    "standard input of busybox": lambda bench: f"busybox sh <{bench}",
    "a substitution": lambda bench: f"bash -c 'sh <(cat {bench})'",
}


@pytest.mark.parametrize("way", list(PIPES))
def test_read_from_a_pipe_it_says_how_to_start_it(way: str, bench: Path, tmp_path: Path) -> None:
    """And does not call /bin/sh damaged, which is what $0 stands for then."""
    finished = start(["sh", "-c", PIPES[way](bench)], cwd=tmp_path)
    assert "save the bundle as a file" in one_line(finished, 1)


@pytest.mark.parametrize("command", ["sh /proc/self/fd/3 x", "/proc/self/fd/3 x", "sh /dev/fd/3 x"])
def test_a_descriptor_stands_for_the_file(command: str, bench: Path) -> None:
    document = told(start(["sh", "-c", f"exec {command} 3<{bench}"]))
    assert (document["argv"], document["bundle"]) == (["x"], str(bench))


def test_a_name_that_is_no_text(bench: Path, tmp_path: Path) -> None:
    place = os.fsencode(tmp_path) + b"/\xff\xfe \xe9"
    os.mkdir(place)
    shutil.copy(os.fsencode(bench), place + b"/bench.run")
    for command in ([b"./bench.run"], [b"busybox", b"sh", b"bench.run"], [b"bash", b"bench.run"]):
        done = subprocess.run(command, cwd=place, capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, b"")


def test_where_no_program_can_be_started_it_says_so(bench: Path, tmp_path: Path) -> None:
    """As under sudo with NOEXEC."""
    (tmp_path / "env").write_text("#!/nonexistent\n")
    (tmp_path / "env").chmod(0o755)
    words = one_line(start(["/bin/sh", str(bench)], env={"PATH": str(tmp_path)}), 3)
    assert "no program can be started here" in words
    assert "NOEXEC" in words


@pytest.mark.parametrize(
    ("closed", "embedded"),
    [(">&-", ("sh", "busybox sh")), ("<&- >&- 2>&-", ("bash",))],
)
def test_closed_descriptors_are_not_taken_by_files(
    closed: str, embedded: tuple[str, ...], bench: Path, tmp_path: Path
) -> None:
    """Each way to start it with each that is closed; each shell with both Pythons."""
    for how in ("sh", "bash", "busybox sh", sys.executable):
        env = EMBEDDED if how in embedded else {}
        command = f"{how} {bench} --extract {tmp_path}/out {closed}"
        finished = start(["sh", "-c", f"ulimit -c 0; {command}"], env=env)
        assert (finished.returncode, finished.stdout) == (0, ""), how
        shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("python", ["host", "embedded"])
def test_a_limit_on_the_size_of_files_does_not_keep_it_from_unpacking(
    python: str, bench: Path
) -> None:
    env = EMBEDDED if python == "embedded" else {}
    limited = ["prlimit", "--fsize=1000:unlimited", "sh", str(bench)]
    for options in (["--help"], ["--preflight", "--iterations=0"]):
        finished = start([*limited, *options], env=env)
        assert finished.returncode in (0, 2), finished.stderr
        assert "unpack" not in finished.stderr
