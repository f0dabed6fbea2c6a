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

/* Blocks between two looks at whether the session stops. */
#define BLOCKS_AT_ONCE	32

/* How many slots there are in a row, from the one of this number to the end of the ring. */
static u64 antagonist_in_a_row(const struct pab_worker *worker, u64 number)
{
	return worker->slot_mask + 1 - (number & worker->slot_mask);
}

/* Fill the slots head .. end; false if the session stopped. */
static bool antagonist_fill(struct pab_worker *worker, u64 head, u64 end)
{
	while (head < end) {
		u64 count = min3(end - head, antagonist_in_a_row(worker, head),
				 (u64)BLOCKS_AT_ONCE);
		struct page **slot = &worker->slots[head & worker->slot_mask];
		struct page **last = slot + count;

		if (pab_stopping(worker))
			return false;
		for (; slot < last; slot++) {
			struct page *page = pab_alloc(worker);

			if (!page)
				return false;
			*slot = page;
			cond_resched();
		}
		head += count;
	}
	return true;
}

/* Free what the slots tail .. end hold. */
static void antagonist_drain(struct pab_worker *worker, u64 tail, u64 end)
{
	while (tail < end) {
		u64 count = min(end - tail, antagonist_in_a_row(worker, tail));
		struct page **slot = &worker->slots[tail & worker->slot_mask];
		struct page **last = slot + count;

		for (; slot < last; slot++) {
			struct page *page = *slot;

			*slot = NULL;
			pab_free(worker, page);
			cond_resched();
		}
		tail += count;
	}
}

static void antagonist_run(struct pab_worker *worker, const u64 *parameters)
{
	const u64 held = parameters[HELD], spread = parameters[SPREAD];
	u64 head = 0, tail = 0;	/* held are slots[tail .. head), modulo their number */

	while (pab_may_go_on(worker) && pab_left(worker)) {
		u64 target = pab_antagonist_target(&worker->random[PAB_STREAM_PATTERN],
						   held, spread);
		u64 fill = max(head, tail + min(target, head - tail + pab_left(worker)));

		if (!antagonist_fill(worker, head, fill))
			return;
		head = fill;
		if (head - tail >= held)
			pab_mark_steady(worker);
		if (head - tail > target) {
			antagonist_drain(worker, tail, head - target);
			tail = head - target;
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
