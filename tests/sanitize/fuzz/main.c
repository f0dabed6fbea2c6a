// SPDX-License-Identifier: GPL-2.0-only
/*
 * The supervisor: starts one process after the other until so many operations
 * have been made, ends some of them by SIGKILL or exec, and watches that the
 * operations go on.
 *
 * fuzz DEVICE MODULE SEED OPERATIONS THREADS STALL_S
 *
 * Prints one line of JSON. Exits 0, or 1 when a promise of the ABI was broken,
 * or 3 when a call hung: then the kernel's log has the state of every task.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define TICK_US		5000

static struct thread dice;	/* the supervisor's own */
static unsigned int threads_max;
static double stall_s;
static double started;
static uint64_t seed, rounds;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	close(fd);
}

/* A call does not return: have the kernel tell where, and give up. */
static void give_up(const char *what)
{
	write_file("/proc/sysrq-trigger", "t");
	write_file("/proc/sysrq-trigger", "d");
	atomic_store(&shared->over, true);
	report(seed, threads_max, now() - started, rounds, what);
	_exit(3);
}

static void on_signal(int number)
{
	(void)number;
}

/* The first program of a round, whose threads share everything. */
static void round_life(uint64_t round_seed, unsigned int threads, bool exec_at_end)
{
	struct sigaction action = { .sa_handler = on_signal };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGUSR1, &action, NULL);
	helpers_create();
	arena_create();
	arena_late_start(round_seed);
	if (threads > 1)
		run_threads(round_seed + 1, threads - 1);
	live(round_seed, threads == 1, 500 + round_seed % 3500);
	if (exec_at_end)
		become_another(round_seed);
	_exit(0);	/* the other threads are somewhere in their calls */
}

/* Wait for PID; SIGKILL it at the time KILL_AT, if that is not 0. */
static void attend(pid_t pid, double kill_at)
{
	uint64_t last = 0;
	double moved = now();

	while (waitpid(pid, NULL, WNOHANG) != pid) {
		uint64_t total = atomic_load(&shared->total);

		if (total != last)
			moved = now();
		last = total;
		if (kill_at != 0 && now() >= kill_at) {
			counted(OP_KILL, kill(pid, SIGKILL));
			kill_at = 0;
		}
		if (now() - moved > stall_s)
			give_up("no operation ends and no process does");
		usleep(TICK_US);
	}
}

/* Descendants whose parent has gone come to this process. */
static void collect_orphans(bool all)
{
	double since = now();
	pid_t pid;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0 || (pid == 0 && all)) {
		if (pid == 0)
			usleep(TICK_US);
		if (now() - since > stall_s)
			give_up("a process does not end");
	}
}

static void one_round(void)
{
	bool alone = one_in(&dice, 8);
	unsigned int threads = alone ? 1 : 2 + below(&dice, threads_max - 1);
	uint64_t round_seed = draw(&dice);
	unsigned int fate = below(&dice, 4);
	double kill_at = fate == 0 ? now() + below(&dice, 1500) / 1e3 : 0;
	pid_t pid = fork();

	if (pid == 0)
		round_life(round_seed, threads, fate == 1);
	rounds++;
	attend(pid, kill_at);
}

int main(int argc, char **argv)
{
	struct rlimit files = { 1024, 1024 }, cores = { 0, 0 };
	pid_t hotplug, churn;

	cpu_count = sysconf(_SC_NPROCESSORS_CONF);
	if (argc > 1 && !strcmp(argv[1], "--descend"))
		descend(argc, argv);
	if (argc != 7) {
		fprintf(stderr, "usage: fuzz DEVICE MODULE SEED OPERATIONS THREADS STALL_S\n");
		return 2;
	}
	seed = strtoull(argv[3], NULL, 10);
	threads_max = atoi(argv[5]);
	stall_s = atof(argv[6]);
	if (threads_max < 2 || setrlimit(RLIMIT_NOFILE, &files) ||
	    setrlimit(RLIMIT_CORE, &cores) || prctl(PR_SET_CHILD_SUBREAPER, 1))
		return 2;
	shared_create();
	snprintf(shared->device, sizeof(shared->device), "%s", argv[1]);
	shared->target = strtoull(argv[4], NULL, 10);
	dice.random = seed;
	started = now();
	hotplug = start_hotplug(draw(&dice));
	churn = start_churn(draw(&dice), argv[2]);

	while (!enough())
		one_round();
	atomic_store(&shared->over, true);
	attend(hotplug, 0);
	attend(churn, 0);
	collect_orphans(true);
	bring_cpus_back();
	report(seed, threads_max, now() - started, rounds, "");
	return atomic_load(&shared->breaches) ? 1 : 0;
}
