/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tells gcc -fanalyzer who gives back what the kernel's allocators gave, which
 * the kernel's headers do not: what is used after that, or given back twice, is
 * a finding then. Included in front of each file by the test, by nothing else.
 */
#include <linux/mm.h>
#include <linux/slab.h>

void *kvmalloc_node(size_t size, gfp_t flags, int node) __attribute__((malloc(kvfree, 1)));
void *__kmalloc(size_t size, gfp_t flags) __attribute__((malloc(kfree, 1)));
