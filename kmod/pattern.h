/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a pattern declares, and what it is made of.
 *
 * A pattern is one file in patterns/: FILE.c defines pab_pattern_FILE, and Kbuild
 * finds it. Its run() is called on each worker's CPU and keeps the blocks that it
 * holds in worker->slots. Whatever is still there when run() returns is given
 * back by the worker, whyever it returned.
 */
#ifndef PAB_PATTERN_H
#define PAB_PATTERN_H

#include <linux/types.h>

#include "page_alloc_bench.h"
#include "worker.h"

struct pab_parameter {
	const char	*name;
	u64		min;
	u64		max;
};

/*
 * The first kinds of operation of every pattern: pab_alloc() and pab_free() time
 * these.
 *
 * From PAB_HIT_ALLOC on: those of the first two by the path that they took, as
 * the pages tell that are on this CPU's list of the zone, before and after. What
 * else uses the list at that moment, such as an interrupt, makes a hit a refill.
 */
enum pab_block_operation {
	PAB_ALLOC,
	PAB_FREE,
	PAB_ALLOC_FAILURE,	/* allocations that got nothing */
	PAB_HIT_ALLOC,		/* the block was on the list */
	PAB_REFILL_ALLOC,	/* the list has changed otherwise */
	PAB_BYPASS_ALLOC,	/* the list is as it was */
	PAB_FALLBACK_ALLOC,	/* the block is of another zone than the first to be asked */
	PAB_PUT_FREE,		/* the block is on the list */
	PAB_DRAIN_FREE,		/* it is not, or others have gone */
	PAB_BLOCK_OPERATION_COUNT
};

#define PAB_BLOCK_OPERATIONS	"alloc", "free", "alloc_failure", "hit_alloc", "refill_alloc", \
				"bypass_alloc", "fallback_alloc", "put_free", "drain_free"

struct pab_pattern {
	const char		*name;
	struct pab_parameter	parameters[PAB_MAX_PARAMETERS];
	const char		*operations[PAB_MAX_OPERATIONS];
	bool			absent;	/* the kernel lacks what it needs */
	bool			of_pages;	/* it knows order 0 only */

	/* Whether parameters in their ranges fit each other; NULL if they always do. */
	bool	(*valid)(const u64 *parameters);

	/* The most blocks that one worker may hold: 1 .. PAB_MAX_BLOCKS. */
	u64	(*blocks)(const u64 *parameters);

	/* Work until pab_may_go_on() says no or pab_left() is 0. */
	void	(*run)(struct pab_worker *worker, const u64 *parameters);
};

/* Those that Kbuild finds in patterns/, with commas between. */
extern const struct pab_pattern PAB_PATTERN_NAMES;

unsigned int pab_pattern_count(void);
const struct pab_pattern *pab_pattern_by_number(unsigned int number);
unsigned int pab_parameter_count(const struct pab_pattern *pattern);
unsigned int pab_operation_count(const struct pab_pattern *pattern);
bool pab_parameters_valid(const struct pab_pattern *pattern, const u64 *parameters);
void pab_pattern_describe(const struct pab_pattern *pattern, struct pab_pattern_info *info);

/*
 * False when the session stops, or when the CPU went offline and the scheduler
 * moved the worker: what it did elsewhere would be counted for the wrong CPU.
 */
bool pab_may_go_on(struct pab_worker *worker);

/* The start-up of the pattern is over on this worker. */
void pab_mark_steady(struct pab_worker *worker);

/* Sleep until the session stops. */
void pab_await_stop(struct pab_worker *worker);

/* Sleep, but no longer than the session goes on. */
void pab_sleep(struct pab_worker *worker, unsigned int ms);

/* How many more blocks the worker may allocate before it has made all that it shall. */
static inline u64 pab_left(const struct pab_worker *worker)
{
	return worker->limit - worker->allocs;
}

static __always_inline struct page *pab_alloc_once(struct pab_worker *worker)
{
	if (likely(--worker->choose_alloc.until))
		return alloc_pages(worker->gfp, worker->order);
	return pab_alloc_timed(worker);
}

static __always_inline void pab_count_alloc(struct pab_worker *worker, struct page *page)
{
	if (page_to_nid(page) != worker->node)
		WRITE_ONCE(worker->remote, worker->remote + 1);
	WRITE_ONCE(worker->allocs, worker->allocs + 1);
}

/*
 * Allocate one block, waiting and retrying while there is none. NULL when the
 * session stopped first. The caller checks pab_left(), and puts the block into
 * a slot.
 */
static __always_inline struct page *pab_alloc(struct pab_worker *worker)
{
	struct page *page = pab_alloc_once(worker);

	if (unlikely(!page)) {
		page = pab_alloc_retry(worker);
		if (!page)
			return NULL;
	}
	pab_count_alloc(worker, page);
	return page;
}

/* The same without waiting: NULL, which is counted, where there is none. */
static inline struct page *pab_try_alloc(struct pab_worker *worker)
{
	struct page *page = pab_alloc_once(worker);

	if (page)
		pab_count_alloc(worker, page);
	else
		WRITE_ONCE(worker->failures, worker->failures + 1);
	return page;
}

/* Free a block that has been taken out of its slot; the caller counts it. */
static __always_inline void pab_free_uncounted(struct pab_worker *worker, struct page *page)
{
	if (likely(--worker->choose_free.until))
		__free_pages(page, worker->order);
	else
		pab_free_timed(worker, page);
}

/* Free a block that has been taken out of its slot, whichever worker allocated it. */
static __always_inline void pab_free(struct pab_worker *worker, struct page *page)
{
	pab_free_uncounted(worker, page);
	pab_count_free(worker);
}

#endif /* PAB_PATTERN_H */
