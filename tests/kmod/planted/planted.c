// SPDX-License-Identifier: GPL-2.0-only
/*
 * For the tests only: mistakes made on purpose, to see that a kernel tells of
 * them. Loading the module with fault=NAME makes the one called NAME; only on
 * kernels that are built to survive it.
 */
#include <linux/compiler.h>
#include <linux/gfp.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static char *fault = "";
module_param(fault, charp, 0444);

static u8 planted_sink;
static unsigned int planted_shift = 40;
static DEFINE_SPINLOCK(planted_spinlock);
static DEFINE_MUTEX(planted_first);
static DEFINE_MUTEX(planted_second);

static void planted_use_after_free(void)
{
	u8 *object = kmalloc(64, GFP_KERNEL);

	if (!object)
		return;
	kfree(object);
	OPTIMIZER_HIDE_VAR(object);
	WRITE_ONCE(planted_sink, READ_ONCE(object[8]));
}

static void planted_page_use_after_free(void)
{
	struct page *page = alloc_page(GFP_KERNEL);
	u8 *bytes;

	if (!page)
		return;
	bytes = page_address(page);
	__free_page(page);
	OPTIMIZER_HIDE_VAR(bytes);
	WRITE_ONCE(planted_sink, READ_ONCE(bytes[8]));
}

static void planted_out_of_bounds(void)
{
	u8 *bytes = vmalloc(100);

	if (!bytes)
		return;
	OPTIMIZER_HIDE_VAR(bytes);
	WRITE_ONCE(planted_sink, READ_ONCE(bytes[100]));
	vfree(bytes);
}

static void planted_atomic_sleep(void)
{
	struct page *page;

	spin_lock(&planted_spinlock);
	page = alloc_page(GFP_KERNEL);
	spin_unlock(&planted_spinlock);
	if (page)
		__free_page(page);
}

static void planted_lock_order(void)
{
	mutex_lock(&planted_first);
	mutex_lock(&planted_second);
	mutex_unlock(&planted_second);
	mutex_unlock(&planted_first);
	mutex_lock(&planted_second);
	mutex_lock(&planted_first);
	mutex_unlock(&planted_first);
	mutex_unlock(&planted_second);
}

static void planted_list(void)
{
	struct list_head head, item;

	INIT_LIST_HEAD(&head);
	list_add(&item, &head);
	item.next = &item;
	list_del(&item);
}

static void planted_shift_out_of_bounds(void)
{
	int value = 1;

	WRITE_ONCE(planted_sink, value << READ_ONCE(planted_shift));
}

static void planted_leak(void)
{
	int i;

	/* More than one: a stale copy of an address would hide a single one. */
	for (i = 0; i < 16; i++)
		memset(kmalloc(200, GFP_KERNEL | __GFP_NOFAIL), 1, 200);
}

static void planted_page_leak(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 1);

	WRITE_ONCE(planted_sink, !page);
}

static const struct {
	const char *name;
	void (*make)(void);
} planted_faults[] = {
	{ "use_after_free", planted_use_after_free },
	{ "page_use_after_free", planted_page_use_after_free },
	{ "out_of_bounds", planted_out_of_bounds },
	{ "atomic_sleep", planted_atomic_sleep },
	{ "lock_order", planted_lock_order },
	{ "list", planted_list },
	{ "shift", planted_shift_out_of_bounds },
	{ "leak", planted_leak },
	{ "page_leak", planted_page_leak },
};

static int __init planted_init(void)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(planted_faults); i++) {
		if (!strcmp(fault, planted_faults[i].name)) {
			planted_faults[i].make();
			return 0;
		}
	}
	return -EINVAL;
}

static void __exit planted_exit(void)
{
}

module_init(planted_init);
module_exit(planted_exit);

MODULE_DESCRIPTION("Mistakes made on purpose, for tests of the page allocator benchmark");
MODULE_LICENSE("GPL");
