# SPDX-License-Identifier: GPL-2.0-only
"""Nobody but root of the initial user namespace gets anything of the module, on a real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import lab
from page_alloc_bench.targets.guest import Guest

pytestmark = pytest.mark.seconds(2)
NODE = "/dev/page_alloc_bench"
OPEN_TO_ALL = "/opt/lab/container-dev/page_alloc_bench"  # as a careless administrator makes it
TRY = f"{lab.IN_GUEST}/try-to-open"
TRYING = """\
#!/usr/bin/python3
import errno, os, sys
try:
    os.open(sys.argv[1], os.O_RDWR)
    print("opened")
except OSError as error:
    print(errno.errorcode[error.errno])
"""
OWN_DEV = (
    "mount -t tmpfs none /mnt && touch /mnt/node && "
    f"mount --bind {OPEN_TO_ALL} /mnt/node && {TRY} /mnt/node"
)
CONTAINER = "unshare --mount --pid --fork --uts --ipc"
# What container engines leave to root by default: no CAP_SYS_ADMIN among them.
_KEPT = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
)
ENGINE = "-all,+" + ",+".join(_KEPT)
WITHOUT = "setpriv --bounding-set={caps} --inh-caps={caps} "
WAYS = {
    "user": (f"{TRY} {NODE}", "bench", "EACCES"),
    "user, node open to all": (f"{TRY} {OPEN_TO_ALL}", "bench", "EPERM"),
    "root of a user namespace": (f"unshare --user --map-root-user {TRY} {NODE}", "bench", "EACCES"),
    "root of a user namespace of root's": (
        f"unshare --user --map-root-user {TRY} {NODE}", "root", "EPERM",
    ),
    "root of a user namespace, node open to all": (
        f"unshare --user --map-root-user {TRY} {OPEN_TO_ALL}", "bench", "EPERM",
    ),
    "root of a container, node bound into its /dev": (
        f"{CONTAINER} --user --map-root-user sh -c '{OWN_DEV}'",
        "bench", "EPERM",
    ),
    "root of a container without a user namespace": (
        f"{CONTAINER} {WITHOUT.format(caps=ENGINE)} {TRY} {NODE}",
        "root", "EPERM",
    ),
    "the same, by a node that it makes itself": (
        f"{CONTAINER} {WITHOUT.format(caps=ENGINE)} sh -c "
        f"'mknod /root/made c $(cat /sys/class/misc/page_alloc_bench/dev | tr : \" \") && "
        f"{TRY} /root/made; rm -f /root/made'",
        "root", "EPERM",
    ),
    "root without CAP_SYS_ADMIN": (
        f"{WITHOUT.format(caps='-sys_admin')} {TRY} {NODE}", "root", "EPERM",
    ),
    "root without any capability": (f"{WITHOUT.format(caps='-all')} {TRY} {NODE}", "root", "EPERM"),
}  # fmt: skip


@pytest.fixture(scope="module")
def machine(guest: Guest) -> Iterator[Guest]:
    lab.install(guest)
    guest.run(f"insmod {lab.IN_GUEST}/page_alloc_bench.ko")
    number = guest.run("cat /sys/class/misc/page_alloc_bench/dev").stdout.strip()
    guest.run(
        f"cat > {TRY} && chmod 755 {TRY} && mkdir -p /opt/lab/container-dev && "
        f"mknod -m 666 {OPEN_TO_ALL} c {number.replace(':', ' ')}",
        input=TRYING,
    )
    yield guest
    guest.run("rm -r /opt/lab/container-dev; rmmod page_alloc_bench")
    assert "WARNING" not in guest.dmesg()


@pytest.mark.attempt("device opened by {way}", "EPERM or EACCES", "module loaded")
@pytest.mark.parametrize("way", WAYS)
def test_who_may_not_open_it(machine: Guest, way: str) -> None:
    command, user, outcome = WAYS[way]
    done = machine.run(command, user=user, check=False)
    assert done.stdout.strip() == outcome, done.stderr


def test_root_may(machine: Guest) -> None:
    assert machine.run(f"{TRY} {NODE}").stdout == "opened\n"


PASSED = """
import ctypes, errno, fcntl, json, mmap, os, socket, sys
from array import array
from page_alloc_bench.runner.module.abi import *
from page_alloc_bench.runner.module.device import Device
from page_alloc_bench.runner.result.histogram import HIST_BUCKETS

histogram = (ctypes.c_uint64 * HIST_BUCKETS)()

def outcome(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "no error"

def everything(session):
    fd = session.fileno()
    config = dict(pattern="antagonist", parameters={"held": 10, "spread": 1}, order=0, seed=1,
                  cpus=[0], time_one_in=1, sample_capacity=1)
    return {
        "info": outcome(fcntl.ioctl, fd, IOC_INFO, Info()),
        "configure": outcome(session.configure, **config),
        "start": outcome(session.start),
        "watch": outcome(session.watch_oom),
        "progress": outcome(session.progress),
        "stop": outcome(session.stop),
        "stats": outcome(session.cpu_stats, 0),
        "latency": outcome(fcntl.ioctl, fd, IOC_LATENCY,
                           LatencyRequest(histogram=ctypes.addressof(histogram))),
        "unknown": outcome(fcntl.ioctl, fd, 0x1234),
    }

def foreign(session):
    fd = session.fileno()
    return {
        "read": outcome(os.read, fd, 8),
        "write": outcome(os.write, fd, b"x"),
        "mmap": outcome(mmap.mmap, fd, 4096),
        "seek": outcome(os.lseek, fd, 0, 0),
    }

def in_a_child(become, *arguments):
    reader, writer = os.pipe()
    if os.fork() == 0:
        become(*arguments)
        os.write(writer, json.dumps({**everything(session), **foreign(session)}).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(reader, 65536))

def be_somebody():
    os.setgroups([])
    os.setgid(1000)
    os.setuid(1000)

def receive(end):
    be_somebody()
    _, ancillary, *_ = end.recvmsg(1, 1024)
    (_, _, data), = ancillary
    os.dup2(array("i", data)[0], session.fileno())

session = Device()
ours, theirs = socket.socketpair()
ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [session.fileno()]))])
print(json.dumps({
    "inherited": in_a_child(be_somebody),
    "passed": in_a_child(receive, theirs),
    "root": {**everything(session), **foreign(session)},
}))
"""


@pytest.mark.attempt(
    "descriptor of root's used by another user", "EPERM for each call", "module loaded"
)
def test_an_open_descriptor_is_of_no_use_to_anybody_else(machine: Guest) -> None:
    seen: dict[str, Any] = lab.python(machine, PASSED)
    calls = ("info", "configure", "start", "watch", "progress", "stop", "stats", "latency")
    for how in ("inherited", "passed"):
        assert {seen[how][name] for name in (*calls, "unknown")} == {"EPERM"}, seen[how]
    assert {seen["root"][name] for name in calls} == {"no error"}, seen["root"]
    assert seen["root"]["unknown"] == "ENOTTY"
    for how in seen:
        assert seen[how]["read"] == seen[how]["write"] == "EINVAL"
        assert seen[how]["mmap"] == "ENODEV"
        assert seen[how]["seek"] == "ESPIPE"


LEAKS = r"""
import json, os, re, subprocess
from page_alloc_bench.runner.module.device import Device
POINTER = re.compile(r"\b(?!f+\b)f{4,}[0-9a-f]{8,12}\b")  # all f: a mask

READ = r'''
import json, os, re, sys
found = {}
for directory in sys.argv[1:]:
    for base, _, names in os.walk(directory):
        for name in names:
            try:
                with open(os.path.join(base, name), errors="replace") as file:
                    found[os.path.join(base, name)] = file.read(65536)
            except OSError:
                pass
for name in ("/proc/modules", "/proc/kallsyms"):
    with open(name) as file:
        found[name] = "".join(line for line in file if "page_alloc_bench" in line)
print(json.dumps(found))
'''

with Device() as session:
    session.configure(pattern="antagonist", parameters={"held": 10, "spread": 1}, order=0,
                      seed=1, cpus=[0], time_one_in=1, sample_capacity=1)
    session.start()
    (worker,) = [pid for pid in os.listdir("/proc") if pid.isdigit()
                 and open(f"/proc/{pid}/comm").read() == "pab/0\n"]
    words = ["python3", "-", "/sys/module/page_alloc_bench", "/sys/class/misc/page_alloc_bench/",
             f"/proc/{worker}"]
    done = subprocess.run(["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *words],
                          input=READ, capture_output=True, text=True, check=True)
seen = json.loads(done.stdout)
print(json.dumps({"read": len(seen), "names": sorted(seen),
                  "symbols": seen["/proc/kallsyms"].count("\n"),
                  "leaks": [name for name, text in seen.items() if POINTER.search(text)]}))
"""


@pytest.mark.attempt(
    "sysfs and procfs read by a user", "no address of the kernel's", "module loaded"
)
def test_nothing_that_a_user_can_read_has_a_kernel_address(machine: Guest) -> None:
    seen = lab.python(machine, LEAKS)
    assert seen["read"] > 20
    assert seen["symbols"] > 5
    assert any(name.startswith("/sys/class/misc/page_alloc_bench/") for name in seen["names"])
    assert seen["leaks"] == []
