# SPDX-License-Identifier: GPL-2.0-only
"""The kernel module refuses what is not for a session of its own, on a real kernel."""

from __future__ import annotations

from module_session import ask
from page_alloc_bench.targets.guest import Guest


def test_one_session_at_a_time_and_no_rmmod_meanwhile(machine: Guest) -> None:
    seen = ask(
        machine,
        """
with Device() as session:
    second = fails(Device)
    rmmod = os.system("rmmod page_alloc_bench 2>/dev/null")
with Device():
    pass
print(json.dumps([second, rmmod != 0]))
""",
    )
    assert seen == ["EBUSY", True]


def test_only_root_may_open(machine: Guest) -> None:
    assert machine.run("stat -c %a:%U /dev/page_alloc_bench").stdout.strip() == "600:root"
    code = 'print(json.dumps(fails(os.open, "/dev/page_alloc_bench", os.O_RDWR)))'
    assert ask(machine, code, user="bench") == "EACCES"
    # Root by name only: CAP_SYS_ADMIN of the initial user namespace is what counts.
    test = (
        "unshare --user --map-root-user sh -c ': 3<>/dev/page_alloc_bench' && echo opened || true"
    )
    assert machine.run(test).stdout == ""


def test_calls_out_of_order_are_refused(machine: Guest) -> None:
    seen = ask(
        machine,
        """
with Device() as session:
    new = [fails(session.start), fails(session.stop), fails(session.watch_oom)]
    session.configure(**CONFIG)
    configured = [fails(session.stop)]
    session.start()
    running = [fails(session.start), fails(session.configure, **CONFIG)]
    session.stop()
    stopped = [fails(session.start), fails(session.stop), fails(session.configure, **CONFIG)]
    print(json.dumps([new, configured, running, stopped]))
""",
    )
    assert seen == [
        ["EBADFD", "EBADFD", "EBADFD"],
        ["EBADFD"],
        ["EBADFD", "EBADFD"],
        ["EBADFD", "EBADFD", "no error"],
    ]


def test_arguments_out_of_range_are_refused_and_change_nothing(machine: Guest) -> None:
    seen = ask(
        machine,
        """
with Device() as session:
    def configure(**changes):
        return fails(session.configure, **{**CONFIG, **changes})
    mask = (ctypes.c_char * 1)(1)
    def raw(request, argument):
        return fails(fcntl.ioctl, session.fileno(), request, argument)
    session.configure(**CONFIG)
    refused = {
        "order": configure(order=session.info.max_order + 1),
        "order -1": configure(order=2**32 - 1),
        "held 0": configure(held=0),
        "held": configure(held=MAX_BLOCKS // 2 + 1),
        "spread 0": configure(spread=0),
        "spread": configure(spread=101),
        "time_one_in": configure(time_one_in=MAX_TIME_ONE_IN + 1),
        "sample": configure(sample_capacity=MAX_SAMPLE + 1),
        "gfp": configure(gfp=len(Gfp)),
        "no cpu": configure(cpus=[]),
        "absent cpu": configure(cpus=[0, len(CPUS)]),
        "impossible cpu": configure(cpus=[0, 8191]),
        "operation": raw(IOC_LATENCY, LatencyRequest(operation=MAX_OPERATIONS)),
        "operation of none": raw(IOC_LATENCY, LatencyRequest(operation=2**32 - 1)),
        "pattern": raw(IOC_PATTERN, PatternInfo(pattern=session.info.pattern_count)),
        "other pattern": raw(IOC_CONFIGURE, Config(pattern=2**32 - 1)),
        "stats cpu": fails(session.cpu_stats, 2**32 - 1),
        "parameter too many": raw(IOC_CONFIGURE, Config(
            parameters=(100, 100, 1), cpus=ctypes.addressof(mask), cpus_size=1)),
        "request": fails(fcntl.ioctl, session.fileno(), 0x1234),
    }
    session.start()
    settle(session)
    print(json.dumps(refused))
""",
    )
    assert seen.pop("request") == "ENOTTY"
    assert set(seen.values()) == {"EINVAL"}, seen


def test_bad_addresses_are_efault(machine: Guest) -> None:
    seen = ask(
        machine,
        """
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
def ioctl(fd, request, address):
    return errno.errorcode[ctypes.get_errno()] if libc.ioctl(fd, request, address) else "no error"
with Device() as session:
    fd = session.fileno()
    config = Config(parameters=(1, 1), cpus=8, cpus_size=1)
    seen = {name: ioctl(fd, getattr(abi, name), 8) for name in (
        "IOC_INFO", "IOC_PATTERN", "IOC_CONFIGURE", "IOC_PROGRESS", "IOC_CPU_STATS", "IOC_LATENCY")}
    seen["bitmap"] = ioctl(fd, IOC_CONFIGURE, ctypes.addressof(config))
    session.configure(**CONFIG)
    request = LatencyRequest(cpu=0)
    seen["histogram"] = ioctl(fd, IOC_LATENCY, ctypes.addressof(request))
    # An address of the kernel's own must not pass either.
    seen["kernel"] = ioctl(fd, IOC_PROGRESS, 0xffff888000000000)
    print(json.dumps(seen))
""",
    )
    assert set(seen.values()) == {"EFAULT"}, seen
