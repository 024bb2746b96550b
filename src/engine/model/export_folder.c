/*-------------------------------------------------------------------------
 * export_folder.c
 *	  A definition as a folder that transformers and sentence-transformers open.
 *
 *	  config.json						as imported, with the class of what is written
 *	  model.safetensors					tensors without a prefix; quantized ones as f32
 *	  tokenizer.json					as imported
 *	  tokenizer_config.json				for AutoTokenizer: a generic class, the special tokens
 *	  special_tokens_map.json			the same, for older versions
 *	  generation_config.json			what ends a text, where the model says so (generation.c)
 *	  modules.json, 1_Pooling, ...		the pipeline
 *	  sentence_bert_config.json			max_seq_length
 *	  config_sentence_transformers.json prompts
 *
 * A model with a head has no pipeline: its folder is transformers' alone.
 *
 * The tokenizer's class is the generic one, PreTrainedTokenizerFast: it takes
 * tokenizer.json as it is, where a family's own class would build parts anew.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include "file/file.h"

typedef struct FolderExport
{
	TeArena    *arena;
	const TeModelDef *def;
	TeDefParts	parts;
	TeFolderSink *folder;
} FolderExport;

/* ---- JSON ---- */

static void
set_str(FolderExport *export, TeJson *object, const char *key, const char *value)
{
	te_json_set_str(te_json_add(export->arena, object, key), te_str(value));
}

static void
set_int(FolderExport *export, TeJson *object, const char *key, int64_t value)
{
	te_json_set_int(te_json_add(export->arena, object, key), value);
}

static void
set_bool(FolderExport *export, TeJson *object, const char *key, bool value)
{
	te_json_set_bool(te_json_add(export->arena, object, key), value);
}

static void
set_list(FolderExport *export, TeJson *object, const char *key, const TeStr *items, size_t n)
{
	TeJson	   *list = te_json_new_array(export->arena, n);

	for (size_t i = 0; i < n; i++)
		te_json_set_str(&list->items[i], items[i]);
	te_json_set_copy(export->arena, te_json_add(export->arena, object, key), list);
}

static void
write_text(FolderExport *export, const char *path, TeStr text)
{
	TeSink	   *sink = export->folder->open(export->folder, path);

	te_sink_write(sink, text.data, text.len);
	export->folder->close(export->folder, sink);
}

static void
write_json(FolderExport *export, const char *path, const TeJson *json)
{
	write_text(export, path, te_json_text(export->arena, json, 2));
}

/* ---- tensors ---- */

/* In the order of Hugging Face; what safetensors has no type for becomes f32. */
static bool
plain_tensor(FolderExport *export, const TeTensorSpec *spec, const TeTensorInfo *tensor, TeTensorInfo *into)
{
	bool		plain = te_dtypes[tensor->dtype].safetensors != NULL;

	*into = plain ? *tensor : te_tensor_converted(export->arena, tensor, TE_F32);
	*into = te_order_to_folder(export->arena, spec, into);
	return plain;
}

/* The same as one of a list, or as its parts. */
static bool
add_tensor(FolderExport *export, const TeTensorSpec *spec, const TeTensorInfo *tensor, TeTensorList *list)
{
	TeTensorInfo whole;
	bool		plain = plain_tensor(export, spec, tensor, &whole);

	if (spec->part_size == 0)
		te_tensor_list_add(list, &whole);
	for (int64_t i = 0; spec->part_size > 0 && i < spec->n_in / spec->part_size; i++)
	{
		TeTensorInfo part = te_order_split(export->arena, spec, &whole, i);

		te_tensor_list_add(list, &part);
	}
	return plain;
}

static void
write_tensors(FolderExport *export, const char *path, TeTensorSet *set)
{
	TeJson	   *meta = te_json_new_object(export->arena);
	TeModelFile file = {.meta = meta, .tensors = *set};
	TeSink	   *sink;

	set_str(export, meta, "format", "pt");
	te_tensor_set_index(export->arena, &file.tensors);
	sink = export->folder->open(export->folder, path);
	te_safetensors_write(export->arena, &file, sink);
	export->folder->close(export->folder, sink);
}

/* The dense layer that a tensor belongs to, or NULL for one of the encoder. */
static const TeDense *
dense_of(FolderExport *export, TeStr name)
{
	const TePipeline *pipeline = &export->parts.pipeline;

	for (int i = 0; i < pipeline->n_dense; i++)
	{
		TeStr		tensor = pipeline->dense[i].tensor;

		if (name.len > tensor.len && name.data[tensor.len] == '.' && memcmp(name.data, tensor.data, tensor.len) == 0)
			return &pipeline->dense[i];
	}
	return NULL;
}

static void
write_model(FolderExport *export)
{
	const TeTensorSet *from = &export->def->tensors;
	const TeTensorSpecs *specs = &export->parts.specs;
	TeTensorList list = {export->arena};
	TeTensorSet set = {0};
	bool		plain = true;

	for (size_t i = 0; i < specs->n; i++)
	{
		const TeTensorSpec *spec = &specs->specs[i];
		const TeTensorInfo *tensor = te_tensor_find(from, te_str(spec->name));

		if (tensor != NULL && dense_of(export, tensor->name) == NULL)
			plain &= add_tensor(export, spec, tensor, &list);
	}
	set.n = list.n;
	set.tensors = list.tensors;
	if (!plain)
		te_report(TE_NOTICE, "safetensors has no type %.*s: these tensors are written as f32",
				  TE_STR_ARGS(export->def->quantization));
	write_tensors(export, "model.safetensors", &set);
}

/* ---- config.json ---- */

/* The type that transformers should load the weights in. */
static const char *
torch_dtype(TeStr quantization)
{
	if (te_str_is(quantization, te_dtypes[TE_F16].name))
		return "float16";
	if (te_str_is(quantization, te_dtypes[TE_BF16].name))
		return "bfloat16";
	return "float32";
}

static void
write_config(FolderExport *export)
{
	TeJson	   *config = te_json_new_object(export->arena);
	const char *dtype = torch_dtype(export->def->quantization);
	TeStr		class_name;

	te_json_set_copy(export->arena, config, export->parts.config_json);
	class_name = te_str(te_head_class(export->arena, export->parts.arch, config, export->parts.head.kind));
	set_list(export, config, "architectures", &class_name, 1);
	if (te_json_get(config, "model_type") == NULL)
		set_str(export, config, "model_type", export->parts.arch->model_types[0].name);
	if (te_str_is(export->def->task, "regression"))
		set_str(export, config, "problem_type", "regression");
	set_str(export, config, te_json_get(config, "dtype") != NULL ? "dtype" : "torch_dtype", dtype);
	write_json(export, "config.json", config);
}

/* ---- tokenizer ---- */

/* The roles of special tokens, and the texts that play them. */
static const struct
{
	const char *key;
	const char *texts[3];
}			special_tokens[] = {
	{"bos_token", {"<s>", "[CLS]", NULL}},
	{"eos_token", {"</s>", "[SEP]", NULL}},
	{"unk_token", {"[UNK]", "<unk>", NULL}},
	{"sep_token", {"[SEP]", "</s>", NULL}},
	{"pad_token", {"[PAD]", "<pad>", NULL}},
	{"cls_token", {"[CLS]", "<s>", NULL}},
	{"mask_token", {"[MASK]", "<mask>", NULL}},
};

static bool
has_added_token(const TeJson *tokenizer, const char *text)
{
	const TeJson *added = te_json_get(tokenizer, "added_tokens");

	for (uint32_t i = 0; added != NULL && added->kind == TE_JSON_ARRAY && i < added->n; i++)
	{
		if (te_str_is(te_json_str(&added->items[i], "content", ""), text))
			return true;
	}
	return false;
}

static void
add_special_tokens(FolderExport *export, const TeJson *tokenizer, TeJson *into)
{
	for (size_t i = 0; i < TE_LENGTH(special_tokens); i++)
	{
		const char *const *text = special_tokens[i].texts;

		while (*text != NULL && !has_added_token(tokenizer, *text))
			text++;
		if (*text != NULL)
			set_str(export, into, special_tokens[i].key, *text);
	}
}

static void
write_tokenizer(FolderExport *export)
{
	const TeJson *tokenizer;
	TeJson	   *config = te_json_new_object(export->arena);
	TeJson	   *map = te_json_new_object(export->arena);
	TeJson	   *defaults = te_json_new_object(export->arena);
	const TeJson *generation = te_json_get(te_json_parse(export->arena, export->def->pipeline, "pipeline"), "generation");
	TeStr		inputs[] = {TE_STR("input_ids"), TE_STR("attention_mask"), TE_STR("token_type_ids")};

	if (export->def->tokenizer.len == 0)
		return;
	tokenizer = te_json_parse(export->arena, export->def->tokenizer, "tokenizer.json");
	write_text(export, "tokenizer.json", export->def->tokenizer);
	add_special_tokens(export, tokenizer, map);
	write_json(export, "special_tokens_map.json", map);
	set_str(export, config, "tokenizer_class", "PreTrainedTokenizerFast");
	set_bool(export, config, "clean_up_tokenization_spaces", false);
	if (export->def->context_length > 0)
		set_int(export, config, "model_max_length", export->def->context_length);
	if (export->parts.arch != NULL)
		set_list(export, config, "model_input_names", inputs, export->parts.config.type_vocab_size > 1 ? 3 : 2);
	add_special_tokens(export, tokenizer, config);
	te_generation_to_folder(export->arena, generation, config, defaults);
	write_json(export, "tokenizer_config.json", config);
	if (defaults->n > 0)
		write_json(export, "generation_config.json", defaults);
}

/* ---- the pipeline ---- */

/* The modules in order, filled as their files are written. */
typedef struct ModuleList
{
	TeJson	   *list;
	uint32_t	n;
} ModuleList;

static void
add_module(FolderExport *export, ModuleList *modules, const char *class_name, const char *path)
{
	TeJson	   *module = te_json_new_object(export->arena);

	set_int(export, module, "idx", modules->n);
	set_str(export, module, "name", te_format(export->arena, "%u", (unsigned) modules->n));
	set_str(export, module, "path", path);
	set_str(export, module, "type", te_format(export->arena, "sentence_transformers.models.%s", class_name));
	te_json_set_copy(export->arena, &modules->list->items[modules->n++], module);
}

/*
 * Each mode is a flag, and flags have an order of their own; where the model's
 * is another, the list that newer versions read says so.
 */
static void
write_pooling(FolderExport *export, const char *path)
{
	static const struct
	{
		const char *key;
		TePooling	pooling;
	}			flags[] = {
		{"pooling_mode_cls_token", TE_POOL_CLS},
		{"pooling_mode_max_tokens", TE_POOL_MAX},
		{"pooling_mode_mean_tokens", TE_POOL_MEAN},
		{"pooling_mode_mean_sqrt_len_tokens", TE_POOL_MEAN_SQRT},
		{"pooling_mode_lasttoken", TE_POOL_LAST},
	};
	const TePipeline *pipeline = &export->parts.pipeline;
	TeJson	   *config = te_json_new_object(export->arena);
	TeStr		modes[TE_N_POOLINGS];
	bool		in_order = true;
	int			next = 0;

	set_int(export, config, "word_embedding_dimension", export->parts.config.hidden_size);
	for (size_t i = 0; i < TE_LENGTH(flags); i++)
	{
		bool		on = false;

		for (int j = 0; j < pipeline->n_poolings; j++)
			on |= pipeline->pooling[j] == flags[i].pooling;
		if (on && (next >= pipeline->n_poolings || pipeline->pooling[next++] != flags[i].pooling))
			in_order = false;
		set_bool(export, config, flags[i].key, on);
	}
	for (int i = 0; i < pipeline->n_poolings; i++)
		modes[i] = te_str(te_pooling_hf(pipeline->pooling[i]));
	if (!in_order)
		set_list(export, config, "pooling_mode", modes, pipeline->n_poolings);
	write_json(export, te_format(export->arena, "%s/config.json", path), config);
}

/* The folder of a dense layer: its tensors' name without ".linear". */
static const char *
dense_path(FolderExport *export, const TeDense *dense)
{
	size_t		len = dense->tensor.len;

	if (te_str_ends(dense->tensor, ".linear"))
		len -= strlen(".linear");
	return te_cstring(export->arena, (TeStr) {dense->tensor.data, len});
}

static void
write_dense(FolderExport *export, const TeDense *dense)
{
	const char *path = dense_path(export, dense);
	const TeTensorSet *from = &export->def->tensors;
	TeTensorSet set = {.tensors = te_new_array(export->arena, TeTensorInfo, 2)};
	TeJson	   *config = te_json_new_object(export->arena);
	const char *class_name = te_dense_class(dense->activation);

	if (class_name == NULL)
		te_throw(TE_ERR_UNSUPPORTED, "sentence-transformers has no name for activation \"%s\"",
				 te_activation_name(dense->activation));
	set_int(export, config, "in_features", dense->n_in);
	set_int(export, config, "out_features", dense->n_out);
	set_bool(export, config, "bias", dense->bias);
	set_str(export, config, "activation_function", class_name);
	write_json(export, te_format(export->arena, "%s/config.json", path), config);
	for (size_t i = 0; i < from->n && set.n < 2; i++)
	{
		if (dense_of(export, from->tensors[i].name) != dense)
			continue;
		plain_tensor(export, te_specs_find(&export->parts.specs, te_cstring(export->arena, from->tensors[i].name)), &from->tensors[i],
					 &set.tensors[set.n]);
		set.tensors[set.n].name = te_str(te_format(export->arena, "linear%.*s",
												   (int) (from->tensors[i].name.len - dense->tensor.len),
												   from->tensors[i].name.data + dense->tensor.len));
		set.n++;
	}
	write_tensors(export, te_format(export->arena, "%s/model.safetensors", path), &set);
}

static void
write_prompts(FolderExport *export)
{
	const TePipeline *pipeline = &export->parts.pipeline;
	TeJson	   *config = te_json_new_object(export->arena);
	TeJson	   *prompts = te_json_new_object(export->arena);

	for (int i = 0; i < pipeline->n_prompts; i++)
		te_json_set_str(te_json_add(export->arena, prompts, te_cstring(export->arena, pipeline->prompts[i].name)),
						pipeline->prompts[i].text);
	te_json_set_copy(export->arena, te_json_add(export->arena, config, "prompts"), prompts);
	te_json_add(export->arena, config, "default_prompt_name");
	if (pipeline->default_prompt >= 0)
		te_json_set_str(te_json_add(export->arena, config, "default_prompt_name"),
						pipeline->prompts[pipeline->default_prompt].name);
	set_str(export, config, "similarity_fn_name", "cosine");
	write_json(export, "config_sentence_transformers.json", config);
}

static void
write_pipeline(FolderExport *export)
{
	const TePipeline *pipeline = &export->parts.pipeline;
	ModuleList	modules = {te_json_new_array(export->arena, TE_MAX_DENSE + 3), 0};
	TeJson	   *lengths = te_json_new_object(export->arena);

	add_module(export, &modules, "Transformer", "");
	add_module(export, &modules, "Pooling", "1_Pooling");
	write_pooling(export, "1_Pooling");
	for (int i = 0; i < pipeline->n_dense; i++)
	{
		add_module(export, &modules, "Dense", dense_path(export, &pipeline->dense[i]));
		write_dense(export, &pipeline->dense[i]);
	}
	if (pipeline->normalize)
		add_module(export, &modules, "Normalize", te_format(export->arena, "%u_Normalize", (unsigned) modules.n));
	modules.list->n = modules.n;
	write_json(export, "modules.json", modules.list);

	if (pipeline->max_tokens > 0)
		set_int(export, lengths, "max_seq_length", pipeline->max_tokens);
	set_bool(export, lengths, "do_lower_case", false);
	write_json(export, "sentence_bert_config.json", lengths);
	write_prompts(export);
}

void
te_export_folder(TeArena *scratch, const TeModelDef *def, TeFolderSink *folder)
{
	FolderExport export = {.arena = scratch, .def = te_lora_merged(scratch, def), .folder = folder};

	def = export.def;
	te_def_parts(scratch, def, &export.parts);
	write_tokenizer(&export);
	if (export.parts.arch == NULL)
		return;
	write_config(&export);
	write_model(&export);
	if (export.parts.head.kind == TE_HEAD_NONE)
		write_pipeline(&export);
}
