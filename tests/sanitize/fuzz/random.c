// SPDX-License-Identifier: GPL-2.0-only
#include <limits.h>

#include "fuzz.h"

uint64_t draw(struct thread *thread)
{
	uint64_t z = thread->random += 0x9e3779b97f4a7c15ULL;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* Uniform in [0, n). */
uint64_t below(struct thread *thread, uint64_t n)
{
	return (unsigned __int128)draw(thread) * n >> 64;
}

bool one_in(struct thread *thread, uint64_t n)
{
	return below(thread, n) == 0;
}

/*
 * A number at which code goes wrong. None lies in 65 .. PAB_MAX_BLOCKS: two of
 * them side by side must not make a configuration that takes all the memory.
 */
uint64_t boundary(struct thread *thread)
{
	static const uint64_t numbers[] = {
		0, 1, 2, 3, 7, 8, 31, 32, 63, 64,
		PAB_MAX_BLOCKS + 1, INT_MAX, (uint64_t)INT_MAX + 1, UINT_MAX - 1, UINT_MAX,
		(uint64_t)UINT_MAX + 1, LONG_MAX, (uint64_t)LONG_MAX + 1, ULONG_MAX - 1, ULONG_MAX,
	};

	if (one_in(thread, 8))
		return draw(thread);
	return numbers[below(thread, sizeof(numbers) / sizeof(numbers[0]))];
}
