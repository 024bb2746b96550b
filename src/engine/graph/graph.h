/*-------------------------------------------------------------------------
 * graph.h
 *	  Computation graphs: nodes, shape checks, memory plan, execution, reverse mode.
 *
 * An architecture builds a graph anew for each packed batch, in the step arena
 * (some hundred nodes: microseconds).  Every value is a row-major f32 matrix [rows, cols]; a row
 * is a token, or a sequence after pooling.  Sequences are concatenated, never padded.
 *
 * te_graph_run() plans memory (in inference a buffer is used again as soon as its last reader has run;
 * in training all that a backward pass reads is kept), then executes node by node; between nodes it
 * checks for interrupts.  te_graph_backward() runs the same nodes in reverse.
 *
 * An op is a row of ops.def and a forward and a backward function with the
 * same arguments; backward ADDS into the gradients of its inputs and of its
 * weights (an input may feed several ops).  To add an op: write the pair in the op_*.c
 * it belongs to, add the row, add a case to the gradient check table (its size is
 * asserted against the number of rows).
 *-------------------------------------------------------------------------
 */
#ifndef TE_GRAPH_H
#define TE_GRAPH_H

#include "kernels/kernels.h"

typedef struct TeGraph TeGraph;
typedef struct TeNode TeNode;

/*
 * Where sequences go on that have begun before: pages with the keys and values of the tokens that were there, and room for
 * those of the batch.  te_attention() then writes these into the pages of its layer, which is its number among the te_attention()
 * of the graph, and attends over the pages.
 */
typedef struct TeBatchPages
{
	TePageLayout layout;
	int			n_layers;		/* that a page has */
	const int32_t *first;		/* n_seq: tokens that were there */
	char	   *const *const *pages;	/* n_seq: the pages of each, in order */
} TeBatchPages;

/* A packed batch.  Arrays belong to the caller and live as long as the graph. */
typedef struct TeBatch
{
	int			n_seq;
	int			n_tok;
	int			max_len;		/* longest sequence */
	const int32_t *seq_start;	/* n_seq + 1 */
	const int32_t *ids;			/* n_tok */
	const int32_t *type_ids;	/* n_tok, or NULL: all 0 */
	const int32_t *positions;	/* n_tok, from 0 in each sequence (an architecture adds its own offset) */
	const int32_t *lengths;		/* n_seq: tokens of each sequence as a whole, where some are not in the batch; or NULL: up to its last in the batch */
	/*
	 * NULL: all of each sequence is in the batch.  Else text is being made, and linear ops round x to bytes with a scale for each 32 of
	 * them wherever a type is multiplied as bytes, q8_0 too, which looks closer for the sake of vectors: that is what llama.cpp does, at half the products.
	 */
	const TeBatchPages *pages;
} TeBatch;

typedef enum TeGraphMode
{
	TE_INFER,
	TE_TRAIN					/* keep what backward needs */
} TeGraphMode;

/* batch may be NULL where no op needs one (attention, relative_bias, rope_table and pool do).  Sequences have at least one token. */
extern TeGraph *te_graph_create(TeArena *step, TeGraphMode mode, const TeBatch *batch);

/* In training, linear ops that are built from here on multiply in bf16, with f32 sums, forward and backward. */
extern void te_graph_set_bf16(TeGraph *graph, bool bf16);
/* Rate [0, 1) of the dropouts that are built from here on, and what their choice follows from. */
extern void te_graph_set_dropout(TeGraph *graph, float rate, uint64_t seed);

/* Memory that lives as long as the graph: ids and tables of an architecture's own. */
extern void *te_graph_alloc(TeGraph *graph, size_t bytes);

/* Columns of a node, where an op takes part of one (query, key, value of a joint projection). */
typedef struct TeColumns
{
	TeNode	   *node;
	size_t		first;
	size_t		n;
} TeColumns;

/* ---- building: each checks shapes and throws TE_ERR_INTERNAL naming the op ---- */

/* Values given from outside; grad (same shape, added into) may be NULL. */
extern TeNode *te_input(TeGraph *graph, const float *data, size_t rows, size_t cols, float *grad);
/*
 * Rows ids[i] + offset of a weight of any type: embeddings.  ids NULL: all 0.  A row that the table does
 * not have throws TE_ERR_INVALID when the graph runs.
 */
extern TeNode *te_gather(TeGraph *graph, const TeWeight *table, const int32_t *ids, size_t n, int32_t offset);
extern TeNode *te_add(TeGraph *graph, TeNode *a, TeNode *b);
extern TeNode *te_multiply(TeGraph *graph, TeNode *a, TeNode *b);
extern TeNode *te_scale(TeGraph *graph, TeNode *x, float factor);
extern TeNode *te_scale_rows(TeGraph *graph, TeNode *x, TeNode *factors);	/* factors: [rows, 1] */
extern TeNode *te_softcap(TeGraph *graph, TeNode *x, float cap);	/* cap * tanh(x / cap) */
/*
 * Dropout (Srivastava et al. 2014) in training, at the rate of te_graph_set_dropout(); x itself in inference or at rate 0.  Which
 * elements are dropped follows from the graph's seed and the node's place, so that the same graph drops the same.
 */
extern TeNode *te_dropout(TeGraph *graph, TeNode *x);
extern TeNode *te_activate(TeGraph *graph, TeNode *x, TeActivation activation);
/* activation(a) * b of the halves a, b of x's columns: GeGLU, SwiGLU of a joint projection. */
extern TeNode *te_gate(TeGraph *graph, TeNode *x, TeActivation activation);
/* Layer norm of x + residual (residual may be NULL); gamma, beta: f32 vectors; beta may be NULL. */
extern TeNode *te_layer_norm(TeGraph *graph, TeNode *x, TeNode *residual,
							 const TeWeight *gamma, const TeWeight *beta, float eps);
extern TeNode *te_rms_norm(TeGraph *graph, TeNode *x, const TeWeight *gamma, float eps);
/* x with the heads of d_head columns in `heads` normalized, each by itself; gamma has d_head elements. */
extern TeNode *te_rms_norm_heads(TeGraph *graph, TeColumns heads, size_t d_head, const TeWeight *gamma, float eps);
/* The same by layer norms; gamma has heads.n elements, of each head its own. */
extern TeNode *te_layer_norm_heads(TeGraph *graph, TeColumns heads, size_t d_head, const TeWeight *gamma, float eps);

/* A weight operand of the linear op, of any type, layout and with any overlay. */
typedef struct TeOperand
{
	const TeWeight *matrix;		/* [n_out, n_in] */
	const TeWeight *bias;		/* f32 vector, or NULL */
} TeOperand;

/* activation(x · Wᵀ + b), operands side by side in the columns of the result. */
extern TeNode *te_linear(TeGraph *graph, TeNode *x, const TeOperand *operands, int n_operands, TeActivation activation);

/* A feed-forward layer: down(activation(gate(x)) * up(x)), weights of any type and layout, without overlays. */
typedef struct TeExpert
{
	const TeWeight *gate;
	const TeWeight *up;
	const TeWeight *down;
} TeExpert;

typedef struct TeExpertsSpec
{
	int			n_experts;
	int			n_chosen;		/* for each token */
	bool		sum_is_one;		/* what the chosen ones count for is 1 together; else they and all others are */
	TeActivation activation;
	const TeExpert *experts;	/* all of one shape; as long-lived as the graph */
} TeExpertsSpec;

/* Each token through the experts for which its router's `numbers` [rows, n_experts] are largest. */
extern TeNode *te_experts(TeGraph *graph, TeNode *x, TeNode *numbers, const TeExpertsSpec *spec);

/*
 * Rotary positions (Su et al. 2021): of each head the first n_rot columns are turned in pairs, pair p of a token
 * at position t by the angle t * frequencies[p].  A pair is columns p and p + n_rot / 2 ("NeoX"), or 2p and 2p + 1.
 * Partial rotation, a base and every scaling of a context are in n_rot and the frequencies.
 */
typedef struct TeRope
{
	int			n_rot;			/* even, <= columns of a head */
	bool		pairs;			/* of neighbours */
	float		factor;			/* of what was turned: YaRN's attention factor, else 1 */
	const float *frequencies;	/* n_rot / 2, as long-lived as the graph */
	const float *long_frequencies;	/* of sequences with long_from tokens and more, or NULL: the same */
	int32_t		long_from;
} TeRope;

/* Cosines and sines of the batch's positions, [n_tok, 2 * n_rot]: once a batch, for all layers that turn alike. */
extern TeNode *te_rope_table(TeGraph *graph, const TeRope *rope);
/* x with the heads of d_head columns in `heads` turned: query and key of a joint projection together. */
extern TeNode *te_rope(TeGraph *graph, TeColumns heads, size_t d_head, TeNode *table);

typedef struct TeAttentionSpec
{
	int			n_head;
	int			n_kv_head;
	int			d_head;
	float		scale;			/* 0: 1 / sqrt(d_head) */
	float		softcap;		/* 0: none; else scores become softcap * tanh(score / softcap), before bias and masks */
	bool		causal;
	int			window;			/* 0: none; else tokens further than this apart, in either direction, do not see each other */
	TeNode	   *bias;			/* NULL, or [n_head, 2 * span - 1], span >= the batch's longest sequence */
	const float *slopes;		/* NULL, or n_head, as long-lived as the graph: ALiBi, score += slope * (key - query) */
	/*
	 * Disentangled attention (He et al. 2020): to q · k are added, before the scale, q · keys and k · queries of the
	 * row that `rows` has for query - key: 2 * max_len - 1 numbers from -(max_len - 1) on, max_len being the batch's, as
	 * long-lived as the graph.  Either node may be NULL.  Not together with a window or with fewer key-value heads.
	 */
	TeColumns	keys;
	TeColumns	queries;
	const int32_t *rows;
} TeAttentionSpec;

extern TeNode *te_attention(TeGraph *graph, TeColumns q, TeColumns k, TeColumns v, const TeAttentionSpec *spec);
/* [n_buckets, n_head] table to the bias of te_attention by T5's / MPNet's bucketing of key - query. */
extern TeNode *te_relative_bias(TeGraph *graph, const TeWeight *table, int n_buckets, int max_distance, bool bidirectional);

typedef enum TePooling
{
	TE_POOL_MEAN,
	TE_POOL_CLS,
	TE_POOL_MAX,
	TE_POOL_LAST,
	TE_POOL_MEAN_SQRT,			/* mean * sqrt(length) */
	TE_N_POOLINGS
} TePooling;

extern TeNode *te_pool(TeGraph *graph, TeNode *x, TePooling pooling);	/* [n_tok, d] -> [n_seq, d] */
extern TeNode *te_select_rows(TeGraph *graph, TeNode *x, const int32_t *rows, size_t n);
extern TeNode *te_concat(TeGraph *graph, TeNode *const *nodes, int n);	/* columns */
extern TeNode *te_l2_normalize(TeGraph *graph, TeNode *x, float eps);

/* ---- running ---- */

extern void te_graph_keep(TeGraph *graph, TeNode *node);	/* its value stays valid after the run; before planning */
extern size_t te_graph_plan(TeGraph *graph);	/* bytes of workspace that a run takes */
/* The same, and the run has fewer workers where the scratch of all would take more than half of limit; 0: no bound. */
extern size_t te_graph_plan_within(TeGraph *graph, size_t limit);
extern void te_graph_profile(TeGraph *graph, double *seconds);	/* runs add the seconds of each op, by its number; NULL: no clock is read */
extern int	te_op_count(void);
extern const char *te_op_name(int op);
extern void te_graph_run(TeGraph *graph);	/* all nodes; results in te_node_value() of kept nodes; again, where weights or inputs changed */
/*
 * d_output has the node's shape; gradients add into weights' and inputs' grad.  After a run, from as many
 * outputs as there are, one after the other.
 */
extern void te_graph_backward(TeGraph *graph, TeNode *output, const float *d_output);

extern const float *te_node_value(const TeNode *node);
extern size_t te_node_rows(const TeNode *node);
extern size_t te_node_cols(const TeNode *node);

#endif							/* TE_GRAPH_H */
