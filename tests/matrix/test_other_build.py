# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that was built twice under one release takes the module of its own build only."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from matrix import rebuilt
from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.runner.kernel import build_identity
from page_alloc_bench.targets import kernels, source_kernel
from page_alloc_bench.targets.appliance import Appliance
from page_alloc_bench.targets.kernels import FetchedKernel
from trees import place

# Each bundle is run where that does no harm, and asked what it finds.
RUN = """
uname -rv
for name in {names}; do
	case " {asked} " in
	*" $name "*) ;;
	*)
		sh /root/$name.run --iterations 1 --alloc-orders 0 --quiet >/root/$name.json 2>/root/err
		echo "ran $name $?" && sed "s/^/$name: /" /root/err
		;;
	esac
	sh /root/$name.run --preflight >/root/$name.found
	echo "fit $name $?"
	sh /root/$name.run --preflight --accept other-build >/root/$name.accepted
	echo "accepted $name $?"
	grep page_alloc_bench /proc/modules
done
true
"""


@pytest.fixture(scope="module")
def first() -> FetchedKernel:
    return kernels.fetch(rebuilt.FIRST)


@pytest.fixture(scope="module")
def second() -> FetchedKernel:
    return rebuilt.again()


@pytest.fixture(scope="module")
def source() -> Path:
    return source_kernel.source_of(rebuilt.FIRST)


@pytest.fixture(scope="module")
def bundles(
    first: FetchedKernel,
    second: FetchedKernel,
    source: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Bundles of both builds, and of the first without vmlinux or with only a configuration."""
    top = tmp_path_factory.mktemp("bundles")
    headers = top / "headers"
    shutil.copytree(first.kdir, headers, symlinks=True, ignore=shutil.ignore_patterns("*.o", "*.a"))
    (headers / "vmlinux").unlink()
    prepared = top / "prepared"
    prepared.mkdir()
    shutil.copy(first.kdir / ".config", prepared)
    rebuilt.make_in(source, prepared, "olddefconfig", "modules_prepare")
    changed = rebuilt.sources()
    trees = {
        "first": (first.kdir, source),
        "second": (second.kdir, changed),
        "headers": (headers, source),
        "prepared": (prepared, source),
    }
    for name, seen in trees.items():
        build(BuildRequest(seen[0], output=top / f"{name}.run", within=place(*seen)))
    return {name: top / f"{name}.run" for name in trees}


class Runs:
    """What came of all BUNDLES on a kernel; ASKED are only asked what they find.

    ``codes``: by what was done and the bundle's name. ``documents``: by file name.
    """

    def __init__(self, kernel: FetchedKernel, bundles: dict[str, Path], asked: str = ""):
        files = [f"/root/{name}.{kind}" for name in bundles for kind in ("json", "found")]
        done = Appliance(kernel, cpus=1, memory="512M").run(
            RUN.format(names=" ".join(bundles), asked=asked),
            {f"/root/{path.name}": path for path in bundles.values()},
            files,
            timeout=900,
        )
        self.said, self.dmesg = done.stdout, done.dmesg
        rows = re.findall(r"^(ran|fit|accepted) (\w+) (\d+)$", done.stdout, re.MULTILINE)
        self.codes = {(what, name): int(code) for what, name, code in rows}
        self.documents = {
            name.rpartition("/")[2]: json.loads(text) for name, text in done.files.items() if text
        }

    def told(self, name: str) -> tuple[str, str] | None:
        """Severity and words of what preflight finds about the build."""
        found = self.documents[f"{name}.found"]["findings"]
        each = [(f["severity"], f["line"]) for f in found if f["name"] == "other-build"]
        return each[0] if each else None

    def verdict(self, name: str) -> tuple[bool | None, str | None]:
        told = self.documents[f"{name}.json"]["run"]["kernel"]["module_build"]
        return told["same"], told["by"]


def test_each_build_takes_its_own(
    first: FetchedKernel, second: FetchedKernel, bundles: dict[str, Path]
) -> None:
    assert first.release == second.release
    own, other = Runs(first, bundles), Runs(second, bundles, asked="prepared")
    assert own.said.startswith(f"{first.release} #1 ")
    assert other.said.startswith(f"{first.release} #2 ")
    for runs in (own, other):
        assert not re.search("Oops|BUG:|WARNING:", runs.dmesg)
        assert "\npage_alloc_bench " not in runs.said  # no module was left
        assert {runs.codes["accepted", name] for name in bundles} == {0}

    codes = {name: own.codes["ran", name] for name in bundles}
    assert codes == {"first": 0, "second": 3, "headers": 0, "prepared": 0}, own.said
    assert own.verdict("first") == (True, "build_id")
    assert own.verdict("headers") == (True, "version")
    assert own.verdict("prepared") == (None, "config")
    assert own.told("first") is own.told("headers") is None
    run = own.documents["prepared.json"]["run"]
    assert any("perhaps another build" in text for text in run["warnings"])

    codes = {name: other.codes["ran", name] for name in ("first", "second", "headers")}
    assert codes == {"first": 3, "second": 0, "headers": 3}, other.said
    assert other.verdict("second") == (True, "build_id")
    severity, line = other.told("first") or ("", "")
    assert severity == "refuse"
    assert re.search(r"another build of \S+: its build id is \w{12}, and this kernel's", line)
    severity, line = other.told("headers") or ("", "")
    assert severity == "refuse"
    assert re.search(r"another build of \S+: its uname -v is #1 .*, and this kernel's #2 ", line)
    assert (other.told("prepared") or ("", ""))[0] == "warn"
    assert "--accept other-build" in other.said


def test_modules_prepare_changes_nothing(
    first: FetchedKernel, source: Path, tmp_path: Path
) -> None:
    again = tmp_path / "build"
    shutil.copytree(first.kdir, again, symlinks=True)
    request = BuildRequest(again, output=tmp_path / "a.run", within=place(again, source))
    before = build(request).modules[0].build
    rebuilt.make_in(source, again, "modules_prepare")
    after = build(replace(request, output=tmp_path / "b.run")).modules[0].build
    assert before == after
    assert all(after.values())
    assert (tmp_path / "a.run").read_bytes() == (tmp_path / "b.run").read_bytes()


@pytest.mark.parametrize("name", ["5.10", "6.1", "6.12", "7.3"])
def test_debians_headers_have_the_configuration_of_their_kernel(name: str) -> None:
    kernel = kernels.fetch(name)
    top = kernel.modules_dir.parents[2]
    places = [top / f"boot/config-{kernel.release}", kernel.modules_dir / "config"]
    (text,) = [path.read_text() for path in places if path.exists()]
    of_headers = build_identity.of_tree(str(kernel.kdir))
    assert of_headers["config"] == build_identity.config_digest(text)
    assert of_headers["version"]
