/*-------------------------------------------------------------------------
 * head.c
 *	  Heads: what stands after the last layer of a model that does more than
 *	  embed.
 *
 * config.json says by its class ("architectures": ["BertForSequenceClassification"])
 * that the checkpoint has a head, and its family's file in arch/ says which
 * layers that head has.  So a head is a row here (kind, class, labels), one or
 * more tasks, and a row of TeArch.heads (layers); the computation is one for
 * all families: each layer is linear, an activation and perhaps a norm.  What
 * the layers are applied to is the task's (task_*.c): one row of each text,
 * all tokens, the mask tokens.
 *
 * In which of its forms a model is used is its task: "embedding" leaves the
 * head out, the others have it.  What the labels are called is config.json's
 * "id2label"; labels that a user gives at import are written into it, so that
 * it alone counts and an export has them.
 *
 * Tied layers.  What gives a word of the vocabulary is in most families the
 * word embeddings again.  te_linear() and te_gather() read the same weights, which lie as a
 * matrix's do, so that there is no second copy and training has one gradient.  The same tensor
 * under its other name, which many checkpoints carry, is an alias.
 *
 * Scores.  As transformers' pipeline has it: a sigmoid for several labels at a
 * time and for a single output, a softmax else, and the output itself for
 * regression.  A single output that is computed for a pair of texts is a
 * cross-encoder's: its activation is what sentence-transformers has noted in
 * config.json.
 *
 * To add a kind of head: TeHeadKind, a row of `kinds`, a row of `tasks`, rows
 * in the families that have it, and the task that computes it.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include <math.h>

#define GGUF_OUTPUT "cls.output.weight"
#define GGUF_WORDS "output.weight"	/* of a head that is not tied */

typedef void (*ReadLabels) (TeArena *arena, const TeJson *config, TeHead *into);

static void read_labels(TeArena *arena, const TeJson *config, TeHead *into);
static void read_pair_labels(TeArena *arena, const TeJson *config, TeHead *into);

static const struct
{
	const char *class_suffix;	/* of the class in "architectures" */
	const char *task;
	ReadLabels	read_labels;	/* NULL: outputs have no names */
	int			outputs;		/* as many as labels: 0; as the vocabulary has words: -1 */
	bool		exact;			/* the last layer is small and decisive */
}			kinds[TE_N_HEADS] = {
	[TE_HEAD_SEQUENCE] = {"ForSequenceClassification", "classification", read_labels, 0, true},
	[TE_HEAD_NEXT] = {"ForNextSentencePrediction", "next-sentence", read_pair_labels, 0, true},
	[TE_HEAD_TOKEN] = {"ForTokenClassification", "token-classification", read_labels, 0, true},
	[TE_HEAD_ANSWER] = {"ForQuestionAnswering", "question-answering", NULL, 2, true},
	[TE_HEAD_MASK] = {"ForMaskedLM", "fill-mask", NULL, -1, false},
	[TE_HEAD_CAUSAL] = {"ForCausalLM", "text-generation", NULL, -1, false},
};

/* Other names of tasks, which are taken at import. */
static const char *const synonyms[][2] = {
	{"text-classification", "classification"},
	{"sentiment-analysis", "classification"},
	{"ner", "token-classification"},
	{"masked-lm", "fill-mask"},
	{"causal-lm", "text-generation"},
	{"generation", "text-generation"},
	{"next-sentence-prediction", "next-sentence"},
	{"feature-extraction", "embedding"},
	{"sentence-similarity", "embedding"},
};

TeStr
te_task_name(TeStr task)
{
	for (size_t i = 0; i < TE_LENGTH(synonyms); i++)
	{
		if (te_str_is(task, synonyms[i][0]))
			return te_str(synonyms[i][1]);
	}
	return task;
}

TeHeadKind
te_head_kind(TeStr task)
{
	if (te_str_is(task, "embedding"))
		return TE_HEAD_NONE;
	if (te_str_is(task, "regression"))
		return TE_HEAD_SEQUENCE;
	for (int kind = TE_HEAD_NONE + 1; kind < TE_N_HEADS; kind++)
	{
		if (te_str_is(task, kinds[kind].task))
			return (TeHeadKind) kind;
	}
	return TE_N_HEADS;
}

const TeArchHead *
te_arch_head(const TeArch *arch, TeHeadKind kind)
{
	for (const TeArchHead *head = arch->heads; head != NULL && head->kind != TE_HEAD_NONE; head++)
	{
		if (head->kind == kind)
			return head;
	}
	return NULL;
}

/* The number of layers, all of them named but for the end of the list. */
static int
count_layers(const TeArchHead *head)
{
	int			n = 0;

	while (n < TE_MAX_HEAD_LAYERS && head->layers[n].name != NULL)
		n++;
	return n;
}

/* ---- classes ---- */

/* The class that config.json names; empty where it names none. */
static TeStr
config_class(const TeJson *config)
{
	const TeJson *list = te_json_get(config, "architectures");

	if (list == NULL || list->kind != TE_JSON_ARRAY || list->n == 0 || list->items[0].kind != TE_JSON_STRING)
		return TE_STR("");
	return list->items[0].string;
}

static bool
class_has_head(TeStr class_name, const TeArchHead *head)
{
	return te_str_ends(class_name, kinds[head->kind].class_suffix)
		|| (head->also_class != NULL && te_str_ends(class_name, head->also_class))
		|| (head->class_suffix != NULL && te_str_ends(class_name, head->class_suffix));
}

/* Where a class has several heads, the family's first is what it is for. */
TeStr
te_head_task(const TeArch *arch, const TeJson *config)
{
	TeStr		class_name = config_class(config);

	for (const TeArchHead *head = arch->heads; head != NULL && head->kind != TE_HEAD_NONE; head++)
	{
		if (!class_has_head(class_name, head))
			continue;
		if (head->kind == TE_HEAD_SEQUENCE && te_str_is(te_json_str(config, "problem_type", ""), "regression"))
			return TE_STR("regression");
		return te_str(kinds[head->kind].task);
	}
	return TE_STR("embedding");
}

bool
te_head_in_class(const TeArch *arch, const TeJson *config, TeHeadKind kind)
{
	const TeArchHead *head = te_arch_head(arch, kind);

	return head != NULL && class_has_head(config_class(config), head);
}

const char *
te_head_class(TeArena *arena, const TeArch *arch, const TeJson *config, TeHeadKind kind)
{
	const TeModelType *type = te_arch_model_type(arch, config);
	const char *bare = type->class_name;
	const TeArchHead *head = te_arch_head(arch, kind);
	const char *suffix = head != NULL && head->class_suffix != NULL ? head->class_suffix : kinds[kind].class_suffix;

	if (kind == TE_HEAD_NONE)
		return bare;
	if (kind == TE_HEAD_CAUSAL && type->causal_name != NULL)
		return type->causal_name;
	te_assert(te_str_ends(te_str(bare), "Model"));
	return te_format(arena, "%.*s%s", (int) (strlen(bare) - strlen("Model")), bare, suffix);
}

const TeJson *
te_head_with_class(TeArena *arena, const TeArch *arch, const TeJson *config, TeHeadKind kind)
{
	TeJson	   *result = te_json_new_object(arena);
	TeJson	   *list = te_json_new_array(arena, 1);

	te_json_set_copy(arena, result, config);
	if (kind != TE_HEAD_NONE && te_head_in_class(arch, config, kind))
		return result;
	te_json_set_str(&list->items[0], te_str(te_head_class(arena, arch, config, kind)));
	te_json_set_copy(arena, te_json_add(arena, result, "architectures"), list);
	return result;
}

/* ---- labels ---- */

/* "LABEL_0", ...: what transformers calls labels without names. */
static void
name_labels(TeArena *arena, TeStr *labels, int32_t n)
{
	for (int32_t i = 0; i < n; i++)
		labels[i] = te_str(te_format(arena, "LABEL_%d", (int) i));
}

/* The number that a key of "id2label" is; -1: none of [0, n). */
static int64_t
label_number(TeStr key, int64_t n)
{
	int64_t		number = 0;

	for (size_t i = 0; i < key.len; i++)
	{
		if (key.data[i] < '0' || key.data[i] > '9' || number >= n)
			return -1;
		number = number * 10 + (key.data[i] - '0');
	}
	return key.len > 0 && number < n ? number : -1;
}

static bool
has_labels(const TeJson *config)
{
	const TeJson *names = te_json_get(config, "id2label");

	return names != NULL && names->kind == TE_JSON_OBJECT && names->n > 0;
}

static void
read_labels(TeArena *arena, const TeJson *config, TeHead *into)
{
	const TeJson *names = te_json_get(config, "id2label");
	bool		named = has_labels(config);
	int64_t		n = named ? (int64_t) names->n : te_json_int_range(config, "num_labels", 2, 1, TE_MAX_LABELS);
	TeStr	   *labels;

	if (n > TE_MAX_LABELS)
		te_throw(TE_ERR_CORRUPT, "\"id2label\" has %lld labels, more than %d", (long long) n, TE_MAX_LABELS);
	labels = te_new_array(arena, TeStr, n);
	into->n_labels = (int32_t) n;
	into->labels = labels;
	if (!named)
	{
		name_labels(arena, labels, into->n_labels);
		return;
	}
	for (uint32_t i = 0; i < names->n; i++)
	{
		const TeJson *item = &names->items[i];
		int64_t		number = label_number(item->key, n);

		if (number < 0 || item->kind != TE_JSON_STRING || labels[number].data != NULL)
			te_throw(TE_ERR_CORRUPT, "\"id2label\" must name the labels 0 to %lld, each once", (long long) n - 1);
		labels[number] = item->string;
	}
}

/* Those of a pair of texts, where config.json has none. */
static void
read_pair_labels(TeArena *arena, const TeJson *config, TeHead *into)
{
	static const TeStr pair_labels[] = {{"is_next", 7}, {"not_next", 8}};

	into->n_labels = TE_LENGTH(pair_labels);
	into->labels = pair_labels;
	if (!has_labels(config))
		return;
	read_labels(arena, config, into);
	if (into->n_labels != TE_LENGTH(pair_labels))
		te_throw_hint(TE_ERR_CORRUPT, "A head for next sentences has two outputs.",
					  "Correct config.json: name the two, the one for a text that follows first, or leave \"id2label\" out.",
					  "\"id2label\" must have 2 labels, not %d", (int) into->n_labels);
}

const TeJson *
te_head_relabel(TeArena *arena, const TeJson *config, const TeStr *labels, int n)
{
	TeJson	   *result = te_json_new_object(arena);
	TeJson	   *names = te_json_new_object(arena);
	TeJson	   *numbers = te_json_new_object(arena);

	for (int i = 0; i < n; i++)
	{
		te_json_set_str(te_json_add(arena, names, te_format(arena, "%d", i)), labels[i]);
		te_json_set_int(te_json_add(arena, numbers, te_cstring(arena, labels[i])), i);
	}
	te_json_set_copy(arena, result, config);
	te_json_set_copy(arena, te_json_add(arena, result, "id2label"), names);
	te_json_set_copy(arena, te_json_add(arena, result, "label2id"), numbers);
	return result;
}

/* ---- definitions ---- */

static TE_NORETURN void
throw_task(TeArena *arena, TeStr task)
{
	const char *list = "\"embedding\", \"regression\"";

	for (int kind = TE_HEAD_NONE + 1; kind < TE_N_HEADS; kind++)
		list = te_format(arena, "%s, \"%s\"", list, kinds[kind].task);
	te_throw_hint(TE_ERR_UNSUPPORTED, NULL, te_format(arena, "Use one of %s, or leave it out.", list),
				  "task \"%.*s\" is not supported", TE_STR_ARGS(task));
}

static TeScoring
choose_scoring(TeStr task, TeHeadKind kind, const TeJson *config, int32_t n_labels)
{
	if (te_str_is(task, "regression"))
		return TE_SCORE_IDENTITY;
	if (kind == TE_HEAD_SEQUENCE
		&& (n_labels == 1 || te_str_is(te_json_str(config, "problem_type", ""), "multi_label_classification")))
		return TE_SCORE_SIGMOID;
	return TE_SCORE_SOFTMAX;
}

/* What sentence-transformers calls the classes of torch.nn by.  What it does not trust, it does not use either. */
static TeScoring
choose_pair_scoring(TeStr task, const TeJson *config)
{
	TeStr		before = te_json_str(config, "sbert_ce_default_activation_function", "");
	TeStr		name = te_json_str(te_json_get(config, "sentence_transformers"), "activation_fn", NULL);

	if (name.data == NULL)
		name = before;
	if (name.len > 6 && memcmp(name.data, "torch.", 6) == 0)
	{
		if (te_str_ends(name, ".Identity"))
			return TE_SCORE_IDENTITY;
		if (te_str_ends(name, ".Sigmoid"))
			return TE_SCORE_SIGMOID;
		te_throw(TE_ERR_UNSUPPORTED, "activation \"%.*s\" of a cross-encoder is not supported", TE_STR_ARGS(name));
	}
	return te_str_is(task, "regression") ? TE_SCORE_IDENTITY : TE_SCORE_SIGMOID;
}

/* The family's row of that kind for this configuration. */
static int32_t
find_row(const TeArch *arch, TeStr task, TeHeadKind kind, const TeJson *config)
{
	for (int32_t i = 0; arch->heads != NULL && arch->heads[i].kind != TE_HEAD_NONE; i++)
	{
		const TeArchHead *head = &arch->heads[i];

		if (head->kind == kind && (head->flag == NULL || te_json_bool(config, head->flag, true)))
			return i;
	}
	te_throw(TE_ERR_UNSUPPORTED, "architecture \"%s\" is not supported for the task \"%.*s\"", arch->name,
			 TE_STR_ARGS(task));
}

static TePooling
read_pooling(const TeArchHead *head, const TeJson *config)
{
	const char *usual = head->last ? "last" : "cls";
	TeStr		name = head->pooling_key == NULL ? te_str(usual) : te_json_str(config, head->pooling_key, usual);
	TePooling	pooling = te_pooling_by_name(name);

	if (pooling == TE_N_POOLINGS)
		te_throw(TE_ERR_UNSUPPORTED, "\"%s\": \"%.*s\" is not supported", head->pooling_key, TE_STR_ARGS(name));
	return pooling;
}

void
te_head_read(TeArena *arena, const TeArch *arch, TeStr task, const TeJson *config, TeHead *into)
{
	TeHeadKind	kind = te_head_kind(task);
	const TeArchHead *head;

	memset(into, 0, sizeof(*into));
	if (kind == TE_N_HEADS)
		throw_task(arena, task);
	if (kind == TE_HEAD_NONE)
		return;
	into->kind = kind;
	into->row = find_row(arch, task, kind, config);
	head = &arch->heads[into->row];
	if (kinds[kind].read_labels != NULL)
		kinds[kind].read_labels(arena, config, into);
	into->scoring = choose_scoring(task, kind, config, into->n_labels);
	into->pair_scoring = kind == TE_HEAD_SEQUENCE && into->n_labels == 1 ? choose_pair_scoring(task, config) : into->scoring;
	into->pooling = read_pooling(head, config);
	into->tied = te_json_bool(config, "tie_word_embeddings", !head->untied || te_arch_model_type(arch, config)->tied);
	for (int i = 0; i < count_layers(head); i++)
	{
		const TeHeadLayer *layer = &head->layers[i];
		bool		named = layer->activation_key != NULL && te_json_get(config, layer->activation_key) != NULL;

		into->activations[i] = named ? te_config_activation(config, layer->activation_key) : layer->activation;
	}
}

bool
te_head_names_outputs(TeHeadKind kind)
{
	return kinds[kind].read_labels != NULL;
}

int32_t
te_head_outputs(const TeHead *head, const TeConfig *config)
{
	int			outputs = kinds[head->kind].outputs;

	return outputs > 0 ? outputs : outputs < 0 ? config->vocab_size : head->n_labels;
}

/* ---- tensors ---- */

/* What a layer's tensors are called in a model, and their widths. */
typedef struct LayerTensors
{
	bool		tied;
	const char *weight;			/* the tensor that it is tied to, where it is */
	const char *own_weight;		/* its own */
	const char *bias;
	const char *bias_alias;		/* NULL: none */
	int64_t		n_out;
	int64_t		n_in;
} LayerTensors;

static LayerTensors
layer_tensors(TeArena *arena, const TeHead *head, const TeHeadLayer *layer, const TeConfig *config, int64_t n_in)
{
	LayerTensors tensors = {.n_in = n_in, .tied = layer->tied_to != NULL && head->tied};
	const char *own_bias = te_format(arena, "%s.bias", layer->name);
	const int64_t widths[] = {
		[TE_WIDTH_HIDDEN] = config->hidden_size,
		[TE_WIDTH_EMBEDDING] = config->embedding_size,
		[TE_WIDTH_OUTPUTS] = te_head_outputs(head, config),
	};

	tensors.own_weight = te_format(arena, "%s.weight", layer->name);
	tensors.weight = tensors.tied ? layer->tied_to : tensors.own_weight;
	tensors.bias = tensors.tied && layer->tied_bias != NULL ? layer->tied_bias : own_bias;
	if (layer->tied_bias != NULL)
		tensors.bias_alias = tensors.tied ? own_bias : layer->tied_bias;
	tensors.n_out = widths[layer->width];
	return tensors;
}

static TeTensorSpec *
find_spec(TeTensorSpecs *specs, const char *name)
{
	for (size_t i = 0; i < specs->n; i++)
	{
		if (strcmp(specs->specs[i].name, name) == 0)
			return &specs->specs[i];
	}
	return NULL;
}

/* An encoder's tensor that nothing reads gives its name in GGUF to the head's. */
static void
free_gguf_name(TeTensorSpecs *specs, const char *gguf_name)
{
	for (size_t i = 0; gguf_name != NULL && i < specs->n; i++)
	{
		TeTensorSpec *spec = &specs->specs[i];

		if (!spec->optional || spec->gguf_name == NULL || strcmp(spec->gguf_name, gguf_name) != 0)
			continue;
		memmove(spec, spec + 1, (specs->n - i - 1) * sizeof(TeTensorSpec));
		specs->n--;
		return;
	}
}

/* Append one tensor.  One that the encoder lists too (BERT's pooler) is required now. */
static TeTensorSpec *
list_tensor(TeTensorSpecs *specs, TeRole role, int64_t n_out, int64_t n_in, const char *name, const char *gguf_name)
{
	TeTensorSpec *spec = find_spec(specs, name);

	if (spec != NULL)
	{
		spec->optional = false;
		return spec;
	}
	free_gguf_name(specs, gguf_name);
	spec = te_specs_add(specs, role, n_out, n_in, false, "", NULL, 0);
	spec->name = name;
	spec->gguf_name = gguf_name;
	return spec;
}

static const char *
member_name(TeArena *arena, const char *name, const char *member)
{
	return name == NULL ? NULL : te_format(arena, "%s.%s", name, member);
}

static void
list_layer(TeTensorSpecs *specs, const TeHeadLayer *layer, const LayerTensors *tensors, const TeConfig *config, bool exact)
{
	TeArena    *arena = specs->arena;
	TeTensorSpec *spec;

	if (tensors->tied)
	{
		spec = list_tensor(specs, TE_ROLE_EMBEDDING, tensors->n_out, tensors->n_in, tensors->weight, NULL);
		spec->alias = tensors->own_weight;
		spec->multiplied = true;
	}
	else
		list_tensor(specs, TE_ROLE_LINEAR, tensors->n_out, tensors->n_in, tensors->weight,
					member_name(arena, layer->gguf_name, "weight"))->exact = exact;
	spec = list_tensor(specs, TE_ROLE_VECTOR, 1, tensors->n_out, tensors->bias, member_name(arena, layer->gguf_name, "bias"));
	spec->alias = tensors->bias_alias;
	spec->optional = layer->bias_optional;
	spec->rare = layer->bias_rare;
	if (layer->norm == NULL)
		return;
	list_tensor(specs, TE_ROLE_VECTOR, 1, tensors->n_out, member_name(arena, layer->norm, "weight"),
				member_name(arena, layer->norm_gguf_name, "weight"));
	spec = list_tensor(specs, TE_ROLE_VECTOR, 1, tensors->n_out, member_name(arena, layer->norm, "bias"),
					   member_name(arena, layer->norm_gguf_name, "bias"));
	spec->optional = layer->bias_optional;
	spec->rare = layer->bias_rare && !config->norm_bias;
}

void
te_head_list_tensors(const TeArch *arch, const TeHead *head, const TeConfig *config, TeTensorSpecs *specs)
{
	int64_t		width = config->hidden_size;

	if (head->kind == TE_HEAD_NONE)
		return;
	for (int i = 0; i < count_layers(&arch->heads[head->row]); i++)
	{
		const TeHeadLayer *layer = &arch->heads[head->row].layers[i];
		LayerTensors tensors = layer_tensors(specs->arena, head, layer, config, width);

		list_layer(specs, layer, &tensors, config, layer->width == TE_WIDTH_OUTPUTS && kinds[head->kind].exact);
		width = tensors.n_out;
	}
}

/* ---- attached models ---- */

/* A tensor of the image; NULL where it may be absent and is. */
static const TeWeight *
bind_tensor(const TeModel *model, const char *name, int64_t n_out, int64_t n_in, bool optional)
{
	const TeWeight *weight = te_model_weight(model, te_str(name));

	if (weight == NULL && optional)
		return NULL;
	if (weight == NULL || weight->n_out != n_out || weight->n_in != n_in)
		te_throw(TE_ERR_CORRUPT, "model image has no tensor \"%s\" of the right shape", name);
	return weight;
}

/* The row that the image says, checked. */
static const TeArchHead *
model_row(const TeModel *model)
{
	const TeHead *head = te_model_head(model);
	const TeArchHead *rows = te_model_arch(model)->heads;

	for (int32_t i = 0; rows != NULL && rows[i].kind != TE_HEAD_NONE; i++)
	{
		if (i == head->row && rows[i].kind == head->kind)
			return &rows[i];
	}
	te_throw(TE_ERR_CORRUPT, "model image has a head that its architecture does not know");
}

void
te_head_bind(TeArena *arena, const TeModel *model, TeHeadWeights *into)
{
	const TeHead *head = te_model_head(model);
	const TeConfig *config = te_model_config(model);
	int64_t		width = config->hidden_size;
	const TeArchHead *row;

	if (head->kind == TE_HEAD_NONE)
		return;
	row = model_row(model);
	for (int i = 0; i < count_layers(row); i++)
	{
		const TeHeadLayer *layer = &row->layers[i];
		LayerTensors tensors = layer_tensors(arena, head, layer, config, width);

		into[i].operand.matrix = bind_tensor(model, tensors.weight, tensors.n_out, width, false);
		into[i].operand.bias = bind_tensor(model, tensors.bias, 1, tensors.n_out, layer->bias_optional);
		width = tensors.n_out;
		if (layer->norm == NULL)
			continue;
		into[i].gamma = bind_tensor(model, member_name(arena, layer->norm, "weight"), 1, width, false);
		into[i].beta = bind_tensor(model, member_name(arena, layer->norm, "bias"), 1, width, layer->bias_optional);
	}
}

TeNode *
te_head_forward(TeGraph *graph, const TeModel *model, TeNode *x)
{
	const TeHead *head = te_model_head(model);
	int			n = count_layers(&te_model_arch(model)->heads[head->row]);

	for (int i = 0; i < n; i++)
	{
		const TeHeadWeights *weights = te_model_head_layer(model, i);

		x = te_linear(graph, x, &weights->operand, 1, head->activations[i]);
		if (weights->gamma != NULL)
			x = te_layer_norm(graph, x, NULL, weights->gamma, weights->beta, te_model_config(model)->norm_eps);
	}
	if (head->kind == TE_HEAD_CAUSAL && te_model_config(model)->logit_cap != 0)
		x = te_softcap(graph, x, te_model_config(model)->logit_cap);
	return x;
}

/* ---- GGUF ---- */

void
te_head_to_gguf(TeArena *arena, const TeDefParts *parts, TeJson *meta)
{
	const TeHead *head = &parts->head;
	const TeHeadLayer *first = &parts->arch->heads[head->row].layers[0];
	TeJson	   *labels = te_json_new_array(arena, head->n_labels);

	if (head->kind == TE_HEAD_CAUSAL)
		return;
	for (int32_t i = 0; i < head->n_labels; i++)
		te_json_set_str(&labels->items[i], head->labels[i]);
	te_json_set_copy(arena, te_json_add(arena, meta, te_format(arena, "%s.classifier.output_labels",
															   parts->gguf_name)), labels);
	if (head->kind != TE_HEAD_SEQUENCE)
		te_report(TE_NOTICE, "llama.cpp knows no heads for the task \"%s\": the file can be imported here only",
				  kinds[head->kind].task);
	else if (first->width != TE_WIDTH_OUTPUTS && head->activations[0] != TE_ACT_TANH)
		te_report(TE_NOTICE, "llama.cpp computes heads of this kind with tanh only, not with \"%s\"",
				  te_activation_name(head->activations[0]));
}

static void
set_class(TeArena *arena, const TeArch *arch, TeHeadKind kind, TeJson *config)
{
	TeJson	   *list = te_json_new_array(arena, 1);

	te_json_set_str(&list->items[0], te_str(te_head_class(arena, arch, config, kind)));
	te_json_set_copy(arena, te_json_add(arena, config, "architectures"), list);
}

/* A decoder writes text, but where the file says how texts are pooled. */
static void
causal_from_gguf(TeArena *arena, const TeModelFile *file, const TeArch *arch, TeJson *config)
{
	if (te_arch_head(arch, TE_HEAD_CAUSAL) == NULL
		|| te_json_get(file->meta, te_format(arena, "%s.pooling_type", te_arch_gguf_name(arch, config))) != NULL)
		return;
	set_class(arena, arch, TE_HEAD_CAUSAL, config);
	te_json_set_bool(te_json_add(arena, config, "tie_word_embeddings"),
					 te_tensor_find(&file->tensors, TE_STR(GGUF_WORDS)) == NULL);
}

void
te_head_from_gguf(TeArena *arena, const TeModelFile *file, const TeArch *arch, TeJson *config)
{
	const char *name = te_arch_gguf_name(arch, config);
	const TeTensorInfo *output = te_tensor_find(&file->tensors, TE_STR(GGUF_OUTPUT));
	const TeJson *labels = te_json_get(file->meta, te_format(arena, "%s.classifier.output_labels", name));
	TeJson	   *names = te_json_new_object(arena);
	int64_t		n;

	if (output == NULL)
		causal_from_gguf(arena, file, arch, config);
	if (output == NULL || te_arch_head(arch, TE_HEAD_SEQUENCE) == NULL)
		return;
	n = output->n_dims == 2 ? output->dims[0] : 1;
	set_class(arena, arch, TE_HEAD_SEQUENCE, config);
	te_json_set_int(te_json_add(arena, config, "num_labels"), n);
	if (labels == NULL || labels->kind != TE_JSON_ARRAY || (int64_t) labels->n != n || n > TE_MAX_LABELS)
		return;
	for (uint32_t i = 0; i < labels->n; i++)
		te_json_set_copy(arena, te_json_add(arena, names, te_format(arena, "%u", (unsigned) i)), &labels->items[i]);
	te_json_set_copy(arena, te_json_add(arena, config, "id2label"), names);
}

/* ---- scores ---- */

static float
sigmoid(float x)
{
	return (float) (1 / (1 + exp(-(double) x)));
}

void
te_softmax(const float *logits, float *scores, int n)
{
	float		largest = logits[0];
	double		sum = 0;

	for (int i = 1; i < n; i++)
		largest = TE_MAX(largest, logits[i]);
	for (int i = 0; i < n; i++)
		sum += exp((double) logits[i] - largest);
	for (int i = 0; i < n; i++)
		scores[i] = (float) (exp((double) logits[i] - largest) / sum);
}

static void
make_scores(TeScoring scoring, const float *logits, float *scores, int n)
{
	switch (scoring)
	{
		case TE_SCORE_SOFTMAX:
			te_softmax(logits, scores, n);
			return;
		case TE_SCORE_SIGMOID:
			for (int i = 0; i < n; i++)
				scores[i] = sigmoid(logits[i]);
			return;
		case TE_SCORE_IDENTITY:
			memcpy(scores, logits, n * sizeof(float));
			return;
	}
	te_throw(TE_ERR_INTERNAL, "scoring %d is not known", (int) scoring);
}

void
te_model_scores(const TeModel *model, const float *logits, float *scores)
{
	const TeHead *head = te_model_head(model);

	make_scores(head->scoring, logits, scores, head->n_labels);
}

void
te_model_pair_scores(const TeModel *model, const float *logits, float *scores)
{
	const TeHead *head = te_model_head(model);

	make_scores(head->pair_scoring, logits, scores, head->n_labels);
}

bool
te_model_multi_label(const TeModel *model)
{
	const TeHead *head = te_model_head(model);

	return head->scoring == TE_SCORE_SIGMOID && head->n_labels > 1;
}

int
te_model_labels(const TeModel *model)
{
	return te_model_head(model)->n_labels;
}

TeStr
te_model_label(const TeModel *model, int i)
{
	te_assert(i >= 0 && i < te_model_head(model)->n_labels);
	return te_model_head(model)->labels[i];
}
