/*-------------------------------------------------------------------------
 * llama_gguf.c
 *	  llama.cpp's metadata of the decoders that are built like Llama's, into config.json and back.
 *
 * general.architecture names the family; Mistral is a "llama" there, and so is Mixtral, which has experts.  What llama.cpp knows by itself (which layers of Gemma see a
 * window, how large its largest model's scores are) is not in the file, and is known here too.  A key that is not there is not
 * written into config.json either, where its absence means the same.
 *-------------------------------------------------------------------------
 */
#include "arch/llama.h"

#include <math.h>

/* A key of a file, that of config.json, and the member of TeConfig. */
typedef struct Key
{
	const char *gguf;
	const char *hf;
	size_t		member;
	bool		real;
	bool		required;
} Key;

static const Key keys[] = {
	{"context_length", "max_position_embeddings", offsetof(TeConfig, max_positions), false, true},
	{"embedding_length", "hidden_size", offsetof(TeConfig, hidden_size), false, true},
	{"block_count", "num_hidden_layers", offsetof(TeConfig, n_layers), false, true},
	{"feed_forward_length", "intermediate_size", offsetof(TeConfig, intermediate_size), false, true},
	{"attention.head_count", "num_attention_heads", offsetof(TeConfig, n_heads), false, true},
	{"attention.head_count_kv", "num_key_value_heads", offsetof(TeConfig, n_kv_heads), false, false},
	{"attention.key_length", "head_dim", offsetof(TeConfig, head_size), false, false},
	{"attention.value_length", NULL, offsetof(TeConfig, head_size), false, false},
	{"attention.layer_norm_rms_epsilon", "rms_norm_eps", offsetof(TeConfig, norm_eps), true, true},
	{"attn_logit_softcapping", "attn_logit_softcapping", offsetof(TeConfig, score_cap), true, false},
	{"final_logit_softcapping", "final_logit_softcapping", offsetof(TeConfig, logit_cap), true, false},
	{"expert_count", "num_experts", offsetof(TeConfig, n_experts), false, false},
	{"expert_used_count", "num_experts_per_tok", offsetof(TeConfig, n_chosen), false, false},
	{"expert_feed_forward_length", "moe_intermediate_size", offsetof(TeConfig, expert_size), false, false},
	{"expert_shared_feed_forward_length", "shared_expert_intermediate_size", offsetof(TeConfig, shared_size), false, false},
};

/* As llama.cpp has it: the only family of which what is chosen does not count for 1 together has a shared expert. */
static bool
sums_to_one(const TeLlamaFamily *family)
{
	return (family->traits & (TE_LLAMA_HEAD_NORMS | TE_LLAMA_BLOCK_EXPERTS)) != 0;
}

static bool
has_tensor(const TeModelFile *file, const char *name)
{
	return te_tensor_find(&file->tensors, te_str(name)) != NULL;
}

/* ---- from GGUF ---- */

static void
copy_keys(TeArena *arena, const TeModelFile *file, const char *arch, TeJson *config)
{
	for (size_t i = 0; i < TE_LENGTH(keys); i++)
	{
		const char *key = te_format(arena, "%s.%s", arch, keys[i].gguf);
		const TeJson *value = te_json_get(file->meta, key);

		if (value == NULL && keys[i].required)
			te_throw(TE_ERR_MISSING, "metadata key \"%s\" is missing", key);
		if (value != NULL && keys[i].hf != NULL)
			te_json_set_copy(arena, te_json_add(arena, config, keys[i].hf), value);
	}
}

static void
copy_ids(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	static const char *const ids[][2] = {
		{"tokenizer.ggml.bos_token_id", "bos_token_id"},
		{"tokenizer.ggml.eos_token_id", "eos_token_id"},
		{"tokenizer.ggml.padding_token_id", "pad_token_id"},
	};

	for (size_t i = 0; i < TE_LENGTH(ids); i++)
	{
		const TeJson *value = te_json_get(file->meta, ids[i][0]);

		if (value != NULL)
			te_json_set_copy(arena, te_json_add(arena, config, ids[i][1]), value);
	}
}

/* llama.cpp goes by the number of layers too: the largest model of a family divides by another root. */
static void
add_score_scale(TeArena *arena, const TeModelFile *file, const char *arch, TeJson *config)
{
	int64_t		n_layers = te_json_int(config, "num_hidden_layers", 0);
	int64_t		n_heads = te_json_int_range(config, "num_attention_heads", 1, 1, TE_MAX_WIDTH);
	int64_t		scalar = te_json_int(config, "head_dim", 256);

	if ((te_str_is(te_str(arch), "gemma2") && n_layers == 46) || (te_str_is(te_str(arch), "gemma3") && n_layers == 62))
		scalar = te_json_int(config, "hidden_size", 0) / n_heads;
	te_json_set_int(te_json_add(arena, config, "query_pre_attn_scalar"), scalar);
}

/* How they are weighed, and which layers have none: those without a router. */
static void
add_experts(TeArena *arena, const TeModelFile *file, const TeLlamaFamily *family, TeJson *config)
{
	int64_t		n_layers = te_json_int_range(config, "num_hidden_layers", 1, 1, TE_MAX_LAYERS);
	TeJson	   *dense = te_json_new_array(arena, (size_t) n_layers);

	te_json_set_bool(te_json_add(arena, config, "norm_topk_prob"), sums_to_one(family));
	dense->n = 0;
	for (int i = 0; i < (int) n_layers; i++)
	{
		if (!has_tensor(file, te_format(arena, "blk.%d.ffn_gate_inp.weight", i)))
			te_json_set_int(&dense->items[dense->n++], i);
	}
	if (dense->n > 0)
		te_json_set_copy(arena, te_json_add(arena, config, "mlp_only_layers"), dense);
}

static void
add_window(TeArena *arena, const TeModelFile *file, const TeLlamaFamily *family, TeJson *config)
{
	const char *key = te_format(arena, "%s.attention.sliding_window", family->gguf);
	int64_t		window = te_json_int_range(file->meta, key, 0, 0, TE_MAX_POSITIONS);
	const TeJson *pattern = te_json_get(file->meta, te_format(arena, "%s_pattern", key));
	const uint32_t both = TE_LLAMA_HEAD_NORMS | TE_LLAMA_FOUR_NORMS;	/* of these llama.cpp knows the base of local layers */

	if (window == 0 || family->windows == TE_WINDOW_NONE)
		return;
	te_json_set_int(te_json_add(arena, config, "sliding_window"), window);
	if (pattern != NULL && pattern->kind == TE_JSON_INTEGER)
		te_json_set_copy(arena, te_json_add(arena, config, "sliding_window_pattern"), pattern);
	else if (pattern != NULL)
		te_throw(TE_ERR_UNSUPPORTED, "\"%s_pattern\" with a word for each layer is not supported", key);
	key = te_format(arena, "%s.rope.freq_base_swa", family->gguf);
	if ((family->traits & both) == both || te_json_get(file->meta, key) != NULL)
		te_json_set_real(te_json_add(arena, config, "rope_local_base_freq"), te_json_real(file->meta, key, 10000));
}

/* By the name in the file, and whether there are experts. */
static const TeLlamaFamily *
find_family(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	const TeLlamaFamily *family = te_llama_family(config);
	bool		experts = te_json_int(file->meta, te_format(arena, "%s.expert_count", family->gguf), 0) > 0;

	for (const TeLlamaFamily *other = te_llama_families; other->model_type != NULL; other++)
	{
		if (experts && (family->traits & TE_LLAMA_EXPERTS) == 0 && (other->traits & TE_LLAMA_EXPERTS) != 0
			&& strcmp(other->gguf, family->gguf) == 0)
			family = other;
	}
	te_json_set_str(te_json_add(arena, config, "model_type"), te_str(family->model_type));
	return family;
}

void
te_llama_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config)
{
	const TeLlamaFamily *family = find_family(arena, file, config);
	const TeTensorInfo *words = te_tensor_find(&file->tensors, TE_STR("token_embd.weight"));

	if (words == NULL || words->n_dims != 2)
		te_throw(TE_ERR_MISSING, "tensor \"token_embd.weight\" is missing or has no two dimensions");
	copy_keys(arena, file, family->gguf, config);
	copy_ids(arena, file, config);
	te_json_set_int(te_json_add(arena, config, "vocab_size"), words->dims[0]);
	te_json_set_bool(te_json_add(arena, config, "tie_word_embeddings"), !has_tensor(file, "output.weight"));
	if ((family->traits & TE_LLAMA_INPUT_BIAS) == 0)
		te_json_set_bool(te_json_add(arena, config, "attention_bias"), has_tensor(file, "blk.0.attn_output.bias"));
	te_json_set_bool(te_json_add(arena, config, "mlp_bias"), has_tensor(file, "blk.0.ffn_down.bias"));
	if ((family->traits & TE_LLAMA_FOUR_NORMS) != 0)
		add_score_scale(arena, file, family->gguf, config);
	if ((family->traits & TE_LLAMA_EXPERTS) != 0)
		add_experts(arena, file, family, config);
	add_window(arena, file, family, config);
	te_rope_from_gguf(arena, file, family->gguf, config);
}

/* ---- to GGUF ---- */

/* The period of global layers; 0 where layers differ otherwise. */
static int
global_period(const TeConfig *config)
{
	int			period = 1;

	while (period < config->n_layers && te_rotary_is_local(config, period - 1))
		period++;
	for (int i = 0; i < config->n_layers; i++)
	{
		if (te_rotary_is_local(config, i) != ((i + 1) % period != 0))
			return 0;
	}
	return period;
}

static void
set_window(TeArena *arena, const TeConfig *config, const TeLlamaFamily *family, TeJson *meta)
{
	int			period = global_period(config);
	const char *key = te_format(arena, "%s.attention.sliding_window", family->gguf);

	if (config->window == 0)
		return;
	te_json_set_int(te_json_add(arena, meta, key), config->window + 1);
	if ((family->traits & TE_LLAMA_NO_WINDOW_IN_GGUF) != 0)
	{
		te_report(TE_NOTICE, "llama.cpp computes models of this kind without a window");
		return;
	}
	if (period == 0)
		te_report(TE_NOTICE, "llama.cpp computes models of this kind with every %dth layer global only", family->period);
	else
		te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s_pattern", key)), period);
	te_json_set_real(te_json_add(arena, meta, te_format(arena, "%s.rope.freq_base_swa", family->gguf)), config->rope_local.base);
}

/* What llama.cpp would compute otherwise. */
static void
report_differences(const TeConfig *config, const TeLlamaFamily *family)
{
	bool		approximate = (family->traits & TE_LLAMA_TANH_GELU) != 0;

	for (int i = 0; config->n_experts > 0 && i < config->n_layers; i++)
	{
		if (te_rotary_has_experts(config, i))
			continue;
		te_report(TE_NOTICE, "llama.cpp cannot open the file: it wants experts in all layers of models of this kind");
		break;
	}
	if (config->n_experts > 0 && !config->block_experts && config->chosen_sum != sums_to_one(family))
		te_report(TE_NOTICE, "llama.cpp weighs experts of models of this kind in another way");
	if (config->activation != (approximate ? TE_ACT_GELU_TANH : TE_ACT_SILU))
		te_report(TE_NOTICE, "llama.cpp computes models of this kind with another activation than \"%s\"",
				  te_activation_name((TeActivation) config->activation));
	if (config->score_scale != 0 && fabs(config->score_scale * config->score_scale * config->head_size - 1) > 1e-6)
		te_report(TE_NOTICE, "llama.cpp may scale scores of attention by the width of heads, and this model does not");
}

void
te_llama_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta)
{
	TeStr		arch = te_json_str(meta, "general.architecture", "");
	const TeLlamaFamily *family = te_llama_families;

	while (!te_str_is(arch, family->gguf))
		family++;
	for (size_t i = 0; i < TE_LENGTH(keys); i++)
	{
		const char *member = (const char *) config + keys[i].member;
		const char *key = te_format(arena, "%s.%s", family->gguf, keys[i].gguf);

		if (keys[i].real && (keys[i].required || *(const float *) member != 0))
			te_json_set_real(te_json_add(arena, meta, key), *(const float *) member);
		if (!keys[i].real && *(const int32_t *) member != 0)
			te_json_set_int(te_json_add(arena, meta, key), *(const int32_t *) member);
	}
	te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s.vocab_size", family->gguf)), config->vocab_size);
	te_rope_to_gguf(arena, &config->rope, config->rope_columns, family->gguf, meta);
	set_window(arena, config, family, meta);
	report_differences(config, family);
}

void
te_llama_gguf_tensors(const TeConfig *config, TeTensorList *list)
{
	te_rope_gguf_tensors(&config->rope, config->rope_columns, list);
}
