/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between kernel versions, and nothing else. No other file of the
 * module may ask which kernel it is built for.
 */
#ifndef PAB_COMPAT_H
#define PAB_COMPAT_H

#include <linux/log2.h>
#include <linux/mmzone.h>

#ifndef CONFIG_64BIT
#error "page_alloc_bench counts in 64-bit words that must not tear: 64-bit kernels only"
#endif

/*
 * The largest order the page allocator serves. MAX_ORDER was one more than that
 * until 23baf831a32c ("mm, treewide: redefine MAX_ORDER sanely", v6.4) and is
 * MAX_PAGE_ORDER since 5e0a760b4441 ("mm, treewide: rename MAX_ORDER to
 * MAX_PAGE_ORDER", v6.8). The pages in a block of that order have had one name
 * throughout.
 */
#define PAB_MAX_ORDER	ilog2(MAX_ORDER_NR_PAGES)

#endif /* PAB_COMPAT_H */
