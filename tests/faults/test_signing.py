# SPDX-License-Identifier: GPL-2.0-only
"""Modules are signed as the kernel's own build signs them, and a kernel that insists agrees."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from page_alloc_bench.packager import signing, tree
from page_alloc_bench.packager.build import BuildRequest, BuildResult, build
from page_alloc_bench.packager.errors import PackagerError
from page_alloc_bench.packager.signing import Signer
from page_alloc_bench.runner.bundle_file.archive import Archive
from page_alloc_bench.targets import kernels
from page_alloc_bench.targets.guest import Guest
from waiting import PATIENCE_S

pytestmark = pytest.mark.seconds(8)
MAGIC = b"~Module signature appended~\n"


def openssl(*arguments: str) -> str:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_key(directory: Path, *algorithm: str, pin: str = "") -> Signer:
    """Make a key and a certificate for it, as the kernel's certs/ does."""
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    secret = ["-passout", f"pass:{pin}"] if pin else ["-nodes"]
    openssl(
        "req", "-new", "-x509", "-batch", "-days", "2", "-subj", "/CN=tests", *secret,
        *(algorithm or ("-newkey", "rsa:2048")), "-keyout", str(key), "-out", str(certificate),
    )  # fmt: skip
    return Signer(str(key), certificate)


@pytest.fixture(scope="module")
def kernel() -> kernels.FetchedKernel:
    return kernels.fetch()


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return make_key(tmp_path_factory.mktemp("key"))


def build_signed(kdir: Path, output: Path, signer: Signer) -> BuildResult:
    output.parent.mkdir(exist_ok=True)
    return build(BuildRequest(kdir, output=output, signer=signer))


def test_the_module_carries_a_signature_that_openssl_confirms(
    kernel: kernels.FetchedKernel, signer: Signer, tmp_path: Path
) -> None:
    plain = build(BuildRequest(kernel.kdir, output=tmp_path / "plain.run")).modules[0].data
    result = build_signed(kernel.kdir, tmp_path / "bench.run", signer)
    signed = result.modules[0].data
    assert signed.startswith(plain)  # stripped first, signed then
    assert signed.endswith(MAGIC)
    # struct module_signature: its last four bytes are the size of the message, big endian.
    size = int.from_bytes(signed[-len(MAGIC) - 4 : -len(MAGIC)], "big")
    message = signed[-len(MAGIC) - 12 - size : -len(MAGIC) - 12]
    assert len(signed) == len(plain) + size + 12 + len(MAGIC)
    (tmp_path / "message").write_bytes(message)
    (tmp_path / "module").write_bytes(plain)
    openssl(
        "cms", "-verify", "-inform", "DER", "-binary", "-in", str(tmp_path / "message"),
        "-content", str(tmp_path / "module"), "-certfile", str(signer.certificate),
        "-CAfile", str(signer.certificate), "-purpose", "any", "-out", os.devnull,
    )  # fmt: skip
    text = openssl("cms", "-cmsout", "-print", "-inform", "DER", "-in", str(tmp_path / "message"))
    assert "signingTime" not in text
    archive = Archive(tmp_path / "bench.run")
    (entry,) = archive.manifest()["modules"]
    assert entry["signature"] == {
        "hash": tree.probe(kernel.kdir).signature_hash,
        "certificate": signer.fingerprint,
    }
    assert archive.module(entry) == signed
    assert signer.fingerprint == (
        openssl("x509", "-in", str(signer.certificate), "-noout", "-sha256", "-fingerprint")
        .partition("=")[2].strip().replace(":", "").lower()
    )  # fmt: skip


def test_signed_bundles_agree_to_the_byte(
    kernel: kernels.FetchedKernel, signer: Signer, tmp_path: Path
) -> None:
    first, second = (
        build_signed(kernel.kdir, tmp_path / place / "bench.run", signer) for place in "ab"
    )
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.warnings == ()


def test_an_ecdsa_key_is_warned_of(kernel: kernels.FetchedKernel, tmp_path: Path) -> None:
    signer = make_key(tmp_path, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    result = build_signed(kernel.kdir, tmp_path / "bench.run", signer)
    assert result.modules[0].data.endswith(MAGIC)
    assert "cannot be reproduced" in result.warnings[0]


def test_an_encrypted_key_is_unlocked_by_the_environment(
    kernel: kernels.FetchedKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = make_key(tmp_path, pin="open sesame")
    monkeypatch.delenv("KBUILD_SIGN_PIN", raising=False)
    with pytest.raises(PackagerError) as caught:
        build_signed(kernel.kdir, tmp_path / "bench.run", signer)
    assert "KBUILD_SIGN_PIN" in caught.value.advice
    assert not (tmp_path / "bench.run").exists()
    monkeypatch.setenv("KBUILD_SIGN_PIN", "open sesame")
    said: list[str] = []
    request = BuildRequest(kernel.kdir, output=tmp_path / "bench.run", signer=signer, verbose=True)
    assert build(request, said.append).modules[0].data.endswith(MAGIC)
    assert "open sesame" not in "\n".join(said)
    assert b"open sesame" not in (tmp_path / "bench.run").read_bytes()


def test_a_certificate_in_der_does_too(
    kernel: kernels.FetchedKernel, signer: Signer, tmp_path: Path
) -> None:
    der = tmp_path / "certificate.x509"
    openssl("x509", "-in", str(signer.certificate), "-outform", "DER", "-out", str(der))
    again = replace(signer, certificate=der)
    assert again.fingerprint == signer.fingerprint
    result = build_signed(kernel.kdir, tmp_path / "bench.run", again)
    assert result.modules[0].data.endswith(MAGIC)


# What cannot be signed, found before anything is compiled.


def refusal(found: tree.Tree, signer: Signer) -> PackagerError:
    with pytest.raises(PackagerError) as caught:
        signing.require(found, signer)
    return caught.value


def test_a_tree_without_the_tool(
    kernel: kernels.FetchedKernel, signer: Signer, tmp_path: Path
) -> None:
    bare = replace(tree.probe(kernel.kdir), path=tmp_path)
    error = refusal(bare, signer)
    assert (error.exit_code, "no scripts/sign-file" in error.message) == (3, True)
    assert "modules_prepare" in error.advice
    assert (
        "CONFIG_MODULE_SIG is not set" in refusal(replace(bare, signature_hash=""), signer).message
    )


def test_keys_that_are_none(kernel: kernels.FetchedKernel, signer: Signer, tmp_path: Path) -> None:
    found = tree.probe(kernel.kdir)
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("no certificate")
    assert "cannot be read" in refusal(found, replace(signer, key=str(tmp_path / "no"))).message
    assert "cannot be read" in refusal(found, replace(signer, certificate=tmp_path / "no")).message
    assert "not an X.509" in refusal(found, replace(signer, certificate=rubbish)).message
    signing.require(found, replace(signer, key="pkcs11:token=tests;object=key"))
    other = tmp_path / "other"
    other.mkdir()
    foreign = Signer(make_key(other).key, signer.certificate)
    with pytest.raises(PackagerError) as caught:
        build_signed(kernel.kdir, tmp_path / "bench.run", foreign)
    assert "sign-file" in caught.value.message
    assert "belong to the certificate" in caught.value.advice


# A kernel that insists.


@pytest.mark.attempt(
    "unsigned or foreign module, module.sig_enforce=1", "exit 3, with the reason", "loading"
)
def test_an_unsigned_module_is_refused_with_the_reason(
    kernel: kernels.FetchedKernel, signer: Signer, tmp_path: Path
) -> None:
    build(BuildRequest(kernel.kdir, output=tmp_path / "plain.run"))
    build_signed(kernel.kdir, tmp_path / "foreign.run", signer)
    with Guest(kernel=kernel, cpus=1, nodes=1, memory="512M",
               cmdline_extra="module.sig_enforce=1") as guest:  # fmt: skip
        for name in ("plain", "foreign"):
            guest.copy_to(tmp_path / f"{name}.run", f"/root/{name}.run")
            done = guest.run(
                f"/root/{name}.run --quiet --iterations 1", check=False, timeout=PATIENCE_S
            )
            assert (done.returncode, done.stdout) == (3, "")
            assert "loads only signed modules" in done.stderr
            assert "--sign-key" in done.stderr
        assert guest.run("lsmod").stdout.count("page_alloc_bench") == 0
