/*-------------------------------------------------------------------------
 * export_gguf.c
 *	  A definition as a GGUF file.
 *
 * llama.cpp reads the keys and tensors of its own conventions, and refuses a
 * file with tensors that it does not know; it passes over keys that it does
 * not know.  So whatever else a model needs to come back as it was is in keys
 * (import_gguf.c lists them), and tensors get llama.cpp's names where it has
 * names for them.  A storage type that GGUF lacks becomes q8_0, or f16 where rows
 * do not divide into its blocks, with a NOTICE.  What it cannot run, such as an architecture of no name or
 * dense layers after pooling, is written all the same, with a NOTICE: the file
 * is then for this engine.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include "file/file.h"

/* general.file_type: llama.cpp's number for "mostly of this type"; for display only. */
static const struct
{
	TeDtype		dtype;
	int			number;
}			file_types[] = {
	{TE_F32, 0}, {TE_F16, 1}, {TE_Q4_0, 2}, {TE_Q4_1, 3}, {TE_Q8_0, 7}, {TE_Q5_0, 8}, {TE_Q5_1, 9},
	{TE_Q2_K, 10}, {TE_Q3_K, 12}, {TE_Q4_K, 15}, {TE_Q5_K, 17}, {TE_Q6_K, 18}, {TE_BF16, 32},
};

#define QUANTIZATION_VERSION 2	/* of ggml's block layouts */
#define POOLING_RANK 4			/* llama.cpp's number: the first token's row goes through a head */

static void
set_str(TeArena *arena, TeJson *meta, const char *key, TeStr value)
{
	te_json_set_str(te_json_add(arena, meta, key), value);
}

/* The type that a tensor is written in. */
static TeDtype
written_dtype(const TeTensorInfo *tensor)
{
	int64_t		n_in = tensor->n_dims > 0 ? tensor->dims[tensor->n_dims - 1] : 1;

	if (te_dtypes[tensor->dtype].ggml_type >= 0)
		return tensor->dtype;
	return n_in % te_dtypes[TE_Q8_0].block_elements == 0 ? TE_Q8_0 : TE_F16;
}

static void
add_general(TeArena *arena, const TeModelDef *def, const char *architecture, const char *name, TeJson *meta)
{
	TeDtype		dtype = te_dtype_by_name(def->quantization);

	if (te_dtypes[dtype].ggml_type < 0)
	{
		te_report(TE_NOTICE, "GGUF has no type %s: these tensors are written as %s", te_dtypes[dtype].name,
				  te_dtypes[TE_Q8_0].name);
		dtype = TE_Q8_0;
	}
	set_str(arena, meta, "general.architecture", te_str(architecture));
	set_str(arena, meta, "general.name", te_str(name));
	for (size_t i = 0; i < TE_LENGTH(file_types); i++)
	{
		if (file_types[i].dtype == dtype)
			te_json_set_int(te_json_add(arena, meta, "general.file_type"), file_types[i].number);
	}
	te_json_set_int(te_json_add(arena, meta, "general.quantization_version"), QUANTIZATION_VERSION);
}

/* pooling_type, as far as llama.cpp has one, and a word where it will compute something else; none where tokens are to follow. */
static void
add_pooling(TeArena *arena, const TeDefParts *parts, TeJson *meta)
{
	const TePipeline *pipeline = &parts->pipeline;
	int			type = pipeline->n_poolings == 1 ? te_pooling_gguf(pipeline->pooling[0]) : 0;

	if (parts->head.kind == TE_HEAD_CAUSAL)
		return;
	if (parts->head.kind != TE_HEAD_NONE)
	{
		if (parts->head.kind != TE_HEAD_CAUSAL)
			te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s.pooling_type", parts->gguf_name)),
							parts->head.kind == TE_HEAD_SEQUENCE ? POOLING_RANK : 0);
		te_head_to_gguf(arena, parts, meta);
		return;
	}
	te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s.pooling_type", parts->gguf_name)), type);
	if (type == 0)
		te_report(TE_NOTICE, "llama.cpp has no pooling like this model's, and will give a vector for each token");
	if (pipeline->n_dense > 0)
		te_report(TE_NOTICE, "llama.cpp cannot open the file: it knows no dense layers after pooling");
}

/* What this engine reads back, and llama.cpp passes over. */
static void
add_own(TeArena *arena, const TeModelDef *def, TeJson *meta)
{
	set_str(arena, meta, "transformer.architecture", def->architecture);
	set_str(arena, meta, "transformer.task", def->task);
	set_str(arena, meta, "transformer.config", def->config);
	set_str(arena, meta, "transformer.pipeline", def->pipeline);
	if (def->tokenizer.len > 0)
		set_str(arena, meta, "tokenizer.huggingface.json", def->tokenizer);
}

/* The first rows of a table, which llama.cpp wants left out, as a key. */
static void
add_skipped(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *tensor, TeJson *meta)
{
	size_t		n = te_mul_size(spec->gguf_skip, spec->n_in);
	size_t		bytes = te_mul_size(spec->gguf_skip, te_row_bytes(tensor->dtype, spec->n_in));
	TeJson	   *list = te_json_new_array(arena, n);
	void	   *rows = te_alloc(arena, bytes);
	float	   *values = te_new_array(arena, float, n);
	float	   *scratch = te_new_array(arena, float, spec->n_in);

	te_source_read(tensor->source, tensor->offset, rows, bytes);
	te_convert_rows(tensor->dtype, rows, TE_F32, values, spec->gguf_skip, spec->n_in, scratch);
	for (size_t i = 0; i < n; i++)
		te_json_set_real(&list->items[i], values[i]);
	te_json_set_copy(arena, te_json_add(arena, meta, te_format(arena, "transformer.skipped.%s", spec->gguf_name)), list);
}

/* A tensor as the file has it. */
static TeTensorInfo
written_tensor(TeArena *arena, const TeModelDef *def, const TeTensorSpec *spec)
{
	const TeTensorInfo *tensor = te_tensor_find(&def->tensors, te_str(spec->name));
	TeTensorInfo written = *tensor;

	if (written_dtype(tensor) != tensor->dtype)
		written = te_tensor_converted(arena, tensor, written_dtype(tensor));
	written.name = te_str(spec->gguf_name != NULL ? spec->gguf_name : spec->name);
	return te_order_to_gguf(arena, spec, &written);
}

/* All matrices of a stack, which begins with spec i; how many there are. */
static size_t
written_stack(TeArena *arena, const TeModelDef *def, const TeTensorSpecs *specs, size_t i, TeTensorInfo *into)
{
	const TeStack *stack = &specs->specs[i].gguf_stack;
	size_t		n = (size_t) stack->n;
	TeTensorInfo *parts = te_new_array(arena, TeTensorInfo, n);

	te_assert(stack->row == 0 && n <= specs->n - i);
	for (size_t j = 0; j < n; j++)
		parts[j] = written_tensor(arena, def, &specs->specs[i + j]);
	*into = te_order_stacked(arena, parts, n);
	return n;
}

/* The tensors in the order of the specs, renamed. */
static void
add_tensors(TeArena *arena, const TeModelDef *def, const TeDefParts *parts, TeModelFile *file, TeJson *meta)
{
	TeTensorSet *set = &file->tensors;
	TeTensorList more = {arena};

	if (parts->gguf_name != NULL && parts->arch->gguf_tensors != NULL)
		parts->arch->gguf_tensors(&parts->config, &more);
	set->tensors = te_new_array(arena, TeTensorInfo, parts->specs.n + more.n);
	for (size_t i = 0; i < more.n; i++)
		set->tensors[set->n++] = more.tensors[i];
	for (size_t i = 0; i < parts->specs.n; i++)
	{
		const TeTensorSpec *spec = &parts->specs.specs[i];
		const TeTensorInfo *tensor = te_tensor_find(&def->tensors, te_str(spec->name));
		TeTensorInfo *into;

		if (tensor == NULL)
			continue;
		into = &set->tensors[set->n++];
		if (spec->gguf_stack.name != NULL)
		{
			i += written_stack(arena, def, &parts->specs, i, into) - 1;
			continue;
		}
		*into = written_tensor(arena, def, spec);
		if (spec->gguf_skip > 0)
		{
			add_skipped(arena, spec, tensor, meta);
			into->dims[0] -= spec->gguf_skip;
			into->offset += te_mul_size(spec->gguf_skip, te_row_bytes(into->dtype, spec->n_in));
			into->bytes = te_tensor_bytes(into);
		}
	}
	te_tensor_set_index(arena, set);
}

void
te_export_gguf(TeArena *scratch, const TeModelDef *def, const char *name, TeSink *sink)
{
	TeJson	   *meta = te_json_new_object(scratch);
	TeModelFile file = {.meta = meta};
	TeDefParts	parts;

	def = te_lora_merged(scratch, def);
	te_def_parts(scratch, def, &parts);
	if (parts.gguf_name == NULL)
	{
		add_general(scratch, def, te_cstring(scratch, def->architecture), name, meta);
		te_report(TE_NOTICE, "llama.cpp does not know architecture \"%.*s\": the file can be imported here only",
				  TE_STR_ARGS(def->architecture));
	}
	else
	{
		add_general(scratch, def, parts.gguf_name, name, meta);
		parts.arch->config_to_gguf(scratch, &parts.config, meta);
		add_pooling(scratch, &parts, meta);
		if (def->tokenizer.len > 0)
			te_tokenizer_to_gguf(scratch, te_json_parse(scratch, def->tokenizer, "tokenizer.json"), meta);
		te_generation_to_gguf(scratch, &parts.pipeline.generation, meta);
	}
	add_own(scratch, def, meta);
	add_tensors(scratch, def, &parts, &file, meta);
	te_gguf_write(scratch, &file, sink);
}
