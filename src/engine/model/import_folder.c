/*-------------------------------------------------------------------------
 * import_folder.c
 *	  A folder in Hugging Face's layout as a definition.
 *
 *	  config.json						what the model is
 *	  model.safetensors					its tensors, or
 *	  model.safetensors.index.json		where they are sharded
 *	  tokenizer.json					or what older models have instead (the table below)
 *	  modules.json and its folders		what surrounds it (import_pipeline.c)
 *	  tokenizer_config.json, ...		of a model that writes text, what texts begin and end with (generation.c)
 *
 * A checkpoint of a larger model carries its encoder under a prefix ("bert.")
 * and has tensors that an encoder does not use: heads of other tasks are named
 * in a NOTICE, since something is lost, buffers such as position_ids are
 * passed over.  Old checkpoints call a norm's scale and shift gamma and beta.
 *
 * A folder with a tokenizer and neither config.json nor weights is a tokenizer.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include "file/file.h"

#define MAX_TOKENIZER_BYTES ((size_t) 512 << 20)
#define MAX_SHARDS 10000

/* ---- tokenizers ---- */

typedef struct TokenizerFiles
{
	TeArena    *arena;
	const TeFolder *folder;
	const char *base;
	const TeJson *config;		/* tokenizer_config.json, or NULL */
	TeStr		model_type;
} TokenizerFiles;

static TeStr
whole_file(const TokenizerFiles *files, const TeSource *source)
{
	return te_source_whole(files->arena, source, MAX_TOKENIZER_BYTES);
}

static const TeJson *
tokenizer_json(const TokenizerFiles *files, const TeSource *source)
{
	return te_json_parse(files->arena, whole_file(files, source), source->name);
}

static const TeJson *
tokenizer_spm(const TokenizerFiles *files, const TeSource *source)
{
	return te_tokenizer_from_spm(files->arena, whole_file(files, source), files->config, files->model_type);
}

static const TeJson *
tokenizer_vocab_txt(const TokenizerFiles *files, const TeSource *source)
{
	return te_tokenizer_from_vocab_txt(files->arena, whole_file(files, source), files->config);
}

/* vocab.json alone is not enough: the merges lie beside it. */
static const TeJson *
tokenizer_bpe(const TokenizerFiles *files, const TeSource *source)
{
	const TeSource *merges = te_folder_file(files->arena, files->folder, files->base, "merges.txt");

	if (merges == NULL)
		te_throw(TE_ERR_MISSING, "folder \"%s\" has \"vocab.json\" but no \"merges.txt\"", files->folder->name);
	return te_tokenizer_from_bpe(files->arena, tokenizer_json(files, source), whole_file(files, merges),
								 files->config, files->model_type);
}

/* The first file that is there decides. */
static const struct
{
	const char *file;
	const TeJson *(*read) (const TokenizerFiles *files, const TeSource *source);
}			tokenizer_files[] = {
	{"tokenizer.json", tokenizer_json},
	{"sentencepiece.bpe.model", tokenizer_spm},
	{"spiece.model", tokenizer_spm},
	{"spm.model", tokenizer_spm},
	{"tokenizer.model", tokenizer_spm},
	{"vocab.json", tokenizer_bpe},
	{"vocab.txt", tokenizer_vocab_txt},
};

/* Lower-case first of all, as sentence-transformers does where its configuration says so. */
static const TeJson *
with_lower_case(TeArena *arena, const TeJson *tokenizer)
{
	TeJson	   *result = te_json_new_object(arena);
	TeJson	   *list = te_json_new_array(arena, 2);
	TeJson	   *sequence = te_json_new_object(arena);
	TeJson	   *lower = te_json_new_object(arena);
	const TeJson *before = te_json_get(tokenizer, "normalizer");

	if (te_str_is(te_json_str(before, "type", ""), "Lowercase") || te_json_bool(before, "lowercase", false))
		return tokenizer;
	te_json_set_str(te_json_add(arena, lower, "type"), TE_STR("Lowercase"));
	te_json_set_copy(arena, &list->items[0], lower);
	if (before != NULL)
		te_json_set_copy(arena, &list->items[1], before);
	else
		list->n = 1;
	te_json_set_str(te_json_add(arena, sequence, "type"), TE_STR("Sequence"));
	te_json_set_copy(arena, te_json_add(arena, sequence, "normalizers"), list);
	te_json_set_copy(arena, result, tokenizer);
	te_json_set_copy(arena, te_json_add(arena, result, "normalizer"), sequence);
	return result;
}

/* NULL where the folder has none. */
static const TeJson *
folder_tokenizer(TeArena *arena, const TeFolder *folder, const char *base, TeStr model_type)
{
	TokenizerFiles files = {
		.arena = arena,
		.folder = folder,
		.base = base,
		.config = te_folder_json(arena, folder, base, "tokenizer_config.json"),
		.model_type = model_type,
	};

	for (size_t i = 0; i < TE_LENGTH(tokenizer_files); i++)
	{
		const TeSource *source = te_folder_file(arena, folder, base, tokenizer_files[i].file);

		if (source != NULL)
			return tokenizer_files[i].read(&files, source);
	}
	return NULL;
}

/* ---- tensors ---- */

void
te_tensor_list_add(TeTensorList *list, const TeTensorInfo *tensor)
{
	if (list->n == list->capacity)
	{
		TeTensorInfo *grown;

		list->capacity = list->capacity == 0 ? 256 : 2 * list->capacity;
		grown = te_new_array(list->arena, TeTensorInfo, list->capacity);
		if (list->n > 0)
			memcpy(grown, list->tensors, list->n * sizeof(TeTensorInfo));
		list->tensors = grown;
	}
	list->tensors[list->n++] = *tensor;
}

static void
add_safetensors(const TeSource *source, TeTensorList *list)
{
	TeModelFile file;

	te_safetensors_read(list->arena, source, &file);
	for (size_t i = 0; i < file.tensors.n; i++)
		te_tensor_list_add(list, &file.tensors.tensors[i]);
}

/* All shards that the index names, each once; names that occur twice are found by te_tensor_set_index(). */
static void
add_shards(TeArena *arena, const TeFolder *folder, const char *base, const TeJson *index, TeTensorList *list)
{
	const TeJson *map = te_json_get(index, "weight_map");
	TeStr	   *seen;
	size_t		n_seen = 0;

	if (map == NULL || map->kind != TE_JSON_OBJECT)
		te_throw(TE_ERR_CORRUPT, "model.safetensors.index.json has no \"weight_map\"");
	seen = te_new_array(arena, TeStr, TE_MIN(map->n, MAX_SHARDS));
	for (uint32_t i = 0; i < map->n; i++)
	{
		TeStr		name = map->items[i].kind == TE_JSON_STRING ? map->items[i].string : TE_STR("");
		const TeSource *source;
		size_t		j = 0;

		while (j < n_seen && !te_str_eq(seen[j], name))
			j++;
		if (j < n_seen)
			continue;
		source = te_folder_file(arena, folder, base, te_cstring(arena, name));
		if (source == NULL)
			te_throw(TE_ERR_MISSING, "folder \"%s\" has no file \"%.*s\", which its index names", folder->name,
					 TE_STR_ARGS(name));
		if (n_seen == MAX_SHARDS)
			te_throw(TE_ERR_CORRUPT, "model.safetensors.index.json names more than %d files", MAX_SHARDS);
		seen[n_seen++] = name;
		add_safetensors(source, list);
	}
}

static void
add_weights(TeArena *arena, const TeFolder *folder, const char *base, TeTensorList *list)
{
	const TeSource *single = te_folder_file(arena, folder, base, "model.safetensors");
	const TeJson *index = te_folder_json(arena, folder, base, "model.safetensors.index.json");
	bool		pickled = te_folder_file(arena, folder, base, "pytorch_model.bin") != NULL;

	if (single != NULL)
		add_safetensors(single, list);
	else if (index != NULL)
		add_shards(arena, folder, base, index, list);
	else if (pickled)
		te_throw_hint(TE_ERR_UNSUPPORTED, "A pickle can run any code when it is read.",
					  "Save the model with safe_serialization, which writes \"model.safetensors\".",
					  "folder \"%s\" has its weights in \"pytorch_model.bin\", which is not read", folder->name);
	else
		te_throw(TE_ERR_MISSING, "folder \"%s\" has no file \"model.safetensors\"", folder->name);
}

static bool
has_weights(TeArena *arena, const TeFolder *folder, const char *base)
{
	static const char *const names[] = {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"};

	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		if (te_folder_file(arena, folder, base, names[i]) != NULL)
			return true;
	}
	return false;
}

/* The tensors of a folder, and how the checkpoint names those of the encoder. */
typedef struct FolderTensors
{
	TeTensorSet set;
	bool	   *used;			/* by number in set */
	const char *prefix;
} FolderTensors;

static const TeTensorInfo *
find_prefixed(FolderTensors *tensors, TeArena *arena, const char *prefix, const char *name)
{
	static const char *const renamed[][2] = {
		{"LayerNorm.weight", "LayerNorm.gamma"},
		{"LayerNorm.bias", "LayerNorm.beta"},
	};
	TeStr		full = te_str(te_format(arena, "%s%s", prefix, name));
	const TeTensorInfo *found = te_tensor_find(&tensors->set, full);

	for (size_t i = 0; found == NULL && i < TE_LENGTH(renamed); i++)
	{
		if (te_str_ends(full, renamed[i][0]))
			found = te_tensor_find(&tensors->set,
								   te_str(te_format(arena, "%.*s%s", (int) (full.len - strlen(renamed[i][0])),
													full.data, renamed[i][1])));
	}
	return found;
}

/* With or without the prefix; marked as used. */
static const TeTensorInfo *
find_named(FolderTensors *tensors, TeArena *arena, const char *name)
{
	const TeTensorInfo *found = find_prefixed(tensors, arena, tensors->prefix, name);

	if (found == NULL)
		found = find_prefixed(tensors, arena, "", name);
	if (found != NULL)
		tensors->used[found - tensors->set.tensors] = true;
	return found;
}

/* A tensor that the folder has in parts; NULL where one of them is missing. */
static const TeTensorInfo *
find_parts(FolderTensors *tensors, TeArena *arena, const TeTensorSpec *spec)
{
	int64_t		n = spec->n_in / spec->part_size;
	TeTensorInfo *parts = te_new_array(arena, TeTensorInfo, n);
	TeTensorInfo *tensor = te_new(arena, TeTensorInfo);

	for (int64_t i = 0; i < n; i++)
	{
		const TeTensorInfo *found = find_named(tensors, arena, te_order_part_name(arena, spec, i));

		if (found == NULL)
			return NULL;
		parts[i] = *found;
	}
	*tensor = te_order_join(arena, spec, parts);
	return tensor;
}

static const TeTensorInfo *
find_in_folder(void *from, TeArena *arena, const TeTensorSpec *spec)
{
	const TeTensorInfo *found = find_named(from, arena, spec->name);
	const TeTensorInfo *alias = spec->alias != NULL ? find_named(from, arena, spec->alias) : NULL;
	const TeTensorInfo *stack = NULL;
	TeTensorInfo *tensor;

	if (found == NULL)
		found = alias;
	if (found == NULL && spec->folder_stack.name != NULL)
		stack = find_named(from, arena, spec->folder_stack.name);
	if (found == NULL && stack == NULL)
		return spec->part_size > 0 ? find_parts(from, arena, spec) : NULL;
	tensor = te_new(arena, TeTensorInfo);
	*tensor = found != NULL ? te_order_from_folder(arena, spec, found) : te_order_part(spec, &spec->folder_stack, stack);
	return tensor;
}

/* The prefix under which the first tensor of the encoder is found. */
static const char *
find_prefix(FolderTensors *tensors, TeArena *arena, const TeArch *arch, const TeConfig *config)
{
	TeTensorSpecs specs = {arena};

	arch->list_tensors(config, &specs);
	for (const char *const *prefix = arch->prefixes; *prefix != NULL; prefix++)
	{
		if (find_prefixed(tensors, arena, *prefix, specs.specs[0].name) != NULL)
			return *prefix;
	}
	return "";
}

/* What older checkpoints have besides weights: numbers of positions, masks, frequencies. */
static bool
is_buffer(TeStr name)
{
	static const char *const endings[] = {"position_ids", ".attn.bias", ".attention.bias", ".masked_bias", "rotary_emb.inv_freq"};

	for (size_t i = 0; i < TE_LENGTH(endings); i++)
	{
		if (te_str_ends(name, endings[i]))
			return true;
	}
	return false;
}

static void
report_unused(const FolderTensors *tensors)
{
	TeStr		first = {NULL, 0};
	int			n = 0;

	for (size_t i = 0; i < tensors->set.n; i++)
	{
		const TeTensorInfo *tensor = &tensors->set.tensors[i];

		if (tensors->used[i])
			continue;
		te_report(TE_DEBUG, "tensor \"%.*s\" is not used", TE_STR_ARGS(tensor->name));
		if (is_buffer(tensor->name))
			continue;
		if (n++ == 0)
			first = tensor->name;
	}
	if (n > 0)
		te_report(TE_NOTICE, "left out %d tensors that the encoder does not use, such as \"%.*s\"", n,
				  TE_STR_ARGS(first));
}

/* The pipeline, of a model that writes text with what texts begin and end with. */
static TeStr
folder_pipeline(TeModelDef *def, const TeImportOptions *options, const TeArch *arch, const TeJson *config, const TeJson *tokenizer,
				const TeFolder *folder, const char *base, TeTensorList *list)
{
	TeArena    *arena = list->arena;
	const TeJson *read = te_folder_pipeline(arena, folder, base, list);
	const TeJson *generation;
	TeJson	   *pipeline;

	if (te_folder_pools(arena, folder))
		def->task = TE_STR("embedding");
	if (te_head_kind(te_def_task(def, options, arch, config)) != TE_HEAD_CAUSAL)
		return te_json_text(arena, read, 0);
	generation = te_folder_generation(arena, folder, base, config, tokenizer);
	if (generation == NULL)
		return te_json_text(arena, read, 0);
	pipeline = te_json_new_object(arena);
	te_json_set_copy(arena, pipeline, read);
	te_json_set_copy(arena, te_json_add(arena, pipeline, "generation"), generation);
	return te_json_text(arena, pipeline, 0);
}

TeModelDef *
te_import_folder(TeArena *arena, const TeFolder *folder, const TeImportOptions *options)
{
	const char *base = te_folder_base(arena, folder);
	const TeJson *config_json = te_folder_json(arena, folder, base, "config.json");
	TeStr		model_type = te_json_str(config_json, "model_type", "");
	bool		tokenizer_only = options != NULL && te_str_is(options->task, "tokenizer");
	const TeJson *tokenizer = options != NULL ? options->tokenizer : NULL;
	TeTensorList list = {arena};
	FolderTensors tensors;
	const TeArch *arch;
	TeConfig	config;
	TeModelDef *def;

	if (tokenizer == NULL)
		tokenizer = folder_tokenizer(arena, folder, base, model_type);
	if (config_json == NULL && tokenizer == NULL)
		te_throw(TE_ERR_MISSING, "folder \"%s\" has neither \"config.json\" nor a tokenizer", folder->name);
	if (config_json == NULL && !tokenizer_only && has_weights(arena, folder, base))
		te_throw_hint(TE_ERR_MISSING, NULL, "For its tokenizer alone, import it with the task \"tokenizer\".",
					  "folder \"%s\" has weights but no \"config.json\"", folder->name);
	if (tokenizer_only && tokenizer == NULL)
		te_throw(TE_ERR_MISSING, "folder \"%s\" has no tokenizer", folder->name);
	if (config_json == NULL || tokenizer_only)
		return te_def_tokenizer(arena, tokenizer);
	if (tokenizer != NULL && te_folder_lower_case(arena, folder, base))
		tokenizer = with_lower_case(arena, tokenizer);

	arch = te_arch_by_model_type(model_type);
	memset(&config, 0, sizeof(config));
	arch->read_config(config_json, &config);
	def = te_new(arena, TeModelDef);
	def->architecture = te_str(arch->name);
	def->config = te_json_text(arena, te_folder_cross_encoder(arena, folder, config_json), 0);
	te_def_set_tokenizer(arena, def, tokenizer);
	add_weights(arena, folder, base, &list);
	def->pipeline = folder_pipeline(def, options, arch, config_json, tokenizer, folder, base, &list);

	memset(&tensors, 0, sizeof(tensors));
	tensors.set.n = list.n;
	tensors.set.tensors = list.tensors;
	te_tensor_set_index(arena, &tensors.set);
	tensors.used = te_new_array(arena, bool, list.n);
	tensors.prefix = find_prefix(&tensors, arena, arch, &config);
	te_def_assemble(arena, def, options, find_in_folder, &tensors);
	report_unused(&tensors);
	return def;
}
