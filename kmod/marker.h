/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Two instructions that do nothing, and by which a plugin of an emulator knows
 * where the work of a pattern begins and ends: templates/where.c includes this
 * file too.
 */
#ifndef PAB_MARKER_H
#define PAB_MARKER_H

/* Of x86 the displacement of a nopl; of arm64 its lower half, moved to xzr. */
#define PAB_MARK_BEGIN	0x50414230
#define PAB_MARK_END	0x50414231

#ifdef __KERNEL__
#include <linux/compiler.h>

static __always_inline void pab_mark_begin(void)
{
#if defined(CONFIG_X86_64)
	asm volatile("nopl %c0(%%rax,%%rax,1)" : : "i" (PAB_MARK_BEGIN) : "memory");
#elif defined(CONFIG_ARM64)
	asm volatile("mov xzr, %0" : : "i" (PAB_MARK_BEGIN & 0xffff) : "memory");
#endif
}

static __always_inline void pab_mark_end(void)
{
#if defined(CONFIG_X86_64)
	asm volatile("nopl %c0(%%rax,%%rax,1)" : : "i" (PAB_MARK_END) : "memory");
#elif defined(CONFIG_ARM64)
	asm volatile("mov xzr, %0" : : "i" (PAB_MARK_END & 0xffff) : "memory");
#endif
}
#endif

#endif /* PAB_MARKER_H */
