/*-------------------------------------------------------------------------
 * objective_classify.c
 *	  Objectives of a number a label, or one number, for a text or a pair of texts:
 *	  classification, multi_label, regression.
 *
 * The graph is that of the task "classify" (model/task_classify.c).
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#include <math.h>

/* The columns of texts come first in each list. */
enum
{
	TEXT,
	TEXT_PAIR,
	TARGET
};

TeExample
te_examples_of_texts(TeExamples *examples, const TeValue *text, const TeValue *pair)
{
	TeExample	example = {.n_sequences = 1};

	example.sequences[0] = te_examples_sequence(examples, text->text, pair->given ? pair->text : (TeStr) {NULL, 0});
	return example;
}

static TeNode *
compute(TeGraph *graph, const TePiece *piece)
{
	return te_task_classify.compute(piece->arena, graph, piece->model, piece->batch);
}

/* ---- one label ---- */

static void
encode_label(TeExamples *examples, const TeValue *values)
{
	TeExample	example = te_examples_of_texts(examples, &values[TEXT], &values[TEXT_PAIR]);
	int32_t		label = te_examples_label(examples, values[TARGET].text);

	example.n_targets = 1;
	example.targets = &label;
	te_examples_put(examples, &example);
}

static bool
fits_label(const TeExample *example)
{
	return example->n_sequences == 1 && example->n_targets == 1 && example->targets[0] >= 0;
}

static double
label_weight(const TePiece *piece, TeExample *example, uint64_t stream)
{
	return piece->class_weights != NULL ? piece->class_weights[example->targets[0]] : 1;
}

static void
loss_label(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	int32_t    *targets = te_new_array(piece->arena, int32_t, rows);

	for (size_t i = 0; i < rows; i++)
		targets[i] = piece->examples[i].targets[0];
	te_loss_cross_entropy(piece->arena, outputs, rows, cols, targets, piece->class_weights,
						  (float) piece->options->label_smoothing, scale, d_outputs, sum);
}

static const TeColumn label_columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{"text_pair", TE_COLUMN_TEXT, true},
	{"label", TE_COLUMN_TEXT, false},
	{NULL}
};

const TeObjective te_objective_classification = {
	.statement = "finetune",
	.task = "classification",
	.name = "classification",
	.columns = label_columns,
	.head = TE_HEAD_SEQUENCE,
	.model_task = "classification",
	.problem_type = "single_label_classification",
	.labels = TE_LABELS_NAMED,
	.fewest_labels = 2,
	.dropout = 0.1,
	.learning_rate = 1e-4,
	.epochs = 5,
	.encode = encode_label,
	.fits = fits_label,
	.prepare = label_weight,
	.compute = compute,
	.loss = loss_label,
};

/* ---- any number of labels ---- */

static void
encode_labels(TeExamples *examples, const TeValue *values)
{
	TeExample	example = te_examples_of_texts(examples, &values[TEXT], &values[TEXT_PAIR]);
	size_t		n = values[TARGET].n_texts;

	example.n_targets = (int32_t) n;
	example.targets = te_new_array(te_examples_arena(examples), int32_t, n);
	for (size_t i = 0; i < n; i++)
		example.targets[i] = te_examples_label(examples, values[TARGET].texts[i]);
	te_examples_put(examples, &example);
}

static bool
fits_labels(const TeExample *example)
{
	bool		fits = example->n_sequences == 1;

	for (int32_t t = 0; t < example->n_targets; t++)
		fits &= example->targets[t] >= 0;
	return fits;
}

static void
loss_labels(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	float	   *targets = te_new_array(piece->arena, float, rows * cols);

	for (size_t i = 0; i < rows; i++)
	{
		for (int32_t t = 0; t < piece->examples[i].n_targets; t++)
			targets[i * cols + (size_t) piece->examples[i].targets[t]] = 1;
	}
	te_loss_binary(outputs, rows, cols, targets, piece->class_weights, scale, d_outputs, sum);
}

static const TeColumn labels_columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{"text_pair", TE_COLUMN_TEXT, true},
	{"labels", TE_COLUMN_TEXTS, false},
	{NULL}
};

const TeObjective te_objective_multi_label = {
	.statement = "finetune",
	.task = "multi-label",
	.name = "multi_label",
	.columns = labels_columns,
	.head = TE_HEAD_SEQUENCE,
	.model_task = "classification",
	.problem_type = "multi_label_classification",
	.labels = TE_LABELS_NAMED,
	.fewest_labels = 1,
	.dropout = 0.1,
	.learning_rate = 1e-4,
	.epochs = 5,
	.encode = encode_labels,
	.fits = fits_labels,
	.compute = compute,
	.loss = loss_labels,
};

/* ---- a number ---- */

int32_t
te_target_of_number(double number)
{
	if (!isfinite((float) number))
		te_throw(TE_ERR_INVALID, "score %g is no number that could be learned", number);
	return te_target_of_real((float) number);
}

static void
encode_number(TeExamples *examples, const TeValue *values)
{
	TeExample	example = te_examples_of_texts(examples, &values[TEXT], &values[TEXT_PAIR]);
	int32_t		bits = te_target_of_number(values[TARGET].real);

	example.n_targets = 1;
	example.targets = &bits;
	te_examples_put(examples, &example);
}

static bool
fits_number(const TeExample *example)
{
	return example->n_sequences == 1 && example->n_targets == 1;
}

static void
loss_number(const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs, TeLossSum *sum)
{
	float	   *targets = te_new_array(piece->arena, float, rows);

	te_assert(cols == 1);
	for (size_t i = 0; i < rows; i++)
		targets[i] = te_real_of_target(piece->examples[i].targets[0]);
	te_loss_square(outputs, rows, cols, targets, scale, d_outputs, sum);
}

static const TeColumn number_columns[] = {
	{"text", TE_COLUMN_TEXT, false},
	{"text_pair", TE_COLUMN_TEXT, true},
	{"score", TE_COLUMN_REAL, false},
	{NULL}
};

const TeObjective te_objective_regression = {
	.statement = "finetune",
	.task = "regression",
	.name = "regression",
	.columns = number_columns,
	.head = TE_HEAD_SEQUENCE,
	.model_task = "regression",
	.problem_type = "regression",
	.dropout = 0.1,
	.learning_rate = 1e-4,
	.epochs = 5,
	.encode = encode_number,
	.fits = fits_number,
	.compute = compute,
	.loss = loss_number,
};
