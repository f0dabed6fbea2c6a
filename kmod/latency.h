/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The latencies of one kind of operation on one CPU: which operations are
 * timed, a histogram of them all, and a uniform sample of them.
 */
#ifndef PAB_LATENCY_H
#define PAB_LATENCY_H

#include <linux/types.h>

#include "page_alloc_bench.h"

struct pab_latencies {
	u64	timed;
	u64	total_ns;
	u64	max_ns;
	u64	*sample;
	u32	sample_capacity;
	u32	sample_size;
	u64	histogram[PAB_HIST_BUCKETS];
};

/*
 * Chooses one operation out of every time_one_in in a row, at a random place
 * among them: each operation is as likely as any other, and the choice is made
 * before the operation begins, so it cannot depend on what the operation does.
 */
struct pab_chooser {
	u64	until;		/* operations until the next timed one, it included */
	u32	time_one_in;
	u32	place;		/* of the timed operation in its run, from 0 */
};

void pab_chooser_init(struct pab_chooser *chooser, u32 time_one_in, u64 *random);
void pab_chooser_next(struct pab_chooser *chooser, u64 *random);

int pab_latencies_init(struct pab_latencies *latencies, u32 sample_capacity, int node);
void pab_latencies_destroy(struct pab_latencies *latencies);
void pab_latencies_record(struct pab_latencies *latencies, u64 ns, u64 *random);

void pab_clock_calibrate(u64 *cost_ps, u64 *step_ns);

#endif /* PAB_LATENCY_H */
