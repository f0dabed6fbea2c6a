// SPDX-License-Identifier: GPL-2.0-only
/* For the tests only: a mistake made on purpose, which gcc's analyzer is to find. */
#include <linux/mm.h>
#include <linux/slab.h>

struct faulty_worker {
	void **slots;
};

void faulty_destroy(struct faulty_worker *worker)
{
	kvfree(worker);
	kvfree(worker->slots);
}
