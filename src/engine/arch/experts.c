/*-------------------------------------------------------------------------
 * experts.c
 *	  Layers of experts: a router chooses for each token some of many feed-forward layers.
 *
 * A definition has a tensor for each matrix of each expert, as checkpoints of Hugging Face have them, so that they are quantized,
 * trained, stored and read one by one.  GGUF has those of a layer and a kind as one tensor, and so have folders that transformers
 * writes as it holds them in memory; either is cut as it is read (TeStack).
 *
 * One expert more, which all tokens go through, may stand beside them: what it gives is weighed by a gate of its own.
 *-------------------------------------------------------------------------
 */
#include "arch/llama.h"

/* Names with the numbers of layer and expert; the first list is Qwen's, the second Mixtral's. */
static const struct
{
	const char *router;
	const char *gate;
	const char *up;
	const char *down;
}			names[] = {
	{"layers.%d.mlp.gate.weight", "layers.%d.mlp.experts.%d.gate_proj.weight", "layers.%d.mlp.experts.%d.up_proj.weight",
	"layers.%d.mlp.experts.%d.down_proj.weight"},
	{"layers.%d.block_sparse_moe.gate.weight", "layers.%d.block_sparse_moe.experts.%d.w1.weight",
	"layers.%d.block_sparse_moe.experts.%d.w3.weight", "layers.%d.block_sparse_moe.experts.%d.w2.weight"},
};

/* What stands beside the experts. */
typedef struct Beside
{
	size_t		slot;
	const char *name;			/* NULL: the router, which is called as above */
	const char *gguf_name;
	size_t		n_out;			/* members of TeConfig; SIZE_MAX: 1 */
	size_t		n_in;
	bool		shared;			/* of the expert that all tokens go through */
	bool		exact;
} Beside;

#define SIZE(member) offsetof(TeConfig, member)

static const Beside beside[] = {
	{offsetof(TeEncoderLayer, router.weight), NULL, "blk.%d.ffn_gate_inp.weight", SIZE(n_experts), SIZE(hidden_size), false, true},
	{offsetof(TeEncoderLayer, shared_gate.weight), "layers.%d.mlp.shared_expert.gate_proj.weight", "blk.%d.ffn_gate_shexp.weight",
	SIZE(shared_size), SIZE(hidden_size), true, false},
	{offsetof(TeEncoderLayer, shared_up.weight), "layers.%d.mlp.shared_expert.up_proj.weight", "blk.%d.ffn_up_shexp.weight",
	SIZE(shared_size), SIZE(hidden_size), true, false},
	{offsetof(TeEncoderLayer, shared_down.weight), "layers.%d.mlp.shared_expert.down_proj.weight", "blk.%d.ffn_down_shexp.weight",
	SIZE(hidden_size), SIZE(shared_size), true, false},
	{offsetof(TeEncoderLayer, shared_router.weight), "layers.%d.mlp.shared_expert_gate.weight", "blk.%d.ffn_gate_inp_shexp.weight",
	SIZE_MAX, SIZE(hidden_size), true, true},
};

static int64_t
size_of(const TeConfig *config, size_t member)
{
	return member == SIZE_MAX ? 1 : *(const int32_t *) ((const char *) config + member);
}

static const char *
beside_name(TeArena *arena, const Beside *row, const TeConfig *config, int layer)
{
	return te_format(arena, row->name != NULL ? row->name : names[config->block_experts].router, layer);
}

/* ---- tensors ---- */

/* A matrix of all experts of a layer; fused: the name of the tensor that may have them all, with the row of the first and from one to the next. */
static void
list_matrices(const TeConfig *config, TeTensorSpecs *specs, int layer, const char *name, const char *gguf_name, int64_t n_out, int64_t n_in,
			  const char *fused, int64_t first, int64_t step)
{
	const char *gguf = te_format(specs->arena, gguf_name, layer);
	const char *together = te_format(specs->arena, fused, layer);

	for (int e = 0; e < config->n_experts; e++)
	{
		TeTensorSpec *spec = te_specs_add(specs, TE_ROLE_LINEAR, n_out, n_in, false, "", NULL, 0);

		spec->name = te_format(specs->arena, name, layer, e);
		spec->gguf_name = gguf;
		spec->gguf_stack = (TeStack) {gguf, config->n_experts, n_out, e * n_out};
		spec->folder_stack = (TeStack) {together, config->n_experts, step, first + e * step};
		spec->routed = true;
	}
}

void
te_llama_list_experts(const TeConfig *config, TeTensorSpecs *specs)
{
	int64_t		inner = config->expert_size;
	int64_t		width = config->hidden_size;
	int			n = config->block_experts;

	for (int layer = 0; layer < config->n_layers; layer++)
	{
		if (!te_rotary_has_experts(config, layer))
			continue;
		for (size_t i = 0; i < TE_LENGTH(beside); i++)
		{
			const Beside *row = &beside[i];
			TeTensorSpec *spec;

			if (row->shared && config->shared_size == 0)
				continue;
			spec = te_specs_add(specs, TE_ROLE_LINEAR, size_of(config, row->n_out), size_of(config, row->n_in), false, "", row->gguf_name, layer);
			spec->name = beside_name(specs->arena, row, config, layer);
			spec->exact = row->exact;
		}
		list_matrices(config, specs, layer, names[n].gate, "blk.%d.ffn_gate_exps.weight", inner, width,
					  "layers.%d.mlp.experts.gate_up_proj", 0, 2 * inner);
		list_matrices(config, specs, layer, names[n].up, "blk.%d.ffn_up_exps.weight", inner, width,
					  "layers.%d.mlp.experts.gate_up_proj", inner, 2 * inner);
		list_matrices(config, specs, layer, names[n].down, "blk.%d.ffn_down_exps.weight", width, inner,
					  "layers.%d.mlp.experts.down_proj", 0, width);
	}
}

static const TeWeight *
bind_matrix(const TeModel *model, const char *name, int64_t n_out, int64_t n_in)
{
	const TeWeight *weight = te_model_weight(model, te_str(name));

	if (weight == NULL || weight->n_out != n_out || weight->n_in != n_in)
		te_throw(TE_ERR_CORRUPT, "model image has no tensor \"%s\" of the right shape", name);
	return weight;
}

void
te_llama_bind_experts(TeArena *arena, const TeModel *model, TeEncoder *decoder)
{
	const TeConfig *config = te_model_config(model);
	TeArena    *scratch = te_arena_create(arena, "tensor names");
	int			n = config->block_experts;

	for (int layer = 0; layer < config->n_layers; layer++)
	{
		TeExpert   *experts;

		if (!te_rotary_has_experts(config, layer))
			continue;
		for (size_t i = 0; i < TE_LENGTH(beside); i++)
		{
			if (!beside[i].shared || config->shared_size > 0)
				*(const TeWeight **) ((char *) &decoder->layers[layer] + beside[i].slot) =
					bind_matrix(model, beside_name(scratch, &beside[i], config, layer), size_of(config, beside[i].n_out),
								size_of(config, beside[i].n_in));
		}
		experts = te_new_array(arena, TeExpert, config->n_experts);
		for (int e = 0; e < config->n_experts; e++)
		{
			experts[e].gate = bind_matrix(model, te_format(scratch, names[n].gate, layer, e), config->expert_size, config->hidden_size);
			experts[e].up = bind_matrix(model, te_format(scratch, names[n].up, layer, e), config->expert_size, config->hidden_size);
			experts[e].down = bind_matrix(model, te_format(scratch, names[n].down, layer, e), config->hidden_size, config->expert_size);
		}
		decoder->layers[layer].experts = experts;
		te_arena_reset(scratch);
	}
	te_arena_destroy(scratch);
}

/* ---- forward ---- */

static TeNode *
linear(TeGraph *graph, TeNode *x, const TeWeight *a, const TeWeight *b, TeActivation activation)
{
	TeOperand	operands[2] = {{.matrix = a}, {.matrix = b}};

	return te_linear(graph, x, operands, b != NULL ? 2 : 1, activation);
}

TeNode *
te_llama_experts(TeGraph *graph, TeNode *x, const TeEncoderLayer *layer, const TeConfig *config)
{
	TeExpertsSpec spec = {.n_experts = config->n_experts, .n_chosen = config->n_chosen, .sum_is_one = config->chosen_sum,
		.activation = (TeActivation) config->activation, .experts = layer->experts};
	TeNode	   *y = te_experts(graph, x, linear(graph, x, layer->router.weight, NULL, TE_ACT_NONE), &spec);
	TeNode	   *shared;

	if (config->shared_size == 0)
		return y;
	shared = linear(graph, x, layer->shared_gate.weight, layer->shared_up.weight, TE_ACT_NONE);
	shared = linear(graph, te_gate(graph, shared, spec.activation), layer->shared_down.weight, NULL, TE_ACT_NONE);
	shared = te_scale_rows(graph, shared, linear(graph, x, layer->shared_router.weight, NULL, TE_ACT_SIGMOID));
	return te_add(graph, y, shared);
}
