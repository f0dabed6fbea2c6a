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

struct pab_pattern;
struct pab_session;

struct pab_worker {
	/* Written by the worker at every operation, read by others at any time. */
	u64			allocs;
	u64			frees;
	u64			remote;
	u64			failures;
	u64			shortfalls;
	struct pab_chooser	choose_alloc;
	struct pab_chooser	choose_free;

	/*
	 * Only read after configuration. A slot holds a block or NULL: where
	 * other workers may take from it, by xchg(), or else by the worker alone.
	 */
	struct page		**slots ____cacheline_aligned_in_smp;
	u64			slot_mask;	/* their number, a power of two, - 1 */
	u64			limit;		/* allocations to make; a ring's taker has none */
	const bool		*stopping;	/* the session's */
	gfp_t			gfp;
	unsigned int		order;
	unsigned int		cpu;
	int			node;		/* nearest with memory */
	struct zone		*zone;		/* of it, the first to be asked; may be NULL */
	struct pab_session	*session;
	struct task_struct	*task;
	struct pab_worker	*peer;		/* whom its blocks are handed to */
	struct pab_worker	*sources;	/* the others whose peer this is, */
	struct pab_worker	*next_source;	/* the first, and after this one */

	u64			taken ____cacheline_aligned_in_smp;	/* by the peer */

	/* Written now and then. */
	u64			random[PAB_STREAM_COUNT] ____cacheline_aligned_in_smp;
	u64			clock_cost_ps;
	u64			clock_step_ns;
	u64			begin_ns;
	u64			end_ns;
	unsigned int		last_cpu;
	bool			steady;
	bool			displaced;
	bool			finished;
	bool			charged;
	unsigned int		operation_count;
	struct pab_latencies	latencies[];	/* by kind of operation */
};

struct pab_worker *pab_worker_create(struct pab_session *session, unsigned int cpu);
void pab_worker_destroy(struct pab_worker *worker);

/* What pab_alloc() and pab_free() in pattern.h need now and then. */
struct page *pab_alloc_timed(struct pab_worker *worker);
int pab_first_list_pages(const struct pab_worker *worker);
void pab_alloc_record(struct pab_worker *worker, const struct page *page, unsigned long pages,
		      int before, u64 ns);
struct page *pab_alloc_retry(struct pab_worker *worker);
void pab_free_timed(struct pab_worker *worker, struct page *page);

static inline bool pab_stopping(const struct pab_worker *worker)
{
	return READ_ONCE(*worker->stopping);
}

static __always_inline void pab_count_frees(struct pab_worker *worker, u64 count)
{
	/* Who acquires all frees before it reads any allocs never sees fewer allocs. */
	smp_store_release(&worker->frees, worker->frees + count);
}

static __always_inline void pab_count_free(struct pab_worker *worker)
{
	pab_count_frees(worker, 1);
}

#endif /* PAB_WORKER_H */
