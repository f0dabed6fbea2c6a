// SPDX-License-Identifier: GPL-2.0-only
/* The calls of the device, each with whatever arguments; those of any file are in file_calls.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fuzz.h"

unsigned int cpu_count;

/* The largest a session may be that is started: some MiB on each CPU. */
#define SAFE_HELD	64
#define SAFE_ORDERS	5
#define SAFE_PATTERNS	8	/* more than there are */
#define SAFE_SAMPLE	4096

/* VALUE, or once in a while a number at which code goes wrong. */
static uint64_t or_boundary(struct thread *thread, uint64_t value)
{
	return one_in(thread, 24) ? boundary(thread) : value;
}

static unsigned int any_cpu(struct thread *thread)
{
	return or_boundary(thread, below(thread, cpu_count));
}

/* Fill the thread's bitmap; the CPUs may be offline, or none. */
static void fill_bitmap(struct thread *thread)
{
	uint64_t cpus = draw(thread) & ((1ULL << cpu_count) - 1);

	if (one_in(thread, 16))
		cpus = draw(thread);
	memset(thread->bitmap, 0, 16);
	memcpy(thread->bitmap, &cpus, sizeof(cpus));
}

/* Whom each CPU hands its blocks to: behind the configuration in the buffer. */
static uint32_t *fill_peers(struct thread *thread)
{
	uint32_t *peers = (uint32_t *)(thread->buffer + 1024);
	unsigned int i;

	for (i = 0; i < 64; i++)
		peers[i] = or_boundary(thread, below(thread, cpu_count));
	return peers;
}

/* As a pattern that hands blocks over takes them, or any other. */
static void fill_parameters(struct thread *thread, struct pab_config *config)
{
	uint64_t held = 1 + below(thread, SAFE_HELD);

	if (one_in(thread, 4)) {
		config->parameters[0] = 1 << below(thread, 7);
		config->parameters[1] = below(thread, 2);
		return;
	}
	config->parameters[0] = or_boundary(thread, held);
	config->parameters[1] = or_boundary(thread, 1 + below(thread, held));
	config->parameters[2] = one_in(thread, 48);
}

static void fill_config(struct thread *thread, struct pab_config *config)
{
	static const uint32_t rates[] = { 0, 1, 32, PAB_MAX_TIME_ONE_IN, PAB_MAX_TIME_ONE_IN + 1 };

	fill_bitmap(thread);
	*config = (struct pab_config) {
		.pattern = or_boundary(thread, below(thread, SAFE_PATTERNS)),
		.order = below(thread, SAFE_ORDERS),
		.gfp = or_boundary(thread, below(thread, PAB_GFP_COUNT)),
		.gfp_modifiers = or_boundary(thread, below(thread, PAB_GFP_MODIFIERS + 1)),
		.reserved = one_in(thread, 48),
		.time_one_in = rates[below(thread, one_in(thread, 8) ? 5 : 4)],
		.sample_capacity = below(thread, one_in(thread, 8) ? SAFE_SAMPLE : 64),
		.seed = draw(thread),
		.allocs = one_in(thread, 4) ? boundary(thread) : 0,
		.peers = (uint64_t)(one_in(thread, 4) ? NULL :
				    one_in(thread, 16) ? arena_pointer(thread) :
				    fill_peers(thread)),
		.cpus = (uint64_t)(one_in(thread, 16) ? arena_pointer(thread) : thread->bitmap),
		.cpus_size = 1 + below(thread, 8),
	};
	fill_parameters(thread, config);
	if (one_in(thread, 32))
		config->order = 16 + below(thread, 64);
	if (one_in(thread, 32))
		config->sample_capacity = PAB_MAX_SAMPLE + 1 + below(thread, 8);
	if (one_in(thread, 32))
		config->cpus_size = PAB_MAX_CPUS_SIZE - 1 + below(thread, 3);
}

static void call_info(struct thread *thread)
{
	struct pab_info info = { 0 };
	void *argument = arena_argument(thread, &info, sizeof(info));

	if (counted(OP_INFO, ioctl(slot_any(thread), PAB_IOC_INFO, argument)) ||
	    argument != thread->buffer)
		return;
	memcpy(&info, thread->buffer, sizeof(info));
	promise(info.abi_version == PAB_ABI_VERSION && info.hist_buckets == PAB_HIST_BUCKETS,
		"INFO: version %u, %u buckets", info.abi_version, info.hist_buckets);
}

static void call_pattern(struct thread *thread)
{
	struct pab_pattern_info info = { .pattern = or_boundary(thread, 0) };
	void *argument = arena_argument(thread, &info, sizeof(info));

	if (counted(OP_PATTERN, ioctl(slot_any(thread), PAB_IOC_PATTERN, argument)) ||
	    argument != thread->buffer)
		return;
	memcpy(&info, thread->buffer, sizeof(info));
	promise(info.name[0] && !info.name[PAB_NAME_SIZE - 1] && info.absent <= 1 &&
		info.parameter_count <= PAB_MAX_PARAMETERS &&
		info.operation_count <= PAB_MAX_OPERATIONS,
		"PATTERN %u: %u parameters, %u operations", info.pattern, info.parameter_count,
		info.operation_count);
}

static void call_configure(struct thread *thread)
{
	struct pab_config config;
	void *argument;

	fill_config(thread, &config);
	argument = arena_argument(thread, &config, sizeof(config));
	if (!counted(OP_CONFIGURE, ioctl(slot_any(thread), PAB_IOC_CONFIGURE, argument)))
		thread->huge = false;
}

/*
 * At the upper bounds, on one CPU: what it asks for is hundreds of MiB, and may
 * not be had. Never started.
 */
static void call_configure_huge(struct thread *thread)
{
	struct pab_config config = {
		.order = below(thread, 11),
		.sample_capacity = one_in(thread, 2) ? PAB_MAX_SAMPLE : 1,
		.parameters = { PAB_MAX_BLOCKS >> (one_in(thread, 4) ? 1 : 4), 1 },
		.cpus = (uint64_t)thread->bitmap,
		.cpus_size = PAB_MAX_CPUS_SIZE,
	};

	if (!thread->alone)
		return;
	memset(thread->bitmap, 0, 16);
	thread->bitmap[0] = 1 << below(thread, cpu_count);
	if (!counted(OP_CONFIGURE, ioctl(slot_any(thread), PAB_IOC_CONFIGURE, &config)))
		thread->huge = true;
}

static void call_start(struct thread *thread)
{
	if (!thread->huge)
		counted(OP_START, ioctl(slot_any(thread), PAB_IOC_START, arena_pointer(thread)));
}

static void call_stop(struct thread *thread)
{
	counted(OP_STOP, ioctl(slot_any(thread), PAB_IOC_STOP, arena_pointer(thread)));
}

static void call_watch_oom(struct thread *thread)
{
	counted(OP_WATCH_OOM, ioctl(slot_any(thread), PAB_IOC_WATCH_OOM, arena_pointer(thread)));
}

static void call_progress(struct thread *thread)
{
	struct pab_progress progress = { 0 };
	void *argument = arena_argument(thread, &progress, sizeof(progress));

	if (counted(OP_PROGRESS, ioctl(slot_any(thread), PAB_IOC_PROGRESS, argument)) ||
	    argument != thread->buffer)
		return;
	memcpy(&progress, thread->buffer, sizeof(progress));
	promise(progress.state <= PAB_STATE_STOPPED && progress.workers <= cpu_count &&
		progress.steady <= progress.workers && progress.displaced <= progress.workers &&
		progress.finished <= progress.workers,
		"PROGRESS: state %u, %u workers, %u steady, %u displaced", progress.state,
		progress.workers, progress.steady, progress.displaced);
	promise(progress.frees <= progress.allocs && progress.remote <= progress.allocs,
		"PROGRESS: %llu allocs, %llu frees, %llu remote", progress.allocs, progress.frees,
		progress.remote);
}

static void call_cpu_stats(struct thread *thread)
{
	struct pab_cpu_stats stats = { .cpu = any_cpu(thread) };
	uint32_t cpu = stats.cpu;
	void *argument = arena_argument(thread, &stats, sizeof(stats));

	if (counted(OP_CPU_STATS, ioctl(slot_any(thread), PAB_IOC_CPU_STATS, argument)) ||
	    argument != thread->buffer)
		return;
	memcpy(&stats, thread->buffer, sizeof(stats));
	promise(stats.cpu == cpu && cpu < cpu_count && stats.last_cpu < cpu_count &&
		stats.shortfalls <= stats.allocs,
		"CPU_STATS of %u: cpu %u, last %u, %llu allocs, %llu shortfalls", cpu, stats.cpu,
		stats.last_cpu, stats.allocs, stats.shortfalls);
}

static void call_latency(struct thread *thread)
{
	/* Behind the request in the same buffer: room for all that is asked for. */
	uint8_t *room = thread->buffer + sizeof(struct pab_latency);
	struct pab_latency request = {
		.cpu = any_cpu(thread),
		.operation = or_boundary(thread, below(thread, PAB_MAX_OPERATIONS / 2)),
		.histogram = (uint64_t)(one_in(thread, 4) ? arena_pointer(thread) : room),
		.sample = (uint64_t)(one_in(thread, 4) ? arena_pointer(thread) :
				     room + 8 * PAB_HIST_BUCKETS),
		.sample_size = or_boundary(thread, SAFE_SAMPLE),
		.reserved = one_in(thread, 48),
	};
	void *argument;

	if (one_in(thread, 4)) { /* the histogram alone */
		request.sample = 0;
		request.sample_size = 0;
	}
	argument = arena_argument(thread, &request, sizeof(request));

	if (counted(OP_LATENCY, ioctl(slot_any(thread), PAB_IOC_LATENCY, argument)) ||
	    argument != thread->buffer)
		return;
	memcpy(&request, thread->buffer, sizeof(request));
	promise(request.sample_size <= request.timed && request.max_ns <= request.total_ns,
		"LATENCY: %llu timed, %u in the sample, longest %llu ns of %llu ns", request.timed,
		request.sample_size, request.max_ns, request.total_ns);
}

static const uint32_t requests[] = {
	PAB_IOC_INFO, PAB_IOC_CONFIGURE, PAB_IOC_START, PAB_IOC_STOP, PAB_IOC_PROGRESS,
	PAB_IOC_CPU_STATS, PAB_IOC_LATENCY, PAB_IOC_WATCH_OOM, PAB_IOC_PATTERN,
};

static bool is_known(uint32_t request)
{
	size_t i;

	for (i = 0; i < LENGTH(requests); i++)
		if (requests[i] == request)
			return true;
	return false;
}

/* One of the numbers with another direction, size, magic or number; or any. */
static uint32_t random_request(struct thread *thread)
{
	uint32_t request = requests[below(thread, LENGTH(requests))];

	switch (below(thread, 6)) {
	case 0:
		return request ^ (1 + below(thread, 3)) << _IOC_DIRSHIFT;
	case 1:
		return (request & ~(_IOC_SIZEMASK << _IOC_SIZESHIFT)) |
		       below(thread, 1 << _IOC_SIZEBITS) << _IOC_SIZESHIFT;
	case 2:
		return request ^ (1 + below(thread, 255)) << _IOC_NRSHIFT;
	case 3:
		return request ^ (1 + below(thread, 255)) << _IOC_TYPESHIFT;
	case 4:
		return request ^ 1U << below(thread, 32);
	default:
		return draw(thread);
	}
}

static void call_ioctl_random(struct thread *thread)
{
	uint64_t words[16];
	uint32_t request = random_request(thread);
	size_t i;

	if (is_known(request))
		return;
	for (i = 0; i < LENGTH(words); i++)
		words[i] = boundary(thread);
	/* A number of another magic may be one that every file knows, like FIGETBSZ. */
	counted(_IOC_TYPE(request) == PAB_IOC_MAGIC ? OP_IOCTL_RANDOM : OP_IOCTL_VFS,
		ioctl(slot_any(thread), request, arena_argument(thread, words, sizeof(words))));
}

/* What fs/ioctl.c answers itself before it asks the device. */
static void call_ioctl_vfs(struct thread *thread)
{
	static const unsigned long known[] = {
		FIONBIO, FIOASYNC, FIOCLEX, FIONCLEX, FIOQSIZE, FIONREAD, FIGETBSZ, FIBMAP,
		FS_IOC_FIEMAP, FS_IOC_GETFLAGS,
	};
	int argument[64] = { below(thread, 2) };

	counted(OP_IOCTL_VFS, ioctl(slot_any(thread), known[below(thread, LENGTH(known))],
				    arena_argument(thread, argument, sizeof(argument))));
}

#ifdef __x86_64__
/* The call as a 32-bit program makes it; registers that old kernels clear are lost. */
static long ioctl_32(int fd, uint32_t request, uint32_t argument)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(54L), "b"((long)fd), "c"((long)request), "d"((long)argument)
			 : "memory", "r8", "r9", "r10", "r11");
	if ((int)ret >= 0)
		return (int)ret;
	errno = -(int)ret;
	return -1;
}

static void call_ioctl_32(struct thread *thread)
{
	union {
		struct pab_config config;
		struct pab_cpu_stats stats;
		uint64_t words[16];
	} content = { 0 };
	uint32_t request = requests[below(thread, LENGTH(requests))];

	if (one_in(thread, 8))
		request = random_request(thread);
	if (request == PAB_IOC_CONFIGURE)
		fill_config(thread, &content.config);
	else if (request == PAB_IOC_CPU_STATS)
		content.stats.cpu = any_cpu(thread);
	if (request == PAB_IOC_START && thread->huge)
		return;
	counted(OP_IOCTL_32, ioctl_32(slot_any(thread), request,
				      (uint32_t)(uint64_t)arena_low(thread, &content,
								    sizeof(content))));
}
#else
static void call_ioctl_32(struct thread *thread)
{
	(void)thread;
}
#endif

static void call_signal(struct thread *thread)
{
	(void)thread;
	/* Any thread of the process may be the one that is interrupted. */
	counted(OP_SIGNAL, kill(getpid(), SIGUSR1));
}

/* How often each is made, in so many of all. */
static const struct {
	void (*call)(struct thread *thread);
	unsigned int weight;
} table[] = {
	{ call_info, 1000 }, { call_pattern, 300 }, { call_progress, 1400 }, { call_cpu_stats, 1200 },
	{ call_latency, 900 }, { call_watch_oom, 400 }, { call_ioctl_random, 1000 },
	{ call_ioctl_32, 800 }, { call_ioctl_vfs, 200 }, { call_configure, 150 },
	{ call_start, 120 }, { call_stop, 300 }, { call_configure_huge, 1 },
	{ call_open, 300 }, { call_reopen, 60 }, { call_close, 100 }, { call_close_all, 25 },
	{ call_dup, 350 }, { call_send, 60 },
	{ call_read, 250 }, { call_write, 250 }, { call_mmap, 250 }, { call_poll, 150 },
	{ call_lseek, 150 }, { call_splice, 150 }, { call_fallocate, 120 }, { call_fcntl, 150 },
	{ arena_remap, 200 }, { arena_drop_late, 10 }, { call_signal, 10 },
	{ call_fork, 4 }, { call_exec, 1 }, { call_unprivileged, 2 },
};

void call_any(struct thread *thread)
{
	static _Atomic unsigned int sum;
	unsigned int total = atomic_load(&sum);
	uint64_t choice;
	size_t i;

	if (!total) {
		for (i = 0; i < LENGTH(table); i++)
			total += table[i].weight;
		atomic_store(&sum, total);
	}
	choice = below(thread, total);
	for (i = 0; choice >= table[i].weight; i++)
		choice -= table[i].weight;
	table[i].call(thread);
}
