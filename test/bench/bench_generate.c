/*-------------------------------------------------------------------------
 * bench_generate.c
 *	  How fast a decoder generates, without a server.
 *
 *	  bench_generate MODEL [-q TYPE] [-w WORKERS] [-i ISA] [-c CACHE_TYPE] [-p PROMPT_WORDS] [-s SHARED_WORDS] [-n TOKENS] [-r ROWS]
 *					 [-m ROWS_TOGETHER] [-R ROUNDS] [-x] [-t] [-g]
 *
 * MODEL is a folder or a .gguf file.  ROWS prompts of PROMPT_WORDS random words each, after SHARED_WORDS that all have, and TOKENS made of each.
 * Prints tokens a second of prompts and of what was made, of each of three rounds.  -x: nothing is shared; -t: the seconds of each op;
 * -g: with guesses.
 *-------------------------------------------------------------------------
 */
#include "port_std.h"

#include "graph/graph.h"
#include "engine.h"

#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const words[] = {"the", "of", "and", "in", "to", "was", "is", "for", "on", "as", "with", "by", "at", "from", "his", "it",
	"an", "were", "are", "which", "this", "be", "had", "has", "first", "one", "their", "its", "after", "who", "they", "two", "her", "she",
	"been", "other", "when", "time", "during", "there", "into", "school", "more", "may", "years", "over", "only", "year", "most", "would",
"world", "city", "some", "where", "between", "later", "three", "state", "such", "then", "national", "used", "made", "known"};

static char *
random_words(TeArena *arena, uint32_t *state, int n)
{
	TeBuffer	text;

	te_buffer_init(&text, arena);
	for (int i = 0; i < n; i++)
	{
		*state = *state * 1664525 + 1013904223;
		te_buffer_add_str(&text, " ");
		te_buffer_add_str(&text, words[(*state >> 16) % TE_LENGTH(words)]);
	}
	te_buffer_add(&text, "", 1);
	return text.data;
}

typedef struct Options
{
	int			prompt;
	int			shared;
	int			rows;
	int			rounds;
	TeGenerateOptions generate;
	TeGeneratorLimits limits;
} Options;

/* Are there rows that have no token yet? */
static bool
has_prompts(TeGenerator *generator, int rows)
{
	for (int i = 0; i < rows; i++)
	{
		if (te_generator_row(generator, (size_t) i).n_tokens == 0)
			return true;
	}
	return false;
}

static void
measure(TeArena *arena, TeSession *session, const Options *options)
{
	TeGenerator *generator = te_generator_create(session, &options->limits);
	uint32_t	state = 1;
	char	   *shared = random_words(arena, &state, options->shared);
	size_t		n_prompt = 0;
	size_t		n_made = 0;
	size_t		n_first = 0;
	double		start;
	double		middle;
	double		end;

	for (int i = 0; i < options->rows; i++)
	{
		char	   *prompt = te_format(arena, "%s%s", shared, random_words(arena, &state, options->prompt));

		te_generator_feed(generator, te_str(prompt), &options->generate);
	}
	start = te_host_seconds();
	while (has_prompts(generator, options->rows) && te_generator_step(generator))
		;
	middle = te_host_seconds();
	for (int i = 0; i < options->rows; i++)
		n_first += te_generator_row(generator, (size_t) i).n_tokens;
	while (te_generator_step(generator))
		;
	end = te_host_seconds();
	for (int i = 0; i < options->rows; i++)
	{
		n_prompt += te_generator_row(generator, (size_t) i).n_prompt;
		n_made += te_generator_row(generator, (size_t) i).n_tokens;
	}
	printf("prompts %zu tokens %.1f/s, made %zu tokens %.1f/s, all in %.3f s\n", n_prompt, (double) n_prompt / (middle - start), n_made,
		   (double) (n_made - n_first) / (end - middle), end - start);
}

static void
print_profile(const double *seconds)
{
	for (int op = 0; op < te_op_count(); op++)
	{
		if (seconds[op] > 0)
			printf("  %-16s %.3f s\n", te_op_name(op), seconds[op]);
	}
}

int
main(int argc, char **argv)
{
	TeArena    *arena = te_arena_create_root(NULL, "bench", 0, NULL);
	const char *quantization = NULL;
	const char *isa = "auto";
	bool		profile = false;
	Options		options = {.prompt = 128,.rows = 1,.rounds = 3,.generate = te_generate_defaults,.limits = {.cache_type = TE_STR("f16")}};
	static const uint8_t digest[32] = {1};
	TeModelDef *def;
	TeImagePlan *plan;
	TeModel    *model;
	uint64_t	bytes;
	void	   *image;
	double	   *seconds;
	int			c;

	options.generate.no_guesses = true;
	options.generate.max_tokens = 64;
	while ((c = getopt(argc, argv, "q:w:i:c:p:s:n:r:m:R:xtg")) != -1)
	{
		switch (c)
		{
			case 'q': quantization = optarg; break;
			case 'w': te_std_set_workers(atoi(optarg)); break;
			case 'i': isa = optarg; break;
			case 'c': options.limits.cache_type = te_str(optarg); break;
			case 'p': options.prompt = atoi(optarg); break;
			case 's': options.shared = atoi(optarg); break;
			case 'n': options.generate.max_tokens = atoi(optarg); break;
			case 'r': options.rows = atoi(optarg); break;
			case 'm': options.limits.max_rows = atoi(optarg); break;
			case 'R': options.rounds = atoi(optarg); break;
			case 'x': options.limits.no_sharing = true; break;
			case 't': profile = true; break;
			case 'g': options.generate.no_guesses = false; break;
			default: return 2;
		}
	}
	if (optind >= argc || !te_isa_select(isa))
	{
		fprintf(stderr, "usage: see the head of bench_generate.c\n");
		return 2;
	}
	def = load_definition(arena, argv[optind], quantization);
	plan = te_image_plan(arena, def, digest, &bytes);
	image = aligned_alloc(64, TE_ALIGN(bytes, 64));
	memset(image, 0, bytes);
	te_image_build(arena, plan, image);
	model = te_model_attach(arena, image, bytes);
	seconds = te_new_array(arena, double, te_op_count());
	printf("image %.1f MB, isa %s\n", (double) bytes / 1e6, te_isa_name());
	for (int i = 0; i < options.rounds; i++)
	{
		TeSession  *session = te_session_create(arena, model, 0);

		memset(seconds, 0, (size_t) te_op_count() * sizeof(double));
		te_session_profile(session, profile ? seconds : NULL);
		measure(arena, session, &options);
		te_session_destroy(session);
	}
	if (profile)
		print_profile(seconds);
	return 0;
}
