/*-------------------------------------------------------------------------
 * kernel_check_bf16.h
 *	  The checkers of test_kernels.c for products of bf16: rounding, packing by
 *	  pairs, and both forms of the product, against ref.
 *
 * Part of test_kernels.c, which includes it below its own sizes and special values.
 *-------------------------------------------------------------------------
 */
#ifndef TE_KERNEL_CHECK_BF16_H
#define TE_KERNEL_CHECK_BF16_H

static uint16_t *
halves(size_t n)
{
	uint16_t   *x = malloc(n * sizeof(uint16_t));

	for (size_t i = 0; i < n; i++)
		x[i] = te_bf16_make((float) uniform());
	return x;
}

/* Special values but denormals, which the instructions take as zeros. */
static void
plant_normal(float *x, size_t n)
{
	plant(x, n, false);
	for (size_t i = 0; i < n; i++)
		x[i] = fabsf(x[i]) < FLT_MIN ? copysignf(0, x[i]) : x[i];
}

static size_t
count_different_halves(const uint16_t *a, const uint16_t *b, size_t n)
{
	size_t		different = 0;

	for (size_t i = 0; i < n; i++)
		different += !near(te_bf16_value(a[i]), te_bf16_value(b[i]), 0);
	return different;
}

static void
check_round_bf16(double error)
{
	for (size_t s = 0; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		size_t		whole = (n + 1) / 2 * 2;
		float	   *x = floats(n, 1);
		uint16_t   *actual = halves(whole);
		uint16_t   *expected = halves(whole);

		plant_normal(x, n);
		te_kernel.round_bf16(n, x, actual);
		te_kernel_ref.round_bf16(n, x, expected);
		CHECK(count_different_halves(actual, expected, whole) == 0);
		floats_free(x);
		free(actual);
		free(expected);
	}
}

static void
check_round_floats_bf16(double error)
{
	for (size_t s = 0; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *x = floats(n, 1);
		float	   *expected = floats(n, 0);

		plant(x, n, false);
		te_kernel_ref.round_floats_bf16(n, x, expected);
		te_kernel.round_floats_bf16(n, x, x);
		check_within("round_floats_bf16", n, x, expected, n, error);
		floats_free(x);
		floats_free(expected);
	}
}

/* `rows` rows of k floats into a panel, or k rows of as many. */
static void
check_pack_bf16(bool columns)
{
	for (size_t rows = 1; rows <= TE_PANEL; rows += 7)
	{
		for (size_t k = 1; k < 70; k += 5)
		{
			size_t		ld = (columns ? rows : k) + 3;
			size_t		n = (k + 1) / 2 * 2 * TE_PANEL;
			float	   *a = floats((columns ? k : rows) * ld - 3, 1);
			uint16_t   *actual = halves(n);
			uint16_t   *expected = halves(n);

			if (columns)
			{
				te_kernel.pack_columns_bf16(k, rows, a, ld, actual);
				te_kernel_ref.pack_columns_bf16(k, rows, a, ld, expected);
			}
			else
			{
				te_kernel.pack_panel_bf16(rows, k, a, ld, actual);
				te_kernel_ref.pack_panel_bf16(rows, k, a, ld, expected);
			}
			CHECK(count_different_halves(actual, expected, n) == 0);
			floats_free(a);
			free(actual);
			free(expected);
		}
	}
}

static void
check_pack_panel_bf16(double error)
{
	check_pack_bf16(false);
}

static void
check_pack_columns_bf16(double error)
{
	check_pack_bf16(true);
}

static void
check_gemm_bf16(bool columns, double error)
{
	static const size_t rows[] = {0, 1, 2, 3, 4, 5, 6, 7, 12, 31, 64};
	static const size_t all_pairs[] = {0, 1, 2, 17, 64};

	for (size_t i = 0; i < LENGTH(rows) * LENGTH(all_pairs) * 2; i++)
	{
		size_t		m = rows[i / 2 % LENGTH(rows)];
		size_t		pairs = all_pairs[i / 2 / LENGTH(rows)];
		size_t		n = m == 0 ? 0 : (m - 1) * 67 + TE_PANEL;
		uint16_t   *a = halves(2 * pairs * TE_PANEL);
		uint16_t   *panel = halves(2 * pairs * TE_PANEL);
		float	   *actual = floats(n, 1);
		float	   *expected = copy_of(actual, n);

		if (columns)
		{
			te_kernel.gemm_columns_bf16(m, pairs, a, panel, actual, 67, i % 2);
			te_kernel_ref.gemm_columns_bf16(m, pairs, a, panel, expected, 67, i % 2);
		}
		else
		{
			te_kernel.gemm_panel_bf16(m, pairs, a, 2 * pairs, panel, actual, 67, i % 2);
			te_kernel_ref.gemm_panel_bf16(m, pairs, a, 2 * pairs, panel, expected, 67, i % 2);
		}
		check_all("gemm_bf16", m * 1000 + pairs, actual, expected, n, error);
		free(a);
		free(panel);
		floats_free(actual);
		floats_free(expected);
	}
}

static void
check_gemm_panel_bf16(double error)
{
	check_gemm_bf16(false, error);
}

static void
check_gemm_columns_bf16(double error)
{
	check_gemm_bf16(true, error);
}

#endif							/* TE_KERNEL_CHECK_BF16_H */
