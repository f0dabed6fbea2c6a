// SPDX-License-Identifier: GPL-2.0-only
#include "antagonist.h"
#include "session.h"
#include "worker.h"

static void pab_antagonist_run(struct pab_worker *worker)
{
	const struct pab_config *config = &worker->session->config;

	while (pab_worker_may_go_on(worker)) {
		u64 target = pab_antagonist_target(&worker->random[PAB_STREAM_PATTERN],
						   config->held, config->spread);

		while (pab_held(worker) < target) {
			if (READ_ONCE(worker->session->stopping) || !pab_alloc_block(worker))
				return;
			cond_resched();
		}
		if (pab_held(worker) >= config->held)
			pab_worker_mark_steady(worker);
		while (pab_held(worker) > target) {
			pab_free_block(worker);
			cond_resched();
		}
	}
}

const struct pab_pattern pab_antagonist = {
	.run = pab_antagonist_run,
};
