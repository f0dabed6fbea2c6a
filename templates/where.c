// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin of QEMU that counts, between the two markers of kmod/marker.h, how
 * often each block of translated code ran, and what was in it. Compiled on the
 * spot; QEMU's header is not packaged, so the few functions are declared here
 * (include/qemu/qemu-plugin.h, version 1 of the API, which QEMU 4.2 to 8.2 take).
 *
 * Arguments: out=FILE.
 *
 * What it writes, a line for each thing, numbers in decimal but for addresses:
 *
 *	access right|exchanged|both|unknown
 *	interval N
 *	block ADDRESS INSTRUCTIONS ATOMICS LOADS STORES
 *	end N
 *
 * The counts are of all runs of the block between the markers.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marker.h"

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_info {
	const char *target_name;
};
typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
enum { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W = 2, QEMU_PLUGIN_MEM_RW = 3 };
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op, void *ptr,
					      uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *ptr,
						uint64_t imm);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*cb)(unsigned int, void *), int flags,
					    void *userdata);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
				      void (*cb)(unsigned int, qemu_plugin_meminfo_t, uint64_t,
						 void *),
				      int flags, int rw, void *userdata);
void qemu_plugin_register_vcpu_mem_inline(struct qemu_plugin_insn *insn, int rw, int op,
					  void *ptr, uint64_t imm);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

/* Of code above it, the kernel's, the accesses to memory are counted. */
#define KERNEL_BEGINS	(UINT64_C(1) << 63)

/* Blocks whose accesses are looked at one by one, to see what the counters count. */
#define PROBED		500

struct counts {
	uint64_t runs;
	uint64_t last_runs;	/* of the block's last instruction */
	uint64_t reads;		/* as registered: see print_access() */
	uint64_t writes;
};

struct block {
	uint64_t address;
	uint32_t instructions;	/* the last one aside */
	uint32_t atomics;
	uint32_t last_atomics;
	struct counts now, before;
};

static struct block **blocks;
static size_t block_count, block_room;
static FILE *out;
static bool arm64;
static unsigned int interval;
static bool open_interval;

static size_t probed;
static struct counts probe_inline, probe_seen;

static struct block *new_block(void)
{
	struct block *block = calloc(1, sizeof(*block));

	if (block && block_count == block_room) {
		size_t room = block_room ? 2 * block_room : 65536;
		struct block **more = realloc(blocks, room * sizeof(*blocks));

		if (!more) {
			free(block);
			return NULL;
		}
		blocks = more;
		block_room = room;
	}
	if (!block) {
		fprintf(stderr, "where: out of memory\n");
		return NULL;
	}
	blocks[block_count++] = block;
	return block;
}

/* Whether they agree but for accesses that failed halfway. */
static bool agree(uint64_t one, uint64_t other)
{
	uint64_t difference = one > other ? one - other : other - one;

	return difference <= other / 1000;
}

/* What the counters of reads and of writes count, held against what was seen one by one. */
static const char *access(void)
{
	uint64_t reads = probe_seen.reads, writes = probe_seen.writes;

	/* Such that no two of the answers are alike. */
	if (!reads || !writes || agree(reads, writes))
		return "unknown";
	if (agree(probe_inline.reads, reads) && agree(probe_inline.writes, writes))
		return "right";
	if (agree(probe_inline.reads, writes) && agree(probe_inline.writes, reads))
		return "exchanged";
	if (agree(probe_inline.reads, writes) && agree(probe_inline.writes, reads + writes))
		return "both";
	return "unknown";
}

static void begin(unsigned int cpu, void *unused)
{
	size_t i;

	(void)cpu;
	(void)unused;
	for (i = 0; i < block_count; i++)
		blocks[i]->before = blocks[i]->now;
	open_interval = true;
}

static void print_block(const struct block *block)
{
	const struct counts *now = &block->now, *before = &block->before;
	const char *how = access();
	uint64_t reads = now->reads - before->reads, writes = now->writes - before->writes;
	uint64_t runs = now->runs - before->runs;
	uint64_t last_runs = now->last_runs - before->last_runs;
	uint64_t loads = reads, stores = writes;

	if (!runs)
		return;
	if (!strcmp(how, "exchanged")) {
		loads = writes;
		stores = reads;
	} else if (!strcmp(how, "both") && reads <= writes) {
		/* Not what helpers of QEMU do for an instruction, such as iret. */
		loads = writes - reads;
		stores = reads;
	}
	fprintf(out, "block %" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
		block->address, block->instructions * runs + last_runs,
		block->atomics * runs + block->last_atomics * last_runs, loads, stores);
}

static void end(unsigned int cpu, void *unused)
{
	size_t i;

	(void)cpu;
	(void)unused;
	if (!open_interval)
		return;
	open_interval = false;
	fprintf(out, "access %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\ninterval %u\n",
		access(), probe_inline.reads, probe_inline.writes, probe_seen.reads,
		probe_seen.writes, interval);
	for (i = 0; i < block_count; i++)
		print_block(blocks[i]);
	fprintf(out, "end %u\n", interval++);
	fflush(out);
}

static void probe(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *unused)
{
	(void)cpu;
	(void)address;
	(void)unused;
	if (qemu_plugin_mem_is_store(info))
		probe_seen.writes++;
	else
		probe_seen.reads++;
}

/* Whether an x86 instruction locks the bus: the prefix, or xchg with memory. */
static bool locks_x86(const uint8_t *code, size_t size)
{
	size_t i = 0;

	for (; i < size && strchr("\xf2\xf3\x2e\x36\x3e\x26\x64\x65\x66\x67\xf0", code[i]) &&
	       code[i]; i++)
		if (code[i] == 0xf0)
			return true;
	if (i < size && (code[i] & 0xf0) == 0x40)
		i++;
	return i + 1 < size && (code[i] == 0x86 || code[i] == 0x87) && code[i + 1] < 0xc0;
}

/* LDADD and its kin, SWP, CAS, CASP, and of LDXR and STXR the latter. */
static bool locks_arm64(uint32_t word)
{
	if ((word & 0x3b200c00) == 0x38200000)
		return (word & 0x0000fc00) != 0x0000c000; /* LDAPR */
	return (word & 0x3fa07c00) == 0x08a07c00 || (word & 0xbfa07c00) == 0x08207c00 ||
	       (word & 0x3fe00000) == 0x08000000;
}

static uint32_t word_at(const uint8_t *code)
{
	return code[0] | code[1] << 8 | code[2] << 16 | (uint32_t)code[3] << 24;
}

static bool marks(const uint8_t *code, size_t size, uint32_t marker)
{
	if (arm64) /* mov xzr, #imm16 */
		return word_at(code) == (0xd280001f | (marker & 0xffff) << 5);
	/* nopl disp32(%rax,%rax,1) */
	return size == 8 && word_at(code) == 0x00841f0f && word_at(code + 4) == marker;
}

/* Return whether it locks the bus. */
static bool look_at(struct qemu_plugin_insn *insn)
{
	const uint8_t *code = qemu_plugin_insn_data(insn);
	size_t size = qemu_plugin_insn_size(insn);

	if (marks(code, size, PAB_MARK_BEGIN))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
	if (marks(code, size, PAB_MARK_END))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, end, QEMU_PLUGIN_CB_NO_REGS, NULL);
	return arm64 ? locks_arm64(word_at(code)) : locks_x86(code, size);
}

static void count_accesses(struct qemu_plugin_insn *insn, struct counts *counts)
{
	qemu_plugin_register_vcpu_mem_inline(insn, QEMU_PLUGIN_MEM_R, QEMU_PLUGIN_INLINE_ADD_U64,
					     &counts->reads, 1);
	qemu_plugin_register_vcpu_mem_inline(insn, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_INLINE_ADD_U64,
					     &counts->writes, 1);
}

/*
 * The last instruction of a block is counted by itself: QEMU takes one that
 * crosses the end of the page out again after it has shown it to us, and begins
 * the next block with it.
 */
static void count_runs(struct block *block, struct qemu_plugin_tb *tb, size_t count)
{
	struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, count - 1);
	struct counts *now = &block->now;

	block->instructions = count - 1;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &now->runs, 1);
	qemu_plugin_register_vcpu_insn_exec_inline(last, QEMU_PLUGIN_INLINE_ADD_U64,
						   &now->last_runs, 1);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	struct block *block = new_block();
	size_t i, count = qemu_plugin_tb_n_insns(tb);
	bool in_kernel, probing, locks = false;

	(void)id;
	if (!block || !count)
		return;
	block->address = qemu_plugin_tb_vaddr(tb);
	count_runs(block, tb, count);
	in_kernel = block->address >= KERNEL_BEGINS;
	probing = in_kernel && probed++ < PROBED;
	for (i = 0; i < count; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		block->atomics += locks;
		locks = look_at(insn);
		if (!in_kernel)
			continue;
		count_accesses(insn, &block->now);
		if (!probing)
			continue;
		count_accesses(insn, &probe_inline);
		qemu_plugin_register_vcpu_mem_cb(insn, probe, QEMU_PLUGIN_CB_NO_REGS,
						 QEMU_PLUGIN_MEM_RW, NULL);
	}
	block->last_atomics = locks;
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_plugin_info *info, int argc,
			char **argv)
{
	int i;

	for (i = 0; i < argc; i++)
		if (!strncmp(argv[i], "out=", 4))
			out = fopen(argv[i] + 4, "w");
	if (!out) {
		fprintf(stderr, "where: cannot write to out=FILE\n");
		return 1;
	}
	arm64 = !strcmp(info->target_name, "aarch64");
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
