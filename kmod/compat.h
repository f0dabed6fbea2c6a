/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernel versions, and nothing else. No other file of the
 * module may ask which kernel it is built for.
 */
#ifndef PAB_COMPAT_H
#define PAB_COMPAT_H

#include <linux/compiler.h>
#include <linux/gfp.h>
#include <linux/log2.h>
#include <linux/memcontrol.h>
#include <linux/mmzone.h>
#include <linux/percpu.h>
#include <linux/sched.h>

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

/*
 * Put up to count pages into an array of NULLs; return how many.
 * alloc_pages_bulk_array() came with 0f87d9d30f21 ("mm/page_alloc: add an
 * array-based interface to the bulk page allocator", v5.13), one version before
 * NR_PCP_LISTS, which can be asked for; it is the macro alloc_pages_bulk() since
 * 6bf9b5b40af2 ("mm: alloc_pages_bulk: rename API", v6.14).
 */
static inline unsigned long pab_alloc_bulk(gfp_t gfp, unsigned long count, struct page **pages)
{
#if defined(alloc_pages_bulk)
	return alloc_pages_bulk(gfp, count, pages);
#elif defined(NR_PCP_LISTS)
	return alloc_pages_bulk_array(gfp, count, pages);
#else
#define PAB_NO_BULK
	return 0;
#endif
}

/*
 * A kernel thread is charged for nothing, unless it names a cgroup that is to be.
 * set_active_memcg() does that too, and refers to what 5.10 does not export. The
 * cgroup of a page is in its memcg_data since 18b2db3b0385 ("mm: Convert page
 * kmemcg type to a page memcg flag", v5.11).
 */
#ifdef CONFIG_MEMCG
static inline struct mem_cgroup *pab_memcg_of_caller(void)
{
	return get_mem_cgroup_from_mm(current->mm);
}

static inline void pab_charge_to(struct mem_cgroup *memcg)
{
	current->active_memcg = memcg;
}

static inline bool pab_page_charged(struct page *page)
{
#ifdef PG_kmemcg
	return PageKmemcg(page);
#else
	return PageMemcgKmem(page);
#endif
}
#else
static inline struct mem_cgroup *pab_memcg_of_caller(void)
{
	return NULL;
}

static inline void pab_charge_to(struct mem_cgroup *memcg)
{
}

static inline bool pab_page_charged(struct page *page)
{
	return false;
}
#endif

#endif /* PAB_COMPAT_H */
