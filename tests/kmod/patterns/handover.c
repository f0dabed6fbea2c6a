// SPDX-License-Identifier: GPL-2.0-only
/*
 * For the tests only: each worker allocates blocks for its neighbour to free, so
 * that a worker's allocs and frees differ and only the sums agree.
 */
#include <linux/atomic.h>
#include <linux/cpumask.h>

#include "../pattern.h"
#include "../session.h"

enum {
	DEPTH,
};

static u64 handover_blocks(const u64 *parameters)
{
	return parameters[DEPTH];
}

static const struct pab_worker *handover_next(const struct pab_worker *worker)
{
	const struct pab_session *session = worker->session;
	unsigned int cpu = cpumask_next(worker->cpu, session->cpus);

	if (cpu >= nr_cpu_ids)
		cpu = cpumask_first(session->cpus);
	return session->workers[cpu];
}

static void handover_run(struct pab_worker *worker, const u64 *parameters)
{
	const struct pab_worker *next = handover_next(worker);
	u64 put = 0, taken = 0;
	struct page *page;

	pab_mark_steady(worker);
	while (pab_may_go_on(worker) && pab_left(worker)) {
		page = pab_alloc(worker);
		if (!page)
			return;
		/* What is still there is freed here: the next worker may have ended. */
		page = xchg(&worker->slots[put++ & worker->slot_mask], page);
		if (page)
			pab_free(worker, page);
		page = xchg(&next->slots[taken & next->slot_mask], NULL);
		if (page) {
			pab_free(worker, page);
			taken++;
		}
		cond_resched();
	}
}

const struct pab_pattern pab_pattern_handover = {
	.name		= "handover",
	.parameters	= { [DEPTH] = { "depth", 1, 4096 } },
	.operations	= { PAB_BLOCK_OPERATIONS, "never" },
	.blocks		= handover_blocks,
	.run		= handover_run,
};
