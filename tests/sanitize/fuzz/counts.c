// SPDX-License-Identifier: GPL-2.0-only
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"

struct shared *shared;

static const char * const names[OP_COUNT] = {
#define FUZZ_TEXT(name, text) [OP_##name] = text,
	FUZZ_OPERATIONS(FUZZ_TEXT)
#undef FUZZ_TEXT
};

/* A file in memory that fork and exec keep. */
void shared_create(void)
{
	int fd = memfd_create("counts", 0);

	if (fd < 0 || ftruncate(fd, sizeof(*shared)) || dup2(fd, SHARED_FD) < 0) {
		perror("counts");
		exit(2);
	}
	close(fd);
	shared_attach();
}

void shared_attach(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, SHARED_FD, 0);
	if (shared == MAP_FAILED) {
		perror("counts");
		exit(2);
	}
}

void count_errno(enum operation operation, int error)
{
	if (error < 0 || error >= ERRNO_COUNT)
		error = ERRNO_COUNT - 1;
	atomic_fetch_add_explicit(&shared->counts[operation][error], 1, memory_order_relaxed);
	if (operation < OP_DEVICE_END)
		atomic_fetch_add_explicit(&shared->total, 1, memory_order_relaxed);
}

/* Count the outcome of a call that returns -1 and sets errno when it fails. */
long counted(enum operation operation, long ret)
{
	count_errno(operation, ret == -1 ? errno : 0);
	return ret;
}

bool enough(void)
{
	return atomic_load_explicit(&shared->total, memory_order_relaxed) >= shared->target;
}

/* Note that the module did not keep what its header says; the first is quoted. */
void promise(bool kept, const char *format, ...)
{
	va_list arguments;

	if (kept || atomic_fetch_add(&shared->breaches, 1))
		return;
	va_start(arguments, format);
	vsnprintf(shared->breach, sizeof(shared->breach), format, arguments);
	va_end(arguments);
}

static void report_counts(enum operation operation)
{
	const char *separator = "";
	int error;

	printf("\"%s\": {", names[operation]);
	for (error = 0; error < ERRNO_COUNT; error++) {
		uint64_t count = atomic_load(&shared->counts[operation][error]);
		const char *name = error ? strerrorname_np(error) : "ok";

		if (!count)
			continue;
		printf("%s\"%s\": %" PRIu64, separator, name ? name : "unknown", count);
		separator = ", ";
	}
	printf("}");
}

/* One line of JSON; none of its texts needs quoting. */
void report(uint64_t seed, unsigned int threads, double seconds, uint64_t rounds,
	    const char *hang)
{
	int operation;

	printf("{\"seed\": %" PRIu64 ", \"threads\": %u, \"seconds\": %.1f, \"processes\": %" PRIu64,
	       seed, threads, seconds, rounds);
	printf(", \"operations\": %" PRIu64 ", \"breaches\": %" PRIu64 ", \"breach\": \"%s\"",
	       atomic_load(&shared->total), atomic_load(&shared->breaches), shared->breach);
	printf(", \"hang\": \"%s\", \"counts\": {", hang);
	for (operation = 0; operation < OP_COUNT; operation++) {
		report_counts(operation);
		printf("%s", operation + 1 < OP_COUNT ? ", " : "}}\n");
	}
	fflush(stdout);
}
