/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The ABI between the kernel module and user space.
 *
 * /dev/page_alloc_bench (mode 0600) carries one session at a time: the open
 * file. Closing it, for whatever reason, stops the workers and gives back every
 * page. To open it, and for each call on it, a process needs CAP_SYS_ADMIN in
 * the initial user namespace: a descriptor that was inherited or passed on is of
 * no use to others.
 *
 *	open -> INFO, PATTERN -> CONFIGURE -> START -> WATCH_OOM, PROGRESS ... ->
 *	STOP -> CPU_STATS, LATENCY -> CONFIGURE (again) or close
 *
 * What is allowed in which state is one table, pab_calls in device.c:
 *
 *	INFO, PATTERN, PROGRESS, CPU_STATS	in every state
 *	LATENCY					in every state; with a sample, while no
 *						worker runs
 *	CONFIGURE				while no worker runs
 *	START					once after each CONFIGURE
 *	STOP, WATCH_OOM				while workers run
 *
 * Errors, before anything is changed: EINVAL for an unknown or out-of-range
 * argument, EFAULT for a bad user pointer, EBADFD for a call that does not fit
 * the session's state, ENOTTY for an unknown request, EPERM for a caller without
 * that capability; EBUSY from open() only. CONFIGURE may also fail with ENOMEM,
 * and then leaves the session as if it had never been configured.
 *
 * A block is 2^order contiguous pages. Any worker may free a block that another
 * has allocated, so a worker's frees may exceed its allocs; the session holds
 * the sum of all allocs less the sum of all frees, which is 0 after STOP.
 *
 * Mirrored in bundle/page_alloc_bench/runner/module/abi.py.
 */
#ifndef PAGE_ALLOC_BENCH_H
#define PAGE_ALLOC_BENCH_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Changes with every incompatible change of this file. */
#define PAB_ABI_VERSION		7

#define PAB_DEVICE_NAME		"page_alloc_bench"

/* What a pattern may declare at most, and the size of a name with its closing 0. */
#define PAB_MAX_PARAMETERS	8
#define PAB_MAX_OPERATIONS	16
#define PAB_NAME_SIZE		24

/*
 * How the workers ask for pages. An enumeration, because the values of the
 * kernel's own GFP flags differ between its versions.
 */
enum pab_gfp {
	PAB_GFP_KERNEL		= 0,	/* GFP_KERNEL */
	PAB_GFP_USER		= 1,	/* GFP_USER */
	PAB_GFP_NOWAIT		= 2,	/* GFP_NOWAIT */
	PAB_GFP_ATOMIC		= 3,	/* GFP_ATOMIC */
	PAB_GFP_COUNT
};

/* What they ask for besides, as bits. */
enum pab_gfp_modifier {
	PAB_GFP_COMP		= 1,	/* __GFP_COMP */
	PAB_GFP_ACCOUNT		= 2,	/* __GFP_ACCOUNT: charged to the memory cgroup
					 * of whoever calls CONFIGURE
					 */
	PAB_GFP_ZERO		= 4,	/* __GFP_ZERO */
	PAB_GFP_THISNODE	= 8,	/* __GFP_THISNODE */
	PAB_GFP_MODIFIERS	= 15	/* all of them */
};

enum pab_state {
	PAB_STATE_NEW		= 0,
	PAB_STATE_CONFIGURED	= 1,
	PAB_STATE_RUNNING	= 2,
	PAB_STATE_STOPPED	= 3,
};

/*
 * Histograms are log-linear: one bucket per nanosecond below
 * 2^PAB_HIST_SUB_BITS, then 2^PAB_HIST_SUB_BITS buckets per power of two, which
 * keeps the relative error of a bucket below 1/16. The last bucket also takes
 * what lasted 2^PAB_HIST_MAX_BITS ns (18 minutes) or longer.
 */
#define PAB_HIST_SUB_BITS	4
#define PAB_HIST_MAX_BITS	40
#define PAB_HIST_BUCKETS	\
	((PAB_HIST_MAX_BITS - PAB_HIST_SUB_BITS + 1) << PAB_HIST_SUB_BITS)

/* Upper bounds of what CONFIGURE takes. */
#define PAB_MAX_BLOCKS		0x2000000	/* blocks that a worker may hold */
#define PAB_MAX_TIME_ONE_IN	0x10000		/* operations */
#define PAB_MAX_SAMPLE		0x400000	/* latencies */
#define PAB_MAX_CPUS_SIZE	0x2000		/* bytes */

struct pab_info {
	__u32 abi_version;	/* PAB_ABI_VERSION of the module */
	__u32 page_shift;	/* log2 of the page size in bytes */
	__u32 max_order;	/* largest order that CONFIGURE takes */
	__u32 pattern_count;	/* patterns that the module has */
	__u32 hist_buckets;	/* PAB_HIST_BUCKETS of the module */
	__u32 hist_sub_bits;	/* PAB_HIST_SUB_BITS of the module */
};

/* A parameter of a pattern: unused ones have no name. */
struct pab_parameter_info {
	__u8  name[PAB_NAME_SIZE];
	__u64 min;
	__u64 max;
};

/* A kind of operation whose latency is kept apart: unused ones have no name. */
struct pab_operation_info {
	__u8  name[PAB_NAME_SIZE];
};

/* What a pattern declares. */
struct pab_pattern_info {
	__u32 pattern;		/* in: 0 .. pab_info.pattern_count - 1 */
	__u32 parameter_count;
	__u32 operation_count;
	__u32 absent;		/* 1: this kernel lacks what it needs, and
				 * CONFIGURE does not take it
				 */
	__u8  name[PAB_NAME_SIZE];
	struct pab_parameter_info parameters[PAB_MAX_PARAMETERS];
	struct pab_operation_info operations[PAB_MAX_OPERATIONS];
};

struct pab_config {
	__u32 pattern;		/* 0 .. pab_info.pattern_count - 1 */
	__u32 order;		/* 0 .. pab_info.max_order */
	__u32 gfp;		/* enum pab_gfp */
	__u32 time_one_in;	/* 0: time nothing; 1: every operation; n: one
				 * operation in n, chosen at random in advance
				 */
	__u32 sample_capacity;	/* latencies kept, per CPU and kind */
	__u32 cpus_size;	/* bytes of the bitmap of CPUs */
	__u32 gfp_modifiers;	/* enum pab_gfp_modifier, or'ed */
	__u32 reserved;		/* 0 */
	__u64 cpus;		/* its address: bit (n % 8) of byte (n / 8) is
				 * CPU n; every CPU in it must be online
				 */
	__u64 seed;		/* of every random choice */
	__u64 allocs;		/* allocations after which each worker ends by
				 * itself; 0: it goes on until STOP
				 */
	__u64 peers;		/* address of a __u32 for each of those CPUs,
				 * in their order: the one of them that its
				 * blocks are handed to, if the pattern hands
				 * blocks over; 0: each to itself
				 */
	__u64 parameters[PAB_MAX_PARAMETERS];	/* as the pattern declares them,
						 * the rest 0
						 */
};

/* What pab_progress.oom_held is when the OOM killer has not been called. */
#define PAB_NO_OOM		(~0ULL)

/* Sums over the workers, in blocks, and when they were taken. */
struct pab_progress {
	__u32 state;		/* enum pab_state */
	__u32 workers;		/* one for each chosen CPU */
	__u32 steady;		/* workers past the pattern's start-up */
	__u32 displaced;	/* workers that stopped because their CPU went */
	__u32 finished;		/* workers that have made their config.allocs */
	__u32 reserved;		/* 0 */
	__u64 time_ns;		/* CLOCK_MONOTONIC */
	__u64 allocs;		/* successful allocations */
	__u64 frees;
	__u64 failures;		/* allocations that got nothing */
	__u64 remote;		/* of allocs: not from the nearest node */
	__u64 oom_held;		/* blocks held when the kernel first called the
				 * OOM killer for the whole machine after START
				 * or WATCH_OOM, or PAB_NO_OOM
				 */
};

struct pab_cpu_stats {
	__u32 cpu;		/* in: a chosen CPU */
	__u32 node;		/* nearest node with memory, by its zonelist */
	__u32 last_cpu;		/* where the worker last ran */
	__u32 steady;		/* 1: past the pattern's start-up */
	__u32 displaced;	/* 1: stopped because its CPU went offline */
	__u32 finished;		/* 1: has no allocation left to make */
	__u32 charged;		/* 1: what it allocates is charged to a cgroup */
	__u32 reserved;		/* 0 */
	__u64 allocs;
	__u64 frees;
	__u64 failures;
	__u64 remote;
	__u64 shortfalls;	/* what the pattern could not do as it should:
				 * its file in patterns/ says what
				 */
	__u64 clock_cost_ps;	/* mean cost of one clock read; picoseconds */
	__u64 clock_step_ns;	/* smallest non-zero step of the clock seen */
	__u64 begin_ns;		/* CLOCK_MONOTONIC when the pattern began, and */
	__u64 end_ns;		/* when it ended; 0: not yet */
};

/*
 * While workers run, no sample can be had, and the counts are those of one
 * moment or another: an operation that is timed meanwhile may be in some of them.
 */
struct pab_latency {
	__u32 cpu;		/* in: a chosen CPU */
	__u32 operation;	/* in: one of the pattern's kinds */
	__u64 timed;		/* operations timed; each is in the histogram */
	__u64 total_ns;		/* sum over them */
	__u64 max_ns;		/* longest of them */
	__u64 histogram;	/* in: address of __u64[PAB_HIST_BUCKETS] */
	__u64 sample;		/* in: address of __u64[sample_size], or 0: the
				 * histogram alone is wanted. There is none of
				 * the paths of allocations and frees
				 */
	__u32 sample_size;	/* in: room, >= sample_capacity, or 0 with the
				 * address; out: latencies written
				 */
	__u32 reserved;		/* 0 */
};

#define PAB_IOC_MAGIC		0xBA
#define PAB_IOC_INFO		_IOR(PAB_IOC_MAGIC, 0, struct pab_info)
#define PAB_IOC_CONFIGURE	_IOW(PAB_IOC_MAGIC, 1, struct pab_config)
#define PAB_IOC_START		_IO(PAB_IOC_MAGIC, 2)
#define PAB_IOC_STOP		_IO(PAB_IOC_MAGIC, 3)
#define PAB_IOC_PROGRESS	_IOR(PAB_IOC_MAGIC, 4, struct pab_progress)
#define PAB_IOC_CPU_STATS	_IOWR(PAB_IOC_MAGIC, 5, struct pab_cpu_stats)
#define PAB_IOC_LATENCY		_IOWR(PAB_IOC_MAGIC, 6, struct pab_latency)
#define PAB_IOC_WATCH_OOM	_IO(PAB_IOC_MAGIC, 7)
#define PAB_IOC_PATTERN		_IOWR(PAB_IOC_MAGIC, 8, struct pab_pattern_info)

#endif /* PAGE_ALLOC_BENCH_H */
