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
#include "compat.h"
#include "marker.h"
#include "pattern.h"
#include "session.h"
#include "worker.h"

/* After a failed allocation: wait this long, then half as long again, and so on. */
#define PAB_BACKOFF_FIRST_MS	500
#define PAB_BACKOFF_MAX_MS	(10 * 60 * 1000)

bool pab_may_go_on(struct pab_worker *worker)
{
	unsigned int cpu = raw_smp_processor_id();

	WRITE_ONCE(worker->last_cpu, cpu);
	if (cpu != worker->cpu)
		WRITE_ONCE(worker->displaced, true);
	return cpu == worker->cpu && !pab_stopping(worker);
}

void pab_mark_steady(struct pab_worker *worker)
{
	WRITE_ONCE(worker->steady, true);
}

static void pab_record(struct pab_worker *worker, enum pab_block_operation kind, u64 ns)
{
	pab_latencies_record(&worker->latencies[kind], ns, &worker->random[PAB_STREAM_SAMPLE]);
}

static struct page *pab_alloc_clocked(struct pab_worker *worker, u64 *ns)
{
	u64 start = ktime_get_ns();
	struct page *page = alloc_pages(worker->gfp, worker->order);

	*ns = ktime_get_ns() - start;
	return page;
}

/* Pages on this CPU's list of the zone that is asked first. */
int pab_first_list_pages(const struct pab_worker *worker)
{
	return worker->zone ? pab_list_pages(worker->zone) : 0;
}

static enum pab_block_operation pab_alloc_path(const struct pab_worker *worker,
					       const struct page *page, long pages, int before)
{
	int taken;

	if (page_zone(page) != worker->zone)
		return PAB_FALLBACK_ALLOC;
	taken = before - pab_list_pages(worker->zone);
	if (taken == pages)
		return PAB_HIT_ALLOC;
	return taken ? PAB_REFILL_ALLOC : PAB_BYPASS_ALLOC;
}

/*
 * Record a timed allocation, and choose the next one. page: the first of so many
 * pages, NULL: it got nothing. before: on the list of the first zone.
 */
void pab_alloc_record(struct pab_worker *worker, const struct page *page, unsigned long pages,
		      int before, u64 ns)
{
	if (page)
		pab_record(worker, pab_alloc_path(worker, page, pages, before), ns);
	pab_record(worker, page ? PAB_ALLOC : PAB_ALLOC_FAILURE, ns);
	pab_chooser_next(&worker->choose_alloc, &worker->random[PAB_STREAM_SAMPLE]);
}

/* An allocation that was chosen to be timed. */
struct page *pab_alloc_timed(struct pab_worker *worker)
{
	int before = pab_first_list_pages(worker);
	struct page *page;
	u64 ns;

	page = pab_alloc_clocked(worker, &ns);
	pab_alloc_record(worker, page, 1UL << worker->order, before, ns);
	return page;
}

void pab_free_timed(struct pab_worker *worker, struct page *page)
{
	const struct zone *zone = page_zone(page);
	int before = pab_list_pages(zone), put;
	u64 ns, start = ktime_get_ns();

	__free_pages(page, worker->order);
	ns = ktime_get_ns() - start;
	put = pab_list_pages(zone) - before;
	pab_record(worker, put == 1 << worker->order ? PAB_PUT_FREE : PAB_DRAIN_FREE, ns);
	pab_record(worker, PAB_FREE, ns);
	pab_chooser_next(&worker->choose_free, &worker->random[PAB_STREAM_SAMPLE]);
}

void pab_await_stop(struct pab_worker *worker)
{
	set_current_state(TASK_IDLE);
	while (!pab_stopping(worker)) {
		schedule();
		set_current_state(TASK_IDLE);
	}
	__set_current_state(TASK_RUNNING);
}

void pab_sleep(struct pab_worker *worker, unsigned int ms)
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
		if (!pab_may_go_on(worker))
			return NULL;
		page = pab_alloc_clocked(worker, &ns);
		if (page)
			return page;
		if (worker->choose_alloc.time_one_in)
			pab_record(worker, PAB_ALLOC_FAILURE, ns);
		pause_ms = min(pause_ms + pause_ms / 2, PAB_BACKOFF_MAX_MS);
	}
}

/*
 * Not part of the benchmark, hence not timed; it is counted all the same. Other
 * workers may be taking blocks out of the same slots.
 */
static void pab_give_back(struct pab_worker *worker)
{
	u64 i;

	for (i = 0; i <= worker->slot_mask; i++) {
		struct page *page = xchg(&worker->slots[i], NULL);

		if (page) {
			__free_pages(page, worker->order);
			pab_count_free(worker);
		}
		cond_resched();
	}
}

/* Whether what this thread allocates is charged; one page tells. */
static bool pab_is_charged(const struct pab_worker *worker)
{
	struct page *page = alloc_pages(worker->gfp, 0);
	bool charged = page && pab_page_charged(page);

	if (page)
		__free_pages(page, 0);
	return charged;
}

static void pab_work(struct pab_worker *worker)
{
	const struct pab_session *session = worker->session;

	pab_charge_to(session->memcg);
	if (session->memcg)
		WRITE_ONCE(worker->charged, pab_is_charged(worker));
	pab_clock_calibrate(&worker->clock_cost_ps, &worker->clock_step_ns);
	WRITE_ONCE(worker->begin_ns, ktime_get_ns());
	pab_mark_begin();
	session->pattern->run(worker, session->config.parameters);
	pab_mark_end();
	WRITE_ONCE(worker->end_ns, ktime_get_ns());
	pab_give_back(worker);
	/* With pab_session_progress(): who has finished holds nothing. */
	smp_store_release(&worker->finished, !pab_left(worker));
	pab_charge_to(NULL);
}

static int pab_worker_thread(void *data)
{
	struct pab_worker *worker = data;
	struct pab_session *session = worker->session;

	wait_event_idle(session->start, READ_ONCE(session->started) || kthread_should_stop());
	if (!kthread_should_stop())
		pab_work(worker);

	/* kthread_stop() needs a task that is still there. */
	set_current_state(TASK_IDLE);
	while (!kthread_should_stop()) {
		schedule();
		set_current_state(TASK_IDLE);
	}
	__set_current_state(TASK_RUNNING);
	return 0;
}

/* Failures are counted, so they need no report in the kernel's log. */
static gfp_t pab_gfp(enum pab_gfp gfp, u32 modifiers)
{
	static const gfp_t flags[PAB_GFP_COUNT] = {
		[PAB_GFP_KERNEL]	= GFP_KERNEL,
		[PAB_GFP_USER]		= GFP_USER,
		[PAB_GFP_NOWAIT]	= GFP_NOWAIT,
		[PAB_GFP_ATOMIC]	= GFP_ATOMIC,
	};

	return flags[gfp] | __GFP_NOWARN |
	       (modifiers & PAB_GFP_COMP ? __GFP_COMP : 0) |
	       (modifiers & PAB_GFP_ACCOUNT ? __GFP_ACCOUNT : 0) |
	       (modifiers & PAB_GFP_ZERO ? __GFP_ZERO : 0) |
	       (modifiers & PAB_GFP_THISNODE ? __GFP_THISNODE : 0);
}

/*
 * The zone that the allocator turns to first for this CPU: of the nearest node
 * that has memory in a zone such an allocation may use. NULL if there is none.
 */
static struct zone *pab_first_zone(unsigned int cpu, gfp_t gfp)
{
	struct zoneref *ref = node_zonelist(cpu_to_node(cpu), gfp)->_zonerefs;

	while (zonelist_zone(ref) && zonelist_zone_idx(ref) > gfp_zone(gfp))
		ref++;
	return zonelist_zone(ref);
}

static int pab_worker_init_latencies(struct pab_worker *worker, const struct pab_config *config)
{
	unsigned int i;
	int err;

	pab_chooser_init(&worker->choose_alloc, config->time_one_in,
			 &worker->random[PAB_STREAM_SAMPLE]);
	pab_chooser_init(&worker->choose_free, config->time_one_in,
			 &worker->random[PAB_STREAM_SAMPLE]);
	for (i = 0; i < worker->operation_count; i++) {
		bool path = i >= PAB_HIT_ALLOC && i < PAB_BLOCK_OPERATION_COUNT;

		err = pab_latencies_init(&worker->latencies[i],
					 path ? 0 : config->sample_capacity, worker->node);
		if (err)
			return err;
	}
	return 0;
}

static int pab_worker_init(struct pab_worker *worker, u64 blocks)
{
	const struct pab_config *config = &worker->session->config;
	u64 slot_count = roundup_pow_of_two(blocks);
	struct task_struct *task;
	int stream, err;

	for (stream = 0; stream < PAB_STREAM_COUNT; stream++)
		worker->random[stream] = pab_random_seed(config->seed, worker->cpu, stream);
	err = pab_worker_init_latencies(worker, config);
	if (err)
		return err;

	worker->slot_mask = slot_count - 1;
	worker->slots = pab_buffer(slot_count, sizeof(*worker->slots), worker->node);
	if (!worker->slots)
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
	const struct pab_config *config = &session->config;
	unsigned int operation_count = pab_operation_count(session->pattern);
	gfp_t gfp = pab_gfp(config->gfp, config->gfp_modifiers);
	struct zone *zone = pab_first_zone(cpu, gfp);
	int node = zone ? zone_to_nid(zone) : cpu_to_node(cpu), err;
	struct pab_worker *worker;

	worker = pab_buffer(1, struct_size(worker, latencies, operation_count), node);
	if (!worker)
		return ERR_PTR(-ENOMEM);
	worker->session = session;
	worker->stopping = &session->stopping;
	worker->limit = config->allocs ?: U64_MAX;
	worker->gfp = gfp;
	worker->order = config->order;
	worker->cpu = cpu;
	worker->zone = zone;
	worker->node = node;
	worker->last_cpu = cpu;
	worker->operation_count = operation_count;
	err = pab_worker_init(worker, session->pattern->blocks(config->parameters));
	if (err) {
		pab_worker_destroy(worker);
		return ERR_PTR(err);
	}
	return worker;
}

/* Only for workers whose thread has been stopped or never was. */
void pab_worker_destroy(struct pab_worker *worker)
{
	unsigned int i;

	for (i = 0; i < worker->operation_count; i++)
		pab_latencies_destroy(&worker->latencies[i]);
	kvfree(worker->slots);
	kvfree(worker);
}
