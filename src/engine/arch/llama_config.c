/*-------------------------------------------------------------------------
 * llama_config.c
 *	  config.json of the decoders that are built like Llama's.
 *
 * Versions of transformers differ in what they write: layers by "layer_types" or by a period, rotary positions in "rope_parameters"
 * (one for each type of layers where they differ) or in "rope_theta" and "rope_scaling".  What a key means where it is missing is the family's.
 *-------------------------------------------------------------------------
 */
#include "arch/llama.h"

#include <math.h>

#define MAX_EXPERTS 1024			/* of a layer */
#define MAX_EXPERTS_IN_ALL (1 << 16)

#define GEMMA (TE_LLAMA_LESS_ONE | TE_LLAMA_SCALED_WORDS | TE_LLAMA_TANH_GELU)

const TeLlamaFamily te_llama_families[] = {
	{"llama", "llama", TE_LLAMA_PAIRS | TE_LLAMA_NO_WINDOW_IN_GGUF, TE_WINDOW_NONE, 0, 10000},
	{"mistral", "llama", TE_LLAMA_PAIRS | TE_LLAMA_NO_WINDOW_IN_GGUF, TE_WINDOW_ALL, 0, 10000},
	{"mixtral", "llama", TE_LLAMA_PAIRS | TE_LLAMA_NO_WINDOW_IN_GGUF | TE_LLAMA_EXPERTS | TE_LLAMA_BLOCK_EXPERTS, TE_WINDOW_ALL, 0, 1000000},
	{"smollm3", "smollm3", TE_LLAMA_PAIRS | TE_LLAMA_NO_WINDOW_IN_GGUF, TE_WINDOW_UNTURNED, 4, 2000000},
	{"qwen2", "qwen2", TE_LLAMA_INPUT_BIAS | TE_LLAMA_NO_WINDOW_IN_GGUF, TE_WINDOW_LATER, 0, 10000},
	{"qwen3", "qwen3", TE_LLAMA_HEAD_NORMS | TE_LLAMA_NO_WINDOW_IN_GGUF, TE_WINDOW_LATER, 0, 10000},
	{"qwen2_moe", "qwen2moe", TE_LLAMA_INPUT_BIAS | TE_LLAMA_NO_WINDOW_IN_GGUF | TE_LLAMA_EXPERTS, TE_WINDOW_LATER, 0, 10000},
	{"qwen3_moe", "qwen3moe", TE_LLAMA_HEAD_NORMS | TE_LLAMA_NO_WINDOW_IN_GGUF | TE_LLAMA_EXPERTS, TE_WINDOW_LATER, 0, 10000},
	{"gemma", "gemma", GEMMA, TE_WINDOW_NONE, 0, 10000},
	{"gemma2", "gemma2", GEMMA | TE_LLAMA_FOUR_NORMS, TE_WINDOW_PERIOD, 2, 10000},
	{"gemma3_text", "gemma3", GEMMA | TE_LLAMA_FOUR_NORMS | TE_LLAMA_HEAD_NORMS, TE_WINDOW_PERIOD, 6, 1000000},
	{"phi3", "phi3", TE_LLAMA_JOINT | TE_LLAMA_NO_WINDOW_IN_GGUF, TE_WINDOW_ALL, 0, 10000},
	{NULL}
};

const TeLlamaFamily *
te_llama_family(const TeJson *config)
{
	TeStr		model_type = te_json_str(config, "model_type", "");

	for (const TeLlamaFamily *family = te_llama_families; family->model_type != NULL; family++)
	{
		if (te_str_is(model_type, family->model_type))
			return family;
	}
	return te_llama_families;
}

static void
set_bit(uint32_t *bits, int layer)
{
	bits[layer / 32] |= UINT32_C(1) << (layer % 32);
}

static bool
has(const TeLlamaFamily *family, TeLlamaTrait trait)
{
	return (family->traits & trait) != 0;
}

static void
read_heads(const TeJson *config, TeConfig *into)
{
	into->n_kv_heads = (int32_t) te_json_int_range(config, "num_key_value_heads", into->n_heads, 1, into->n_heads);
	if (into->n_heads % into->n_kv_heads != 0)
		te_throw(TE_ERR_CORRUPT, "%d attention heads cannot share %d keys", (int) into->n_heads, (int) into->n_kv_heads);
	if (te_json_get(config, "head_dim") == NULL && into->hidden_size % into->n_heads != 0)
		te_throw(TE_ERR_CORRUPT, "hidden size %d is no multiple of %d attention heads", (int) into->hidden_size,
				 (int) into->n_heads);
	into->head_size = (int32_t) te_json_int_range(config, "head_dim", into->hidden_size / into->n_heads, 1, TE_MAX_D_HEAD);
	into->embedding_size = into->hidden_size;
}

/* The item of a list with a value a layer; NULL where config.json has no such list. */
static const TeJson *
layer_item(const TeJson *config, const char *key, const TeConfig *into, int layer)
{
	const TeJson *list = te_json_get(config, key);

	if (list == NULL)
		return NULL;
	if (list->kind != TE_JSON_ARRAY || list->n != (uint32_t) into->n_layers)
		te_throw(TE_ERR_CORRUPT, "\"%s\" must have %d items", key, (int) into->n_layers);
	return &list->items[layer];
}

/* ---- layers that differ ---- */

static void
read_unturned(const TeJson *config, const TeLlamaFamily *family, TeConfig *into)
{
	int64_t		every = te_json_int_range(config, "no_rope_layer_interval", family->period, 1, TE_MAX_LAYERS);

	if (family->windows != TE_WINDOW_UNTURNED)
		return;
	for (int i = 0; i < into->n_layers; i++)
	{
		const TeJson *item = layer_item(config, "no_rope_layers", into, i);
		bool		turned = (i + 1) % every != 0;

		if (item != NULL)
			turned = item->kind == TE_JSON_BOOL ? item->boolean : item->kind == TE_JSON_INTEGER && item->integer != 0;
		if (!turned)
			set_bit(into->unturned_layers, i);
	}
}

/* Does a layer that config.json does not list see a window only? */
static bool
sees_window(const TeJson *config, const TeLlamaFamily *family, const TeConfig *into, int layer)
{
	switch (family->windows)
	{
		case TE_WINDOW_NONE:
			return false;
		case TE_WINDOW_ALL:
			return true;
		case TE_WINDOW_LATER:
			return layer >= te_json_int_range(config, "max_window_layers", 28, 0, TE_MAX_LAYERS);
		case TE_WINDOW_PERIOD:
			return (layer + 1) % te_json_int_range(config, "sliding_window_pattern", family->period, 1, TE_MAX_LAYERS) != 0;
		case TE_WINDOW_UNTURNED:
			return te_rotary_is_unturned(into, layer);
	}
	return false;
}

static void
read_window(const TeJson *config, const TeLlamaFamily *family, TeConfig *into)
{
	bool		asked = family->windows == TE_WINDOW_LATER || family->windows == TE_WINDOW_UNTURNED;

	if (!te_json_bool(config, "use_sliding_window", !asked) || te_json_get(config, "sliding_window") == NULL)
		return;
	for (int i = 0; i < into->n_layers; i++)
	{
		const TeJson *item = layer_item(config, "layer_types", into, i);
		bool		local = sees_window(config, family, into, i);

		if (item != NULL)
		{
			local = item->kind == TE_JSON_STRING && te_str_is(item->string, "sliding_attention");
			if (!local && (item->kind != TE_JSON_STRING || !te_str_is(item->string, "full_attention")))
				te_throw(TE_ERR_UNSUPPORTED, "\"layer_types\" has a word that is not supported");
		}
		if (!local)
			continue;
		set_bit(into->local_layers, i);
		/* a window of n tokens ends n - 1 before a token */
		into->window = (int32_t) te_json_int_range(config, "sliding_window", 0, 2, TE_MAX_POSITIONS) - 1;
	}
}

/* Is the layer's number in a list of them? */
static bool
is_listed(const TeJson *config, const char *key, int layer)
{
	const TeJson *list = te_json_get(config, key);

	for (uint32_t i = 0; list != NULL && list->kind == TE_JSON_ARRAY && i < list->n; i++)
	{
		if (list->items[i].kind == TE_JSON_INTEGER && list->items[i].integer == layer)
			return true;
	}
	return false;
}

static void
read_experts(const TeJson *config, const TeLlamaFamily *family, TeConfig *into)
{
	int64_t		every = te_json_int_range(config, "decoder_sparse_step", 1, 1, TE_MAX_LAYERS);

	if (!has(family, TE_LLAMA_EXPERTS))
		return;
	into->n_experts = te_config_size(config, te_json_get(config, "num_local_experts") != NULL ? "num_local_experts" : "num_experts",
									 MAX_EXPERTS);
	into->n_chosen = (int32_t) te_json_int_range(config, "num_experts_per_tok", TE_MIN(2, into->n_experts), 1, into->n_experts);
	into->expert_size = (int32_t) te_json_int_range(config, "moe_intermediate_size", into->intermediate_size, 1, TE_MAX_WIDTH);
	into->shared_size = (int32_t) te_json_int_range(config, "shared_expert_intermediate_size", 0, 0, TE_MAX_WIDTH);
	into->block_experts = has(family, TE_LLAMA_BLOCK_EXPERTS);
	into->chosen_sum = te_json_bool(config, "norm_topk_prob", into->block_experts);
	if (into->n_experts > MAX_EXPERTS_IN_ALL / into->n_layers)
		te_throw(TE_ERR_UNSUPPORTED, "%d experts in each of %d layers are too many", (int) into->n_experts, (int) into->n_layers);
	for (int i = 0; i < into->n_layers; i++)
	{
		if ((i + 1) % every == 0 && !is_listed(config, "mlp_only_layers", i))
			set_bit(into->expert_layers, i);
	}
}

/* ---- numbers ---- */

/* Local layers have their own positions where config.json says so, in either way. */
static void
read_rope(const TeJson *config, const TeLlamaFamily *family, TeConfig *into)
{
	const TeJson *global = te_rope_parameters(config, "full_attention");
	const TeJson *local = te_json_path(config, "rope_parameters.sliding_attention");
	double		base = te_rope_base(config, "rope_theta", family->base);

	into->rope_columns = te_rope_columns(config, global, 1, into);
	te_rope_read(config, global, base, into, &into->rope);
	into->rope_local = into->rope;
	if (local != NULL || te_json_get(config, "rope_local_base_freq") != NULL)
		te_rope_read(config, local, te_rope_base(config, "rope_local_base_freq", 10000), into, &into->rope_local);
}

static TeActivation
read_activation(const TeJson *config, const TeLlamaFamily *family)
{
	const char *key = te_json_get(config, "hidden_activation") != NULL ? "hidden_activation" : "hidden_act";
	bool		approximate = has(family, TE_LLAMA_TANH_GELU);
	TeActivation activation = approximate ? TE_ACT_GELU_TANH : TE_ACT_SILU;

	if (te_json_get(config, key) != NULL)
		activation = te_config_activation(config, key);
	return approximate && activation == TE_ACT_GELU ? TE_ACT_GELU_TANH : activation;
}

/* A bound that scores or logits approach, 0: none. */
static float
read_cap(const TeJson *config, const char *key)
{
	double		value = te_json_real(config, key, 0);

	if (!(value >= 0 && value <= 1e6))
		te_throw(TE_ERR_CORRUPT, "\"%s\" must be between 0 and 1e6, not %g", key, value);
	return (float) value;
}

static float
read_score_scale(const TeJson *config)
{
	double		scalar = te_json_real(config, "query_pre_attn_scalar", 0);

	if (!(scalar >= 0 && scalar <= 1e9))
		te_throw(TE_ERR_CORRUPT, "\"query_pre_attn_scalar\" must be between 0 and 1e9, not %g", scalar);
	return scalar > 0 ? (float) (1 / sqrt(scalar)) : 0;
}

static void
read_biases(const TeJson *config, const TeLlamaFamily *family, TeConfig *into)
{
	bool		inputs = has(family, TE_LLAMA_INPUT_BIAS);

	into->attention_bias = te_json_bool(config, "attention_bias", te_json_bool(config, "qkv_bias", inputs));
	into->out_bias = into->attention_bias && !inputs;
	into->up_bias = into->down_bias = te_json_bool(config, "mlp_bias", false);
}

void
te_llama_read_config(const TeJson *config, TeConfig *into)
{
	const TeLlamaFamily *family = te_llama_family(config);

	if (te_json_bool(config, "use_bidirectional_attention", false))
		te_throw(TE_ERR_UNSUPPORTED, "\"use_bidirectional_attention\": a decoder that sees what follows is not supported");
	into->hidden_size = te_config_size(config, "hidden_size", TE_MAX_WIDTH);
	into->n_layers = te_config_size(config, "num_hidden_layers", TE_MAX_LAYERS);
	into->n_heads = te_config_size(config, "num_attention_heads", TE_MAX_WIDTH);
	into->intermediate_size = te_config_size(config, "intermediate_size", TE_MAX_WIDTH);
	into->vocab_size = te_config_size(config, "vocab_size", TE_MAX_VOCABULARY);
	into->max_positions = (int32_t) te_json_int_range(config, "max_position_embeddings", 2048, 1, TE_MAX_POSITIONS);
	into->pad_id = (int32_t) te_json_int_range(config, "pad_token_id", 0, -1, TE_MAX_VOCABULARY);
	into->activation = read_activation(config, family);
	into->norm_eps = te_config_epsilon(config, "rms_norm_eps", 1e-6);
	into->score_cap = read_cap(config, "attn_logit_softcapping");
	into->logit_cap = read_cap(config, "final_logit_softcapping");
	into->score_scale = read_score_scale(config);
	into->head_norms = has(family, TE_LLAMA_HEAD_NORMS);
	into->four_norms = has(family, TE_LLAMA_FOUR_NORMS);
	into->norms_less_one = has(family, TE_LLAMA_LESS_ONE);
	into->joint = has(family, TE_LLAMA_JOINT);
	into->gguf_pairs = has(family, TE_LLAMA_PAIRS);
	into->words_scale = has(family, TE_LLAMA_SCALED_WORDS) ? (float) sqrt(into->hidden_size) : 1;
	read_biases(config, family, into);
	read_heads(config, into);
	read_unturned(config, family, into);
	read_window(config, family, into);
	read_experts(config, family, into);
	read_rope(config, family, into);
}
