/*-------------------------------------------------------------------------
 * rope.c
 *	  Rotary positions of a family: what config.json and GGUF say of them, and the frequencies that follow from it.
 *
 * Pair p of n columns turns by base ^ (-2p / n) a token.  A model that reads longer texts than it was first made for has them
 * scaled, in one of the ways of `scalings`:
 *
 *	  linear	divided by a factor (Chen et al. 2023)
 *	  dynamic	another base for texts that are longer than max_position_embeddings, of which there are none here
 *	  yarn		slow ones are divided by the factor, fast ones are not, and what is turned is stretched (Peng et al. 2023)
 *	  llama3	the same idea by wave lengths, without stretching
 *	  longrope	divided each by its own factor, of which there are two lists: for texts as long as those at first, and for
 *				longer ones (Ding et al. 2024)
 *
 * Everything is computed as the reference does it, powers and what follows from them in f32.  A configuration is
 * plain data in TeConfig; the frequencies are made when a model is attached and belong to its arena.
 *
 * GGUF has the kinds none, linear, yarn and longrope, and lists of factors as tensors; that of "rope_freqs" is for texts of any length,
 * which is longrope with two equal lists.
 *
 * To add a scaling: a word in TeRopeScaling, a row of `scalings`, a function that reads it and one that computes it.
 *-------------------------------------------------------------------------
 */
#include "arch/rope.h"

#include <math.h>

#define TWO_PI 6.283185307179586476925

/* ---- config.json ---- */

const TeJson *
te_rope_parameters(const TeJson *config, const char *layer_type)
{
	const TeJson *parameters = te_json_get(config, "rope_parameters");
	const TeJson *of_type = layer_type != NULL ? te_json_get(parameters, layer_type) : NULL;

	if (of_type != NULL)
		return of_type;
	return parameters != NULL ? parameters : te_json_get(config, "rope_scaling");
}

float
te_rope_base(const TeJson *config, const char *key, double fallback)
{
	double		value = te_json_real(config, key, fallback);

	if (!(value >= 1 && value <= 1e12))
		te_throw(TE_ERR_CORRUPT, "\"%s\" must be between 1 and 1e12, not %g", key, value);
	return (float) value;
}

int32_t
te_rope_columns(const TeJson *config, const TeJson *parameters, double fraction, const TeConfig *into)
{
	int32_t		columns;

	fraction = te_json_real(parameters, "partial_rotary_factor", te_json_real(config, "partial_rotary_factor", fraction));
	if (!(fraction > 0 && fraction <= 1))
		te_throw(TE_ERR_UNSUPPORTED, "\"partial_rotary_factor\" must be above 0 and at most 1, not %g", fraction);
	columns = (int32_t) (into->head_size * fraction);
	if (columns < 2 || columns % 2 != 0)
		te_throw(TE_ERR_UNSUPPORTED, "%d columns of a head cannot be turned in pairs", (int) columns);
	return columns;
}

/* A number of [min, max] that must be there where the fallback is none. */
static float
real_between(const TeJson *parameters, const char *key, double fallback, double min, double max)
{
	double		value = te_json_real(parameters, key, fallback);

	if (!(value >= min && value <= max))
		te_throw(TE_ERR_CORRUPT, "\"%s\" of rotary positions must be between %g and %g, not %g", key, min, max, value);
	return (float) value;
}

static void
read_factor(const TeJson *parameters, const TeConfig *into, TeRopeConfig *rope)
{
	rope->factor = real_between(parameters, "factor", 0, 1, 1e6);
}

static double
default_stretch(double factor, double scale)
{
	return factor <= 1 ? 1.0 : 0.1 * scale * log(factor) + 1.0;
}

/* The factor, or how many times longer texts have become. */
static double
read_growth(const TeJson *parameters, const TeConfig *into, const TeRopeConfig *rope)
{
	return real_between(parameters, "factor", (double) into->max_positions / rope->original_positions, 1e-6, 1e6);
}

static void
read_yarn(const TeJson *parameters, const TeConfig *into, TeRopeConfig *rope)
{
	double		scale = te_json_real(parameters, "mscale", 0);
	double		scale_all = te_json_real(parameters, "mscale_all_dim", 0);
	double		factor = read_growth(parameters, into, rope);
	double		stretch = default_stretch(factor, 1);

	if (scale != 0 && scale_all != 0)
		stretch = default_stretch(factor, scale) / default_stretch(factor, scale_all);
	rope->factor = (float) factor;
	rope->stretch = real_between(parameters, "attention_factor", stretch, 1e-3, 1e3);
	rope->fast = real_between(parameters, "beta_fast", 32, 1e-3, 1e6);
	rope->slow = real_between(parameters, "beta_slow", 1, 1e-3, 1e6);
	rope->whole = te_json_bool(parameters, "truncate", true);
}

static void
read_llama3(const TeJson *parameters, const TeConfig *into, TeRopeConfig *rope)
{
	read_factor(parameters, into, rope);
	rope->slow = real_between(parameters, "low_freq_factor", 0, 1e-3, 1e6);
	rope->fast = real_between(parameters, "high_freq_factor", 0, 1e-3, 1e6);
	if (rope->fast <= rope->slow)
		te_throw(TE_ERR_CORRUPT, "\"high_freq_factor\" must be more than \"low_freq_factor\"");
}

static void
read_factors(const TeJson *parameters, const char *key, const TeConfig *into, float *factors)
{
	const TeJson *list = te_json_get(parameters, key);
	uint32_t	n = (uint32_t) into->rope_columns / 2;

	if (list == NULL || list->kind != TE_JSON_ARRAY || list->n != n)
		te_throw(TE_ERR_CORRUPT, "\"%s\" of rotary positions must be %u numbers", key, (unsigned) n);
	for (uint32_t i = 0; i < n; i++)
	{
		const TeJson *item = &list->items[i];
		double		value = item->kind == TE_JSON_INTEGER ? (double) item->integer : item->kind == TE_JSON_REAL ? item->real : 0;

		if (!(value >= 1e-6 && value <= 1e9))
			te_throw(TE_ERR_CORRUPT, "\"%s\" of rotary positions must be numbers above 0", key);
		factors[i] = (float) value;
	}
}

static void
read_longrope(const TeJson *parameters, const TeConfig *into, TeRopeConfig *rope)
{
	double		factor = read_growth(parameters, into, rope);
	double		stretch = factor <= 1 ? 1 : sqrt(1 + log(factor) / log(TE_MAX(rope->original_positions, 2)));

	rope->factor = (float) factor;
	rope->stretch = real_between(parameters, "attention_factor", stretch, 1e-3, 1e3);
	read_factors(parameters, "short_factor", into, rope->short_factors);
	read_factors(parameters, "long_factor", into, rope->long_factors);
}

/* ---- frequencies ---- */

/* All functions scale plain frequencies of n_rot columns. */
static void
scale_linear(const TeRopeConfig *rope, int n_rot, float *frequencies)
{
	for (int i = 0; i < n_rot / 2; i++)
		frequencies[i] /= rope->factor;
}

/* The pair that turns so many times in the texts of before. */
static double
pair_turning(const TeRopeConfig *rope, int n_rot, double times)
{
	return n_rot * log(rope->original_positions / (times * TWO_PI)) / (2 * log(rope->base));
}

static void
scale_yarn(const TeRopeConfig *rope, int n_rot, float *frequencies)
{
	double		low = pair_turning(rope, n_rot, rope->fast);
	double		high = pair_turning(rope, n_rot, rope->slow);

	if (rope->whole)
	{
		low = floor(low);
		high = ceil(high);
	}
	low = TE_MAX(low, 0);
	high = TE_MIN(high, n_rot - 1);
	if (low == high)
		high += 0.001;
	for (int i = 0; i < n_rot / 2; i++)
	{
		float		slowed = (float) ((i - low) / (high - low));

		slowed = TE_MIN(TE_MAX(slowed, 0.0f), 1.0f);
		frequencies[i] = frequencies[i] / rope->factor * slowed + frequencies[i] * (1 - slowed);
	}
}

static void
scale_llama3(const TeRopeConfig *rope, int n_rot, float *frequencies)
{
	for (int i = 0; i < n_rot / 2; i++)
	{
		double		times = rope->original_positions * (double) frequencies[i] / TWO_PI;
		float		kept = (float) ((times - rope->slow) / (rope->fast - rope->slow));

		kept = TE_MIN(TE_MAX(kept, 0.0f), 1.0f);
		frequencies[i] = (1 - kept) * frequencies[i] / rope->factor + kept * frequencies[i];
	}
}

static void
scale_short(const TeRopeConfig *rope, int n_rot, float *frequencies)
{
	for (int i = 0; i < n_rot / 2; i++)
		frequencies[i] /= rope->short_factors[i];
}

/* ---- the table ---- */

static const struct
{
	const char *name;
	const char *also;			/* another name, or NULL */
	const char *gguf;			/* NULL: llama.cpp has none */
	void		(*read) (const TeJson *parameters, const TeConfig *into, TeRopeConfig *rope);	/* NULL: nothing to read */
	void		(*scale) (const TeRopeConfig *rope, int n_rot, float *frequencies);	/* NULL: plain */
}			scalings[TE_N_ROPE_SCALINGS] = {
	[TE_ROPE_PLAIN] = {"default", NULL, "none", NULL, NULL},
	[TE_ROPE_LINEAR] = {"linear", NULL, "linear", read_factor, scale_linear},
	[TE_ROPE_DYNAMIC] = {"dynamic", NULL, "none", read_factor, NULL},
	[TE_ROPE_YARN] = {"yarn", NULL, "yarn", read_yarn, scale_yarn},
	[TE_ROPE_LLAMA3] = {"llama3", NULL, "none", read_llama3, scale_llama3},
	[TE_ROPE_LONGROPE] = {"longrope", "su", "longrope", read_longrope, scale_short},
};

static TeRopeScaling
scaling_by_name(TeStr name)
{
	for (int i = 0; i < TE_N_ROPE_SCALINGS; i++)
	{
		if (te_str_is(name, scalings[i].name) || (scalings[i].also != NULL && te_str_is(name, scalings[i].also)))
			return (TeRopeScaling) i;
	}
	te_throw(TE_ERR_UNSUPPORTED, "rotary positions of type \"%.*s\" are not supported", TE_STR_ARGS(name));
}

void
te_rope_read(const TeJson *config, const TeJson *parameters, double base, const TeConfig *into, TeRopeConfig *rope)
{
	TeStr		type = te_json_str(parameters, "rope_type", NULL);
	int64_t		original = te_json_int_range(parameters, "original_max_position_embeddings", into->max_positions, 1,
											 TE_MAX_POSITIONS);

	if (type.data == NULL)
		type = te_json_str(parameters, "type", scalings[TE_ROPE_PLAIN].name);
	rope->base = te_rope_base(parameters, "rope_theta", base);
	rope->stretch = rope->factor = 1;
	rope->scaling = scaling_by_name(type);
	/* where both have it, the outer one counts */
	rope->original_positions = (int32_t) te_json_int_range(config, "original_max_position_embeddings", original, 1,
														   TE_MAX_POSITIONS);
	if (scalings[rope->scaling].read != NULL)
		scalings[rope->scaling].read(parameters, into, rope);
}

static float *
plain_frequencies(TeArena *arena, float base, int n_rot)
{
	float	   *frequencies = te_new_array(arena, float, n_rot / 2);

	for (int i = 0; i < n_rot / 2; i++)
		frequencies[i] = 1.0f / (float) pow(base, (float) (2 * i) / (float) n_rot);
	return frequencies;
}

TeRope
te_rope_bind(TeArena *arena, const TeRopeConfig *config, int n_rot)
{
	float	   *frequencies = plain_frequencies(arena, config->base, n_rot);
	TeRope		rope = {.n_rot = n_rot, .factor = config->stretch, .frequencies = frequencies};

	if (config->scaling == TE_ROPE_LONGROPE)
	{
		float	   *longer = plain_frequencies(arena, config->base, n_rot);

		for (int i = 0; i < n_rot / 2; i++)
			longer[i] /= config->long_factors[i];
		rope.long_frequencies = longer;
		rope.long_from = config->original_positions + 1;
	}
	if (scalings[config->scaling].scale != NULL)
		scalings[config->scaling].scale(config, n_rot, frequencies);
	return rope;
}

/* ---- GGUF ---- */

static void
set_key(TeArena *arena, TeJson *meta, const char *arch, const char *key, double value)
{
	te_json_set_real(te_json_add(arena, meta, te_format(arena, "%s.rope.%s", arch, key)), value);
}

/* One list of factors, whatever the length of a text: that is what "rope_freqs" says. */
static bool
has_one_list(const TeRopeConfig *rope, int n_rot)
{
	return rope->scaling == TE_ROPE_LONGROPE && rope->stretch == 1
		&& memcmp(rope->short_factors, rope->long_factors, (size_t) n_rot / 2 * sizeof(float)) == 0;
}

void
te_rope_to_gguf(TeArena *arena, const TeRopeConfig *rope, int n_rot, const char *arch, TeJson *meta)
{
	double		stretch = rope->stretch;

	te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s.rope.dimension_count", arch)), n_rot);
	set_key(arena, meta, arch, "freq_base", rope->base);
	te_json_set_str(te_json_add(arena, meta, te_format(arena, "%s.rope.scaling.type", arch)),
					te_str(scalings[has_one_list(rope, n_rot) ? TE_ROPE_PLAIN : rope->scaling].gguf));
	if (rope->scaling == TE_ROPE_LINEAR || rope->scaling == TE_ROPE_YARN)
		set_key(arena, meta, arch, "scaling.factor", rope->factor);
	if (rope->scaling == TE_ROPE_YARN || rope->scaling == TE_ROPE_LONGROPE)
		te_json_set_int(te_json_add(arena, meta, te_format(arena, "%s.rope.scaling.original_context_length", arch)),
						rope->original_positions);
	if (rope->scaling == TE_ROPE_YARN)
	{
		set_key(arena, meta, arch, "scaling.yarn_beta_fast", rope->fast);
		set_key(arena, meta, arch, "scaling.yarn_beta_slow", rope->slow);
		/* llama.cpp multiplies by the usual one */
		stretch /= default_stretch(rope->factor, 1);
	}
	if (fabs(stretch - 1) > 1e-6)
		set_key(arena, meta, arch, "scaling.attn_factor", stretch);
}

static void
add_factors(const char *name, const float *factors, int n, TeTensorList *list)
{
	TeSource   *source = te_new(list->arena, TeSource);
	float	   *copy = te_new_array(list->arena, float, n);
	TeTensorInfo tensor = {.name = te_str(name), .dtype = TE_F32, .n_dims = 1, .dims = {n}, .source = source};

	memcpy(copy, factors, (size_t) n * sizeof(float));
	tensor.bytes = te_tensor_bytes(&tensor);
	*source = te_source_memory(name, copy, (size_t) tensor.bytes);
	te_tensor_list_add(list, &tensor);
}

void
te_rope_gguf_tensors(const TeRopeConfig *rope, int n_rot, TeTensorList *list)
{
	if (rope->scaling == TE_ROPE_LLAMA3)
	{
		float	   *plain = plain_frequencies(list->arena, rope->base, n_rot);
		TeRope		scaled = te_rope_bind(list->arena, rope, n_rot);

		for (int i = 0; i < n_rot / 2; i++)
			plain[i] /= scaled.frequencies[i];
		add_factors("rope_freqs.weight", plain, n_rot / 2, list);
	}
	if (has_one_list(rope, n_rot))
		add_factors("rope_freqs.weight", rope->long_factors, n_rot / 2, list);
	else if (rope->scaling == TE_ROPE_LONGROPE)
	{
		add_factors("rope_factors_long.weight", rope->long_factors, n_rot / 2, list);
		add_factors("rope_factors_short.weight", rope->short_factors, n_rot / 2, list);
	}
}

/* A list of factors as a member of config.json's rope_scaling; false where the file has none of that name. */
static bool
factors_from_gguf(TeArena *arena, const TeModelFile *file, const char *name, TeJson *into, const char *key)
{
	const TeTensorInfo *tensor = te_tensor_find(&file->tensors, te_str(name));
	float		values[TE_MAX_D_HEAD / 2];
	TeJson	   *list;

	if (tensor == NULL)
		return false;
	if (tensor->dtype != TE_F32 || te_tensor_elements(tensor) > TE_LENGTH(values))
		te_throw(TE_ERR_CORRUPT, "tensor \"%s\" must have at most %zu numbers of type f32", name, TE_LENGTH(values));
	te_source_read(tensor->source, tensor->offset, values, (size_t) tensor->bytes);
	list = te_json_new_array(arena, (size_t) te_tensor_elements(tensor));
	for (uint32_t i = 0; i < list->n; i++)
		te_json_set_real(&list->items[i], values[i]);
	te_json_set_copy(arena, te_json_add(arena, into, key), list);
	return true;
}

static void
copy_number(TeArena *arena, const TeModelFile *file, const char *from, TeJson *into, const char *key)
{
	const TeJson *value = te_json_get(file->meta, from);

	if (value != NULL)
		te_json_set_copy(arena, te_json_add(arena, into, key), value);
}

/* The member rope_scaling, where frequencies are scaled. */
static void
scaling_from_gguf(TeArena *arena, const TeModelFile *file, const char *arch, TeJson *config)
{
	TeStr		type = te_json_str(file->meta, te_format(arena, "%s.rope.scaling.type", arch), "linear");
	double		factor = te_json_real(file->meta, te_format(arena, "%s.rope.scaling.factor", arch), 0);
	double		stretch = te_json_real(file->meta, te_format(arena, "%s.rope.scaling.attn_factor", arch), 1);
	TeJson	   *rope = te_json_new_object(arena);

	if (factors_from_gguf(arena, file, "rope_freqs.weight", rope, "short_factor"))
	{
		factors_from_gguf(arena, file, "rope_freqs.weight", rope, "long_factor");
		type = te_str(scalings[TE_ROPE_LONGROPE].name);
	}
	else if (factors_from_gguf(arena, file, "rope_factors_short.weight", rope, "short_factor"))
	{
		factors_from_gguf(arena, file, "rope_factors_long.weight", rope, "long_factor");
		type = te_str(scalings[TE_ROPE_LONGROPE].name);
	}
	else if (factor == 0 || factor == 1 || te_str_is(type, "none"))
		return;
	if (te_str_is(type, scalings[TE_ROPE_YARN].name))
	{
		stretch *= default_stretch(factor, 1);
		copy_number(arena, file, te_format(arena, "%s.rope.scaling.yarn_beta_fast", arch), rope, "beta_fast");
		copy_number(arena, file, te_format(arena, "%s.rope.scaling.yarn_beta_slow", arch), rope, "beta_slow");
	}
	te_json_set_str(te_json_add(arena, rope, "rope_type"), type);
	te_json_set_real(te_json_add(arena, rope, "factor"), factor == 0 ? 1 : factor);
	if (!te_str_is(type, scalings[TE_ROPE_LINEAR].name))
	{
		te_json_set_real(te_json_add(arena, rope, "attention_factor"), stretch);
		te_json_set_int(te_json_add(arena, rope, "original_max_position_embeddings"),
						te_json_int(file->meta, te_format(arena, "%s.rope.scaling.original_context_length", arch),
									te_json_int(config, "max_position_embeddings", 1)));
	}
	te_json_set_copy(arena, te_json_add(arena, config, "rope_scaling"), rope);
}

/* dimension_count, where it is not all of a head. */
static void
columns_from_gguf(TeArena *arena, const TeModelFile *file, const char *arch, TeJson *config)
{
	int64_t		n_heads = te_json_int_range(config, "num_attention_heads", 1, 1, TE_MAX_WIDTH);
	int64_t		head_size = te_json_int_range(config, "head_dim", te_json_int(config, "hidden_size", 1) / n_heads, 1, TE_MAX_WIDTH);
	int64_t		columns = te_json_int(file->meta, te_format(arena, "%s.rope.dimension_count", arch), head_size);
	double		fraction = (double) columns / (double) head_size;

	if (columns <= 0 || columns >= head_size)
		return;
	/* so that the product, which is cut, is these again */
	if ((int64_t) ((double) head_size * fraction) < columns)
		fraction = nextafter(fraction, 2);
	te_json_set_real(te_json_add(arena, config, "partial_rotary_factor"), fraction);
}

void
te_rope_from_gguf(TeArena *arena, const TeModelFile *file, const char *arch, TeJson *config)
{
	columns_from_gguf(arena, file, arch, config);
	te_json_set_real(te_json_add(arena, config, "rope_theta"),
					 te_json_real(file->meta, te_format(arena, "%s.rope.freq_base", arch), 10000));
	scaling_from_gguf(arena, file, arch, config);
}
