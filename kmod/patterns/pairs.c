// SPDX-License-Identifier: GPL-2.0-only
/*
 * Allocate a block and free it at once, again and again: the shortest way
 * through the allocator.
 *
 * At orders that no list of a CPU holds, the cost depends on whether the block's
 * buddy happens to be free, and stays so for all of a run. Holding one more block
 * after every so many pairs, up to held, and then none again, goes through all
 * such states.
 */
#include <linux/minmax.h>

#include "../pattern.h"

enum {
	HELD,
	EVERY,		/* pairs between two steps; of no effect if HELD is 0 */
};

/* Pairs between two looks at whether the session goes on. */
#define PAIRS_AT_ONCE	64

static u64 pairs_blocks(const u64 *parameters)
{
	return parameters[HELD] + 1;
}

/* Return how many pairs it made, fewer if the session stopped. */
static u64 pairs_make(struct pab_worker *worker, u64 count)
{
	u64 made;

	for (made = 0; made < count; made++) {
		struct page *page = pab_alloc(worker);

		if (!page)
			break;
		pab_free(worker, page);
		cond_resched();
	}
	return made;
}

/* Hold one block more, or none again; return how many are held. */
static u64 pairs_step(struct pab_worker *worker, u64 held, u64 most)
{
	struct page *page;

	if (held < most) {
		page = pab_alloc(worker);
		if (page)
			worker->slots[held++] = page;
		return held;
	}
	while (held) {
		page = worker->slots[--held];
		worker->slots[held] = NULL;
		pab_free(worker, page);
		cond_resched();
	}
	return held;
}

static void pairs_run(struct pab_worker *worker, const u64 *parameters)
{
	const u64 every = parameters[HELD] ? parameters[EVERY] : U64_MAX;
	u64 until = every, held = 0;

	pab_mark_steady(worker);
	while (pab_may_go_on(worker) && pab_left(worker)) {
		if (until) {
			u64 count = min3(pab_left(worker), until, (u64)PAIRS_AT_ONCE);

			until -= pairs_make(worker, count);
		} else {
			held = pairs_step(worker, held, parameters[HELD]);
			until = every;
		}
	}
}

const struct pab_pattern pab_pattern_pairs = {
	.name		= "pairs",
	.parameters	= {
		[HELD]		= { "held", 0, PAB_MAX_BLOCKS - 1 },
		[EVERY]		= { "every", 1, U64_MAX },
	},
	.operations	= { PAB_BLOCK_OPERATIONS },
	.blocks		= pairs_blocks,
	.run		= pairs_run,
};
