/*-------------------------------------------------------------------------
 * serve.c
 *	  The engine as one of several contenders that take turns.
 *
 * bench.py keeps every contender running and asks one after the other for a
 * sample, so that minutes in which the machine is slow are slow for all.  A
 * request is a line, and so is its answer:
 *
 *	  run TYPE THREADS TEXTS SECONDS
 *		  embed the lines of the file TEXTS again and again for SECONDS, once at least:
 *		  best seconds, median seconds, rows, tokens; then, of the pass whose forward
 *		  passes were fastest, their seconds and those spent in linear ops (bias, activation
 *		  and residual of a layer are in its linear op), op=seconds for all ops
 *	  peak KIND THREADS SECONDS
 *		  f32, int8 or bf16: what peaks.c reaches, 0 where there is none
 *
 * The program says "ready" first.  A request that it cannot answer ends it.
 *-------------------------------------------------------------------------
 */
#include "serve.h"

#include "graph/graph.h"
#include "peaks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PASSES 4096
#define MAX_OPS 64

typedef struct Sample
{
	double		passes[MAX_PASSES];
	int			n;
	double		forward;		/* of the pass where it was least */
	double		ops[MAX_OPS];	/* of that pass */
} Sample;

/* Undo the escapes of one line. */
static TeStr
read_line(TeArena *arena, const char *line, size_t len)
{
	char	   *text = te_alloc(arena, len + 1);
	size_t		n = 0;

	for (size_t i = 0; i < len; i++)
	{
		if (line[i] != '\\' || i + 1 == len)
			text[n++] = line[i];
		else
		{
			i++;
			text[n++] = line[i] == 'n' ? '\n' : line[i] == 'r' ? '\r' : line[i];
		}
	}
	return (TeStr) {text, n};
}

Texts
read_texts(TeArena *arena, const char *path)
{
	TeSource	source = te_std_file(arena, path);
	TeStr		whole = te_source_whole(arena, &source, SIZE_MAX);
	Texts		texts = {0};
	size_t		start = 0;

	for (size_t i = 0; i < whole.len; i++)
		texts.n += whole.data[i] == '\n';
	texts.items = te_new_array(arena, TeStr, texts.n);
	texts.n = 0;
	for (size_t i = 0; i < whole.len; i++)
	{
		if (whole.data[i] != '\n')
			continue;
		texts.items[texts.n++] = read_line(arena, whole.data + start, i - start);
		start = i + 1;
	}
	return texts;
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

/* One pass over the texts; a job of its own, as a statement would make it. */
static void
run_pass(TeSession *session, TeJob *job, const Texts *texts, Sample *sample)
{
	double		ops[MAX_OPS] = {0};
	double		before = te_session_usage(session)->seconds;
	double		start;
	double		forward;

	te_assert(te_op_count() <= MAX_OPS);
	te_session_profile(session, ops);
	te_job_reset(job);
	start = te_host_seconds();
	for (size_t i = 0; i < texts->n; i++)
		te_job_feed(job, texts->items[i], (TeStr) {NULL, 0});
	te_job_run(job);
	sample->passes[sample->n++] = te_host_seconds() - start;
	te_session_profile(session, NULL);
	forward = te_session_usage(session)->seconds - before;
	if (sample->n == 1 || forward < sample->forward)
	{
		sample->forward = forward;
		memcpy(sample->ops, ops, sizeof(ops));
	}
}

static void
print_sample(Sample *sample, size_t rows, uint64_t tokens)
{
	double		linear = 0;

	for (int i = 0; i < te_op_count(); i++)
	{
		if (strncmp(te_op_name(i), "linear", 6) == 0)
			linear += sample->ops[i];
	}
	qsort(sample->passes, (size_t) sample->n, sizeof(double), compare_doubles);
	printf("%.9f %.9f %zu %llu %.9f %.9f", sample->passes[0], sample->passes[sample->n / 2], rows,
		   (unsigned long long) tokens, sample->forward, linear);
	for (int i = 0; i < te_op_count(); i++)
	{
		if (sample->ops[i] > 0)
			printf(" %s=%.9f", te_op_name(i), sample->ops[i]);
	}
	printf("\n");
}

static void
run_request(TeArena *parent, const TeModel *model, const char *path, double seconds)
{
	TeArena    *arena = te_arena_create(parent, "request");
	TeSession  *session = te_session_create(arena, model, 0);
	Texts		texts = read_texts(arena, path);
	TeJob	   *job = te_job_create(session, "embed", NULL);
	Sample	   *sample = te_new(arena, Sample);
	double		until;
	uint64_t	tokens;

	run_pass(session, job, &texts, sample);
	tokens = te_session_usage(session)->tokens;
	sample->n = 0;
	until = te_host_seconds() + seconds;
	do
		run_pass(session, job, &texts, sample);
	while (te_host_seconds() < until && sample->n < MAX_PASSES);
	print_sample(sample, texts.n, tokens);
	te_arena_destroy(arena);
}

static double
peak_request(const char *kind, int threads, double seconds)
{
	static const char *const kinds[PEAK_KINDS] = {"f32", "int8", "bf16"};

	for (int i = 0; i < PEAK_KINDS; i++)
	{
		if (strcmp(kind, kinds[i]) == 0)
			return peak_rate((PeakKind) i, threads, seconds);
	}
	return 0;
}

static const TeModel *
find_model(const ServedModel *models, int n_models, const char *type)
{
	for (int i = 0; i < n_models; i++)
	{
		if (strcmp(models[i].type, type) == 0)
			return models[i].model;
	}
	te_throw(TE_ERR_MISSING, "no model of type \"%s\" was loaded", type);
}

void
serve(TeArena *arena, const ServedModel *models, int n_models)
{
	char		line[4096];
	char		word[64];
	char		path[2048];
	int			threads;
	double		seconds;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready %s\n", te_isa_name());
	while (fgets(line, sizeof(line), stdin) != NULL)
	{
		if (sscanf(line, "run %63s %d %2047s %lf", word, &threads, path, &seconds) == 4)
		{
			te_std_set_workers(threads);
			run_request(arena, find_model(models, n_models, word), path, seconds);
		}
		else if (sscanf(line, "peak %63s %d %lf", word, &threads, &seconds) == 3)
			printf("%.1f\n", peak_request(word, threads, seconds));
		else
			te_throw(TE_ERR_INVALID, "request \"%s\" is not known", line);
	}
}
