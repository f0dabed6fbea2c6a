// SPDX-License-Identifier: GPL-2.0-only
/*
 * How fast can user space take memory? The reference that findlimit is held to: one thread on each
 * allowed CPU claims 2 MiB steps of one large mapping and populates them with MADV_POPULATE_WRITE.
 *
 *	populate [BYTES]
 *
 * A child does it, until it has BYTES or, without BYTES, until the OOM killer ends it. Prints the
 * bytes it got and the nanoseconds from its first fault to its death, on one line.
 *
 *	gcc -O2 -pthread -static -o populate populate.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define STEP (2UL << 20)

struct shared {
	_Atomic uint64_t bytes;
	uint64_t started_ns;
};

static struct shared *shared;
static char *ground;
static uint64_t steps;
static _Atomic uint64_t next_step;

static void die(const char *what)
{
	fprintf(stderr, "populate: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static uint64_t machine_bytes(void)
{
	struct sysinfo info;

	if (sysinfo(&info))
		die("sysinfo");
	return ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
}

static void set_oom_score_adj(const char *value)
{
	FILE *file = fopen("/proc/self/oom_score_adj", "w");

	if (!file || fputs(value, file) < 0 || fclose(file))
		die("/proc/self/oom_score_adj");
}

static void *work(void *cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((uintptr_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("sched_setaffinity");
	for (;;) {
		uint64_t step = atomic_fetch_add(&next_step, 1);

		if (step >= steps)
			return NULL;
		while (madvise(ground + step * STEP, STEP, MADV_POPULATE_WRITE))
			if (errno != EINTR && errno != EAGAIN && errno != ENOMEM)
				die("madvise");
		atomic_fetch_add(&shared->bytes, STEP);
	}
}

static void populate(uint64_t bytes)
{
	static pthread_t threads[CPU_SETSIZE];
	cpu_set_t allowed;
	int started = 0;

	steps = (bytes + STEP - 1) / STEP;
	ground = mmap(NULL, (steps + 1) * STEP, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (ground == MAP_FAILED)
		die("mmap");
	ground = (char *)(((uintptr_t)ground + STEP - 1) / STEP * STEP);
	if (sched_getaffinity(0, sizeof(allowed), &allowed))
		die("sched_getaffinity");
	shared->started_ns = now_ns();
	for (uintptr_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &allowed) &&
		    pthread_create(&threads[started++], NULL, work, (void *)cpu))
			die("pthread_create");
	for (int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	uint64_t bytes = argc > 1 ? strtoull(argv[1], NULL, 0) : 0;
	int status;
	pid_t pid;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	memset(shared, 0, sizeof(*shared));
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		set_oom_score_adj("1000");
		populate(bytes ? bytes : machine_bytes());
		_exit(0);
	}
	if (waitpid(pid, &status, 0) < 0)
		die("waitpid");
	printf("%" PRIu64 " %" PRIu64 "\n", (uint64_t)shared->bytes, now_ns() - shared->started_ns);
	return bytes ? status != 0 : !WIFSIGNALED(status);
}
