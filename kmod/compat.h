/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernel versions, and nothing else. No other file of the
 * module may ask which kernel it is built for.
 */
#ifndef PAB_COMPAT_H
#define PAB_COMPAT_H

#include <linux/compiler.h>
#include <linux/log2.h>
#include <linux/mmzone.h>
#include <linux/percpu.h>

#ifndef CONFIG_64BIT
#error "page_alloc_bench counts in 64-bit words that must not tear: 64-bit kernels only"
#endif

/*
 * The largest order the page allocator serves. MAX_ORDER was one more than that
 * until 23baf831a32c ("mm, treewide: redefine MAX_ORDER sanely", v6.4) and is
 * MAX_PAGE_ORDER since 5e0a760b4441 ("mm, treewide: rename MAX_ORDER to
 * MAX_PAGE_ORDER", v6.8). The pages in a block of that order have had one name
 * throughout.
 */
#define PAB_MAX_ORDER	ilog2(MAX_ORDER_NR_PAGES)

/*
 * How many pages are on this CPU's list of a zone. The lists have been apart from
 * the statistics since 28f836b6777b ("mm/page_alloc: split per cpu page lists and
 * zone stats", v5.14); what has this name came with 44042b449872 ("mm/page_alloc:
 * allow high-order pages to be stored on the per-cpu lists") of the same series.
 */
static inline int pab_list_pages(const struct zone *zone)
{
#ifdef NR_PCP_LISTS
	return READ_ONCE(raw_cpu_ptr(zone->per_cpu_pageset)->count);
#else
	return READ_ONCE(raw_cpu_ptr(zone->pageset)->pcp.count);
#endif
}

#endif /* PAB_COMPAT_H */
