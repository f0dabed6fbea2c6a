// SPDX-License-Identifier: GPL-2.0-only
/*
 * The descriptors of the device, which all threads of a process share, close
 * and open. A slot may name one that is closed by now, or open again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

#define SLOTS	8

static atomic_int slots[SLOTS] = { -1, -1, -1, -1, -1, -1, -1, -1 };

static void move_up(int fd, int to)
{
	if (fd < 0 || dup3(fd, to, O_CLOEXEC) < 0) {
		perror("descriptors");
		exit(2);
	}
	close(fd);
}

/* To be called before other threads exist: the low numbers are in use for a moment. */
void helpers_create(void)
{
	int pair[2];

	if (pipe2(pair, O_CLOEXEC | O_NONBLOCK))
		exit(2);
	move_up(pair[0], PIPE_READ_FD);
	move_up(pair[1], PIPE_WRITE_FD);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair))
		exit(2);
	move_up(pair[0], SOCKET_A_FD);
	move_up(pair[1], SOCKET_B_FD);
	move_up(epoll_create1(EPOLL_CLOEXEC), EPOLL_FD);
}

static bool is_devices(int fd)
{
	return fd >= DEVICE_FD_FIRST && fd < DEVICE_FD_END;
}

/* Descriptors that an earlier program of this process had: "3,5". */
void slots_take(const char *list)
{
	int slot = 0;

	while (*list && slot < SLOTS) {
		char *end;

		atomic_store(&slots[slot++], (int)strtol(list, &end, 10));
		list = *end ? end + 1 : end;
	}
}

void slots_list(char *list, size_t size)
{
	size_t used = 0;
	int slot;

	for (slot = 0; slot < SLOTS && used < size; slot++)
		used += snprintf(list + used, size - used, "%s%d", slot ? "," : "",
				 atomic_load(&slots[slot]));
}

static void slot_fill(struct thread *thread, int fd)
{
	int old = atomic_exchange(&slots[below(thread, SLOTS)], fd);

	/* One that is forgotten keeps its session open until the process ends. */
	if (is_devices(old) && !one_in(thread, 256))
		counted(OP_CLOSE, close(old));
}

/* A descriptor to make a call with; rarely one that was never any. */
int slot_any(struct thread *thread)
{
	static const int odd[] = { -1, INT_MIN, INT_MAX, 63, 899, AT_FDCWD };
	int tries, fd = -1;

	if (one_in(thread, 256))
		return odd[below(thread, sizeof(odd) / sizeof(odd[0]))];
	for (tries = 0; tries < SLOTS && fd < 0; tries++)
		fd = atomic_load(&slots[below(thread, SLOTS)]);
	return fd;
}

/* Mostly those that a session can be had with. */
int open_flags(struct thread *thread)
{
	static const int modes[] = { O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_ACCMODE };
	static const int others[] = {
		/* Not O_CREAT: while the module is away it would make a plain file. */
		0, O_PATH, O_APPEND, O_NONBLOCK, O_TRUNC, O_EXCL, O_DIRECT,
		O_DIRECTORY, O_NOFOLLOW, O_SYNC, O_NOATIME, O_ASYNC, O_LARGEFILE,
	};
	int flags = modes[below(thread, sizeof(modes) / sizeof(modes[0]))];

	if (one_in(thread, 3))
		flags |= others[below(thread, sizeof(others) / sizeof(others[0]))];
	return one_in(thread, 2) ? flags | O_CLOEXEC : flags;
}

static void opened(struct thread *thread, enum operation operation, int fd)
{
	counted(operation, fd);
	if (fd >= DEVICE_FD_END)
		close(fd);
	else if (fd >= 0)
		slot_fill(thread, fd);
}

void call_open(struct thread *thread)
{
	opened(thread, OP_OPEN, open(shared->device, open_flags(thread)));
}

void call_reopen(struct thread *thread)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", slot_any(thread));
	opened(thread, OP_REOPEN, open(path, open_flags(thread)));
}

void call_close(struct thread *thread)
{
	int slot = below(thread, SLOTS);
	/* A slot that goes on naming it is stale. */
	int fd = one_in(thread, 16) ? atomic_load(&slots[slot]) : atomic_exchange(&slots[slot], -1);

	if (fd < 0 || is_devices(fd))
		counted(OP_CLOSE, close(fd));
}

/* End the session, whoever uses it: no duplicate in this process stays. */
void call_close_all(struct thread *thread)
{
	char byte;
	int slot;

	/* A message without room for its descriptors: the kernel closes them. */
	while (recv(SOCKET_B_FD, &byte, 1, MSG_DONTWAIT) == 1)
		continue;
	counted(OP_CLOSE, close_range(DEVICE_FD_FIRST, DEVICE_FD_END - 1, 0));
	for (slot = 0; slot < SLOTS; slot++)
		if (!one_in(thread, 16))
			atomic_store(&slots[slot], -1);
}

void call_dup(struct thread *thread)
{
	int fd = slot_any(thread);

	switch (below(thread, 3)) {
	case 0:
		opened(thread, OP_DUP, dup(fd));
		break;
	case 1:
		opened(thread, OP_DUP, fcntl(fd, F_DUPFD_CLOEXEC, DEVICE_FD_FIRST));
		break;
	default:
		opened(thread, OP_DUP, dup3(fd, DEVICE_FD_FIRST +
					    below(thread, DEVICE_FD_END - DEVICE_FD_FIRST), 0));
	}
}

static void receive(struct thread *thread)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec vector = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;

	if (counted(OP_SEND, recvmsg(SOCKET_B_FD, &message, MSG_DONTWAIT)) < 0)
		return;
	header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == SCM_RIGHTS) {
		int fd;

		memcpy(&fd, CMSG_DATA(header), sizeof(fd));
		if (is_devices(fd))
			slot_fill(thread, fd);
		else
			close(fd);
	}
}

/* Send a descriptor through a socket, where it outlives all that were closed. */
void call_send(struct thread *thread)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec vector = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int fd = slot_any(thread);

	if (one_in(thread, 2)) {
		receive(thread);
		return;
	}
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	counted(OP_SEND, sendmsg(SOCKET_A_FD, &message, MSG_DONTWAIT));
}
