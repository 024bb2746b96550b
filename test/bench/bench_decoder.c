/*-------------------------------------------------------------------------
 * bench_decoder.c
 *	  The products of a decoder: what the storage types, the rows decoded
 *	  together and the threads make of memory's and arithmetic's limits.
 *
 *		bench_decoder [types=q8_0,q4_0] [rows=1,16,512] [threads=1,2] [isa=auto] [seconds=1] [layers=24]
 *
 * All linear ops of Qwen2.5-0.5B in their order: 24 layers of query, key and value; output; gate and up; down; then the tied
 * head over 151,936 words, of all rows where they are decoded together (up to 64), of the last where they are
 * a prompt.  Nothing else of a decoder: no attention, no norms.  Weights are random, x is rounded to bytes as the graph of a decoder
 * asks for it.  A width that a type's blocks do not divide gets the type that llama.cpp would take.
 *
 * A line: rows at once and threads; tokens a second; GB/s of weights and the share of what a loop of loads reaches over
 * as much memory in the same run with the same threads; GOP/s and the share of the peak of the type's products.  The best pass counts.
 *-------------------------------------------------------------------------
 */
#include "port_std.h"

#include "kernels/kernels.h"

#include "peaks.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define MOST_LAYERS 64
#define MOST_ROWS 512
#define MOST_DECODED 64			/* rows from which on they are a prompt */
#define HIDDEN 896
#define INTERMEDIATE 4864
#define KEYS 128
#define WORDS 151936

typedef struct Op
{
	int64_t		n_in;
	int64_t		n_out[TE_MAX_PARTS];
	int			n_parts;
} Op;

static const Op ops[] = {
	{HIDDEN, {HIDDEN, KEYS, KEYS}, 3},
	{HIDDEN, {HIDDEN}, 1},
	{HIDDEN, {INTERMEDIATE, INTERMEDIATE}, 2},
	{INTERMEDIATE, {HIDDEN}, 1},
};

static const Op head = {HIDDEN, {WORDS}, 1};

static double seconds_per_row = 1;
static int	n_layers = 24;
static int	most_threads = 2;
static bool coarse = true;

/* A model in one type, and room for what its ops read and write. */
typedef struct Decoder
{
	char	   *memory;			/* all weights, one after the other, as in an image */
	size_t		bytes;
	TeWeight	weights[MOST_LAYERS][LENGTH(ops)][TE_MAX_PARTS];
	TeWeight	head;
	float	   *x;
	float	   *y;
	float	   *rounded;
	float	   *scratch;
	size_t		scratch_stride;
	size_t		n_rows;
} Decoder;

static float *
floats(size_t n)
{
	float	   *x = aligned_alloc(64, TE_ALIGN(n * sizeof(float), 64));

	for (size_t i = 0; i < n; i++)
		x[i] = (float) ((i * 2654435761u >> 7) % 2001) / 1000.0f - 1.0f;
	return x;
}

/* What llama.cpp stores instead where a row is no whole number of blocks. */
static TeDtype
type_for(TeDtype wanted, int64_t n_in)
{
	if (n_in % te_dtypes[wanted].block_elements == 0)
		return wanted;
	return wanted == TE_Q4_K ? TE_Q5_0 : wanted == TE_Q5_K ? TE_Q5_1 : TE_Q8_0;
}

/* A weight at `at` of the memory, every panel like the first, since some types take long to make; the bytes it takes. */
static size_t
make_weight(TeWeight *weight, TeDtype dtype, int64_t n_out, int64_t n_in, char *at)
{
	size_t		bytes = TE_ALIGN(te_pack_bytes(dtype, n_out, n_in), 64);
	size_t		panel = te_pack_bytes(dtype, TE_PANEL, n_in);
	size_t		row_bytes = te_row_bytes(dtype, n_in);
	char	   *rows;
	float	   *row;

	if (at == NULL)
		return bytes;
	*weight = (TeWeight) {.dtype = dtype, .layout = te_pack_layout(dtype, n_in), .n_out = n_out, .n_in = n_in, .data = at};
	rows = malloc(TE_PANEL * row_bytes);
	row = floats((size_t) n_in * TE_PANEL);
	for (size_t r = 0; r < TE_PANEL; r++)
		te_dtypes[dtype].from_float(row + r * (size_t) n_in, rows + r * row_bytes, (size_t) n_in);
	te_pack_rows(dtype, TE_PANEL, n_in, 0, TE_PANEL, rows, at);
	for (size_t i = panel; i < bytes; i += panel)
		memcpy(at + i, at, TE_MIN(panel, bytes - i));
	free(row);
	free(rows);
	return bytes;
}

/* Lay the weights out from `at` on, or only count their bytes where it is NULL. */
static size_t
lay_out(Decoder *decoder, TeDtype dtype, char *at)
{
	size_t		bytes = 0;

	for (int layer = 0; layer < n_layers; layer++)
	{
		for (size_t i = 0; i < LENGTH(ops); i++)
		{
			for (int part = 0; part < ops[i].n_parts; part++)
				bytes += make_weight(&decoder->weights[layer][i][part], type_for(dtype, ops[i].n_in), ops[i].n_out[part], ops[i].n_in,
									 at != NULL ? at + bytes : NULL);
		}
	}
	return bytes + make_weight(&decoder->head, type_for(dtype, HIDDEN), WORDS, HIDDEN, at != NULL ? at + bytes : NULL);
}

static TeLinear
make_linear(Decoder *decoder, const Op *op, const TeWeight *weights, size_t rows)
{
	TeLinear	linear = {.n_parts = op->n_parts, .n_tok = rows, .x = decoder->x, .ld_x = (size_t) op->n_in, .y = decoder->y,
		.bytes = decoder->rounded, .scratch = decoder->scratch, .scratch_stride = decoder->scratch_stride,
		.coarse = coarse};

	for (int i = 0; i < op->n_parts; i++)
	{
		linear.weight[i] = &weights[i];
		linear.ld_y += (size_t) op->n_out[i];
	}
	return linear;
}

static void
make_decoder(Decoder *decoder, TeDtype dtype)
{
	TeLinear	widest;
	TeLinear	narrowest;

	*decoder = (Decoder) {.bytes = lay_out(decoder, dtype, NULL)};
	decoder->memory = aligned_alloc(4096, TE_ALIGN(decoder->bytes, 4096));
	lay_out(decoder, dtype, decoder->memory);
	decoder->x = floats(MOST_ROWS * INTERMEDIATE);
	decoder->y = floats(TE_MAX((size_t) MOST_ROWS * 2 * INTERMEDIATE, (size_t) MOST_DECODED * WORDS));
	widest = make_linear(decoder, &ops[LENGTH(ops) - 1], decoder->weights[0][LENGTH(ops) - 1], MOST_ROWS);
	narrowest = make_linear(decoder, &ops[0], decoder->weights[0][0], MOST_ROWS);
	decoder->rounded = floats(TE_MAX(te_linear_bytes(&widest), te_linear_bytes(&narrowest)) + 1);
	decoder->scratch_stride = TE_ALIGN(TE_MAX(te_linear_scratch(&widest), te_linear_scratch(&narrowest)), 16);
	decoder->scratch = floats(decoder->scratch_stride * (size_t) most_threads);
}

static void
free_decoder(Decoder *decoder)
{
	free(decoder->memory);
	free(decoder->x);
	free(decoder->y);
	free(decoder->rounded);
	free(decoder->scratch);
}

/* As the graph runs it. */
static void
run_linear(TeLinear linear)
{
	size_t		n_tasks = te_linear_prepare(&linear);

	te_parallel_for(linear.n_quantize, te_linear_quantize_task, &linear);
	te_parallel_for(n_tasks, te_linear_task, &linear);
}

static void
pass(Decoder *decoder)
{
	for (int layer = 0; layer < n_layers; layer++)
	{
		for (size_t i = 0; i < LENGTH(ops); i++)
			run_linear(make_linear(decoder, &ops[i], decoder->weights[layer][i], decoder->n_rows));
	}
	run_linear(make_linear(decoder, &head, &decoder->head, decoder->n_rows <= MOST_DECODED ? decoder->n_rows : 1));
}

/* Seconds of the best of the passes that fit. */
static double
best_pass(Decoder *decoder)
{
	double		best = INFINITY;
	double		until = te_host_seconds() + seconds_per_row;

	do
	{
		double		start = te_host_seconds();

		pass(decoder);
		best = fmin(best, te_host_seconds() - start);
	} while (te_host_seconds() < until);
	return best;
}

/* Multiply-adds of a pass, twice. */
static double
operations(const Decoder *decoder)
{
	double		of_layer = 0;

	for (size_t i = 0; i < LENGTH(ops); i++)
	{
		for (int part = 0; part < ops[i].n_parts; part++)
			of_layer += (double) (ops[i].n_in * ops[i].n_out[part]);
	}
	return 2 * (of_layer * n_layers * (double) decoder->n_rows +
				(double) HIDDEN * WORDS * (double) (decoder->n_rows <= MOST_DECODED ? decoder->n_rows : 1));
}

static void
bench_rows(Decoder *decoder, TeDtype dtype, size_t n_rows, int threads)
{
	double		reads;
	double		peak;
	double		time;

	decoder->n_rows = n_rows;
	te_std_set_workers(threads);
	reads = peak_reads(decoder->memory, decoder->bytes, threads);
	peak = peak_rate(dtype == TE_F32 || dtype == TE_F16 ? PEAK_F32 : dtype == TE_BF16 ? PEAK_BF16 : PEAK_INT8, 1, 0.05) * threads;
	time = best_pass(decoder);
	reads = fmax(reads, peak_reads(decoder->memory, decoder->bytes, threads));
	printf("  %-5s %3zu rows %d threads %8.1f tokens/s %6.1f GB/s %5.1f %% of %5.1f %8.0f GOP/s %5.1f %%\n", te_dtypes[dtype].name, n_rows, threads,
		   (double) n_rows / time, (double) decoder->bytes / time / 1e9, 100 * (double) decoder->bytes / time / reads, reads / 1e9,
		   operations(decoder) / time / 1e9, 100 * operations(decoder) / time / 1e9 / peak);
	fflush(stdout);
}

/* Whether `word` is in the list, with commas between; all are in none. */
static bool
listed(const char *list, const char *word)
{
	size_t		length = strlen(word);

	for (const char *at = list; at != NULL; at = strchr(at, ','))
	{
		at += at != list;
		if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == '\0'))
			return true;
	}
	return list == NULL;
}

static const char *
option(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
	{
		if (strncmp(argv[i], name, strlen(name)) == 0)
			return argv[i] + strlen(name);
	}
	return NULL;
}

int
main(int argc, char **argv)
{
	static const TeDtype types[] = {TE_F32, TE_F16, TE_BF16, TE_Q8_0, TE_Q4_0, TE_Q4_K, TE_Q6_K, TE_INT8};
	static const char *const rows[] = {"1", "2", "4", "8", "16", "128", "512"};
	static const char *const threads[] = {"1", "2"};
	const char *isa = option(argc, argv, "isa=");
	static Decoder decoder;

	if (option(argc, argv, "seconds=") != NULL)
		seconds_per_row = atof(option(argc, argv, "seconds="));
	if (option(argc, argv, "layers=") != NULL)
		n_layers = TE_MIN(atoi(option(argc, argv, "layers=")), MOST_LAYERS);
	if (option(argc, argv, "coarse=") != NULL)
		coarse = atoi(option(argc, argv, "coarse=")) != 0;
	if (!te_isa_select(isa != NULL ? isa : "auto"))
		return 1;
	printf("%s, %d layers: rows at once, of weights, share of reading them, share of the peak of products\n", te_isa_name(), n_layers);
	for (size_t d = 0; d < LENGTH(types); d++)
	{
		if (!listed(option(argc, argv, "types="), te_dtypes[types[d]].name))
			continue;
		make_decoder(&decoder, types[d]);
		for (size_t r = 0; r < LENGTH(rows); r++)
		{
			for (size_t t = 0; t < LENGTH(threads); t++)
			{
				if (listed(option(argc, argv, "rows="), rows[r]) && listed(option(argc, argv, "threads="), threads[t]))
					bench_rows(&decoder, types[d], (size_t) atoi(rows[r]), atoi(threads[t]));
			}
		}
		free_decoder(&decoder);
	}
	return 0;
}
