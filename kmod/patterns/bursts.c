// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocate depth blocks, then free them all, again and again: what the lists of
 * a CPU do not hold goes through the zone.
 */
#include <linux/minmax.h>

#include "../pattern.h"

enum {
	DEPTH,		/* blocks per burst */
	RELEASE,	/* in which order they are freed: enum bursts_release */
};

enum bursts_release {
	OLDEST_FIRST,
	NEWEST_FIRST,
	IN_ANY_ORDER,
	RELEASE_COUNT
};

static u64 bursts_blocks(const u64 *parameters)
{
	return parameters[DEPTH];
}

static bool bursts_fill(struct pab_worker *worker, u64 depth)
{
	struct page **slot = worker->slots, **end = slot + depth;

	while (slot < end) {
		struct page *page;

		if (pab_stopping(worker))
			return false;
		page = pab_alloc(worker);
		if (!page)
			return false;
		*slot++ = page;
		cond_resched();
	}
	return true;
}

static __always_inline void bursts_free(struct pab_worker *worker, struct page **slot)
{
	struct page *page = *slot;

	*slot = NULL;
	pab_free(worker, page);
	cond_resched();
}

static void bursts_drain(struct pab_worker *worker, u64 depth, enum bursts_release release)
{
	struct page **slots = worker->slots, **end = slots + depth, **slot;
	struct page *page;

	if (release == OLDEST_FIRST) {
		for (slot = slots; slot < end; slot++)
			bursts_free(worker, slot);
		return;
	}
	while (slots < end--) {
		if (release == IN_ANY_ORDER) {
			u64 *random = &worker->random[PAB_STREAM_PATTERN];

			page = *end;
			slot = slots + pab_random_below(random, end - slots + 1);
			*end = *slot;
			*slot = page;
		}
		bursts_free(worker, end);
	}
}

static void bursts_run(struct pab_worker *worker, const u64 *parameters)
{
	while (pab_may_go_on(worker) && pab_left(worker)) {
		u64 depth = min_t(u64, pab_left(worker), parameters[DEPTH]);

		if (!bursts_fill(worker, depth))
			return;
		pab_mark_steady(worker);
		bursts_drain(worker, depth, parameters[RELEASE]);
	}
}

const struct pab_pattern pab_pattern_bursts = {
	.name		= "bursts",
	.parameters	= {
		[DEPTH]		= { "depth", 1, PAB_MAX_BLOCKS },
		[RELEASE]	= { "release", OLDEST_FIRST, RELEASE_COUNT - 1 },
	},
	.operations	= { PAB_BLOCK_OPERATIONS },
	.blocks		= bursts_blocks,
	.run		= bursts_run,
};
