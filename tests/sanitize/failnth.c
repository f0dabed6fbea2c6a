// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lets every allocation (and every copy from user space) that one call makes
 * fail, one after the other: the kernel fails the Nth after N has been written
 * to /proc/self/fail-nth (Documentation/fault-injection/fault-injection.rst).
 *
 * failnth DEVICE MODULE STAGE
 *
 * STAGE is insmod, open, configure or start. For N = 1, 2, 3 ... the call is
 * made with its Nth failing, and then again with none failing, which must work;
 * until a call has fewer than N. Prints a line "N ERRNO" for each, ERRNO being
 * 0 where the call went well all the same. /dev/kmsg gets "failnth: STAGE N"
 * before, so that the kernel's own report of the failure can be found.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../../kmod/page_alloc_bench.h"

#define MODULE_NAME	"page_alloc_bench"
#define LIMIT		10000

static const char *device, *module;
static int session = -1, file = -1;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static int insert(void)
{
	return syscall(SYS_finit_module, file, "", 0);
}

static void delete(void)
{
	if (syscall(SYS_delete_module, MODULE_NAME, O_NONBLOCK))
		fail("delete_module");
}

static int open_session(void)
{
	session = open(device, O_RDWR | O_CLOEXEC);
	return session < 0 ? -1 : 0;
}

static void close_session(void)
{
	close(session);
	session = -1;
}

static int configure(void)
{
	static uint8_t bitmap = 3;
	struct pab_config config = {
		.order = 1, .time_one_in = 32, .sample_capacity = 4096, .parameters = { 100, 100 },
		.cpus = (uint64_t)&bitmap, .cpus_size = 1,
	};

	return ioctl(session, PAB_IOC_CONFIGURE, &config);
}

static int start(void)
{
	return ioctl(session, PAB_IOC_START);
}

static void nothing(void)
{
}

static void prepare_configure(void)
{
	if (open_session())
		fail("open");
}

static void prepare_start(void)
{
	prepare_configure();
	if (configure())
		fail("CONFIGURE");
}

/*
 * What is needed before the call; the call; what undoes it; what undoes the
 * preparation.
 */
static const struct stage {
	const char *name;
	void (*prepare)(void);
	int (*call)(void);
	void (*undo)(void);
	void (*clear)(void);
	bool again;	/* can the call be made again before it is undone */
} stages[] = {
	{ "insmod", nothing, insert, delete, nothing, false },
	{ "open", nothing, open_session, close_session, nothing, false },
	{ "configure", prepare_configure, configure, nothing, close_session, true },
	{ "start", prepare_start, start, nothing, close_session, false },
};

static void mark(const char *stage, int n)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char text[64];
	int length = snprintf(text, sizeof(text), "failnth: %s %d\n", stage, n);

	if (fd < 0 || write(fd, text, length) != length)
		fail("/dev/kmsg");
	close(fd);
}

static void arm(int fd, int n)
{
	char text[16];
	int length = snprintf(text, sizeof(text), "%d", n);

	if (pwrite(fd, text, length, 0) != length)
		fail("fail-nth");
}

/* How many more calls would have been needed; 0 when one has failed. */
static int disarm(int fd)
{
	char text[16] = "";
	int left;

	/* The copy to TEXT is one that may be made to fail, too. */
	left = pread(fd, text, sizeof(text) - 1, 0) < 0 ? 1 : atoi(text);
	/* The same holds for the copy of "0": it fails by going to 0. */
	if (pwrite(fd, "0", 1, 0) < 0 && errno != EFAULT)
		fail("fail-nth");
	return left;
}

/* Return whether the Nth of the call was there to fail. */
static bool try(const struct stage *stage, int fail_nth, int n)
{
	int ret, error, left;

	stage->prepare();
	mark(stage->name, n);
	arm(fail_nth, n);
	ret = stage->call();
	error = ret ? errno : 0;
	left = disarm(fail_nth);
	if (left && ret)
		fail("a call failed though none was to");
	if (left == 0)
		printf("%d %s\n", n, error ? strerrorname_np(error) : "0");
	if (ret == 0)
		stage->undo();
	if (ret || stage->again) {
		if (stage->call())
			fail("the call does not work after a failure");
		stage->undo();
	}
	stage->clear();
	return left == 0;
}

int main(int argc, char **argv)
{
	int fail_nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC), n = 1;
	size_t i;

	if (argc != 4 || fail_nth < 0)
		fail("usage: failnth DEVICE MODULE STAGE");
	device = argv[1];
	module = argv[2];
	file = open(module, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		fail(module);
	for (i = 0; i < sizeof(stages) / sizeof(stages[0]); i++)
		if (!strcmp(stages[i].name, argv[3]))
			break;
	if (i == sizeof(stages) / sizeof(stages[0]))
		fail("no such stage");
	while (n < LIMIT && try(&stages[i], fail_nth, n))
		n++;
	return n < LIMIT ? 0 : 1;
}
