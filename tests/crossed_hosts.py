# SPDX-License-Identifier: GPL-2.0-only
"""Hosts with real sshds that only pretend to restart with another kernel, and to measure.

A restart changes what such a host says of its kernel and its boot; started as a program, this is
the --boot-hook of `ab --host` that does it. The runner in its bundle hands out a recorded result.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
import uuid
import zlib
from pathlib import Path

import numpy as np

import recorded
from sshd_hosts import SshHost

OLD, NEW = "6.1.0-old", "6.12.0-new"
LOSS = 0.95  # of the memory that user space gets, with the new kernel
RUNNER = """
import json, os, sys

HERE = "HOSTS/" + os.uname().nodename

def main():
    words = sys.argv[1:]
    if "--detach" in words:
        if os.path.exists(HERE + "/fails"):
            sys.stderr.write("page-alloc-bench: error: made up to fail\\n")
            return 1
        output = words[words.index("--output-path") + 1]
        open(output, "w").write(open(HERE + "/result").read())
        return 0
    return {"--status": 10, "--attach": 0}[words[0]]
"""
_PRETENDED = """
mount --bind {top}/boot /boot
mount -t overlay overlay -o lowerdir={top}/lib:/usr/lib /usr/lib
mount --bind {top}/uname /usr/bin/uname
mount --bind {top}/boot_id /proc/sys/kernel/random/boot_id
mount --bind {top}/reboot /usr/sbin/reboot
"""
_UNAME = '#!/bin/sh\n[ "$*" = -m ] && echo x86_64 || cat {top}/release\n'
_REBOOT = "#!/bin/sh\nexec {python} {this} {hosts} {name} {default} default\n"


def start(name: str, hosts: Path, keys: Path) -> SshHost:
    """Start a host that runs OLD."""
    top = hosts / name
    for release in (OLD, NEW):
        (top / "lib/modules" / release).mkdir(parents=True)
        (top / "boot").mkdir(exist_ok=True)
        (top / f"boot/vmlinuz-{release}").touch()
    words = {"top": shlex.quote(str(top)), "hosts": shlex.quote(str(hosts)), "name": name}
    words |= {"python": sys.executable, "this": __file__, "default": OLD}
    for program, text in (("uname", _UNAME), ("reboot", _REBOOT)):
        (top / program).write_text(text.format(**words))
        (top / program).chmod(0o755)
    (top / "boots").touch()
    boot(hosts, name, OLD)
    return SshHost(name, hosts, keys, more=_PRETENDED.format(**words))


def boot(hosts: Path, name: str, release: str) -> None:
    """Have a host run another kernel from now on, and prepare what it measures there."""
    top = hosts / name
    boots = (top / "boots").read_text().splitlines()
    boot_id = str(uuid.uuid4())
    # In place: what is mounted over another file is this file, whatever its name is.
    (top / "boot_id").write_text(f"{boot_id}\n")
    (top / "release").write_text(f"{release}\n")
    chance = np.random.default_rng([zlib.crc32(name.encode()), len(boots)])
    factor = (1 + zlib.crc32(name.encode()) % 4) * (LOSS if release == NEW else 1)
    document = recorded.plant_memory(
        recorded.documents(recorded.BASE)[0], factor * (1 + chance.normal(0, 0.003))
    )
    run = document["run"]
    run |= {"boot_id": boot_id, "seed": len(boots) + 1, "host_id": "a copy, as all are"}
    run["started_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    run["kernel"] |= {"release": release}
    (top / "result").write_text(json.dumps(document))
    if release == NEW and (top / "new-fails").exists():
        (top / "fails").touch()
    else:
        (top / "fails").unlink(missing_ok=True)
    with (top / "boots").open("a") as file:
        file.write(f"{release}\n")


if __name__ == "__main__":
    boot(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
