// SPDX-License-Identifier: GPL-2.0-only
/*
 * Draws a target, uniform in [held - spread, held + spread], allocates up to it,
 * frees down to it oldest first, and draws again.
 */
#include <linux/minmax.h>

#include "../pattern.h"
#include "antagonist.h"

enum {
	HELD,
	SPREAD,
};

static bool antagonist_valid(const u64 *parameters)
{
	return parameters[SPREAD] <= parameters[HELD];
}

static u64 antagonist_blocks(const u64 *parameters)
{
	return parameters[HELD] + parameters[SPREAD];
}

static void antagonist_run(struct pab_worker *worker, const u64 *parameters)
{
	const u64 held = parameters[HELD], spread = parameters[SPREAD];
	const u64 mask = worker->slot_mask;
	struct page **slots = worker->slots;
	u64 head = 0, tail = 0;	/* held are slots[tail .. head), modulo their number */

	while (pab_may_go_on(worker) && pab_left(worker)) {
		u64 target = pab_antagonist_target(&worker->random[PAB_STREAM_PATTERN],
						   held, spread);
		u64 fill = min(target, head - tail + pab_left(worker));

		while (head - tail < fill) {
			struct page *page;

			if (pab_stopping(worker))
				return;
			page = pab_alloc(worker);
			if (!page)
				return;
			slots[head++ & mask] = page;
			cond_resched();
		}
		if (head - tail >= held)
			pab_mark_steady(worker);
		while (head - tail > target) {
			struct page **slot = &slots[tail++ & mask];
			struct page *page = *slot;

			*slot = NULL;
			pab_free(worker, page);
			cond_resched();
		}
	}
}

const struct pab_pattern pab_pattern_antagonist = {
	.name		= "antagonist",
	.parameters	= {
		[HELD]		= { "held", 1, PAB_MAX_BLOCKS / 2 },
		[SPREAD]	= { "spread", 1, PAB_MAX_BLOCKS / 2 },
	},
	.operations	= { PAB_BLOCK_OPERATIONS },
	.valid		= antagonist_valid,
	.blocks		= antagonist_blocks,
	.run		= antagonist_run,
};
