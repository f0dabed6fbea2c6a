# SPDX-License-Identifier: GPL-2.0-only
"""What the throwaway VM decides without booting anything."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from page_alloc_bench.packager.place import HERE
from page_alloc_bench.targets import (
    apt,
    build_root,
    building,
    cache,
    kernels,
    root,
)
from page_alloc_bench.targets.process import TargetError

DEB822 = """\
# The archive
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Enabled: no

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm

Types: deb
URIs: http://security.example/debian-security/
Suites: bookworm-security
Components: main
"""

ONE_LINE = """\
# deb http://comment.example/debian bookworm main
deb cdrom:[Debian 12]/ bookworm main
deb https://third.example/apt cloud-sdk-bookworm main
deb-src http://src.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian/ bookworm main contrib
deb http://security.example/debian-security bookworm-security main
"""


@pytest.fixture(autouse=True)
def private_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's cache and overrides out of these tests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("PAGE_ALLOC_BENCH_MIRROR", raising=False)
    monkeypatch.delenv("PAGE_ALLOC_BENCH_SECURITY_MIRROR", raising=False)


@pytest.mark.parametrize(
    "sources", [apt.parse_deb822(DEB822), apt.parse_one_line(ONE_LINE)], ids=["deb822", "one-line"]
)
def test_mirrors_come_from_the_hosts_sources(sources: list[apt.Source]) -> None:
    mirrors = apt.find_mirrors(sources)
    assert mirrors.main == "http://mirror.example/debian"
    assert mirrors.security == "http://security.example/debian-security"


def test_sources_of_both_formats_are_found(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://one.example/debian sid main\n")
    (tmp_path / "sources.list.d/debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/ignored.txt").write_text("deb http://no.example/debian sid main\n")
    uris = [uri for source in apt.host_sources(tmp_path) for uri in source.uris]
    assert uris == [
        "http://one.example/debian",
        "http://mirror.example/debian",
        "http://security.example/debian-security/",
    ]


def test_mirrors_can_be_overridden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGE_ALLOC_BENCH_MIRROR", "http://mine.example/d")
    mirrors = apt.find_mirrors(apt.parse_deb822(DEB822))
    assert mirrors.main == "http://mine.example/d"
    assert mirrors.security == "http://security.example/debian-security"


def test_a_missing_mirror_names_the_variable() -> None:
    with pytest.raises(TargetError, match="set PAGE_ALLOC_BENCH_MIRROR"):
        apt.find_mirrors([apt.Source(("http://ubuntu.example/ubuntu",), ("jammy",))])
    with pytest.raises(TargetError, match="set PAGE_ALLOC_BENCH_SECURITY_MIRROR"):
        apt.find_mirrors([apt.Source(("http://mirror.example/debian",), ("bookworm",))])


def test_suites_come_from_their_own_mirror_and_keyring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = tmp_path / "keyring.gpg"
    monkeypatch.setattr(apt, "KEYRING", keyring)
    mirrors = apt.Mirrors("http://main.example", "http://security.example")
    with pytest.raises(TargetError, match="apt-get install debian-archive-keyring"):
        apt.source_lines(["sid"], mirrors)
    keyring.touch()
    assert apt.source_lines(["bookworm-backports", "bookworm-security"], mirrors) == [
        f"deb [signed-by={keyring}] http://main.example bookworm-backports main",
        f"deb [signed-by={keyring}] http://security.example bookworm-security main",
    ]


def test_kernel_names_are_unique_and_the_default_exists() -> None:
    names = [kernel.name for kernel in kernels.KERNELS]
    assert len(set(names)) == len(names)
    assert kernels.lookup(kernels.DEFAULT).name == "6.1"


def test_every_root_has_its_turn_in_the_matrix() -> None:
    used = {kernel.root for kernel in kernels.KERNELS}
    assert used - {None} == {row.name for row in root.ROOTS if row.init is root.TINY}
    assert all(kernel.boots_roots for kernel in kernels.KERNELS if kernel.root)


def test_the_image_is_found_where_debian_puts_it(tmp_path: Path) -> None:
    for release, image in (
        ("6.1.0-1-cloud-amd64", "boot/vmlinuz-6.1.0-1-cloud-amd64"),
        ("7.2.1-cloud-amd64", "usr/lib/modules/7.2.1-cloud-amd64/vmlinuz"),
    ):
        top = tmp_path / release
        modules = f"{'usr/' if image.startswith('usr') else ''}lib/modules/{release}"
        for file in (
            image,
            f"{modules}/modules.builtin",
            f"usr/src/linux-headers-{release}/Makefile",
        ):
            (top / file).parent.mkdir(parents=True, exist_ok=True)
            (top / file).touch()
        assert kernels.locate(top, kernels.lookup("6.1")) == {
            "release": release,
            "vmlinuz": image,
            "modules_dir": modules,
            "kdir": f"usr/src/linux-headers-{release}",
        }
    (tmp_path / "6.1.0-1-cloud-amd64/boot/vmlinuz-6.1.0-2-cloud-amd64").touch()
    with pytest.raises(TargetError, match="hold 2 images"):
        kernels.locate(tmp_path / "6.1.0-1-cloud-amd64", kernels.lookup("6.1"))


def test_a_build_root_shows_what_it_is_given_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/gcc").symlink_to("/usr/bin/gcc-99")
    (tree / "lib").symlink_to("usr/lib")
    monkeypatch.setattr(build_root, "ensure", lambda: tree)
    outer, inner, other = Path("/w"), Path("/w/sources"), Path("/kernel")
    words = build_root.command(["make", "-j2"], writable=[inner], readonly=[outer, other])
    line = " ".join(words)
    assert words[-3:] == ["--", "make", "-j2"]
    assert f"--ro-bind {tree}/usr /usr" in line
    assert "--symlink usr/lib /lib" in line
    assert line.index("--ro-bind /w /w") < line.index("--bind /w/sources /w/sources")
    assert "--ro-bind /kernel /kernel" in line
    assert "--bind / /" not in line
    assert build_root.find("gcc") == "/usr/bin/gcc"
    assert build_root.find("gcc-12") is None


@pytest.mark.parametrize(
    ("name", "asked", "wanted"),
    [
        ("6.1", {}, (None, None, None)),
        ("5.10", {}, ("gcc", None, None)),
        ("5.10", {"cc": "gcc-10"}, ("gcc-10", None, None)),
        ("7.2", {}, ("gcc", None, None)),
        ("7.2", {"llvm": "1"}, (None, None, "1")),
        ("6.1-arm64", {}, ("aarch64-linux-gnu-gcc", "aarch64-linux-gnu-", None)),
        ("6.12-clang", {"kcflags": None}, (None, None, "1")),
    ],
)
def test_each_kernel_is_built_with_a_compiler_that_is_there(
    name: str,
    asked: dict[str, str | None],
    wanted: tuple[str | None, str | None, str | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(build_root, "ensure", lambda: Path("/root-to-build-in"))
    monkeypatch.setattr(kernels.FetchedKernel, "trees", (Path("/cached"),))
    row = kernels.lookup(name)
    fetched = kernels.FetchedKernel(row, "r", Path("v"), Path("m"), Path("/cached/k"))
    request = building.tree_request(fetched, asked)
    assert (request.cc, request.cross_compile, request.llvm) == wanted
    assert (request.within is HERE) == (name in ("6.1", "5.10"))


def test_an_unknown_kernel_lists_those_there_are() -> None:
    with pytest.raises(TargetError, match=r"no kernel called '4\.4': there are 6\.1, 5\.10, 7\.3,"):
        kernels.fetch("4.4")


def test_an_unreachable_mirror_is_explained_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in ("PAGE_ALLOC_BENCH_MIRROR", "PAGE_ALLOC_BENCH_SECURITY_MIRROR"):
        monkeypatch.setenv(variable, "file:/nowhere")
    with pytest.raises(TargetError, match=r"(?s)package lists of bookworm.*set PAGE_ALLOC_BENCH_M"):
        kernels.fetch("6.1")
    left = [path for path in (cache.cache_dir() / "kernels").iterdir() if path.suffix != ".lock"]
    assert left == []


def test_a_cached_kernel_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    def fake(kernel: kernels.Kernel, temporary: Path, final: Path) -> None:
        built.append(kernel.name)
        about = {"release": "6.1.0-1", "vmlinuz": "boot/v", "modules_dir": "m", "kdir": "k"}
        (temporary / "kernel.json").write_text(json.dumps(about))

    monkeypatch.setattr(kernels, "build_entry", fake)
    first = kernels.fetch("6.1")
    monkeypatch.setenv("PATH", "/nowhere")
    assert kernels.fetch("6.1") == first
    assert built == ["6.1"]
    assert first.vmlinuz.parent.parent.parent == cache.cache_dir() / "kernels"


def test_headers_are_made_to_work_where_they_lie(tmp_path: Path) -> None:
    headers = tmp_path / "usr/src/linux-headers-6.1.0-1-cloud-amd64"
    headers.mkdir(parents=True)
    (headers / "Makefile").write_text("include /usr/src/linux-headers-6.1.0-1-common/Makefile\n")
    (headers / "scripts").symlink_to("/usr/lib/linux-kbuild-6.1/scripts")
    (headers / "tools").symlink_to("../../lib/linux-kbuild-6.1/tools")
    for _ in range(2):
        kernels.relocate(tmp_path, Path("/final"))
    makefile = "include /final/usr/src/linux-headers-6.1.0-1-common/Makefile\n"
    assert (headers / "Makefile").read_text() == makefile
    assert str((headers / "scripts").readlink()) == "/final/usr/lib/linux-kbuild-6.1/scripts"
    assert str((headers / "tools").readlink()) == "../../lib/linux-kbuild-6.1/tools"


def test_an_entry_is_built_once_by_many_and_never_half() -> None:
    built = []
    start = threading.Barrier(4)

    def build(temporary: Path, final: Path) -> None:
        assert not final.exists()
        built.append(temporary)
        (temporary / "content").write_text("whole")

    def work() -> None:
        start.wait()
        assert (cache.entry("kind", "key", build, "a test") / "content").read_text() == "whole"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1


def test_an_entry_that_fails_can_be_tried_again() -> None:
    def broken(temporary: Path, final: Path) -> None:
        (temporary / "half").touch()
        raise TargetError("no")

    with pytest.raises(TargetError):
        cache.entry("kind", "key", broken, "a test")
    assert not (cache.cache_dir() / "kind/key").exists()
    path = cache.entry("kind", "key", lambda *_directories: None, "a test")
    assert list(path.iterdir()) == []


def test_a_refreshed_entry_replaces_the_old_one_only_when_it_is_whole() -> None:
    def make(text: str) -> Path:
        def build(temporary: Path, final: Path) -> None:
            (temporary / "content").write_text(text)
            if text == "broken":
                raise TargetError("no")

        return cache.entry("kind", "key", build, "a test", refresh=True)

    assert not cache.has("kind", "key")
    assert (make("first") / "content").read_text() == "first"
    with pytest.raises(TargetError):
        make("broken")
    assert (cache.cache_dir() / "kind/key/content").read_text() == "first"
    assert (make("second") / "content").read_text() == "second"
    assert cache.has("kind", "key")
    left = [path.name for path in (cache.cache_dir() / "kind").iterdir()]
    assert sorted(left) == [".key.lock", "key"]


def test_what_a_killed_process_left_is_removed() -> None:
    left = cache.cache_dir() / "kind/.key.abc"
    left.mkdir(parents=True)
    (left / "half").touch()
    other = cache.cache_dir() / "kind/.other.abc"
    other.mkdir()
    cache.entry("kind", "key", lambda *_directories: None, "a test")
    assert not left.exists()
    assert other.exists()


def test_a_relative_cache_home_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_dir() == tmp_path / ".cache/page-alloc-bench"
