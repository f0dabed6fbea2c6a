// SPDX-License-Identifier: GPL-2.0-only
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/mmzone.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/timekeeping.h>
#include <linux/topology.h>
#include <linux/wait.h>

#include "buffer.h"
#include "session.h"
#include "worker.h"

/* After a failed allocation: wait this long, then half as long again, and so on. */
#define PAB_BACKOFF_FIRST_MS	500
#define PAB_BACKOFF_MAX_MS	(10 * 60 * 1000)

static bool pab_stopping(const struct pab_worker *worker)
{
	return READ_ONCE(worker->session->stopping);
}

/*
 * False when the session stops, or when the CPU went offline and the scheduler
 * moved the worker: what it did elsewhere would be counted for the wrong CPU.
 */
bool pab_worker_may_go_on(struct pab_worker *worker)
{
	unsigned int cpu = raw_smp_processor_id();

	WRITE_ONCE(worker->last_cpu, cpu);
	if (cpu != worker->cpu)
		WRITE_ONCE(worker->displaced, true);
	return cpu == worker->cpu && !pab_stopping(worker);
}

void pab_worker_mark_steady(struct pab_worker *worker)
{
	WRITE_ONCE(worker->steady, true);
}

static void pab_record(struct pab_worker *worker, enum pab_latency_class class, u64 ns)
{
	pab_latencies_record(&worker->latencies[class], ns, &worker->random[PAB_STREAM_SAMPLE]);
}

static struct page *pab_alloc_clocked(struct pab_worker *worker, u64 *ns)
{
	u64 start = ktime_get_ns();
	struct page *page = alloc_pages(PAB_GFP, worker->order);

	*ns = ktime_get_ns() - start;
	return page;
}

/* An allocation that was chosen to be timed. */
struct page *pab_alloc_timed(struct pab_worker *worker)
{
	struct page *page;
	u64 ns;

	page = pab_alloc_clocked(worker, &ns);
	pab_record(worker, page ? PAB_LATENCY_ALLOC : PAB_LATENCY_FAILURE, ns);
	pab_chooser_next(&worker->choose_alloc, &worker->random[PAB_STREAM_SAMPLE]);
	return page;
}

void pab_free_timed(struct pab_worker *worker, struct page *page)
{
	u64 start = ktime_get_ns();

	__free_pages(page, worker->order);
	pab_record(worker, PAB_LATENCY_FREE, ktime_get_ns() - start);
	pab_chooser_next(&worker->choose_free, &worker->random[PAB_STREAM_SAMPLE]);
}

/* Sleep, but no longer than the session goes on. */
static void pab_sleep(struct pab_worker *worker, unsigned int ms)
{
	set_current_state(TASK_IDLE);
	if (!pab_stopping(worker))
		schedule_timeout(msecs_to_jiffies(ms));
	__set_current_state(TASK_RUNNING);
}

/*
 * After an allocation got nothing: try again with growing pauses. NULL when the
 * session stopped first.
 *
 * Each retry is clocked (unless nothing is), since the pause costs far more; but
 * a retry that succeeds was not chosen by chance, so it stays out of the
 * latencies of allocations.
 */
struct page *pab_alloc_retry(struct pab_worker *worker)
{
	unsigned int pause_ms = PAB_BACKOFF_FIRST_MS;
	struct page *page;
	u64 ns;

	for (;;) {
		WRITE_ONCE(worker->failures, worker->failures + 1);
		pab_sleep(worker, pause_ms);
		if (!pab_worker_may_go_on(worker))
			return NULL;
		page = pab_alloc_clocked(worker, &ns);
		if (page)
			return page;
		if (worker->choose_alloc.time_one_in)
			pab_record(worker, PAB_LATENCY_FAILURE, ns);
		pause_ms = min(pause_ms + pause_ms / 2, PAB_BACKOFF_MAX_MS);
	}
}

/* Not part of the benchmark, hence not timed; it is counted all the same. */
static void pab_give_back(struct pab_worker *worker)
{
	while (pab_held(worker)) {
		__free_pages(worker->ring[worker->frees & worker->ring_mask], worker->order);
		pab_count_free(worker);
		cond_resched();
	}
}

static int pab_worker_thread(void *data)
{
	struct pab_worker *worker = data;
	struct pab_session *session = worker->session;

	wait_event_idle(session->start, READ_ONCE(session->started) || kthread_should_stop());
	if (!kthread_should_stop()) {
		pab_clock_calibrate(&worker->clock_cost_ps, &worker->clock_step_ns);
		session->pattern->run(worker);
		pab_give_back(worker);
	}

	/* kthread_stop() needs a task that is still there. */
	set_current_state(TASK_IDLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_IDLE);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

/*
 * The node that the allocator turns to first for this CPU: the nearest one that
 * has memory in a zone a GFP_KERNEL allocation may use.
 */
static int pab_nearest_node(unsigned int cpu)
{
	struct zoneref *ref = node_zonelist(cpu_to_node(cpu), PAB_GFP)->_zonerefs;

	while (zonelist_zone(ref) && zonelist_zone_idx(ref) > gfp_zone(PAB_GFP))
		ref++;
	return zonelist_zone(ref) ? zonelist_node_idx(ref) : cpu_to_node(cpu);
}

static int pab_worker_init(struct pab_worker *worker)
{
	const struct pab_config *config = &worker->session->config;
	u64 ring_size = roundup_pow_of_two(config->held + config->spread);
	struct task_struct *task;
	int stream, class, err;

	for (stream = 0; stream < PAB_STREAM_COUNT; stream++)
		worker->random[stream] = pab_random_seed(config->seed, worker->cpu, stream);
	pab_chooser_init(&worker->choose_alloc, config->time_one_in,
			 &worker->random[PAB_STREAM_SAMPLE]);
	pab_chooser_init(&worker->choose_free, config->time_one_in,
			 &worker->random[PAB_STREAM_SAMPLE]);

	for (class = 0; class < PAB_LATENCY_CLASSES; class++) {
		err = pab_latencies_init(&worker->latencies[class], config->sample_capacity,
					 worker->node);
		if (err)
			return err;
	}

	worker->ring_mask = ring_size - 1;
	worker->ring = pab_buffer(ring_size, sizeof(*worker->ring), worker->node);
	if (!worker->ring)
		return -ENOMEM;

	task = kthread_create_on_node(pab_worker_thread, worker, worker->node, "pab/%u",
				      worker->cpu);
	if (IS_ERR(task))
		return PTR_ERR(task);
	kthread_bind(task, worker->cpu);
	worker->task = task;
	wake_up_process(task);
	return 0;
}

/*
 * A worker that waits for session->started, or an ERR_PTR. The caller keeps the
 * CPU online meanwhile.
 */
struct pab_worker *pab_worker_create(struct pab_session *session, unsigned int cpu)
{
	int node = pab_nearest_node(cpu), err;
	struct pab_worker *worker;

	worker = pab_buffer(1, sizeof(*worker), node);
	if (!worker)
		return ERR_PTR(-ENOMEM);
	worker->session = session;
	worker->order = session->config.order;
	worker->cpu = cpu;
	worker->node = node;
	worker->last_cpu = cpu;
	err = pab_worker_init(worker);
	if (err) {
		pab_worker_destroy(worker);
		return ERR_PTR(err);
	}
	return worker;
}

/* Only for workers whose thread has been stopped or never was. */
void pab_worker_destroy(struct pab_worker *worker)
{
	int class;

	for (class = 0; class < PAB_LATENCY_CLASSES; class++)
		pab_latencies_destroy(&worker->latencies[class]);
	kvfree(worker->ring);
	kvfree(worker);
}
