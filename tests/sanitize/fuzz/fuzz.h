/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fuzzer of /dev/page_alloc_bench.
 *
 * A supervisor (main.c) starts processes one after the other until enough
 * calls have been made. Each has threads that share descriptors and memory and
 * make random calls (calls.c, file_calls.c), with arguments from memory that changes under
 * the kernel's hands (arena.c); its descendants (lives.c) keep descriptors
 * beyond it. Counts (counts.c) survive every one of them.
 */
#ifndef PAB_FUZZ_H
#define PAB_FUZZ_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../../kmod/page_alloc_bench.h"

/* What is counted, each by the errno that it got. */
#define FUZZ_OPERATIONS(X) \
	X(OPEN, "open") X(REOPEN, "open through /proc/self/fd") X(CLOSE, "close") \
	X(DUP, "dup") X(SEND, "send over a socket") \
	X(INFO, "INFO") X(CONFIGURE, "CONFIGURE") X(START, "START") X(STOP, "STOP") \
	X(PROGRESS, "PROGRESS") X(CPU_STATS, "CPU_STATS") X(LATENCY, "LATENCY") \
	X(WATCH_OOM, "WATCH_OOM") X(PATTERN, "PATTERN") X(IOCTL_RANDOM, "random ioctl") \
	X(IOCTL_VFS, "ioctl of others") X(IOCTL_32, "32-bit ioctl") \
	X(READ, "read") X(WRITE, "write") X(MMAP, "mmap") X(POLL, "poll") \
	X(LSEEK, "lseek") X(SPLICE, "splice") X(FALLOCATE, "fallocate") X(FCNTL, "fcntl") \
	/* The rest is no call of the device, and does not count as an operation. */ \
	X(OPEN_UNPRIVILEGED, "open without privilege") \
	X(FORK, "fork") X(EXEC, "exec") X(KILL, "kill") X(SIGNAL, "signal") \
	X(REMAP, "remap memory") X(OFFLINE, "CPU offline") X(ONLINE, "CPU online") \
	X(RMMOD, "rmmod") X(INSMOD, "insmod")

enum operation {
#define FUZZ_NAME(name, text) OP_##name,
	FUZZ_OPERATIONS(FUZZ_NAME)
#undef FUZZ_NAME
	OP_COUNT,
	OP_DEVICE_END = OP_OPEN_UNPRIVILEGED
};

#define ERRNO_COUNT	160
#define BREACH_SIZE	256

/* Shared by all processes of one run. */
struct shared {
	_Atomic uint64_t counts[OP_COUNT][ERRNO_COUNT];
	_Atomic uint64_t total;		/* operations so far */
	uint64_t target;		/* operations wanted */
	_Atomic uint64_t breaches;	/* promises of the ABI that were broken */
	char breach[BREACH_SIZE];	/* the first of them */
	char device[64];
	atomic_bool over;		/* the helpers shall end */
};

extern struct shared *shared;

/* Helpers' descriptors are high: low numbers are only ever the device's. */
#define SHARED_FD	900
#define ARENA_FD	901
#define LATE_FD		902
#define PIPE_READ_FD	903
#define PIPE_WRITE_FD	904
#define SOCKET_A_FD	905
#define SOCKET_B_FD	906
#define EPOLL_FD	907
#define DEVICE_FD_FIRST	3
#define DEVICE_FD_END	64

#define BUFFER_SIZE	65536
#define LENGTH(array)	(sizeof(array) / sizeof((array)[0]))

/* What one thread has for itself. */
struct thread {
	uint64_t random;
	bool alone;			/* no other thread uses its descriptors */
	bool huge;			/* configured beyond what START may use */
	uint8_t bitmap[PAB_MAX_CPUS_SIZE + 64];
	uint8_t buffer[BUFFER_SIZE];	/* never unmapped */
};

/* counts.c */
void shared_create(void);
void shared_attach(void);
long counted(enum operation operation, long ret);
void count_errno(enum operation operation, int error);
void promise(bool kept, const char *format, ...) __attribute__((format(printf, 2, 3)));
void report(uint64_t seed, unsigned int threads, double seconds, uint64_t rounds,
	    const char *hang);
bool enough(void);

/* random.c: SplitMix64, as in kmod/random.h */
uint64_t draw(struct thread *thread);
uint64_t below(struct thread *thread, uint64_t n);
bool one_in(struct thread *thread, uint64_t n);
uint64_t boundary(struct thread *thread);

/* arena.c */
void arena_create(void);
void arena_late_start(uint64_t seed);
void *arena_argument(struct thread *thread, const void *content, size_t size);
void *arena_low(struct thread *thread, const void *content, size_t size);
void *arena_pointer(struct thread *thread);
void arena_remap(struct thread *thread);
void arena_drop_late(struct thread *thread);

/* descriptors.c */
void helpers_create(void);
void slots_take(const char *list);
void slots_list(char *list, size_t size);
int slot_any(struct thread *thread);
void call_open(struct thread *thread);
void call_reopen(struct thread *thread);
void call_close(struct thread *thread);
void call_close_all(struct thread *thread);
void call_dup(struct thread *thread);
void call_send(struct thread *thread);
int open_flags(struct thread *thread);

/* file_calls.c */
void call_read(struct thread *thread);
void call_write(struct thread *thread);
void call_mmap(struct thread *thread);
void call_poll(struct thread *thread);
void call_lseek(struct thread *thread);
void call_splice(struct thread *thread);
void call_fallocate(struct thread *thread);
void call_fcntl(struct thread *thread);

/* calls.c */
extern unsigned int cpu_count;
void call_any(struct thread *thread);

/* lives.c */
void live(uint64_t seed, bool alone, uint64_t calls);
void run_threads(uint64_t seed, unsigned int threads);
void become_another(uint64_t seed);
void descend(int argc, char **argv);
void call_fork(struct thread *thread);
void call_exec(struct thread *thread);
void call_unprivileged(struct thread *thread);

/* helpers.c */
int start_hotplug(uint64_t seed);
int start_churn(uint64_t seed, const char *module);
void bring_cpus_back(void);

#endif /* PAB_FUZZ_H */
