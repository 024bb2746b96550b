/*-------------------------------------------------------------------------
 * ref_panels.c
 *	  The scalar kernels of packed weights: expanding them, rounding x, products of bytes.
 *
 * As in ref.c, they are the truth and written to be read.  What a quantized panel says is
 * said by te_<type>_at() (panels.h); all types with blocks go through the same loops here.  Products of
 * halves are the other exception from sums in double: one chain of f32 multiply-adds, as in gemm_panel_f32.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#include <float.h>
#include <math.h>

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* ---- expanding ---- */

void
te_ref_unpack_f16(const void *panel, size_t k0, size_t k1, float *out)
{
	const TeHalf *half = (const TeHalf *) panel + k0 * TE_PANEL;

	for (size_t i = 0; i < (k1 - k0) * TE_PANEL; i++)
		out[i] = te_half_to_float(half[i]);
}

void
te_ref_unpack_bf16(const void *panel, size_t k0, size_t k1, float *out)
{
	const uint16_t *half = panel;

	for (size_t k = k0; k < k1; k++)
	{
		for (size_t c = 0; c < TE_PANEL; c++)
			*out++ = te_bf16_value(half[(k / 2 * TE_PANEL + c) * 2 + k % 2]);
	}
}

void
te_ref_unpack_int8(const void *panel, size_t k0, size_t k1, float *out)
{
	const TePanelInt8 *from = panel;

	for (size_t k = k0; k < k1; k++, out += TE_PANEL)
	{
		for (size_t c = 0; c < TE_PANEL; c++)
			out[c] = from->scale[c] * (from->q[k / 4][c][k % 4] - TE_BYTE_BIAS);
	}
}

typedef TePanelValue ValueAt(const void *panel, size_t k, size_t c);

static void
unpack_blocks(ValueAt *at, const void *panel, size_t k0, size_t k1, float *out)
{
	for (size_t k = k0; k < k1; k++)
	{
		for (size_t c = 0; c < TE_PANEL; c++)
			*out++ = te_panel_float(at(panel, k, c));
	}
}

/* ---- x as bytes ---- */

/* Levels are rounded to nearest, ties to even. */
void
te_ref_quantize(size_t first, size_t rows, size_t n, size_t rotation, const float *from, size_t ld_x, float *rotated, const TeByteRows *to)
{
	for (size_t r = first; r < first + rows; r++, from += ld_x)
	{
		const float *x = rotation > 1 ? rotated : from;
		float		least = 0;
		float		most = 0;
		float		inverse;

		if (rotation > 1)
			te_rotate(n, rotation, from, rotated);
		for (size_t i = 0; i < n && !isnan(most); i++)
		{
			least = fminf(least, x[i]);
			if (!(x[i] <= most))
				most = x[i];
		}
		to->scale[r] = te_byte_scale(least, most, &inverse, &to->zero[r]);
		to->sum[r] = te_byte_row_clear(to, r);
		for (size_t i = 0; i < n && !isnan(to->scale[r]); i++)
		{
			to->q[r * to->ld + i] = (int8_t) (fmaf(x[i], inverse, TE_BYTE_ROUND + to->zero[r]) - TE_BYTE_ROUND);
			to->sum[r] += to->q[r * to->ld + i];
		}
	}
}

/* Block `at` of the block_scale of `to`, whose bytes begin at q: 32 elements of x that are multiples of `scale`. */
static void
quantize_block(const float *x, float inverse, const TeByteRows *to, size_t at, size_t q)
{
	for (size_t i = 0; i < TE_QK; i++)
	{
		float		level = fmaf(x[i], inverse, TE_BYTE_ROUND) - TE_BYTE_ROUND;

		to->q[q + i] = (int8_t) level;
		to->block_sum[at] += to->q[q + i];
		if (to->half_sum != NULL)
			to->half_sum[2 * at + i / (TE_QK / 2)] += to->q[q + i];
		if (to->low == NULL)
			continue;
		to->low[q + i] = (int8_t) (fmaf(fmaf(x[i], inverse, -level), TE_BYTE_LOW, TE_BYTE_ROUND) - TE_BYTE_ROUND);
		to->low_sum[at] += to->low[q + i];
	}
}

void
te_ref_quantize_blocks(size_t first, size_t rows, size_t n, const float *x, size_t ld_x, const TeByteRows *to)
{
	for (size_t r = first; r < first + rows; r++, x += ld_x)
	{
		te_byte_row_clear(to, r);
		for (size_t b = 0; b < n / TE_QK; b++)
		{
			size_t		at = r * (to->ld / TE_QK) + b;
			float		most = 0;
			float		inverse;

			for (size_t i = 0; i < TE_QK && !isnan(most); i++)
				most = isfinite(x[b * TE_QK + i]) ? fmaxf(most, fabsf(x[b * TE_QK + i])) : NAN;
			to->block_scale[at] = te_byte_block_scale(most, &inverse);
			to->block_sum[at] = 0;
			if (to->low != NULL)
				to->low_sum[at] = 0;
			if (to->half_sum != NULL)
				to->half_sum[2 * at] = to->half_sum[2 * at + 1] = 0;
			if (!isnan(most))
				quantize_block(x + b * TE_QK, inverse, to, at, r * to->ld + b * TE_QK);
		}
	}
}

/* ---- products ---- */

void
te_ref_gemm_panel_f16(size_t m, size_t k, const float *a, size_t ld_a, const void *panel, float *acc, size_t ld_acc, bool add)
{
	const TeHalf *half = panel;

	for (size_t r = 0; r < m; r++)
	{
		for (size_t c = 0; c < TE_PANEL; c++)
		{
			float		sum = add ? acc[r * ld_acc + c] : 0;

			for (size_t i = 0; i < k; i++)
				sum += a[r * ld_a + i] * te_half_to_float(half[i * TE_PANEL + c]);
			acc[r * ld_acc + c] = sum;
		}
	}
}

void
te_ref_gemm_int8(size_t row, size_t m, size_t n_in, const TeByteRows *x, const void *panel, float *y, size_t ld_y)
{
	const TePanelInt8 *p = panel;

	for (size_t r = 0; r < m; r++)
	{
		const int8_t *q = x->q + (row + r) * x->ld;

		for (size_t c = 0; c < TE_PANEL; c++)
		{
			int32_t		sum = 0;

			for (size_t i = 0; i < n_in; i++)
				sum += q[i] * (p->q[i / 4][c][i % 4] - TE_BYTE_BIAS);
			y[r * ld_y + c] = fmaf(-x->zero[row + r], p->sum[c], (float) sum * p->scale[c]) * x->scale[row + r];
		}
	}
}

/* x as its bytes say, but for the scales of blocks. */
static double
byte_level(const TeByteRows *x, size_t row, size_t k)
{
	size_t		at = row * x->ld + k;

	return x->low != NULL ? x->q[at] + (double) x->low[at] / TE_BYTE_LOW : x->q[at];
}

static void
gemm_blocks(ValueAt *at, size_t row, size_t m, size_t n_in, const TeByteRows *x, const void *panel, float *y, size_t ld_y)
{
	for (size_t r = 0; r < m; r++)
	{
		const float *scale = x->block_scale + (row + r) * (x->ld / TE_QK);

		for (size_t c = 0; c < TE_PANEL; c++)
		{
			double		total = 0;

			for (size_t k = 0; k < n_in; k++)
			{
				TePanelValue value = at(panel, k, c);

				total += ((double) value.scale * value.level + value.offset) * byte_level(x, row + r, k) * scale[k / TE_QK];
			}
			y[r * ld_y + c] = (float) total;
		}
	}
}

#define BLOCK_TYPE(type) \
void \
te_ref_unpack_##type(const void *panel, size_t k0, size_t k1, float *out) \
{ \
	unpack_blocks(te_##type##_at, panel, k0, k1, out); \
} \
\
void \
te_ref_gemm_##type(size_t row, size_t m, size_t n_in, const TeByteRows *x, const void *panel, float *y, size_t ld_y) \
{ \
	gemm_blocks(te_##type##_at, row, m, n_in, x, panel, y, ld_y); \
}

BLOCK_TYPE(q8_0)
BLOCK_TYPE(q4_0)
BLOCK_TYPE(q4_1)
BLOCK_TYPE(q5_0)
BLOCK_TYPE(q5_1)
BLOCK_TYPE(q4_K)
BLOCK_TYPE(q5_K)
BLOCK_TYPE(q6_K)
