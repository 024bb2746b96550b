/*-------------------------------------------------------------------------
 * quant.c
 *	  Conversions of the plain storage types (f32, f16, bf16, f64) and of the
 *	  simple quantized ones: blocks of 32 elements with one scale.
 *
 * to_float gives what ggml's dequantization gives, bit for bit; from_float
 * what its reference quantization gives.  That fixes the order of operations
 * and the rounding here: products are rounded before they are added (build
 * with -ffp-contract=off), scales are used in full precision to find the
 * levels and rounded to half precision only for storing.
 *
 * What is not finite stays inside: such an element is clamped to the ends of
 * the range (NaN to its lower one) and cannot lead to undefined conversions.
 *
 * The K types, super-blocks of 256, are in quant_k.c.
 *-------------------------------------------------------------------------
 */
#include "base/quant.h"

#include <math.h>

/* ---- plain numbers ---- */

void
te_f32_to_float(const void *from, float *to, size_t n)
{
	memcpy(to, from, n * sizeof(float));
}

void
te_f32_from_float(const float *from, void *to, size_t n)
{
	memcpy(to, from, n * sizeof(float));
}

void
te_f16_to_float(const void *from, float *to, size_t n)
{
	const char *bytes = from;

	for (size_t i = 0; i < n; i++)
	{
		TeHalf		half;

		memcpy(&half, bytes + i * sizeof(half), sizeof(half));
		to[i] = te_half_to_float(half);
	}
}

void
te_f16_from_float(const float *from, void *to, size_t n)
{
	char	   *bytes = to;

	for (size_t i = 0; i < n; i++)
	{
		TeHalf		half = te_half_from_float(from[i]);

		memcpy(bytes + i * sizeof(half), &half, sizeof(half));
	}
}

void
te_bf16_to_float(const void *from, float *to, size_t n)
{
	const char *bytes = from;

	for (size_t i = 0; i < n; i++)
	{
		uint16_t	half;

		memcpy(&half, bytes + i * sizeof(half), sizeof(half));
		to[i] = te_bf16_value(half);
	}
}

void
te_bf16_from_float(const float *from, void *to, size_t n)
{
	char	   *bytes = to;

	for (size_t i = 0; i < n; i++)
	{
		uint16_t	half = te_bf16_make(from[i]);

		memcpy(bytes + i * sizeof(half), &half, sizeof(half));
	}
}

void
te_f64_to_float(const void *from, float *to, size_t n)
{
	const char *bytes = from;

	for (size_t i = 0; i < n; i++)
	{
		double		value;

		memcpy(&value, bytes + i * sizeof(value), sizeof(value));
		/* C leaves a conversion out of range undefined; IEEE arithmetic does not. */
		if (value > FLT_MAX || value < -FLT_MAX)
			to[i] = fabs(value) < 0x1.ffffffp127 ? copysignf(FLT_MAX, (float) (value > 0 ? 1 : -1)) :
				copysignf(INFINITY, value > 0 ? 1.0f : -1.0f);
		else
			to[i] = (float) value;
	}
}
