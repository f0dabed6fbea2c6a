# SPDX-License-Identifier: GPL-2.0-only
"""A kernel of the user's own: what is told of it before anything boots."""

from __future__ import annotations

import gzip
import lzma
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from own_trees import ARM_IMAGE, RELEASE, Tree, config_of, image, module
from page_alloc_bench import cli
from page_alloc_bench.targets import bootable, devices, fitted, kconfig, modules
from page_alloc_bench.targets.process import TargetError, UsageError


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "tree")


def refused(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        bootable.of_tree(path) if path.is_dir() else bootable.of_image(path)
    return str(caught.value)


def test_a_defconfig_gets_the_devices_that_it_drives(tree: Tree) -> None:
    found = bootable.of_tree(tree.top)
    assert (found.release, found.arch, found.image) == (RELEASE, "amd64", tree.image)
    assert found.boots.disk is not None
    assert found.boots.network is not None
    assert (found.boots.disk.name, found.boots.network.name) == ("ahci", "e1000")
    assert found.boots.choose() == fitted.SSH
    # Its image alone is the same kernel.
    assert bootable.of_image(tree.image) == found


@pytest.mark.parametrize(
    ("builtin", "way"),
    [
        (("virtio_pci", "virtio_blk", "virtio_net", "ext4"), fitted.SSH),
        (("nvme", "8139cp", "ext4"), fitted.SSH),
        (("ata_piix", "sd_mod", "e1000e", "ext4"), fitted.SSH),
        (("ahci", "sd_mod", "e1000"), fitted.DISK),  # no ext4
        (("ahci", "sd_mod", "ext4"), fitted.DISK),  # no network
        (("nvme",), fitted.DISK),
        (("ahci", "e1000", "ext4"), fitted.SERIAL),  # no disks on AHCI
        (("virtio_blk", "virtio_net"), fitted.SERIAL),  # without their bus
        ((), fitted.SERIAL),
    ],
)
def test_a_guest_is_reached_the_first_way_that_the_kernel_can(
    tree: Tree, builtin: tuple[str, ...], way: str
) -> None:
    tree.write("modules.builtin", "".join(f"kernel/{name}.ko\n" for name in builtin))
    assert bootable.of_tree(tree.top).boots.choose() == way


def test_what_no_way_is_there_for_says_what_each_lacks(tmp_path: Path) -> None:
    tree = Tree(tmp_path, SERIAL_8250_RUNTIME_UARTS="1")
    tree.write("modules.builtin", "kernel/fs/ext4/ext4.ko\n")
    with pytest.raises(UsageError, match=r"by ssh it lacks a disk \(virtio-blk, nvme, ahci, piix\)"
                       r".*by disk it lacks.*by serial it lacks CONFIG_SERIAL_8250_RUNTIME_UARTS"
                       r".*page-alloc-bench kconfig"):  # fmt: skip
        bootable.of_tree(tree.top).boots.choose()
    with pytest.raises(UsageError, match="lacks SERIAL_8250_RUNTIME_UARTS"):
        bootable.find(str(tree.top))  # for a guest with serial ports alone


@pytest.mark.parametrize("symbol", [need.symbol for need in kconfig.NEEDED if need.arch != "arm64"])
def test_what_a_run_cannot_do_without_is_told_with_the_fragment(
    tmp_path: Path, symbol: str
) -> None:
    said = refused(Tree(tmp_path, **{symbol: "n"}).top)
    assert f"it lacks {symbol}; append this" in said
    assert said.endswith(f"\nCONFIG_{symbol}=y\n")
    assert "merge_config.sh -m .config FRAGMENT && make olddefconfig" in said


def test_what_a_run_is_poorer_without_is_no_obstacle(tmp_path: Path) -> None:
    found = bootable.of_tree(Tree(tmp_path, NUMA="n").top)
    assert [need.symbol for need in found.poorer] == ["NUMA"]


def remove(name: str) -> Callable[[Tree], object]:
    return lambda tree: (tree.top / name).unlink()


def later(name: str) -> Callable[[Tree], object]:
    def change(tree: Tree) -> None:
        path = tree.write(name, b"")
        os.utime(path, (path.stat().st_mtime + 60,) * 2)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (remove(".config"), "has no .config"),
        (remove("include/config/kernel.release"), "is not built: .*run make there"),
        (remove("arch/x86/boot/bzImage"), "has no image arch/x86/boot/bzImage: run make bzImage"),
        (lambda tree: tree.image.write_bytes(image("6.12.0-old")),
         "is stale: it is 6.12.0-old, and the tree is 6.12.1-own; run make"),
        (later("vmlinux"), "is stale: .*vmlinux is newer; run make"),
        (lambda tree: tree.write(".config", config_of(PREEMPT="y")),
         r"is stale: the configuration has changed since it was built \(PREEMPT\); run make"),
        (lambda tree: tree.write(".config", config_of(NUMA="n")), r"has changed .*\(NUMA\)"),
    ],
)  # fmt: skip
def test_a_tree_that_is_not_as_it_was_built_is_refused(
    tree: Tree, change: Callable[[Tree], object], said: str
) -> None:
    change(tree)
    with pytest.raises(UsageError, match=said):
        bootable.of_tree(tree.top)


@pytest.mark.parametrize("arch", ["riscv", "i386", "powerpc", "s390", "um"])
def test_a_tree_for_a_machine_that_no_guest_can_be_is_refused(tmp_path: Path, arch: str) -> None:
    assert f"is for {arch}: a guest can be amd64 or arm64" in refused(Tree(tmp_path, arch).top)


def test_a_tree_of_32_bits_is_refused(tmp_path: Path) -> None:
    assert "lacks 64BIT" in refused(Tree(tmp_path, **{"64BIT": "n"}).top)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\x7fELF" + bytes(0x400), "an ELF file, perhaps a vmlinux: a guest boots bzImage"),
        (b"", "not an image of those: a guest boots bzImage"),
        (b"MZ" + bytes(0x400), "not an image of those"),
        (gzip.compress(bytes(0x400)), "not an image of those"),
        (image(bits=32), "has 32 bits: a guest has 64"),
    ],
)
def test_an_image_that_no_guest_boots_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "bzImage"
    path.write_bytes(content)
    assert said in refused(path)


@pytest.mark.parametrize("content", [ARM_IMAGE, gzip.compress(ARM_IMAGE)])
def test_an_image_of_arm64_is_known_by_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vmlinuz"
    path.write_bytes(content)
    found = bootable.of_image(path)
    assert (found.arch, found.release) == ("arm64", RELEASE)
    assert found.boots.choose() == fitted.SERIAL


def test_a_kernel_of_arm64_is_cross_compiled_for(tmp_path: Path) -> None:
    found = bootable.of_tree(Tree(tmp_path, "arm64").top)
    assert found.source().cross_compile == "aarch64-linux-gnu-"
    assert found.boots.choose() == fitted.DISK  # its root would be another's


def test_a_stale_image_of_arm64_is_refused(tmp_path: Path) -> None:
    tree = Tree(tmp_path, "arm64")
    tree.write("include/config/kernel.release", "6.13.0\n")
    assert f"is stale: it is {RELEASE}, and the tree is 6.13.0" in refused(tree.top)


def test_the_compiler_of_the_tree_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree(tmp_path, CC_IS_CLANG="y")
    assert bootable.of_tree(tree.top).source().llvm == "1"
    monkeypatch.setenv("LLVM", "-15")
    asked = bootable.of_tree(tree.top).source()
    assert (asked.llvm, asked.from_environment) == ("-15", ("llvm",))


def test_a_kernel_that_takes_signed_modules_only_needs_its_key(tmp_path: Path) -> None:
    tree = Tree(tmp_path, MODULE_SIG_FORCE="y")
    assert "its key is not in " in refused(tree.top)
    tree.write("certs/signing_key.pem", "key")
    assert "its key is not in " in refused(tree.top)
    tree.write("certs/signing_key.x509", "certificate")
    # Modules get their signatures when they are installed, so those of the tree are of no use.
    tree.write("modules.order", "drivers/nvme/host/nvme.o\n")
    tree.write("drivers/nvme/host/nvme.ko", b"")
    tree.write("modules.builtin", "")
    found = bootable.of_tree(tree.top)
    assert found.signer is not None
    assert found.signer.key == str(tree.top / "certs/signing_key.pem")
    assert found.boots.choose() == fitted.SERIAL


def as_zst(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=content, capture_output=True, check=True).stdout


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".ko": bytes, ".ko.gz": gzip.compress, ".ko.xz": lzma.compress, ".ko.zst": as_zst,
}  # fmt: skip


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_modules_are_read_however_they_are_compressed(tmp_path: Path, suffix: str) -> None:
    if suffix == ".ko.zst" and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    where = tmp_path / "kernel/drivers"
    where.mkdir(parents=True)
    files = {"virtio-blk": ("virtio",), "virtio": (), "virtio_pci": ("virtio", "virtio-ring"),
             "virtio_ring": ()}  # fmt: skip
    for name, depends in files.items():
        (where / f"{name}{suffix}").write_bytes(COMPRESSED[suffix](module(name, *depends)))
    (tmp_path / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\n")
    found = modules.installed(tmp_path)
    assert found.has(("virtio_pci", "virtio_blk", "ext4"))
    order = list(found.needed(("virtio_pci", "virtio_blk", "ext4")))
    assert order == ["virtio.ko", "virtio_ring.ko", "virtio_pci.ko", "virtio_blk.ko"]
    assert modules.read(found.files["virtio"]) == module("virtio")


@pytest.mark.parametrize("suffix", [".ko.gz", ".ko.xz", ".ko.zst", ".ko.lz4", ".ko"])
def test_a_damaged_module_is_an_error_with_its_name(tmp_path: Path, suffix: str) -> None:
    if suffix == ".ko.zst" and not shutil.which("zstd"):
        pytest.skip("zstd is not installed")
    path = tmp_path / f"kernel/nvme{suffix}"
    path.parent.mkdir()
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(TargetError, match=f"nvme{suffix}"):
        modules.installed(tmp_path).needed(("nvme",))


@pytest.mark.parametrize("line", ["drivers/nvme/host/nvme.o", "drivers/nvme/host/nvme.ko",
                                  "kernel/drivers/nvme/host/nvme.ko"])  # fmt: skip
def test_a_tree_has_its_modules_before_they_are_installed(tree: Tree, line: str) -> None:
    tree.write("modules.builtin", "")
    tree.write("modules.order", line + "\n")
    assert bootable.of_tree(tree.top).boots.disk is None  # not built yet
    path = tree.write("drivers/nvme/host/nvme.ko", module("nvme"))
    found = bootable.of_tree(tree.top).boots
    assert found.disk is not None
    assert found.disk.name == "nvme"
    assert found.modules.needed(found.disk.drivers) == {"nvme.ko": path}


def test_an_installed_kernel_is_known_by_its_image_and_modules(tmp_path: Path) -> None:
    boot, lib = tmp_path / "boot", tmp_path / f"lib/modules/{RELEASE}"
    for directory in (boot, lib / "kernel"):
        directory.mkdir(parents=True)
    path = boot / f"vmlinuz-{RELEASE}"
    path.write_bytes(image())
    (lib / "kernel/nvme.ko.gz").write_bytes(gzip.compress(module("nvme")))
    found = bootable.of_image(path, lib)
    assert (found.release, found.request) == (RELEASE, None)
    assert found.boots.disk is not None
    assert found.boots.disk.name == "nvme"
    with pytest.raises(UsageError, match=r"no module can be built for it.*give its tree instead"):
        found.source()
    assert bootable.of_image(path) == found  # in the same tree of directories
    (boot / f"config-{RELEASE}").write_text(config_of(MODULES="n"))
    with pytest.raises(UsageError, match="lacks MODULES"):
        bootable.of_image(path, lib)


def test_disks_of_a_kind_hang_on_one_controller() -> None:
    images = [("a", Path("/a"), "readonly=on"), ("b", Path("/b"), "snapshot=on")]
    for device in devices.DISKS:
        words = devices.disks(device, images)
        assert words.count("-drive") == 2
        assert len({word for word in words if "drive=a" in word or "drive=b" in word}) == 2
    assert devices.disks(devices.DISKS[2], images).count("ahci,id=ahci") == 1


def run_vm(*words: str) -> Result:
    return CliRunner().invoke(cli.main, ["vm", *words])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--kdir", "{tree}", "--kernel", "6.1"], "--kernel and --kdir exclude each other"),
        (["--kdir", "{tree}", "--image", "{image}"], "--kdir and --image exclude each other"),
        (["--kdir", "{tree}", "--modules", "/"], "--modules is about --image"),
        (["--kdir", "{tree}", "--exact", "--reach", "disk"], "--exact has neither disk nor"),
        (["--kdir", "{tree}/arch"], "arch is not a built kernel tree: it has no .config"),
        (["--kdir", "{tree}", "--mem", "500T"], "MiB are available here"),
        (["--kdir", "{tree}", "--boot-timeout", "0"], "boot-timeout"),
        (["--kdir", "{tree}", "missing.run"], "missing.run' does not exist"),
        (["--kdir", "{tree}", "{image}"], "is not a bundle"),
    ],
)
def test_what_cannot_work_is_refused_before_the_boot(
    tree: Tree, words: list[str], said: str
) -> None:
    done = run_vm(*(word.format(tree=tree.top, image=tree.image) for word in words))
    assert done.exit_code == 2, done.output
    assert said in done.stderr.replace("\n", " ")


def test_in_a_built_tree_that_is_the_kernel(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree.top)
    tree.write(".config", config_of(PREEMPT="y"))
    done = run_vm()
    assert (done.exit_code, "is stale" in done.stderr) == (2, True)


def test_kconfig_prints_what_mends_a_configuration(tmp_path: Path) -> None:
    config = tmp_path / ".config"
    config.write_text(config_of(MODULES="n", SERIAL_8250_NR_UARTS="1", INET="n"))
    done = CliRunner().invoke(cli.main, ["kconfig", str(config)])
    assert done.exit_code == 1
    assert "CONFIG_MODULES=y\n" in done.stdout
    assert "CONFIG_SERIAL_8250_NR_UARTS=2\n" in done.stdout
    assert "INET" not in done.stdout
    config.write_text(config.read_text() + done.stdout)
    done = CliRunner().invoke(cli.main, ["kconfig", "--all", str(config)])
    assert (done.exit_code, "CONFIG_INET=y\n" in done.stdout) == (0, True)
