# SPDX-License-Identifier: GPL-2.0-only
"""What is to be known of a host before it is restarted."""

from __future__ import annotations

from dataclasses import dataclass, replace

from page_alloc_bench.targets.host.shell import Shell, checked
from page_alloc_bench.targets.process import UsageError

PATH = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; export PATH LC_ALL=C\n"
_SCRIPT = r"""
say() { printf '%s=%s\n' "$1" "$(printf %s "$2" | tr '\n' ' ')"; }
has() { for tool; do command -v "$tool" && return; done; }
# Documentation/arch/x86/boot.rst: kernel_version, after the magic HdrS. Elsewhere what is not
# compressed within has linux_banner, init/version-timestamp.c, and another one without a number.
# Both end with what uname -v says.
version() {
    if [ "$(tail -c +515 "$1" | head -c 4)" = HdrS ]; then
        at=$(od -An -tu2 -j526 -N2 "$1")
        tail -c +$((at + 513)) "$1" | head -c 256 | tr '\0' '\n' | head -n 1
    else grep -ao 'Linux version [0-9][^#]*#[0-9][[:print:]]*' "$1" 2>/dev/null | head -n 1
    fi | sed -n 's/^[^#]*#/#/p'
}
first() { for file; do [ -e "$file" ] && echo "$file" && return; done; }
say release "$(uname -r)"
say machine "$(uname -m)"
say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
say cmdline "$(cat /proc/cmdline)"
say systemd "$([ -d /run/systemd/system ] && echo yes)"
say cpus "$(getconf _NPROCESSORS_ONLN)"
say nodes "$(ls -d /sys/devices/system/node/node[0-9]* 2>/dev/null | wc -l)"
say memory_kib "$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)"
say users "$(who | cut -d' ' -f1 | sort -u)"
say load "$(cut -d' ' -f1 /proc/loadavg)"
say running "$([ -e /sys/module/page_alloc_bench ] && echo yes)"
say root_options "$(sed -n 's|^[^ ]* / [^ ]* \([^ ]*\) .*|\1|p' /proc/mounts | tail -n 1)"
disk=$(readlink -f "$(findmnt -no SOURCE / 2>/dev/null)")
say root_errors "$(cat "/sys/fs/ext4/${disk##*/}/errors_count" 2>/dev/null)"
say lockdown "$(sed -n 's/.*\[\(.*\)\].*/\1/p' /sys/kernel/security/lockdown 2>/dev/null)"
# UEFI 2.10, 3.3: SecureBoot; four bytes of attributes come first.
say secure_boot "$(od -An -tu1 -j4 -N1 \
    /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c 2>/dev/null)"
say run_is "$(sed -n 's|^[^ ]* /run \([^ ]*\) .*|\1|p' /proc/mounts | tail -n 1)"
say restart "$(has systemctl reboot || { [ -w /proc/sysrq-trigger ] && echo sysrq; })"
say kexec "$(has kexec)"
say kexec_kernel "$([ -e /sys/kernel/kexec_loaded ] && echo yes)"
say kexec_disabled "$(cat /proc/sys/kernel/kexec_load_disabled 2>/dev/null)"
grub=$(first /boot/grub/grub.cfg /boot/grub2/grub.cfg)
editenv=$(has grub-editenv grub2-editenv)
probe=$(has grub-probe grub2-probe)
say grub_config "$grub"
say grub_editenv "$editenv"
say grub_probe "$probe"
if [ "$grub" ]; then
    # It may be a link to another file system.
    env=$(readlink -f "${grub%/*}/grubenv")
    [ -e "$env" ] && say grub_env "$env"
    [ "$editenv" ] && say grub_next "$($editenv "$env" list 2>/dev/null | grep ^next_entry=)"
    [ "$probe" ] && say grub_fs "$($probe --target=fs "${env%/*}" 2>/dev/null)" &&
        say grub_abstraction "$($probe --target=abstraction "${env%/*}" 2>/dev/null)"
fi
say efi "$(cat /sys/firmware/efi/fw_platform_size 2>/dev/null)"
of='s|^[^ ]* /sys/firmware/efi/efivars efivarfs \([^ ]*\) .*|\1|p'
say efi_vars "$(sed -n "$of" /proc/mounts)"
say efibootmgr "$(has efibootmgr)"
say efi_next "$(efibootmgr 2>/dev/null | sed -n 's/^BootNext: //p')"
for esp in /boot/efi /efi /boot; do
    [ -d "$esp/EFI" ] || continue  # an automount is there from now on
    of="s|^\([^ ]*\) $esp vfat \([^ ]*\) .*|\1 \2|p"
    set -- $(sed -n "$of" /proc/mounts | tail -n 1)
    [ "$1" ] || continue
    disk=$(readlink -f "/sys/class/block/$(basename "$(readlink -f "$1")")")
    say efi_esp "$esp"
    say efi_device "$1"
    say efi_options "$2"
    say efi_part "$(cat "$disk/partition" 2>/dev/null)"
    say efi_disk "/dev/$(basename "${disk%/*}")"
    own=$(du -sk "$esp/EFI/page-alloc-bench" 2>/dev/null | cut -f1)
    free=$(df -Pk "$esp" | sed -n '2s/^[^ ]* *[0-9]* *[0-9]* *\([0-9]*\) .*/\1/p')
    say efi_free_kib $((${own:-0} + free))
    break
done
for image in /boot/vmlinuz-* /boot/vmlinux-*; do
    release=${image#/boot/vmlinu?-}
    [ -d "/lib/modules/$release" ] || continue
    initrd=$(first "/boot/initrd.img-$release" "/boot/initramfs-$release.img" \
        "/boot/initrd-$release")
    say kernel "$release $image $initrd"
    say version "$release $(version "$image")"
    sizes="$sizes $release=$(du -Lkc "$image" ${initrd:+"$initrd"} | sed -n '$s/[^0-9].*//p')"
    [ "$(head -c 2 "$image")" = MZ ] && stubs="$stubs $release"
done
say kernel_kib "$sizes"
say efi_stubs "$stubs"
"""


@dataclass(frozen=True)
class HostKernel:
    """A kernel on a host: where its image and, if there is one, its initramfs are there.

    version: what `uname -v` will say in it, "" where the image does not tell.
    """

    release: str
    image: str
    initrd: str = ""
    version: str = ""


@dataclass(frozen=True)
class Facts:
    """What a host said of itself: values by name, as the script has them, and its kernels."""

    values: dict[str, str]
    kernels: dict[str, HostKernel]

    def __getitem__(self, name: str) -> str:
        """Return a value, empty where the host did not tell."""
        return self.values.get(name, "")

    @property
    def present(self) -> HostKernel:
        """Return the kernel that runs. Raises UsageError where it is not in /boot."""
        found = self.kernels.get(self["release"])
        if found is None:
            raise UsageError(
                f"the kernel that runs there, {self['release']}, is not in /boot with its modules: "
                "restart the host into one that is"
            )
        return found


def read(shell: Shell) -> Facts:
    """Ask a host. Raises TargetError."""
    return parse(checked(shell, PATH + _SCRIPT, "to find out what the host is"))


def parse(text: str) -> Facts:
    """Return the facts in what the script printed."""
    values: dict[str, str] = {}
    kernels = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name == "kernel":
            kernel = HostKernel(*value.split())
            kernels[kernel.release] = kernel
        elif name == "version":
            release, _, version = value.partition(" ")
            kernels[release] = replace(kernels[release], version=version.strip())
        else:
            values[name] = value.strip()
    return Facts(values, kernels)
