/*-------------------------------------------------------------------------
 * objective_distill.c
 *	  Distillation: a student learns to say what a teacher says, of labels, numbers or vectors.
 *
 * The teacher is asked once, when the rows are spooled: what it said of a row is the example's soft
 * vector, so that a run needs it no more.  The teacher's labels are the student's, in the
 * same order.
 *
 * Labels (Hinton et al. 2015): the divergence of the student's distribution from the teacher's, both softened by the option
 * "temperature", and where the query has labels too, cross-entropy with these:
 *
 *	  alpha * temperature^2 * KL(teacher, student) + (1 - alpha) * cross-entropy
 *
 * Numbers likewise, by squared differences.  Without labels or scores the teacher alone counts.
 *
 * Labels of tokens: the same for each token but special ones, from the teacher alone.  Both must cut texts into the
 * same tokens.
 *
 * Vectors: their directions are compared, or by the option "match" their elements.  Where the teacher's are of
 * another width, the student ends with a dense layer of that width (build.c), so that both embed into the same space.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

enum
{
	TEXT,
	TEXT_PAIR,
	TARGET
};

/* What the teacher said of the examples, [n_examples, cols]. */
static const float *
soft_rows(const TePiece *piece, size_t rows, size_t cols)
{
	float	   *soft = te_new_array(piece->arena, float, te_mul_size(rows, cols));

	te_assert(rows == piece->n_examples);
	for (size_t i = 0; i < rows; i++)
	{
		te_assert((size_t) piece->examples[i].n_soft == cols);
		memcpy(soft + i * cols, piece->examples[i].soft, cols * sizeof(float));
	}
	return soft;
}

/* How much the teacher counts.  The query has the column for all rows or for none. */
static double
soft_share(const TePiece *piece)
{
	return piece->examples[0].n_targets > 0 ? piece->options->alpha : 1;
}

/* What is told of the answers is from the rows' own, where there are such. */
static void
add_shares(TeLossSum *sum, double share, const TeLossSum *soft, const TeLossSum *hard)
{
	const TeLossSum *judge = hard->n_judged > 0 ? hard : soft;

	sum->loss += share * soft->loss + (1 - share) * hard->loss;
	sum->weight += soft->weight;
	sum->n_right += judge->n_right;
	sum->n_judged += judge->n_judged;
}

static bool
fits_texts(const TeExample *example)
{
	return example->n_sequences == 1 && example->n_targets <= 1;
}

static TeNode *
compute_texts(TeGraph *graph, const TePiece *piece)
{
	return te_task_classify.compute(piece->arena, graph, piece->model, piece->batch);
}

/* ---- labels ---- */

static void
encode_label(TeExamples *examples, const TeValue *values)
{
	TeExample	example = te_examples_of_texts(examples, &values[TEXT], &values[TEXT_PAIR]);
	int32_t		label;

	if (values[TARGET].given)
	{
		label = te_examples_label(examples, values[TARGET].text);
		example.n_targets = 1;
		example.targets = &label;
	}
	te_examples_put(examples, &example);
}

static void
loss_label(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	double		share = soft_share(piece);
	int32_t    *targets = te_new_array(piece->arena, int32_t, rows);
	TeLossSum	soft = {0};
	TeLossSum	hard = {0};

	te_loss_soft(piece->arena, outputs, rows, cols, soft_rows(piece, rows, cols), piece->options->temperature,
				 scale * (float) share, d_outputs, &soft);
	for (size_t i = 0; i < rows; i++)
		targets[i] = piece->examples[i].n_targets > 0 ? piece->examples[i].targets[0] : -1;
	if (piece->examples[0].n_targets > 0)
		te_loss_cross_entropy(piece->arena, outputs, rows, cols, targets, piece->class_weights, (float) piece->options->label_smoothing,
							  scale * (float) (1 - share), d_outputs, &hard);
	add_shares(sum, share, &soft, &hard);
}

static const TeColumn label_columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{"text_pair", TE_COLUMN_TEXT, true},
	{"label", TE_COLUMN_TEXT, true},
	{NULL}
};

const TeObjective te_objective_distill_classification = {
	.statement = "distill",
	.task = "classification",
	.name = "distill_classification",
	.columns = label_columns,
	.teacher = "classify",
	.head = TE_HEAD_SEQUENCE,
	.model_task = "classification",
	.problem_type = "single_label_classification",
	.labels = TE_LABELS_NAMED,
	.dropout = 0.1,
	.learning_rate = 5e-5,
	.encode = encode_label,
	.fits = fits_texts,
	.compute = compute_texts,
	.loss = loss_label,
};

/* ---- a number ---- */

static void
encode_number(TeExamples *examples, const TeValue *values)
{
	TeExample	example = te_examples_of_texts(examples, &values[TEXT], &values[TEXT_PAIR]);
	int32_t		bits;

	if (values[TARGET].given)
	{
		bits = te_target_of_number(values[TARGET].real);
		example.n_targets = 1;
		example.targets = &bits;
	}
	te_examples_put(examples, &example);
}

static void
loss_number(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	double		share = soft_share(piece);
	float	   *targets = te_new_array(piece->arena, float, rows);
	TeLossSum	soft = {0};
	TeLossSum	hard = {0};

	te_assert(cols == 1);
	te_loss_square(outputs, rows, cols, soft_rows(piece, rows, cols), scale * (float) share, d_outputs, &soft);
	for (size_t i = 0; i < rows; i++)
		targets[i] = piece->examples[i].n_targets > 0 ? te_real_of_target(piece->examples[i].targets[0]) : piece->examples[i].soft[0];
	if (piece->examples[0].n_targets > 0)
		te_loss_square(outputs, rows, cols, targets, scale * (float) (1 - share), d_outputs, &hard);
	add_shares(sum, share, &soft, &hard);
}

static const TeColumn number_columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{"text_pair", TE_COLUMN_TEXT, true},
	{"score", TE_COLUMN_REAL, true},
	{NULL}
};

const TeObjective te_objective_distill_regression = {
	.statement = "distill",
	.task = "regression",
	.name = "distill_regression",
	.columns = number_columns,
	.teacher = "classify",
	.head = TE_HEAD_SEQUENCE,
	.model_task = "regression",
	.problem_type = "regression",
	.dropout = 0.1,
	.learning_rate = 5e-5,
	.encode = encode_number,
	.fits = fits_texts,
	.compute = compute_texts,
	.loss = loss_number,
};

/* ---- labels of tokens ---- */

/* The targets say which tokens count: 0, and -1 for special ones. */
static void
encode_tokens(TeExamples *examples, const TeValue *values)
{
	TeExample	example = {.n_sequences = 1};
	size_t		n;
	TeToken    *tokens = te_examples_tokenize(examples, values[TEXT].text, (TeStr) {NULL, 0}, &n);
	bool		any = false;

	example.sequences[0] = te_sequence_of_tokens(te_examples_arena(examples), tokens, n);
	example.n_targets = (int32_t) n;
	example.targets = te_new_array(te_examples_arena(examples), int32_t, n);
	for (size_t i = 0; i < n; i++)
	{
		example.targets[i] = tokens[i].special ? -1 : 0;
		any |= !tokens[i].special;
	}
	if (!any)
		te_throw(TE_ERR_INVALID, "the text has no tokens");
	te_examples_put(examples, &example);
}

static bool
fits_tokens(const TeExample *example)
{
	return example->n_sequences == 1 && example->n_targets == example->sequences[0].n;
}

static double
count_tokens(const TePiece *piece, TeExample *example, uint64_t stream)
{
	double		n = 0;

	for (int32_t i = 0; i < example->n_targets; i++)
		n += example->targets[i] >= 0;
	return n;
}

/* [tokens that count, labels] */
static TeNode *
compute_tokens(TeGraph *graph, const TePiece *piece)
{
	TeNode	   *x = te_model_arch(piece->model)->forward(graph, piece->model, piece->batch);
	int32_t    *rows = te_new_array(piece->arena, int32_t, piece->batch->n_tok);
	size_t		n = 0;

	for (size_t e = 0; e < piece->n_examples; e++)
	{
		for (int32_t i = 0; i < piece->examples[e].n_targets; i++)
		{
			if (piece->examples[e].targets[i] >= 0)
				rows[n++] = piece->batch->seq_start[e] + i;
		}
	}
	return te_head_forward(graph, piece->model, te_select_rows(graph, x, rows, n));
}

static void
loss_tokens(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	float	   *soft = te_new_array(piece->arena, float, te_mul_size(rows, cols));
	size_t		n = 0;

	for (size_t e = 0; e < piece->n_examples; e++)
	{
		const TeExample *example = &piece->examples[e];

		te_assert((size_t) example->n_soft == (size_t) example->n_targets * cols);
		for (int32_t i = 0; i < example->n_targets; i++)
		{
			if (example->targets[i] >= 0)
				memcpy(soft + n++ * cols, example->soft + (size_t) i * cols, cols * sizeof(float));
		}
	}
	te_assert(n == rows);
	te_loss_soft(piece->arena, outputs, rows, cols, soft, piece->options->temperature, scale, d_outputs, sum);
}

static const TeColumn text_columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{NULL}
};

const TeObjective te_objective_distill_tokens = {
	.statement = "distill",
	.task = "token-classification",
	.name = "distill_tokens",
	.columns = text_columns,
	.teacher = "tag",
	.head = TE_HEAD_TOKEN,
	.model_task = "token-classification",
	.labels = TE_LABELS_NAMED,
	.dropout = 0.1,
	.learning_rate = 5e-5,
	.encode = encode_tokens,
	.fits = fits_tokens,
	.prepare = count_tokens,
	.compute = compute_tokens,
	.loss = loss_tokens,
};

/* ---- a vector ---- */

static void
match_directions(const TePiece *piece, const float *vectors, size_t rows, size_t cols, const float *teacher, float scale, float *d,
				 TeLossSum *sum)
{
	te_loss_direction(piece->arena, vectors, rows, cols, teacher, scale, d, sum);
}

static void
match_elements(const TePiece *piece, const float *vectors, size_t rows, size_t cols, const float *teacher, float scale, float *d,
			   TeLossSum *sum)
{
	te_loss_square(vectors, rows, cols, teacher, scale, d, sum);
}

static const struct
{
	const char *name;			/* of the option "match" */
	void		(*loss) (const TePiece *piece, const float *vectors, size_t rows, size_t cols, const float *teacher, float scale,
						 float *d, TeLossSum *sum);
}			matches[] = {
	{"cosine", match_directions},
	{"mse", match_elements},
};

const char *
te_match_name(size_t i)
{
	return i < TE_LENGTH(matches) ? matches[i].name : NULL;
}

static void
encode_vector(TeExamples *examples, const TeValue *values)
{
	TeExample	example = {.n_sequences = 1};

	example.sequences[0] = te_examples_embedded(examples, values[TEXT].text, NULL);
	te_examples_put(examples, &example);
}

static bool
fits_vector(const TeExample *example)
{
	return example->n_sequences == 1;
}

static TeNode *
compute_vector(TeGraph *graph, const TePiece *piece)
{
	return te_task_embed.compute(piece->arena, graph, piece->model, piece->batch);
}

static void
loss_vector(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	const float *teacher = soft_rows(piece, rows, cols);

	for (size_t i = 0; i < TE_LENGTH(matches); i++)
	{
		if (te_str_is(piece->options->match, matches[i].name))
			matches[i].loss(piece, outputs, rows, cols, teacher, scale, d_outputs, sum);
	}
}

const TeObjective te_objective_distill_embedding = {
	.statement = "distill",
	.task = "embedding",
	.name = "distill_embedding",
	.columns = text_columns,
	.teacher = "embed",
	.head = TE_HEAD_NONE,
	.model_task = "embedding",
	.learning_rate = 1e-4,
	.encode = encode_vector,
	.fits = fits_vector,
	.compute = compute_vector,
	.loss = loss_vector,
};
