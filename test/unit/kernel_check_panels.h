/*-------------------------------------------------------------------------
 * kernel_check_panels.h
 *	  Packed weights against ref: expanding them, rounding x to bytes, products of bytes and of halves.
 *
 * Part of test_kernels.c, which includes it below its own sizes and special values.
 *-------------------------------------------------------------------------
 */
#ifndef TE_KERNEL_CHECK_PANELS_H
#define TE_KERNEL_CHECK_PANELS_H

/* ---- packed weights ---- */

static void
check_unpack(TeDtype dtype, size_t member, double error)
{
	const size_t step = TE_MAX((size_t) 32, (size_t) te_dtypes[dtype].block_elements);
	const int64_t n_in = 3 * (int64_t) step;
	void	   *rows = weight_rows(dtype, TE_PANEL, n_in);
	char	   *packed = malloc(te_pack_bytes(dtype, TE_PANEL, n_in));
	float	   *actual = floats(TE_PANEL * (size_t) n_in, 0);
	float	   *expected = floats(TE_PANEL * (size_t) n_in, 0);
	void		(*kernel) (const void *, size_t, size_t, float *);
	void		(*ref) (const void *, size_t, size_t, float *);

	memcpy(&kernel, (const char *) &te_kernel + member, sizeof(kernel));
	memcpy(&ref, (const char *) &te_kernel_ref + member, sizeof(ref));
	te_pack_rows(dtype, TE_PANEL, n_in, 0, TE_PANEL, rows, packed);
	for (size_t k0 = 0; k0 < (size_t) n_in; k0 += step)
	{
		kernel(packed, k0, (size_t) n_in, actual);
		ref(packed, k0, (size_t) n_in, expected);
		check_all(te_dtypes[dtype].name, k0, actual, expected, ((size_t) n_in - k0) * TE_PANEL, error);
	}
	free(rows);
	free(packed);
	floats_free(actual);
	floats_free(expected);
}

#define CHECK_UNPACK(type, dtype) \
	static void \
	check_unpack_##type(double error) \
	{ \
		check_unpack(dtype, offsetof(TeKernels, unpack_##type), error); \
	}

CHECK_UNPACK(f16, TE_F16)
CHECK_UNPACK(bf16, TE_BF16)
CHECK_UNPACK(q8_0, TE_Q8_0)
CHECK_UNPACK(q4_0, TE_Q4_0)
CHECK_UNPACK(q4_1, TE_Q4_1)
CHECK_UNPACK(q5_0, TE_Q5_0)
CHECK_UNPACK(q5_1, TE_Q5_1)
CHECK_UNPACK(q4_K, TE_Q4_K)
CHECK_UNPACK(q5_K, TE_Q5_K)
CHECK_UNPACK(q6_K, TE_Q6_K)
CHECK_UNPACK(int8, TE_INT8)

/* Products of halves, on top of others too, for as many rows as any tile has and more. */
static void
check_gemm_panel_f16(double error)
{
	for (size_t m = 1; m < 11; m++)
	{
		size_t		k = 1 + m * 13 % 40;
		void	   *rows = weight_rows(TE_F16, TE_PANEL, (int64_t) k);
		char	   *packed = malloc(te_pack_bytes(TE_F16, TE_PANEL, (int64_t) k));
		float	   *a = floats(m * (k + 3), 1);
		float	   *actual = floats(m * 67, 1);
		float	   *expected = copy_of(actual, m * 67);

		te_pack_rows(TE_F16, TE_PANEL, (int64_t) k, 0, TE_PANEL, rows, packed);
		for (int add = 0; add < 2; add++)
		{
			te_kernel.gemm_panel_f16(m, k, a, k + 3, packed, actual, 67, add == 1);
			te_kernel_ref.gemm_panel_f16(m, k, a, k + 3, packed, expected, 67, add == 1);
			check_all("gemm_panel_f16", m, actual, expected, m * 67, error);
		}
		free(rows);
		free(packed);
		floats_free(a);
		floats_free(actual);
		floats_free(expected);
	}
}

/* ---- products of bytes ---- */

/* Lengths with blocks of rotation of every kind, and as many as not to be rotated. */
static void
check_quantize(double error)
{
	static const float odd[] = {0, 1e-38f, 1e-37f, 1e30f, INFINITY, -INFINITY, NAN};
	static const size_t rotated[] = {8, 24, 32, 96, 160, 192, 320, 384, 1024, 1536};

	for (size_t s = 0; s < LENGTH(sizes) + LENGTH(rotated); s++)
	{
		size_t		n = s < LENGTH(sizes) ? sizes[s] + 1 : rotated[s - LENGTH(sizes)];
		size_t		rotation = s < LENGTH(sizes) ? 1 : te_rotation(n);
		float	   *scratch = floats(n * TE_QUANTIZED_ROWS, 2);
		size_t		rows = LENGTH(odd);
		float	   *x = floats(rows * n, 1);
		TeByteRows	actual = byte_rows(rows + 1, n);
		TeByteRows	expected = byte_rows(rows + 1, n);

		for (size_t r = 0; r < rows; r++)
		{
			x[r * n + n / 2] = odd[r];
			if (r < 3)
			{
				for (size_t i = 0; i < n; i++)
					x[r * n + i] *= odd[r];
			}
		}
		te_kernel.quantize(1, rows, n, rotation, x, n, scratch, &actual);
		te_kernel_ref.quantize(1, rows, n, rotation, x, n, scratch, &expected);
		check_all("quantize", n, actual.scale + 1, expected.scale + 1, rows, error);
		check_all("quantize", n, actual.zero + 1, expected.zero + 1, rows, 0);
		CHECK(isnan(actual.scale[5]) && isnan(actual.scale[7]) && actual.scale[1] == 0);
		CHECK(memcmp(actual.q + actual.ld, expected.q + actual.ld, rows * actual.ld) == 0);
		CHECK(memcmp(actual.sum + 1, expected.sum + 1, rows * sizeof(int32_t)) == 0);
		byte_rows_free(&actual);
		byte_rows_free(&expected);
		floats_free(scratch);
		floats_free(x);
	}
}

/* Blocks that are finite beside others that are not, and rows that end anywhere in what they are aligned to. */
static void
check_quantize_blocks(double error)
{
	static const float odd[] = {0, 1e-38f, 1e-37f, 1e30f, INFINITY, -INFINITY, NAN};

	for (size_t n = 32; n <= 416; n += 32)
	{
		size_t		rows = LENGTH(odd);
		float	   *x = floats(rows * n, 1);
		TeByteRows	actual = byte_rows(rows + 1, n);
		TeByteRows	expected = byte_rows(rows + 1, n);
		TeByteRows	without;
		size_t		blocks = n / 32;

		for (size_t r = 0; r < rows; r++)
		{
			x[r * n + n / 2] = odd[r];
			for (size_t i = 0; r < 3 && i < n; i++)
				x[r * n + i] *= odd[r];
		}
		te_kernel.quantize_blocks(1, rows, n, x, n, &actual);
		te_kernel_ref.quantize_blocks(1, rows, n, x, n, &expected);
		CHECK(memcmp(actual.low + actual.ld, expected.low + actual.ld, rows * actual.ld) == 0);
		for (size_t r = 1; r <= rows; r++)
			CHECK(memcmp(actual.half_sum + r * actual.ld / 16, expected.half_sum + r * actual.ld / 16, 2 * blocks * sizeof(int32_t)) == 0);
		memset(actual.q, 1, rows * actual.ld);
		without = actual;
		without.low = NULL;
		without.half_sum = NULL;
		te_kernel.quantize_blocks(1, rows, n, x, n, &without);
		for (size_t r = 1; r <= rows; r++)
		{
			check_all("quantize_blocks", n, actual.block_scale + r * actual.ld / 32, expected.block_scale + r * actual.ld / 32, blocks, error);
			CHECK(memcmp(actual.block_sum + r * actual.ld / 32, expected.block_sum + r * actual.ld / 32, blocks * sizeof(int32_t)) == 0);
			CHECK(memcmp(actual.low_sum + r * actual.ld / 32, expected.low_sum + r * actual.ld / 32, blocks * sizeof(int32_t)) == 0);
			CHECK(isnan(actual.block_scale[r * actual.ld / 32 + blocks / 2]) == (r > 4));
		}
		CHECK(memcmp(actual.q + actual.ld, expected.q + actual.ld, rows * actual.ld) == 0);
		byte_rows_free(&actual);
		byte_rows_free(&expected);
		floats_free(x);
	}
}

/* Any bytes as levels, -128 too; scales that are numbers. */
static void
check_byte_gemm(TeDtype dtype, size_t member, double error)
{
	for (size_t m = 0; m < 15; m++)
	{
		int64_t		n_in = te_dtypes[dtype].block_elements * (int64_t) (1 + m * 7 % 11) + (dtype == TE_INT8 ? 100 : 0);
		char	   *rows = weight_rows(dtype, TE_PANEL, n_in);
		char	   *packed = malloc(te_pack_bytes(dtype, TE_PANEL, n_in));
		TeByteRows	x = byte_rows(m + 2, (size_t) n_in);
		size_t		size = m * 70 + 1;
		float	   *actual = floats(size, 1);
		float	   *expected = copy_of(actual, size);
		void		(*kernel) (size_t, size_t, size_t, const TeByteRows *, const void *, float *, size_t);
		void		(*ref) (size_t, size_t, size_t, const TeByteRows *, const void *, float *, size_t);

		memcpy(&kernel, (const char *) &te_kernel + member, sizeof(kernel));
		memcpy(&ref, (const char *) &te_kernel_ref + member, sizeof(ref));
		if (dtype == TE_INT8)
			memset(rows + sizeof(float), -128, (size_t) n_in);
		te_pack_rows(dtype, TE_PANEL, n_in, 0, TE_PANEL, rows, packed);
		for (int coarse = 0; coarse < 2; coarse++)
		{
			TeByteRows	seen = x;

			if (coarse || dtype != TE_Q8_0)
				seen.low = NULL;
			kernel(2, m, (size_t) n_in, &seen, packed, actual, 70);
			ref(2, m, (size_t) n_in, &seen, packed, expected, 70);
			check_all(te_dtypes[dtype].name, m, actual, expected, size, error);
		}
		free(rows);
		free(packed);
		byte_rows_free(&x);
		floats_free(actual);
		floats_free(expected);
	}
}

#define CHECK_GEMM(type, dtype) \
	static void \
	check_gemm_##type(double error) \
	{ \
		check_byte_gemm(dtype, offsetof(TeKernels, gemm_##type), error); \
	}

CHECK_GEMM(int8, TE_INT8)
CHECK_GEMM(q8_0, TE_Q8_0)
CHECK_GEMM(q4_0, TE_Q4_0)
CHECK_GEMM(q4_1, TE_Q4_1)
CHECK_GEMM(q5_0, TE_Q5_0)
CHECK_GEMM(q5_1, TE_Q5_1)
CHECK_GEMM(q4_K, TE_Q4_K)
CHECK_GEMM(q5_K, TE_Q5_K)
CHECK_GEMM(q6_K, TE_Q6_K)

#endif							/* TE_KERNEL_CHECK_PANELS_H */
