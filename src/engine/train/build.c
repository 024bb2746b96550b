/*-------------------------------------------------------------------------
 * build.c
 *	  What a run trains: a base, with the head that the objective wants, with or without
 *	  overlays, in private memory; and the definition that it ends as.  Models from nothing.
 *
 * A definition is put together as at import (te_def_assemble()): tensors that the base has are
 * taken from it, the head's that it lacks or has in another shape begin at random, which a
 * source makes as it is read.  What is trained is stored as f32, in rows; what is frozen keeps its
 * type and bytes, so that the catalog shares its chunks with the base.
 *
 * freeze: words separated by commas.  "base" is all but the head; "embeddings" is every tensor with
 * that word in its name; else a pattern for names, with * for anything.  With overlays (lora_rank > 0)
 * they and the head alone are trained.  Overlays that the base has are added to its matrices first.
 *
 * Random weights are those of transformers: normal with initializer_range for matrices and tables, 1 for the
 * scale of a norm, 0 for biases; an overlay's A uniform up to 1 / sqrt(n_in), B zero, as in peft.
 *-------------------------------------------------------------------------
 */
#include "base/random.h"
#include "train/train.h"

#include <math.h>

/* ---- random tensors ---- */

typedef enum Distribution
{
	ZEROS,
	ONES,
	NORMAL,						/* standard deviation `size` */
	UNIFORM						/* [-size, size) */
} Distribution;

typedef struct RandomSource
{
	TeSource	source;
	Distribution distribution;
	double		size;
	uint64_t	stream;
} RandomSource;

static float
random_element(const RandomSource *random, uint64_t i)
{
	switch (random->distribution)
	{
		case ZEROS:
			return 0;
		case ONES:
			return 1;
		case NORMAL:
			return (float) (random->size * te_random_normal(random->stream, i));
		case UNIFORM:
			return (float) (random->size * (2 * te_random_uniform(random->stream, i) - 1));
	}
	return 0;
}

/* Whole elements: tensors are read by rows. */
static void
random_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	const RandomSource *random = source->host;
	float	   *to = into;

	te_assert(offset % sizeof(float) == 0 && len % sizeof(float) == 0);
	for (size_t i = 0; i < len / sizeof(float); i++)
		to[i] = random_element(random, offset / sizeof(float) + i);
}

static TeTensorInfo
random_tensor(TeArena *arena, const TeTensorSpec *spec, double range, uint64_t seed)
{
	RandomSource *random = te_new(arena, RandomSource);
	TeTensorInfo tensor = {.name = te_str(spec->name), .dtype = TE_F32};

	if (spec->role == TE_ROLE_VECTOR)
	{
		tensor.n_dims = 1;
		tensor.dims[0] = spec->n_in;
		random->distribution = te_str_ends(tensor.name, ".weight") ? ONES : ZEROS;
	}
	else
	{
		tensor.n_dims = 2;
		tensor.dims[0] = spec->n_out;
		tensor.dims[1] = spec->n_in;
		random->distribution = NORMAL;
		random->size = range;
	}
	if (te_str_ends(tensor.name, TE_LORA_A ".weight"))
	{
		random->distribution = UNIFORM;
		random->size = 1 / sqrt((double) spec->n_in);
	}
	else if (te_str_ends(tensor.name, TE_LORA_B ".weight"))
		random->distribution = ZEROS;
	random->stream = te_random_stream(seed, te_hash(spec->name, strlen(spec->name)));
	tensor.bytes = te_tensor_bytes(&tensor);
	random->source = (TeSource) {spec->name, tensor.bytes, random_read, random};
	tensor.source = &random->source;
	return tensor;
}

static double
initializer_range(const TeJson *config)
{
	double		range = te_json_real(config, "initializer_range", 0.02);

	if (!(range > 0 && range <= 10))
		te_throw(TE_ERR_INVALID, "\"initializer_range\" must be between 0 and 10");
	return range;
}

/* ---- models from nothing ---- */

typedef struct Nothing
{
	double		range;
	uint64_t	seed;
} Nothing;

static const TeTensorInfo *
find_in_nothing(void *from, TeArena *arena, const TeTensorSpec *spec)
{
	const Nothing *nothing = from;
	TeTensorInfo *tensor = te_new(arena, TeTensorInfo);

	if (spec->rare)
		return NULL;
	*tensor = random_tensor(arena, spec, nothing->range, nothing->seed);
	return tensor;
}

TeModelDef *
te_model_create(TeArena *arena, const TeJson *config, const TeJson *tokenizer, TeStr task, uint64_t seed)
{
	TeModelDef *def = te_new(arena, TeModelDef);
	TeImportOptions options = {.task = task};
	Nothing		nothing = {initializer_range(config), seed};
	const TeArch *arch = te_arch_by_model_type(te_json_str(config, "model_type", ""));
	TeHeadKind	kind;

	def->architecture = te_str(arch->name);
	def->config = te_json_text(arena, config, 0);
	def->pipeline = TE_STR("{\"pooling\":[\"mean\"],\"normalize\":true}");
	te_def_set_tokenizer(arena, def, tokenizer);
	kind = te_head_kind(te_task_name(task));
	if (task.len > 0 && kind != TE_N_HEADS)
		def->config = te_json_text(arena, te_head_with_class(arena, arch, config, kind), 0);
	te_def_assemble(arena, def, &options, find_in_nothing, &nothing);
	return def;
}

/* ---- patterns for names ---- */

/* What a * stands for is made longer only where what follows it does not fit: only the last one ever has to be. */
static bool
matches(const char *pattern, const char *pattern_end, const char *name, const char *name_end)
{
	const char *behind_star = NULL;
	const char *star_end = NULL;

	while (name < name_end)
	{
		if (pattern < pattern_end && *pattern == '*')
		{
			behind_star = ++pattern;
			star_end = name;
		}
		else if (pattern < pattern_end && *pattern == *name)
		{
			pattern++;
			name++;
		}
		else if (behind_star != NULL)
		{
			pattern = behind_star;
			name = ++star_end;
		}
		else
			return false;
	}
	while (pattern < pattern_end && *pattern == '*')
		pattern++;
	return pattern == pattern_end;
}

/* The next word of a list; empty at its end. */
static TeStr
next_word(TeStr *list)
{
	const char *end = list->data + list->len;
	const char *at = list->data;
	const char *first;
	TeStr		word;

	while (at < end && (*at == ',' || *at == ' '))
		at++;
	first = at;
	while (at < end && *at != ',' && *at != ' ')
		at++;
	word = (TeStr) {first, (size_t) (at - first)};
	*list = (TeStr) {at, (size_t) (end - at)};
	return word;
}

static bool
word_matches(TeStr word, TeStr name)
{
	if (te_str_is(word, "embeddings"))
		word = TE_STR("*embeddings*");
	return matches(word.data, word.data + word.len, name.data, name.data + name.len);
}

static bool
list_matches(TeStr list, TeStr name)
{
	for (TeStr word = next_word(&list); word.len > 0; word = next_word(&list))
	{
		if (word_matches(word, name))
			return true;
	}
	return false;
}

/* A word that stands for nothing is a mistake of the user's. */
static void
check_words(TeStr list, const TeTensorSpecs *specs, const char *option)
{
	for (TeStr word = next_word(&list); word.len > 0; word = next_word(&list))
	{
		bool		found = te_str_is(word, "base");

		for (size_t i = 0; i < specs->n; i++)
			found |= word_matches(word, te_str(specs->specs[i].name));
		if (!found)
			te_throw_hint(TE_ERR_INVALID, te_format(specs->arena, "It has \"%s\", for example.", specs->specs[0].name),
						  "Write \"base\", \"embeddings\", or names of tensors with * for anything.",
						  "option \"%s\": the model has no tensor \"%.*s\"", option, TE_STR_ARGS(word));
	}
}

/* ---- a base with what the objective needs ---- */

typedef struct Build
{
	TeArena    *arena;
	const TeModelDef *base;
	const TeObjective *objective;
	const TeTrainOptions *options;
	const TeArch *arch;
	TeTensorSpecs encoder;		/* tensors that the base has whatever its head */
	TeTensorSpecs head;			/* tensors that the head reads */
	TeTensorSpecs dense;		/* the pipeline's */
	int32_t		n_soft;			/* the width of a teacher's vectors, 0: there is none */
	double		range;
	bool		new_head;		/* labels are others than the base's */
	size_t		n_fresh;		/* names of tensors that begin at random */
	const char **fresh;
} Build;

static bool
is_fresh(const Build *build, TeStr name)
{
	for (size_t i = 0; i < build->n_fresh; i++)
	{
		if (te_str_is(name, build->fresh[i]))
			return true;
	}
	return false;
}

static bool
is_overlay(TeStr name)
{
	return te_str_ends(name, TE_LORA_A ".weight") || te_str_ends(name, TE_LORA_B ".weight");
}

/* Of the head alone: a tied layer is the encoder's, and so may a pooler be. */
static bool
is_head_only(const Build *build, const char *name)
{
	const TeTensorSpec *spec = te_specs_find(&build->encoder, name);

	return te_specs_find(&build->head, name) != NULL && (spec == NULL || spec->optional);
}

static bool
is_trained(const Build *build, const TeTensorSpec *spec)
{
	TeStr		name = te_str(spec->name);
	TeStr		freeze = build->options->freeze;

	/* what a head makes the graph pass over */
	if (build->objective->head != TE_HEAD_NONE && te_specs_find(&build->dense, spec->name) != NULL)
		return false;
	if (is_fresh(build, name))
		return true;
	if (build->options->lora_rank > 0)
		return is_overlay(name) || (te_specs_find(&build->head, spec->name) != NULL && te_specs_find(&build->encoder, spec->name) == NULL);
	if (is_overlay(name))
		return false;
	for (TeStr rest = freeze, word = next_word(&rest); word.len > 0; word = next_word(&rest))
	{
		if (te_str_is(word, "base") && !is_head_only(build, spec->name))
			return false;
	}
	return !list_matches(freeze, name);
}

/* Is it of the layer that gives the labels? */
static bool
gives_labels(const Build *build, const TeTensorSpec *spec)
{
	const TeTensorSpec *last = &build->head.specs[build->head.n - 1];

	/* the bias is the last tensor, and the matrix stands before it */
	return strcmp(spec->name, last->name) == 0 || strcmp(spec->name, last[-1].name) == 0;
}

/* The base's tensor, or one that begins at random where a head, an overlay or a new layer wants what the base does not have. */
static const TeTensorInfo *
find_in_base(void *from, TeArena *arena, const TeTensorSpec *spec)
{
	Build	   *build = from;
	const TeTensorInfo *found = te_tensor_find(&build->base->tensors, te_str(spec->name));
	TeTensorInfo *tensor = te_new(arena, TeTensorInfo);
	int64_t		rows = spec->role == TE_ROLE_VECTOR ? spec->n_in : spec->n_out;
	bool		head_only = is_head_only(build, spec->name);

	/* a head for other labels begins anew in the layer that gives them, also where there are as many */
	if (found != NULL && head_only && (found->dims[0] != rows || (build->new_head && gives_labels(build, spec))))
		found = NULL;
	if (found == NULL
		&& (spec->rare || (!head_only && !is_overlay(te_str(spec->name)) && te_specs_find(&build->dense, spec->name) == NULL)))
		return NULL;
	if (found == NULL)
	{
		*tensor = random_tensor(arena, spec, build->range, (uint64_t) build->options->seed);
		build->fresh[build->n_fresh++] = spec->name;
		return tensor;
	}
	*tensor = *found;
	if (is_trained(build, spec) && found->dtype != TE_F32)
		*tensor = te_tensor_converted(arena, found, TE_F32);
	return tensor;
}

/* config.json with the class, the labels and the kind of problem that the objective wants. */
static const TeJson *
objective_config(const Build *build, const TeJson *config, const TeStr *labels, int32_t n_labels)
{
	static const TeStr one_label[] = {{"LABEL_0", 7}};
	const TeObjective *objective = build->objective;
	TeJson	   *result = te_json_new_object(build->arena);

	te_json_set_copy(build->arena, result, te_head_with_class(build->arena, build->arch, config, objective->head));
	if (objective->problem_type != NULL)
		te_json_set_str(te_json_add(build->arena, result, "problem_type"), te_str(objective->problem_type));
	if (objective->labels == TE_LABELS_NAMED)
		return te_head_relabel(build->arena, result, labels, n_labels);
	if (objective->head == TE_HEAD_SEQUENCE)
		return te_head_relabel(build->arena, result, one_label, 1);
	return result;
}

/* The base's pipeline; where a teacher's vectors are of another width, ending in a layer of that width. */
static TeStr
objective_pipeline(const Build *build, const TeDefParts *parts)
{
	int			width = te_pipeline_dimensions(&parts->pipeline, &parts->config);
	TeJson	   *pipeline = te_json_new_object(build->arena);
	TeJson	   *list = te_json_new_array(build->arena, (size_t) parts->pipeline.n_dense + 1);
	TeJson	   *layer = te_json_new_object(build->arena);
	int			number = parts->pipeline.n_dense + 2;	/* as sentence-transformers numbers its modules, the pooling being 1 */

	if (build->objective->head != TE_HEAD_NONE || build->n_soft == 0 || build->n_soft == width)
		return build->base->pipeline;
	te_json_set_copy(build->arena, pipeline, te_json_parse(build->arena, build->base->pipeline, "pipeline"));
	for (int i = 0; i < parts->pipeline.n_dense; i++)
	{
		te_json_set_copy(build->arena, &list->items[i], &te_json_get(pipeline, "dense")->items[i]);
		while (te_str_is(parts->pipeline.dense[i].tensor, te_format(build->arena, "%d_Dense.linear", number)))
			number++;
	}
	te_json_set_str(te_json_add(build->arena, layer, "tensor"), te_str(te_format(build->arena, "%d_Dense.linear", number)));
	te_json_set_int(te_json_add(build->arena, layer, "in"), width);
	te_json_set_int(te_json_add(build->arena, layer, "out"), build->n_soft);
	te_json_set_copy(build->arena, &list->items[parts->pipeline.n_dense], layer);
	te_json_set_copy(build->arena, te_json_add(build->arena, pipeline, "dense"), list);
	return te_json_text(build->arena, pipeline, 0);
}

/* Are the labels others than those that the base's head gives? */
static bool
has_other_labels(const TeModelDef *base, const TeStr *labels, int32_t n_labels)
{
	bool		other = base->n_labels != n_labels;

	for (int32_t i = 0; !other && i < n_labels; i++)
		other = !te_str_eq(base->labels[i], labels[i]);
	return other;
}

/* The matrices that get an overlay. */
static const TeJson *
overlay_config(const Build *build, const TeJson *config, const TeTensorSpecs *specs)
{
	const TeTrainOptions *options = build->options;
	TeStr	   *names = te_new_array(build->arena, TeStr, specs->n);
	size_t		n = 0;

	check_words(options->lora_tensors, specs, "lora_tensors");
	for (size_t i = 0; i < specs->n; i++)
	{
		const TeTensorSpec *spec = &specs->specs[i];
		TeStr		name = te_str(spec->name);

		if (spec->role != TE_ROLE_LINEAR || te_tensor_find(&build->base->tensors, name) == NULL || spec->exact || spec->routed)
			continue;
		if (options->lora_tensors.len > 0 ? list_matches(options->lora_tensors, name) : te_specs_find(&build->encoder, spec->name) != NULL)
			names[n++] = (TeStr) {name.data, name.len - strlen(".weight")};
	}
	if (n == 0)
		te_throw(TE_ERR_INVALID, "option \"lora_tensors\" names no matrix of the model");
	return te_lora_config(build->arena, config, (int32_t) options->lora_rank,
						  options->lora_alpha > 0 ? options->lora_alpha : 2.0 * (double) options->lora_rank, names, n);
}

/* The definition that the run begins with. */
static TeModelDef *
begin_definition(Build *build, const TeStr *labels, int32_t n_labels)
{
	TeArena    *arena = build->arena;
	TeModelDef *def = te_new(arena, TeModelDef);
	const TeJson *config = te_json_parse(arena, build->base->config, "config.json");
	TeDefParts	parts;

	build->range = initializer_range(config);
	build->new_head = build->objective->labels == TE_LABELS_NAMED && has_other_labels(build->base, labels, n_labels);
	config = objective_config(build, config, labels, n_labels);
	def->architecture = build->base->architecture;
	def->task = te_str(build->objective->model_task);
	def->pipeline = build->base->pipeline;
	def->tokenizer = build->base->tokenizer;
	def->config = te_json_text(arena, config, 0);
	te_def_parts(arena, def, &parts);
	def->pipeline = objective_pipeline(build, &parts);
	te_def_parts(arena, def, &parts);
	build->dense.arena = arena;
	te_pipeline_list_tensors(&parts.pipeline, &build->dense);
	build->encoder.arena = arena;
	build->head.arena = arena;
	build->arch->list_tensors(&parts.config, &build->encoder);
	te_head_list_tensors(build->arch, &parts.head, &parts.config, &build->head);
	check_words(build->options->freeze, &parts.specs, "freeze");
	if (build->options->lora_rank > 0)
		def->config = te_json_text(arena, overlay_config(build, config, &parts.specs), 0);
	te_def_parts(arena, def, &parts);
	build->fresh = te_new_array(arena, const char *, parts.specs.n);
	te_def_assemble(arena, def, NULL, find_in_base, build);
	return def;
}

/* Gradients for the weights that are trained. */
static void
add_trained(const Build *build, const TeTensorSpecs *specs, TeTrainee *into)
{
	into->n_parameters = 0;
	into->trained = te_new_array(build->arena, TeTrained, specs->n);
	for (size_t i = 0; i < specs->n; i++)
	{
		const TeTensorSpec *spec = &specs->specs[i];
		TeWeight   *weight = (TeWeight *) te_model_weight(into->model, te_str(spec->name));
		TeTrained  *trained;

		if (weight == NULL || !is_trained(build, spec))
			continue;
		te_assert(weight->dtype == TE_F32 && weight->layout == TE_ROWS);
		trained = &into->trained[into->n_trained++];
		trained->name = te_str(spec->name);
		trained->weight = weight;
		trained->data = (float *) weight->data;
		trained->n = te_mul_size((size_t) weight->n_out, (size_t) weight->n_in);
		trained->decays = spec->role != TE_ROLE_VECTOR;
		trained->optional = spec->optional;
		weight->grad = te_new_array(build->arena, float, trained->n);
		into->n_parameters += trained->n;
	}
}

/* Elements of the tensors that will be trained. */
static uint64_t
count_trained(const Build *build, const TeTensorSpecs *specs, const TeTensorSet *tensors)
{
	uint64_t	n = 0;

	for (size_t i = 0; i < specs->n; i++)
	{
		const TeTensorSpec *spec = &specs->specs[i];

		if (te_tensor_find(tensors, te_str(spec->name)) != NULL && is_trained(build, spec))
			n += spec->role == TE_ROLE_VECTOR ? (uint64_t) spec->n_in : te_mul_size((size_t) spec->n_out, (size_t) spec->n_in);
	}
	return n;
}

void
te_trainee_define(TeArena *arena, const TeModelDef *base, const TeObjective *objective, const TeTrainOptions *options,
				  const TeStr *labels, int32_t n_labels, int32_t n_soft, TeTrainee *into)
{
	Build	   *build = te_new(arena, Build);
	TeDefParts *parts = te_new(arena, TeDefParts);

	if (te_str_is(base->architecture, "tokenizer"))
		te_throw(TE_ERR_INVALID, "a tokenizer cannot be trained so: it has no weights");
	base = te_lora_merged(arena, base);
	*build = (Build) {.arena = arena, .base = base, .objective = objective, .options = options, .n_soft = n_soft,
		.arch = te_arch_by_name(base->architecture)};
	memset(into, 0, sizeof(*into));
	into->build = build;
	into->base = base;
	into->def = begin_definition(build, labels, n_labels);
	te_def_parts(arena, into->def, parts);
	into->specs = &parts->specs;
	into->config = &parts->config;
	into->n_parameters = count_trained(build, into->specs, &into->def->tensors);
	into->plan = te_image_plan_training(arena, into->def, &into->image_bytes);
	if (into->n_parameters == 0)
		te_throw(TE_ERR_INVALID, "option \"freeze\" leaves nothing to train");
}

void
te_trainee_load(TeArena *arena, TeTrainee *trainee)
{
	void	   *image = te_alloc0(arena, trainee->image_bytes);

	te_image_build(arena, trainee->plan, image);
	trainee->model = te_model_attach(arena, image, trainee->image_bytes);
	add_trained(trainee->build, trainee->specs, trainee);
}

/* ---- the end ---- */

typedef struct End
{
	const TeTrainee *trainee;
	const TeTrainOptions *options;
} End;

/* What was trained from memory, in the type that the base has it in; the rest from the base. */
static const TeTensorInfo *
find_in_trainee(void *from, TeArena *arena, const TeTensorSpec *spec)
{
	const End  *end = from;
	const TeTrainee *trainee = end->trainee;
	const TeTensorInfo *began = te_tensor_find(&trainee->def->tensors, te_str(spec->name));
	const TeTensorInfo *base = te_tensor_find(&trainee->base->tensors, te_str(spec->name));
	TeTensorInfo *tensor;

	if (began == NULL)
		return NULL;
	tensor = te_new(arena, TeTensorInfo);
	*tensor = *began;
	for (size_t i = 0; i < trainee->n_trained; i++)
	{
		TeSource   *source;

		if (!te_str_eq(trainee->trained[i].name, began->name))
			continue;
		source = te_new(arena, TeSource);
		*source = te_source_memory(spec->name, trainee->trained[i].data, trainee->trained[i].n * sizeof(float));
		tensor->source = source;
		tensor->offset = 0;
		if (base != NULL && base->dtype != TE_F32 && te_dtypes[base->dtype].from_float != NULL)
			*tensor = te_tensor_converted(arena, tensor, base->dtype);
	}
	return tensor;
}

TeModelDef *
te_trainee_definition(TeArena *arena, const TeTrainee *trainee, const TeTrainOptions *options)
{
	TeModelDef *def = te_new(arena, TeModelDef);
	TeImportOptions wish = {.quantization = options->quantization};
	End			end = {trainee, options};

	*def = *trainee->def;
	def->tensors = (TeTensorSet) {0};
	te_def_assemble(arena, def, &wish, find_in_trainee, &end);
	return options->merge ? (TeModelDef *) te_lora_merged(arena, def) : def;
}
