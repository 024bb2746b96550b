/*-------------------------------------------------------------------------
 * test_kernels.c
 *	  Every row of kernels.def against ref; linear, attention and matmul
 *	  against naive loops.
 *
 * A checker per member of the dispatch table runs a kernel and its reference
 * over sizes 0..67 and some larger odd ones, at pointers that are aligned to 4 bytes
 * only.  The tolerance of a row is relative to the largest magnitude that
 * the reference gave.  Buffers are malloc'ed exactly, so that the sanitizers
 * see a read or write beyond the end.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "kernels/kernels.h"

#include <float.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- numbers ---- */

static uint64_t random_state = 1;

static double
uniform(void)
{
	random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (double) (random_state >> 11) / 9007199254740992.0 * 2.0 - 1.0;
}

/* n floats in [-scale, scale], at an address that is a multiple of 4 only */
static float *
floats(size_t n, double scale)
{
	char	   *block = malloc(n * sizeof(float) + 4);
	float	   *x = (float *) (block + 4);

	for (size_t i = 0; i < n; i++)
		x[i] = (float) (uniform() * scale);
	return x;
}

static void
floats_free(float *x)
{
	free((char *) x - 4);
}

static float *
copy_of(const float *x, size_t n)
{
	float	   *copy = floats(n, 0);

	memcpy(copy, x, n * sizeof(float));
	return copy;
}

/* Both NaN, both the same infinity, or near. */
static bool
near(float actual, float expected, double tolerance)
{
	if (isnan(expected) || isnan(actual))
		return isnan(expected) && isnan(actual);
	if (isinf(expected) || isinf(actual))
		return expected == actual;
	return fabs((double) actual - expected) <= tolerance;
}

static double
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
static void
check_within(const char *what, size_t size, const float *actual, const float *expected, size_t n, double tolerance)
{
	size_t		i = 0;

	while (i < n && near(actual[i], expected[i], tolerance))
		i++;
	if (!CHECK(i == n))
		fprintf(stderr, "  %s %s size %zu: [%zu] is %.9g, not %.9g\n", te_isa_name(), what, size, i, actual[i], expected[i]);
}

static void
check_all(const char *what, size_t size, const float *actual, const float *expected, size_t n, double max_error)
{
	check_within(what, size, actual, expected, n, max_error * magnitude(expected, n) + 1e-37);
}

static const size_t sizes[] = {
	0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34,
	35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66,
	67, 100, 127, 128, 129, 255, 384, 1001
};

static const float special[] = {0.0f, -0.0f, 1e-42f, -1e-42f, FLT_MIN, INFINITY, -INFINITY, NAN, 1e30f, -1e30f, 88.0f, -88.0f, 100.0f, -104.0f, 5.5f, -5.5f};

/* Put special values, all or the finite ones, among the elements of x. */
static void
plant(float *x, size_t n, bool finite)
{
	for (size_t i = 0; i < n; i++)
	{
		float		value = special[(i * 7 + n) % LENGTH(special)];

		if (i % 3 == 1 && (!finite || (isfinite(value) && fabsf(value) < 1e20f)))
			x[i] = value;
	}
}

/* ---- a checker per kernel ---- */

/* A by rows of k + 3, or by columns of m + 3. */
static void
check_gemm(bool columns, double error)
{
	static const size_t rows[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 31, 64, 97};
	static const size_t ks[] = {0, 1, 2, 3, 16, 17, 64, 129};

	for (size_t i = 0; i < LENGTH(rows) * LENGTH(ks); i++)
	{
		size_t		m = rows[i / LENGTH(ks)];
		size_t		k = ks[i % LENGTH(ks)];
		size_t		ld = (columns ? m : k) + 3;
		size_t		n = m == 0 ? 0 : (m - 1) * 67 + TE_PANEL;
		float	   *a = floats((columns ? k : m) * ld, 1);
		float	   *panel = floats(k * TE_PANEL, 1);
		float	   *actual = floats(n, 1);
		float	   *expected = copy_of(actual, n);

		for (int add = 0; add < 2; add++)
		{
			(columns ? te_kernel.gemm_columns_f32 : te_kernel.gemm_panel_f32) (m, k, a, ld, panel, actual, 67, add);
			(columns ? te_kernel_ref.gemm_columns_f32 : te_kernel_ref.gemm_panel_f32) (m, k, a, ld, panel, expected, 67, add);
			check_all(columns ? "gemm_columns_f32" : "gemm_panel_f32", m * 1000 + k, actual, expected, n, error);
		}
		floats_free(a);
		floats_free(panel);
		floats_free(actual);
		floats_free(expected);
	}
}

static void
check_gemm_panel_f32(double error)
{
	check_gemm(false, error);
}

static void
check_gemm_columns_f32(double error)
{
	check_gemm(true, error);
}

static void
check_pack_panel(double error)
{
	for (size_t rows = 1; rows <= TE_PANEL; rows += 7)
	{
		for (size_t k = 1; k < 70; k += 5)
		{
			float	   *a = floats(rows * k, 1);
			float	   *actual = floats(k * TE_PANEL, 1);
			float	   *expected = floats(k * TE_PANEL, 1);

			te_kernel.pack_panel(rows, k, a, k, actual);
			te_kernel_ref.pack_panel(rows, k, a, k, expected);
			check_all("pack_panel", rows * 1000 + k, actual, expected, k * TE_PANEL, error);
			floats_free(a);
			floats_free(actual);
			floats_free(expected);
		}
	}
}

static void
check_epilogue(double error)
{
	for (size_t n = 1; n <= TE_PANEL; n++)
	{
		for (int kind = 0; kind < 4 * TE_N_ACTIVATIONS; kind++)
		{
			size_t		size = 2 * 70 + n;
			float	   *x = floats(size, 8);
			float	   *bias = floats(n, 1);
			float	   *residual = floats(size, 1);
			float	   *actual = copy_of(x, size);
			float	   *expected = copy_of(x, size);

			te_kernel.epilogue(3, n, x, 70, kind & 1 ? bias : NULL, (TeActivation) (kind / 4), kind & 2 ? residual : NULL, 70, actual, 70);
			te_kernel_ref.epilogue(3, n, x, 70, kind & 1 ? bias : NULL, (TeActivation) (kind / 4), kind & 2 ? residual : NULL, 70, expected, 70);
			check_all("epilogue", n, actual, expected, size, error);
			floats_free(x);
			floats_free(bias);
			floats_free(residual);
			floats_free(actual);
			floats_free(expected);
		}
	}
}

static void
check_layer_norm(double error)
{
	for (size_t s = 1; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *x = floats(3 * n, 5);
		float	   *residual = floats(3 * n, 1);
		float	   *gamma = floats(n, 1);
		float	   *beta = floats(n, 1);
		float	   *actual = floats(3 * n, 0);
		float	   *expected = floats(3 * n, 0);
		float		saved[6];
		float		saved_ref[6];

		for (int kind = 0; kind < 4; kind++)
		{
			te_kernel.layer_norm(3, n, x, kind & 1 ? residual : NULL, gamma, kind & 2 ? beta : NULL, 1e-5f, actual, saved);
			te_kernel_ref.layer_norm(3, n, x, kind & 1 ? residual : NULL, gamma, kind & 2 ? beta : NULL, 1e-5f, expected, saved_ref);
			/* a row of one or two elements may lose all its variance */
			if (n > 2)
			{
				check_all("layer_norm", n, actual, expected, 3 * n, error);
				check_all("layer_norm saved", n, saved, saved_ref, 6, error);
			}
		}
		te_kernel.layer_norm(3, n, x, residual, gamma, beta, 1e-5f, residual, NULL);
		check_all("layer_norm in place", n, residual, actual, 3 * n, 0);
		floats_free(x);
		floats_free(residual);
		floats_free(gamma);
		floats_free(beta);
		floats_free(actual);
		floats_free(expected);
	}
}

static void
check_rms_norm(double error)
{
	for (size_t s = 1; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *x = floats(3 * n, 5);
		float	   *gamma = floats(n, 1);
		float	   *actual = floats(3 * n, 0);
		float	   *expected = floats(3 * n, 0);
		float		saved[3];
		float		saved_ref[3];

		te_kernel.rms_norm(3, n, x, gamma, 1e-6f, actual, saved);
		te_kernel_ref.rms_norm(3, n, x, gamma, 1e-6f, expected, saved_ref);
		check_all("rms_norm", n, actual, expected, 3 * n, error);
		check_all("rms_norm saved", n, saved, saved_ref, 3, error);
		floats_free(x);
		floats_free(gamma);
		floats_free(actual);
		floats_free(expected);
	}
}

static void
check_softmax(double error)
{
	for (size_t s = 1; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *actual = floats(3 * n, 30);
		float	   *expected;

		actual[n / 2] = -INFINITY;
		actual[0] = 1e30f;
		expected = copy_of(actual, 3 * n);
		te_kernel.softmax(3, n, actual);
		te_kernel_ref.softmax(3, n, expected);
		check_all("softmax", n, actual, expected, 3 * n, error);
		actual[0] = NAN;
		te_kernel.softmax(1, n, actual);
		CHECK(isnan(actual[n - 1]));
		floats_free(actual);
		floats_free(expected);
	}
}

static void
check_activate(double error)
{
	for (int activation = 0; activation < TE_N_ACTIVATIONS; activation++)
	{
		for (size_t s = 0; s < LENGTH(sizes); s++)
		{
			size_t		n = sizes[s];
			float	   *x = floats(n, 8);
			float	   *actual = floats(n, 1);
			float	   *expected = floats(n, 1);

			te_kernel.activate((TeActivation) activation, n, x, actual);
			te_kernel_ref.activate((TeActivation) activation, n, x, expected);
			check_within(te_activation_name((TeActivation) activation), n, actual, expected, n,
						 error * fmax(1, magnitude(expected, n)));
			floats_free(x);
			floats_free(actual);
			floats_free(expected);
		}
		for (size_t i = 0; i < LENGTH(special); i++)
		{
			float		actual = special[i];
			float		expected = te_activation_value((TeActivation) activation, special[i]);

			te_kernel.activate((TeActivation) activation, 1, &actual, &actual);
			if (!CHECK(near(actual, expected, isfinite(expected) ? error * fmax(1, fabs(expected)) : 0)))
				fprintf(stderr, "  %s %s(%g) is %g, not %g\n", te_isa_name(), te_activation_name((TeActivation) activation),
						special[i], actual, expected);
		}
	}
}

/* Kernels of two inputs and one output, exact or nearly so. */
#define CHECK_ELEMENTWISE(name, call) \
	static void \
	check_##name(double error) \
	{ \
		for (size_t s = 0; s < LENGTH(sizes); s++) \
		{ \
			size_t		n = sizes[s]; \
			float	   *a = floats(n, 3); \
			float	   *b = floats(n, 3); \
			float	   *original = floats(n, 3); \
			float	   *y; \
			float	   *actual; \
			float	   *expected; \
			const TeKernels *kernel; \
			plant(a, n, false); \
			actual = copy_of(original, n); \
			expected = copy_of(original, n); \
			kernel = &te_kernel; \
			y = actual; \
			call; \
			kernel = &te_kernel_ref; \
			y = expected; \
			call; \
			check_all(#name, n, actual, expected, n, error); \
			floats_free(a); \
			floats_free(b); \
			floats_free(original); \
			floats_free(actual); \
			floats_free(expected); \
		} \
	}

CHECK_ELEMENTWISE(add, kernel->add(n, a, b, y))
CHECK_ELEMENTWISE(multiply, kernel->multiply(n, a, b, y))
CHECK_ELEMENTWISE(scale, kernel->scale(n, 1.7f, a, y))
CHECK_ELEMENTWISE(axpy, kernel->axpy(n, 1.7f, b, y))

static void
check_activate_backward(double error)
{
	for (int activation = 0; activation < TE_N_ACTIVATIONS; activation++)
	{
		for (size_t s = 0; s < LENGTH(sizes); s++)
		{
			size_t		n = sizes[s];
			float	   *x = floats(n, 8);
			float	   *d_y = floats(n, 1);
			float	   *actual = floats(n, 1);
			float	   *expected = copy_of(actual, n);

			te_kernel.activate_backward((TeActivation) activation, n, x, d_y, actual);
			te_kernel_ref.activate_backward((TeActivation) activation, n, x, d_y, expected);
			check_all("activate_backward", n, actual, expected, n, error);
			floats_free(x);
			floats_free(d_y);
			floats_free(actual);
			floats_free(expected);
		}
	}
}

/* A kernel that gives one number; the tolerance is relative to the sum of the magnitudes of its terms. */
static void
check_number(const char *what, size_t n, float actual, float expected, double tolerance)
{
	if (!CHECK(near(actual, expected, tolerance)))
		fprintf(stderr, "  %s %s size %zu: %.9g, not %.9g\n", te_isa_name(), what, n, actual, expected);
}

static void
check_dot(double error)
{
	for (size_t s = 0; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *a = floats(n, 1);
		float	   *b = floats(n, 1);

		check_number("dot", n, te_kernel.dot(n, a, b), te_kernel_ref.dot(n, a, b), error * (double) n);
		plant(a, n, false);
		check_number("dot", n, te_kernel.dot(n, a, b), te_kernel_ref.dot(n, a, b), error * 1e32);
		floats_free(a);
		floats_free(b);
	}
}

static void
check_distance2(double error)
{
	for (size_t s = 0; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *a = floats(n, 1);
		float	   *b = floats(n, 1);

		check_number("distance2", n, te_kernel.distance2(n, a, b), te_kernel_ref.distance2(n, a, b), error * (double) n);
		floats_free(a);
		floats_free(b);
	}
}

static void
check_max(double error)
{
	for (size_t s = 0; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *x = floats(n, 1);

		check_number("max", n, te_kernel.max(n, x), te_kernel_ref.max(n, x), 0);
		for (size_t i = 0; i < n; i += 5)
		{
			float		before = x[i];

			x[i] = NAN;
			check_number("max", n, te_kernel.max(n, x), NAN, 0);
			x[i] = 100.0f;
			check_number("max", n, te_kernel.max(n, x), 100.0f, 0);
			x[i] = before;
		}
		floats_free(x);
	}
}

/* ---- attention ---- */

typedef struct AttentionCase
{
	int			n_head;
	int			n_kv_head;
	int			d_head;
	bool		causal;
	int			window;
	bool		bias;
} AttentionCase;

static const AttentionCase attention_cases[] = {
	{2, 2, 32, false, 0, false},
	{2, 2, 64, false, 0, false},
	{2, 2, 32, true, 0, false},
	{4, 2, 16, false, 0, true},
	{6, 2, 24, true, 5, true},
	{2, 1, 40, false, 70, false},
	{1, 1, 1, false, 0, true},
	{1, 1, 3, true, 1, false},
	{1, 1, 128, true, 100, false},
	{1, 1, 256, false, 0, false},
	{1, 1, 33, false, 3, true},
};

static const int32_t sequence_lengths[] = {1, 2, 5, 12, 16, 17, 31, 32, 33, 47, 63, 64, 65, 100, 128, 129, 200};

/* All sequences of the list as one batch. */
static TeAttention
attention_make(const AttentionCase *c, const int32_t *lengths, int n_seq, int32_t **starts)
{
	TeAttention at = {.n_head = c->n_head,.n_kv_head = c->n_kv_head,.d_head = c->d_head,.causal = c->causal,.window = c->window};
	size_t		n_tok = 0;

	*starts = malloc((size_t) (n_seq + 1) * sizeof(int32_t));
	for (int i = 0; i < n_seq; i++)
	{
		(*starts)[i] = (int32_t) n_tok;
		n_tok += (size_t) lengths[i];
	}
	(*starts)[n_seq] = (int32_t) n_tok;
	at.n_seq = n_seq;
	at.seq_start = *starts;
	at.scale = 1.0f / sqrtf((float) c->d_head);
	at.ld_q = (size_t) (c->n_head * c->d_head) + 5;
	at.ld_k = (size_t) (c->n_kv_head * c->d_head);
	at.ld_v = (size_t) (c->n_kv_head * c->d_head) + 1;
	at.ld_out = (size_t) (c->n_head * c->d_head) + 2;
	at.q = floats(n_tok * at.ld_q, 3);
	at.k = floats(n_tok * at.ld_k, 3);
	at.v = floats(n_tok * at.ld_v, 1);
	at.out = floats(n_tok * at.ld_out, 0);
	at.bias_span = 200;
	at.bias = c->bias ? floats((size_t) c->n_head * (2 * 200 - 1), 4) : NULL;
	at.scratch_stride = te_attention_scratch(&at);
	at.scratch = floats(at.scratch_stride * (size_t) te_workers(), 1);
	return at;
}

static void
attention_free(TeAttention *at, int32_t *starts)
{
	floats_free((float *) at->q);
	floats_free((float *) at->k);
	floats_free((float *) at->v);
	floats_free(at->out);
	if (at->bias != NULL)
		floats_free((float *) at->bias);
	floats_free(at->scratch);
	free(starts);
}

/* Bits of the rows [t0, t1) of the result, for comparing runs. */
static uint64_t
rows_hash(const TeAttention *at, int32_t t0, int32_t t1)
{
	uint64_t	hash = 0;

	for (int32_t t = t0; t < t1; t++)
		hash = hash * 31 + te_hash(at->out + (size_t) t * at->ld_out, (size_t) (at->n_head * at->d_head) * sizeof(float));
	return hash;
}

static void
check_attention(double error)
{
	for (size_t i = 0; i < LENGTH(attention_cases); i++)
	{
		int32_t    *starts;
		TeAttention at = attention_make(&attention_cases[i], sequence_lengths, LENGTH(sequence_lengths), &starts);
		size_t		n = (size_t) starts[at.n_seq] * at.ld_out;
		float	   *expected = floats(n, 0);
		float	   *actual = at.out;

		te_parallel_for(te_attention_tasks(&at), te_attention_task, &at);
		at.out = expected;
		for (int s = 0; s < at.n_seq; s++)
		{
			for (int head = 0; head < at.n_head; head++)
				te_kernel_ref.attention(&at, head, starts[s], starts[s + 1], starts[s], starts[s + 1], NULL);
		}
		check_all("attention", i, actual, expected, n, error);
		at.out = actual;
		floats_free(expected);
		attention_free(&at, starts);
	}
}

/* ---- packed weights ---- */

/* A weight of random blocks, made from floats where the type can be; n_in a multiple of its block. */
static void *
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

static void
check_unpack(TeDtype dtype, size_t member, double error)
{
	const int64_t n_in = 96;
	void	   *rows = weight_rows(dtype, TE_PANEL, n_in);
	char	   *packed = malloc(te_pack_bytes(dtype, TE_PANEL, n_in));
	float	   *actual = floats(TE_PANEL * (size_t) n_in, 0);
	float	   *expected = floats(TE_PANEL * (size_t) n_in, 0);
	void		(*kernel) (const void *, size_t, size_t, float *);
	void		(*ref) (const void *, size_t, size_t, float *);

	memcpy(&kernel, (const char *) &te_kernel + member, sizeof(kernel));
	memcpy(&ref, (const char *) &te_kernel_ref + member, sizeof(ref));
	te_pack_rows(dtype, TE_PANEL, n_in, 0, TE_PANEL, rows, packed);
	for (size_t k0 = 0; k0 < 96; k0 += 32)
	{
		kernel(packed, k0, 96, actual);
		ref(packed, k0, 96, expected);
		check_all(te_dtypes[dtype].name, k0, actual, expected, (96 - k0) * TE_PANEL, error);
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

/* ---- all rows ---- */

typedef struct Checker
{
	const char *name;
	void		(*check) (double error);
} Checker;

static const Checker checkers[] = {
#define TE_KERNEL_TYPE(name, ret, args) {#name, check_##name},
#include "kernels/kernel_types.def"
#undef TE_KERNEL_TYPE
};

/* Run `body` once for each instruction set of this CPU; "auto" afterwards. */
static const char *isas[8];

static size_t
isa_count(void)
{
	return te_isa_list(isas, LENGTH(isas));
}

TEST(isa_selection)
{
	CHECK(!te_isa_select("sse1"));
	CHECK(te_isa_select("ref"));
	CHECK(strcmp(te_isa_name(), "ref") == 0);
	CHECK(memcmp(&te_kernel, &te_kernel_ref, sizeof(te_kernel)) == 0);
	CHECK(isa_count() >= 1);
	CHECK(te_isa_select("auto"));
	CHECK(strcmp(te_isa_name(), isas[isa_count() - 1]) == 0);
	fprintf(stderr, "  instruction set: %s\n", te_isa_name());
}

TEST(kernels_against_ref)
{
	size_t		n_isas = isa_count();

	for (size_t i = 0; i < n_isas; i++)
	{
		CHECK(te_isa_select(isas[i]));
		for (size_t r = 0; r < te_n_kernel_rows; r++)
		{
			if (strcmp(te_kernel_rows[r].isa, isas[i]) != 0)
				continue;
			for (size_t c = 0; c < LENGTH(checkers); c++)
			{
				if (strcmp(checkers[c].name, te_kernel_rows[r].name) == 0)
					checkers[c].check(te_kernel_rows[r].max_error);
			}
		}
	}
	te_isa_select("auto");
}

TEST(activation_names)
{
	CHECK(te_activation_by_name(TE_STR("gelu")) == TE_ACT_GELU);
	CHECK(te_activation_by_name(TE_STR("gelu_pytorch_tanh")) == TE_ACT_GELU_TANH);
	CHECK(te_activation_by_name(TE_STR("swish")) == TE_ACT_SILU);
	CHECK(te_activation_by_name(TE_STR("gel")) == TE_N_ACTIVATIONS);
	for (int i = 0; i < TE_N_ACTIVATIONS; i++)
		CHECK((int) te_activation_by_name(te_str(te_activation_name((TeActivation) i))) == i);
}

TEST(activation_values_and_derivatives)
{
	CHECK_NEAR(te_activation_value(TE_ACT_GELU, 1.0f), 0.8413447461, 1e-7);
	CHECK_NEAR(te_activation_value(TE_ACT_GELU_TANH, 1.0f), 0.8411919906, 1e-7);
	CHECK_NEAR(te_activation_value(TE_ACT_SILU, -2.0f), -0.2384058440, 1e-7);
	CHECK_NEAR(te_activation_value(TE_ACT_QUICK_GELU, 1.0f), 0.8457957660, 1e-7);
	for (int i = 0; i < TE_N_ACTIVATIONS; i++)
	{
		for (float x = -4.05f; x < 4.0f; x += 0.1f)
		{
			float		h = 0.01f;
			double		slope = ((double) te_activation_value((TeActivation) i, x + h) -
								 te_activation_value((TeActivation) i, x - h)) / ((double) (x + h) - (x - h));

			CHECK_NEAR(te_activation_derivative((TeActivation) i, x), slope, 1e-4);
		}
	}
}

/* gelu over its whole range against the error function in double. */
TEST(gelu_is_exact)
{
	size_t		n_isas = isa_count();

	for (size_t i = 0; i < n_isas; i++)
	{
		double		worst = 0;

		te_isa_select(isas[i]);
		for (double x = -12; x < 12; x += 1.0 / 4096)
		{
			float		in = (float) x;
			float		out;

			te_kernel.activate(TE_ACT_GELU, 1, &in, &out);
			worst = fmax(worst, fabs(out - 0.5 * in * erfc(-in * M_SQRT1_2)) / fmax(1, fabs(in)));
		}
		CHECK_NEAR(worst, 0, 2e-7);
	}
	te_isa_select("auto");
}

TEST(attention_ref_against_naive_loop)
{
	for (size_t i = 0; i < LENGTH(attention_cases); i++)
	{
		const AttentionCase *c = &attention_cases[i];
		int32_t		length = 70;
		int32_t    *starts;
		TeAttention at = attention_make(c, &length, 1, &starts);
		int			worst = 0;

		for (int head = 0; head < c->n_head; head++)
			te_kernel_ref.attention(&at, head, 0, length, 0, length, NULL);
		for (int t = 0; t < length; t++)
		{
			for (int head = 0; head < c->n_head; head++)
			{
				int			kv = head * c->n_kv_head / c->n_head;
				double		weights[70];
				double		total = 0;

				for (int s = 0; s < length; s++)
				{
					double		score = 0;

					for (int d = 0; d < c->d_head; d++)
						score += (double) at.q[(size_t) t * at.ld_q + (size_t) (head * c->d_head + d)] *
							at.k[(size_t) s * at.ld_k + (size_t) (kv * c->d_head + d)];
					score *= at.scale;
					if (c->bias)
						score += at.bias[head * 399 + s - t + 199];
					weights[s] = exp(score);
					if ((c->causal && s > t) || (c->window > 0 && abs(s - t) > c->window))
						weights[s] = 0;
					total += weights[s];
				}
				for (int d = 0; d < c->d_head; d++)
				{
					double		sum = 0;

					for (int s = 0; s < length; s++)
						sum += weights[s] / total * at.v[(size_t) s * at.ld_v + (size_t) (kv * c->d_head + d)];
					if (fabs(sum - at.out[(size_t) t * at.ld_out + (size_t) (head * c->d_head + d)]) > 1e-6)
						worst++;
				}
			}
		}
		CHECK(worst == 0);
		attention_free(&at, starts);
	}
}

/* A sequence gives the same bits alone as in a batch. */
TEST(attention_does_not_depend_on_the_batch)
{
	size_t		n_isas = isa_count();

	for (size_t i = 0; i < n_isas; i++)
	{
		te_isa_select(isas[i]);
		for (size_t c = 0; c < LENGTH(attention_cases); c++)
		{
			int32_t    *starts;
			TeAttention at = attention_make(&attention_cases[c], sequence_lengths, LENGTH(sequence_lengths), &starts);

			te_parallel_for(te_attention_tasks(&at), te_attention_task, &at);
			for (int s = 0; s < at.n_seq; s++)
			{
				uint64_t	in_batch = rows_hash(&at, starts[s], starts[s + 1]);
				TeAttention alone = at;

				alone.n_seq = 1;
				alone.seq_start = starts + s;
				for (size_t task = 0; task < te_attention_tasks(&alone); task++)
					te_attention_task(&alone, task, 0);
				CHECK(rows_hash(&at, starts[s], starts[s + 1]) == in_batch);
			}
			attention_free(&at, starts);
		}
	}
	te_isa_select("auto");
}

/* ---- weights and linear ---- */

TEST(pack_round_trip_of_every_type)
{
	for (int dtype = 0; dtype < TE_N_DTYPES; dtype++)
	{
		static const int64_t outs[] = {1, 63, 64, 65, 130};

		for (size_t o = 0; te_dtypes[dtype].to_float != NULL && o < LENGTH(outs); o++)
		{
			int64_t		n_in = te_dtypes[dtype].block_elements == 1 ? 37 : 2 * te_dtypes[dtype].block_elements;
			int64_t		n_out = outs[o];
			size_t		bytes = te_row_bytes((TeDtype) dtype, n_in);
			char	   *rows = weight_rows((TeDtype) dtype, n_out, n_in);
			char	   *packed = aligned_alloc(64, TE_ALIGN(te_pack_bytes((TeDtype) dtype, n_out, n_in), 64));
			float	   *actual = floats((size_t) n_in, 0);
			float	   *expected = floats((size_t) n_in, 0);
			TeWeight	weight = {.dtype = (TeDtype) dtype,.layout = te_pack_layout((TeDtype) dtype, n_in),.n_out = n_out,.n_in = n_in,.data = packed};

			for (int64_t r = 0; r < n_out; r += TE_PANEL)
				te_pack_rows((TeDtype) dtype, n_out, n_in, r, TE_MIN(n_out - r, TE_PANEL), rows + (size_t) r * bytes, packed);
			for (int64_t r = 0; r < n_out; r++)
			{
				te_weight_row(&weight, r, actual);
				te_dtypes[dtype].to_float(rows + (size_t) r * bytes, expected, (size_t) n_in);
				check_all(te_dtypes[dtype].name, (size_t) r, actual, expected, (size_t) n_in, 0);
			}
			free(rows);
			free(packed);
			floats_free(actual);
			floats_free(expected);
		}
	}
}

typedef struct LinearCase
{
	TeDtype		dtype;
	TeLayout	layout;
	size_t		n_tok;
	int64_t		n_out[2];		/* second 0: one part */
	int64_t		n_in;
} LinearCase;

/* A weight and its rows as floats. */
typedef struct LinearWeight
{
	TeWeight	weight;
	float	   *rows;
	float	   *bias;
} LinearWeight;

static LinearWeight
linear_weight(const LinearCase *c, int64_t n_out)
{
	LinearWeight w = {.weight = {.dtype = c->dtype,.layout = c->layout,.n_out = n_out,.n_in = c->n_in}};
	size_t		bytes = te_row_bytes(c->dtype, c->n_in);
	char	   *rows = weight_rows(c->dtype, n_out, c->n_in);

	w.rows = floats((size_t) (n_out * c->n_in), 0);
	w.bias = floats((size_t) n_out, 1);
	for (int64_t r = 0; r < n_out; r++)
		te_dtypes[c->dtype].to_float(rows + (size_t) r * bytes, w.rows + r * c->n_in, (size_t) c->n_in);
	w.weight.data = rows;
	if (c->layout == TE_PANELS)
	{
		void	   *packed = aligned_alloc(64, TE_ALIGN(te_pack_bytes(c->dtype, n_out, c->n_in), 64));

		te_pack_rows(c->dtype, n_out, c->n_in, 0, n_out, rows, packed);
		free(rows);
		w.weight.data = packed;
	}
	return w;
}

static void
linear_weight_free(LinearWeight *w)
{
	free((void *) w->weight.data);
	floats_free(w->rows);
	floats_free(w->bias);
}

/* Scratch for any number of workers, aligned as linear wants it. */
static void
linear_scratch(TeLinear *linear)
{
	linear->scratch_stride = TE_ALIGN(te_linear_scratch(linear), 16);
	linear->scratch = aligned_alloc(64, linear->scratch_stride * (size_t) te_workers() * sizeof(float));
}

/* One element of y by its definition, with its tolerance. */
static double
linear_expected(const TeLinear *l, const LinearWeight *w, size_t t, int64_t o, size_t column, double *size)
{
	double		sum = w->bias[o];

	*size = 1;
	for (int64_t i = 0; i < w->weight.n_in; i++)
	{
		double		term = (double) l->x[t * l->ld_x + (size_t) i] * w->rows[o * w->weight.n_in + i];

		sum += term;
		*size += fabs(term);
	}
	sum = te_activation_value(l->activation, (float) sum);
	return l->residual != NULL ? sum + l->residual[t * l->ld_y + column] : sum;
}

static void
check_linear(const LinearCase *c, TeActivation activation, bool residual)
{
	LinearWeight w[2];
	TeLinear	l = {.n_parts = c->n_out[1] > 0 ? 2 : 1,.n_tok = c->n_tok,.ld_x = (size_t) c->n_in + 1,.activation = activation};
	size_t		column = 0;
	int			wrong = 0;

	for (int p = 0; p < l.n_parts; p++)
	{
		w[p] = linear_weight(c, c->n_out[p]);
		l.weight[p] = &w[p].weight;
		l.bias[p] = w[p].bias;
		l.ld_y += (size_t) c->n_out[p];
	}
	l.x = floats(l.n_tok * l.ld_x, 1);
	l.y = floats(l.n_tok * l.ld_y, 1);
	l.residual = residual ? floats(l.n_tok * l.ld_y, 1) : NULL;
	linear_scratch(&l);
	te_parallel_for(te_linear_prepare(&l), te_linear_task, &l);
	for (int p = 0; p < l.n_parts; p++)
	{
		for (int64_t o = 0; o < c->n_out[p]; o++, column++)
		{
			for (size_t t = 0; t < l.n_tok; t++)
			{
				double		size;
				double		expected = linear_expected(&l, &w[p], t, o, column, &size);

				wrong += !near(l.y[t * l.ld_y + column], (float) expected, 1e-6 * size);
			}
		}
		linear_weight_free(&w[p]);
	}
	if (!CHECK(wrong == 0))
		fprintf(stderr, "  %s linear %s layout %d tokens %zu: %d wrong\n", te_isa_name(), te_dtypes[c->dtype].name, c->layout, c->n_tok, wrong);
	floats_free((float *) l.x);
	floats_free(l.y);
	if (residual)
		floats_free((float *) l.residual);
	free(l.scratch);
}

TEST(linear_over_every_type_and_layout)
{
	static const size_t tokens[] = {0, 1, 7, 12, 100};
	size_t		n_isas = isa_count();

	for (size_t i = 0; i < n_isas; i++)
	{
		te_isa_select(isas[i]);
		for (int dtype = 0; dtype < TE_N_DTYPES; dtype++)
		{
			for (size_t t = 0; te_dtypes[dtype].to_float != NULL && t < LENGTH(tokens); t++)
			{
				int64_t		n_in = te_dtypes[dtype].block_elements == 1 ? 37 : te_dtypes[dtype].block_elements * 3;
				LinearCase	c = {(TeDtype) dtype, TE_ROWS, tokens[t], {70, 64}, n_in};

				check_linear(&c, TE_ACT_GELU, true);
				c.layout = te_pack_layout((TeDtype) dtype, n_in);
				c.n_out[1] = 0;
				check_linear(&c, TE_ACT_NONE, t % 2 == 0);
			}
		}
	}
	te_isa_select("auto");
}

/* One task after the other on worker `worker`. */
static void
linear_run(TeLinear *l, int worker)
{
	size_t		n = te_linear_prepare(l);

	for (size_t i = 0; i < n; i++)
		te_linear_task(l, i, worker);
}

TEST(linear_rows_do_not_depend_on_the_batch)
{
	size_t		n_isas = isa_count();
	static const TeDtype dtypes[] = {TE_F32, TE_F16, TE_Q8_0, TE_Q4_K};

	for (size_t i = 0; i < n_isas * LENGTH(dtypes); i++)
	{
		LinearCase	c = {dtypes[i / n_isas], TE_ROWS, 301, {100, 0}, 512};
		LinearWeight w;
		TeLinear	l = {.n_parts = 1,.n_tok = 301,.ld_x = 512,.ld_y = 100,.activation = TE_ACT_GELU};
		float	   *y;
		float	   *alone = floats(100, 0);
		int			different = 0;

		te_isa_select(isas[i % n_isas]);
		c.layout = te_pack_layout(c.dtype, c.n_in);
		w = linear_weight(&c, 100);
		l.weight[0] = &w.weight;
		l.bias[0] = w.bias;
		l.x = floats(301 * 512, 1);
		y = l.y = floats(301 * 100, 0);
		linear_scratch(&l);
		te_parallel_for(te_linear_prepare(&l), te_linear_task, &l);
		for (size_t t = 0; t < 301; t += 10)
		{
			TeLinear	one = l;

			one.n_tok = 1;
			one.x = l.x + t * 512;
			one.y = alone;
			linear_run(&one, 0);
			different += memcmp(alone, y + t * 100, 100 * sizeof(float)) != 0;
		}
		CHECK(different == 0);
		linear_weight_free(&w);
		floats_free((float *) l.x);
		floats_free(y);
		floats_free(alone);
		free(l.scratch);
	}
	te_isa_select("auto");
}

/* ---- matmul ---- */

static void
check_matmul(size_t m, size_t n, size_t k, int kind, const TeBlas *blas)
{
	TeMatmul	mm = {.m = m,.n = n,.k = k,.trans_a = kind & 1,.trans_b = kind & 2,.add = kind & 4,.blas = blas};
	float	   *c;
	float	   *before;
	int			wrong = 0;

	mm.ld_a = (mm.trans_a ? m : k) + 1;
	mm.ld_b = (mm.trans_b ? k : n) + 2;
	mm.ld_c = n + 3;
	mm.a = floats(m * k + m + k, 1);
	mm.b = floats(n * k + 2 * n + 2 * k, 1);
	mm.c = c = floats(m * mm.ld_c, 1);
	before = copy_of(c, m * mm.ld_c);
	te_parallel_for(te_matmul_prepare(&mm), te_matmul_task, &mm);
	for (size_t i = 0; i < m; i++)
	{
		for (size_t j = 0; j < mm.ld_c; j++)
		{
			double		sum = mm.add || j >= n ? before[i * mm.ld_c + j] : 0;

			for (size_t x = 0; j < n && x < k; x++)
				sum += (double) mm.a[mm.trans_a ? x * mm.ld_a + i : i * mm.ld_a + x] * mm.b[mm.trans_b ? j * mm.ld_b + x : x * mm.ld_b + j];
			wrong += !near(c[i * mm.ld_c + j], (float) sum, 1e-6 * (double) (k + 1));
		}
	}
	if (!CHECK(wrong == 0))
		fprintf(stderr, "  matmul %zu %zu %zu kind %d %s: %d wrong\n", m, n, k, kind, blas != NULL ? blas->name : "own", wrong);
	floats_free((float *) mm.a);
	floats_free((float *) mm.b);
	floats_free(c);
	floats_free(before);
}

TEST(matmul_with_and_without_blas)
{
	static const size_t shapes[][3] = {{1, 1, 1}, {5, 7, 3}, {64, 64, 64}, {130, 70, 65}, {3, 300, 129}, {0, 5, 5}, {300, 64, 520}};

	for (size_t i = 0; i < LENGTH(shapes); i++)
	{
		for (int kind = 0; kind < 8; kind++)
		{
			check_matmul(shapes[i][0], shapes[i][1], shapes[i][2], kind, NULL);
			if (te_host_blas() != NULL)
				check_matmul(shapes[i][0], shapes[i][1], shapes[i][2], kind, te_host_blas());
		}
	}
}

TEST_MAIN()
