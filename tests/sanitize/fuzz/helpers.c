// SPDX-License-Identifier: GPL-2.0-only
/* What happens to the machine meanwhile: CPUs go and come, and so does the module. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"

#define MODULE_NAME	"page_alloc_bench"

static bool over(void)
{
	return atomic_load(&shared->over);
}

static int set_online(unsigned int cpu, bool online)
{
	char path[64];
	int fd, ret = -1;

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/online", cpu);
	fd = open(path, O_WRONLY);
	if (fd >= 0) {
		ret = write(fd, online ? "1" : "0", 1) == 1 ? 0 : -1;
		close(fd);
	}
	return ret;
}

static void hotplug(struct thread *thread)
{
	while (!over()) {
		unsigned int cpu = 1 + below(thread, cpu_count - 1);

		counted(OP_OFFLINE, set_online(cpu, false));
		usleep(below(thread, 300 * 1000));
		counted(OP_ONLINE, set_online(cpu, true));
		usleep(below(thread, 4000 * 1000));
	}
}

static int insert(const char *module)
{
	int fd = open(module, O_RDONLY | O_CLOEXEC);
	int ret = syscall(SYS_finit_module, fd, "", 0);

	close(fd);
	return ret;
}

static const char *churned;

static void churn(struct thread *thread)
{
	while (!over()) {
		usleep(below(thread, 6000 * 1000));
		if (counted(OP_RMMOD, syscall(SYS_delete_module, MODULE_NAME, O_NONBLOCK)) < 0)
			continue;
		usleep(below(thread, 50 * 1000));
		if (counted(OP_INSMOD, insert(churned)) < 0)
			return;
	}
}

static int start(uint64_t seed, void (*work)(struct thread *thread))
{
	static struct thread thread;
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	thread.random = seed;
	work(&thread);
	_exit(0);
}

/* Return the process that takes CPUs offline and brings them back. */
int start_hotplug(uint64_t seed)
{
	return start(seed, hotplug);
}

/* Return the process that removes and inserts the module whenever it can. */
int start_churn(uint64_t seed, const char *module)
{
	churned = module;
	return start(seed, churn);
}

void bring_cpus_back(void)
{
	unsigned int cpu;

	for (cpu = 1; cpu < cpu_count; cpu++)
		set_online(cpu, true);
}
