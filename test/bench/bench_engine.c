/*-------------------------------------------------------------------------
 * bench_engine.c
 *	  The engine without a server: import a model, embed the lines of a file.
 *
 *	  bench_engine MODEL TEXTS [-q TYPE] [-w WORKERS] [-i ISA] [-r REPEATS] [-j TASK] [-k KIND]
 *				   [-o VECTORS] [-t TOKENS] [-l LIMIT_MB] [-x EXPORT]
 *	  bench_engine MODEL -s TYPE,TYPE,... [-i ISA]
 *
 * MODEL is a folder or a .gguf file, TEXTS one text a line (\n, \r and \\ are
 * written with a backslash).  Prints how long importing, building the image
 * and attaching took, then rows and tokens a second of the best of REPEATS.
 *
 * TASK is "embed", or "classify", whose vectors are the logits.
 *
 * -o writes the vectors as little-endian floats, row after row; -t the token
 * ids, a line a text; -x exports the model, to a folder or a .gguf file.
 * compare_embeddings.py beside this file runs it against the reference.
 *
 * -s loads the model in several types and serves requests, a line each, so that
 * bench.py can have it take turns with other programs; see serve.c.
 *-------------------------------------------------------------------------
 */
#include "port_std.h"

#include "engine.h"

#include "load.h"
#include "serve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Options
{
	const char *model;
	const char *texts;
	const char *quantization;
	const char *isa;
	const char *task;
	const char *kind;
	const char *vectors;
	const char *tokens;
	const char *export;
	const char *serve;			/* types, with commas between them */
	int			workers;
	int			repeats;
	size_t		limit;
} Options;

static void
usage(void)
{
	fprintf(stderr, "usage: bench_engine MODEL TEXTS [-q TYPE] [-w WORKERS] [-i ISA] [-r REPEATS] [-j TASK] [-k KIND]"
			" [-o VECTORS] [-t TOKENS] [-l LIMIT_MB] [-x EXPORT]\n"
			"       bench_engine MODEL -s TYPE,TYPE,... [-i ISA]\n");
	exit(2);
}

static Options
read_options(int argc, char **argv)
{
	Options		options = {.workers = 1, .repeats = 1, .isa = "auto", .task = "embed"};
	int			c;

	while ((c = getopt(argc, argv, "q:w:i:r:k:o:t:l:x:s:j:")) != -1)
	{
		switch (c)
		{
			case 'q':
				options.quantization = optarg;
				break;
			case 'w':
				options.workers = atoi(optarg);
				break;
			case 'i':
				options.isa = optarg;
				break;
			case 'r':
				options.repeats = atoi(optarg);
				break;
			case 'k':
				options.kind = optarg;
				break;
			case 'o':
				options.vectors = optarg;
				break;
			case 't':
				options.tokens = optarg;
				break;
			case 'l':
				options.limit = (size_t) atoi(optarg) << 20;
				break;
			case 'x':
				options.export = optarg;
				break;
			case 'j':
				options.task = optarg;
				break;
			case 's':
				options.serve = optarg;
				break;
			default:
				usage();
		}
	}
	if (argc - optind != (options.serve != NULL ? 1 : 2))
		usage();
	options.model = argv[optind];
	options.texts = argv[optind + 1];
	return options;
}

static void
export_model(TeArena *arena, const TeModelDef *def, const char *path)
{
	if (te_str_ends(te_str(path), ".gguf"))
	{
		TeSink		sink = te_std_file_sink(arena, path);

		te_export_gguf(arena, def, "model", &sink);
		te_std_file_sink_close(&sink);
	}
	else
	{
		TeFolderSink folder = te_std_folder_sink(arena, path);

		te_export_folder(arena, def, &folder);
	}
}

static TeModel *
load_model(TeArena *arena, const Options *options)
{
	static const uint8_t digest[32];
	double		start = te_host_seconds();
	TeModelDef *def = load_definition(arena, options->model, options->quantization);
	double		imported = te_host_seconds();
	uint64_t	bytes;
	TeImagePlan *plan = te_image_plan(arena, def, digest, &bytes);
	void	   *image = te_alloc0(arena, bytes);
	double		built;
	TeModel    *model;

	te_image_build(arena, plan, image);
	built = te_host_seconds();
	model = te_model_attach(arena, image, bytes);
	fprintf(stderr, "%.*s %.*s: %.1f MB image, import %.1f ms, build %.1f ms, attach %.3f ms\n",
			TE_STR_ARGS(def->architecture), TE_STR_ARGS(def->quantization), bytes / 1e6,
			1e3 * (imported - start), 1e3 * (built - imported), 1e3 * (te_host_seconds() - built));
	if (options->export != NULL)
		export_model(arena, def, options->export);
	return model;
}

static void
write_vectors(const TeJob *job, size_t n, const char *path)
{
	FILE	   *file = fopen(path, "wb");
	int			width;

	if (file == NULL)
		te_throw(TE_ERR_IO, "could not create \"%s\"", path);
	for (size_t i = 0; i < n; i++)
	{
		const float *vector = te_job_vector(job, i, &width);

		fwrite(vector, sizeof(float), width, file);
	}
	fclose(file);
}

static void
write_tokens(TeArena *arena, const TeModel *model, const Texts *texts, const char *path)
{
	FILE	   *file = fopen(path, "w");

	if (file == NULL)
		te_throw(TE_ERR_IO, "could not create \"%s\"", path);
	for (size_t i = 0; i < texts->n; i++)
	{
		size_t		n;
		size_t		all;
		TeToken    *tokens = te_encode_alloc(te_model_tokenizer(model), arena, texts->items[i], (TeStr) {NULL, 0}, true,
											 te_model_context_length(model), &n, &all);

		for (size_t j = 0; j < n; j++)
			fprintf(file, j == 0 ? "%d" : " %d", (int) tokens[j].id);
		fputc('\n', file);
	}
	fclose(file);
}

static void
run(void *arg)
{
	const Options *options = arg;
	TeArena    *arena = te_arena_create_root(NULL, "bench", 0, NULL);
	Texts		texts = read_texts(arena, options->texts);
	TeModel    *model = load_model(arena, options);
	TeSession  *session = te_session_create(arena, model, options->limit);
	TeJobOptions job_options = {0};
	double		best = 1e30;
	TeUsage		before = {0};
	TeJob	   *job;

	if (options->kind != NULL)
		job_options.kind = te_str(options->kind);
	te_session_set_truncate(session, TE_TRUNCATE_CUT);
	job = te_job_create(session, options->task, &job_options);
	for (int i = 0; i < options->repeats; i++)
	{
		double		start;

		before = *te_session_usage(session);
		te_job_reset(job);
		start = te_host_seconds();
		for (size_t j = 0; j < texts.n; j++)
			te_job_feed(job, texts.items[j], (TeStr) {NULL, 0});
		te_job_run(job);
		best = TE_MIN(best, te_host_seconds() - start);
	}
	printf("%zu rows, %.0f rows/s, %.0f tokens/s, %llu tokens, %llu batches, %llu truncated, isa %s, %d workers\n",
		   texts.n, texts.n / best, (te_session_usage(session)->tokens - before.tokens) / best,
		   (unsigned long long) (te_session_usage(session)->tokens - before.tokens),
		   (unsigned long long) (te_session_usage(session)->batches - before.batches),
		   (unsigned long long) (te_session_usage(session)->truncated - before.truncated),
		   te_isa_name(), options->workers);
	if (options->vectors != NULL)
		write_vectors(job, texts.n, options->vectors);
	if (options->tokens != NULL)
		write_tokens(arena, model, &texts, options->tokens);
}

static void
run_server(void *arg)
{
	Options		options = *(const Options *) arg;
	TeArena    *arena = te_arena_create_root(NULL, "bench", 0, NULL);
	ServedModel models[16];
	int			n = 0;

	for (char *type = strtok(strdup(options.serve), ","); type != NULL && n < 16; type = strtok(NULL, ","))
	{
		options.quantization = type;
		models[n++] = (ServedModel) {type, load_model(arena, &options)};
	}
	serve(arena, models, n);
}

int
main(int argc, char **argv)
{
	Options		options = read_options(argc, argv);

	te_std_set_workers(options.workers);
	if (!te_isa_select(options.isa))
	{
		fprintf(stderr, "instruction set %s is not there\n", options.isa);
		return 2;
	}
	if (!te_std_run(options.serve != NULL ? run_server : run, &options))
	{
		fprintf(stderr, "error: %s\n", te_std_error()->message);
		return 1;
	}
	return 0;
}
