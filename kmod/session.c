// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cpu.h>
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/oom.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "pattern.h"
#include "session.h"
#include "worker.h"

/*
 * Sums of what the workers have counted. All frees are read before any allocs,
 * which pairs with the release of each free: never more frees than allocs,
 * whichever worker freed a block.
 */
static void pab_session_count(const struct pab_session *session, u64 *allocs, u64 *frees)
{
	u64 allocated = 0, freed = 0;
	unsigned int cpu;

	for_each_cpu(cpu, session->cpus) {
		/* Pairs with the release in pab_count_free(). */
		freed += smp_load_acquire(&session->workers[cpu]->frees);
	}
	for_each_cpu(cpu, session->cpus)
		allocated += READ_ONCE(session->workers[cpu]->allocs);
	*allocs = allocated;
	*frees = freed;
}

static u64 pab_session_held(const struct pab_session *session)
{
	u64 allocs, frees;

	pab_session_count(session, &allocs, &frees);
	return allocs - frees;
}

/*
 * out_of_memory() (mm/oom_kill.c) calls this before it chooses a victim, unless
 * only a memory cgroup is short: the moment at which what user space has and
 * what the workers hold add up to the machine. While a victim dies it may call
 * again; the first call is the one that counts.
 */
static int pab_on_oom(struct notifier_block *notifier, unsigned long unused, void *freed)
{
	struct pab_session *session = container_of(notifier, struct pab_session, oom_notifier);

	if (READ_ONCE(session->oom_held) == PAB_NO_OOM)
		WRITE_ONCE(session->oom_held, pab_session_held(session));
	return NOTIFY_OK;
}

struct pab_session *pab_session_create(void)
{
	struct pab_session *session = kzalloc(sizeof(*session), GFP_KERNEL);

	if (!session)
		return NULL;
	mutex_init(&session->lock);
	init_waitqueue_head(&session->start);
	session->state = PAB_STATE_NEW;
	session->oom_held = PAB_NO_OOM;
	session->oom_notifier.notifier_call = pab_on_oom;
	session->workers = kvcalloc(nr_cpu_ids, sizeof(*session->workers), GFP_KERNEL);
	session->peers = kvcalloc(nr_cpu_ids, sizeof(*session->peers), GFP_KERNEL);
	if (!session->workers || !session->peers)
		goto err_cpus;
	if (!zalloc_cpumask_var(&session->cpus, GFP_KERNEL))
		goto err_cpus;
	if (!zalloc_cpumask_var(&session->wanted, GFP_KERNEL))
		goto err_wanted;
	return session;

err_wanted:
	free_cpumask_var(session->cpus);
err_cpus:
	kvfree(session->peers);
	kvfree(session->workers);
	kfree(session);
	return NULL;
}

/* End every worker's thread; each gives its blocks back first, all at once. */
static void pab_session_halt(struct pab_session *session)
{
	unsigned int cpu;

	if (session->state == PAB_STATE_RUNNING)
		unregister_oom_notifier(&session->oom_notifier);
	WRITE_ONCE(session->stopping, true);
	for_each_cpu(cpu, session->cpus)
		wake_up_process(session->workers[cpu]->task);
	for_each_cpu(cpu, session->cpus)
		kthread_stop(session->workers[cpu]->task);
}

/* Back to PAB_STATE_NEW, from any state. */
static void pab_session_reset(struct pab_session *session)
{
	unsigned int cpu;

	if (session->state == PAB_STATE_CONFIGURED || session->state == PAB_STATE_RUNNING)
		pab_session_halt(session);
	for_each_cpu(cpu, session->cpus) {
		pab_worker_destroy(session->workers[cpu]);
		session->workers[cpu] = NULL;
	}
	cpumask_clear(session->cpus);
	mem_cgroup_put(session->memcg);
	session->memcg = NULL;
	session->state = PAB_STATE_NEW;
}

void pab_session_destroy(struct pab_session *session)
{
	pab_session_reset(session);
	free_cpumask_var(session->wanted);
	free_cpumask_var(session->cpus);
	kvfree(session->peers);
	kvfree(session->workers);
	kfree(session);
}

static bool pab_config_valid(const struct pab_config *config)
{
	const struct pab_pattern *pattern = pab_pattern_by_number(config->pattern);

	return pattern && !pattern->absent &&
	       config->order <= (pattern->of_pages ? 0 : PAB_MAX_ORDER) &&
	       config->gfp < PAB_GFP_COUNT &&
	       !(config->gfp_modifiers & ~PAB_GFP_MODIFIERS) && !config->reserved &&
	       config->time_one_in <= PAB_MAX_TIME_ONE_IN &&
	       config->sample_capacity <= PAB_MAX_SAMPLE &&
	       config->cpus_size >= 1 && config->cpus_size <= PAB_MAX_CPUS_SIZE &&
	       pab_parameters_valid(pattern, config->parameters);
}

/* Read the bitmap of CPUs into session->wanted. */
static int pab_session_read_cpus(struct pab_session *session, const struct pab_config *config)
{
	const u8 __user *bitmap = u64_to_user_ptr(config->cpus);
	unsigned int byte, bit, cpu;
	u8 bits;

	cpumask_clear(session->wanted);
	for (byte = 0; byte < config->cpus_size; byte++) {
		if (get_user(bits, bitmap + byte))
			return -EFAULT;
		for (bit = 0; bit < 8; bit++) {
			if (!(bits & (1 << bit)))
				continue;
			cpu = byte * 8 + bit;
			if (cpu >= nr_cpu_ids)
				return -EINVAL;
			cpumask_set_cpu(cpu, session->wanted);
		}
	}
	return cpumask_empty(session->wanted) ? -EINVAL : 0;
}

/* Read whom each CPU of session->wanted hands blocks to into session->peers. */
static int pab_session_read_peers(struct pab_session *session, const struct pab_config *config)
{
	const u32 __user *peers = u64_to_user_ptr(config->peers);
	unsigned int cpu;
	u32 peer;

	for_each_cpu(cpu, session->wanted) {
		peer = cpu;
		if (config->peers && get_user(peer, peers++))
			return -EFAULT;
		if (peer >= nr_cpu_ids || !cpumask_test_cpu(peer, session->wanted))
			return -EINVAL;
		session->peers[cpu] = peer;
	}
	return 0;
}

static void pab_session_connect_workers(struct pab_session *session)
{
	unsigned int cpu;

	for_each_cpu(cpu, session->cpus) {
		struct pab_worker *worker = session->workers[cpu];
		struct pab_worker *peer = session->workers[session->peers[cpu]];

		worker->peer = peer;
		if (peer != worker) {
			worker->next_source = peer->sources;
			peer->sources = worker;
		}
	}
}

/* With CPUs kept from going offline. On failure some workers may exist. */
static int pab_session_create_workers(struct pab_session *session)
{
	struct pab_worker *worker;
	unsigned int cpu;

	for_each_cpu(cpu, session->wanted) {
		worker = pab_worker_create(session, cpu);
		if (IS_ERR(worker))
			return PTR_ERR(worker);
		session->workers[cpu] = worker;
		cpumask_set_cpu(cpu, session->cpus);
	}
	pab_session_connect_workers(session);
	return 0;
}

int pab_session_configure(struct pab_session *session, const struct pab_config *config)
{
	int err;

	if (!pab_config_valid(config))
		return -EINVAL;
	err = pab_session_read_cpus(session, config);
	if (!err)
		err = pab_session_read_peers(session, config);
	if (err)
		return err;

	cpus_read_lock();
	if (!cpumask_subset(session->wanted, cpu_online_mask)) {
		err = -EINVAL;
		goto unlock;
	}
	pab_session_reset(session);
	session->config = *config;
	session->pattern = pab_pattern_by_number(config->pattern);
	if (config->gfp_modifiers & PAB_GFP_ACCOUNT)
		session->memcg = pab_memcg_of_caller();
	session->stopping = false;
	session->started = false;
	session->state = PAB_STATE_CONFIGURED;
	err = pab_session_create_workers(session);
	if (err)
		pab_session_reset(session);
unlock:
	cpus_read_unlock();
	return err;
}

int pab_session_start(struct pab_session *session)
{
	int err;

	session->oom_held = PAB_NO_OOM;
	err = register_oom_notifier(&session->oom_notifier);
	if (err)
		return err;
	session->state = PAB_STATE_RUNNING;
	WRITE_ONCE(session->started, true);
	wake_up_all(&session->start);
	return 0;
}

void pab_session_stop(struct pab_session *session)
{
	pab_session_halt(session);
	session->state = PAB_STATE_STOPPED;
}

void pab_session_watch_oom(struct pab_session *session)
{
	WRITE_ONCE(session->oom_held, PAB_NO_OOM);
}

void pab_session_progress(struct pab_session *session, struct pab_progress *progress)
{
	const struct pab_worker *worker;
	unsigned int cpu;
	u64 allocs, frees;

	*progress = (struct pab_progress) { .state = session->state };
	for_each_cpu(cpu, session->cpus) {
		worker = session->workers[cpu];
		/* With the worker's release, and before its blocks are counted. */
		progress->finished += smp_load_acquire(&worker->finished);
		progress->workers++;
		progress->steady += READ_ONCE(worker->steady);
		progress->displaced += READ_ONCE(worker->displaced);
		progress->failures += READ_ONCE(worker->failures);
		progress->remote += READ_ONCE(worker->remote);
	}
	pab_session_count(session, &allocs, &frees);
	progress->allocs = allocs;
	progress->frees = frees;
	progress->oom_held = READ_ONCE(session->oom_held);
	progress->time_ns = ktime_get_ns();
}

/* The worker of a CPU, or NULL when that CPU was not chosen. */
struct pab_worker *pab_session_worker(struct pab_session *session, unsigned int cpu)
{
	return cpu < nr_cpu_ids ? session->workers[cpu] : NULL;
}
