/*-------------------------------------------------------------------------
 * rotary.c
 *	  The encoder with rotary positions of ModernBERT and nomic-bert: what
 *	  their forward passes and configurations share.
 *
 * Query and key lie beside one another in a joint projection and are turned
 * together, where they lie.  The table of cosines and sines is made once a
 * batch; local layers, which see a window of tokens only, may turn by another
 * base and then have a table of their own.
 *-------------------------------------------------------------------------
 */
#include "arch/rotary.h"

/* ---- weights ---- */

bool
te_rotary_is_local(const TeConfig *config, int layer)
{
	return (config->local_layers[layer / 32] >> (layer % 32) & 1) != 0;
}

bool
te_rotary_is_unturned(const TeConfig *config, int layer)
{
	return (config->unturned_layers[layer / 32] >> (layer % 32) & 1) != 0;
}

bool
te_rotary_has_experts(const TeConfig *config, int layer)
{
	return (config->expert_layers[layer / 32] >> (layer % 32) & 1) != 0;
}

const TeEncoder *
te_rotary_bind(const TeEncoderTensor *table, TeArena *arena, const TeModel *model)
{
	const TeConfig *config = te_model_config(model);
	TeEncoder  *encoder = te_new(arena, TeEncoder);

	*encoder = *te_encoder_bind(table, arena, model);
	encoder->rope = te_rope_bind(arena, &config->rope, config->rope_columns);
	encoder->local_rope = te_rope_bind(arena, &config->rope_local, config->rope_columns);
	return encoder;
}

/* ---- forward ---- */

/* What the layers of a pass share. */
typedef struct Pass
{
	TeGraph    *graph;
	const TeEncoder *encoder;
	const TeConfig *config;
	TeNode	   *table;			/* of angles; NULL until a layer wants it */
	TeNode	   *local_table;
} Pass;

static TeOperand
rotary_operand(TeEncoderPair pair)
{
	return (TeOperand) {.matrix = pair.weight, .bias = pair.bias};
}

static TeNode *
rotary_linear(const Pass *pass, TeNode *x, TeEncoderPair pair)
{
	TeOperand	operand = rotary_operand(pair);

	return te_linear(pass->graph, x, &operand, 1, TE_ACT_NONE);
}

/* Of x + residual (NULL: of x); x itself where there is no norm. */
static TeNode *
rotary_norm(const Pass *pass, TeNode *x, TeNode *residual, TeEncoderPair norm)
{
	if (norm.weight == NULL)
		return x;
	return te_layer_norm(pass->graph, x, residual, norm.weight, norm.bias, pass->config->norm_eps);
}

static TeNode *
angles(Pass *pass, bool local)
{
	TeNode	  **table = local ? &pass->local_table : &pass->table;

	if (*table == NULL)
		*table = te_rope_table(pass->graph, local ? &pass->encoder->local_rope : &pass->encoder->rope);
	return *table;
}

static TeNode *
attend(Pass *pass, TeNode *x, int layer)
{
	const TeConfig *config = pass->config;
	const TeEncoderLayer *weights = &pass->encoder->layers[layer];
	size_t		width = (size_t) config->hidden_size;
	bool		local = te_rotary_is_local(config, layer);
	TeNode	   *joint = rotary_linear(pass, x, weights->joint);
	TeAttentionSpec spec = {
		.n_head = config->n_heads,
		.n_kv_head = config->n_heads,
		.d_head = config->head_size,
		.window = local ? config->window : 0,
	};

	joint = te_rope(pass->graph, (TeColumns) {joint, 0, 2 * width}, (size_t) config->head_size, angles(pass, local));
	x = te_attention(pass->graph, (TeColumns) {joint, 0, width}, (TeColumns) {joint, width, width},
					 (TeColumns) {joint, 2 * width, width}, &spec);
	return te_dropout(pass->graph, rotary_linear(pass, x, weights->out));
}

static TeNode *
feed_forward(const Pass *pass, TeNode *x, const TeEncoderLayer *weights)
{
	TeOperand	both[2] = {rotary_operand(weights->gate), rotary_operand(weights->up)};
	int			n = weights->gate.weight != NULL ? 2 : 1;

	x = te_linear(pass->graph, x, both + 2 - n, n, TE_ACT_NONE);
	x = te_gate(pass->graph, x, (TeActivation) pass->config->activation);
	return te_dropout(pass->graph, rotary_linear(pass, x, weights->down));
}

/* norm(words + types) */
static TeNode *
begin(Pass *pass, TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	TeNode	   *types = NULL;
	TeNode	   *x;

	*pass = (Pass) {.graph = graph, .encoder = te_model_bound(model), .config = te_model_config(model)};
	x = te_gather(graph, pass->encoder->words, batch->ids, batch->n_tok, 0);
	if (pass->encoder->types != NULL)
	{
		te_assert(batch->type_ids != NULL);
		types = te_gather(graph, pass->encoder->types, batch->type_ids, batch->n_tok, 0);
	}
	return te_dropout(graph, rotary_norm(pass, x, types, pass->encoder->norm));
}

TeNode *
te_rotary_forward_post_norm(TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	Pass		pass;
	TeNode	   *x = begin(&pass, graph, model, batch);

	for (int i = 0; i < pass.config->n_layers; i++)
	{
		const TeEncoderLayer *layer = &pass.encoder->layers[i];

		x = rotary_norm(&pass, attend(&pass, x, i), x, layer->attention_norm);
		x = rotary_norm(&pass, feed_forward(&pass, x, layer), x, layer->out_norm);
	}
	return x;
}

TeNode *
te_rotary_forward_pre_norm(TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	Pass		pass;
	TeNode	   *x = begin(&pass, graph, model, batch);

	for (int i = 0; i < pass.config->n_layers; i++)
	{
		const TeEncoderLayer *layer = &pass.encoder->layers[i];

		x = te_add(graph, attend(&pass, rotary_norm(&pass, x, NULL, layer->attention_norm), i), x);
		x = te_add(graph, feed_forward(&pass, rotary_norm(&pass, x, NULL, layer->out_norm), layer), x);
	}
	return rotary_norm(&pass, x, NULL, pass.encoder->final_norm);
}
