# SPDX-License-Identifier: GPL-2.0-only
"""A list of kernels is read strictly; what fails is named, and does not look complete."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bundle_maker import MODULE_DATA
from page_alloc_bench import cli, outputs
from page_alloc_bench.packager import kbuild, manifest, matrix, sbom
from page_alloc_bench.packager.build import BuildRequest, BuildResult, TreeRequest
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.module_info import ModuleInfo

GOOD = """
sbom = true
[[kernel]]
name = "a"
kdir = "trees/a"
[[kernel]]
name = "b-arm64"
kdir = "/trees/b"
arch = "arm64"
cross_compile = "aarch64-linux-gnu-"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "kernels.toml"
    path.write_text(text)
    return path


def test_each_tree_has_its_own_compiler(tmp_path: Path) -> None:
    defaults = TreeRequest(Path(), llvm="1", kcflags="-g")
    read = matrix.read(write(tmp_path, GOOD), defaults)
    assert read.kernels == {
        "a": TreeRequest(tmp_path / "trees/a", llvm="1", kcflags="-g"),
        "b-arm64": TreeRequest(
            Path("/trees/b"),
            llvm="1",
            arch="arm64",
            cross_compile="aarch64-linux-gnu-",
            kcflags="-g",
        ),
    }
    assert (read.fat, read.sbom) == (False, True)
    assert matrix.read(write(tmp_path, 'bundle = "fat"\n' + GOOD), defaults).fat


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kernel = [", "is not TOML"),
        ("", "lists no kernels"),
        ("kernel = []", "lists no kernels"),
        ("kernel = [1]", "kernel 1 is not a table"),
        ("kernels = 1\n" + GOOD, "unknown key kernels; known: bundle, kernel, sbom"),
        ('bundle = "thin"\n' + GOOD, 'bundle is "each" or "fat"'),
        (GOOD.replace("true", '"yes"'), "sbom is true or false"),
        (GOOD.replace('name = "a"', ""), "kernel 1 needs a name"),
        (GOOD.replace('"a"', '"../a"'), "kernel 1 needs a name"),
        (GOOD.replace("b-arm64", "a"), "two kernels called a"),
        (GOOD.replace('kdir = "/trees/b"', ""), "kernel b-arm64 has no kdir"),
        (GOOD.replace("arch =", "Arch ="), "kernel b-arm64: unknown key Arch"),
        (GOOD.replace('"arm64"', "64"), "kernel b-arm64: arch is not a string"),
    ],
)
def test_a_bad_file_gets_one_line_that_names_the_entry(
    text: str, words: str, tmp_path: Path
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(PackagerError) as caught:
        matrix.read(path, TreeRequest(Path()))
    assert words in caught.value.message
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PackagerError, match=r"none\.toml cannot be read"):
        matrix.read(tmp_path / "none.toml", TreeRequest(Path()))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kdir", "/x"], "excludes --kdir"),
        (["--kernel", "6.1"], "excludes --kdir"),
        (["--sbom", "x"], "excludes --kdir"),
        (["--compile-commands", "x"], "excludes --kdir"),
        ([], "needs a directory"),
    ],
)
def test_options_that_make_no_sense_with_it(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    command = ["build", "--matrix-file", str(write(tmp_path, GOOD)), *arguments]
    result = CliRunner().invoke(cli.main, command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr


# What is left behind.


def fake_build(request: BuildRequest, _: object) -> BuildResult:
    """Write bundles that name their trees; trees called broken do not build."""
    modules = []
    for tree in request.trees:
        if tree.kdir.name == "broken":
            raise PackagerError("it does not build\nat all", "mend it")
        info = ModuleInfo(f"6.1-{tree.kdir.name}", "", "x86_64", "gcc", "")
        modules.append(kbuild.BuiltModule(info, MODULE_DATA))
    data = " ".join(module.info.release for module in modules).encode()
    outputs.write(request.output, data, executable=True)
    if request.sbom:
        request.sbom.write_text("{}")
    return BuildResult(request.output, len(data), manifest.sha256(data), tuple(modules))


def run(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Result, Path]:
    monkeypatch.setattr("page_alloc_bench.packager.build.build", fake_build)
    out = tmp_path / "out"
    path = write(tmp_path, text)
    command = ["build", "-q", "--matrix-file", str(path), "-o", str(out)]
    return CliRunner().invoke(cli.main, command), out


def sums(out: Path) -> dict[str, str]:
    lines = (out / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


def test_a_bundle_a_kernel_and_their_digests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, out = run(tmp_path, GOOD, monkeypatch)
    assert (result.exit_code, result.stderr) == (0, "")
    names = {"a.run", "a.cdx.json", "b-arm64.run", "b-arm64.cdx.json"}
    assert {path.name for path in out.iterdir()} == names | {"SHA256SUMS"}
    assert sums(out) == {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names
    }
    rows = [line.split()[:4] for line in result.stdout.splitlines()]
    assert rows[1:] == [["a", "ok", "6.1-a", "x86_64"], ["b-arm64", "ok", "6.1-b", "x86_64"]]


def test_a_fat_bundle_serves_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result, out = run(tmp_path, 'bundle = "fat"\n' + GOOD, monkeypatch)
    assert result.exit_code == 0
    assert (out / "bench.run").read_text() == "6.1-a 6.1-b"
    assert set(sums(out)) == {"bench.run", "bench.cdx.json"}
    assert result.stdout.count("bench.run") == 2


def test_one_failure_stops_no_other_and_leaves_nothing_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    for stale in ("a.run", "a.cdx.json", "SHA256SUMS", "of-the-user"):
        (tmp_path / "out" / stale).write_text("old")
    result, out = run(tmp_path, GOOD.replace("trees/a", "broken"), monkeypatch)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[1].split()[:2] == ["a", "failed"]
    assert "error: a: it does not build\nat all\n  try: mend it\n" in result.stderr
    assert set(sums(out)) == {"b-arm64.run", "b-arm64.cdx.json"}
    assert {path.name for path in out.iterdir()} == set(sums(out)) | {"SHA256SUMS", "of-the-user"}


def test_a_run_cut_short_has_no_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/SHA256SUMS").write_text("old")

    def interrupted(_request: BuildRequest, _progress: object) -> BuildResult:
        raise KeyboardInterrupt

    monkeypatch.setattr("page_alloc_bench.packager.build.build", interrupted)
    read = matrix.read(write(tmp_path, GOOD), TreeRequest(Path()))
    with pytest.raises(KeyboardInterrupt):
        matrix.build_all(read, tmp_path / "out", {}, lambda _: None)
    assert list((tmp_path / "out").iterdir()) == []


# Where the two meet: a bill of materials names what a fat bundle holds.


DIGEST = "0" * 64
LICENSE_TEXT = "licenses/embedded-python-x86_64/libc6.txt"
PARTS = {
    "psutil": "site-packages/psutil/__init__.py",
    "shiv": "_bootstrap/__init__.py",
    "runner": "run.sh",
}
PYTHON = "python-x86_64.tar.gz"
SLICES = {PYTHON: {"bin/python3": DIGEST, "lib/libc.so.6": DIGEST}}


def module(release: str, signature: dict[str, str] | None) -> dict[str, object]:
    """What a manifest says of a module."""
    return {
        "name": f"modules/{release}-x86_64/page_alloc_bench.ko",
        "release": release,
        "machine": "x86_64",
        "vermagic": f"{release} SMP",
        "compiler": "GCC: 12",
        "srcversion": "",
        "signature": signature,
        "sha256": DIGEST,
    }


DESCRIBED = {
    "tool": {"name": "page-alloc-bench", "version": "1.2.3"},
    "source": {"kmod": DIGEST, "runner": DIGEST},
    "stub": {"size": 4096, "sha256": DIGEST},
    "modules": [module("5.10", None), module("6.1", {"hash": "sha256"})],
    "parts": [
        {"name": name, "size": 1, "sha256": DIGEST} for name in [*PARTS.values(), LICENSE_TEXT]
    ],
    "interpreters": [{"name": PYTHON, "machine": "x86_64", "version": "3.11.2", "sha256": DIGEST}],
}


def bill(of: str = DIGEST) -> str:
    """The bill of a fat bundle of that digest."""
    return sbom.make(DESCRIBED, of, SLICES)


def test_the_bill_is_valid_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415 - slow to load

    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    text = bill()
    assert JsonStrictValidator(sbom.VERSION).validate_str(text) is None
    assert text == bill()
    document = json.loads(text)
    assert "timestamp" not in document["metadata"]
    assert document["serialNumber"] != json.loads(bill("1" * 64))["serialNumber"]


def test_the_bill_names_all_that_the_manifest_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    components = {item["bom-ref"]: item for item in json.loads(bill())["components"]}
    assert {item["name"] for item in components.values()} == {
        "page-alloc-bench", "page_alloc_bench.ko", "psutil", "shiv", "cpython",
    }  # fmt: skip
    for item in components.values():
        assert item["licenses"], item["name"]
    told = components["modules/6.1-x86_64/page_alloc_bench.ko"]
    assert told["hashes"] == [{"alg": "SHA-256", "content": DIGEST}]
    said = {item["name"]: item["value"] for item in told["properties"]}
    assert said["page-alloc-bench:release"] == "6.1"
    assert said["page-alloc-bench:signature:hash"] == "sha256"
    for owner, name in PARTS.items():
        assert [file["name"] for file in components[owner]["components"]] == [name]
    python = components[PYTHON]
    assert {item["name"]: item["type"] for item in python["components"]} == {
        "bin/python3": "file",
        "lib/libc.so.6": "library",
    }
    assert LICENSE_TEXT in json.dumps(python["licenses"])


def test_the_bill_has_the_date_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    dated = json.loads(bill())
    assert dated["metadata"]["timestamp"].startswith("1970-01-02T00:00:00")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "today")
    with pytest.raises(PackagerError, match="SOURCE_DATE_EPOCH=today"):
        bill()
