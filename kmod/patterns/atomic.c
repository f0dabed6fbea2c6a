// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ask for blocks in bursts, as network drivers do for what they receive, and do
 * without those that are not to be had. A burst is given back when it is over, and
 * others may take that memory until the next begins.
 */
#include <linux/jiffies.h>
#include <linux/minmax.h>
#include <linux/mm.h>

#include "../pattern.h"

enum {
	BLOCKS,		/* per burst */
	EVERY_MS,	/* a burst begins */
};

/* What is recorded as a latency and is none. */
enum {
	/* Of each block asked for below the low watermark of the first zone: 1 if it failed */
	ATOMIC_PRESSED = PAB_BLOCK_OPERATION_COUNT,
	/* How many failed in a row, whenever one has not */
	ATOMIC_STREAK,
};

/* Blocks between two looks at whether the session goes on. */
#define ATOMIC_AT_ONCE	32

static u64 atomic_blocks(const u64 *parameters)
{
	return parameters[BLOCKS];
}

static void atomic_note(struct pab_worker *worker, unsigned int kind, u64 value)
{
	pab_latencies_record(&worker->latencies[kind], value,
			     &worker->random[PAB_STREAM_SAMPLE]);
}

static bool atomic_pressed(const struct pab_worker *worker)
{
	struct zone *zone = worker->zone;

	return zone && zone_page_state(zone, NR_FREE_PAGES) < low_wmark_pages(zone);
}

static void atomic_end_streak(struct pab_worker *worker, u64 *streak)
{
	if (*streak)
		atomic_note(worker, ATOMIC_STREAK, *streak);
	*streak = 0;
}

static struct page *atomic_ask(struct pab_worker *worker, u64 *streak)
{
	bool pressed = atomic_pressed(worker);
	struct page *page = pab_try_alloc(worker);

	if (pressed)
		atomic_note(worker, ATOMIC_PRESSED, !page);
	if (page)
		atomic_end_streak(worker, streak);
	else
		++*streak;
	return page;
}

/* Fill the first slots; false if the session stopped. */
static bool atomic_burst(struct pab_worker *worker, u64 blocks, u64 *streak)
{
	u64 i;

	for (i = 0; i < blocks; i++) {
		if (!(i % ATOMIC_AT_ONCE) && !pab_may_go_on(worker))
			return false;
		worker->slots[i] = atomic_ask(worker, streak);
		cond_resched();
	}
	return true;
}

static void atomic_give_back(struct pab_worker *worker, u64 blocks)
{
	u64 i;

	for (i = 0; i < blocks; i++) {
		struct page *page = worker->slots[i];

		if (!page)
			continue;
		worker->slots[i] = NULL;
		pab_free(worker, page);
		cond_resched();
	}
}

/* The bursts of all CPUs begin at the same moments. */
static void atomic_await_next(struct pab_worker *worker, unsigned int every_ms)
{
	unsigned long every = msecs_to_jiffies(every_ms);

	pab_sleep(worker, jiffies_to_msecs(every - jiffies % every));
}

static void atomic_run(struct pab_worker *worker, const u64 *parameters)
{
	u64 blocks, streak = 0;

	while (pab_may_go_on(worker) && pab_left(worker)) {
		blocks = min(parameters[BLOCKS], pab_left(worker));
		if (!atomic_burst(worker, blocks, &streak))
			break;
		pab_mark_steady(worker);
		atomic_give_back(worker, blocks);
		atomic_await_next(worker, parameters[EVERY_MS]);
	}
	atomic_end_streak(worker, &streak);
}

const struct pab_pattern pab_pattern_atomic = {
	.name		= "atomic",
	.parameters	= {
		[BLOCKS]	= { "blocks", 1, PAB_MAX_BLOCKS },
		[EVERY_MS]	= { "every_ms", 1, 1000 },
	},
	.operations	= { PAB_BLOCK_OPERATIONS, "pressed", "streak" },
	.blocks		= atomic_blocks,
	.run		= atomic_run,
};
