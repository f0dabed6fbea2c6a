# SPDX-License-Identifier: GPL-2.0-only
"""Sign a module the way the kernel's own build does: with the tree's scripts/sign-file.

The signature is a CMS message without attributes, hence without a time: an RSA key gives the same
bytes each time. ECDSA draws a random number for each signature.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import dataclass
from pathlib import Path

from page_alloc_bench import outputs
from page_alloc_bench.packager import process
from page_alloc_bench.packager.errors import NOT_FIT, PackagerError
from page_alloc_bench.packager.place import HERE, Place
from page_alloc_bench.packager.tree import Tree

_PKCS11 = "pkcs11:"
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n?", re.DOTALL)
# The DER form of the identifier 1.2.840.10045.2.1, id-ecPublicKey.
_ECDSA = bytes.fromhex("06072a8648ce3d0201")


@dataclass(frozen=True)
class Signer:
    """Whose signature modules get.

    ``key``: a PEM file or a PKCS#11 URI; what unlocks it stands in the environment variable
    KBUILD_SIGN_PIN. ``certificate``: an X.509 file, PEM or DER.
    """

    key: str
    certificate: Path

    def require(self) -> None:
        """Raise PackagerError unless the files are there and the certificate is one."""
        if not self.key.startswith(_PKCS11):
            _require_readable(Path(self.key), "--sign-key")
            outputs.protect(Path(self.key))
        outputs.protect(self.certificate)
        self._der()

    @property
    def repeatable(self) -> bool:
        """Whether signing the same module again gives the same bytes."""
        return _ECDSA not in self._der()

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the certificate in its DER form, in hexadecimal."""
        return hashlib.sha256(self._der()).hexdigest()

    def _der(self) -> bytes:
        _require_readable(self.certificate, "--sign-cert")
        data = self.certificate.read_bytes()
        found = _PEM.search(data.decode("latin-1"))
        if found:
            return ssl.PEM_cert_to_DER_cert(found[0])
        if not data.startswith(b"\x30"):  # a SEQUENCE
            raise PackagerError(f"{self.certificate} is not an X.509 certificate, PEM or DER")
        return data


@dataclass(frozen=True)
class Signature:
    """How a module is signed. ``certificate``: its fingerprint, see Signer."""

    hash: str
    certificate: str


def require(tree: Tree, signer: Signer) -> None:
    """Raise PackagerError when modules of ``tree`` cannot be signed by ``signer``."""
    signer.require()
    if not tree.signature_hash:
        raise PackagerError(
            f"the kernel of {tree.path} does not check signatures (CONFIG_MODULE_SIG is not set)",
            "leave out --sign-key and --sign-cert for it",
            NOT_FIT,
        )
    if not _tool(tree).exists():
        raise PackagerError(
            f"{tree.path} has no scripts/sign-file",
            f"run: make -C {tree.path} modules_prepare; it needs OpenSSL's headers "
            "(libssl-dev on Debian)",
            NOT_FIT,
        )


def sign(tree: Tree, module: Path, signer: Signer, within: Place = HERE) -> Signature:
    """Append a signature to the file ``module``, to be stripped before, not after.

    The hash is the one that the kernel's own modules are signed with.
    """
    assert tree.signature_hash
    # Absolute, since a place may have another working directory; a PKCS#11 URI is not a path.
    read = [path.absolute() for path in (Path(signer.key), signer.certificate) if path.exists()]
    key = str(read[0]) if len(read) == 2 else signer.key
    command = [
        str(_tool(tree)), tree.signature_hash, key, str(signer.certificate.absolute()), str(module)
    ]  # fmt: skip
    finished = process.run(within.command(command, [module.parent], read))
    if finished.status != 0:
        words = (finished.stderr or finished.stdout).strip()
        raise PackagerError(
            f"scripts/sign-file of {tree.path} failed:\n{words}",
            "does the key belong to the certificate? KBUILD_SIGN_PIN unlocks a key that is "
            "encrypted or in a token",
        )
    return Signature(tree.signature_hash, signer.fingerprint)


def _tool(tree: Tree) -> Path:
    return tree.path / "scripts" / "sign-file"


def _require_readable(path: Path, option: str) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise PackagerError(f"{path} cannot be read: {error.strerror}", f"see {option}") from error
