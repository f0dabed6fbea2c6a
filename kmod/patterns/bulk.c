// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocate pages many at a time (alloc_pages_bulk), and free them one by one. What
 * is timed as an allocation is a call. One that gets less than it asks for is a
 * shortfall: below the low watermark a call gives up after one page.
 */
#include <linux/ktime.h>
#include <linux/minmax.h>

#include "../compat.h"
#include "../pattern.h"

enum {
	PAGES,		/* per call */
};

/* Pages of a call: it does not make way for others. */
#define BULK_LARGEST	4096

/* Of calls, about so many pages between two looks at whether the session goes on. */
#define BULK_MOST	512

static u64 bulk_blocks(const u64 *parameters)
{
	return parameters[PAGES];
}

static noinline u64 bulk_call_timed(struct pab_worker *worker, u64 wanted)
{
	int before = pab_first_list_pages(worker);
	u64 ns, got, start = ktime_get_ns();

	got = pab_alloc_bulk(worker->gfp, wanted, worker->slots);
	ns = ktime_get_ns() - start;
	pab_alloc_record(worker, worker->slots[0], got, before, ns);
	return got;
}

/* Fill the first slots; return how many, 0 when the session stopped first. */
static u64 bulk_alloc(struct pab_worker *worker, u64 wanted)
{
	u64 got;

	if (likely(--worker->choose_alloc.until))
		got = pab_alloc_bulk(worker->gfp, wanted, worker->slots);
	else
		got = bulk_call_timed(worker, wanted);
	if (unlikely(got < wanted))
		WRITE_ONCE(worker->shortfalls, worker->shortfalls + 1);
	if (unlikely(!got)) {
		worker->slots[0] = pab_alloc_retry(worker);
		got = !!worker->slots[0];
	}
	/* All pages of a call are of one zone: __alloc_pages_bulk(), mm/page_alloc.c. */
	if (got && page_to_nid(worker->slots[0]) != worker->node)
		WRITE_ONCE(worker->remote, worker->remote + got);
	WRITE_ONCE(worker->allocs, worker->allocs + got);
	return got;
}

static void bulk_run(struct pab_worker *worker, const u64 *parameters)
{
	const u64 pages = parameters[PAGES];
	const unsigned int calls = max_t(u64, BULK_MOST / pages, 1);
	struct page **const slots = worker->slots;
	struct page *page;
	unsigned int call;
	u64 got, i;

	pab_mark_steady(worker);
	while (pab_may_go_on(worker) && pab_left(worker)) {
		for (call = 0; call < calls && pab_left(worker); call++) {
			got = bulk_alloc(worker, min(pages, pab_left(worker)));
			if (!got)
				return;
			for (i = 0; i < got; i++) {
				page = slots[i];
				slots[i] = NULL;
				pab_free_uncounted(worker, page);
			}
			pab_count_frees(worker, got);
			cond_resched();
		}
	}
}

const struct pab_pattern pab_pattern_bulk = {
	.name		= "bulk",
	.parameters	= {
		[PAGES]		= { "pages", 1, BULK_LARGEST },
	},
	.operations	= { PAB_BLOCK_OPERATIONS },
#ifdef PAB_NO_BULK
	.absent		= true,
#endif
	.of_pages	= true,
	.blocks		= bulk_blocks,
	.run		= bulk_run,
};
