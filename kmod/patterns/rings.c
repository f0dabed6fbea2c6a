// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocate blocks on one CPU and free them on another: each worker hands what it
 * allocates to its peer, through a ring that its slots are. One that is its own
 * peer allocates nothing, and frees what others hand to it.
 *
 * A ring has one that puts and one that takes. The worker whose ring it is puts
 * into a slot that is NULL, and gives back what is left when it ends; its peer
 * takes by xchg(), since it may be doing so at that moment.
 */
#include <linux/atomic.h>
#include <linux/log2.h>

#include "../pattern.h"

enum {
	DEPTH,		/* of each ring, a power of two */
	FAKE,		/* 1: hand over what is not a block: the cost of the rings alone */
};

/* Turns between two looks at whether the session goes on. */
#define RINGS_TURNS	64

/*
 * For so many turns a worker waits for room in its ring. Then it frees its block
 * itself, which is a shortfall: its peer may be long in coming.
 */
#define RINGS_PATIENCE	4096

#define RINGS_NO_BLOCK	((struct page *)1)

static bool rings_valid(const u64 *parameters)
{
	return is_power_of_2(parameters[DEPTH]);
}

static u64 rings_blocks(const u64 *parameters)
{
	return parameters[DEPTH];
}

static __always_inline struct page *rings_alloc(struct pab_worker *worker, bool fake)
{
	if (!fake)
		return pab_alloc(worker);
	WRITE_ONCE(worker->allocs, worker->allocs + 1);
	return RINGS_NO_BLOCK;
}

static __always_inline void rings_free(struct pab_worker *worker, struct page *page, bool fake)
{
	if (fake)
		pab_count_free(worker);
	else
		pab_free(worker, page);
}

/* Free one block of each ring that leads here; false if there was none. */
static __always_inline bool rings_take(struct pab_worker *worker, bool fake)
{
	struct pab_worker *from;
	bool taken = false;

	for (from = worker->sources; from; from = from->next_source) {
		struct page **slot = &from->slots[from->taken & from->slot_mask];
		struct page *page = READ_ONCE(*slot) ? xchg(slot, NULL) : NULL;

		if (!page)
			continue;
		from->taken++;
		rings_free(worker, page, fake);
		taken = true;
	}
	return taken;
}

/* Allocate a block for the next slot; false if the session stopped. */
static __always_inline bool rings_put(struct pab_worker *worker, u64 *head, bool fake)
{
	struct page **slot = &worker->slots[*head & worker->slot_mask];
	struct page *page = rings_alloc(worker, fake);

	if (!page)
		return false;
	if (likely(!READ_ONCE(*slot))) {
		/* Whoever takes it sees that it has been counted. */
		smp_store_release(slot, page);
		++*head;
	} else {
		WRITE_ONCE(worker->shortfalls, worker->shortfalls + 1);
		rings_free(worker, page, fake);
	}
	return true;
}

/* Whether there is something left to allocate here, or where blocks come from. */
static bool rings_go_on(struct pab_worker *worker)
{
	const struct pab_worker *from;

	if (!pab_may_go_on(worker))
		return false;
	if (pab_left(worker))
		return true;
	for (from = worker->sources; from; from = from->next_source)
		if (READ_ONCE(from->allocs) != READ_ONCE(from->limit))
			return true;
	return false;
}

static __always_inline void rings_work(struct pab_worker *worker, bool fake)
{
	unsigned int turn, waited = 0;
	u64 head = 0;

	while (rings_go_on(worker)) {
		for (turn = 0; turn < RINGS_TURNS; turn++) {
			bool full = READ_ONCE(worker->slots[head & worker->slot_mask]);
			bool busy = pab_left(worker) && !(full && waited++ < RINGS_PATIENCE);

			if (busy) {
				if (!rings_put(worker, &head, fake))
					return;
				waited = 0;
			}
			if (!rings_take(worker, fake) && !busy)
				cpu_relax();
			cond_resched();
		}
	}
}

/* Take what is not a block out of the ring again: nothing is to give it back. */
static void rings_forget(struct pab_worker *worker)
{
	u64 i;

	for (i = 0; i <= worker->slot_mask; i++)
		if (xchg(&worker->slots[i], NULL))
			pab_count_free(worker);
}

static void rings_run(struct pab_worker *worker, const u64 *parameters)
{
	if (worker->peer == worker)
		WRITE_ONCE(worker->limit, 0);
	pab_mark_steady(worker);
	if (parameters[FAKE]) {
		rings_work(worker, true);
		rings_forget(worker);
	} else {
		rings_work(worker, false);
	}
}

const struct pab_pattern pab_pattern_rings = {
	.name		= "rings",
	.parameters	= {
		[DEPTH]		= { "depth", 1, PAB_MAX_BLOCKS },
		[FAKE]		= { "fake", 0, 1 },
	},
	.operations	= { PAB_BLOCK_OPERATIONS },
	.valid		= rings_valid,
	.blocks		= rings_blocks,
	.run		= rings_run,
};
