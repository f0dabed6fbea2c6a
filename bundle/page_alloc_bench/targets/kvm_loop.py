# SPDX-License-Identifier: GPL-2.0-only
"""Run a loop of 100,000 rounds in 64-bit mode under KVM, and print how many seconds it took.

Run as a program, in a process of its own, for it may not come back. Standard library only. Numbers
and structures are those of Linux's include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
"""

import ctypes
import fcntl
import mmap
import os
import struct
import sys
import time

ROUNDS = 100_000

_CREATE_VM, _GET_VCPU_MMAP_SIZE, _CREATE_VCPU, _RUN = 0xAE01, 0xAE04, 0xAE41, 0xAE80
_SET_USER_MEMORY_REGION = 0x4020AE46
_SET_REGS, _GET_SREGS, _SET_SREGS = 0x4090AE82, 0x8138AE83, 0x4138AE84
_EXIT_HLT = 5

_SIZE = 1 << 21
_CODE, _TABLES = 0x4000, 0x1000
# struct kvm_sregs: cs, ds, es, fs, gs, ss, tr, ldt of 24 bytes each, gdt and idt of 16, then the
# control registers.
_SEGMENT, _CR0 = 24, 8 * 24 + 2 * 16


def main() -> int:
    """Run the loop; print the seconds and return 0, or say why not and return 1."""
    kvm = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    machine = fcntl.ioctl(kvm, _CREATE_VM, 0)
    memory = mmap.mmap(-1, _SIZE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    _fill(memory)
    region = struct.pack("<IIQQQ", 0, 0, 0, _SIZE, _address(memory))
    fcntl.ioctl(machine, _SET_USER_MEMORY_REGION, region)
    cpu = fcntl.ioctl(machine, _CREATE_VCPU, 0)
    state = mmap.mmap(cpu, fcntl.ioctl(kvm, _GET_VCPU_MMAP_SIZE, 0))
    special = bytearray(fcntl.ioctl(cpu, _GET_SREGS, bytes(312)))
    fcntl.ioctl(cpu, _SET_SREGS, bytes(_long_mode(special)))
    registers = [0] * 18
    registers[2], registers[16], registers[17] = ROUNDS, _CODE, 2  # rcx, rip, rflags
    fcntl.ioctl(cpu, _SET_REGS, struct.pack("<18Q", *registers))
    began = time.monotonic()
    fcntl.ioctl(cpu, _RUN, 0)
    taken = time.monotonic() - began
    (reason,) = struct.unpack_from("<I", state, 8)  # struct kvm_run: exit_reason
    if reason != _EXIT_HLT:
        print(f"KVM gave up with exit reason {reason}", file=sys.stderr)
        return 1
    print(taken)
    return 0


def _fill(memory: mmap.mmap) -> None:
    """Map the first 2 MiB to themselves, and put the loop there."""
    present, large = 3, 1 << 7
    for level in range(2):
        entry = (_TABLES + 0x1000 * (level + 1)) | present
        struct.pack_into("<Q", memory, _TABLES + 0x1000 * level, entry)
    struct.pack_into("<Q", memory, _TABLES + 0x2000, present | large)
    # dec rcx; jnz back; hlt
    memory[_CODE : _CODE + 6] = b"\x48\xff\xc9\x75\xfb\xf4"


def _long_mode(special: bytearray) -> bytearray:
    """Return the special registers of a CPU in 64-bit mode."""
    for place, kind in ((0, 0xB), (1, 3), (2, 3), (3, 3), (4, 3), (5, 3)):
        # base, limit, selector, type, present, dpl, db, s, l, g, avl, unusable, padding
        code = place == 0
        struct.pack_into(
            "<QIHBBBBBBBBBB", special, place * _SEGMENT, 0, 0xFFFFFFFF, 8 if code else 16, kind,
            1, 0, 0 if code else 1, 1, 1 if code else 0, 1, 0, 0, 0,
        )  # fmt: skip
    # cr0, cr2, cr3, cr4, cr8, efer: paging and protection, PAE, long mode.
    struct.pack_into("<6Q", special, _CR0, 0x80050033, 0, _TABLES, 1 << 5, 0, (1 << 8) | (1 << 10))
    return special


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


if __name__ == "__main__":
    sys.exit(main())
