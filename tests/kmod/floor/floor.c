// SPDX-License-Identifier: GPL-2.0-only
/*
 * For the tests only: the least that the antagonist's pattern can cost. The
 * same sequence of targets as worker `cpu` of a session with the same seed, the
 * same calls to the allocator, and nothing counted, sampled or timed per
 * operation: the clock is read once a burst.
 *
 * Loading the module runs `bursts` of them on `cpu` and returns when they are
 * over. The outcome stands in the read-only parameters allocs, alloc_ns, frees
 * and free_ns.
 *
 * With `pairs` it allocates and frees one block so many times instead, all of
 * which is in alloc_ns: with `every` it holds one block more after so many
 * pairs, up to `held`, and then none again, as kmod/patterns/pairs.c does. With
 * `depth` each burst is of so many blocks, all of which are freed again, the
 * oldest first; with `bulk` each is one call for so many pages, which are freed
 * one by one.
 */
#include <linux/completion.h>
#include <linux/gfp.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>

#include "compat.h"
#include "patterns/antagonist.h"
#include "random.h"

static unsigned int order;
module_param(order, uint, 0444);
static unsigned int cpu;
module_param(cpu, uint, 0444);
static ulong held = 1000;
module_param(held, ulong, 0444);
static ulong spread = 1000;
module_param(spread, ulong, 0444);
static ulong seed = 1;
module_param(seed, ulong, 0444);
static ulong bursts = 1000;
module_param(bursts, ulong, 0444);
static ulong pairs;
module_param(pairs, ulong, 0444);
static ulong every;
module_param(every, ulong, 0444);
static ulong depth;
module_param(depth, ulong, 0444);
static ulong bulk;
module_param(bulk, ulong, 0444);

static ulong allocs;
module_param(allocs, ulong, 0444);
static ulong alloc_ns;
module_param(alloc_ns, ulong, 0444);
static ulong frees;
module_param(frees, ulong, 0444);
static ulong free_ns;
module_param(free_ns, ulong, 0444);

static struct page **ring;
static ulong ring_mask;
static DECLARE_COMPLETION(over);

/* Blocks held are ring[tail .. head). */
struct floor {
	ulong head;
	ulong tail;
};

static noinline bool floor_fill(struct floor *floor, ulong target)
{
	while (floor->head - floor->tail < target) {
		struct page *page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, order);

		if (!page)
			return false;
		ring[floor->head++ & ring_mask] = page;
		cond_resched();
	}
	return true;
}

static noinline void floor_drain(struct floor *floor, ulong target)
{
	while (floor->head - floor->tail > target) {
		__free_pages(ring[floor->tail++ & ring_mask], order);
		cond_resched();
	}
}

static noinline int floor_pairs(void)
{
	ulong next = every ?: pairs, count = 0, i;
	u64 start = ktime_get_ns();
	struct page *page;

	for (allocs = 0; allocs < pairs; allocs++) {
		page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, order);
		if (!page)
			break;
		if (allocs < next) {
			__free_pages(page, order);
		} else if (count < held) {
			next += every;
			ring[count++] = page;
		} else {
			next += every;
			while (count)
				__free_pages(ring[--count], order);
			__free_pages(page, order);
		}
		cond_resched();
	}
	alloc_ns = ktime_get_ns() - start;
	frees = allocs;
	for (i = 0; i < count; i++)
		__free_pages(ring[i], order);
	return allocs < pairs ? -ENOMEM : 0;
}

static int floor_bursts(void)
{
	struct floor floor = { 0 };
	ulong burst;

	for (burst = 0; burst < bursts; burst++) {
		u64 start = ktime_get_ns();
		bool filled = floor_fill(&floor, depth);
		u64 end = ktime_get_ns();

		floor_drain(&floor, 0);
		free_ns += ktime_get_ns() - end;
		if (!filled)
			return -ENOMEM;
		alloc_ns += end - start;
		allocs += depth;
		frees += depth;
	}
	return 0;
}

static noinline int floor_bulk(void)
{
	ulong burst, i, got;
	u64 start = ktime_get_ns();

	for (burst = 0; burst < bursts; burst++) {
		got = pab_alloc_bulk(GFP_KERNEL | __GFP_NOWARN, bulk, ring);
		for (i = 0; i < got; i++) {
			__free_pages(ring[i], 0);
			ring[i] = NULL;
		}
		allocs += got;
		if (got < bulk)
			return -ENOMEM;
		cond_resched();
	}
	alloc_ns = ktime_get_ns() - start;
	frees = allocs;
	return 0;
}

static int floor_antagonist(void)
{
	u64 random = pab_random_seed(seed, cpu, PAB_STREAM_PATTERN);
	struct floor floor = { 0 };
	int err = 0;
	ulong burst;

	for (burst = 0; burst < bursts; burst++) {
		ulong target = pab_antagonist_target(&random, held, spread);
		ulong before = floor.head - floor.tail;
		u64 start = ktime_get_ns();

		if (target > before) {
			if (!floor_fill(&floor, target)) {
				err = -ENOMEM;
				break;
			}
			alloc_ns += ktime_get_ns() - start;
			allocs += target - before;
		} else {
			floor_drain(&floor, target);
			free_ns += ktime_get_ns() - start;
			frees += before - target;
		}
	}
	floor_drain(&floor, 0);
	return err;
}

static int floor_run(void *unused)
{
	int err = pairs ? floor_pairs() :
		  bulk ? floor_bulk() :
		  depth ? floor_bursts() : floor_antagonist();

	complete(&over);

	set_current_state(TASK_IDLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_IDLE);
	}
	__set_current_state(TASK_RUNNING);
	return err;
}

static int __init floor_init(void)
{
	struct task_struct *task;
	ulong size = roundup_pow_of_two(depth ?: bulk ?: held + spread);
	int err;

	ring_mask = size - 1;
	ring = vzalloc(array_size(size, sizeof(*ring)));
	if (!ring)
		return -ENOMEM;
	task = kthread_create_on_node(floor_run, NULL, cpu_to_node(cpu), "pab_floor/%u", cpu);
	if (IS_ERR(task)) {
		vfree(ring);
		return PTR_ERR(task);
	}
	kthread_bind(task, cpu);
	wake_up_process(task);
	wait_for_completion(&over); /* kthread_stop() alone could forestall the run */
	err = kthread_stop(task);
	vfree(ring);
	return err;
}

static void __exit floor_exit(void)
{
}

module_init(floor_init);
module_exit(floor_exit);

MODULE_DESCRIPTION("The antagonist's pattern with nothing measured, to measure against");
MODULE_LICENSE("GPL");
