/*-------------------------------------------------------------------------
 * gpt.c
 *	  The decoder of GPT-2 (Radford et al., 2019) and its relatives: what their forward passes and configurations share.
 *
 * Each layer is
 *
 *		x = x + out(attention(query(norm(x)), key(norm(x)), value(norm(x))))
 *		x = x + down(activation(up(norm(x))))
 *
 * or, where the two are parallel (GPT-J's idea),
 *
 *		x = x + out(attention(... norm(x) ...)) + down(activation(up(norm(x))))
 *
 * with one norm for both or one for each.  A token sees itself and what came before it.  Positions are added to the words, turn
 * query and key, or make scores fall with the distance, which is ALiBi (Press et al., 2021): head h adds slope[h] times the distance, which
 * is negative.
 *
 * The families are tables (gpt.h); none is named here.
 *-------------------------------------------------------------------------
 */
#include "arch/gpt.h"

#include <math.h>

/* ---- configuration ---- */

static int32_t
optional_size(const TeJson *config, const char *key, int64_t fallback, int64_t max)
{
	if (key == NULL)
		return (int32_t) fallback;
	return (int32_t) te_json_int_range(config, key, fallback, 1, max);
}

void
te_gpt_read_config(const TeJson *config, const TeGptKeys *keys, TeConfig *into)
{
	bool		named = keys->activation != NULL && te_json_get(config, keys->activation) != NULL;

	into->hidden_size = te_config_size(config, keys->hidden_size, TE_MAX_WIDTH);
	into->n_layers = te_config_size(config, keys->n_layers, TE_MAX_LAYERS);
	into->n_heads = te_config_size(config, keys->n_heads, TE_MAX_WIDTH);
	into->vocab_size = te_config_size(config, "vocab_size", TE_MAX_VOCABULARY);
	into->intermediate_size = optional_size(config, keys->intermediate_size, 4 * (int64_t) into->hidden_size, 4 * TE_MAX_WIDTH);
	into->max_positions = keys->max_positions != NULL ? te_config_size(config, keys->max_positions, TE_MAX_POSITIONS) : 0;
	into->pad_id = (int32_t) te_json_int_range(config, "pad_token_id", 0, -1, TE_MAX_VOCABULARY);
	into->activation = named ? te_config_activation(config, keys->activation) : keys->usual_activation;
	into->norm_eps = te_config_epsilon(config, keys->norm_eps, 1e-5);
	into->norm_bias = 1;
	te_config_heads(into);
	into->n_kv_heads = optional_size(config, keys->n_kv_heads, into->n_heads, into->n_heads);
	if (into->n_heads % into->n_kv_heads != 0)
		te_throw(TE_ERR_CORRUPT, "%d attention heads cannot share %d keys", (int) into->n_heads, (int) into->n_kv_heads);
	if (into->head_size > TE_MAX_D_HEAD)
		te_throw(TE_ERR_UNSUPPORTED, "heads of %d columns are not supported", (int) into->head_size);
}

/* "rotary_pct" and "rotary_emb_base" are older names. */
void
te_gpt_read_rope(const TeJson *config, double fraction, TeConfig *into)
{
	const TeJson *rope = te_rope_parameters(config, NULL);

	into->rope_columns = te_rope_columns(config, rope, te_json_real(config, "rotary_pct", fraction), into);
	te_rope_read(config, rope, te_rope_base(config, "rope_theta", te_rope_base(config, "rotary_emb_base", 10000)), into, &into->rope);
	into->rope_local = into->rope;
}

/* ---- GGUF ---- */

static void
key_from_gguf(TeArena *arena, const TeModelFile *file, const TeGptKeys *keys, const char *gguf, const char *hf, TeJson *config)
{
	const TeJson *value = te_json_get(file->meta, te_format(arena, "%s.%s", keys->gguf, gguf));

	if (value != NULL && hf != NULL)
		te_json_set_copy(arena, te_json_add(arena, config, hf), value);
}

/* What the file does not say is an error where config.json is read. */
void
te_gpt_config_from_gguf(TeArena *arena, const TeModelFile *file, const TeGptKeys *keys, TeJson *config)
{
	const TeTensorInfo *words = te_tensor_find(&file->tensors, TE_STR("token_embd.weight"));

	if (words == NULL || words->n_dims != 2)
		te_throw(TE_ERR_MISSING, "tensor \"token_embd.weight\" is missing or has no two dimensions");
	te_json_set_int(te_json_add(arena, config, "vocab_size"), words->dims[0]);
	key_from_gguf(arena, file, keys, "embedding_length", keys->hidden_size, config);
	key_from_gguf(arena, file, keys, "block_count", keys->n_layers, config);
	key_from_gguf(arena, file, keys, "attention.head_count", keys->n_heads, config);
	key_from_gguf(arena, file, keys, "attention.head_count_kv", keys->n_kv_heads, config);
	key_from_gguf(arena, file, keys, "feed_forward_length", keys->intermediate_size, config);
	key_from_gguf(arena, file, keys, "context_length", keys->max_positions, config);
	key_from_gguf(arena, file, keys, "attention.layer_norm_epsilon", keys->norm_eps, config);
}

/* The part of a head that is turned follows from llama.cpp's number of columns, and gives it again. */
void
te_gpt_rope_from_gguf(TeArena *arena, const TeModelFile *file, const TeGptKeys *keys, TeJson *config)
{
	int64_t		n_heads = te_json_int_range(config, keys->n_heads, 1, 1, TE_MAX_WIDTH);
	int64_t		head = te_json_int_range(config, keys->hidden_size, n_heads, 1, TE_MAX_WIDTH) / n_heads;
	int64_t		columns = te_json_int_range(file->meta, te_format(arena, "%s.rope.dimension_count", keys->gguf), head, 0, TE_MAX_WIDTH);
	double		fraction = (double) columns / (double) TE_MAX(head, 1);

	if ((int64_t) ((double) head * fraction) < columns)
		fraction = nextafter(fraction, 1);
	te_rope_from_gguf(arena, file, keys->gguf, config);
	te_json_set_real(te_json_add(arena, config, "partial_rotary_factor"), fraction);
}

static void
set_int(TeArena *arena, TeJson *meta, const TeGptKeys *keys, const char *key, int64_t value)
{
	te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s.%s", keys->gguf, key)), value);
}

static void
set_real(TeArena *arena, TeJson *meta, const TeGptKeys *keys, const char *key, double value)
{
	te_json_set_real(te_json_add(arena, meta, te_format(arena, "%s.%s", keys->gguf, key)), value);
}

void
te_gpt_config_to_gguf(TeArena *arena, const TeConfig *config, const TeGptKeys *keys, TeJson *meta)
{
	if (config->activation != (int32_t) keys->usual_activation)
		te_report(TE_NOTICE, "llama.cpp computes models of this kind with \"%s\" only, not with \"%s\"",
				  te_activation_name(keys->usual_activation), te_activation_name((TeActivation) config->activation));
	set_int(arena, meta, keys, "context_length", config->max_positions);
	set_int(arena, meta, keys, "embedding_length", config->hidden_size);
	set_int(arena, meta, keys, "block_count", config->n_layers);
	set_int(arena, meta, keys, "feed_forward_length", config->intermediate_size);
	set_int(arena, meta, keys, "attention.head_count", config->n_heads);
	set_int(arena, meta, keys, "attention.head_count_kv", config->n_kv_heads);
	set_real(arena, meta, keys, "attention.layer_norm_epsilon", config->norm_eps);
	if (config->rope_columns > 0)
		te_rope_to_gguf(arena, &config->rope, config->rope_columns, keys->gguf, meta);
}

/* ---- weights ---- */

/*
 * The slopes of ALiBi: a geometric series down to 2^-max; where heads are no power of two, that of the next lower one, and then
 * every other number of the series of twice as many.
 */
static const float *
alibi_slopes(TeArena *arena, int n_heads, double max, double scale)
{
	float	   *slopes = te_new_array(arena, float, n_heads);
	int			n = 1;

	while (2 * n <= n_heads)
		n *= 2;
	for (int h = 0; h < n_heads; h++)
		slopes[h] = (float) (scale * (h < n ? pow(2, -max * (h + 1) / n) : pow(2, -max * (2 * (h - n) + 1) / (2 * n))));
	return slopes;
}

const TeEncoder *
te_gpt_bind(const TeEncoderTensor *table, TeArena *arena, const TeModel *model)
{
	const TeConfig *config = te_model_config(model);
	TeEncoder  *decoder = te_new(arena, TeEncoder);

	*decoder = config->rope_columns > 0 ? *te_rotary_bind(table, arena, model) : *te_encoder_bind(table, arena, model);
	if (config->alibi_max > 0)
		decoder->slopes = alibi_slopes(arena, config->n_heads, config->alibi_max, config->alibi_scale);
	return decoder;
}

/* ---- forward ---- */

/* What the layers of a pass share. */
typedef struct Pass
{
	TeGraph    *graph;
	const TeEncoder *decoder;
	const TeConfig *config;
	TeNode	   *table;			/* of angles; NULL: nothing is turned */
} Pass;

static TeOperand
operand(TeEncoderPair pair)
{
	return (TeOperand) {.matrix = pair.weight, .bias = pair.bias};
}

static TeNode *
linear(const Pass *pass, TeNode *x, TeEncoderPair pair, TeActivation activation)
{
	TeOperand	one = operand(pair);

	return te_linear(pass->graph, x, &one, 1, activation);
}

static TeNode *
norm(const Pass *pass, TeNode *x, TeEncoderPair pair)
{
	return te_layer_norm(pass->graph, x, NULL, pair.weight, pair.bias, pass->config->norm_eps);
}

static TeNode *
attend(const Pass *pass, TeNode *x, const TeEncoderLayer *layer)
{
	const TeConfig *config = pass->config;
	TeOperand	operands[3] = {operand(layer->query), operand(layer->key), operand(layer->value)};
	TeOperand	joint_operand = operand(layer->joint);
	size_t		head = (size_t) config->head_size;
	size_t		queries = (size_t) config->n_heads * head;
	size_t		keys = (size_t) config->n_kv_heads * head;
	bool		is_joint = layer->joint.weight != NULL;
	TeNode	   *joint = te_linear(pass->graph, x, is_joint ? &joint_operand : operands, is_joint ? 1 : 3, TE_ACT_NONE);
	TeAttentionSpec spec = {.n_head = config->n_heads, .n_kv_head = config->n_kv_heads, .d_head = config->head_size,
		.causal = true, .slopes = pass->decoder->slopes};

	if (layer->query_norm.weight != NULL)
		joint = te_layer_norm_heads(pass->graph, (TeColumns) {joint, 0, queries}, head, layer->query_norm.weight, config->norm_eps);
	if (layer->key_norm.weight != NULL)
		joint = te_layer_norm_heads(pass->graph, (TeColumns) {joint, queries, keys}, head, layer->key_norm.weight, config->norm_eps);
	if (pass->table != NULL)
		joint = te_rope(pass->graph, (TeColumns) {joint, 0, queries + keys}, head, pass->table);
	x = te_attention(pass->graph, (TeColumns) {joint, 0, queries}, (TeColumns) {joint, queries, keys},
					 (TeColumns) {joint, queries + keys, keys}, &spec);
	return te_dropout(pass->graph, linear(pass, x, layer->out, TE_ACT_NONE));
}

static TeNode *
feed_forward(const Pass *pass, TeNode *x, const TeEncoderLayer *layer)
{
	TeOperand	both[2] = {operand(layer->gate), operand(layer->up)};
	TeActivation activation = (TeActivation) pass->config->activation;

	if (layer->gate.weight != NULL)
		x = te_gate(pass->graph, te_linear(pass->graph, x, both, 2, TE_ACT_NONE), activation);
	else
		x = linear(pass, x, layer->up, activation);
	return te_dropout(pass->graph, linear(pass, x, layer->down, TE_ACT_NONE));
}

static TeNode *
layer_forward(const Pass *pass, TeNode *x, const TeEncoderLayer *layer)
{
	TeNode	   *normed = norm(pass, x, layer->attention_norm);
	TeNode	   *attended = te_add(pass->graph, attend(pass, normed, layer), x);

	if (!pass->config->parallel_layers)
		normed = norm(pass, attended, layer->out_norm);
	else if (layer->out_norm.weight != NULL)
		normed = norm(pass, x, layer->out_norm);
	return te_add(pass->graph, feed_forward(pass, normed, layer), attended);
}

TeNode *
te_gpt_forward(TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	Pass		pass = {.graph = graph, .decoder = te_model_bound(model), .config = te_model_config(model)};
	TeNode	   *x = te_gather(graph, pass.decoder->words, batch->ids, (size_t) batch->n_tok, 0);

	if (pass.config->rope_columns > 0)
		pass.table = te_rope_table(graph, &pass.decoder->rope);
	if (pass.decoder->positions != NULL)
		x = te_add(graph, x, te_gather(graph, pass.decoder->positions, batch->positions, (size_t) batch->n_tok, 0));
	if (pass.decoder->norm.weight != NULL)
		x = norm(&pass, x, pass.decoder->norm);
	x = te_dropout(graph, x);
	for (int i = 0; i < pass.config->n_layers; i++)
		x = layer_forward(&pass, x, &pass.decoder->layers[i]);
	return norm(&pass, x, pass.decoder->final_norm);
}
