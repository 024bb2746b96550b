/*-------------------------------------------------------------------------
 * bench_grammar.c
 *	  What a mask of a constraint costs, with the vocabulary of a GGUF file.
 *
 *	  bench_grammar [-n TOKENS] VOCABULARY.gguf
 *
 * TOKENS: a vocabulary of that size is made of the file's, whose tokens are put together in pairs (the
 * size of Qwen2's is 151936).  Texts are drawn from masks at random, which leads to more different states than a
 * model would.  Prints how long it takes to sort the vocabulary; and for each grammar how long to compile it, and of all masks the mean and the
 * worst.
 *-------------------------------------------------------------------------
 */
#include "port_std.h"

#include "base/random.h"
#include "file/file.h"
#include "model/grammar.h"
#include "text/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TEXTS 20
#define MOST_TOKENS 400

typedef struct Options
{
	int64_t		n;
	const char *vocabulary;
} Options;

static const struct
{
	const char *name;
	const char *schema;			/* or NULL, and */
	const char *gbnf;
}			cases[] = {
	{"record", "{\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":\"integer\",\"minimum\":0,\"maximum\":150},"
	"\"tags\":{\"type\":\"array\",\"items\":{\"enum\":[\"red\",\"green\",\"blue\"]}},\"note\":{\"type\":\"string\"}},\"required\":[\"name\",\"age\",\"note\"]}", NULL},
	{"bounded strings", "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":100},\"minItems\":3}", NULL},
	{"any JSON", "{\"type\":\"object\"}", NULL},
	{"dates", "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"format\":\"date-time\"},\"minItems\":5}", NULL},
	{"arithmetic", NULL, "root ::= e\ne ::= t ([+-] t)*\nt ::= f ([*/] f)*\nf ::= [0-9]+ | \"(\" e \")\""},
	{"lines", NULL, "root ::= (\"- \" [^\\n]{1,200} \"\\n\"){3,}"},
};

static const TeTokenizer *
compile(TeArena *arena, const TeJson *json)
{
	TeBuffer	image;
	size_t		at;

	te_buffer_init(&image, arena);
	at = te_tokenizer_compile(arena, json, &image);
	return te_tokenizer_attach(image.data + at, image.len - at);
}

/* A token of at most so many bytes. */
static TeStr
short_token(const TeTokenizer *from, uint64_t *i, size_t most)
{
	for (;;)
	{
		TeStr		text = te_token_text(from, (int32_t) te_random_below(1, (*i)++, (uint64_t) te_vocab_size(from)));

		if (text.len > 0 && text.len <= most)
			return text;
	}
}

/* The tokens of one tokenizer, and pairs of short ones until there are n, as a tokenizer of bytes without merges. */
static const TeTokenizer *
larger(TeArena *arena, const TeTokenizer *from, int64_t n)
{
	TeBuffer	json;
	int64_t		n_from = te_vocab_size(from);
	uint64_t	random = 0;

	te_buffer_init(&json, arena);
	te_buffer_add_str(&json, "{\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
	for (int64_t i = 0; i < n; i++)
	{
		TeStr		a = i < n_from ? te_token_text(from, (int32_t) i) : short_token(from, &random, 5);
		TeStr		b = i < n_from ? TE_STR("") : short_token(from, &random, 3);

		if (i > 0)
			te_buffer_add_str(&json, ",");
		te_json_write_str(&json, te_str(te_format(arena, "%.*s%.*s", (int) a.len, a.data, (int) b.len, b.data)));
		te_buffer_add_str(&json, te_format(arena, ":%d", (int) i));
	}
	te_buffer_add_str(&json, "}}}");
	return compile(arena, te_json_parse(arena, (TeStr) {json.data, json.len}, "vocabulary"));
}

static int32_t
draw(const uint64_t *allowed, size_t n_words, uint64_t random)
{
	size_t		count = 0;

	for (size_t i = 0; i < n_words; i++)
		count += (size_t) __builtin_popcountll(allowed[i]);
	if (count == 0)
		return -1;
	random %= count;
	for (int32_t i = 0;; i++)
	{
		if ((allowed[i / 64] >> (i % 64) & 1) != 0 && random-- == 0)
			return i;
	}
}

static void
measure(TeArena *arena, const char *name, const TeGrammar *grammar, const TeTokens *tokens, int n_vocab, double compiled)
{
	size_t		n_words = ((size_t) n_vocab + 63) / 64;
	uint64_t   *allowed = te_new_array(arena, uint64_t, n_words);
	double		start = te_host_seconds();
	TeConstraint *constraint = te_constraint_create(arena, grammar, tokens, NULL, 0);
	double		created = te_host_seconds() - start;
	double		sum = 0;
	double		worst = 0;
	double		last = 0;
	int			n = 0;
	int			n_last = 0;

	for (uint64_t t = 0; t < TEXTS; t++)
	{
		TeConstraintState *state = te_constraint_begin(arena, constraint, false);

		for (size_t left = MOST_TOKENS; left > 0 && !te_constraint_finished(state); left--)
		{
			double		seconds;
			int32_t		id;

			start = te_host_seconds();
			te_constraint_mask(state, left, allowed);
			seconds = te_host_seconds() - start;
			sum += seconds;
			worst = seconds > worst ? seconds : worst;
			n++;
			if (t >= TEXTS / 2)
			{
				last += seconds;
				n_last++;
			}
			id = draw(allowed, n_words, te_random_bits(t, left));
			if (id < 0)
				break;
			te_constraint_accept(state, id);
		}
	}
	printf("%-16s compiled %7.2f ms, begun %7.2f ms, %5d masks: mean %7.1f us, second half %7.1f us, worst %6.2f ms\n", name, compiled * 1e3,
		   created * 1e3, n, sum / n * 1e6, last / TE_MAX(n_last, 1) * 1e6, worst * 1e3);
}

static void
run(void *arg)
{
	const Options *options = arg;
	TeArena    *arena = te_arena_create_root(NULL, "bench", 0, NULL);
	TeSource	source = te_std_file(arena, options->vocabulary);
	TeModelFile file;
	const TeTokenizer *tokenizer;
	const TeTokens *tokens;
	double		start;
	int			n_vocab;

	te_gguf_read(arena, &source, &file);
	tokenizer = compile(arena, te_tokenizer_from_gguf(arena, file.meta));
	if (options->n > 0)
		tokenizer = larger(arena, tokenizer, options->n);
	n_vocab = te_vocab_size(tokenizer);
	start = te_host_seconds();
	tokens = te_tokens_create(arena, tokenizer, n_vocab);
	printf("%d tokens, sorted in %.1f ms\n", n_vocab, (te_host_seconds() - start) * 1e3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		const TeGrammar *grammar;

		start = te_host_seconds();
		if (cases[i].schema != NULL)
			grammar = te_grammar_from_schema(arena, te_json_parse(arena, te_str(cases[i].schema), "schema"));
		else
			grammar = te_grammar_from_gbnf(arena, te_str(cases[i].gbnf));
		measure(arena, cases[i].name, grammar, tokens, n_vocab, te_host_seconds() - start);
	}
}

int
main(int argc, char **argv)
{
	Options		options = {0};
	int			c;

	while ((c = getopt(argc, argv, "n:")) != -1)
	{
		if (c != 'n')
			return 2;
		options.n = atoll(optarg);
	}
	if (argc - optind != 1)
	{
		fprintf(stderr, "usage: bench_grammar [-n TOKENS] VOCABULARY.gguf\n");
		return 2;
	}
	options.vocabulary = argv[optind];
	if (!te_std_run(run, &options))
	{
		fprintf(stderr, "error: %s\n", te_std_error()->message);
		return 1;
	}
	return 0;
}
