/*-------------------------------------------------------------------------
 * random.h
 *	  Random numbers by position: number i of a stream is a function of (seed, i).
 *
 * There is no state to keep, to save in a checkpoint or to share between
 * threads: whoever needs number i of a stream computes it.  A stream is a seed;
 * te_random_stream() makes independent ones of a seed and what they are for.  The
 * mixing function is that of SplitMix64 (Steele, Lea and Flood, 2014).
 *-------------------------------------------------------------------------
 */
#ifndef TE_RANDOM_H
#define TE_RANDOM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

static inline uint64_t
te_random_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
	return x ^ (x >> 31);
}

/* 64 random bits: number i of a stream. */
static inline uint64_t
te_random_bits(uint64_t stream, uint64_t i)
{
	return te_random_mix(stream + (i + 1) * UINT64_C(0x9E3779B97F4A7C15));
}

/* A stream of its own for a purpose, a step, a tensor, ... of another one. */
static inline uint64_t
te_random_stream(uint64_t stream, uint64_t purpose)
{
	return te_random_mix(te_random_bits(stream, purpose) ^ UINT64_C(0xD1B54A32D192ED03));
}

/* [0, 1), 53 bits */
static inline double
te_random_uniform(uint64_t stream, uint64_t i)
{
	return (double) (te_random_bits(stream, i) >> 11) * 0x1p-53;
}

/* [0, n), n > 0; the bias is below n / 2^64. */
static inline uint64_t
te_random_below(uint64_t stream, uint64_t i, uint64_t n)
{
	return (uint64_t) (((unsigned __int128) te_random_bits(stream, i) * n) >> 64);
}

/* Normal distribution, mean 0, standard deviation 1 (Box and Muller). */
static inline double
te_random_normal(uint64_t stream, uint64_t i)
{
	double		radius = sqrt(-2 * log(1 - te_random_uniform(stream, 2 * i)));

	return radius * cos(6.283185307179586476925 * te_random_uniform(stream, 2 * i + 1));
}

#endif							/* TE_RANDOM_H */
