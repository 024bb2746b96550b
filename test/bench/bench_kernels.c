/*-------------------------------------------------------------------------
 * bench_kernels.c
 *	  Speed of the kernels: GFLOP/s and share of the peak that this machine
 *	  reaches in the same run.
 *
 *		bench_kernels [section ...] [isa=avx2] [threads=2] [seconds=0.2]
 *
 * Sections: peak linear types bytes bf16 attention rows layer matmul pool.  The best of
 * several repetitions counts: other work on the machine only slows down.  It is
 * the wall clock's time: the processor's, which leaves out being preempted, runs too
 * slowly over short times on some virtual machines, and the best is then better than the peak.
 * "layer" is one layer of MiniLM (384 wide, 12 heads, 1536 between) op by op,
 * and what share of its time is not GEMM.
 *-------------------------------------------------------------------------
 */
#include "port_std.h"

#include "kernels/kernels.h"
#include "port/pool.h"

#include "peaks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static double seconds_per_row = 0.2;
static int	max_threads = 2;
static double peak[2];			/* GFLOP/s of f32, 1 and all threads */
static double byte_peak[2];		/* the same of products of bytes; 0: not measured for this instruction set */
static double bf16_peak[2];		/* of products of bf16 */

/* ---- measuring ---- */

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + 1e-9 * (double) time.tv_nsec;
}

/* Best time of one run of body(arg), over about seconds_per_row. */
static double
best_time(void (*body) (void *arg), void *arg)
{
	double		best = INFINITY;
	double		until;

	body(arg);
	until = te_host_seconds() + seconds_per_row;
	do
	{
		double		start = now();

		body(arg);
		best = fmin(best, now() - start);
	} while (te_host_seconds() < until);
	return best;
}

static float *
floats(size_t n)
{
	float	   *x = aligned_alloc(64, TE_ALIGN(n * sizeof(float), 64));

	for (size_t i = 0; i < n; i++)
		x[i] = (float) ((i * 2654435761u >> 7) % 2001) / 1000.0f - 1.0f;
	return x;
}

/* ---- peak ---- */

static volatile float sink;

static void
bench_peak(void)
{
	peak[0] = peak_rate(PEAK_F32, 1, seconds_per_row);
	peak[1] = peak[0] * max_threads;
	byte_peak[0] = peak_rate(PEAK_INT8, 1, seconds_per_row);
	byte_peak[1] = byte_peak[0] * max_threads;
	bf16_peak[0] = peak_rate(PEAK_BF16, 1, seconds_per_row);
	bf16_peak[1] = bf16_peak[0] * max_threads;
	printf("%s: peak f32 %.0f GFLOP/s on 1 thread; now %.0f on %d, shares are of %.0f\n", te_isa_name(), peak[0],
		   peak_rate(PEAK_F32, max_threads, seconds_per_row), max_threads, peak[1]);
	if (byte_peak[0] > 0)
		printf("%s: peak of bytes %.0f GOP/s on 1 thread\n", te_isa_name(), byte_peak[0]);
	if (bf16_peak[0] > 0)
		printf("%s: peak of bf16 %.0f GFLOP/s on 1 thread\n", te_isa_name(), bf16_peak[0]);
}

/* ---- linear ---- */

static void
linear_body(void *arg)
{
	TeLinear   *linear = arg;

	size_t		n_tasks = te_linear_prepare(linear);

	te_parallel_for(linear->n_quantize, te_linear_quantize_task, linear);
	te_parallel_for(n_tasks, te_linear_task, linear);
}

typedef struct LinearBench
{
	TeWeight	weight;
	TeLinear	linear;
} LinearBench;

static void
linear_make(LinearBench *bench, TeDtype dtype, TeLayout layout, size_t n_tok, int64_t n_out, int64_t n_in)
{
	size_t		row_bytes = te_row_bytes(dtype, n_in);
	float	   *row = floats((size_t) n_in);
	char	   *rows = malloc((size_t) n_out * row_bytes);
	void	   *data = rows;

	for (int64_t r = 0; r < n_out; r++)
		te_dtypes[dtype].from_float(row, rows + (size_t) r * row_bytes, (size_t) n_in);
	if (layout == TE_PANELS)
	{
		data = aligned_alloc(64, TE_ALIGN(te_pack_bytes(dtype, n_out, n_in), 64));
		te_pack_rows(dtype, n_out, n_in, 0, n_out, rows, data);
		free(rows);
	}
	free(row);
	*bench = (LinearBench) {.weight = {.dtype = dtype,.layout = layout,.n_out = n_out,.n_in = n_in,.data = data}};
	bench->linear = (TeLinear) {.n_parts = 1,.n_tok = n_tok,.x = floats(n_tok * (size_t) n_in),.ld_x = (size_t) n_in};
	bench->linear.y = floats(n_tok * (size_t) n_out);
	bench->linear.ld_y = (size_t) n_out;
	bench->linear.bias[0] = floats((size_t) n_out);
	bench->linear.weight[0] = &bench->weight;
	bench->linear.bytes = floats(te_linear_bytes(&bench->linear));
	bench->linear.scratch_stride = TE_ALIGN(te_linear_scratch(&bench->linear), 16);
	bench->linear.scratch = floats(bench->linear.scratch_stride * (size_t) max_threads);
}

static void
linear_free(LinearBench *bench)
{
	free((void *) bench->weight.data);
	free((void *) bench->linear.x);
	free(bench->linear.y);
	free((void *) bench->linear.bias[0]);
	free(bench->linear.bytes);
	free(bench->linear.scratch);
}

/* GFLOP/s and share of the peak, 1 and all threads. */
static void
linear_row(TeDtype dtype, TeLayout layout, size_t n_tok, int64_t n_out, int64_t n_in)
{
	LinearBench bench;
	double		flops = 2.0 * (double) n_tok * (double) n_out * (double) n_in;

	const double *limit;

	linear_make(&bench, dtype, layout, n_tok, n_out, n_in);
	bench.linear.weight[0] = &bench.weight;
	limit = te_linear_bytes(&bench.linear) == 0 ? peak : dtype == TE_BF16 ? bf16_peak : byte_peak;
	if (limit[0] == 0)
		limit = peak;
	printf("  %-5s%s %4zu x %5lld <- %5lld", te_dtypes[dtype].name, layout == TE_ROWS ? " rows" : "     ",
		   n_tok, (long long) n_out, (long long) n_in);
	for (int threads = 0; threads < 2; threads++)
	{
		double		rate;

		te_std_set_workers(threads == 0 ? 1 : max_threads);
		rate = flops / best_time(linear_body, &bench.linear) / 1e9;
		printf("  %7.1f %5.1f %%", rate, 100 * rate / limit[threads]);
	}
	printf("\n");
	linear_free(&bench);
}

static const size_t token_counts[] = {1, 12, 32, 64, 128, 512};
static const int64_t shapes[][2] = {{384, 384}, {1152, 384}, {1536, 384}, {384, 1536}};

static void
bench_linear(void)
{
	printf("linear, f32: tokens x out <- in; GFLOP/s and share of the peak, 1 and %d threads\n", max_threads);
	for (size_t s = 0; s < LENGTH(shapes); s++)
	{
		for (size_t t = 0; t < LENGTH(token_counts); t++)
			linear_row(TE_F32, TE_PANELS, token_counts[t], shapes[s][0], shapes[s][1]);
	}
}

static void
bench_bytes(void)
{
	static const TeDtype types[] = {TE_INT8, TE_Q8_0, TE_Q4_0};

	printf("linear, products of bytes, x quantized and result dequantized within: share of the peak of bytes\n");
	for (size_t d = 0; d < LENGTH(types); d++)
	{
		for (size_t s = 0; s < LENGTH(shapes); s++)
		{
			for (size_t t = 0; t < LENGTH(token_counts); t += 1 + (t == 2))
				linear_row(types[d], TE_PANELS, token_counts[t], shapes[s][0], shapes[s][1]);
		}
	}
}

static void
bench_bf16(void)
{
	printf("linear, products of bf16, x rounded within: share of the peak of bf16\n");
	for (size_t s = 0; s < LENGTH(shapes); s++)
	{
		for (size_t t = 0; t < LENGTH(token_counts); t++)
			linear_row(TE_BF16, TE_PANELS, token_counts[t], shapes[s][0], shapes[s][1]);
	}
}

static void
bench_types(void)
{
	printf("linear, every type, 1536 <- 512\n");
	for (int dtype = 0; dtype < TE_N_DTYPES; dtype++)
	{
		for (size_t t = 1; te_dtypes[dtype].from_float != NULL && t < LENGTH(token_counts); t += 1 + (t == 2))
			linear_row((TeDtype) dtype, te_pack_layout((TeDtype) dtype, 512), token_counts[t], 1536, 512);
	}
	for (size_t t = 1; t < LENGTH(token_counts); t++)
		linear_row(TE_F32, TE_ROWS, token_counts[t], 1536, 512);
}

/* ---- attention ---- */

static void
attention_body(void *arg)
{
	TeAttention *attention = arg;

	te_parallel_for(te_attention_tasks(attention), te_attention_task, attention);
}

#define HEADS 12
#define D_HEAD 32
#define WIDTH (HEADS * D_HEAD)

static void
attention_make(TeAttention *at, int n_seq, int length)
{
	size_t		n_tok = (size_t) n_seq * (size_t) length;
	int32_t    *starts = malloc((size_t) (n_seq + 1) * sizeof(int32_t));
	float	   *qkv = floats(n_tok * 3 * WIDTH);

	for (int i = 0; i <= n_seq; i++)
		starts[i] = i * length;
	*at = (TeAttention) {.q = qkv,.k = qkv + WIDTH,.v = qkv + 2 * WIDTH,.ld_q = 3 * WIDTH,.ld_k = 3 * WIDTH,.ld_v = 3 * WIDTH};
	at->out = floats(n_tok * WIDTH);
	at->ld_out = WIDTH;
	at->n_head = at->n_kv_head = HEADS;
	at->d_head = D_HEAD;
	at->n_seq = n_seq;
	at->seq_start = starts;
	at->scale = 0.17677669f;
	at->scratch_stride = TE_ALIGN(te_attention_scratch(at), 16);
	at->scratch = floats(at->scratch_stride * (size_t) max_threads);
}

static void
attention_free(TeAttention *at)
{
	free((void *) at->q);
	free(at->out);
	free((void *) at->seq_start);
	free(at->scratch);
}

static void
bench_attention(void)
{
	static const int lengths[] = {5, 12, 20, 32, 64, 128, 256, 512};

	printf("attention, 12 heads of 32, 1024 tokens: length, microseconds a token, GFLOP/s and share of the peak\n");
	for (size_t i = 0; i < LENGTH(lengths); i++)
	{
		TeAttention at;
		int			n_seq = 1024 / lengths[i];
		double		n_tok = n_seq * lengths[i];

		attention_make(&at, n_seq, lengths[i]);
		printf("  %4d", lengths[i]);
		for (int threads = 0; threads < 2; threads++)
		{
			double		time;
			double		rate;

			te_std_set_workers(threads == 0 ? 1 : max_threads);
			time = best_time(attention_body, &at);
			rate = 4.0 * n_tok * lengths[i] * WIDTH / time / 1e9;
			printf("  %7.3f %7.1f %5.1f %%", time / n_tok * 1e6, rate, 100 * rate / peak[threads]);
		}
		printf("\n");
		attention_free(&at);
	}
}

/* ---- kernels of rows ---- */

typedef struct RowBench
{
	size_t		rows;
	size_t		n;
	float	   *x;
	float	   *y;
	float	   *gamma;
} RowBench;

static void
layer_norm_body(void *arg)
{
	RowBench   *b = arg;

	te_kernel.layer_norm(b->rows, b->n, b->x, b->y, b->gamma, b->gamma, 1e-12f, b->y, NULL);
}

static void
gelu_body(void *arg)
{
	RowBench   *b = arg;

	te_kernel.activate(TE_ACT_GELU, b->rows * b->n, b->x, b->y);
}

static void
softmax_body(void *arg)
{
	RowBench   *b = arg;

	te_kernel.softmax(b->rows, b->n, b->y);
}

static void
dot_body(void *arg)
{
	RowBench   *b = arg;
	float		sum = 0;

	for (size_t r = 0; r < b->rows; r++)
		sum += te_kernel.dot(b->n, b->x + r * b->n, b->gamma);
	sink = sum;
}

static void
bench_rows(void)
{
	static const struct
	{
		const char *name;
		void		(*body) (void *arg);
		int			streams;	/* arrays of rows * n that are read or written */
	}			kernels[] = {
		{"layer_norm + residual", layer_norm_body, 3},
		{"gelu", gelu_body, 2},
		{"softmax", softmax_body, 2},
		{"dot", dot_body, 1},
	};
	RowBench	b = {.rows = 128,.n = 384,.x = floats(128 * 384),.y = floats(128 * 384),.gamma = floats(384)};

	printf("rows of 384, 128 of them, 1 thread: GB/s, ns a row\n");
	for (size_t i = 0; i < LENGTH(kernels); i++)
	{
		double		time = best_time(kernels[i].body, &b);

		printf("  %-22s %6.1f GB/s %7.1f ns\n", kernels[i].name,
			   (double) (b.rows * b.n) * sizeof(float) * kernels[i].streams / time / 1e9, time / (double) b.rows * 1e9);
	}
	free(b.x);
	free(b.y);
	free(b.gamma);
}

/* ---- a layer of MiniLM ---- */

enum
{
	QKV, ATTENTION, OUT, NORM1, UP, DOWN, NORM2, N_PHASES
};

typedef struct LayerBench
{
	LinearBench linears[N_PHASES];	/* of QKV, OUT, UP, DOWN */
	TeAttention attention;
	size_t		n_tok;
	float	   *gamma;
	double		best[N_PHASES]; /* seconds, each phase in its place after the one before */
} LayerBench;

static void
norm_task(void *arg, size_t task, int worker)
{
	LayerBench *b = arg;
	float	   *y = b->linears[OUT].linear.y + task * 32 * WIDTH;

	te_kernel.layer_norm(TE_MIN((size_t) 32, b->n_tok - task * 32), WIDTH, y, NULL, b->gamma, b->gamma, 1e-12f, y, NULL);
}

static void
layer_body(void *arg)
{
	LayerBench *b = arg;
	double		time = now();

	for (int phase = 0; phase < N_PHASES; phase++)
	{
		double		start = time;

		if (phase == ATTENTION)
			attention_body(&b->attention);
		else if (phase == NORM1 || phase == NORM2)
			te_parallel_for((b->n_tok + 31) / 32, norm_task, b);
		else
			linear_body(&b->linears[phase].linear);
		time = now();
		b->best[phase] = fmin(b->best[phase], time - start);
	}
}

/* The best time of each phase, with or without what the linears do beside the product; their sum. */
static double
layer_phases(LayerBench *b, bool epilogues)
{
	double		sum = 0;

	b->linears[UP].linear.activation = epilogues ? TE_ACT_GELU : TE_ACT_NONE;
	b->linears[OUT].linear.residual = b->linears[DOWN].linear.residual = epilogues ? b->attention.out : NULL;
	for (int i = 0; i < N_PHASES; i++)
		b->best[i] = INFINITY;
	best_time(layer_body, b);
	for (int i = 0; i < N_PHASES; i++)
		sum += b->best[i];
	return sum;
}

static void
layer_row(int n_seq, int length)
{
	static const int widths[N_PHASES][2] = {[QKV] = {3, 1}, [OUT] = {1, 1}, [UP] = {4, 1}, [DOWN] = {1, 4}};
	LayerBench	b = {.n_tok = (size_t) (n_seq * length),.gamma = floats(WIDTH)};
	double		flops = 2.0 * 12 * WIDTH * WIDTH * (double) b.n_tok;

	for (int i = 0; i < N_PHASES; i++)
	{
		if (widths[i][0] == 0)
			continue;
		linear_make(&b.linears[i], TE_F32, TE_PANELS, b.n_tok, widths[i][0] * WIDTH, widths[i][1] * WIDTH);
		b.linears[i].linear.weight[0] = &b.linears[i].weight;
	}
	attention_make(&b.attention, n_seq, length);
	/* the data flow of a layer, for the caches */
	free((void *) b.attention.q);
	b.attention.q = b.linears[QKV].linear.y;
	b.attention.k = b.attention.q + WIDTH;
	b.attention.v = b.attention.q + 2 * WIDTH;
	for (int threads = 0; threads < 2; threads++)
	{
		double		plain;
		double		whole;
		double		gemm;

		te_std_set_workers(threads == 0 ? 1 : max_threads);
		layer_phases(&b, false);
		plain = b.best[QKV] + b.best[OUT] + b.best[UP] + b.best[DOWN];
		whole = layer_phases(&b, true);
		gemm = b.best[QKV] + b.best[OUT] + b.best[UP] + b.best[DOWN];
		printf("  %2d x %3d, %d thread%s %6.0f us, %4.1f ktok/s in 6 layers; GEMM %.1f %% of peak; beside it %4.1f %%: attention %.1f, norms %.1f, epilogues %.1f\n",
			   n_seq, length, te_workers(), te_workers() > 1 ? "s:" : ": ", whole * 1e6, (double) b.n_tok / whole / 6e3,
			   flops / plain / 1e7 / peak[threads], 100 * (1 - plain / whole), 100 * b.best[ATTENTION] / whole,
			   100 * (b.best[NORM1] + b.best[NORM2]) / whole, 100 * (gemm - plain) / whole);
	}
	b.attention.q = NULL;
	attention_free(&b.attention);
	for (int i = 0; i < N_PHASES; i++)
	{
		if (widths[i][0] != 0)
			linear_free(&b.linears[i]);
	}
	free(b.gamma);
}

static void
bench_layer(void)
{
	printf("a layer of MiniLM, sequences x tokens\n");
	layer_row(1, 12);
	layer_row(1, 32);
	layer_row(32, 12);
	layer_row(32, 32);
	layer_row(1, 128);
	layer_row(8, 128);
	layer_row(4, 256);
}

/* ---- matmul of training ---- */

static void
matmul_body(void *arg)
{
	TeMatmul   *matmul = arg;

	te_parallel_for(te_matmul_prepare(matmul), te_matmul_task, matmul);
}

/* The same by OpenBLAS: a part of the longer side of C for each thread, as large as can be. */
static void
blas_task(void *arg, size_t task, int worker)
{
	const TeMatmul *mm = arg;
	size_t		parts = (size_t) te_workers();
	bool		rows = mm->m >= mm->n;
	size_t		first = (rows ? mm->m : mm->n) * task / parts;
	size_t		n = (rows ? mm->m : mm->n) * (task + 1) / parts - first;
	const float *a = mm->a + (rows ? first * (mm->trans_a ? 1 : mm->ld_a) : 0);
	const float *b = mm->b + (rows ? 0 : first * (mm->trans_b ? mm->ld_b : 1));

	te_host_blas()->sgemm(TE_BLAS_ROW_MAJOR, mm->trans_a ? TE_BLAS_TRANS : TE_BLAS_NO_TRANS,
						  mm->trans_b ? TE_BLAS_TRANS : TE_BLAS_NO_TRANS, (int) (rows ? n : mm->m), (int) (rows ? mm->n : n), (int) mm->k,
						  1.0f, a, (int) mm->ld_a, b, (int) mm->ld_b, 0.0f, mm->c + first * (rows ? mm->ld_c : 1), (int) mm->ld_c);
}

static void
blas_body(void *arg)
{
	te_parallel_for((size_t) te_workers(), blas_task, arg);
}

/* GFLOP/s and share of the peak, 1 and all threads. */
static void
matmul_rate(TeMatmul *mm, void (*body) (void *arg), const double *limit)
{
	for (int i = 0; i < 2; i++)
	{
		double		rate;

		te_std_set_workers(i == 0 ? 1 : max_threads);
		rate = 2e-9 * (double) (mm->m * mm->n * mm->k) / best_time(body, mm);
		printf("  %7.1f %5.1f %%", rate, 100 * rate / (limit[0] > 0 ? limit : peak)[i]);
	}
}

static void
matmul_row(size_t m, size_t n, size_t k, bool trans_a, bool trans_b)
{
	TeMatmul	mm = {.m = m,.n = n,.k = k,.trans_a = trans_a,.trans_b = trans_b};

	mm.a = floats(m * k);
	mm.b = floats(n * k);
	mm.c = floats(m * n);
	mm.ld_a = trans_a ? m : k;
	mm.ld_b = trans_b ? k : n;
	mm.ld_c = n;
	printf("  %s%s %4zu x %4zu <- %4zu", trans_a ? "T" : "N", trans_b ? "T" : "N", m, n, k);
	matmul_rate(&mm, matmul_body, peak);
	mm.bf16 = true;
	matmul_rate(&mm, matmul_body, bf16_peak);
	if (te_host_blas() != NULL)
		matmul_rate(&mm, blas_body, peak);
	printf("\n");
	free((void *) mm.a);
	free((void *) mm.b);
	free(mm.c);
}

/* The three products of each linear of MiniLM: y = x . W', dx = dy . W, dW = dy' . x. */
static void
bench_matmul(void)
{
	static const size_t tokens[] = {4096, 600};
	static const size_t sides[][2] = {{384, 384}, {1536, 384}, {384, 1536}};

	printf("matmul, m x n <- k: GFLOP/s and share of the peak: f32, bf16, OpenBLAS (%s); 1 and %d threads each\n",
		   te_host_blas() != NULL ? te_host_blas()->name : "none", max_threads);
	for (size_t t = 0; t < LENGTH(tokens); t++)
	{
		for (size_t s = 0; s < LENGTH(sides); s++)
		{
			matmul_row(tokens[t], sides[s][0], sides[s][1], false, true);
			matmul_row(tokens[t], sides[s][0], sides[s][1], false, false);
			matmul_row(sides[s][0], sides[s][1], tokens[t], true, false);
		}
		/* of an overlay of rank 8 */
		matmul_row(tokens[t], 8, 384, false, false);
		matmul_row(384, 8, tokens[t], true, false);
		matmul_row(8, 384, tokens[t], true, false);
		matmul_row(tokens[t], 384, 8, false, false);
	}
}

/* ---- dispatch ---- */

static void
nothing(void *arg, size_t task, int worker)
{
}

static void
dispatch_body(void *arg)
{
	for (int i = 0; i < 1000; i++)
		te_parallel_for(*(size_t *) arg, nothing, NULL);
}

/* Seconds of a task, and of what the caller does by itself before each job. */
#define TASK_SECONDS 20e-6
static double alone_seconds;

static void
wait_for(double seconds)
{
	double		until = now() + seconds;

	while (now() < until)
		;
}

static void
waiting_task(void *arg, size_t task, int worker)
{
	wait_for(TASK_SECONDS);
}

static void
alone_body(void *arg)
{
	for (int i = 0; i < 100; i++)
	{
		wait_for(alone_seconds);
		te_parallel_for((size_t) max_threads, waiting_task, NULL);
	}
}

static void
bench_pool(void)
{
	static size_t counts[] = {2, 8, 64, 384};
	static const double alone[] = {1e-6, 5e-6, 20e-6, 100e-6};

	te_std_set_workers(max_threads);
	for (size_t i = 0; i < LENGTH(counts); i++)
		printf("pool: %3zu empty tasks on %d threads: %.2f us\n", counts[i], max_threads, best_time(dispatch_body, &counts[i]) * 1e3);
	for (size_t i = 0; i < LENGTH(alone); i++)
	{
		alone_seconds = alone[i];
		printf("pool: a task of %.0f us each after %3.0f us alone: %.2f us lost\n", TASK_SECONDS * 1e6, alone_seconds * 1e6,
			   (best_time(alone_body, NULL) / 100 - alone_seconds - TASK_SECONDS) * 1e6);
	}
}

/* ---- */

typedef struct Section
{
	const char *name;
	void		(*run) (void);
} Section;

static const Section sections[] = {
	{"peak", bench_peak},
	{"linear", bench_linear},
	{"types", bench_types},
	{"bytes", bench_bytes},
	{"bf16", bench_bf16},
	{"attention", bench_attention},
	{"rows", bench_rows},
	{"layer", bench_layer},
	{"matmul", bench_matmul},
	{"pool", bench_pool},
};

int
main(int argc, char **argv)
{
	int			named = 0;

	te_isa_select("auto");
	for (int i = 1; i < argc; i++)
	{
		if (strncmp(argv[i], "isa=", 4) == 0 && !te_isa_select(argv[i] + 4))
		{
			fprintf(stderr, "this CPU has no %s\n", argv[i] + 4);
			return 1;
		}
		if (strncmp(argv[i], "threads=", 8) == 0)
			max_threads = atoi(argv[i] + 8);
		if (strncmp(argv[i], "seconds=", 8) == 0)
			seconds_per_row = atof(argv[i] + 8);
		named += strchr(argv[i], '=') == NULL;
	}
	bench_peak();
	for (size_t s = 1; s < LENGTH(sections); s++)
	{
		bool		wanted = named == 0;

		for (int i = 1; i < argc; i++)
			wanted = wanted || strcmp(argv[i], sections[s].name) == 0;
		if (wanted)
			sections[s].run();
	}
	return 0;
}
