/*-------------------------------------------------------------------------
 * objective_mask.c
 *	  Pretraining an encoder: words are hidden, and found again (Devlin et al. 2019).
 *
 * A text is cut, between words where that is possible, into examples of about the same length that are no longer
 * than the run's longest; each has the special tokens that the tokenizer puts around a text.  Texts are not
 * joined: a batch has no padding that would make short ones dear.
 *
 * In the spool the targets of an example are the numbers of its tokens' words, -1 for tokens that are never hidden:
 * special ones, whether added or written in the text.  When the example is visited, prepare() chooses what to hide by
 * the stream: of the tokens, or words, each with the probability mask_rate, at least one.  Of these eight in ten become the
 * mask token, one in ten any token, one stays; the targets become the tokens that were
 * there, -1 where nothing is asked.  Another epoch has another stream, so it hides other words, and a
 * restored run the same.
 *
 * Only the rows that are asked for go through the head, which is as wide as the vocabulary.
 *-------------------------------------------------------------------------
 */
#include "base/random.h"
#include "train/train.h"

#define MASKED 0.8				/* of what is hidden */
#define ANY 0.1
#define TRIES 8					/* to find a token that is a word */

enum
{
	TEXT
};

/* Purposes of random streams. */
enum
{
	STREAM_CHOICE = 1,
	STREAM_FALLBACK,
	STREAM_KIND,
	STREAM_WORD
};

/* ---- examples ---- */

/* Tokens [from, stop) of a text between those that the tokenizer puts around it. */
static void
put_part(TeExamples *examples, const TeToken *tokens, size_t n, size_t n_before, size_t n_after, size_t from, size_t stop)
{
	TeArena    *arena = te_examples_arena(examples);
	const TeTokenizer *tokenizer = te_model_tokenizer(te_examples_model(examples));
	size_t		n_part = n_before + (stop - from) + n_after;
	TeToken    *part = te_new_array(arena, TeToken, n_part);
	TeExample	example = {.n_sequences = 1, .n_targets = (int32_t) n_part};
	bool		any = false;

	memcpy(part, tokens, n_before * sizeof(TeToken));
	memcpy(part + n_before, tokens + from, (stop - from) * sizeof(TeToken));
	memcpy(part + n_before + (stop - from), tokens + n - n_after, n_after * sizeof(TeToken));
	example.sequences[0] = te_sequence_of_tokens(arena, part, n_part);
	example.targets = te_new_array(arena, int32_t, n_part);
	for (size_t i = 0; i < n_part; i++)
	{
		bool		hidden = part[i].special || te_token_special(tokenizer, part[i].id);

		example.targets[i] = hidden ? -1 : (int32_t) (part[i].word & INT32_MAX);
		any |= !hidden;
	}
	if (any)
		te_examples_put(examples, &example);
}

/* Where a part that begins at `from` ends: at a word's beginning, where that does not halve it. */
static size_t
part_end(const TeToken *tokens, size_t from, size_t end, size_t room)
{
	size_t		left = (end - from + room - 1) / room;
	size_t		stop = from + (end - from + left - 1) / left;
	size_t		word = stop;

	while (word < end && word > from + room / 2 && tokens[word].word == tokens[word - 1].word)
		word--;
	return word > from + room / 2 ? word : stop;
}

static void
encode(TeExamples *examples, const TeValue *values)
{
	const TeModel *model = te_examples_model(examples);
	size_t		longest = te_examples_longest(examples);
	size_t		n_before = 0;
	size_t		n_after = 0;
	size_t		n;
	size_t		n_untruncated;
	size_t		room;
	TeToken    *tokens = te_encode_alloc(te_model_tokenizer(model), te_examples_arena(examples), values[TEXT].text,
										 (TeStr) {NULL, 0}, true, 0, &n, &n_untruncated);

	if (te_model_mask(model) < 0)
		te_throw_hint(TE_ERR_INVALID, NULL, "The objective \"mlm\" hides words behind that token; train_tokenizer() gives one to the kinds \"wordpiece\" and \"unigram\".",
					  "the model's tokenizer has no mask token");
	while (n_before < n && tokens[n_before].special)
		n_before++;
	while (n_after < n - n_before && tokens[n - 1 - n_after].special)
		n_after++;
	if (longest > 0 && longest <= n_before + n_after)
		te_throw(TE_ERR_INVALID, "option \"max_length\" leaves no room for words");
	room = longest > 0 ? longest - n_before - n_after : TE_MAX(n, (size_t) 1);
	for (size_t from = n_before, stop; from < n - n_after; from = stop)
	{
		stop = part_end(tokens, from, n - n_after, room);
		put_part(examples, tokens, n, n_before, n_after, from, stop);
	}
}

static bool
fits(const TeExample *example)
{
	bool		any = false;

	for (int32_t t = 0; t < example->n_targets; t++)
		any |= example->targets[t] >= 0;
	return any && example->n_sequences == 1 && example->n_targets == example->sequences[0].n;
}

/* ---- what is hidden ---- */

/* Any token but special ones; `kept` where luck has it that none is found. */
static int32_t
any_word(const TeModel *model, uint64_t stream, size_t i, int32_t kept)
{
	const TeTokenizer *tokenizer = te_model_tokenizer(model);
	uint64_t	n = (uint64_t) TE_MIN(te_vocab_size(tokenizer), te_model_config(model)->vocab_size);

	for (size_t attempt = 0; attempt < TRIES; attempt++)
	{
		int32_t		id = (int32_t) te_random_below(stream, i * TRIES + attempt, n);

		if (te_token_text(tokenizer, id).data != NULL && !te_token_special(tokenizer, id))
			return id;
	}
	return kept;
}

/* Number what may be hidden together: units[i], -1 for none.  Gives how many there are. */
static int32_t
number_units(const TeExample *example, bool whole_word, int32_t *units)
{
	int32_t		n = 0;

	for (int32_t i = 0; i < example->n_targets; i++)
	{
		bool		goes_on = whole_word && i > 0 && example->targets[i] == example->targets[i - 1];

		units[i] = example->targets[i] < 0 ? -1 : goes_on ? n - 1 : n++;
	}
	return n;
}

static double
hide_words(const TePiece *piece, TeExample *example, uint64_t stream)
{
	int32_t    *units = te_new_array(piece->arena, int32_t, example->n_targets);
	int32_t		n_units = number_units(example, piece->options->whole_word, units);
	uint64_t	choice = te_random_stream(stream, STREAM_CHOICE);
	uint64_t	kinds = te_random_stream(stream, STREAM_KIND);
	uint64_t	words = te_random_stream(stream, STREAM_WORD);
	int32_t		fallback = (int32_t) te_random_below(te_random_stream(stream, STREAM_FALLBACK), 0, (uint64_t) n_units);
	int32_t		mask = te_model_mask(piece->model);
	int32_t		n_words = te_model_config(piece->model)->vocab_size;
	int32_t    *ids = example->sequences[0].ids;
	double		n_hidden = 0;

	for (int32_t u = 0; u < n_units; u++)
	{
		if (te_random_uniform(choice, (uint64_t) u) < piece->options->mask_rate)
			fallback = -1;
	}
	for (int32_t i = 0; i < example->n_targets; i++)
	{
		double		kind = te_random_uniform(kinds, (uint64_t) i);

		example->targets[i] = -1;
		if (units[i] < 0 || (units[i] != fallback && te_random_uniform(choice, (uint64_t) units[i]) >= piece->options->mask_rate))
			continue;
		if (ids[i] < 0 || ids[i] >= n_words)
			te_throw(TE_ERR_CORRUPT, "the tokenizer gives token %d, but the model's vocabulary has %d", (int) ids[i], (int) n_words);
		example->targets[i] = ids[i];
		n_hidden++;
		if (kind < MASKED)
			ids[i] = mask;
		else if (kind < MASKED + ANY)
			ids[i] = any_word(piece->model, words, (size_t) i, ids[i]);
	}
	return n_hidden;
}

/* ---- the loss ---- */

/* [hidden tokens, vocabulary] */
static TeNode *
compute(TeGraph *graph, const TePiece *piece)
{
	TeNode	   *x = te_model_arch(piece->model)->forward(graph, piece->model, piece->batch);
	int32_t    *rows = te_new_array(piece->arena, int32_t, piece->batch->n_tok);
	int32_t		first = 0;
	size_t		n = 0;

	for (size_t e = 0; e < piece->n_examples; e++)
	{
		for (int32_t i = 0; i < piece->examples[e].n_targets; i++)
		{
			if (piece->examples[e].targets[i] >= 0)
				rows[n++] = first + i;
		}
		first += piece->examples[e].n_targets;
	}
	return te_head_forward(graph, piece->model, te_select_rows(graph, x, rows, n));
}

static void
loss(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	int32_t    *targets = te_new_array(piece->arena, int32_t, rows);
	size_t		n = 0;

	for (size_t e = 0; e < piece->n_examples; e++)
	{
		for (int32_t i = 0; i < piece->examples[e].n_targets; i++)
		{
			if (piece->examples[e].targets[i] >= 0)
				targets[n++] = piece->examples[e].targets[i];
		}
	}
	te_assert(n == rows);
	te_loss_cross_entropy(piece->arena, outputs, rows, cols, targets, NULL, (float) piece->options->label_smoothing, scale,
						  d_outputs, sum);
}

static const TeColumn columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{NULL}
};

const TeObjective te_objective_mlm = {
	.statement = "pretrain",
	.task = "mlm",
	.usual = true,
	.name = "mlm",
	.columns = columns,
	.head = TE_HEAD_MASK,
	.model_task = "fill-mask",
	.dropout = 0.1,
	.learning_rate = 1e-4,
	.encode = encode,
	.fits = fits,
	.prepare = hide_words,
	.compute = compute,
	.loss = loss,
};
