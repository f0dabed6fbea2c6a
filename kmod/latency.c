// SPDX-License-Identifier: GPL-2.0-only
#include <linux/bitops.h>
#include <linux/jiffies.h>
#include <linux/limits.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/timekeeping.h>

#include "buffer.h"
#include "latency.h"
#include "random.h"

void pab_chooser_init(struct pab_chooser *chooser, u32 time_one_in, u64 *random)
{
	chooser->time_one_in = time_one_in;
	chooser->until = U64_MAX;
	if (!time_one_in)
		return;
	chooser->place = pab_random_below(random, time_one_in);
	chooser->until = chooser->place + 1;
}

/* To be called when the timed operation is over. */
void pab_chooser_next(struct pab_chooser *chooser, u64 *random)
{
	u32 rest_of_run = chooser->time_one_in - 1 - chooser->place;

	chooser->place = pab_random_below(random, chooser->time_one_in);
	chooser->until = (u64)rest_of_run + chooser->place + 1;
}

int pab_latencies_init(struct pab_latencies *latencies, u32 sample_capacity, int node)
{
	latencies->sample_capacity = sample_capacity;
	if (!sample_capacity)
		return 0;
	latencies->sample = pab_buffer(sample_capacity, sizeof(u64), node);
	return latencies->sample ? 0 : -ENOMEM;
}

void pab_latencies_destroy(struct pab_latencies *latencies)
{
	kvfree(latencies->sample);
}

static unsigned int pab_bucket(u64 ns)
{
	unsigned int octave;

	if (ns >> PAB_HIST_MAX_BITS)
		return PAB_HIST_BUCKETS - 1;
	if (!(ns >> PAB_HIST_SUB_BITS))
		return ns;
	octave = fls64(ns) - 1 - PAB_HIST_SUB_BITS;
	/* The leading one of ns >> octave carries into the octave's number. */
	return (octave << PAB_HIST_SUB_BITS) + (ns >> octave);
}

/* Where the next latency goes in the sample (algorithm R), or nowhere. */
static u64 *pab_sample_slot(struct pab_latencies *latencies, u64 *random)
{
	u64 place;

	if (!latencies->sample_capacity)
		return NULL;
	if (latencies->sample_size < latencies->sample_capacity)
		return &latencies->sample[latencies->sample_size++];
	place = pab_random_below(random, latencies->timed);
	return place < latencies->sample_capacity ? &latencies->sample[place] : NULL;
}

void pab_latencies_record(struct pab_latencies *latencies, u64 ns, u64 *random)
{
	u64 *bucket = &latencies->histogram[pab_bucket(ns)];
	u64 *slot;

	/* LATENCY may read these meanwhile. */
	WRITE_ONCE(latencies->timed, latencies->timed + 1);
	WRITE_ONCE(latencies->total_ns, latencies->total_ns + ns);
	WRITE_ONCE(latencies->max_ns, max(latencies->max_ns, ns));
	WRITE_ONCE(*bucket, *bucket + 1);
	slot = pab_sample_slot(latencies, random);
	if (slot)
		*slot = ns;
}

#define PAB_CALIBRATION_ROUNDS	16
#define PAB_CALIBRATION_READS	64
#define PAB_CALIBRATION_TICKS	4

/*
 * The smallest step of a clock that moves with the timer's ticks only, or
 * U64_MAX if it stands still for several of them.
 */
static u64 pab_clock_tick(void)
{
	unsigned long deadline = jiffies + PAB_CALIBRATION_TICKS + 1;
	u64 step = U64_MAX, last = ktime_get_ns(), now;

	while (time_before(jiffies, deadline)) {
		now = ktime_get_ns();
		if (now != last)
			step = min(step, now - last);
		last = now;
		cond_resched();
	}
	return step;
}

/*
 * What one clock read costs on this CPU, as the mean of the least disturbed
 * round, and the smallest step the clock was seen to make.
 */
void pab_clock_calibrate(u64 *cost_ps, u64 *step_ns)
{
	u64 best = U64_MAX, step = U64_MAX;
	unsigned int round, i;

	for (round = 0; round < PAB_CALIBRATION_ROUNDS; round++) {
		u64 start = ktime_get_ns(), last = start, now;

		for (i = 0; i < PAB_CALIBRATION_READS; i++) {
			now = ktime_get_ns();
			if (now != last)
				step = min(step, now - last);
			last = now;
		}
		best = min(best, last - start);
	}
	if (step == U64_MAX)
		step = pab_clock_tick();
	*cost_ps = div_u64(best * 1000, PAB_CALIBRATION_READS);
	*step_ns = step == U64_MAX ? 0 : step;
}
