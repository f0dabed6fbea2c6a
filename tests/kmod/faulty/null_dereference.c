// SPDX-License-Identifier: GPL-2.0-only
/* For the tests only: a mistake made on purpose, which gcc's analyzer is to find. */
#include <linux/errno.h>
#include <linux/slab.h>

struct faulty_worker {
	int cpu;
};

int faulty_cpu(const struct faulty_worker *worker)
{
	if (!worker)
		return worker->cpu;
	return -EINVAL;
}
