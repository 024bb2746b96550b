/*-------------------------------------------------------------------------
 * bench_train.c
 *	  Training without a server: a classifier from a file, or only how fast steps are.
 *
 *	  bench_train MODEL -t ROWS [-e ROWS] [-o NAME=VALUE ...] [-w WORKERS] [-i ISA] [-q TYPE] [-l LIMIT_MB] [-x EXPORT]
 *	  bench_train MODEL -s TOKENS [-n STEPS] [-o NAME=VALUE ...] [-w WORKERS] [-i ISA] [-q TYPE] [-l LIMIT_MB]
 *
 * MODEL is a folder or a .gguf file, ROWS a file of label, tab, text in each line.  NAME=VALUE is an option of training
 * (train/options.c), its value as JSON, or as it stands where that is none.  Prints a line for every tenth of the steps and for each
 * evaluation, then what was trained, in what time, and the most memory that the process had.  -x exports the new
 * version, to a folder.
 *
 * -s measures: batches of 32 texts of so many tokens each, or, for 0, of 5 to 128 tokens, as many of each length; 77 labels.  The
 * first two steps are not counted.  train_speed.py beside this file does the same with PyTorch.
 *-------------------------------------------------------------------------
 */
#include "port_std.h"

#include "base/random.h"
#include "engine.h"

#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define MAX_OPTIONS 32
#define UNCOUNTED 2				/* steps before time is taken */
#define SHORTEST 5				/* tokens of mixed texts */
#define LONGEST 128
#define N_LABELS 77

typedef struct Options
{
	const char *model;
	const char *rows;
	const char *eval_rows;
	const char *quantization;
	const char *isa;
	const char *export;
	int			workers;
	int			synthetic;		/* -1: no */
	int			steps;
	size_t		limit;
	int			n_options;
	char	   *options[MAX_OPTIONS];
} Options;

static void
usage(void)
{
	fprintf(stderr, "usage: bench_train MODEL -t ROWS [-e ROWS] [-o NAME=VALUE ...] [-w WORKERS] [-i ISA] [-q TYPE] [-l LIMIT_MB] [-x EXPORT]\n"
			"       bench_train MODEL -s TOKENS [-n STEPS] [-o NAME=VALUE ...] [-w WORKERS] [-i ISA] [-q TYPE] [-l LIMIT_MB]\n");
	exit(2);
}

static Options
read_options(int argc, char **argv)
{
	Options		options = {.workers = 1, .isa = "auto", .synthetic = -1, .steps = 10};
	int			c;

	while ((c = getopt(argc, argv, "t:e:o:w:i:q:l:x:s:n:")) != -1)
	{
		switch (c)
		{
			case 't':
				options.rows = optarg;
				break;
			case 'e':
				options.eval_rows = optarg;
				break;
			case 'o':
				if (options.n_options == MAX_OPTIONS || strchr(optarg, '=') == NULL)
					usage();
				options.options[options.n_options++] = optarg;
				break;
			case 'w':
				options.workers = atoi(optarg);
				break;
			case 'i':
				options.isa = optarg;
				break;
			case 'q':
				options.quantization = optarg;
				break;
			case 'l':
				options.limit = (size_t) atoi(optarg) << 20;
				break;
			case 'x':
				options.export = optarg;
				break;
			case 's':
				options.synthetic = atoi(optarg);
				break;
			case 'n':
				options.steps = atoi(optarg);
				break;
			default:
				usage();
		}
	}
	if (argc - optind != 1 || (options.rows == NULL) == (options.synthetic < 0))
		usage();
	options.model = argv[optind];
	return options;
}

/* Values that are no JSON are strings. */
static const TeJson *
option_value(TeArena *arena, const char *text)
{
	const TeJson *volatile value = NULL;

	TE_TRY
	{
		value = te_json_parse(arena, te_str(text), "option");
	}
	TE_CATCH
	{
		value = te_json_parse(arena, te_str(te_format(arena, "\"%s\"", text)), "option");
	}
	TE_END_TRY;
	return value;
}

static TeTrainOptions *
training_options(TeArena *arena, const TeObjective *objective, const Options *options)
{
	TeTrainOptions *result = te_train_options(arena, objective);

	for (int i = 0; i < options->n_options; i++)
	{
		const char *equals = strchr(options->options[i], '=');
		TeStr		name = {options->options[i], (size_t) (equals - options->options[i])};

		te_train_set(result, name, option_value(arena, equals + 1));
	}
	return result;
}

/* ---- rows ---- */

static void
add_row(TeExamples *examples, TeStr label, TeStr text)
{
	TeValue		values[3] = {{0}};	/* of the columns text, text_pair, label */

	values[0] = (TeValue) {.given = true, .text = text};
	values[2] = (TeValue) {.given = true, .text = label};
	te_examples_add(examples, values);
}

static void
add_file(TeArena *arena, TeExamples *examples, const char *path)
{
	TeSource	file = te_std_file(arena, path);
	TeStr		all = te_source_whole(arena, &file, SIZE_MAX);
	const char *end = all.data + all.len;

	for (const char *line = all.data; line < end;)
	{
		const char *stop = memchr(line, '\n', (size_t) (end - line));
		const char *tab = memchr(line, '\t', (size_t) ((stop != NULL ? stop : end) - line));

		stop = stop != NULL ? stop : end;
		if (tab == NULL)
			te_throw(TE_ERR_INVALID, "a line of \"%s\" has no tab", path);
		add_row(examples, (TeStr) {line, (size_t) (tab - line)}, (TeStr) {tab + 1, (size_t) (stop - tab - 1)});
		line = stop + 1;
	}
}

/* Letters, of which each is a token in the vocabularies that are measured. */
static void
add_synthetic(TeArena *arena, TeExamples *examples, int tokens, int n)
{
	for (int i = 0; i < n; i++)
	{
		int			length = tokens > 0 ? tokens : SHORTEST + (int) te_random_below(1, (uint64_t) i, LONGEST - SHORTEST + 1);
		char	   *text = te_alloc(arena, 2 * (size_t) length);

		for (int j = 0; j < length - 2; j++)
		{
			text[2 * j] = (char) ('a' + te_random_below(2, (uint64_t) (i * LONGEST + j), 26));
			text[2 * j + 1] = ' ';
		}
		add_row(examples, te_str(te_format(arena, "label %d", i % N_LABELS)), (TeStr) {text, 2 * (size_t) (length - 2)});
	}
}

/* Examples of a file, or made up, in memory; the model is dropped behind it. */
static TeExamples *
make_examples(TeArena *arena, const TeModelDef *def, const TeObjective *objective, const TeTrainOptions *train, const TeExamples *like,
			  const Options *options, const char *path)
{
	static const uint8_t digest[32];
	TeArena    *scratch = te_arena_create(arena, "model");
	TeBuffer   *spool = te_new(arena, TeBuffer);
	TeSource   *source = te_new(arena, TeSource);
	uint64_t	bytes;
	TeImagePlan *plan = te_image_plan(scratch, def, digest, &bytes);
	void	   *image = te_alloc0(scratch, bytes);
	TeSink		sink;
	TeExamples *examples;

	te_image_build(scratch, plan, image);
	te_buffer_init(spool, arena);
	sink = te_sink_buffer(spool);
	examples = te_examples_create(scratch, te_model_attach(scratch, image, bytes), objective, train, like, &sink);
	if (path != NULL)
		add_file(scratch, examples, path);
	else
		add_synthetic(scratch, examples, options->synthetic, (UNCOUNTED + options->steps) * 32);
	te_examples_finish(examples);
	te_arena_destroy(scratch);
	*source = te_source_memory("spool", spool->data, spool->len);
	return te_examples_open(arena, objective, source);
}

/* ---- a run ---- */

static double
peak_megabytes(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double) usage.ru_maxrss / 1024;
}

static void
print_evaluation(TeTrainer *trainer, const TeTrainStep *step)
{
	size_t		n;
	double		start = te_host_seconds();
	const TeTrainMetric *metrics = te_trainer_evaluate(trainer, &n);

	printf("evaluation after step %lld:", (long long) step->step);
	for (size_t i = 0; i < n; i++)
		printf(" %s %.4f", metrics[i].name, metrics[i].value);
	printf(", %.1f s\n", te_host_seconds() - start);
}

/* Bytes of tensors that are not the base's. */
static uint64_t
own_bytes(const TeModelDef *base, const TeModelDef *def)
{
	uint64_t	bytes = 0;

	for (size_t i = 0; i < def->tensors.n; i++)
	{
		const TeTensorInfo *tensor = &def->tensors.tensors[i];
		const TeTensorInfo *same = te_tensor_find(&base->tensors, tensor->name);

		if (same == NULL || same->source != tensor->source || same->offset != tensor->offset)
			bytes += tensor->bytes;
	}
	return bytes;
}

static void
print_result(TeArena *arena, TeTrainer *trainer, const TeModelDef *base, const Options *options)
{
	TeModelDef *def = te_trainer_definition(trainer, arena);
	uint64_t	own = own_bytes(base, def);

	printf("%llu elements trained; %.2f MB of %.2f MB are new (%.2f %% of the base)\n",
		   (unsigned long long) te_trainer_parameters(trainer), (double) own / 1e6, (double) def->bytes / 1e6,
		   100.0 * (double) own / (double) base->bytes);
	if (options->export != NULL)
	{
		TeFolderSink folder = te_std_folder_sink(arena, options->export);

		te_export_folder(arena, def, &folder);
	}
}

static void
run(void *arg)
{
	const Options *options = arg;
	TeArena    *arena = te_arena_create_root(NULL, "bench", 0, NULL);
	TeModelDef *base = load_definition(arena, options->model, options->quantization);
	TeStr		columns[] = {TE_STR("label"), TE_STR("text")};
	const TeObjective *objective = te_objective_find(arena, "finetune", TE_STR("classification"), base->task, base->architecture, columns, 2);
	TeTrainOptions *train = training_options(arena, objective, options);
	TeExamples *examples = make_examples(arena, base, objective, train, NULL, options, options->rows);
	TeExamples *evaluation = options->eval_rows == NULL ? NULL
		: make_examples(arena, base, objective, train, examples, options, options->eval_rows);
	TeTrainer  *trainer = te_trainer_create(arena, base, objective, train, examples, evaluation, options->limit);
	TeTrainStep step = {0};
	TeTrainStep before = {0};	/* time is taken */
	double		seconds = 0;

	while (options->synthetic < 0 || step.step < UNCOUNTED + options->steps)
	{
		double		start = te_host_seconds();

		if (!te_trainer_step(trainer, &step))
			break;
		if (options->synthetic >= 0 && step.step <= UNCOUNTED)
			before = step;
		else
			seconds += te_host_seconds() - start;
		if (step.step * 10 / step.n_steps != (step.step - 1) * 10 / step.n_steps)
			printf("step %lld of %lld, loss %.4f, learning rate %.3g, gradient %.3g, %.1f s\n", (long long) step.step,
				   (long long) step.n_steps, step.loss, step.learning_rate, step.gradient_norm, seconds);
		if (te_trainer_evaluation_due(trainer))
			print_evaluation(trainer, &step);
		fflush(stdout);
	}
	printf("%.1f examples/s, %.0f tokens/s, %.2f s, peak %.0f MB, isa %s, %d workers\n", (double) (step.rows - before.rows) / seconds,
		   (double) (step.tokens - before.tokens) / seconds, seconds, peak_megabytes(), te_isa_name(), options->workers);
	print_result(arena, trainer, base, options);
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
	if (!te_std_run(run, &options))
	{
		fprintf(stderr, "error: %s\n", te_std_error()->message);
		return 1;
	}
	return 0;
}
