/*-------------------------------------------------------------------------
 * test_linear.c
 *	  Packed weights, linear over every type and layout, matmul: against naive
 *	  loops in double; and that a row does not depend on its batch.
 *-------------------------------------------------------------------------
 */
#include "base/quant.h"
#include "kernel_check.h"

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

/* Scratch for any number of workers and room for x as bytes, aligned as linear wants them. */
static void
linear_scratch(TeLinear *linear)
{
	linear->bytes = aligned_alloc(64, TE_ALIGN(te_linear_bytes(linear) * sizeof(float), 64));
	linear->scratch_stride = TE_ALIGN(te_linear_scratch(linear), 16);
	linear->scratch = aligned_alloc(64, linear->scratch_stride * (size_t) te_workers() * sizeof(float));
}

static void
linear_free_scratch(TeLinear *linear)
{
	free(linear->scratch);
	free(linear->bytes);
}

static void
linear_run_parallel(TeLinear *linear)
{
	size_t		n_tasks = te_linear_prepare(linear);

	te_parallel_for(linear->n_quantize, te_linear_quantize_task, linear);
	te_parallel_for(n_tasks, te_linear_task, linear);
}

/* 32 elements rounded to multiples of the largest magnitude / 127, what is left to 1/128 of that where `low` */
static void
round_block(float *x, bool low)
{
	float		most = 0;

	for (size_t i = 0; i < 32; i++)
		most = fmaxf(most, fabsf(x[i]));
	for (size_t i = 0; i < 32; i++)
	{
		float		level = (float) nearbyint((double) x[i] * (127 / most));

		CHECK(fabsf(level) <= 127);
		if (low)
			level += nearbyintf((float) ((double) x[i] * (127 / most) - level) * 128) / 128;
		x[i] = level * (most / 127);
	}
}

/* x as linear sees it: rounded to bf16 or, for types with products of bytes, to bytes, on the other side of a rotation for some. */
static float *
rounded(const TeLinear *l)
{
	float	   *x = copy_of(l->x, l->n_tok * l->ld_x);
	size_t		n = (size_t) l->weight[0]->n_in;
	size_t		block = te_dtypes[l->weight[0]->dtype].rotated ? te_rotation(n) : 1;

	if (l->x_bf16 != NULL)
	{
		te_kernel_ref.round_floats_bf16(l->n_tok * l->ld_x, x, x);
		return x;
	}
	for (size_t t = 0; l->n_quantize > 0 && te_dtypes[l->weight[0]->dtype].block_elements > 1 && t < l->n_tok; t++)
	{
		for (size_t i = 0; i < n; i += 32)
			round_block(x + t * l->ld_x + i, l->x_bytes.low != NULL);
	}
	if (te_dtypes[l->weight[0]->dtype].block_elements > 1)
		return x;
	for (size_t t = 0; l->n_quantize > 0 && t < l->n_tok; t++)
	{
		float	   *row = x + t * l->ld_x;
		float		least = 0;
		float		most = 0;
		float		zero;

		te_rotate(n, block, row, row);
		for (size_t i = 0; i < n; i++)
		{
			least = fminf(least, row[i]);
			most = fmaxf(most, row[i]);
		}
		zero = -nearbyintf((most / 2 + least / 2) * (252 / (most - least)));
		for (size_t i = 0; i < n; i++)
		{
			float		level = (float) nearbyint((double) row[i] * (252 / (most - least)) + zero);

			CHECK(fabsf(level) <= 127);
			row[i] = (level - zero) * ((most - least) / 252);
		}
		te_rotate(n, block, row, row);
	}
	return x;
}

/* One element of y by its definition, with its tolerance; x: [n_tok, ld_x]. */
static double
linear_expected(const TeLinear *l, const float *x, const LinearWeight *w, size_t t, int64_t o, size_t column, double *size)
{
	double		sum = w->bias[o];

	*size = 1;
	for (int64_t i = 0; i < w->weight.n_in; i++)
	{
		double		term = (double) x[t * l->ld_x + (size_t) i] * w->rows[o * w->weight.n_in + i];

		sum += term;
		*size += fabs(term);
	}
	sum = te_activation_value(l->activation, (float) sum);
	return l->residual != NULL ? sum + l->residual[t * l->ld_y + column] : sum;
}

static void
check_linear(const LinearCase *c, TeActivation activation, bool residual, bool exact, bool coarse)
{
	LinearWeight w[2];
	TeLinear	l = {.n_parts = c->n_out[1] > 0 ? 2 : 1,.n_tok = c->n_tok,.ld_x = (size_t) c->n_in + 1,.activation = activation,.exact = exact,.coarse = coarse};
	float	   *x;
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
	linear_run_parallel(&l);
	CHECK(l.n_quantize == 0 || !exact);
	CHECK(l.x_bytes.low == NULL || !coarse);
	CHECK((l.x_bf16 != NULL) == (c->dtype == TE_BF16 && c->layout == TE_PANELS && !exact && te_has_bf16()));
	x = rounded(&l);
	for (int p = 0; p < l.n_parts; p++)
	{
		for (int64_t o = 0; o < c->n_out[p]; o++, column++)
		{
			for (size_t t = 0; t < l.n_tok; t++)
			{
				double		size;
				double		expected = linear_expected(&l, x, &w[p], t, o, column, &size);

				wrong += !near(l.y[t * l.ld_y + column], (float) expected, (l.n_quantize > 0 ? 3e-6 : 1e-6) * size);
			}
		}
		linear_weight_free(&w[p]);
	}
	if (!CHECK(wrong == 0))
		fprintf(stderr, "  %s linear %s layout %d tokens %zu: %d wrong\n", te_isa_name(), te_dtypes[c->dtype].name, c->layout, c->n_tok, wrong);
	floats_free((float *) l.x);
	floats_free(l.y);
	floats_free(x);
	if (residual)
		floats_free((float *) l.residual);
	linear_free_scratch(&l);
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

				check_linear(&c, TE_ACT_GELU, true, false, false);
				c.layout = te_pack_layout((TeDtype) dtype, n_in);
				check_linear(&c, TE_ACT_GELU, true, false, false);
				c.n_out[1] = 0;
				check_linear(&c, TE_ACT_NONE, t % 2 == 0, true, false);
				check_linear(&c, TE_ACT_NONE, t % 2 == 0, false, true);
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

	for (size_t i = 0; i < l->n_quantize; i++)
		te_linear_quantize_task(l, i, worker);
	for (size_t i = 0; i < n; i++)
		te_linear_task(l, i, worker);
}

TEST(linear_rows_do_not_depend_on_the_batch)
{
	size_t		n_isas = isa_count();
	static const TeDtype dtypes[] = {TE_F32, TE_F16, TE_BF16, TE_Q8_0, TE_Q4_0, TE_INT8, TE_Q4_K, TE_Q5_1, TE_Q6_K, TE_Q3_K};

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
		linear_run_parallel(&l);
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
		linear_free_scratch(&l);
	}
	te_isa_select("auto");
}

/* ---- matmul ---- */

/* kind: bits of trans_a, trans_b, add, bf16 */
static void
check_matmul(size_t m, size_t n, size_t k, int kind)
{
	TeMatmul	mm = {.m = m,.n = n,.k = k,.trans_a = kind & 1,.trans_b = kind & 2,.add = kind & 4,.bf16 = kind & 8};
	size_t		n_a = m * k + m + k;
	size_t		n_b = n * k + 2 * n + 2 * k;
	float	   *a = floats(n_a, 1);
	float	   *b = floats(n_b, 1);
	float	   *c;
	float	   *before;
	int			wrong = 0;

	mm.ld_a = (mm.trans_a ? m : k) + 1;
	mm.ld_b = (mm.trans_b ? k : n) + 2;
	mm.ld_c = n + 3;
	mm.a = copy_of(a, n_a);
	mm.b = copy_of(b, n_b);
	mm.c = c = floats(m * mm.ld_c, 1);
	before = copy_of(c, m * mm.ld_c);
	te_parallel_for(te_matmul_prepare(&mm), te_matmul_task, &mm);
	if (mm.bf16)
	{
		te_kernel_ref.round_floats_bf16(n_a, a, a);
		te_kernel_ref.round_floats_bf16(n_b, b, b);
	}
	for (size_t i = 0; i < m; i++)
	{
		for (size_t j = 0; j < mm.ld_c; j++)
		{
			double		sum = mm.add || j >= n ? before[i * mm.ld_c + j] : 0;

			for (size_t x = 0; j < n && x < k; x++)
				sum += (double) a[mm.trans_a ? x * mm.ld_a + i : i * mm.ld_a + x] * b[mm.trans_b ? j * mm.ld_b + x : x * mm.ld_b + j];
			wrong += !near(c[i * mm.ld_c + j], (float) sum, 1e-6 * (double) (k + 1));
		}
	}
	if (!CHECK(wrong == 0))
		fprintf(stderr, "  %s matmul %zu %zu %zu kind %d: %d wrong\n", te_isa_name(), m, n, k, kind, wrong);
	floats_free((float *) mm.a);
	floats_free((float *) mm.b);
	floats_free(a);
	floats_free(b);
	floats_free(c);
	floats_free(before);
}

TEST(matmul_of_every_kind_and_shape)
{
	/* the last ones: several pieces of k, narrow, several blocks */
	static const size_t shapes[][3] = {{1, 1, 1}, {5, 7, 3}, {64, 64, 64}, {130, 70, 65}, {3, 300, 129}, {0, 5, 5}, {5, 70, 0},
	{70, 65, 1040}, {100, 8, 37}, {8, 100, 520}, {401, 2, 7}, {390, 450, 9}};
	size_t		n_isas = isa_count();

	for (size_t i = 0; i < n_isas * LENGTH(shapes); i++)
	{
		const size_t *shape = shapes[i / n_isas];

		te_isa_select(isas[i % n_isas]);
		for (int kind = 0; kind < 16; kind++)
			check_matmul(shape[0], shape[1], shape[2], kind);
	}
	te_isa_select("auto");
}

/* Each element is one chain over k, so a matrix of fewer rows, cut otherwise, has the same ones. */
TEST(matmul_does_not_depend_on_its_cut)
{
	for (int kind = 0; kind < 16; kind++)
	{
		TeMatmul	mm = {.m = 300,.n = 200,.k = 700,.trans_a = kind & 1,.trans_b = kind & 2,.add = kind & 4,.bf16 = kind & 8,.ld_c = 200};
		TeMatmul	part;
		float	   *c = floats(300 * 200, 1);
		float	   *piece = copy_of(c, 300 * 200);

		mm.ld_a = mm.trans_a ? mm.m : mm.k;
		mm.ld_b = mm.trans_b ? mm.k : mm.n;
		mm.a = floats(mm.m * mm.k, 1);
		mm.b = floats(mm.n * mm.k, 1);
		mm.c = c;
		part = mm;
		part.m = 70;
		part.c = piece;
		te_parallel_for(te_matmul_prepare(&mm), te_matmul_task, &mm);
		te_parallel_for(te_matmul_prepare(&part), te_matmul_task, &part);
		CHECK(memcmp(c, piece, 70 * 200 * sizeof(float)) == 0);
		floats_free((float *) mm.a);
		floats_free((float *) mm.b);
		floats_free(c);
		floats_free(piece);
	}
}

TEST_MAIN()
