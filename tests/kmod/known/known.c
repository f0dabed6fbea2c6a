// SPDX-License-Identifier: GPL-2.0-only
/*
 * For the tests only: a loop between the two markers of which it is known what
 * it does. Each turn is 16 instructions, 1 of them atomic, with 9 loads and 4
 * stores: in the parts of a turn only loads, only stores, both at once, and those
 * of a call, so that what counts them by parts has no place to hide.
 */
#include <linux/module.h>
#include <linux/types.h>

#include "marker.h"

static ulong turns = 1000000;
module_param(turns, ulong, 0444);

static int __init known_init(void)
{
	u64 cells[4] = { 0 };
	u64 left = turns;

	pab_mark_begin();
	asm volatile("jmp 2f\n"
		/* Part of a turn: 4 instructions, 3 loads, with that of ret. */
		"1:	mov (%[cells]), %%rax\n"
		"	mov 8(%[cells]), %%rax\n"
		"	nop\n"
		"	ret\n"
		/* 2 instructions, a store. */
		"2:	mov %%rax, 16(%[cells])\n"
		"	jmp 3f\n"
		/* 4 instructions, 3 loads. */
		"3:	mov (%[cells]), %%rax\n"
		"	mov 8(%[cells]), %%rax\n"
		"	mov 16(%[cells]), %%rax\n"
		"	jmp 4f\n"
		/* 3 instructions, 2 loads, 3 stores, 1 atomic. */
		"4:	lock incq (%[cells])\n"
		"	incq 8(%[cells])\n"
		"	call 1b\n"
		/* 3 instructions, a load. */
		"	mov 24(%[cells]), %%rax\n"
		"	dec %[left]\n"
		"	jnz 2b\n"
		: [left] "+r" (left)
		: [cells] "r" (cells)
		: "rax", "memory", "cc");
	pab_mark_end();
	return 0;
}

static void __exit known_exit(void)
{
}

module_init(known_init);
module_exit(known_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("page-alloc-bench tests: a loop of known instructions");
