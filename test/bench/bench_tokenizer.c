/*-------------------------------------------------------------------------
 * bench_tokenizer.c
 *	  Tokenizers without a model: the tokens of each text of a file.
 *
 *	  bench_tokenizer [-c CONFIG] [-m MERGES] [-t MODEL_TYPE] [-r REPEATS] VOCABULARY TEXTS
 *
 * VOCABULARY is a tokenizer.json, vocab.txt, SentencePiece .model or .gguf
 * file, or, with -m, a vocab.json; CONFIG is the tokenizer_config.json that
 * goes with it, MODEL_TYPE that of config.json.  A line of TEXTS is an object of JSON:
 * {"text": ..., "pair": ..., "special": true, "limit": 0}; all but text may be missing.
 *
 * Prints a line for each: id:type:start:stop of each token, "s" before those that the post-processor
 * added; offsets are bytes of the text, or of the pair where "p" is before.  What could not be
 * encoded is "!" and the reason.  compare_tokenizers.py beside this file holds
 * the lines against the reference.  On the standard error: bytes a second, of the best of REPEATS.
 *-------------------------------------------------------------------------
 */
#include "port_std.h"

#include "engine.h"
#include "file/file.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct Options
{
	const char *config;
	const char *merges;
	const char *model_type;
	const char *vocabulary;
	const char *texts;
	int			repeats;
} Options;

typedef struct Case
{
	TeStr		text;
	TeStr		pair;
	bool		special;
	size_t		limit;
} Case;

typedef struct Cases
{
	size_t		n;
	Case	   *items;
} Cases;

static void
usage(void)
{
	fprintf(stderr, "usage: bench_tokenizer [-c CONFIG] [-m MERGES] [-t MODEL_TYPE] [-r REPEATS] VOCABULARY TEXTS\n");
	exit(2);
}

static Options
read_options(int argc, char **argv)
{
	Options		options = {.model_type = "", .repeats = 1};
	int			c;

	while ((c = getopt(argc, argv, "c:m:t:r:")) != -1)
	{
		switch (c)
		{
			case 'c':
				options.config = optarg;
				break;
			case 'm':
				options.merges = optarg;
				break;
			case 't':
				options.model_type = optarg;
				break;
			case 'r':
				options.repeats = atoi(optarg);
				break;
			default:
				usage();
		}
	}
	if (argc - optind != 2)
		usage();
	options.vocabulary = argv[optind];
	options.texts = argv[optind + 1];
	return options;
}

static TeStr
whole_file(TeArena *arena, const char *path)
{
	TeSource	source = te_std_file(arena, path);

	return te_source_whole(arena, &source, SIZE_MAX);
}

/* The kind of file goes by its name. */
static const TeJson *
read_tokenizer(TeArena *arena, const Options *options)
{
	TeStr		name = te_str(options->vocabulary);
	TeStr		type = te_str(options->model_type);
	const TeJson *config = options->config != NULL ?
		te_json_parse(arena, whole_file(arena, options->config), options->config) : NULL;

	if (te_str_ends(name, ".gguf"))
	{
		TeSource	source = te_std_file(arena, options->vocabulary);
		TeModelFile file;

		te_gguf_read(arena, &source, &file);
		return te_tokenizer_from_gguf(arena, file.meta);
	}
	if (te_str_ends(name, ".txt"))
		return te_tokenizer_from_vocab_txt(arena, whole_file(arena, options->vocabulary), config);
	if (te_str_ends(name, ".model"))
		return te_tokenizer_from_spm(arena, whole_file(arena, options->vocabulary), config, type);
	if (options->merges != NULL)
		return te_tokenizer_from_bpe(arena, te_json_parse(arena, whole_file(arena, options->vocabulary), options->vocabulary),
									 whole_file(arena, options->merges), config, type);
	return te_json_parse(arena, whole_file(arena, options->vocabulary), options->vocabulary);
}

/* An empty text is one, too; a missing one is none. */
static TeStr
text_of(const TeJson *node, const char *key)
{
	TeStr		text = te_json_str(node, key, NULL);

	if (te_json_get(node, key) != NULL && text.len == 0)
		return TE_STR("");
	return text;
}

static Cases
read_cases(TeArena *arena, const char *path)
{
	TeStr		whole = whole_file(arena, path);
	Cases		cases = {0};
	size_t		start = 0;

	for (size_t i = 0; i < whole.len; i++)
		cases.n += whole.data[i] == '\n';
	cases.items = te_new_array(arena, Case, cases.n);
	cases.n = 0;
	for (size_t i = 0; i < whole.len; i++)
	{
		const TeJson *node;

		if (whole.data[i] != '\n')
			continue;
		node = te_json_parse(arena, (TeStr) {whole.data + start, i - start}, path);
		cases.items[cases.n++] = (Case) {text_of(node, "text"), text_of(node, "pair"),
			te_json_bool(node, "special", true), (size_t) te_json_int_range(node, "limit", 0, 0, INT32_MAX)};
		start = i + 1;
	}
	return cases;
}

static void
print_tokens(const TeToken *tokens, size_t n)
{
	for (size_t i = 0; i < n; i++)
		printf("%s%s%s%d:%d:%u:%u", i > 0 ? " " : "", tokens[i].special ? "s" : "", tokens[i].sequence == 1 ? "p" : "",
			   (int) tokens[i].id, (int) tokens[i].type_id, tokens[i].start, tokens[i].stop);
	printf("\n");
}

/* Grows the scratch until it suffices. */
static TeTextStatus
encode(const TeTokenizer *tokenizer, TeArena *arena, const Case *c, TeTextScratch *scratch)
{
	for (;;)
	{
		TeTextStatus status = te_encode(tokenizer, c->text, c->pair, c->special, c->limit, scratch);

		if (status != TE_TEXT_MORE)
			return status;
		*scratch = (TeTextScratch) {.memory = te_alloc(arena, scratch->wanted),.bytes = scratch->wanted};
	}
}

static void
run(void *arg)
{
	const Options *options = arg;
	TeArena    *arena = te_arena_create_root(NULL, "bench", 0, NULL);
	Cases		cases = read_cases(arena, options->texts);
	TeTextScratch scratch = {0};
	const TeTokenizer *tokenizer;
	TeBuffer	image;
	double		best = 1e30;
	size_t		bytes = 0;
	size_t		offset;

	te_buffer_init(&image, arena);
	offset = te_tokenizer_compile(arena, read_tokenizer(arena, options), &image);
	tokenizer = te_tokenizer_attach(image.data + offset, image.len - offset);
	for (int k = 0; k < options->repeats; k++)
	{
		double		start = te_host_seconds();

		for (size_t i = 0; i < cases.n; i++)
		{
			TeTextStatus status = encode(tokenizer, arena, &cases.items[i], &scratch);

			if (k > 0)
				continue;
			bytes += cases.items[i].text.len + cases.items[i].pair.len;
			if (status == TE_TEXT_OK)
				print_tokens(scratch.tokens, scratch.n_tokens);
			else
				printf("!%d\n", (int) status);
		}
		best = TE_MIN(best, te_host_seconds() - start);
	}
	fprintf(stderr, "%zu texts, %zu bytes, %.2f MB/s\n", cases.n, bytes, bytes / best / 1e6);
}

int
main(int argc, char **argv)
{
	Options		options = read_options(argc, argv);

	te_std_set_workers(1);
	if (!te_std_run(run, &options))
	{
		fprintf(stderr, "error: %s\n", te_std_error()->message);
		return 1;
	}
	return 0;
}
