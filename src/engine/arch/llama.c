/*-------------------------------------------------------------------------
 * llama.c
 *	  The decoder of Llama (Touvron et al., 2023) and those built like it: RMS norms before the layers,
 *	  rotary positions, keys and values shared by groups of heads, a gated feed-forward.
 *
 * Each layer is
 *
 *		x = x + out(attention(query(norm(x)), key(norm(x)), value(norm(x))))
 *		x = x + down(activation(gate(norm(x))) * up(norm(x)))
 *
 * and a token sees itself and what came before it.  Query, key and value are one linear op with three operands, gate and up one with
 * two; where a family has them as one matrix, they are one operand.
 *
 * Beyond that there may be norms of each head of query and key, norms of what attention and feed-forward give, layers that see a
 * window or that have no positions, layers of experts (experts.c), bounds that scores approach, and embeddings that are multiplied.  All of that is configuration
 * (llama_config.c).
 *
 * The rows of query and key lie as in Hugging Face's files, where halves of a head are turned against each other; GGUF has pairs for
 * some families, and is put in order as it is read (model/order.c).  Norms are stored as they are multiplied with; folders of Gemma have
 * them less one.
 *-------------------------------------------------------------------------
 */
#include "arch/llama.h"

#define LAYER "layers.%d."

/* A weight and its bias, which is there where its size is not 0. */
#define IN_LAYER(slot, n_out, n_in, sensitive, bias_size, name, gguf) \
	TE_ENCODER_LAYER(slot.weight, TE_ROLE_LINEAR, n_out, n_in, sensitive, LAYER name ".weight", "blk.%d." gguf ".weight"), \
	TE_ENCODER_LAYER(slot.bias, TE_ROLE_VECTOR, bias_size, n_out, false, LAYER name ".bias", "blk.%d." gguf ".bias")
/* The same of heads that are turned. */
#define TURNED(pair, rows, bias_size, hf, gguf) \
	{.in_layer = true, .slot = offsetof(TeEncoderLayer, pair.weight), .role = TE_ROLE_LINEAR, .n_out = rows, .n_in = TE_SIZE_HIDDEN, \
		.name = LAYER hf ".weight", .gguf_name = "blk.%d." gguf ".weight", .order = TE_ORDER_TURNED}, \
	{.in_layer = true, .slot = offsetof(TeEncoderLayer, pair.bias), .role = TE_ROLE_VECTOR, .n_out = bias_size, .n_in = rows, \
		.name = LAYER hf ".bias", .gguf_name = "blk.%d." gguf ".bias", .order = TE_ORDER_TURNED}
/* The same of a feed-forward, where there are no experts. */
#define FED(pair, rows, columns, delicate, bias_size, hf, gguf) \
	{.in_layer = true, .slot = offsetof(TeEncoderLayer, pair.weight), .role = TE_ROLE_LINEAR, .n_out = rows, .n_in = columns, \
		.sensitive = delicate, .name = LAYER hf ".weight", .gguf_name = "blk.%d." gguf ".weight", .dense = true}, \
	{.in_layer = true, .slot = offsetof(TeEncoderLayer, pair.bias), .role = TE_ROLE_VECTOR, .n_out = bias_size, .n_in = rows, \
		.name = LAYER hf ".bias", .gguf_name = "blk.%d." gguf ".bias", .dense = true}
#define NORM(pair, there, n, hf, gguf) \
	{.in_layer = true, .slot = offsetof(TeEncoderLayer, pair.weight), .role = TE_ROLE_VECTOR, .n_out = there, .n_in = n, .order = TE_ORDER_LESS_ONE, \
		.name = LAYER hf ".weight", .gguf_name = "blk.%d." gguf ".weight"}

#define FIRST_ROWS \
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_HIDDEN, false, "embed_tokens.weight", "token_embd.weight"), \
	NORM(attention_norm, TE_SIZE_ONE, TE_SIZE_HIDDEN, "input_layernorm", "attn_norm")
/* What stands before the feed-forward has one of two names. */
#define MIDDLE_ROWS \
	IN_LAYER(out, TE_SIZE_HIDDEN, TE_SIZE_QUERY, true, TE_SIZE_OUT_BIAS, "self_attn.o_proj", "attn_output"), \
	NORM(out_norm, TE_SIZE_TWO_NORMS, TE_SIZE_HIDDEN, "post_attention_layernorm", "ffn_norm"), \
	NORM(attended_norm, TE_SIZE_FOUR_NORMS, TE_SIZE_HIDDEN, "post_attention_layernorm", "post_attention_norm"), \
	NORM(out_norm, TE_SIZE_FOUR_NORMS, TE_SIZE_HIDDEN, "pre_feedforward_layernorm", "ffn_norm"), \
	NORM(fed_norm, TE_SIZE_FOUR_NORMS, TE_SIZE_HIDDEN, "post_feedforward_layernorm", "post_ffw_norm")
#define LAST_ROWS \
	FED(down, TE_SIZE_HIDDEN, TE_SIZE_INTERMEDIATE, true, TE_SIZE_DOWN_BIAS, "mlp.down_proj", "ffn_down"), \
	{.slot = offsetof(TeEncoder, final_norm.weight), .role = TE_ROLE_VECTOR, .n_out = TE_SIZE_ONE, .n_in = TE_SIZE_HIDDEN, .order = TE_ORDER_LESS_ONE, \
		.name = "norm.weight", .gguf_name = "output_norm.weight"}, \
	{.name = NULL}

static const TeEncoderTensor llama_tensors[] = {
	FIRST_ROWS,
	TURNED(query, TE_SIZE_QUERY, TE_SIZE_ATTENTION_BIAS, "self_attn.q_proj", "attn_q"),
	TURNED(key, TE_SIZE_KEY, TE_SIZE_ATTENTION_BIAS, "self_attn.k_proj", "attn_k"),
	IN_LAYER(value, TE_SIZE_KEY, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, "self_attn.v_proj", "attn_v"),
	NORM(query_norm, TE_SIZE_HEAD_NORMS, TE_SIZE_HEAD, "self_attn.q_norm", "attn_q_norm"),
	NORM(key_norm, TE_SIZE_HEAD_NORMS, TE_SIZE_HEAD, "self_attn.k_norm", "attn_k_norm"),
	MIDDLE_ROWS,
	FED(gate, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, "mlp.gate_proj", "ffn_gate"),
	FED(up, TE_SIZE_INTERMEDIATE, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, "mlp.up_proj", "ffn_up"),
	LAST_ROWS
};

static const TeEncoderTensor joint_tensors[] = {
	FIRST_ROWS,
	IN_LAYER(joint, TE_SIZE_JOINT, TE_SIZE_HIDDEN, true, TE_SIZE_ATTENTION_BIAS, "self_attn.qkv_proj", "attn_qkv"),
	MIDDLE_ROWS,
	FED(up, TE_SIZE_GATED, TE_SIZE_HIDDEN, false, TE_SIZE_UP_BIAS, "mlp.gate_up_proj", "ffn_up"),
	LAST_ROWS
};

static const TeEncoderTensor *
tensors_of(const TeConfig *config)
{
	return config->joint ? joint_tensors : llama_tensors;
}

/* ---- forward ---- */

/* What the layers of a pass share. */
typedef struct Pass
{
	TeGraph    *graph;
	const TeEncoder *decoder;
	const TeConfig *config;
	TeNode	   *tables[2];		/* of angles, global and local; NULL until a layer wants it */
} Pass;

/* Of two operands the second alone where the first is part of it. */
static TeNode *
linear(const Pass *pass, TeNode *x, const TeEncoderPair *pairs, int n)
{
	TeOperand	operands[3];
	int			used = 0;

	for (int i = 0; i < n; i++)
	{
		if (pairs[i].weight != NULL)
			operands[used++] = (TeOperand) {.matrix = pairs[i].weight, .bias = pairs[i].bias};
	}
	return te_linear(pass->graph, x, operands, used, TE_ACT_NONE);
}

/* x itself where there is no such norm. */
static TeNode *
norm(const Pass *pass, TeNode *x, TeEncoderPair pair)
{
	return pair.weight == NULL ? x : te_rms_norm(pass->graph, x, pair.weight, pass->config->norm_eps);
}

static TeNode *
norm_heads(const Pass *pass, TeColumns heads, TeEncoderPair pair)
{
	if (pair.weight == NULL)
		return heads.node;
	return te_rms_norm_heads(pass->graph, heads, (size_t) pass->config->head_size, pair.weight, pass->config->norm_eps);
}

/* Query and key with their positions. */
static TeNode *
turn(Pass *pass, TeNode *joint, size_t columns, int layer)
{
	bool		local = te_rotary_is_local(pass->config, layer);
	TeNode	  **table = &pass->tables[local];

	if (te_rotary_is_unturned(pass->config, layer))
		return joint;
	if (*table == NULL)
		*table = te_rope_table(pass->graph, local ? &pass->decoder->local_rope : &pass->decoder->rope);
	return te_rope(pass->graph, (TeColumns) {joint, 0, columns}, (size_t) pass->config->head_size, *table);
}

static TeNode *
attend(Pass *pass, TeNode *x, int layer)
{
	const TeConfig *config = pass->config;
	const TeEncoderLayer *weights = &pass->decoder->layers[layer];
	const TeEncoderPair pairs[] = {weights->query, weights->key, weights->value};
	size_t		queries = (size_t) config->n_heads * (size_t) config->head_size;
	size_t		keys = (size_t) config->n_kv_heads * (size_t) config->head_size;
	TeAttentionSpec spec = {.n_head = config->n_heads, .n_kv_head = config->n_kv_heads, .d_head = config->head_size,
		.causal = true, .scale = config->score_scale, .softcap = config->score_cap,
		.window = te_rotary_is_local(config, layer) ? config->window : 0};

	x = config->joint ? linear(pass, x, &weights->joint, 1) : linear(pass, x, pairs, 3);
	x = norm_heads(pass, (TeColumns) {x, 0, queries}, weights->query_norm);
	x = norm_heads(pass, (TeColumns) {x, queries, keys}, weights->key_norm);
	x = turn(pass, x, queries + keys, layer);
	x = te_attention(pass->graph, (TeColumns) {x, 0, queries}, (TeColumns) {x, queries, keys},
					 (TeColumns) {x, queries + keys, keys}, &spec);
	return norm(pass, linear(pass, x, &weights->out, 1), weights->attended_norm);
}

static TeNode *
feed_forward(const Pass *pass, TeNode *x, const TeEncoderLayer *weights)
{
	const TeEncoderPair pairs[] = {weights->gate, weights->up};

	if (weights->experts != NULL)
		return norm(pass, te_llama_experts(pass->graph, x, weights, pass->config), weights->fed_norm);
	x = te_gate(pass->graph, linear(pass, x, pairs, 2), (TeActivation) pass->config->activation);
	return norm(pass, linear(pass, x, &weights->down, 1), weights->fed_norm);
}

static TeNode *
llama_forward(TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	Pass		pass = {.graph = graph, .decoder = te_model_bound(model), .config = te_model_config(model)};
	TeNode	   *x = te_gather(graph, pass.decoder->words, batch->ids, (size_t) batch->n_tok, 0);

	if (pass.config->words_scale != 1)
		x = te_scale(graph, x, pass.config->words_scale);
	x = te_dropout(graph, x);
	for (int i = 0; i < pass.config->n_layers; i++)
	{
		const TeEncoderLayer *layer = &pass.decoder->layers[i];

		x = te_add(graph, te_dropout(graph, attend(&pass, norm(&pass, x, layer->attention_norm), i)), x);
		x = te_add(graph, te_dropout(graph, feed_forward(&pass, norm(&pass, x, layer->out_norm), layer)), x);
	}
	return norm(&pass, x, pass.decoder->final_norm);
}

/* ---- the row ---- */

static void
llama_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(tensors_of(config), config, specs);
	te_llama_list_experts(config, specs);
}

static const void *
llama_bind(TeArena *arena, const TeModel *model)
{
	TeEncoder  *decoder = te_new(arena, TeEncoder);

	*decoder = *te_rotary_bind(tensors_of(te_model_config(model)), arena, model);
	te_llama_bind_experts(arena, model, decoder);
	return decoder;
}

static const TeArchHead llama_heads[] = {
	{TE_HEAD_CAUSAL, .untied = true, .layers = {
		{"lm_head", .gguf_name = "output", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true,
		.tied_to = "embed_tokens.weight"}
	}},
	{TE_HEAD_SEQUENCE, .last = true, .layers = {{"score", .width = TE_WIDTH_OUTPUTS, .bias_optional = true, .bias_rare = true}}},
	{TE_HEAD_TOKEN, .layers = {{"score", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_NONE}
};

/* Where two have one name in GGUF, the first one reads foreign files. */
static const TeModelType llama_types[] = {
	{"llama", "LlamaModel", .gguf_name = "llama"},
	{"mistral", "MistralModel", .gguf_name = "llama"},
	{"mixtral", "MixtralModel", .gguf_name = "llama"},
	{"smollm3", "SmolLM3Model", .gguf_name = "smollm3", .tied = true},
	{"qwen2", "Qwen2Model", .gguf_name = "qwen2"},
	{"qwen3", "Qwen3Model", .gguf_name = "qwen3"},
	{"qwen2_moe", "Qwen2MoeModel", .gguf_name = "qwen2moe"},
	{"qwen3_moe", "Qwen3MoeModel", .gguf_name = "qwen3moe"},
	{"gemma", "GemmaModel", .gguf_name = "gemma", .tied = true},
	{"gemma2", "Gemma2Model", .gguf_name = "gemma2", .tied = true},
	{"gemma3_text", "Gemma3TextModel", .gguf_name = "gemma3", .tied = true, .causal_name = "Gemma3ForCausalLM"},
	{"phi3", "Phi3Model", .gguf_name = "phi3"},
	{NULL}
};

const TeArch te_arch_llama = {
	.name = "llama",
	.model_types = llama_types,
	.prefixes = (const char *const[]) {"model.", NULL},
	.gguf_name = "llama",
	.read_config = te_llama_read_config,
	.config_from_gguf = te_llama_config_from_gguf,
	.config_to_gguf = te_llama_config_to_gguf,
	.gguf_tensors = te_llama_gguf_tensors,
	.list_tensors = llama_list_tensors,
	.bind = llama_bind,
	.forward = llama_forward,
	.heads = llama_heads,
};
