/*-------------------------------------------------------------------------
 * head.c
 *	  Heads: what stands after the last layer of a model that gives labels.
 *
 * config.json says by its class ("architectures": ["BertForSequenceClassification"])
 * that the checkpoint has a head, and its family's file in arch/ says which
 * layers that head has.  So a head is a row here (class, kind, task) and a row
 * of TeArch.heads (layers); the computation, linear layers on one row of each
 * text, is one for all families (task_classify.c).
 *
 * Which of its two forms a model is used in is its task: "embedding" leaves
 * the head out, "classification" and "regression" have it.  What the labels
 * are called is config.json's "id2label"; labels that a user gives at import
 * are written into it, so that it alone counts and an export has them.
 *
 * Scores.  As transformers' pipeline has it: a sigmoid for several labels at a
 * time and for a single output, a softmax else, and the output itself for
 * regression.  A single output that is computed for a pair of texts is a
 * cross-encoder's: its activation is what sentence-transformers has noted in
 * config.json.
 *
 * To add a kind of head: a row of `heads` with its task, a row in the families
 * that have it, and a task (model/task_<name>.c) that computes it.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#include <math.h>

#define GGUF_OUTPUT "cls.output.weight"

/* Where one class serves several tasks, the first is what it is for. */
static const struct
{
	const char *suffix;			/* of the class in "architectures" */
	TeHeadKind	kind;
	const char *task;
}			heads[] = {
	{"ForSequenceClassification", TE_HEAD_SEQUENCE, "classification"},
	{"ForSequenceClassification", TE_HEAD_SEQUENCE, "regression"},
};

static const char *
class_suffix(TeHeadKind kind)
{
	for (size_t i = 0; i < TE_LENGTH(heads); i++)
	{
		if (heads[i].kind == kind)
			return heads[i].suffix;
	}
	te_throw(TE_ERR_INTERNAL, "head %d has no class", (int) kind);
}

const TeHeadLayer *
te_arch_head(const TeArch *arch, TeHeadKind kind)
{
	for (const TeArchHead *head = arch->heads; head != NULL && head->kind != TE_HEAD_NONE; head++)
	{
		if (head->kind == kind)
			return head->layers;
	}
	return NULL;
}

/* The class that config.json names; empty where it names none. */
static TeStr
config_class(const TeJson *config)
{
	const TeJson *list = te_json_get(config, "architectures");

	if (list == NULL || list->kind != TE_JSON_ARRAY || list->n == 0 || list->items[0].kind != TE_JSON_STRING)
		return TE_STR("");
	return list->items[0].string;
}

TeStr
te_head_task(const TeArch *arch, const TeJson *config)
{
	TeStr		class_name = config_class(config);

	for (size_t i = 0; i < TE_LENGTH(heads); i++)
	{
		if (!te_str_ends(class_name, heads[i].suffix) || te_arch_head(arch, heads[i].kind) == NULL)
			continue;
		if (heads[i].kind == TE_HEAD_SEQUENCE && te_str_is(te_json_str(config, "problem_type", ""), "regression"))
			return TE_STR("regression");
		return te_str(heads[i].task);
	}
	return TE_STR("embedding");
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

static void
read_labels(TeArena *arena, const TeJson *config, TeHead *into)
{
	const TeJson *names = te_json_get(config, "id2label");
	bool		named = names != NULL && names->kind == TE_JSON_OBJECT && names->n > 0;
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
throw_task(TeStr task)
{
	te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Use \"embedding\", \"classification\" or \"regression\", or leave it out.",
				  "task \"%.*s\" is not supported", TE_STR_ARGS(task));
}

static TeScoring
choose_scoring(TeStr task, const TeJson *config, int32_t n_labels)
{
	if (te_str_is(task, "regression"))
		return TE_SCORE_IDENTITY;
	if (n_labels == 1 || te_str_is(te_json_str(config, "problem_type", ""), "multi_label_classification"))
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

void
te_head_read(TeArena *arena, const TeArch *arch, TeStr task, const TeJson *config, TeHead *into)
{
	memset(into, 0, sizeof(*into));
	if (te_str_is(task, "embedding"))
		return;
	for (size_t i = 0; i < TE_LENGTH(heads); i++)
	{
		if (te_str_is(task, heads[i].task))
			into->kind = heads[i].kind;
	}
	if (into->kind == TE_HEAD_NONE)
		throw_task(task);
	if (te_arch_head(arch, into->kind) == NULL)
		te_throw(TE_ERR_UNSUPPORTED, "architecture \"%s\" is not supported for the task \"%.*s\"", arch->name,
				 TE_STR_ARGS(task));
	read_labels(arena, config, into);
	into->scoring = choose_scoring(task, config, into->n_labels);
	into->pair_scoring = into->n_labels == 1 ? choose_pair_scoring(task, config) : into->scoring;
}

/*
 * Append one tensor of a layer.  A layer that the encoder lists too (BERT's
 * pooler) is required now; an encoder's tensor that nothing reads gives its
 * name in GGUF to the head's.
 */
static void
list_tensor(TeTensorSpecs *specs, const TeHeadLayer *layer, const char *member, TeRole role, int64_t n_out, int64_t n_in)
{
	const char *name = te_format(specs->arena, "%s.%s", layer->name, member);
	const char *gguf_name = te_format(specs->arena, "%s.%s", layer->gguf_name, member);
	TeTensorSpec *spec;

	for (size_t i = 0; i < specs->n; i++)
	{
		spec = &specs->specs[i];
		if (strcmp(spec->name, name) == 0)
		{
			spec->optional = false;
			return;
		}
		if (spec->optional && spec->gguf_name != NULL && strcmp(spec->gguf_name, gguf_name) == 0)
		{
			memmove(spec, spec + 1, (specs->n - i - 1) * sizeof(TeTensorSpec));
			specs->n--;
			break;
		}
	}
	spec = te_specs_add(specs, role, n_out, n_in, false, "", NULL, 0);
	spec->name = name;
	spec->gguf_name = gguf_name;
	spec->exact = layer->to_labels;
}

void
te_head_list_tensors(const TeArch *arch, const TeHead *head, const TeConfig *config, TeTensorSpecs *specs)
{
	if (head->kind == TE_HEAD_NONE)
		return;
	for (const TeHeadLayer *layer = te_arch_head(arch, head->kind); layer->name != NULL; layer++)
	{
		int64_t		n_out = layer->to_labels ? head->n_labels : config->hidden_size;

		list_tensor(specs, layer, "weight", TE_ROLE_LINEAR, n_out, config->hidden_size);
		list_tensor(specs, layer, "bias", TE_ROLE_VECTOR, 1, n_out);
	}
}

const char *
te_head_class(TeArena *arena, const TeArch *arch, const TeJson *config, TeHeadKind kind)
{
	const char *bare = te_arch_class(arch, config);

	if (kind == TE_HEAD_NONE)
		return bare;
	te_assert(te_str_ends(te_str(bare), "Model"));
	return te_format(arena, "%.*s%s", (int) (strlen(bare) - strlen("Model")), bare, class_suffix(kind));
}

/* ---- GGUF ---- */

void
te_head_to_gguf(TeArena *arena, const TeDefParts *parts, TeJson *meta)
{
	const TeHeadLayer *first = te_arch_head(parts->arch, parts->head.kind);
	TeJson	   *labels = te_json_new_array(arena, parts->head.n_labels);

	for (int32_t i = 0; i < parts->head.n_labels; i++)
		te_json_set_str(&labels->items[i], parts->head.labels[i]);
	te_json_set_copy(arena, te_json_add(arena, meta, te_format(arena, "%s.classifier.output_labels",
															   parts->arch->gguf_name)), labels);
	if (!first->to_labels && first->activation != TE_ACT_TANH)
		te_report(TE_NOTICE, "llama.cpp computes heads of this kind with tanh only, not with \"%s\"",
				  te_activation_name(first->activation));
}

void
te_head_from_gguf(TeArena *arena, const TeModelFile *file, const TeArch *arch, TeJson *config)
{
	const TeTensorInfo *output = te_tensor_find(&file->tensors, TE_STR(GGUF_OUTPUT));
	const TeJson *labels = te_json_get(file->meta, te_format(arena, "%s.classifier.output_labels", arch->gguf_name));
	TeJson	   *names = te_json_new_object(arena);
	TeJson	   *list = te_json_new_array(arena, 1);
	int64_t		n;

	if (output == NULL || te_arch_head(arch, TE_HEAD_SEQUENCE) == NULL)
		return;
	n = output->n_dims == 2 ? output->dims[0] : 1;
	te_json_set_str(&list->items[0], te_str(te_head_class(arena, arch, config, TE_HEAD_SEQUENCE)));
	te_json_set_copy(arena, te_json_add(arena, config, "architectures"), list);
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
