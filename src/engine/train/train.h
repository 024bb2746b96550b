/*-------------------------------------------------------------------------
 * train.h
 *	  Inside of training: examples, objectives, losses, optimizers, the trainer.
 *
 * engine.h has what a host sees, and says how a run goes.  Here is what the files of train/
 * share.  All of it is written against the graph and against lists of tensors: nothing
 * here knows an architecture.
 *
 * To add an objective: objective_<topic>.c with its row, and its name in TE_OBJECTIVES.
 * To add an optimizer or a schedule: a function and a row in optimizer.c.
 * To add an option: a member of TeTrainOptions and a row in options.c.
 *-------------------------------------------------------------------------
 */
#ifndef TE_TRAIN_H
#define TE_TRAIN_H

#include "model/model.h"

/* ---- options (options.c) ---- */

struct TeTrainOptions
{
	TeArena    *arena;			/* of the strings */
	/* how long, how fast */
	double		epochs;
	int64_t		batch_size;
	int64_t		max_steps;		/* 0: no bound */
	double		learning_rate;
	double		warmup;			/* steps; below 1: of all steps */
	TeStr		schedule;
	int64_t		max_length;		/* tokens; 0: the model's */
	int64_t		seed;
	/* the optimizer */
	TeStr		optimizer;
	double		weight_decay;
	double		beta1;			/* SGD: momentum */
	double		beta2;
	double		epsilon;
	double		clip;			/* norm of the gradient; 0: none */
	/* against learning by heart */
	double		dropout;
	double		label_smoothing;
	const TeJson *class_weights;	/* object by label, or "balanced"; NULL: none */
	/* what is trained */
	TeStr		freeze;			/* build.c */
	int64_t		lora_rank;
	double		lora_alpha;		/* 0: twice the rank */
	TeStr		lora_tensors;	/* patterns; empty: all matrices of the encoder */
	bool		merge;			/* add the overlays to the matrices at the end */
	TeStr		quantization;	/* of what was trained; empty: as the base has it */
	bool		new_labels;		/* a new head, whatever labels the model has */
	/* evaluation */
	int64_t		eval_steps;		/* 0: after each epoch */
	int64_t		patience;		/* evaluations without a better loss before the run ends; 0: no such end */
	/* objectives' own */
	TeStr		match;			/* of a teacher's vectors: objective_distill.c */
	TeStr		loss;			/* of pairs: objective_embed.c; empty: the objective's */
	double		temperature;
	double		alpha;
	double		cosine_scale;
	double		margin;
	double		mask_rate;
	bool		whole_word;
	/* speed and memory */
	TeStr		precision;		/* of products: f32, bf16 */
	int64_t		piece_tokens;	/* of a batch, computed together; 0: by the model's width */
};

/* ---- examples (examples.c) ---- */

#define TE_MAX_SEQUENCES 3

typedef struct TeSequence
{
	int32_t		n;
	int32_t    *ids;
	int32_t    *type_ids;
} TeSequence;

/* What is learned from at once: up to three sequences of tokens, and numbers that mean what the objective says. */
typedef struct TeExample
{
	int			n_sequences;
	TeSequence	sequences[TE_MAX_SEQUENCES];
	int32_t		n_targets;
	int32_t    *targets;
	int32_t		n_soft;			/* what a teacher says: a vector, or one for each token */
	float	   *soft;
} TeExample;

/* Tokens of a text or pair, cut to the run's longest; in the arena of the row.  Counts what is cut. */
extern TeToken *te_examples_tokenize(TeExamples *examples, TeStr text, TeStr pair, size_t *n);
/* The same as a sequence. */
extern TeSequence te_examples_sequence(TeExamples *examples, TeStr text, TeStr pair);
/* The same as the task "embed" has it, with the prompt of a kind ("query", "passage"; NULL: the model's default). */
extern TeSequence te_examples_embedded(TeExamples *examples, TeStr text, const char *kind);
/* The row's text has so many tokens, more than an example may have: counts it, or throws. */
extern void te_examples_cut(TeExamples *examples, size_t n_tokens);
extern TeSequence te_sequence_of_tokens(TeArena *arena, const TeToken *tokens, size_t n);
/* The number of a label; throws where it is none of those that may occur. */
extern int32_t te_examples_label(TeExamples *examples, TeStr label);
/* An example of a text, or a pair where the query has that column. */
extern TeExample te_examples_of_texts(TeExamples *examples, const TeValue *text, const TeValue *pair);
/* A number of a row as a target; throws where it is infinite or none. */
extern int32_t te_target_of_number(double number);
/* The longest sequence of this run; 0: no bound. */
extern size_t te_examples_longest(const TeExamples *examples);
/* Memory until the next row. */
extern TeArena *te_examples_arena(TeExamples *examples);
extern const TeModel *te_examples_model(const TeExamples *examples);
extern const TeTrainOptions *te_examples_options(const TeExamples *examples);
/* An example of the row that is being added. */
extern void te_examples_put(TeExamples *examples, const TeExample *example);

/* Of a finished set. */
extern int32_t te_examples_soft(const TeExamples *examples); /* the width of a row of what a teacher says; 0: there is none */
extern int32_t te_examples_labels(const TeExamples *examples, const TeStr **labels);
extern void te_examples_read(const TeExamples *examples, size_t i, TeArena *arena, TeExample *into);

static inline int32_t
te_target_of_real(float x)
{
	int32_t		bits;

	memcpy(&bits, &x, sizeof(bits));
	return bits;
}

static inline float
te_real_of_target(int32_t bits)
{
	float		x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* ---- objectives ---- */

/* The part of a batch that is computed together. */
typedef struct TePiece
{
	TeArena    *arena;			/* until the next piece */
	const TeModel *model;
	const TeTrainOptions *options;
	const float *class_weights; /* by label, or NULL */
	const TeBatch *batch;		/* the sequences of its examples, one example's after the other's */
	size_t		n_examples;
	const TeExample *examples;
	size_t		n_labels;
} TePiece;

/* Sums over what was computed. */
typedef struct TeLossSum
{
	double		loss;			/* sum of terms, each with its weight */
	double		weight;			/* of the terms */
	double		n_right;		/* of n_judged answers */
	double		n_judged;
} TeLossSum;

typedef enum TeLabelUse
{
	TE_LABELS_NONE,
	TE_LABELS_NAMED				/* targets are numbers of labels: -1 for none, else an index in order of occurrence until the set is finished */
} TeLabelUse;

struct TeObjective
{
	const char *statement;
	const char *task;			/* as users say it */
	bool		usual;			/* meant where no task is said, and the model's own is none of the statement's, by architectures that have the head */
	const char *name;			/* unique */
	const TeColumn *columns;
	const char *teacher;		/* the task that computes what a teacher says (TE_TASKS); NULL: there is none */
	TeHeadKind	head;			/* of the model that comes out, and of the teacher */
	const char *model_task;		/* its task */
	const char *problem_type;	/* config.json's; NULL: as it is */
	TeLabelUse	labels;
	int32_t		fewest_labels;	/* that must occur where a model has none yet */
	bool		whole;			/* the loss compares the examples of a batch with one another */
	double		dropout;		/* defaults that differ from one to another */
	double		learning_rate;	/* of a model 768 wide */
	double		epochs;			/* 0: as others */

	/* A row to examples: calls te_examples_put(); not at all where there is nothing to learn from it. */
	void		(*encode) (TeExamples *examples, const TeValue *values);
	/* Is an example from a spool such as encode() makes them?  Its labels are known to be of those there are.  NULL: any is. */
	bool		(*fits) (const TeExample *example);
	/*
	 * Before an example is computed: choose what is random, by the stream.  Gives the weight of its terms in the loss,
	 * which is their mean over the batch.  NULL: one term of weight 1.
	 */
	double		(*prepare) (const TePiece *piece, TeExample *example, uint64_t stream);
	/* The outputs that the loss reads: [rows, cols]. */
	TeNode	   *(*compute) (TeGraph *graph, const TePiece *piece);
	/*
	 * Add the loss of the outputs, and its gradient times scale to d_outputs (NULL: only the loss).
	 */
	void		(*loss) (const TePiece *piece, const float *outputs, size_t rows, size_t cols, float scale, float *d_outputs,
						 TeLossSum *sum);
};

#define TE_OBJECTIVES(O) \
	O(classification) \
	O(multi_label) \
	O(regression) \
	O(causal) \
	O(completion) \
	O(embedding) \
	O(embedding_score) \
	O(mlm) \
	O(token_classification) \
	O(question_answering) \
	O(distill_classification) \
	O(distill_regression) \
	O(distill_embedding) \
	O(distill_tokens)

#define TE_OBJECTIVE_DECLARE(name) extern const TeObjective te_objective_##name;
TE_OBJECTIVES(TE_OBJECTIVE_DECLARE)
#undef TE_OBJECTIVE_DECLARE

/* ---- losses (losses.c): rows on workers; each adds to d (NULL: no gradient) scale times its gradient ---- */

/*
 * Cross-entropy of softmax(row) with targets[row], -1: none; class_weights by target or NULL; label smoothing as in
 * Szegedy et al. 2016.
 */
extern void te_loss_cross_entropy(TeArena *arena, const float *logits, size_t rows, size_t cols, const int32_t *targets,
								  const float *class_weights, float smoothing, float scale, float *d, TeLossSum *sum);
/*
 * temperature^2 times the divergence (Kullback and Leibler) of softmax(row / temperature) from that of the teacher's (Hinton et
 * al. 2015); right is who has the teacher's largest.
 */
extern void te_loss_soft(TeArena *arena, const float *logits, size_t rows, size_t cols, const float *teacher, double temperature,
						 float scale, float *d, TeLossSum *sum);
/* The mean of two cross-entropies, of column 0 and of column 1 over the rows of a sequence, with targets[2 * sequence + column]. */
extern void te_loss_span(TeArena *arena, const float *logits, size_t n_sequences, const int32_t *seq_start, const int32_t *targets,
						 float scale, float *d, TeLossSum *sum);
/* Sigmoid cross-entropy of each element with targets in [0, 1], times its column's weight (NULL: 1), the mean over a row being a term. */
extern void te_loss_binary(const float *logits, size_t rows, size_t cols, const float *targets, const float *class_weights,
						   float scale, float *d, TeLossSum *sum);
/* Squared difference, the mean over a row being a term. */
extern void te_loss_square(const float *values, size_t rows, size_t cols, const float *targets, float scale, float *d, TeLossSum *sum);

/* ---- losses of vectors (losses_vectors.c), which need not have length 1 ---- */

/*
 * Cross-entropy over the cosines, times cosine_scale, of each example's first vector with the others of all examples, its
 * own second one being the right answer; `each` vectors an example.
 */
extern void te_loss_in_batch(TeArena *arena, const float *vectors, size_t n, size_t each, size_t cols, float cosine_scale,
							 float scale, float *d, TeLossSum *sum);
/* Squared difference of the cosine of two vectors and a target. */
extern void te_loss_cosine(TeArena *arena, const float *vectors, size_t n, size_t cols, const float *targets, float scale, float *d,
						   TeLossSum *sum);
/* How far the cosine with the second vector is from being larger by a margin than that with the third. */
extern void te_loss_triplet(TeArena *arena, const float *vectors, size_t n, size_t cols, float margin, float scale, float *d,
							TeLossSum *sum);
/* 1 less the cosine of a row with its target. */
extern void te_loss_direction(TeArena *arena, const float *vectors, size_t rows, size_t cols, const float *targets, float scale,
							  float *d, TeLossSum *sum);

/* What the options "loss" (objective_embed.c) and "match" (objective_distill.c) may name; NULL: there are no more. */
extern const char *te_pair_loss_name(size_t i);
extern const char *te_match_name(size_t i);

/* ---- what is trained (build.c) ---- */

/* A tensor of the model in training. */
typedef struct TeTrained
{
	TeStr		name;
	TeWeight   *weight;			/* data is changed in place, grad added to by backward */
	float	   *data;
	size_t		n;				/* elements */
	bool		decays;			/* by weight_decay: not biases and norms */
	bool		optional;		/* the graph may not read it: then it stays as it is */
	float	   *state[2];		/* of the optimizer */
} TeTrained;

/* The model that a run trains, in private memory. */
typedef struct TeTrainee
{
	TeModelDef *def;			/* what it began as: base with a head and overlays; tensors in f32 where they are trained */
	const TeModelDef *base;
	const TeConfig *config;
	uint64_t	n_parameters;	/* elements that are trained */
	uint64_t	image_bytes;	/* of all its weights */
	/* of te_trainee_load() */
	const struct Build *build;
	const TeTensorSpecs *specs;
	TeImagePlan *plan;
	/* once it is loaded */
	TeModel    *model;
	size_t		n_trained;
	TeTrained  *trained;
} TeTrainee;

/* What is to be trained, and how large it is; n_soft: the width of a teacher's vectors, or 0. */
extern void te_trainee_define(TeArena *arena, const TeModelDef *base, const TeObjective *objective, const TeTrainOptions *options,
							  const TeStr *labels, int32_t n_labels, int32_t n_soft, TeTrainee *into);
/* The same with weights and gradients in memory. */
extern void te_trainee_load(TeArena *arena, TeTrainee *trainee);
/* The new version, in the types that the options or the base say. */
extern TeModelDef *te_trainee_definition(TeArena *arena, const TeTrainee *trainee, const TeTrainOptions *options);

/* ---- optimizers and schedules (optimizer.c) ---- */

typedef struct TeOptimizer
{
	const char *name;
	int			n_states;		/* floats an element */
	/* Elements [0, n): data is changed by grad * grad_scale and grad zeroed.  step from 1.  Pure. */
	void		(*update) (const TeTrainOptions *options, double rate, int64_t step, bool decays, float grad_scale, size_t n,
						   float *data, float *grad, float *const *state);
} TeOptimizer;

extern const TeOptimizer *te_optimizer_by_name(TeStr name); /* NULL: none */
extern const char *te_optimizer_name(size_t i); /* NULL: there are no more */
/* The learning rate of step 1 .. n_steps. */
extern double te_schedule_rate(const TeTrainOptions *options, int64_t step, int64_t n_steps);
extern const char *te_schedule_name(size_t i);	/* NULL: there are no more */
/* Norm of all gradients together. */
extern double te_gradient_norm(TeArena *scratch, const TeTrained *trained, size_t n);
/* A step on all tensors; gradients are multiplied by grad_scale, and zero afterwards. */
extern void te_optimize(const TeOptimizer *optimizer, const TeTrainOptions *options, double rate, int64_t step, float grad_scale,
						TeTrained *trained, size_t n);

#endif							/* TE_TRAIN_H */
