# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that insists on signatures takes a bundle signed with a key it trusts, and no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from page_alloc_bench.packager.build import BuildRequest, build
from page_alloc_bench.packager.signing import Signer
from page_alloc_bench.targets import building, kernels
from page_alloc_bench.targets.appliance import Appliance

RUN = """
for name in signed unsigned; do
	sh /root/$name.run --iterations 1 --alloc-orders 0 --cpus 0 --quiet >/root/$name.json
	echo "$name $?"
done
"""


@pytest.fixture(scope="module")
def kernel() -> kernels.FetchedKernel:
    return kernels.fetch("6.12-clang")


def test_it_takes_the_signed_one_and_says_why_not_the_other(
    kernel: kernels.FetchedKernel, tmp_path: Path
) -> None:
    certs = kernel.kdir / "certs"
    signer = Signer(str(certs / "signing_key.pem"), certs / "signing_key.x509")
    tree = building.tree_request(kernel)
    request = BuildRequest(**vars(tree), output=tmp_path / "unsigned.run")
    build(request)
    signed = build(replace(request, output=tmp_path / "signed.run", signer=signer))
    assert signed.modules[0].signature is not None
    done = Appliance(kernel, cpus=1, cmdline_extra="module.sig_enforce=1").run(
        RUN,
        {f"/root/{name}.run": tmp_path / f"{name}.run" for name in ("signed", "unsigned")},
        ["/root/signed.json", "/root/unsigned.json"],
    )
    assert done.stdout.splitlines() == ["signed 0", "unsigned 3"], done.stderr
    assert "loads only signed modules" in done.stderr
    assert "--sign-key" in done.stderr
    assert json.loads(done.files["/root/signed.json"])["run"]["complete"] is True
    assert not done.files["/root/unsigned.json"]
