/*-------------------------------------------------------------------------
 * def.c
 *	  Definitions: what a model consists of, whichever file it came from.
 *
 * A definition is texts (config.json, pipeline, tokenizer.json) and tensors.
 * The importers set the texts and say how to find a tensor in their file;
 * te_def_assemble() does the rest: every tensor that the architecture and the
 * pipeline name must be there with the shape that the configuration gives it,
 * and gets its storage type.  te_def_check() holds a definition that comes
 * back from the catalog to the same rules.
 *
 * Storage types.  Without a wish, a tensor keeps the file's type (f64 becomes
 * f32).  With one, matrices and word embeddings get that type; where a row is
 * no multiple of its block, f16.  Below 5.5 bits, matrices that the
 * architecture marks as sensitive get q8_0, in the manner of llama.cpp's mixed
 * types: with plain q4_0 everywhere, all-MiniLM-L6-v2's embeddings have a mean
 * cosine of 0.95 with the exact ones, so mixed 0.985.  The layer that gives
 * labels keeps the file's type.  Small tables
 * (positions, types), biases and norms are f32 always: llama.cpp and the
 * kernels want them so, and they weigh little.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

void
te_def_set_tokenizer(TeArena *arena, TeModelDef *def, const TeJson *tokenizer)
{
	if (tokenizer != NULL)
		def->tokenizer = te_json_text(arena, tokenizer, 0);
}

TeModelDef *
te_def_tokenizer(TeArena *arena, const TeJson *tokenizer)
{
	TeModelDef *def = te_new(arena, TeModelDef);

	def->architecture = TE_STR("tokenizer");
	def->task = TE_STR("tokenizer");
	def->config = TE_STR("{}");
	def->pipeline = TE_STR("{}");
	def->quantization = TE_STR("f32");
	te_def_set_tokenizer(arena, def, tokenizer);
	te_tensor_set_index(arena, &def->tensors);
	return def;
}

void
te_def_parts(TeArena *arena, const TeModelDef *def, TeDefParts *parts)
{
	const TeJson *pipeline;

	memset(parts, 0, sizeof(*parts));
	parts->specs.arena = arena;
	parts->pipeline.default_prompt = -1;
	te_generation_none(&parts->pipeline.generation);
	parts->config_json = te_json_parse(arena, def->config, "config.json");
	if (te_str_is(def->architecture, "tokenizer"))
		return;
	parts->arch = te_arch_by_name(def->architecture);
	parts->gguf_name = te_arch_gguf_name(parts->arch, parts->config_json);
	parts->arch->read_config(parts->config_json, &parts->config);
	te_head_read(arena, parts->arch, def->task, parts->config_json, &parts->head);
	parts->config.n_labels = parts->head.n_labels;
	pipeline = te_json_parse(arena, def->pipeline, "pipeline");
	te_pipeline_read(pipeline, &parts->config, &parts->pipeline);
	if (parts->head.kind == TE_HEAD_CAUSAL)
		te_generation_read(pipeline, parts->config_json, parts->config.vocab_size, &parts->pipeline.generation);
	parts->arch->list_tensors(&parts->config, &parts->specs);
	te_head_list_tensors(parts->arch, &parts->head, &parts->config, &parts->specs);
	te_pipeline_list_tensors(&parts->pipeline, &parts->specs);
	te_lora_read(arena, parts->config_json, &parts->lora);
	parts->config.lora_scale = parts->lora.scale;
	te_lora_list_tensors(&parts->lora, &parts->specs);
}

/* ---- shapes and types ---- */

/* The shape that a spec wants: [n_in] for a vector, else [n_out, n_in]. */
static void
check_shape(const TeTensorSpec *spec, const TeTensorInfo *tensor)
{
	bool		vector = spec->role == TE_ROLE_VECTOR;

	if (vector ? tensor->n_dims == 1 && tensor->dims[0] == spec->n_in
		: tensor->n_dims == 2 && tensor->dims[0] == spec->n_out && tensor->dims[1] == spec->n_in)
		return;
	te_throw(TE_ERR_CORRUPT, "tensor \"%s\" has shape [%lld%s%lld], but the configuration wants [%lld, %lld]",
			 spec->name,
			 tensor->n_dims > 0 ? (long long) tensor->dims[0] : 0LL,
			 tensor->n_dims > 2 ? ", ..., " : ", ",
			 tensor->n_dims > 1 ? (long long) tensor->dims[tensor->n_dims - 1] : 1LL,
			 vector ? (long long) spec->n_in : (long long) spec->n_out,
			 vector ? 1LL : (long long) spec->n_in);
}

/* The wish as a type; TE_N_DTYPES where there is none. */
static TeDtype
wanted_dtype(const TeImportOptions *options)
{
	TeDtype		dtype;

	if (options == NULL || options->quantization.len == 0)
		return TE_N_DTYPES;
	dtype = te_dtype_by_name(options->quantization);
	if (dtype == TE_N_DTYPES || te_dtypes[dtype].from_float == NULL || te_dtypes[dtype].to_float == NULL)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Use f32, f16, bf16, int8, q8_0 or q4_0, or leave it out to keep the file's.",
					  "quantization \"%.*s\" is not supported", TE_STR_ARGS(options->quantization));
	return dtype;
}

static bool
is_always_f32(const TeTensorSpec *spec)
{
	return spec->role == TE_ROLE_VECTOR || spec->role == TE_ROLE_TABLE;
}

/* Fewer than 5.5 bits an element. */
static bool
is_coarse(TeDtype dtype)
{
	return te_dtypes[dtype].block_bytes * 16 < te_dtypes[dtype].block_elements * 11;
}

/* The type that a tensor of type `from` is stored in; sets *fell_back where the wish did not fit. */
static TeDtype
choose_dtype(const TeTensorSpec *spec, TeDtype from, TeDtype wanted, bool *fell_back)
{
	TeDtype		kept = from == TE_F64 ? TE_F32 : from;

	if (is_always_f32(spec))
		return TE_F32;
	if (wanted == TE_N_DTYPES || spec->exact)
		return kept;
	if (spec->sensitive && is_coarse(wanted))
		wanted = TE_Q8_0;
	if (spec->n_in % te_dtypes[wanted].block_elements == 0)
		return wanted;
	*fell_back = true;
	return TE_F16;
}

/* The file's tensor under the definition's name and in its type. */
static void
assemble_tensor(TeArena *arena, const TeTensorSpec *spec, const TeTensorInfo *found, TeDtype wanted,
				bool *fell_back, TeTensorInfo *into)
{
	TeTensorInfo tensor = *found;
	TeDtype		dtype;

	tensor.name = te_str(spec->name);
	check_shape(spec, &tensor);
	if (te_dtypes[tensor.dtype].to_float == NULL)
		te_throw(TE_ERR_UNSUPPORTED, "tensor \"%s\" has type %s, which holds no weights", spec->name,
				 te_dtypes[tensor.dtype].name);
	dtype = choose_dtype(spec, tensor.dtype, wanted, fell_back);
	*into = dtype == tensor.dtype ? tensor : te_tensor_converted(arena, &tensor, dtype);
}

/* ---- derived members ---- */

/* The type that most elements of matrices and embeddings have. */
static TeStr
main_type(const TeModelDef *def, const TeTensorSpecs *specs)
{
	uint64_t	elements[TE_N_DTYPES] = {0};
	int			best = TE_F32;

	for (size_t i = 0; i < specs->n; i++)
	{
		const TeTensorSpec *spec = &specs->specs[i];
		const TeTensorInfo *tensor;

		if (spec->role != TE_ROLE_LINEAR && spec->role != TE_ROLE_EMBEDDING)
			continue;
		tensor = te_tensor_find(&def->tensors, te_str(spec->name));
		if (tensor != NULL)
			elements[tensor->dtype] += te_tensor_elements(tensor);
	}
	for (int i = 0; i < TE_N_DTYPES; i++)
	{
		if (elements[i] > elements[best])
			best = i;
	}
	return te_str(te_dtypes[best].name);
}

static void
derive(TeModelDef *def, const TeDefParts *parts)
{
	def->parameters = 0;
	def->bytes = 0;
	for (size_t i = 0; i < def->tensors.n; i++)
	{
		def->parameters += te_tensor_elements(&def->tensors.tensors[i]);
		def->bytes += def->tensors.tensors[i].bytes;
	}
	def->quantization = main_type(def, &parts->specs);
	def->n_labels = parts->head.n_labels;
	def->labels = (TeStr *) parts->head.labels;
	if (parts->arch != NULL)
	{
		def->dimensions = parts->head.kind == TE_HEAD_NONE ? te_pipeline_dimensions(&parts->pipeline, &parts->config) : 0;
		def->context_length = te_pipeline_context(&parts->pipeline, &parts->config);
	}
}

TeStr
te_def_task(const TeModelDef *def, const TeImportOptions *options, const TeArch *arch, const TeJson *config)
{
	if (options != NULL && options->task.len > 0)
		return te_task_name(options->task);
	return def->task.len > 0 ? def->task : te_head_task(arch, config);
}

/* Labels that the user gives go into config.json. */
static void
set_task(TeArena *arena, TeModelDef *def, const TeImportOptions *options)
{
	const TeArch *arch = te_arch_by_name(def->architecture);
	const TeJson *config = te_json_parse(arena, def->config, "config.json");
	TeHead		head;

	def->task = te_def_task(def, options, arch, config);
	te_head_read(arena, arch, def->task, config, &head);
	if (head.kind != TE_HEAD_NONE && !te_head_in_class(arch, config, head.kind))
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Its config.json names no class with such a head. Import it for the task \"embedding\".",
					  "the model has no head for the task \"%.*s\"", TE_STR_ARGS(def->task));
	if (options == NULL || options->n_labels == 0)
		return;
	if (head.n_labels == 0)
		te_throw_hint(TE_ERR_INVALID, NULL, "Leave the labels out, or import the model for a task that has labels.",
					  "labels are for classifiers, and this model is imported for the task \"%.*s\"",
					  TE_STR_ARGS(def->task));
	if (options->n_labels != head.n_labels)
		te_throw_hint(TE_ERR_INVALID, NULL, "Give one for each output of the model's head, in their order.",
					  "%d labels are given, but the model has %d", options->n_labels, (int) head.n_labels);
	def->config = te_json_text(arena, te_head_relabel(arena, config, options->labels, options->n_labels), 0);
}

void
te_def_assemble(TeArena *arena, TeModelDef *def, const TeImportOptions *options, TeFindTensor find, void *from)
{
	TeDefParts	parts;
	TeDtype		wanted = wanted_dtype(options);
	bool		fell_back = false;

	set_task(arena, def, options);
	te_def_parts(arena, def, &parts);
	def->tensors.tensors = te_new_array(arena, TeTensorInfo, parts.specs.n);
	for (size_t i = 0; i < parts.specs.n; i++)
	{
		const TeTensorSpec *spec = &parts.specs.specs[i];
		const TeTensorInfo *found = find(from, arena, spec);

		if (found == NULL && !spec->optional)
			te_throw(TE_ERR_MISSING, "tensor \"%s\" is missing", spec->name);
		if (found != NULL)
			assemble_tensor(arena, spec, found, wanted, &fell_back, &def->tensors.tensors[def->tensors.n++]);
	}
	if (fell_back)
		te_report(TE_NOTICE, "tensors whose rows do not divide into blocks of %s are stored as f16",
				  te_dtypes[wanted].name);
	te_tensor_set_index(arena, &def->tensors);
	derive(def, &parts);
}

/* The catalog has the labels beside config.json, which alone counts. */
static void
check_labels(const TeModelDef *def, const TeHead *head)
{
	bool		same = def->n_labels == head->n_labels;

	for (int i = 0; same && i < def->n_labels; i++)
		same = te_str_eq(def->labels[i], head->labels[i]);
	if (!same)
		te_throw(TE_ERR_CORRUPT, "the labels of the definition are not those of its config.json");
}

void
te_def_check(TeArena *arena, TeModelDef *def)
{
	TeDefParts	parts;
	size_t		n_found = 0;

	te_def_parts(arena, def, &parts);
	check_labels(def, &parts.head);
	te_tensor_set_index(arena, &def->tensors);
	for (size_t i = 0; i < parts.specs.n; i++)
	{
		const TeTensorSpec *spec = &parts.specs.specs[i];
		const TeTensorInfo *tensor = te_tensor_find(&def->tensors, te_str(spec->name));

		if (tensor == NULL)
		{
			if (!spec->optional)
				te_throw(TE_ERR_MISSING, "tensor \"%s\" is missing", spec->name);
			continue;
		}
		check_shape(spec, tensor);
		if (te_dtypes[tensor->dtype].to_float == NULL
			|| (is_always_f32(spec) && tensor->dtype != TE_F32))
			te_throw(TE_ERR_CORRUPT, "tensor \"%s\" cannot be stored as %s", spec->name, te_dtypes[tensor->dtype].name);
		if (tensor->bytes != te_tensor_bytes(tensor))
			te_throw(TE_ERR_CORRUPT, "tensor \"%s\" has another size than its shape", spec->name);
		n_found++;
	}
	if (n_found != def->tensors.n)
		te_throw(TE_ERR_CORRUPT, "the definition has %zu tensors that architecture \"%.*s\" does not know",
				 def->tensors.n - n_found, TE_STR_ARGS(def->architecture));
	if (parts.arch == NULL && def->tokenizer.len == 0)
		te_throw(TE_ERR_CORRUPT, "the definition has neither tensors nor a tokenizer");
	derive(def, &parts);
}

int64_t
te_tensor_chunk_rows(const TeTensorInfo *tensor, size_t bytes)
{
	int64_t		n_in = tensor->n_dims > 0 ? tensor->dims[tensor->n_dims - 1] : 1;
	uint64_t	row_bytes = te_row_bytes(tensor->dtype, n_in);
	int64_t		n_rows = row_bytes > 0 ? (int64_t) (tensor->bytes / row_bytes) : 1;

	if (row_bytes == 0 || bytes < row_bytes)
		return 1;
	return TE_MAX(1, TE_MIN(n_rows, (int64_t) (bytes / row_bytes)));
}
