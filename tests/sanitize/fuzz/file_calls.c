// SPDX-License-Identifier: GPL-2.0-only
/* What can be called of any file, done to the device. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuzz.h"

void call_read(struct thread *thread)
{
	void *place = arena_pointer(thread);
	struct iovec vector = { place, below(thread, BUFFER_SIZE) };
	int fd = slot_any(thread);

	switch (below(thread, 3)) {
	case 0:
		counted(OP_READ, read(fd, place, boundary(thread)));
		break;
	case 1:
		counted(OP_READ, pread(fd, place, below(thread, 4096), (long)boundary(thread)));
		break;
	default:
		counted(OP_READ, readv(fd, &vector, 1));
	}
}

void call_write(struct thread *thread)
{
	void *place = arena_pointer(thread);
	struct iovec vector = { place, below(thread, BUFFER_SIZE) };
	int fd = slot_any(thread);

	switch (below(thread, 3)) {
	case 0:
		counted(OP_WRITE, write(fd, place, boundary(thread)));
		break;
	case 1:
		counted(OP_WRITE, pwrite(fd, place, below(thread, 4096), (long)boundary(thread)));
		break;
	default:
		counted(OP_WRITE, writev(fd, &vector, 1));
	}
}

void call_mmap(struct thread *thread)
{
	static const int flags[] = {
		MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, MAP_SHARED | MAP_POPULATE,
		MAP_PRIVATE | MAP_HUGETLB, MAP_SHARED | MAP_LOCKED, 0,
	};
	size_t length = one_in(thread, 4) ? boundary(thread) : 4096UL << below(thread, 8);
	off_t offset = one_in(thread, 4) ? boundary(thread) : 4096 * below(thread, 64);
	void *hint = one_in(thread, 4) ? arena_pointer(thread) : NULL;
	void *mapping = mmap(hint, length, below(thread, 8), flags[below(thread, LENGTH(flags))],
			     slot_any(thread), offset);

	counted(OP_MMAP, mapping == MAP_FAILED ? -1 : 0);
	if (mapping != MAP_FAILED)
		munmap(mapping, length);
}

void call_poll(struct thread *thread)
{
	struct pollfd pollfd = { .fd = slot_any(thread), .events = draw(thread) };
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT };

	if (one_in(thread, 2))
		counted(OP_POLL, poll(&pollfd, 1, 0));
	else
		counted(OP_POLL, epoll_ctl(EPOLL_FD, EPOLL_CTL_ADD, pollfd.fd, &event));
}

void call_lseek(struct thread *thread)
{
	counted(OP_LSEEK, lseek(slot_any(thread), (long)boundary(thread), below(thread, 6)));
}

void call_splice(struct thread *thread)
{
	int fd = slot_any(thread);

	switch (below(thread, 4)) {
	case 0:
		counted(OP_SPLICE, splice(fd, NULL, PIPE_WRITE_FD, NULL, 4096, SPLICE_F_NONBLOCK));
		break;
	case 1:
		counted(OP_SPLICE, splice(PIPE_READ_FD, NULL, fd, NULL, 4096, SPLICE_F_NONBLOCK));
		break;
	case 2:
		counted(OP_SPLICE, sendfile(fd, ARENA_FD, NULL, 4096));
		break;
	default:
		counted(OP_SPLICE, copy_file_range(fd, NULL, slot_any(thread), NULL, 4096, 0));
	}
}

void call_fallocate(struct thread *thread)
{
	int fd = slot_any(thread);

	switch (below(thread, 4)) {
	case 0:
		counted(OP_FALLOCATE, ftruncate(fd, (long)boundary(thread)));
		break;
	case 1:
		counted(OP_FALLOCATE, fsync(fd));
		break;
	default:
		counted(OP_FALLOCATE, fallocate(fd, below(thread, 128), (long)boundary(thread),
						(long)boundary(thread)));
	}
}

void call_fcntl(struct thread *thread)
{
	static const int flags[] = { 0, O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT, O_NOATIME };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int fd = slot_any(thread);

	switch (below(thread, 6)) {
	case 0:
		counted(OP_FCNTL, fcntl(fd, F_SETFL, flags[below(thread, LENGTH(flags))]));
		break;
	case 1:
		counted(OP_FCNTL, fcntl(fd, F_SETOWN, getpid()));
		break;
	case 2:
		counted(OP_FCNTL, fcntl(fd, F_SETLK, &lock));
		break;
	case 3:
		counted(OP_FCNTL, fcntl(fd, F_SETLEASE, F_RDLCK));
		break;
	case 4:
		counted(OP_FCNTL, fcntl(fd, F_SETFD, (long)below(thread, 2)));
		break;
	default:
		counted(OP_FCNTL, flock(fd, LOCK_EX | LOCK_NB));
	}
}
