/*-------------------------------------------------------------------------
 * import_gguf.c
 *	  A GGUF file as a definition.
 *
 * general.architecture names a row of the architecture table, which turns
 * llama.cpp's keys into config.json; tensors are found by llama.cpp's names.
 * Pooling comes from <architecture>.pooling_type, and vectors are normalized,
 * as llama.cpp does unless it is told otherwise: the file does not say.
 *
 * A file that we wrote (export_gguf.c) says more than llama.cpp needs, in keys
 * that llama.cpp passes over.  They win, so that a model comes back as it was:
 *
 *	  transformer.architecture			of ours: "roberta", where llama.cpp says "bert"
 *	  transformer.task					what it is for: "embedding", "classification"
 *	  transformer.config				config.json
 *	  transformer.pipeline				pipeline.c
 *	  transformer.skipped.<tensor>		rows that llama.cpp wants left out, as numbers
 *	  tokenizer.huggingface.json		tokenizer.json
 *
 * A file without tensors is a tokenizer.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include "file/file.h"

/* Numbers of llama.cpp's pooling types. */
static const struct
{
	int64_t		type;
	TePooling	pooling;
}			pooling_types[] = {
	{1, TE_POOL_MEAN},
	{2, TE_POOL_CLS},
	{3, TE_POOL_LAST},
	{4, TE_POOL_CLS},			/* "rank": a head reads that row */
};

static const TeJson *
gguf_tokenizer(TeArena *arena, const TeModelFile *file)
{
	TeStr		text = te_json_str(file->meta, "tokenizer.huggingface.json", NULL);

	if (text.data != NULL)
		return te_json_parse(arena, text, "tokenizer.huggingface.json");
	if (te_json_get(file->meta, "tokenizer.ggml.model") == NULL)
		return NULL;
	return te_tokenizer_from_gguf(arena, file->meta);
}

/* pooling_type, or the mean where the file says nothing; 0 says that vectors are not pooled. */
static TePooling
gguf_pooling(TeArena *arena, const TeModelFile *file, const char *arch)
{
	int64_t		type = te_json_int(file->meta, te_format(arena, "%s.pooling_type", arch), 1);

	for (size_t i = 0; i < TE_LENGTH(pooling_types); i++)
	{
		if (pooling_types[i].type == type)
			return pooling_types[i].pooling;
	}
	te_throw(TE_ERR_UNSUPPORTED, "%s.pooling_type %lld is not supported", arch, (long long) type);
}

int
te_pooling_gguf(TePooling pooling)
{
	for (size_t i = 0; i < TE_LENGTH(pooling_types); i++)
	{
		if (pooling_types[i].pooling == pooling)
			return (int) pooling_types[i].type;
	}
	return 0;
}

static TeStr
gguf_pipeline(TeArena *arena, const TeModelFile *file, const char *name, bool writes)
{
	TeStr		ours = te_json_str(file->meta, "transformer.pipeline", NULL);
	const TeJson *generation = writes ? te_gguf_generation(arena, file->meta) : NULL;
	TeJson	   *pipeline;
	TeJson	   *list;

	if (ours.data != NULL)
		return te_json_text(arena, te_json_parse(arena, ours, "transformer.pipeline"), 0);
	pipeline = te_json_new_object(arena);
	list = te_json_new_array(arena, 1);
	te_json_set_str(&list->items[0], te_str(te_pooling_name(gguf_pooling(arena, file, name))));
	te_json_set_copy(arena, te_json_add(arena, pipeline, "pooling"), list);
	te_json_set_bool(te_json_add(arena, pipeline, "normalize"), true);
	if (generation != NULL)
		te_json_set_copy(arena, te_json_add(arena, pipeline, "generation"), generation);
	return te_json_text(arena, pipeline, 0);
}

static TeStr
gguf_config(TeArena *arena, const TeModelFile *file, const TeArch *arch, TeStr name)
{
	TeStr		ours = te_json_str(file->meta, "transformer.config", NULL);
	const TeModelType *type = te_arch_type_by_gguf(arch, name);
	TeJson	   *config;

	if (ours.data != NULL)
		return te_json_text(arena, te_json_parse(arena, ours, "transformer.config"), 0);
	config = te_json_new_object(arena);
	te_json_set_str(te_json_add(arena, config, "model_type"), te_str(type != NULL ? type->name : arch->model_types[0].name));
	arch->config_from_gguf(arena, file, config);
	te_head_from_gguf(arena, file, arch, config);
	return te_json_text(arena, config, 0);
}

/* The rows that an exported file keeps apart, in the tensor's type; NULL where the file has none. */
static void *
skipped_rows(TeArena *arena, const TeModelFile *file, const TeTensorSpec *spec, TeDtype dtype)
{
	const TeJson *list = te_json_get(file->meta, te_format(arena, "transformer.skipped.%s", spec->gguf_name));
	size_t		n = te_mul_size(spec->gguf_skip, spec->n_in);
	float	   *rows;
	void	   *result;

	if (list == NULL)
		return NULL;
	if (list->kind != TE_JSON_ARRAY || list->n != n || te_dtypes[dtype].from_float == NULL)
		te_throw(TE_ERR_CORRUPT, "metadata key \"transformer.skipped.%s\" must have %zu numbers", spec->gguf_name, n);
	rows = te_new_array(arena, float, n);
	for (size_t i = 0; i < n; i++)
	{
		if (list->items[i].kind == TE_JSON_REAL)
			rows[i] = (float) list->items[i].real;
		else if (list->items[i].kind == TE_JSON_INTEGER)
			rows[i] = (float) list->items[i].integer;
		else
			te_throw(TE_ERR_CORRUPT, "metadata key \"transformer.skipped.%s\" must have numbers", spec->gguf_name);
	}
	result = te_alloc(arena, te_mul_size(spec->gguf_skip, te_row_bytes(dtype, spec->n_in)));
	te_convert_rows(TE_F32, rows, dtype, result, spec->gguf_skip, spec->n_in, rows);
	return result;
}

static const TeTensorInfo *
find_in_gguf(void *from, TeArena *arena, const TeTensorSpec *spec)
{
	const TeModelFile *file = from;
	const char *name = spec->gguf_name != NULL ? spec->gguf_name : spec->name;
	const TeTensorInfo *found = te_tensor_find(&file->tensors, te_str(name));
	TeTensorInfo *tensor;

	if (found == NULL)
		return NULL;
	tensor = te_new(arena, TeTensorInfo);
	*tensor = *found;
	if (spec->role != TE_ROLE_VECTOR && spec->n_out == 1 && tensor->n_dims == 1)
	{
		tensor->n_dims = 2;		/* GGUF drops outer dimensions of 1 */
		tensor->dims[1] = tensor->dims[0];
		tensor->dims[0] = 1;
	}
	if (spec->gguf_stack.name != NULL)
		*tensor = te_order_part(spec, &spec->gguf_stack, tensor);
	*tensor = te_order_from_gguf(arena, spec, tensor);
	if (spec->gguf_skip > 0 && tensor->n_dims == 2 && tensor->dims[0] == spec->n_out - spec->gguf_skip
		&& tensor->dims[1] == spec->n_in)
		*tensor = te_tensor_with_head(arena, tensor, spec->gguf_skip,
									  skipped_rows(arena, file, spec, tensor->dtype));
	return tensor;
}

static bool
writes_text(TeArena *arena, const TeModelDef *def, const TeImportOptions *options, const TeArch *arch)
{
	const TeJson *config = te_json_parse(arena, def->config, "config.json");

	return te_head_kind(te_def_task(def, options, arch, config)) == TE_HEAD_CAUSAL;
}

TeModelDef *
te_import_gguf(TeArena *arena, const TeSource *source, const TeImportOptions *options)
{
	TeModelFile file;
	TeStr		name;
	TeStr		ours;
	const TeArch *arch;
	const TeJson *tokenizer = options != NULL ? options->tokenizer : NULL;
	TeModelDef *def;

	te_gguf_read(arena, source, &file);
	if (tokenizer == NULL)
		tokenizer = gguf_tokenizer(arena, &file);
	if (file.tensors.n == 0 || (options != NULL && te_str_is(options->task, "tokenizer")))
	{
		if (tokenizer == NULL)
			te_throw(TE_ERR_MISSING, "file \"%s\" has neither tensors nor a tokenizer", source->name);
		return te_def_tokenizer(arena, tokenizer);
	}
	name = te_json_str(file.meta, "general.architecture", NULL);
	ours = te_json_str(file.meta, "transformer.architecture", NULL);
	if (name.data == NULL && ours.data == NULL)
		te_throw(TE_ERR_MISSING, "file \"%s\" has no metadata key \"general.architecture\"", source->name);
	arch = ours.data != NULL ? te_arch_by_name(ours) : te_arch_by_gguf(name);
	if (name.data == NULL)
		name = te_str(arch->gguf_name != NULL ? arch->gguf_name : "");
	if (arch->gguf_name == NULL && te_json_get(file.meta, "transformer.config") == NULL)
		te_throw(TE_ERR_MISSING, "file \"%s\" has no metadata key \"transformer.config\"", source->name);

	def = te_new(arena, TeModelDef);
	def->architecture = te_str(arch->name);
	def->task = te_json_str(file.meta, "transformer.task", "");
	def->config = gguf_config(arena, &file, arch, name);
	def->pipeline = gguf_pipeline(arena, &file, te_cstring(arena, name), writes_text(arena, def, options, arch));
	te_def_set_tokenizer(arena, def, tokenizer);
	te_def_assemble(arena, def, options, find_in_gguf, &file);
	return def;
}
