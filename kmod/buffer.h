/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory for the module's own bookkeeping.
 */
#ifndef PAB_BUFFER_H
#define PAB_BUFFER_H

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

/*
 * Zeroed memory for count items of size bytes, near node, or NULL; kvfree() it.
 *
 * How much is asked for is up to user space. Where there is too little, a
 * benchmark that fails is better than a process of the host that the OOM killer
 * takes for it: without __GFP_RETRY_MAYFAIL it would.
 */
static inline void *pab_buffer(size_t count, size_t size, int node)
{
	return kvzalloc_node(array_size(count, size),
			     GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL, node);
}

#endif /* PAB_BUFFER_H */
