/*-------------------------------------------------------------------------
 * objective_embed.c
 *	  Objectives of embeddings: what belongs together is to be close, or as close as a number says.
 *
 *	  (anchor, positive [, negative])	of all texts of a batch, an anchor's own positive is the closest; or, by the option
 *										"loss", closer than its own negative by a margin
 *	  (text, text_pair, score)			the cosine is the score
 *
 * Texts are embedded as the task "embed" does it, by the base's own pipeline: an anchor with the prompt of a query and
 * its positive and negative with that of a passage, where the model has such prompts, else with the one that it
 * has for all texts.
 *
 * To add a loss: its function and a row of `losses`.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

enum
{
	ANCHOR,
	POSITIVE,
	NEGATIVE
};

typedef struct PairLoss
{
	const char *name;			/* of the option "loss" */
	bool		needs_negative;
	void		(*loss) (const TePiece *piece, const float *vectors, size_t each, size_t cols, float scale, float *d, TeLossSum *sum);
} PairLoss;

static void
loss_in_batch(const TePiece *piece, const float *vectors, size_t each, size_t cols, float scale, float *d, TeLossSum *sum)
{
	te_loss_in_batch(piece->arena, vectors, piece->n_examples, each, cols, (float) piece->options->cosine_scale, scale, d, sum);
}

static void
loss_triplet(const TePiece *piece, const float *vectors, size_t each, size_t cols, float scale, float *d, TeLossSum *sum)
{
	te_assert(each == 3);
	te_loss_triplet(piece->arena, vectors, piece->n_examples, cols, (float) piece->options->margin, scale, d, sum);
}

static const PairLoss losses[] = {
	{"", false, loss_in_batch},
	{"triplet", true, loss_triplet},
};

static const PairLoss *
find_loss(TeStr name)
{
	for (size_t i = 0; i < TE_LENGTH(losses); i++)
	{
		if (te_str_is(name, losses[i].name))
			return &losses[i];
	}
	return NULL;
}

const char *
te_pair_loss_name(size_t i)
{
	return i < TE_LENGTH(losses) ? losses[i].name : NULL;
}

TeSequence
te_examples_embedded(TeExamples *examples, TeStr text, const char *kind)
{
	TeJobOptions options = {.kind = kind != NULL ? te_str(kind) : (TeStr) {NULL, 0}};
	TeStr		prompt = te_task_embed.prompt(te_examples_model(examples), &options);
	char	   *prompted;

	if (prompt.data == NULL)
		prompt = te_task_embed.prompt(te_examples_model(examples), &(TeJobOptions) {0});
	if (prompt.len == 0)
		return te_examples_sequence(examples, text, (TeStr) {NULL, 0});
	prompted = te_alloc(te_examples_arena(examples), te_add_size(prompt.len, text.len));
	memcpy(prompted, prompt.data, prompt.len);
	memcpy(prompted + prompt.len, text.data, text.len);
	return te_examples_sequence(examples, (TeStr) {prompted, prompt.len + text.len}, (TeStr) {NULL, 0});
}

/* [texts, dimensions] */
static TeNode *
compute(TeGraph *graph, const TePiece *piece)
{
	return te_task_embed.compute(piece->arena, graph, piece->model, piece->batch);
}

/* ---- what belongs together ---- */

static void
encode_pair(TeExamples *examples, const TeValue *values)
{
	TeExample	example = {.n_sequences = values[NEGATIVE].given ? 3 : 2};

	if (find_loss(te_examples_options(examples)->loss)->needs_negative && !values[NEGATIVE].given)
		te_throw_hint(TE_ERR_INVALID, NULL, "Give the query a column \"negative\", or leave the option out: then the other rows are the negatives.",
					  "the option \"loss\" wants a negative for each anchor");
	example.sequences[ANCHOR] = te_examples_embedded(examples, values[ANCHOR].text, "query");
	for (int i = POSITIVE; i < example.n_sequences; i++)
		example.sequences[i] = te_examples_embedded(examples, values[i].text, "passage");
	te_examples_put(examples, &example);
}

static void
loss_pair(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	find_loss(piece->options->loss)->loss(piece, outputs, rows / piece->n_examples, cols, scale, d_outputs, sum);
}

static bool
fits_pair(const TeExample *example)
{
	return example->n_sequences >= 2;
}

static const TeColumn pair_columns[] = {
	{"anchor", TE_COLUMN_TEXT, false},
	{"positive", TE_COLUMN_TEXT, false},
	{"negative", TE_COLUMN_TEXT, true},
	{NULL}
};

const TeObjective te_objective_embedding = {
	.statement = "finetune",
	.task = "embedding",
	.name = "embedding",
	.columns = pair_columns,
	.head = TE_HEAD_NONE,
	.model_task = "embedding",
	.whole = true,
	.dropout = 0.1,
	.learning_rate = 2e-5,
	.encode = encode_pair,
	.fits = fits_pair,
	.compute = compute,
	.loss = loss_pair,
};

/* ---- how close two texts are ---- */

enum
{
	TEXT,
	TEXT_PAIR,
	SCORE
};

static void
encode_score(TeExamples *examples, const TeValue *values)
{
	TeExample	example = {.n_sequences = 2, .n_targets = 1};
	double		score = values[SCORE].real;
	int32_t		bits = te_target_of_real((float) score);

	if (!(score >= -1 && score <= 1))
		te_throw_hint(TE_ERR_INVALID, NULL, "Divide scores by the largest there can be: SELECT ..., rating / 5.0 AS score.",
					  "score %g is no cosine: it must be between -1 and 1", score);
	example.sequences[TEXT] = te_examples_embedded(examples, values[TEXT].text, NULL);
	example.sequences[TEXT_PAIR] = te_examples_embedded(examples, values[TEXT_PAIR].text, NULL);
	example.targets = &bits;
	te_examples_put(examples, &example);
}

static void
loss_score(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	float	   *targets = te_new_array(piece->arena, float, piece->n_examples);

	te_assert(rows == 2 * piece->n_examples);
	for (size_t i = 0; i < piece->n_examples; i++)
		targets[i] = te_real_of_target(piece->examples[i].targets[0]);
	te_loss_cosine(piece->arena, outputs, piece->n_examples, cols, targets, scale, d_outputs, sum);
}

static bool
fits_score(const TeExample *example)
{
	return example->n_sequences == 2 && example->n_targets == 1;
}

static const TeColumn score_columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{"text_pair", TE_COLUMN_TEXT, false},
	{"score", TE_COLUMN_REAL, false},
	{NULL}
};

const TeObjective te_objective_embedding_score = {
	.statement = "finetune",
	.task = "embedding",
	.name = "embedding_score",
	.columns = score_columns,
	.head = TE_HEAD_NONE,
	.model_task = "embedding",
	.dropout = 0.1,
	.learning_rate = 2e-5,
	.encode = encode_score,
	.fits = fits_score,
	.compute = compute,
	.loss = loss_score,
};
