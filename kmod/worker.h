/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A worker: one kthread bound to one CPU, and all that it writes. Nothing of it
 * is shared with another CPU on the hot path, and all of it is on the nearest
 * node with memory.
 */
#ifndef PAB_WORKER_H
#define PAB_WORKER_H

#include <asm/barrier.h>
#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/types.h>

#include "latency.h"
#include "page_alloc_bench.h"
#include "random.h"

/* Failures are counted, so they need no report in the kernel's log. */
#define PAB_GFP		(GFP_KERNEL | __GFP_NOWARN)

struct pab_session;

struct pab_worker {
	/*
	 * Written by the worker at every operation, read by others at any time.
	 * The blocks held are ring[frees .. allocs), modulo the ring's size:
	 * the counters are its two ends.
	 */
	u64			allocs;
	u64			frees;
	u64			remote;
	u64			failures;
	struct pab_chooser	choose_alloc;
	struct pab_chooser	choose_free;

	/* Only read after configuration. */
	struct pab_session	*session ____cacheline_aligned_in_smp;
	struct page		**ring;
	u64			ring_mask;
	unsigned int		order;
	unsigned int		cpu;
	int			node;	/* nearest with memory */
	struct task_struct	*task;

	/* Written now and then. */
	u64			random[PAB_STREAM_COUNT] ____cacheline_aligned_in_smp;
	u64			clock_cost_ps;
	u64			clock_step_ns;
	unsigned int		last_cpu;
	bool			steady;
	bool			displaced;
	struct pab_latencies	latencies[PAB_LATENCY_CLASSES];
};

/* What a kind of worker does, from start until pab_worker_may_go_on() says no. */
struct pab_pattern {
	void	(*run)(struct pab_worker *worker);
};

extern const struct pab_pattern pab_antagonist;

struct pab_worker *pab_worker_create(struct pab_session *session, unsigned int cpu);
void pab_worker_destroy(struct pab_worker *worker);

bool pab_worker_may_go_on(struct pab_worker *worker);
void pab_worker_mark_steady(struct pab_worker *worker);

struct page *pab_alloc_timed(struct pab_worker *worker);
struct page *pab_alloc_retry(struct pab_worker *worker);
void pab_free_timed(struct pab_worker *worker, struct page *page);

static __always_inline u64 pab_held(const struct pab_worker *worker)
{
	return worker->allocs - worker->frees;
}

/*
 * Allocate one block, waiting and retrying while there is none. False when the
 * session stopped first. The caller holds fewer blocks than the ring has room
 * for.
 */
static __always_inline bool pab_alloc_block(struct pab_worker *worker)
{
	struct page *page;

	if (likely(--worker->choose_alloc.until))
		page = alloc_pages(PAB_GFP, worker->order);
	else
		page = pab_alloc_timed(worker);
	if (unlikely(!page)) {
		page = pab_alloc_retry(worker);
		if (!page)
			return false;
	}
	if (page_to_nid(page) != worker->node)
		WRITE_ONCE(worker->remote, worker->remote + 1);
	worker->ring[worker->allocs & worker->ring_mask] = page;
	WRITE_ONCE(worker->allocs, worker->allocs + 1);
	return true;
}

static __always_inline void pab_count_free(struct pab_worker *worker)
{
	/* Who acquires frees before it reads allocs never sees fewer allocs. */
	smp_store_release(&worker->frees, worker->frees + 1);
}

/* Free the block that has been held longest. The caller holds at least one. */
static __always_inline void pab_free_block(struct pab_worker *worker)
{
	struct page *page = worker->ring[worker->frees & worker->ring_mask];

	if (likely(--worker->choose_free.until))
		__free_pages(page, worker->order);
	else
		pab_free_timed(worker, page);
	pab_count_free(worker);
}

#endif /* PAB_WORKER_H */
