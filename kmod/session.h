/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A session: what an open file of the device stands for. Its calls are made one
 * at a time, and only in the states that device.c allows them in.
 */
#ifndef PAB_SESSION_H
#define PAB_SESSION_H

#include <linux/cpumask.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/types.h>
#include <linux/wait.h>

#include "page_alloc_bench.h"

struct pab_pattern;
struct pab_worker;

struct pab_session {
	/* Read by the workers at every operation; written twice in a run. */
	bool			stopping;
	bool			started;
	const struct pab_pattern *pattern;
	struct pab_config	config;
	struct mem_cgroup	*memcg;	/* that is charged, or NULL */

	/* What the workers held when the OOM killer was called, in blocks. */
	u64			oom_held;
	struct notifier_block	oom_notifier;	/* registered while running */

	struct mutex		lock;	/* one call at a time */
	enum pab_state		state;
	wait_queue_head_t	start;
	cpumask_var_t		cpus;	/* one worker on each */
	cpumask_var_t		wanted;	/* room to read a bitmap into */
	u32			*peers;	/* and room to read these; by CPU, nr_cpu_ids */
	struct pab_worker	**workers;	/* by CPU; nr_cpu_ids of them */
};

struct pab_session *pab_session_create(void);
void pab_session_destroy(struct pab_session *session);

int pab_session_configure(struct pab_session *session, const struct pab_config *config);
int pab_session_start(struct pab_session *session);
void pab_session_stop(struct pab_session *session);
void pab_session_watch_oom(struct pab_session *session);
void pab_session_progress(struct pab_session *session, struct pab_progress *progress);
struct pab_worker *pab_session_worker(struct pab_session *session, unsigned int cpu);

#endif /* PAB_SESSION_H */
