/*-------------------------------------------------------------------------
 * import_pipeline.c
 *	  sentence-transformers' files of a folder as a pipeline (pipeline.c).
 *
 *	  modules.json						the modules in order, each with its folder
 *	  1_Pooling/config.json				pooling_mode, or one pooling_mode_*: bool for each mode
 *	  2_Dense/config.json				with model.safetensors: linear.weight, linear.bias
 *	  sentence_bert_config.json			max_seq_length, do_lower_case
 *	  config_sentence_transformers.json	prompts, default_prompt_name; activation_fn of a cross-encoder
 *
 * The order that is understood is the usual one: encoder, pooling, dense
 * layers, normalization.  Without modules.json the library takes the mean and
 * does not normalize; so do we.
 *
 * To add a module: a row of `modules`.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include "file/file.h"

/* Room for a JSON file that people write. */
#define MAX_JSON_BYTES ((size_t) 16 << 20)
/* Tokenizers say "no limit" with a number like 1e30. */
#define MAX_MODEL_LENGTH 1e9

typedef struct FolderPipeline
{
	TeArena    *arena;
	const TeFolder *folder;
	TeJson	   *pipeline;
	TeJson	   *dense;			/* array, filled as modules are read */
	uint32_t	n_dense;
	bool		pooled;
	bool		normalized;
	bool		keep_prompt;	/* pooling's include_prompt */
	TeTensorList *tensors;
} FolderPipeline;

const TeSource *
te_folder_file(TeArena *arena, const TeFolder *folder, const char *base, const char *name)
{
	if (base[0] == '\0')
		return te_folder_find(folder, name);
	return te_folder_find(folder, te_format(arena, "%s/%s", base, name));
}

const TeJson *
te_folder_json(TeArena *arena, const TeFolder *folder, const char *base, const char *name)
{
	const TeSource *source = te_folder_file(arena, folder, base, name);

	if (source == NULL)
		return NULL;
	return te_json_parse(arena, te_source_whole(arena, source, MAX_JSON_BYTES), source->name);
}

/* "sentence_transformers.models.Pooling" and newer, longer paths: the class is the last part. */
static TeStr
class_of(TeStr type)
{
	for (size_t i = type.len; i > 0; i--)
	{
		if (type.data[i - 1] == '.')
			return (TeStr) {type.data + i, type.len - i};
	}
	return type;
}

const char *
te_folder_base(TeArena *arena, const TeFolder *folder)
{
	const TeJson *modules = te_folder_json(arena, folder, "", "modules.json");

	if (modules == NULL || modules->kind != TE_JSON_ARRAY || modules->n == 0)
		return "";
	return te_cstring(arena, te_json_str(&modules->items[0], "path", ""));
}

bool
te_folder_pools(TeArena *arena, const TeFolder *folder)
{
	const TeJson *modules = te_folder_json(arena, folder, "", "modules.json");

	return modules != NULL && modules->kind == TE_JSON_ARRAY && modules->n > 1;
}

/* sentence_bert_config.json; older versions of the library put the family into the name. */
static const TeJson *
length_config(TeArena *arena, const TeFolder *folder, const char *base)
{
	static const char *const names[] = {
		"sentence_bert_config.json", "sentence_roberta_config.json", "sentence_distilbert_config.json",
		"sentence_camembert_config.json", "sentence_xlm-roberta_config.json",
	};

	for (size_t i = 0; i < TE_LENGTH(names); i++)
	{
		const TeJson *json = te_folder_json(arena, folder, base, names[i]);

		if (json != NULL)
			return json;
	}
	return NULL;
}

bool
te_folder_lower_case(TeArena *arena, const TeFolder *folder, const char *base)
{
	return te_json_bool(length_config(arena, folder, base), "do_lower_case", false);
}

static void
add_pooling(FolderPipeline *state, const char *path, TeJson *list, uint32_t i, TeStr hf)
{
	TePooling	pooling = te_pooling_by_hf(hf);

	if (pooling == TE_N_POOLINGS)
		te_throw(TE_ERR_UNSUPPORTED, "%s/config.json: pooling \"%.*s\" is not supported", path, TE_STR_ARGS(hf));
	te_json_set_str(&list->items[i], te_str(te_pooling_name(pooling)));
}

/* The modes that a config.json of pooling switches on, in the order in which they are concatenated. */
static uint32_t
pooling_flags(const TeJson *config, TeStr *modes, size_t max)
{
	static const struct
	{
		const char *key;
		const char *mode;
	}			flags[] = {
		{"pooling_mode_cls_token", "cls"},
		{"pooling_mode_max_tokens", "max"},
		{"pooling_mode_mean_tokens", "mean"},
		{"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens"},
		{"pooling_mode_weightedmean_tokens", "weightedmean"},
		{"pooling_mode_lasttoken", "lasttoken"},
	};
	uint32_t	n = 0;

	for (size_t i = 0; i < TE_LENGTH(flags) && n < max; i++)
	{
		if (te_json_bool(config, flags[i].key, false))
			modes[n++] = te_str(flags[i].mode);
	}
	if (n == 0)
		modes[n++] = TE_STR("mean");
	return n;
}

static void
read_pooling(FolderPipeline *state, const char *path)
{
	const TeJson *config = te_folder_json(state->arena, state->folder, path, "config.json");
	const TeJson *mode = te_json_get(config, "pooling_mode");
	TeStr		modes[8];
	uint32_t	n = 0;
	TeJson	   *list;

	if (state->pooled || state->n_dense > 0 || state->normalized)
		te_throw(TE_ERR_UNSUPPORTED, "modules.json: pooling must be the first module after the encoder");
	if (mode == NULL)
		n = pooling_flags(config, modes, TE_LENGTH(modes));
	else if (mode->kind == TE_JSON_STRING)
		modes[n++] = mode->string;
	else if (mode->kind == TE_JSON_ARRAY)
	{
		for (uint32_t i = 0; i < mode->n && n < TE_LENGTH(modes); i++)
			modes[n++] = mode->items[i].kind == TE_JSON_STRING ? mode->items[i].string : TE_STR("?");
	}
	list = te_json_new_array(state->arena, n);
	for (uint32_t i = 0; i < n; i++)
		add_pooling(state, path, list, i, modes[i]);
	te_json_set_copy(state->arena, te_json_add(state->arena, state->pipeline, "pooling"), list);
	state->keep_prompt = te_json_bool(config, "include_prompt", true);
	state->pooled = true;
}

/* A dense layer's tensors get the names <folder>.linear.weight and .bias. */
static void
read_dense_tensors(FolderPipeline *state, const char *path)
{
	const TeSource *source = te_folder_file(state->arena, state->folder, path, "model.safetensors");
	TeModelFile file;

	if (source == NULL)
		te_throw_hint(TE_ERR_MISSING, NULL, "Only safetensors files are read: convert \"pytorch_model.bin\" first.",
					  "folder \"%s\" has no file \"%s/model.safetensors\"", state->folder->name, path);
	te_safetensors_read(state->arena, source, &file);
	for (size_t i = 0; i < file.tensors.n; i++)
	{
		TeTensorInfo tensor = file.tensors.tensors[i];

		tensor.name = te_str(te_format(state->arena, "%s.%.*s", path, TE_STR_ARGS(tensor.name)));
		te_tensor_list_add(state->tensors, &tensor);
	}
}

static void
read_dense(FolderPipeline *state, const char *path)
{
	const TeJson *config = te_folder_json(state->arena, state->folder, path, "config.json");
	TeStr		class_name = te_json_str(config, "activation_function", "torch.nn.modules.activation.Tanh");
	TeActivation activation = te_dense_activation(class_name);
	TeJson	   *item;

	if (state->normalized)
		te_throw(TE_ERR_UNSUPPORTED, "modules.json: a dense layer after normalization is not supported");
	if (state->n_dense == TE_MAX_DENSE)
		te_throw(TE_ERR_UNSUPPORTED, "modules.json: more than %d dense layers are not supported", TE_MAX_DENSE);
	if (activation == TE_N_ACTIVATIONS)
		te_throw(TE_ERR_UNSUPPORTED, "%s/config.json: activation_function \"%.*s\" is not supported", path,
				 TE_STR_ARGS(class_name));
	if (te_json_bool(config, "use_residual", false))
		te_throw(TE_ERR_UNSUPPORTED, "%s/config.json: \"use_residual\" is not supported", path);

	item = &state->dense->items[state->n_dense++];
	te_json_set_copy(state->arena, item, te_json_new_object(state->arena));
	te_json_set_str(te_json_add(state->arena, item, "tensor"), te_str(te_format(state->arena, "%s.linear", path)));
	te_json_set_int(te_json_add(state->arena, item, "in"), te_json_int(config, "in_features", 0));
	te_json_set_int(te_json_add(state->arena, item, "out"), te_json_int(config, "out_features", 0));
	te_json_set_bool(te_json_add(state->arena, item, "bias"), te_json_bool(config, "bias", true));
	te_json_set_str(te_json_add(state->arena, item, "activation"), te_str(te_activation_name(activation)));
	read_dense_tensors(state, path);
}

static void
read_normalize(FolderPipeline *state, const char *path)
{
	state->normalized = true;
}

/* The encoder, and what only training does. */
static void
read_nothing(FolderPipeline *state, const char *path)
{
}

static const struct
{
	const char *class_name;
	void		(*read) (FolderPipeline *state, const char *path);
}			modules_table[] = {
	{"Transformer", read_nothing},
	{"Pooling", read_pooling},
	{"Dense", read_dense},
	{"Normalize", read_normalize},
	{"Dropout", read_nothing},
};

static void
read_module(FolderPipeline *state, const TeJson *module, bool first)
{
	TeStr		type = te_json_str(module, "type", "");
	TeStr		class_name = class_of(type);
	const char *path = te_cstring(state->arena, te_json_str(module, "path", ""));

	if (first && !te_str_is(class_name, "Transformer"))
		te_throw(TE_ERR_UNSUPPORTED, "modules.json: the first module must be a Transformer, not \"%.*s\"",
				 TE_STR_ARGS(type));
	for (size_t i = 0; i < TE_LENGTH(modules_table); i++)
	{
		if (te_str_is(class_name, modules_table[i].class_name))
		{
			modules_table[i].read(state, path);
			return;
		}
	}
	te_throw(TE_ERR_UNSUPPORTED, "modules.json: module \"%.*s\" is not supported", TE_STR_ARGS(type));
}

/* config_sentence_transformers.json.  An empty prompt is no prompt: newer versions write them for every model. */
static void
read_prompts(FolderPipeline *state)
{
	const TeJson *config = te_folder_json(state->arena, state->folder, "", "config_sentence_transformers.json");
	const TeJson *prompts = te_json_get(config, "prompts");
	TeStr		name = te_json_str(config, "default_prompt_name", NULL);
	TeJson	   *kept = te_json_new_object(state->arena);

	for (uint32_t i = 0; prompts != NULL && prompts->kind == TE_JSON_OBJECT && i < prompts->n; i++)
	{
		const TeJson *item = &prompts->items[i];

		if (item->kind != TE_JSON_STRING || item->string.len == 0)
			continue;
		te_json_set_str(te_json_add(state->arena, kept, te_cstring(state->arena, item->key)), item->string);
	}
	if (kept->n == 0)
		return;
	if (!state->keep_prompt)
		te_throw(TE_ERR_UNSUPPORTED, "pooling without the prompt's tokens (\"include_prompt\": false) is not supported");
	te_json_set_copy(state->arena, te_json_add(state->arena, state->pipeline, "prompts"), kept);
	if (name.data != NULL && te_json_get(kept, te_cstring(state->arena, name)) != NULL)
		te_json_set_str(te_json_add(state->arena, state->pipeline, "default_prompt"), name);
}

static void
read_max_tokens(FolderPipeline *state, const char *base)
{
	const TeJson *tokenizer = te_folder_json(state->arena, state->folder, base, "tokenizer_config.json");
	double		length = te_json_real(tokenizer, "model_max_length", MAX_MODEL_LENGTH);

	length = te_json_real(length_config(state->arena, state->folder, base), "max_seq_length", length);
	if (length >= 1 && length < MAX_MODEL_LENGTH)
		te_json_set_int(te_json_add(state->arena, state->pipeline, "max_tokens"), (int64_t) length);
}

const TeJson *
te_folder_pipeline(TeArena *arena, const TeFolder *folder, const char *base, TeTensorList *tensors)
{
	const TeJson *modules = te_folder_json(arena, folder, "", "modules.json");
	FolderPipeline state = {
		.arena = arena,
		.folder = folder,
		.pipeline = te_json_new_object(arena),
		.dense = te_json_new_array(arena, TE_MAX_DENSE),
		.keep_prompt = true,
		.tensors = tensors,
	};

	if (modules != NULL && modules->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "modules.json must be a list");
	for (uint32_t i = 0; modules != NULL && i < modules->n; i++)
		read_module(&state, &modules->items[i], i == 0);
	if (!state.pooled)
	{
		TeJson	   *list = te_json_new_array(arena, 1);

		te_json_set_str(&list->items[0], te_str(te_pooling_name(TE_POOL_MEAN)));
		te_json_set_copy(arena, te_json_add(arena, state.pipeline, "pooling"), list);
	}
	if (state.n_dense > 0)
	{
		state.dense->n = state.n_dense;
		te_json_set_copy(arena, te_json_add(arena, state.pipeline, "dense"), state.dense);
	}
	te_json_set_bool(te_json_add(arena, state.pipeline, "normalize"), state.normalized);
	read_max_tokens(&state, base);
	read_prompts(&state);
	return state.pipeline;
}

/* Where an older config.json has it, which is also where it is looked for without that file. */
const TeJson *
te_folder_cross_encoder(TeArena *arena, const TeFolder *folder, const TeJson *config)
{
	const TeJson *beside = te_folder_json(arena, folder, "", "config_sentence_transformers.json");
	TeStr		activation = te_json_str(beside, "activation_fn", NULL);
	TeJson	   *result;
	TeJson	   *noted;

	if (activation.data == NULL)
		return config;
	result = te_json_new_object(arena);
	noted = te_json_new_object(arena);
	te_json_set_copy(arena, result, config);
	te_json_set_str(te_json_add(arena, noted, "activation_fn"), activation);
	te_json_set_copy(arena, te_json_add(arena, result, "sentence_transformers"), noted);
	return result;
}
