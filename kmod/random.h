/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
 * generators", OOPSLA 2014): a few instructions a draw, and the same sequence
 * on every kernel and architecture, so that a seed repeats a run.
 */
#ifndef PAB_RANDOM_H
#define PAB_RANDOM_H

#include <linux/math64.h>
#include <linux/types.h>

#define PAB_RANDOM_GAMMA	0x9e3779b97f4a7c15ULL

/* Independent sequences that one worker draws from. */
enum pab_stream {
	PAB_STREAM_PATTERN,	/* what the pattern does */
	PAB_STREAM_SAMPLE,	/* which operations are timed and kept */
	PAB_STREAM_COUNT
};

static inline u64 pab_random_mix(u64 z)
{
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline u64 pab_random(u64 *state)
{
	*state += PAB_RANDOM_GAMMA;
	return pab_random_mix(*state);
}

/* Uniform in [0, n), without a division. */
static inline u64 pab_random_below(u64 *state, u64 n)
{
	return mul_u64_u64_shr(pab_random(state), n, 64);
}

/* Where the sequence of one stream on one CPU starts. */
static inline u64 pab_random_seed(u64 seed, unsigned int cpu, enum pab_stream stream)
{
	return pab_random_mix(pab_random_mix(seed) +
			      PAB_RANDOM_GAMMA * ((u64)cpu * PAB_STREAM_COUNT + stream + 1));
}

#endif /* PAB_RANDOM_H */
