// SPDX-License-Identifier: GPL-2.0-only
/*
 * Take large blocks, give back most pages of each, and hold the rest until the
 * session stops: free memory that is in small pieces.
 */
#include <linux/minmax.h>

#include "../compat.h"
#include "../pattern.h"

enum {
	BLOCKS,		/* to take */
	ORDER,		/* of these */
	KEEP,		/* the first so many pages are kept, */
	EVERY,		/* of each so many */
};

static bool fragment_valid(const u64 *parameters)
{
	u64 every = parameters[EVERY];

	return parameters[KEEP] <= every &&
	       is_power_of_2(every) && every <= 1ULL << parameters[ORDER] &&
	       parameters[BLOCKS] <= PAB_MAX_BLOCKS >> parameters[ORDER];
}

static u64 fragment_blocks(const u64 *parameters)
{
	return (parameters[BLOCKS] << parameters[ORDER]) / parameters[EVERY] * parameters[KEEP];
}

/* Take one block, and keep what is to be kept of it from *slot on. */
static bool fragment_take(struct pab_worker *worker, const u64 *parameters, struct page ***slot)
{
	/* As hard as a huge page is asked for, but not so that others are killed. */
	struct page *page = alloc_pages(worker->gfp | __GFP_NORETRY, parameters[ORDER]);
	u64 i;

	if (!page) {
		WRITE_ONCE(worker->failures, worker->failures + 1);
		return false;
	}
	split_page(page, parameters[ORDER]);
	for (i = 0; i < 1ULL << parameters[ORDER]; i++) {
		if ((i & (parameters[EVERY] - 1)) < parameters[KEEP] && pab_left(worker)) {
			*(*slot)++ = page + i;
			if (page_to_nid(page) != worker->node)
				WRITE_ONCE(worker->remote, worker->remote + 1);
			WRITE_ONCE(worker->allocs, worker->allocs + 1);
		} else {
			__free_page(page + i);
		}
	}
	cond_resched();
	return true;
}

static void fragment_run(struct pab_worker *worker, const u64 *parameters)
{
	struct page **slot = worker->slots;
	u64 taken;

	for (taken = 0; taken < parameters[BLOCKS]; taken++)
		if (!pab_may_go_on(worker) || !pab_left(worker) ||
		    !fragment_take(worker, parameters, &slot))
			break;
	pab_mark_steady(worker);
	if (pab_left(worker))
		pab_await_stop(worker);
}

const struct pab_pattern pab_pattern_fragment = {
	.name		= "fragment",
	.parameters	= {
		[BLOCKS]	= { "blocks", 1, PAB_MAX_BLOCKS },
		[ORDER]		= { "order", 1, PAB_MAX_ORDER },
		[KEEP]		= { "keep", 1, PAB_MAX_BLOCKS },
		[EVERY]		= { "every", 1, PAB_MAX_BLOCKS },
	},
	.operations	= { PAB_BLOCK_OPERATIONS },
	.of_pages	= true,
	.valid		= fragment_valid,
	.blocks		= fragment_blocks,
	.run		= fragment_run,
};
