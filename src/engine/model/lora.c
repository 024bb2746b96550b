/*-------------------------------------------------------------------------
 * lora.c
 *	  Models that are a small change of another one: low-rank overlays (LoRA, Hu et al. 2021).
 *
 * An overlay of a matrix W [n_out, n_in] is two tensors beside it, named as in
 * the peft library: A [rank, n_in] and B [n_out, rank]; alpha / rank * B · A is added to W.
 * Which matrices have one stands in config.json, under a key of our own:
 *
 *	  "transformer_lora": {"rank": 8, "alpha": 16, "tensors": ["encoder.layer.0.attention.self.query", ...]}
 *
 * The tensors of the base are those of the version that it was made of, byte for byte,
 * and the catalog stores a chunk of bytes once: what such a version adds is its overlays.
 * Every matrix that te_linear() reads may have one, of whatever type; no
 * architecture knows of it (kernels.h, TeWeight).
 *
 * Other programs know no such models: export writes te_lora_merged().
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#define CONFIG_KEY "transformer_lora"
#define ENDING ".weight"
#define MERGE_ROWS 64			/* made at a time */

void
te_lora_read(TeArena *arena, const TeJson *config, TeLora *into)
{
	const TeJson *lora = te_json_get(config, CONFIG_KEY);
	const TeJson *tensors = te_json_get(lora, "tensors");
	TeStr	   *names;

	memset(into, 0, sizeof(*into));
	if (lora == NULL)
		return;
	if (tensors == NULL || tensors->kind != TE_JSON_ARRAY || tensors->n == 0)
		te_throw(TE_ERR_CORRUPT, "\"" CONFIG_KEY "\" names no tensors");
	into->rank = (int32_t) te_json_int_range(lora, "rank", 0, 1, TE_MAX_WIDTH);
	into->scale = (float) (te_json_real(lora, "alpha", into->rank) / into->rank);
	into->n = tensors->n;
	into->tensors = names = te_new_array(arena, TeStr, tensors->n);
	for (uint32_t i = 0; i < tensors->n; i++)
	{
		if (tensors->items[i].kind != TE_JSON_STRING)
			te_throw(TE_ERR_CORRUPT, "\"" CONFIG_KEY "\" has a tensor that is no name");
		names[i] = tensors->items[i].string;
	}
}

const TeJson *
te_lora_config(TeArena *arena, const TeJson *config, int32_t rank, double alpha, const TeStr *tensors, size_t n)
{
	TeJson	   *result = te_json_new_object(arena);
	TeJson	   *lora = te_json_new_object(arena);
	TeJson	   *names = te_json_new_array(arena, n);

	for (size_t i = 0; i < n; i++)
		te_json_set_str(&names->items[i], tensors[i]);
	te_json_set_int(te_json_add(arena, lora, "rank"), rank);
	te_json_set_real(te_json_add(arena, lora, "alpha"), alpha);
	te_json_set_copy(arena, te_json_add(arena, lora, "tensors"), names);
	te_json_set_copy(arena, result, config);
	te_json_set_copy(arena, te_json_add(arena, result, CONFIG_KEY), lora);
	return result;
}

/* config.json without the key. */
static const TeJson *
plain_config(TeArena *arena, const TeJson *config)
{
	TeJson	   *result = te_json_new_object(arena);

	for (uint32_t i = 0; i < config->n; i++)
	{
		const TeJson *item = &config->items[i];

		if (!te_str_is(item->key, CONFIG_KEY))
			te_json_set_copy(arena, te_json_add(arena, result, te_cstring(arena, item->key)), item);
	}
	return result;
}

void
te_lora_list_tensors(const TeLora *lora, TeTensorSpecs *specs)
{
	for (size_t i = 0; i < lora->n; i++)
	{
		const char *name = te_cstring(specs->arena, lora->tensors[i]);
		const TeTensorSpec *found = te_specs_find(specs, te_format(specs->arena, "%s" ENDING, name));
		const char *a = te_format(specs->arena, "%s" TE_LORA_A ENDING, name);
		TeTensorSpec base;

		if (found == NULL || found->role != TE_ROLE_LINEAR || found->routed)
			te_throw(TE_ERR_CORRUPT, "\"" CONFIG_KEY "\" names \"%.200s\", which is no matrix of the model", name);
		if (te_specs_find(specs, a) != NULL)
			te_throw(TE_ERR_CORRUPT, "\"" CONFIG_KEY "\" names \"%.200s\" twice", name);
		base = *found;			/* adding may move it */
		te_specs_add(specs, TE_ROLE_TABLE, lora->rank, base.n_in, false, "", NULL, 0)->name = a;
		te_specs_add(specs, TE_ROLE_TABLE, base.n_out, lora->rank, false, "", NULL, 0)->name =
			te_format(specs->arena, "%s" TE_LORA_B ENDING, name);
	}
}

/* The name of the matrix that an overlay's tensor belongs to; NULL where it is no such tensor. */
static const char *
matrix_of(TeArena *arena, TeStr name, const char *part)
{
	if (!te_str_ends(name, part))
		return NULL;
	return te_format(arena, "%.*s" ENDING, (int) (name.len - strlen(part)), name.data);
}

void
te_lora_bind(TeArena *arena, TeModel *model)
{
	const TeStr *names;
	size_t		n;
	TeWeight   *weights = te_model_weights(model, &n, &names);

	for (size_t i = 0; i < n; i++)
	{
		const char *matrix_name = matrix_of(arena, names[i], TE_LORA_A ENDING);
		const TeWeight *b;
		TeWeight   *matrix;

		if (matrix_name == NULL)
			continue;
		matrix = (TeWeight *) te_model_weight(model, te_str(matrix_name));
		b = te_model_weight(model, te_str(te_format(arena, "%.*s" TE_LORA_B ENDING,
													(int) (strlen(matrix_name) - strlen(ENDING)), matrix_name)));
		if (matrix == NULL || b == NULL || weights[i].n_in != matrix->n_in || b->n_out != matrix->n_out
			|| b->n_in != weights[i].n_out || b->dtype != TE_F32 || weights[i].dtype != TE_F32)
			te_throw(TE_ERR_CORRUPT, "model image has an overlay that fits no matrix");
		matrix->lora_a = &weights[i];
		matrix->lora_b = b;
		matrix->lora_scale = te_model_config(model)->lora_scale;
	}
}

/* ---- merging ---- */

/* A matrix with its overlay added, made as it is read. */
typedef struct Merged
{
	TeSource	source;
	TeArena    *arena;
	TeTensorInfo matrix;		/* in f32 */
	const TeTensorInfo *a;
	const TeTensorInfo *b;
	int64_t		n_in;
	int64_t		rank;
	float		scale;
	float	   *a_rows;			/* [rank, n_in], read once */
	float	   *b_row;			/* [rank] */
	float	   *row;			/* [n_in] */
} Merged;

static void
merged_row(Merged *merged, int64_t r)
{
	size_t		bytes = (size_t) merged->n_in * sizeof(float);
	size_t		rank_bytes = (size_t) merged->rank * sizeof(float);

	te_source_read(merged->matrix.source, merged->matrix.offset + (uint64_t) r * bytes, merged->row, bytes);
	te_source_read(merged->b->source, merged->b->offset + (uint64_t) r * rank_bytes, merged->b_row, rank_bytes);
	for (int64_t k = 0; k < merged->rank; k++)
		te_kernel.axpy((size_t) merged->n_in, merged->scale * merged->b_row[k], merged->a_rows + k * merged->n_in, merged->row);
}

static void
merged_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	Merged	   *merged = source->host;
	size_t		row_bytes = (size_t) merged->n_in * sizeof(float);
	char	   *to = into;

	if (merged->a_rows == NULL)
	{
		merged->a_rows = te_alloc(merged->arena, merged->a->bytes);
		merged->b_row = te_new_array(merged->arena, float, merged->rank);
		merged->row = te_new_array(merged->arena, float, merged->n_in);
		te_source_read(merged->a->source, merged->a->offset, merged->a_rows, merged->a->bytes);
	}
	while (len > 0)
	{
		size_t		skip = offset % row_bytes;
		size_t		n = TE_MIN(len, row_bytes - skip);

		if (offset / row_bytes % MERGE_ROWS == 0)
			te_check_interrupts();
		merged_row(merged, (int64_t) (offset / row_bytes));
		memcpy(to, (char *) merged->row + skip, n);
		offset += n;
		to += n;
		len -= n;
	}
}

/* The matrix with its overlay, in its own type. */
static TeTensorInfo
merged_tensor(TeArena *arena, const TeTensorInfo *matrix, const TeTensorInfo *a, const TeTensorInfo *b, float scale)
{
	Merged	   *merged = te_new(arena, Merged);
	TeTensorInfo result;

	merged->arena = arena;
	merged->matrix = matrix->dtype == TE_F32 ? *matrix : te_tensor_converted(arena, matrix, TE_F32);
	merged->a = a;
	merged->b = b;
	merged->n_in = matrix->dims[1];
	merged->rank = a->dims[0];
	merged->scale = scale;
	merged->source = (TeSource) {matrix->source->name, merged->matrix.bytes, merged_read, merged};
	result = merged->matrix;
	result.source = &merged->source;
	result.offset = 0;
	return matrix->dtype == TE_F32 ? result : te_tensor_converted(arena, &result, matrix->dtype);
}

const TeModelDef *
te_lora_merged(TeArena *arena, const TeModelDef *def)
{
	TeModelDef *result;
	const TeJson *config = te_json_parse(arena, def->config, "config.json");
	TeLora		lora;

	te_lora_read(arena, config, &lora);
	if (lora.n == 0)
		return def;
	result = te_new(arena, TeModelDef);
	*result = *def;
	result->config = te_json_text(arena, plain_config(arena, config), 0);
	result->tensors = (TeTensorSet) {.tensors = te_new_array(arena, TeTensorInfo, def->tensors.n)};
	for (size_t i = 0; i < def->tensors.n; i++)
	{
		const TeTensorInfo *tensor = &def->tensors.tensors[i];
		int			stem = (int) tensor->name.len - (int) strlen(ENDING);
		const TeTensorInfo *a;
		const TeTensorInfo *b;

		if (matrix_of(arena, tensor->name, TE_LORA_A ENDING) != NULL || matrix_of(arena, tensor->name, TE_LORA_B ENDING) != NULL)
			continue;
		a = stem > 0 ? te_tensor_find(&def->tensors, te_str(te_format(arena, "%.*s" TE_LORA_A ENDING, stem, tensor->name.data))) : NULL;
		b = stem > 0 ? te_tensor_find(&def->tensors, te_str(te_format(arena, "%.*s" TE_LORA_B ENDING, stem, tensor->name.data))) : NULL;
		result->tensors.tensors[result->tensors.n++] = a != NULL && b != NULL ? merged_tensor(arena, tensor, a, b, lora.scale) : *tensor;
	}
	te_def_check(arena, result);
	return result;
}
