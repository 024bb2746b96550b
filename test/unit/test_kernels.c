/*-------------------------------------------------------------------------
 * test_kernels.c
 *	  Every row of kernels.def against ref; attention and activations against their definitions.
 *
 * A checker per member of the dispatch table runs a kernel and its reference
 * over sizes 0..67 and some larger odd ones.  The tolerance of a row is
 * relative to the largest magnitude that the reference gave.
 *-------------------------------------------------------------------------
 */
#include "base/quant.h"
#include "kernel_check.h"

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

/* `rows` rows of k floats into a panel, or k rows of as many. */
static void
check_pack(bool columns, double error)
{
	for (size_t rows = 1; rows <= TE_PANEL; rows += 7)
	{
		for (size_t k = 1; k < 70; k += 5)
		{
			size_t		ld = (columns ? rows : k) + 3;
			float	   *a = floats((columns ? k : rows) * ld - 3, 1);
			float	   *actual = floats(k * TE_PANEL, 1);
			float	   *expected = floats(k * TE_PANEL, 1);

			if (columns)
			{
				te_kernel.pack_columns(k, rows, a, ld, actual);
				te_kernel_ref.pack_columns(k, rows, a, ld, expected);
			}
			else
			{
				te_kernel.pack_panel(rows, k, a, ld, actual);
				te_kernel_ref.pack_panel(rows, k, a, ld, expected);
			}
			check_all(columns ? "pack_columns" : "pack_panel", rows * 1000 + k, actual, expected, k * TE_PANEL, error);
			floats_free(a);
			floats_free(actual);
			floats_free(expected);
		}
	}
}

static void
check_pack_panel(double error)
{
	check_pack(false, error);
}

static void
check_pack_columns(double error)
{
	check_pack(true, error);
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

#include "kernel_check_rows.h"

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
			check_within("activate_backward", n, actual, expected, n, error * fmax(1, magnitude(expected, n)));
			floats_free(x);
			floats_free(d_y);
			floats_free(actual);
			floats_free(expected);
		}
	}
}

static void
check_gate(double error)
{
	for (int activation = 0; activation < TE_N_ACTIVATIONS; activation++)
	{
		for (size_t s = 0; s < LENGTH(sizes); s++)
		{
			size_t		n = sizes[s];
			float	   *x = floats(3 * 2 * n, 8);
			float	   *actual = floats(3 * n, 1);
			float	   *expected = floats(3 * n, 1);

			te_kernel.gate((TeActivation) activation, 3, n, x, actual);
			te_kernel_ref.gate((TeActivation) activation, 3, n, x, expected);
			check_within("gate", n, actual, expected, 3 * n, error * fmax(8, magnitude(expected, 3 * n)));
			floats_free(x);
			floats_free(actual);
			floats_free(expected);
		}
	}
}

/* Three heads of n_rot columns and two more. */
static void
check_rope(double error)
{
	for (size_t n_rot = 2; n_rot < 140; n_rot += 2)
	{
		for (int kind = 0; kind < 4; kind++)
		{
			size_t		n = 3 * (n_rot + 2);
			float	   *table = floats(2 * n_rot, 1);
			float	   *actual = floats(n, 3);
			float	   *expected = copy_of(actual, n);

			te_kernel.rope(3, n_rot + 2, n_rot, kind & 1, kind & 2 ? 1.0f : -1.0f, table, actual);
			te_kernel_ref.rope(3, n_rot + 2, n_rot, kind & 1, kind & 2 ? 1.0f : -1.0f, table, expected);
			check_all("rope", n_rot, actual, expected, n, error);
			floats_free(table);
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

#include "kernel_check_attention.h"
#include "kernel_check_panels.h"
#include "kernel_check_bf16.h"

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

/* The product of a token's row with the row of a distance. */
static double
reach_of(const TeAttention *at, const float *panels, int head, const float *row, int distance)
{
	int			number = distance + 4 * TE_PANEL;
	double		sum = 0;

	for (int d = 0; panels != NULL && d < at->d_head; d++)
		sum += (double) row[head * at->d_head + d] *
			panels[((head * 8 + number / TE_PANEL) * at->d_head + d) * TE_PANEL + number % TE_PANEL];
	return sum;
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
					score += reach_of(&at, at.relative_keys, head, at.q + (size_t) t * at.ld_q, t - s);
					score += reach_of(&at, at.relative_queries, head, at.k + (size_t) s * at.ld_k, t - s);
					score *= at.scale;
					if (c->softcap > 0)
						score = c->softcap * tanh(score / c->softcap);
					if (c->bias)
						score += at.bias[head * 399 + s - t + 199];
					if (c->slopes)
						score += attention_slopes[head] * (s - t);
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

/* What no query of a block sees is not read: not a number there would show. */
TEST(attention_skips_keys_outside_of_the_window)
{
	const int32_t length = 1000;
	const AttentionCase c = {1, 1, 32, false, 64, false};
	size_t		n_isas = isa_count();

	for (size_t i = 0; i < n_isas; i++)
	{
		int32_t    *starts;
		TeAttention at = attention_make(&c, &length, 1, &starts);
		int			bad = 0;

		te_isa_select(isas[i]);
		if (strcmp(isas[i], "ref") == 0)
		{
			attention_free(&at, starts);
			continue;
		}
		for (int32_t t = 0; t < length; t++)
		{
			for (int d = 0; (t < 320 - 64 || t > 383 + 64) && d < 32; d++)
			{
				((float *) at.k)[(size_t) t * at.ld_k + (size_t) d] = NAN;
				((float *) at.v)[(size_t) t * at.ld_v + (size_t) d] = NAN;
			}
		}
		te_kernel.attention(&at, 0, 0, length, 320, 384, at.scratch);
		for (int32_t t = 320; t < 384; t++)
		{
			for (int d = 0; d < 32; d++)
				bad += !isfinite(at.out[(size_t) t * at.ld_out + (size_t) d]);
		}
		CHECK(bad == 0);
		attention_free(&at, starts);
	}
	te_isa_select("auto");
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

TEST_MAIN()
