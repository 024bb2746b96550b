/*-------------------------------------------------------------------------
 * kernel_check.h
 *	  Numbers for the tests of kernels, and comparing them.
 *
 * Buffers are malloc'ed exactly, so that the sanitizers see a read or write
 * beyond the end, at addresses that are a multiple of 4 only.
 *-------------------------------------------------------------------------
 */
#ifndef TE_KERNEL_CHECK_H
#define TE_KERNEL_CHECK_H

#include "harness.h"

#include "kernels/kernels.h"

#include <float.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t random_state = 1;

__attribute__((unused)) static double
uniform(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (double) (random_state >> 11) / 9007199254740992.0 * 2.0 - 1.0;
}

/* n floats in [-scale, scale], at an address that is a multiple of 4 only */
__attribute__((unused)) static float *
floats(size_t n, double scale)
{
	char	   *block = malloc(n * sizeof(float) + 4);
	float	   *x = (float *) (block + 4);

	for (size_t i = 0; i < n; i++)
		x[i] = (float) (uniform() * scale);
	return x;
}

__attribute__((unused)) static void
floats_free(float *x)
{
	free((char *) x - 4);
}

__attribute__((unused)) static float *
copy_of(const float *x, size_t n)
{
	float	   *copy = floats(n, 0);

	memcpy(copy, x, n * sizeof(float));
	return copy;
}

/* Both NaN, both the same infinity, or near. */
__attribute__((unused)) static bool
near(float actual, float expected, double tolerance)
{
	if (isnan(expected) || isnan(actual))
		return isnan(expected) && isnan(actual);
	if (isinf(expected) || isinf(actual))
		return expected == actual;
	return fabs((double) actual - expected) <= tolerance;
}

__attribute__((unused)) static double
magnitude(const float *x, size_t n)
{
	double		most = 0;

	for (size_t i = 0; i < n; i++)
	{
		if (isfinite(x[i]))
			most = fmax(most, fabs(x[i]));
	}
	return most;
}

/* Compare n results; one check, and one message that says where. */
__attribute__((unused)) static void
check_within(const char *what, size_t size, const float *actual, const float *expected, size_t n, double tolerance)
{
	size_t		i = 0;

	while (i < n && near(actual[i], expected[i], tolerance))
		i++;
	if (!CHECK(i == n))
		fprintf(stderr, "  %s %s size %zu: [%zu] is %.9g, not %.9g\n", te_isa_name(), what, size, i, actual[i], expected[i]);
}

__attribute__((unused)) static void
check_all(const char *what, size_t size, const float *actual, const float *expected, size_t n, double max_error)
{
	check_within(what, size, actual, expected, n, max_error * magnitude(expected, n) + 1e-37);
}

/* A weight of random blocks, made from floats where the type can be; n_in a multiple of its block. */
__attribute__((unused)) static void *
weight_rows(TeDtype dtype, int64_t n_out, int64_t n_in)
{
	size_t		bytes = te_row_bytes(dtype, n_in);
	char	   *rows = malloc((size_t) n_out * bytes);
	float	   *row = floats((size_t) n_in, 1);

	for (int64_t r = 0; r < n_out; r++)
	{
		for (int64_t i = 0; i < n_in; i++)
			row[i] = (float) uniform();
		if (te_dtypes[dtype].from_float != NULL)
			te_dtypes[dtype].from_float(row, rows + (size_t) r * bytes, (size_t) n_in);
		else
		{
			for (int64_t i = 0; i < n_in; i++)
			{
				double		value = row[i];

				memcpy(rows + (size_t) r * bytes + (size_t) i * sizeof(value), &value, sizeof(value));
			}
		}
	}
	floats_free(row);
	return rows;
}

/* The instruction sets of this CPU; a test that selects one goes back to "auto". */
static const char *isas[8];

__attribute__((unused)) static size_t
isa_count(void)
{
	return te_isa_list(isas, LENGTH(isas));
}

/* Rows of random bytes, as a weight with a scale a row wants them and as one with blocks does. */
static inline TeByteRows
byte_rows(size_t rows, size_t n)
{
	size_t		ld = TE_ALIGN(n, 64);
	TeByteRows	b = {.ld = ld,.q = malloc(rows * ld),.scale = floats(rows, 1),.zero = floats(rows, 100),.sum = (int32_t *) floats(rows, 0),
	.block_scale = floats(rows * ld / 32, 1),.block_sum = (int32_t *) floats(rows * ld / 32, 0),.half_sum = (int32_t *) floats(rows * ld / 16, 0),
	.low = malloc(rows * ld),.low_sum = (int32_t *) floats(rows * ld / 32, 0)};

	for (size_t r = 0; r < rows; r++)
	{
		b.sum[r] = 0;
		b.zero[r] = nearbyintf(b.zero[r]);
		for (size_t i = 0; i < ld; i++)
		{
			/* the ends often, so that what saturates shows */
			double		u = uniform();

			b.q[r * ld + i] = (int8_t) (i >= n ? 0 : fabs(u) < 0.3 ? (u > 0 ? 127 : -127) : 127 * u);
			b.sum[r] += b.q[r * ld + i];
			b.low[r * ld + i] = (int8_t) (i >= n ? 0 : 64 * uniform());
			if (i % 16 == 0)
				b.half_sum[(r * ld + i) / 16] = 0;
			b.half_sum[(r * ld + i) / 16] += b.q[r * ld + i];
			if (i % 32 == 0)
				b.block_sum[(r * ld + i) / 32] = b.low_sum[(r * ld + i) / 32] = 0;
			b.block_sum[(r * ld + i) / 32] += b.q[r * ld + i];
			b.low_sum[(r * ld + i) / 32] += b.low[r * ld + i];
		}
	}
	return b;
}

static inline void
byte_rows_free(TeByteRows *b)
{
	free(b->q);
	floats_free(b->scale);
	floats_free(b->zero);
	floats_free((float *) b->sum);
	floats_free(b->block_scale);
	floats_free((float *) b->block_sum);
	floats_free((float *) b->half_sum);
	free(b->low);
	floats_free((float *) b->low_sum);
}

#endif							/* TE_KERNEL_CHECK_H */
