// SPDX-License-Identifier: GPL-2.0-only
/* Processes and threads: what they do, how they end, what they leave to others. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuzz.h"

#define THREADS_MAX	16

static struct thread *thread_new(uint64_t seed, bool alone)
{
	struct thread *thread = calloc(1, sizeof(*thread));

	if (!thread)
		exit(2);
	thread->random = seed;
	thread->alone = alone;
	return thread;
}

/* Make so many calls, or fewer when there have been enough. */
void live(uint64_t seed, bool alone, uint64_t calls)
{
	struct thread *thread = thread_new(seed, alone);

	while (calls-- && !enough())
		call_any(thread);
	free(thread);
}

static void *thread_life(void *data)
{
	struct thread *thread = data;

	while (!enough())
		call_any(thread);
	return NULL;
}

/* Start THREADS threads that go on until the process ends. */
void run_threads(uint64_t seed, unsigned int threads)
{
	pthread_t id;

	while (threads--)
		if (pthread_create(&id, NULL, thread_life, thread_new(seed + threads, false)))
			exit(2);
}

/* Leave this program, and its threads in the middle of their calls, for a new one. */
void become_another(uint64_t seed)
{
	char text[32], slots[128];
	char * const words[] = { "fuzz", "--descend", text, slots, NULL };

	snprintf(text, sizeof(text), "%llu", (unsigned long long)seed);
	slots_list(slots, sizeof(slots));
	counted(OP_EXEC, execv("/proc/self/exe", words));
	_exit(3);
}

/* fuzz --descend SEED SLOTS: what has been left to this program is used, and left again. */
void descend(int argc, char **argv)
{
	if (argc != 4)
		exit(2);
	shared_attach();
	count_errno(OP_EXEC, 0);
	/* Whose the low numbers are must not be mistaken while the helpers are made. */
	helpers_create();
	arena_create();
	slots_take(argv[3]);
	live(strtoull(argv[2], NULL, 10), true, 200);
	_exit(0);
}

/* In a new process, which has one thread: its parent's others are not in it. */
static void child_life(struct thread *thread)
{
	unsigned int fate = below(thread, 4);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	live(draw(thread), false, 20 + below(thread, 100));
	switch (fate) {
	case 0:
		kill(getpid(), SIGKILL);
		break;
	case 1:
		abort();
	default:
		_exit(0);
	}
}

/* Wait until PID has ended, though signals come. */
static void await(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		continue;
}

static pid_t counted_fork(void)
{
	pid_t pid = fork();

	if (pid)
		counted(OP_FORK, pid);
	return pid;
}

void call_fork(struct thread *thread)
{
	uint64_t seed = draw(thread);
	pid_t pid = counted_fork();

	if (pid == 0) {
		thread->random = seed;
		child_life(thread);
	}
	if (pid > 0)
		await(pid);
}

void call_exec(struct thread *thread)
{
	uint64_t seed = draw(thread);
	pid_t pid = counted_fork();

	if (pid == 0)
		become_another(seed);
	if (pid > 0)
		await(pid);
}

static void drop_admin(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		_exit(1);
	data[0].effective &= ~(1U << CAP_SYS_ADMIN);
	data[0].permitted &= ~(1U << CAP_SYS_ADMIN);
	if (syscall(SYS_capset, &header, data))
		_exit(1);
}

static void drop_privilege(struct thread *thread)
{
	switch (below(thread, 3)) {
	case 0:
		drop_admin();
		break;
	case 1:
		if (setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534))
			_exit(1);
		break;
	default:
		if (unshare(CLONE_NEWUSER))
			_exit(1);
	}
}

/* Nobody but root with all his capabilities opens the device. */
void call_unprivileged(struct thread *thread)
{
	uint64_t seed = draw(thread);
	pid_t pid = counted_fork();
	int i, fd;

	if (pid == 0) {
		thread->random = seed;
		drop_privilege(thread);
		for (i = 0; i < 20; i++) {
			fd = open(shared->device, open_flags(thread) & ~O_PATH);
			promise(counted(OP_OPEN_UNPRIVILEGED, fd) < 0, "opened without privilege");
		}
		_exit(0);
	}
	if (pid > 0)
		await(pid);
}
