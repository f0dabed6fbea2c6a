// SPDX-License-Identifier: GPL-2.0-only
/*
 * The memory that arguments lie in. Below 4 GiB, so that 32-bit calls reach it:
 *
 * - the arena, whose pages threads unmap, map and protect while others have the
 *   kernel read and write them; the same pages are mapped a second time, always
 *   writable, to put arguments there;
 * - the late pages, which are not there until a thread of ours supplies them
 *   after a while (userfaultfd): the kernel waits in the middle of its copy.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fuzz.h"

#define PAGE		4096UL
#define ARENA_PAGES	32
#define LATE_PAGES	8

static uint8_t *arena;		/* as the kernel is shown it */
static uint8_t *arena_safe;	/* the same pages */
static uint8_t *late;		/* NULL without userfaultfd */

static void *must(void *mapping, const char *what)
{
	if (mapping == MAP_FAILED) {
		perror(what);
		exit(2);
	}
	return mapping;
}

void arena_create(void)
{
	int fd = memfd_create("arena", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, ARENA_PAGES * PAGE) || dup3(fd, ARENA_FD, O_CLOEXEC) < 0) {
		perror("arena");
		exit(2);
	}
	close(fd);
	arena_safe = must(mmap(NULL, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED,
			       ARENA_FD, 0), "arena");
	arena = must(mmap(NULL, ARENA_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_32BIT,
			  ARENA_FD, 0), "arena");
}

static void late_supply(struct thread *thread, uint64_t address)
{
	struct uffdio_copy copy = {
		.dst = address & ~(PAGE - 1),
		.src = (uint64_t)thread->buffer,
		.len = PAGE,
	};

	struct uffdio_range range = { .start = copy.dst, .len = PAGE };

	usleep(below(thread, 20000));
	/* Not while the mappings of this process are being changed. */
	while (ioctl(LATE_FD, UFFDIO_COPY, &copy) && errno == EAGAIN)
		copy.copy = 0;
	/* Another access may have brought the page before: then this one still waits. */
	ioctl(LATE_FD, UFFDIO_WAKE, &range);
}

static void *late_thread(void *data)
{
	struct thread *thread = data;
	struct uffd_msg message;
	ssize_t length;

	/* Who waits for a page waits forever without this thread, so no signal may end it. */
	do {
		length = read(LATE_FD, &message, sizeof(message));
		if (length == sizeof(message) && message.event == UFFD_EVENT_PAGEFAULT)
			late_supply(thread, message.arg.pagefault.address);
	} while (length == sizeof(message) || errno == EINTR || errno == EAGAIN);
	return NULL;
}

/* To be called before other threads exist. */
void arena_late_start(uint64_t seed)
{
	static struct thread supplier;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	pthread_t id;
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || dup3(fd, LATE_FD, O_CLOEXEC) < 0)
		return;
	close(fd);
	late = must(mmap(NULL, LATE_PAGES * PAGE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0), "late pages");
	range.range.start = (uint64_t)late;
	range.range.len = LATE_PAGES * PAGE;
	supplier.random = seed;
	if (ioctl(LATE_FD, UFFDIO_API, &api) || ioctl(LATE_FD, UFFDIO_REGISTER, &range) ||
	    pthread_create(&id, NULL, late_thread, &supplier)) {
		munmap(late, LATE_PAGES * PAGE);
		late = NULL;
	}
}

/* Have the next access to the late pages wait again. */
void arena_drop_late(struct thread *thread)
{
	if (late)
		madvise(late + PAGE * below(thread, LATE_PAGES), PAGE, MADV_DONTNEED);
}

/* Where SIZE bytes fit in, often across the border of two pages. */
static size_t arena_place(struct thread *thread, size_t size)
{
	size_t end = ARENA_PAGES * PAGE - size;
	size_t place;

	if (one_in(thread, 2))
		place = PAGE * (1 + below(thread, ARENA_PAGES - 1)) - below(thread, size + 1);
	else
		place = below(thread, end);
	if (!one_in(thread, 8))
		place &= ~7UL;
	return place < end ? place : end;
}

/* CONTENT in the arena, for 32-bit calls too. */
void *arena_low(struct thread *thread, const void *content, size_t size)
{
	size_t place = arena_place(thread, size);

	memcpy(arena_safe + place, content, size);
	return arena + place;
}

/* An address that is not ours to give, or no longer, or not for writing. */
static void *wild(struct thread *thread)
{
	static const uint64_t addresses[] = {
		0, 1, 8, PAGE - 1, PAGE, 0xffffffff, 0x100000000,
		0x7fffffffefff, 0x7ffffffff000, 0x7fffffffffff, 0x800000000000,
		0xffff800000000000, 0xffff888000000000, 0xffff888000100000,
		0xffffc90000000000, 0xffffea0000000000, 0xffffffff81000000, 0xffffffffa0000000,
		0xffffffffc0000000, 0xffffffffff600000, 0xfffffffffffff000, 0xffffffffffffffff,
	};
	static const char constant[PAGE] = "read-only";

	switch (below(thread, 4)) {
	case 0:
		return (void *)&constant[below(thread, PAGE)];
	case 1:
		return (void *)draw(thread);
	default:
		return (void *)addresses[below(thread, sizeof(addresses) / sizeof(addresses[0]))];
	}
}

/* Somewhere, whatever lies there. */
void *arena_pointer(struct thread *thread)
{
	if (one_in(thread, 3))
		return wild(thread);
	if (late && one_in(thread, 64))
		return late + below(thread, LATE_PAGES * PAGE);
	return arena + below(thread, ARENA_PAGES * PAGE);
}

/* An argument of SIZE bytes: CONTENT where it can be put, or somewhere else. */
void *arena_argument(struct thread *thread, const void *content, size_t size)
{
	switch (below(thread, 8)) {
	case 0:
		return arena_pointer(thread);
	case 1:
	case 2:
	case 3:
		return arena_low(thread, content, size);
	default:
		return memcpy(thread->buffer, content, size);
	}
}

/* Change what one page of the arena is, under whoever uses it. */
void arena_remap(struct thread *thread)
{
	size_t offset = PAGE * below(thread, ARENA_PAGES);
	uint8_t *page = arena + offset;

	switch (below(thread, 5)) {
	case 0:
		counted(OP_REMAP, munmap(page, PAGE));
		break;
	case 1:
		counted(OP_REMAP, mprotect(page, PAGE, PROT_NONE));
		break;
	case 2:
		counted(OP_REMAP, mprotect(page, PAGE, PROT_READ));
		break;
	default:
		mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, ARENA_FD, offset);
		count_errno(OP_REMAP, 0);
	}
}
