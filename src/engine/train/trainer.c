/*-------------------------------------------------------------------------
 * trainer.c
 *	  Steps: examples in the order of an epoch, in batches, through the graph and back, to the optimizer.
 *
 * A batch is computed in pieces of so many tokens, whose gradients add up: memory is that of a piece, and
 * its activations stay in the caches.  The loss is the mean over the whole batch, so a piece's gradient is
 * scaled by the weight of the batch's terms, which prepare() gives before anything is computed.
 *
 * An objective that compares the examples of a batch with one another ("whole") is computed in one piece where
 * it fits.  Where it does not, the outputs of all pieces are made first, the
 * loss is taken of them together, and each piece is made again with what its outputs contribute (Gao et al. 2021).
 * What is dropped is the same both times, since it follows from the seed and the place.
 *
 * Weights and counters change at the end of a step, all of them or none: who is interrupted can write a checkpoint still.
 *
 * Nothing is remembered between steps but weights, optimizer, the number of the step and what evaluations
 * found: the order of an epoch, masks and dropout follow from seed and step.  So a checkpoint is those, and a
 * restored trainer goes on bit for bit.
 *-------------------------------------------------------------------------
 */
#include "base/random.h"
#include "train/train.h"

#include <math.h>

/* Purposes of random streams. */
enum
{
	STREAM_ORDER = 1,			/* of an epoch */
	STREAM_STEP,				/* what prepare() and dropout choose in a step */
	STREAM_EVALUATION
};

#define CHECKPOINT_MAGIC UINT64_C(0x3154504b43455454)	/* "TTECKPT1" */
#define OVERLAY_RATE 10			/* overlays want a higher learning rate than whole matrices */
#define USUAL_WIDTH 768.0		/* of the models that the objectives' rates are for */
#define MAX_METRICS 4
#define MAX_EVALUATIONS 100000	/* each has a line of the log, which the host holds in memory at the end */
#define PIECE_BYTES ((size_t) 24 << 20)	/* of activations that backward reads: so that they are in the caches that cores share */
#define PIECE_MIN 256
#define ROOM ((size_t) 8 << 20)	/* for all else, where memory is asked for */
#define PIECE_MAX 4096

struct TeTrainer
{
	TeArena    *arena;
	TeArena    *batch_arena;	/* reset for each batch */
	TeArena    *piece_arena;	/* reset for each piece */
	const TeObjective *objective;
	TeTrainOptions *options;
	const TeOptimizer *optimizer;
	TeExamples *examples;
	TeExamples *evaluation;		/* NULL: none */
	TeTrainee	trainee;
	const float *class_weights;
	size_t		piece_tokens;

	int64_t		n_steps;
	int64_t		steps_per_epoch;
	int64_t		step;			/* that are done */
	bool		stopped;		/* by patience */
	int64_t		order_epoch;	/* of `order`; -1: none yet */
	uint32_t   *order;			/* numbers of examples */
	uint64_t	rows;
	uint64_t	tokens;
	int64_t		evaluated_step; /* of the last evaluation */
	int64_t		best_step;		/* 0: none */
	double		best_loss;
	int64_t		n_worse;		/* evaluations since then */
	float	   *best;			/* all that is trained, as it was then; NULL: not kept */
	TeTrainMetric metrics[MAX_METRICS];
};

/* ---- making one ---- */

static const float *
read_class_weights(TeTrainer *trainer, const TeStr *labels, int32_t n_labels)
{
	const TeJson *json = trainer->options->class_weights;
	float	   *weights;

	if (json == NULL || trainer->objective->labels == TE_LABELS_NONE)
		return NULL;
	weights = te_new_array(trainer->arena, float, n_labels);
	if (json->kind == TE_JSON_STRING && te_str_is(json->string, "balanced"))
	{
		double		n_targets = 0;
		double	   *counts = te_new_array(trainer->arena, double, n_labels);
		TeExample	example;

		for (size_t i = 0; i < te_examples_count(trainer->examples); i++)
		{
			te_arena_reset(trainer->piece_arena);
			te_examples_read(trainer->examples, i, trainer->piece_arena, &example);
			for (int32_t t = 0; t < example.n_targets; t++)
			{
				if (example.targets[t] < 0)
					continue;
				counts[example.targets[t]]++;
				n_targets++;
			}
		}
		/* as scikit-learn's: n / (classes * count) */
		for (int32_t i = 0; i < n_labels; i++)
			weights[i] = counts[i] > 0 ? (float) (n_targets / (n_labels * counts[i])) : 1;
		return weights;
	}
	if (json->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_INVALID, "option \"class_weights\" must be \"balanced\" or an object of a number for each label");
	for (int32_t i = 0; i < n_labels; i++)
	{
		te_check_interrupts();
		weights[i] = (float) te_json_real(json, te_cstring(trainer->arena, labels[i]), 1);
	}
	for (uint32_t i = 0; i < json->n; i++)
	{
		bool		found = false;

		te_check_interrupts();
		for (int32_t j = 0; j < n_labels; j++)
			found |= te_str_eq(json->items[i].key, labels[j]);
		if (!found)
			te_throw(TE_ERR_INVALID, "option \"class_weights\": there is no label \"%.*s\"", TE_STR_ARGS(json->items[i].key));
	}
	for (int32_t i = 0; i < n_labels; i++)
	{
		if (!(weights[i] >= 0 && weights[i] <= 1e6f))
			te_throw(TE_ERR_INVALID, "option \"class_weights\": weights must be between 0 and 1e6");
	}
	return weights;
}

static void
make_optimizer(TeTrainer *trainer)
{
	TeTrainee  *trainee = &trainer->trainee;

	for (size_t i = 0; i < trainee->n_trained; i++)
	{
		for (int s = 0; s < trainer->optimizer->n_states; s++)
			trainee->trained[i].state[s] = te_new_array(trainer->arena, float, trainee->trained[i].n);
	}
	if (trainer->options->patience > 0)
		trainer->best = te_new_array(trainer->arena, float, trainee->n_parameters);
}

/*
 * The narrower a model, the further its matrices may go in a step of an optimizer that makes all elements' steps alike (Yang et
 * al. 2022): the rate is inverse to the width, within limits.
 */
static double
choose_rate(const TeTrainer *trainer)
{
	double		width = te_model_config(trainer->trainee.model)->hidden_size;
	double		rate = trainer->objective->learning_rate * fmax(0.5, fmin(2, USUAL_WIDTH / width));

	return trainer->options->lora_rank > 0 ? rate * OVERLAY_RATE : rate;
}

/* What a layer keeps of a token for backward. */
static size_t
floats_of_layer(const TeConfig *config)
{
	return (size_t) config->hidden_size * 8 + (size_t) config->intermediate_size * 2;
}

/* A logit a word, and its gradient, of every token. */
static size_t
floats_of_head(const TeTrainer *trainer)
{
	return trainer->objective->head == TE_HEAD_CAUSAL ? 2 * (size_t) trainer->trainee.config->vocab_size : 0;
}

static size_t
choose_piece(const TeTrainer *trainer)
{
	size_t		floats = floats_of_layer(trainer->trainee.config) + floats_of_head(trainer);
	size_t		tokens = PIECE_BYTES / (floats * sizeof(float));

	if (trainer->options->piece_tokens > 0)
		return (size_t) trainer->options->piece_tokens;
	return TE_MAX((size_t) PIECE_MIN, TE_MIN(tokens, (size_t) PIECE_MAX));
}

static size_t
megabytes(size_t bytes)
{
	return (bytes >> 20) + 1;
}

/*
 * What lasts as long as the run has to fit.  How much a piece takes depends on its texts; where it turns out to be too
 * much the arena says so, with the hint that is left here.
 */
static void
check_memory(const TeTrainer *trainer, size_t limit)
{
	const TeTrainee *trainee = &trainer->trainee;
	size_t		copies = 1 + (size_t) trainer->optimizer->n_states + (trainer->options->patience > 0);
	size_t		state = te_mul_size(te_mul_size((size_t) trainee->n_parameters, sizeof(float)), copies);
	size_t		floats = te_mul_size(floats_of_layer(trainee->config), (size_t) trainee->config->n_layers) + floats_of_head(trainer);
	size_t		piece = te_mul_size(te_mul_size(floats, sizeof(float)), trainer->piece_tokens) / 4 * 5;	/* with gradients on their way */
	size_t		needed = te_add_size(te_add_size(te_arena_bytes(trainer->arena), trainee->image_bytes), state);
	const char *hint = te_format(trainer->arena, "Set transformer.training_memory to %zu MB or more, or train less of the model (lora_rank, freeze).",
								 megabytes(te_add_size(te_add_size(trainee->image_bytes, state), te_add_size(piece, ROOM))));

	te_arena_set_limit_hint(trainer->arena, hint);
	if (limit > 0 && needed > limit)
		te_throw_hint(TE_ERR_LIMIT,
					  te_format(trainer->arena, "Weights take %zu MB, gradients and the optimizer %zu MB, and a piece of a batch about %zu MB.",
								megabytes(trainee->image_bytes), megabytes(state), megabytes(piece)),
					  hint, "training needs more memory than its limit of %zu kB", limit >> 10);
}

static int64_t
steps_between_evaluations(const TeTrainer *trainer)
{
	return trainer->options->eval_steps > 0 ? trainer->options->eval_steps : trainer->steps_per_epoch;
}

TeTrainer *
te_trainer_create(TeArena *arena, const TeModelDef *base, const TeObjective *objective, const TeTrainOptions *options,
				  TeExamples *examples, TeExamples *evaluation, size_t limit)
{
	TeArena    *own = te_arena_create(arena, "trainer");
	TeTrainer  *trainer = te_new(own, TeTrainer);
	const TeStr *labels;
	int32_t		n_labels = te_examples_labels(examples, &labels);
	double		steps;

	trainer->arena = own;
	trainer->batch_arena = te_arena_create(own, "batch");
	trainer->piece_arena = te_arena_create(own, "piece");
	trainer->objective = objective;
	trainer->options = te_new(own, TeTrainOptions);
	*trainer->options = *options;
	trainer->optimizer = te_optimizer_by_name(options->optimizer);
	trainer->examples = examples;
	trainer->evaluation = evaluation;
	trainer->order_epoch = -1;
	trainer->order = te_alloc(own, te_mul_size(te_examples_count(examples), sizeof(uint32_t)));
	te_trainee_define(own, base, objective, trainer->options, labels, n_labels, te_examples_soft(examples), &trainer->trainee);
	trainer->piece_tokens = choose_piece(trainer);
	check_memory(trainer, limit);
	te_trainee_load(own, &trainer->trainee);
	if (options->learning_rate == 0)
		trainer->options->learning_rate = choose_rate(trainer);
	make_optimizer(trainer);
	trainer->class_weights = read_class_weights(trainer, labels, n_labels);
	trainer->steps_per_epoch = (int64_t) ((te_examples_count(examples) - 1) / (size_t) options->batch_size) + 1;
	steps = ceil(options->epochs * (double) trainer->steps_per_epoch);
	trainer->n_steps = steps < 1e15 ? (int64_t) fmax(1, steps) : INT64_C(1000000000000000);
	if (options->max_steps > 0)
		trainer->n_steps = TE_MIN(trainer->n_steps, options->max_steps);
	if (evaluation != NULL && trainer->n_steps / steps_between_evaluations(trainer) > MAX_EVALUATIONS)
		te_throw_hint(TE_ERR_INVALID, NULL, "Raise the option \"eval_steps\".", "a run may evaluate %d times at most, not %lld times",
					  MAX_EVALUATIONS, (long long) (trainer->n_steps / steps_between_evaluations(trainer)));
	return trainer;
}

uint64_t
te_trainer_parameters(const TeTrainer *trainer)
{
	return trainer->trainee.n_parameters;
}

/* ---- a batch ---- */

/* Some examples of a batch, and what becomes of them. */
typedef struct Batch
{
	size_t		n;
	TeExample  *examples;
	double		weight;			/* of all terms of the loss */
	uint64_t	n_tokens;
	uint64_t	stream;
	bool		learns;			/* gradients are wanted, and elements dropped */
} Batch;

/* Shuffle the examples for an epoch (Fisher and Yates). */
static void
make_order(TeTrainer *trainer, int64_t epoch)
{
	size_t		n = te_examples_count(trainer->examples);
	uint64_t	stream;

	if (trainer->order_epoch == epoch)
		return;
	stream = te_random_stream(te_random_stream((uint64_t) trainer->options->seed, STREAM_ORDER), (uint64_t) epoch);
	for (size_t i = 0; i < n; i++)
		trainer->order[i] = (uint32_t) i;
	for (size_t i = n; i > 1; i--)
	{
		size_t		j = (size_t) te_random_below(stream, i, i);
		uint32_t	other = trainer->order[j];

		trainer->order[j] = trainer->order[i - 1];
		trainer->order[i - 1] = other;
	}
	trainer->order_epoch = epoch;
}

static TePiece
piece_of(const TeTrainer *trainer, const TeExample *examples, size_t n)
{
	const TeStr *labels;

	return (TePiece) {
		.arena = trainer->piece_arena,
		.model = trainer->trainee.model,
		.options = trainer->options,
		.class_weights = trainer->class_weights,
		.n_examples = n,
		.examples = examples,
		.n_labels = (size_t) te_examples_labels(trainer->examples, &labels),
	};
}

static size_t
tokens_of(const TeExample *example)
{
	size_t		n = 0;

	for (int s = 0; s < example->n_sequences; s++)
		n += (size_t) example->sequences[s].n;
	return n;
}

/* Read examples numbers[0 .. n) (NULL: from `first` on) of a set into a batch, and choose what is random of them. */
static void
read_batch(TeTrainer *trainer, const TeExamples *set, const uint32_t *numbers, size_t first, size_t n, Batch *batch)
{
	TePiece		piece;

	te_arena_reset(trainer->batch_arena);
	te_arena_reset(trainer->piece_arena);
	batch->n = n;
	batch->examples = te_new_array(trainer->batch_arena, TeExample, n);
	batch->weight = 0;
	batch->n_tokens = 0;
	piece = piece_of(trainer, NULL, 0);
	piece.arena = trainer->batch_arena;
	for (size_t i = 0; i < n; i++)
	{
		TeExample  *example = &batch->examples[i];

		te_examples_read(set, numbers != NULL ? numbers[i] : first + i, trainer->batch_arena, example);
		batch->n_tokens += tokens_of(example);
		batch->weight += trainer->objective->prepare == NULL ? 1
			: trainer->objective->prepare(&piece, example, te_random_stream(batch->stream, i));
	}
}

/* How many examples from `first` on make a piece; at least one. */
static size_t
cut_piece(const Batch *batch, size_t first, size_t most)
{
	size_t		n = 1;
	size_t		tokens = tokens_of(&batch->examples[first]);

	while (first + n < batch->n && tokens + tokens_of(&batch->examples[first + n]) <= most)
		tokens += tokens_of(&batch->examples[first + n++]);
	return n;
}

/* The sequences of a piece, packed. */
static void
pack_piece(TePiece *piece)
{
	size_t		n = 0;
	TeJobRow   *rows;
	TeJobRow  **pointers;

	for (size_t i = 0; i < piece->n_examples; i++)
		n += (size_t) piece->examples[i].n_sequences;
	rows = te_new_array(piece->arena, TeJobRow, n);
	pointers = te_new_array(piece->arena, TeJobRow *, n);
	n = 0;
	for (size_t i = 0; i < piece->n_examples; i++)
	{
		for (int s = 0; s < piece->examples[i].n_sequences; s++)
		{
			const TeSequence *sequence = &piece->examples[i].sequences[s];

			rows[n] = (TeJobRow) {.n_tokens = (uint32_t) sequence->n, .ids = sequence->ids, .type_ids = sequence->type_ids};
			pointers[n] = &rows[n];
			n++;
		}
	}
	piece->batch = te_rows_batch(piece->arena, piece->model, pointers, n);
}

/* The graph of a piece, run forward; the node has what the loss reads. */
static TeNode *
run_piece(TeTrainer *trainer, const Batch *batch, size_t first, TePiece *piece, TeGraph **graph)
{
	TeNode	   *outputs;

	te_arena_reset(trainer->piece_arena);
	pack_piece(piece);
	*graph = te_graph_create(piece->arena, batch->learns ? TE_TRAIN : TE_INFER, piece->batch);
	te_graph_set_bf16(*graph, te_str_is(trainer->options->precision, "bf16"));
	if (batch->learns)
		te_graph_set_dropout(*graph, (float) trainer->options->dropout, te_random_stream(batch->stream, batch->n + first));
	outputs = trainer->objective->compute(*graph, piece);
	te_graph_keep(*graph, outputs);
	te_graph_run(*graph);
	return outputs;
}

/* A piece at a time, each with a loss of its own. */
static void
run_apart(TeTrainer *trainer, const Batch *batch, TeLossSum *sum)
{
	float		scale = batch->weight > 0 ? (float) (1 / batch->weight) : 0;

	for (size_t first = 0, n; first < batch->n; first += n)
	{
		TePiece		piece;
		TeGraph    *graph;
		TeNode	   *outputs;
		size_t		cells;
		float	   *d_outputs = NULL;

		n = cut_piece(batch, first, trainer->piece_tokens);
		piece = piece_of(trainer, batch->examples + first, n);
		outputs = run_piece(trainer, batch, first, &piece, &graph);
		cells = te_node_rows(outputs) * te_node_cols(outputs);
		if (batch->learns)
			d_outputs = te_new_array(piece.arena, float, cells);
		trainer->objective->loss(&piece, te_node_value(outputs), te_node_rows(outputs), te_node_cols(outputs), scale, d_outputs, sum);
		if (batch->learns)
			te_graph_backward(graph, outputs, d_outputs);
	}
}

/* All outputs first, one loss, then each piece again with its part of the gradient. */
static void
run_whole(TeTrainer *trainer, const Batch *batch, TeLossSum *sum)
{
	float		scale = batch->weight > 0 ? (float) (1 / batch->weight) : 0;
	TePiece		all = piece_of(trainer, batch->examples, batch->n);
	float	   *outputs = NULL;
	float	   *d_outputs;
	size_t		rows = 0;
	size_t		cols = 0;
	size_t		total = 0;

	all.arena = trainer->batch_arena;
	for (size_t i = 0; i < batch->n; i++)
		total += (size_t) batch->examples[i].n_sequences;
	for (size_t first = 0, n; first < batch->n; first += n)
	{
		TePiece		piece;
		TeGraph    *graph;
		TeNode	   *node;

		n = cut_piece(batch, first, trainer->piece_tokens);
		piece = piece_of(trainer, batch->examples + first, n);
		node = run_piece(trainer, batch, first, &piece, &graph);
		cols = te_node_cols(node);
		if (outputs == NULL)
			outputs = te_new_array(all.arena, float, te_mul_size(total, cols));
		te_assert(rows + te_node_rows(node) <= total);
		memcpy(outputs + rows * cols, te_node_value(node), te_node_rows(node) * cols * sizeof(float));
		rows += te_node_rows(node);
	}
	d_outputs = batch->learns ? te_new_array(all.arena, float, te_mul_size(rows, cols)) : NULL;
	trainer->objective->loss(&all, outputs, rows, cols, scale, d_outputs, sum);
	rows = 0;
	for (size_t first = 0, n; batch->learns && first < batch->n; first += n)
	{
		TePiece		piece;
		TeGraph    *graph;
		TeNode	   *node;

		n = cut_piece(batch, first, trainer->piece_tokens);
		piece = piece_of(trainer, batch->examples + first, n);
		node = run_piece(trainer, batch, first, &piece, &graph);
		te_graph_backward(graph, node, d_outputs + rows * cols);
		rows += te_node_rows(node);
	}
}

static void
run_batch(TeTrainer *trainer, const Batch *batch, TeLossSum *sum)
{
	if (trainer->objective->whole && cut_piece(batch, 0, trainer->piece_tokens) < batch->n)
		run_whole(trainer, batch, sum);
	else
		run_apart(trainer, batch, sum);
}

/* ---- steps ---- */

bool
te_trainer_step(TeTrainer *trainer, TeTrainStep *into)
{
	const TeTrainOptions *options = trainer->options;
	TeTrainee  *trainee = &trainer->trainee;
	size_t		n_examples = te_examples_count(trainer->examples);
	int64_t		epoch = trainer->step / trainer->steps_per_epoch;
	size_t		first = (size_t) (trainer->step % trainer->steps_per_epoch) * (size_t) options->batch_size;
	TeLossSum	sum = {0};
	TeTrainStep now;
	double		factor = 1;
	Batch		batch = {.learns = true};

	if (trainer->stopped || trainer->step >= trainer->n_steps)
		return false;
	make_order(trainer, epoch);
	batch.stream = te_random_stream(te_random_stream((uint64_t) options->seed, STREAM_STEP), (uint64_t) trainer->step);
	read_batch(trainer, trainer->examples, trainer->order + first, 0, TE_MIN((size_t) options->batch_size, n_examples - first), &batch);
	run_batch(trainer, &batch, &sum);
	now = (TeTrainStep) {
		.step = trainer->step + 1,
		.n_steps = trainer->n_steps,
		.epoch = (double) (trainer->step + 1) / (double) trainer->steps_per_epoch,
		.loss = batch.weight > 0 ? sum.loss / batch.weight : 0,
		.learning_rate = te_schedule_rate(options, trainer->step + 1, trainer->n_steps),
		.gradient_norm = te_gradient_norm(trainer->piece_arena, trainee->trained, trainee->n_trained),
		.rows = trainer->rows + batch.n,
		.tokens = trainer->tokens + batch.n_tokens,
	};
	if (!isfinite(now.loss) || !isfinite(now.gradient_norm))
		te_throw_hint(TE_ERR_INVALID, te_format(trainer->piece_arena, "Loss %g, norm of the gradient %g.", now.loss, now.gradient_norm),
					  "Lower learning_rate, or raise warmup.", "the loss is no longer a number at step %lld", (long long) now.step);
	if (options->clip > 0 && now.gradient_norm > options->clip)
		factor = options->clip / (now.gradient_norm + 1e-6);
	te_hold_interrupts();
	te_optimize(trainer->optimizer, options, now.learning_rate, now.step, (float) factor, trainee->trained, trainee->n_trained);
	trainer->step = now.step;
	trainer->rows = now.rows;
	trainer->tokens = now.tokens;
	te_resume_interrupts();
	*into = now;
	return true;
}

/* ---- evaluation ---- */

bool
te_trainer_evaluation_due(const TeTrainer *trainer)
{
	if (trainer->evaluation == NULL || trainer->evaluated_step == trainer->step || trainer->step == 0)
		return false;
	return trainer->step >= trainer->n_steps || trainer->step % steps_between_evaluations(trainer) == 0;
}

/* Copy all that is trained to `to`, or from it. */
static void
copy_weights(TeTrainer *trainer, float *best, bool back)
{
	for (size_t i = 0; i < trainer->trainee.n_trained; i++)
	{
		TeTrained  *trained = &trainer->trainee.trained[i];

		memcpy(back ? trained->data : best, back ? best : trained->data, trained->n * sizeof(float));
		best += trained->n;
	}
}

/* Is the loss the best so far?  If not for too long, the run ends with the weights that had the best. */
static void
judge(TeTrainer *trainer, double loss)
{
	if (trainer->best_step == 0 || loss < trainer->best_loss)
	{
		trainer->best_step = trainer->step;
		trainer->best_loss = loss;
		trainer->n_worse = 0;
		if (trainer->best != NULL)
			copy_weights(trainer, trainer->best, false);
		return;
	}
	trainer->n_worse++;
	if (trainer->options->patience > 0 && trainer->n_worse >= trainer->options->patience)
		trainer->stopped = true;
	if (trainer->best != NULL && (trainer->stopped || trainer->step >= trainer->n_steps))
		copy_weights(trainer, trainer->best, true);
}

const TeTrainMetric *
te_trainer_evaluate(TeTrainer *trainer, size_t *n)
{
	size_t		n_examples = te_examples_count(trainer->evaluation);
	size_t		size = (size_t) trainer->options->batch_size;
	double		weight = 0;
	TeLossSum	sum = {0};

	for (size_t first = 0; first < n_examples; first += size)
	{
		Batch		batch = {.stream = te_random_stream(te_random_stream(0, STREAM_EVALUATION), first)};

		read_batch(trainer, trainer->evaluation, NULL, first, TE_MIN(size, n_examples - first), &batch);
		run_batch(trainer, &batch, &sum);
		weight += batch.weight;
	}
	trainer->evaluated_step = trainer->step;
	trainer->metrics[0] = (TeTrainMetric) {"loss", weight > 0 ? sum.loss / weight : 0};
	trainer->metrics[1] = (TeTrainMetric) {"accuracy", sum.n_right / fmax(1, sum.n_judged)};
	*n = sum.n_judged > 0 ? 2 : 1;
	judge(trainer, trainer->metrics[0].value);
	return trainer->metrics;
}

/* ---- checkpoints ---- */

/* What a checkpoint has beside floats, as it lies in the file. */
typedef struct State
{
	uint64_t	magic;
	uint64_t	n_parameters;
	uint64_t	n_floats;		/* of all that follows */
	int64_t		step;
	uint64_t	rows;
	uint64_t	tokens;
	int64_t		evaluated_step;
	int64_t		best_step;
	double		best_loss;
	int64_t		n_worse;
	uint64_t	stopped;
	uint64_t	hash;			/* of what stands before it */
} State;

/* Floats of everything that a checkpoint has: weights, optimizer, the best. */
static uint64_t
state_floats(const TeTrainer *trainer)
{
	uint64_t	copies = 1 + (uint64_t) trainer->optimizer->n_states + (trainer->best != NULL);

	return copies * trainer->trainee.n_parameters;
}

void
te_trainer_save(const TeTrainer *trainer, TeSink *sink)
{
	State		state = {
		.magic = CHECKPOINT_MAGIC,
		.n_parameters = trainer->trainee.n_parameters,
		.n_floats = state_floats(trainer),
		.step = trainer->step,
		.rows = trainer->rows,
		.tokens = trainer->tokens,
		.evaluated_step = trainer->evaluated_step,
		.best_step = trainer->best_step,
		.best_loss = trainer->best_loss,
		.n_worse = trainer->n_worse,
		.stopped = trainer->stopped,
	};

	state.hash = te_hash(&state, offsetof(State, hash));
	te_sink_write(sink, &state, sizeof(state));
	for (size_t i = 0; i < trainer->trainee.n_trained; i++)
	{
		const TeTrained *trained = &trainer->trainee.trained[i];

		te_check_interrupts();
		te_sink_write(sink, trained->data, trained->n * sizeof(float));
		for (int s = 0; s < trainer->optimizer->n_states; s++)
			te_sink_write(sink, trained->state[s], trained->n * sizeof(float));
	}
	if (trainer->best != NULL)
		te_sink_write(sink, trainer->best, trainer->trainee.n_parameters * sizeof(float));
}

static uint64_t
read_floats(const TeSource *source, uint64_t offset, float *into, size_t n)
{
	te_check_interrupts();
	te_source_read(source, offset, into, n * sizeof(float));
	return offset + n * sizeof(float);
}

void
te_trainer_restore(TeTrainer *trainer, const TeSource *source)
{
	State		state = {0};
	uint64_t	offset = sizeof(state);

	if (source->size >= sizeof(state))
		te_source_read(source, 0, &state, sizeof(state));
	if (state.magic != CHECKPOINT_MAGIC || state.hash != te_hash(&state, offsetof(State, hash))
		|| state.n_parameters != trainer->trainee.n_parameters || state.n_floats != state_floats(trainer)
		|| source->size != sizeof(state) + state.n_floats * sizeof(float))
		te_throw(TE_ERR_CORRUPT, "checkpoint \"%s\" is damaged or of another run", source->name);
	trainer->step = state.step;
	trainer->rows = state.rows;
	trainer->tokens = state.tokens;
	trainer->evaluated_step = state.evaluated_step;
	trainer->best_step = state.best_step;
	trainer->best_loss = state.best_loss;
	trainer->n_worse = state.n_worse;
	trainer->stopped = state.stopped != 0;
	for (size_t i = 0; i < trainer->trainee.n_trained; i++)
	{
		TeTrained  *trained = &trainer->trainee.trained[i];

		offset = read_floats(source, offset, trained->data, trained->n);
		for (int s = 0; s < trainer->optimizer->n_states; s++)
			offset = read_floats(source, offset, trained->state[s], trained->n);
	}
	if (trainer->best != NULL)
		read_floats(source, offset, trainer->best, trainer->trainee.n_parameters);
}

/* ---- the end ---- */

TeModelDef *
te_trainer_definition(TeTrainer *trainer, TeArena *arena)
{
	return te_trainee_definition(arena, &trainer->trainee, trainer->options);
}
