/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef PAB_ANTAGONIST_H
#define PAB_ANTAGONIST_H

#include "../random.h"

/* How many blocks to hold next: uniform in [held - spread, held + spread]. */
static inline u64 pab_antagonist_target(u64 *random, u64 held, u64 spread)
{
	return held - spread + pab_random_below(random, 2 * spread + 1);
}

#endif /* PAB_ANTAGONIST_H */
