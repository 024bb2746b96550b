/*-------------------------------------------------------------------------
 * objective_tokens.c
 *	  The objective of a label for each word: names, parts of speech.
 *
 * The words of a row are joined by spaces, as they are read when the model is used.  A
 * word's first token has its label; its others, and special tokens, have none (-1) and are no terms
 * of the loss, as is usual (Devlin et al. 2019).  What is cut off a long row is not learned.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

enum
{
	TOKENS,
	LABELS
};

/* Words in their text: word i is at [starts[i], stops[i]). */
typedef struct Words
{
	size_t		n;
	size_t	   *starts;
	size_t	   *stops;
	TeStr		text;
} Words;

static Words
join_words(TeArena *arena, const TeValue *value)
{
	Words		words = {value->n_texts, te_new_array(arena, size_t, value->n_texts), te_new_array(arena, size_t, value->n_texts)};
	size_t		len = 0;
	char	   *text;

	for (size_t i = 0; i < words.n; i++)
	{
		words.starts[i] = len;
		words.stops[i] = te_add_size(len, value->texts[i].len);
		len = te_add_size(words.stops[i], 1);
	}
	text = te_alloc(arena, len);
	for (size_t i = 0; i < words.n; i++)
	{
		if (value->texts[i].len > 0)
			memcpy(text + words.starts[i], value->texts[i].data, value->texts[i].len);
		text[words.stops[i]] = ' ';
	}
	words.text = (TeStr) {text, len - 1};
	return words;
}

/* The word that a token begins with, from `word` on; words.n: none. A token may begin with the space before its word. */
static size_t
word_of(const Words *words, const TeToken *token, size_t word)
{
	size_t		start = token->start;

	while (start < token->stop && words->text.data[start] == ' ')
		start++;
	while (word < words->n && words->stops[word] <= start)
		word++;
	return word;
}

static void
encode(TeExamples *examples, const TeValue *values)
{
	TeArena    *arena = te_examples_arena(examples);
	Words		words;
	size_t		n;
	TeToken    *tokens;
	size_t		last = SIZE_MAX;	/* the word that had its label last */
	size_t		word = 0;
	TeExample	example = {.n_sequences = 1};

	if (values[TOKENS].n_texts != values[LABELS].n_texts)
		te_throw(TE_ERR_INVALID, "the row has %zu tokens, but %zu labels", values[TOKENS].n_texts, values[LABELS].n_texts);
	if (values[TOKENS].n_texts == 0)
		te_throw(TE_ERR_INVALID, "the row has no tokens");
	words = join_words(arena, &values[TOKENS]);
	tokens = te_examples_tokenize(examples, words.text, (TeStr) {NULL, 0}, &n);
	example.sequences[0] = te_sequence_of_tokens(arena, tokens, n);
	example.n_targets = (int32_t) n;
	example.targets = te_new_array(arena, int32_t, n);
	for (size_t i = 0; i < n; i++)
	{
		example.targets[i] = -1;
		if (tokens[i].special)
			continue;
		word = word_of(&words, &tokens[i], word);
		if (word == words.n || word == last || tokens[i].stop <= words.starts[word])
			continue;
		example.targets[i] = te_examples_label(examples, values[LABELS].texts[word]);
		last = word;
	}
	if (last == SIZE_MAX)
		te_throw(TE_ERR_INVALID, "none of the row's tokens has anything that the model's tokenizer knows");
	te_examples_put(examples, &example);
}

static bool
fits(const TeExample *example)
{
	return example->n_sequences == 1 && example->n_targets == example->sequences[0].n;
}

/* A term for each word. */
static double
count_words(const TePiece *piece, TeExample *example, uint64_t stream)
{
	double		weight = 0;

	for (int32_t i = 0; i < example->n_targets; i++)
	{
		if (example->targets[i] >= 0)
			weight += piece->class_weights != NULL ? piece->class_weights[example->targets[i]] : 1;
	}
	return weight;
}

/* [tokens, labels] */
static TeNode *
compute(TeGraph *graph, const TePiece *piece)
{
	return te_task_tag.compute(piece->arena, graph, piece->model, piece->batch);
}

static void
loss(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	int32_t    *targets = te_new_array(piece->arena, int32_t, rows);
	size_t		n = 0;

	for (size_t e = 0; e < piece->n_examples; e++)
	{
		te_assert(n + (size_t) piece->examples[e].n_targets <= rows);
		memcpy(targets + n, piece->examples[e].targets, (size_t) piece->examples[e].n_targets * sizeof(int32_t));
		n += (size_t) piece->examples[e].n_targets;
	}
	te_loss_cross_entropy(piece->arena, outputs, rows, cols, targets, piece->class_weights,
						  (float) piece->options->label_smoothing, scale, d_outputs, sum);
}

static const TeColumn columns[] = {
	{"tokens", TE_COLUMN_TEXTS, false},
	{"labels", TE_COLUMN_TEXTS, false},
	{NULL}
};

const TeObjective te_objective_token_classification = {
	.statement = "finetune",
	.task = "token-classification",
	.name = "token_classification",
	.columns = columns,
	.head = TE_HEAD_TOKEN,
	.model_task = "token-classification",
	.labels = TE_LABELS_NAMED,
	.fewest_labels = 2,
	.dropout = 0.1,
	.learning_rate = 5e-5,
	.encode = encode,
	.fits = fits,
	.prepare = count_words,
	.compute = compute,
	.loss = loss,
};
