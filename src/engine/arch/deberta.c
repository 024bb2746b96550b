/*-------------------------------------------------------------------------
 * deberta.c
 *	  DeBERTa-v2 and v3 (He et al., 2020, 2021): BERT's layers with disentangled attention.
 *
 * A score is q · k, plus q · key of the relative position ("c2p"), plus k · query of it ("p2c"),
 * over the square root of the head's width times the number of these terms.  Relative positions
 * are rows of one table for all layers, which each layer projects by its own query and key
 * ("share_att_key") or by weights for that.  A position is query - key; with "position_buckets"
 * distances above half of them share buckets that widen with the logarithm.  Only the rows that
 * the batch's longest text reaches are projected: of a short text's 2 * span rows that is a few.
 *
 * Absolute positions are added to the words in some models only; they count the tokens that a
 * model takes all the same.  Embeddings of another width are projected before their norm, without
 * a bias.  The convolution that the two largest DeBERTa-v2 have beside their first layer is not
 * supported.
 *
 * llama.cpp has no such architecture: a GGUF file of it is for this engine, with llama.cpp's
 * tensor names where it has one for the purpose.
 *-------------------------------------------------------------------------
 */
#include "arch/encoder.h"

#include <math.h>

#define EMBEDDINGS "embeddings."
#define LAYER "encoder.layer.%d."
#define SELF LAYER "attention.self."

/* Projections of relative positions, which are there where their first size is not 0. */
#define RELATIVE_MATRIX(member, size, name) \
	TE_ENCODER_LAYER(member.weight, TE_ROLE_LINEAR, size, TE_SIZE_HIDDEN, false, SELF name ".weight", NULL), \
	TE_ENCODER_LAYER(member.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, size, false, SELF name ".bias", NULL)

static const TeEncoderTensor deberta_tensors[] = {
	TE_ENCODER_ONE(words, TE_ROLE_EMBEDDING, TE_SIZE_VOCABULARY, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "word_embeddings.weight", "token_embd.weight"),
	TE_ENCODER_ONE(positions, TE_ROLE_TABLE, TE_SIZE_ADDED_POSITIONS, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "position_embeddings.weight", "position_embd.weight"),
	TE_ENCODER_ONE(types, TE_ROLE_TABLE, TE_SIZE_TYPES, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "token_type_embeddings.weight", "token_types.weight"),
	TE_ENCODER_ONE(projection.weight, TE_ROLE_LINEAR, TE_SIZE_PROJECTION, TE_SIZE_EMBEDDING, false,
				   EMBEDDINGS "embed_proj.weight", NULL),
	TE_ENCODER_ONE(norm.weight, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "LayerNorm.weight", "token_embd_norm.weight"),
	TE_ENCODER_ONE(norm.bias, TE_ROLE_VECTOR, TE_SIZE_ONE, TE_SIZE_HIDDEN, false,
				   EMBEDDINGS "LayerNorm.bias", "token_embd_norm.bias"),
	TE_ENCODER_ONE(relative, TE_ROLE_TABLE, TE_SIZE_BUCKETS, TE_SIZE_HIDDEN, false, "encoder.rel_embeddings.weight", NULL),
	TE_ENCODER_ONE(relative_norm.weight, TE_ROLE_VECTOR, TE_SIZE_RELATIVE_NORM, TE_SIZE_HIDDEN, false,
				   "encoder.LayerNorm.weight", NULL),
	TE_ENCODER_ONE(relative_norm.bias, TE_ROLE_VECTOR, TE_SIZE_RELATIVE_NORM, TE_SIZE_HIDDEN, false,
				   "encoder.LayerNorm.bias", NULL),
	TE_ENCODER_MATRICES(SELF "query_proj", SELF "key_proj", SELF "value_proj",
						LAYER "attention.output.dense", LAYER "intermediate.dense", LAYER "output.dense"),
	RELATIVE_MATRIX(relative_query, TE_SIZE_RELATIVE_QUERY, "pos_query_proj"),
	RELATIVE_MATRIX(relative_key, TE_SIZE_RELATIVE_KEY, "pos_key_proj"),
	TE_ENCODER_NORM(attention_norm, LAYER "attention.output.LayerNorm", "blk.%d.attn_output_norm"),
	TE_ENCODER_NORM(out_norm, LAYER "output.LayerNorm", "blk.%d.layer_output_norm"),
	{.name = NULL}
};

/* ---- configuration ---- */

static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

/* Is the word, in lower case, one of those that the text names with "|" between them? */
static bool
names_word(TeStr text, const char *word)
{
	size_t		n = strlen(word);
	size_t		from = 0;

	for (size_t i = 0; i <= text.len; i++)
	{
		size_t		end = i;
		size_t		matched = 0;

		if (i < text.len && text.data[i] != '|')
			continue;
		while (from < end && text.data[from] == ' ')
			from++;
		while (end > from && text.data[end - 1] == ' ')
			end--;
		while (matched < n && end - from == n && lower(text.data[from + matched]) == word[matched])
			matched++;
		if (matched == n)
			return true;
		from = i + 1;
	}
	return false;
}

/* "pos_att_type" is a list of words, or was one text in older files. */
static bool
has_term(const TeJson *config, const char *word)
{
	const TeJson *types = te_json_get(config, "pos_att_type");

	if (types == NULL || types->kind != TE_JSON_ARRAY)
		return names_word(te_json_str(config, "pos_att_type", ""), word);
	for (uint32_t i = 0; i < types->n; i++)
	{
		if (types->items[i].kind == TE_JSON_STRING && te_str_is(types->items[i].string, word))
			return true;
	}
	return false;
}

static void
read_relative(const TeJson *config, TeConfig *into)
{
	bool		keys = has_term(config, "c2p");
	bool		queries = has_term(config, "p2c");
	int64_t		buckets = te_json_int(config, "position_buckets", -1);
	int64_t		furthest = te_json_int(config, "max_relative_positions", -1);

	/* transformers counts the terms in the scale whether there is relative attention or not */
	into->score_terms = 1 + keys + queries;
	if (!te_json_bool(config, "relative_attention", false) || into->score_terms == 1)
		return;
	if (furthest < 1)
		furthest = into->max_positions;
	if (buckets > TE_MAX_POSITIONS || furthest > TE_MAX_POSITIONS)
		te_throw(TE_ERR_CORRUPT, "\"position_buckets\" and \"max_relative_positions\" must be at most %d", TE_MAX_POSITIONS);
	if (buckets > 0 && (buckets < 2 || furthest - 1 <= buckets / 2))
		te_throw(TE_ERR_UNSUPPORTED, "\"position_buckets\" %d for distances up to %d is not supported", (int) buckets,
				 (int) furthest);
	into->relative_log = buckets > 0;
	into->relative_buckets = (int32_t) (2 * (buckets > 0 ? buckets : furthest));
	into->relative_max_distance = (int32_t) furthest;
	into->relative_keys = keys;
	into->relative_queries = queries;
	into->relative_shared = te_json_bool(config, "share_att_key", false);
	into->relative_norm = names_word(te_json_str(config, "norm_rel_ebd", "none"), "layer_norm");
}

static void
deberta_read_config(const TeJson *config, TeConfig *into)
{
	te_encoder_read_config(config, into);
	if (te_json_int(config, "conv_kernel_size", 0) > 0)
		te_throw(TE_ERR_UNSUPPORTED, "\"conv_kernel_size\": a convolution beside the first layer is not supported");
	if (te_json_int(config, "attention_head_size", into->head_size) != into->head_size)
		te_throw(TE_ERR_UNSUPPORTED, "\"attention_head_size\" other than %d is not supported", (int) into->head_size);
	into->type_vocab_size = (int32_t) te_json_int_range(config, "type_vocab_size", 0, 0, TE_MAX_WIDTH);
	into->norm_eps = te_config_epsilon(config, "layer_norm_eps", 1e-7);
	into->added_positions = te_json_bool(config, "position_biased_input", true) ? into->max_positions : 0;
	if (te_json_get(config, "embedding_size") != NULL)
		into->embedding_size = te_config_size(config, "embedding_size", TE_MAX_WIDTH);
	read_relative(config, into);
}

/* ---- relative positions ---- */

/*
 * The row of query - key.  In f32 as the reference does it, since the
 * logarithm lands on bucket borders exactly.
 */
static int32_t
relative_row(const TeConfig *config, int32_t distance)
{
	int32_t		span = config->relative_buckets / 2;
	int32_t		middle = span / 2;
	int32_t		apart = distance < 0 ? -distance : distance;
	float		steps;

	if (config->relative_log && apart > middle)
	{
		steps = logf((float) apart / (float) middle) / logf((float) ((double) (config->relative_max_distance - 1) / middle));
		apart = (int32_t) fminf(ceilf(steps * (float) (middle - 1)) + (float) middle, (float) (2 * span));
	}
	return TE_MIN(TE_MAX(span + (distance < 0 ? -apart : apart), 0), 2 * span - 1);
}

/* What layers share: rows of all distances between the batch's tokens, and which of them a distance has. */
typedef struct Relative
{
	TeNode	   *rows;			/* NULL: there is no relative attention */
	const int32_t *row;			/* by query - key */
} Relative;

static Relative
relative_rows(TeGraph *graph, const TeEncoder *encoder, const TeConfig *config, const TeBatch *batch)
{
	int32_t		reach = TE_MAX(batch->max_len, 1) - 1;
	int32_t		first = relative_row(config, -reach);
	int32_t		n = relative_row(config, reach) - first + 1;
	int32_t    *row = te_graph_alloc(graph, (2 * (size_t) reach + 1) * sizeof(int32_t));
	int32_t    *ids = te_graph_alloc(graph, (size_t) n * sizeof(int32_t));
	TeNode	   *rows;

	for (int32_t distance = -reach; distance <= reach; distance++)
		row[distance + reach] = relative_row(config, distance) - first;
	for (int32_t i = 0; i < n; i++)
		ids[i] = i;
	rows = te_gather(graph, encoder->relative, ids, (size_t) n, first);
	if (encoder->relative_norm.weight != NULL)
		rows = te_encoder_norm(graph, rows, NULL, encoder->relative_norm, config);
	return (Relative) {rows, row};
}

/* Give a layer's attention the rows, projected. */
static void
add_relative(TeGraph *graph, const Relative *relative, const TeEncoderLayer *layer, const TeConfig *config,
			 TeAttentionSpec *spec)
{
	TeEncoderPair query = config->relative_shared ? layer->query : layer->relative_query;
	TeEncoderPair key = config->relative_shared ? layer->key : layer->relative_key;
	size_t		width = (size_t) config->hidden_size;
	TeOperand	operands[2];
	int			n = 0;
	TeNode	   *rows;

	if (config->relative_queries)
		operands[n++] = (TeOperand) {.matrix = query.weight, .bias = query.bias};
	if (config->relative_keys)
		operands[n++] = (TeOperand) {.matrix = key.weight, .bias = key.bias};
	rows = te_linear(graph, relative->rows, operands, n, TE_ACT_NONE);
	if (config->relative_queries)
		spec->queries = (TeColumns) {rows, 0, width};
	if (config->relative_keys)
		spec->keys = (TeColumns) {rows, (size_t) (n - 1) * width, width};
	spec->rows = relative->row;
}

/* ---- forward ---- */

/* norm(projection(words + types + positions)) */
static TeNode *
deberta_embed(TeGraph *graph, const TeEncoder *encoder, const TeConfig *config, const TeBatch *batch)
{
	TeNode	   *x = te_gather(graph, encoder->words, batch->ids, batch->n_tok, 0);
	TeOperand	projection = {.matrix = encoder->projection.weight};

	if (encoder->positions != NULL)
		x = te_add(graph, x, te_gather(graph, encoder->positions, batch->positions, batch->n_tok, 0));
	if (encoder->types != NULL)
	{
		te_assert(batch->type_ids != NULL);
		x = te_add(graph, x, te_gather(graph, encoder->types, batch->type_ids, batch->n_tok, 0));
	}
	if (projection.matrix != NULL)
		x = te_linear(graph, x, &projection, 1, TE_ACT_NONE);
	return te_dropout(graph, te_encoder_norm(graph, x, NULL, encoder->norm, config));
}

static TeNode *
deberta_forward(TeGraph *graph, const TeModel *model, const TeBatch *batch)
{
	const TeConfig *config = te_model_config(model);
	const TeEncoder *encoder = te_model_bound(model);
	TeNode	   *x = deberta_embed(graph, encoder, config, batch);
	Relative	relative = {NULL};

	if (encoder->relative != NULL)
		relative = relative_rows(graph, encoder, config, batch);
	for (int i = 0; i < config->n_layers; i++)
	{
		TeAttentionSpec spec = {
			.n_head = config->n_heads,
			.n_kv_head = config->n_heads,
			.d_head = config->head_size,
			.scale = (float) (1.0 / sqrt((double) config->head_size * config->score_terms)),
		};

		if (relative.rows != NULL)
			add_relative(graph, &relative, &encoder->layers[i], config, &spec);
		x = te_encoder_layer(graph, x, &encoder->layers[i], config, &spec);
	}
	return x;
}

/* ---- the row ---- */

static void
deberta_list_tensors(const TeConfig *config, TeTensorSpecs *specs)
{
	te_encoder_list(deberta_tensors, config, specs);
}

static const void *
deberta_bind(TeArena *arena, const TeModel *model)
{
	return te_encoder_bind(deberta_tensors, arena, model);
}

/* Words are guessed by BERT's head in "legacy" models, and else by the one that v3 was trained with. */
static const TeArchHead deberta_heads[] = {
	{TE_HEAD_SEQUENCE, .layers = {
		{"pooler.dense", "cls", .activation = TE_ACT_GELU, .activation_key = "pooler_hidden_act"},
		{"classifier", "cls.output", .width = TE_WIDTH_OUTPUTS}
	}},
	{TE_HEAD_TOKEN, .layers = {{"classifier", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_ANSWER, .layers = {{"qa_outputs", .width = TE_WIDTH_OUTPUTS}}},
	{TE_HEAD_MASK, .flag = "legacy", .layers = {
		{"cls.predictions.transform.dense", .width = TE_WIDTH_EMBEDDING, .activation = TE_ACT_GELU,
		.activation_key = "hidden_act", .norm = "cls.predictions.transform.LayerNorm"},
		{"cls.predictions.decoder", .width = TE_WIDTH_OUTPUTS, .tied_to = EMBEDDINGS "word_embeddings.weight",
		.tied_bias = "cls.predictions.bias"}
	}},
	{TE_HEAD_MASK, .layers = {
		{"lm_predictions.lm_head.dense", .activation = TE_ACT_GELU, .activation_key = "hidden_act",
		.norm = "lm_predictions.lm_head.LayerNorm"},
		{"lm_predictions.lm_head.decoder", .width = TE_WIDTH_OUTPUTS, .tied_to = EMBEDDINGS "word_embeddings.weight",
		.tied_bias = "lm_predictions.lm_head.bias"}
	}},
	{TE_HEAD_NONE}
};

const TeArch te_arch_deberta = {
	.name = "deberta",
	.model_types = (const TeModelType[]) {{"deberta-v2", "DebertaV2Model"}, {NULL}},
	.prefixes = (const char *const[]) {"deberta.", "model.", NULL},
	.gguf_name = NULL,
	.read_config = deberta_read_config,
	.list_tensors = deberta_list_tensors,
	.bind = deberta_bind,
	.forward = deberta_forward,
	.heads = deberta_heads,
};
