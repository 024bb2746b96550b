/*-------------------------------------------------------------------------
 * config.c
 *	  The table of architectures, and what their config.json readers share.
 *
 * A config.json comes from a file or from the catalog, so that every number is
 * checked before anything is sized by it: the bounds are TE_MAX_*, and a
 * message names the key.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

static const TeArch *const archs[] = {
#define ARCH_ROW(name) &te_arch_##name,
	TE_ARCHS(ARCH_ROW)
#undef ARCH_ROW
};

/* "bert", "roberta", "xlm-roberta", ...: a list for messages, in a static buffer's place. */
static TE_NORETURN void
throw_no_arch(const char *what, TeStr name)
{
	char		list[512];
	size_t		len = 0;

	for (size_t i = 0; i < TE_LENGTH(archs); i++)
	{
		for (const TeModelType *type = archs[i]->model_types; type->name != NULL; type++)
		{
			size_t		n = strlen(type->name);

			if (len + n + 3 > sizeof(list))
				break;
			if (len > 0)
			{
				memcpy(list + len, ", ", 2);
				len += 2;
			}
			memcpy(list + len, type->name, n);
			len += n;
		}
	}
	te_throw(TE_ERR_UNSUPPORTED, "%s \"%.*s\" is not supported; there are %.*s",
			 what, TE_STR_ARGS(name), (int) len, list);
}

const TeArch *
te_arch_by_model_type(TeStr model_type)
{
	for (size_t i = 0; i < TE_LENGTH(archs); i++)
	{
		for (const TeModelType *type = archs[i]->model_types; type->name != NULL; type++)
		{
			if (te_str_is(model_type, type->name))
				return archs[i];
		}
	}
	throw_no_arch("model type", model_type);
}

const TeArch *
te_arch_by_name(TeStr name)
{
	for (size_t i = 0; i < TE_LENGTH(archs); i++)
	{
		if (te_str_is(name, archs[i]->name))
			return archs[i];
	}
	throw_no_arch("architecture", name);
}

const TeArch *
te_arch_by_gguf(TeStr name)
{
	for (size_t i = 0; i < TE_LENGTH(archs); i++)
	{
		if ((archs[i]->gguf_name != NULL && te_str_is(name, archs[i]->gguf_name)) || te_arch_type_by_gguf(archs[i], name) != NULL)
			return archs[i];
	}
	throw_no_arch("GGUF architecture", name);
}

const TeModelType *
te_arch_model_type(const TeArch *arch, const TeJson *config)
{
	TeStr		model_type = te_json_str(config, "model_type", arch->model_types[0].name);

	for (const TeModelType *type = arch->model_types; type->name != NULL; type++)
	{
		if (te_str_is(model_type, type->name))
			return type;
	}
	return &arch->model_types[0];
}

const TeModelType *
te_arch_type_by_gguf(const TeArch *arch, TeStr name)
{
	for (const TeModelType *type = arch->model_types; type->name != NULL; type++)
	{
		if (type->gguf_name != NULL && te_str_is(name, type->gguf_name))
			return type;
	}
	return NULL;
}

const char *
te_arch_gguf_name(const TeArch *arch, const TeJson *config)
{
	const char *name = te_arch_model_type(arch, config)->gguf_name;

	return name != NULL ? name : arch->gguf_name;
}

const TeTensorSpec *
te_specs_find(const TeTensorSpecs *specs, const char *name)
{
	for (size_t i = 0; i < specs->n; i++)
	{
		if (strcmp(specs->specs[i].name, name) == 0)
			return &specs->specs[i];
	}
	return NULL;
}

TeTensorSpec *
te_specs_add(TeTensorSpecs *specs, TeRole role, int64_t n_out, int64_t n_in, bool optional,
			 const char *name_format, const char *gguf_format, int layer)
{
	TeTensorSpec *spec;

	if (specs->n == specs->capacity)
	{
		TeTensorSpec *grown;

		specs->capacity = specs->capacity == 0 ? 64 : 2 * specs->capacity;
		grown = te_new_array(specs->arena, TeTensorSpec, specs->capacity);
		if (specs->n > 0)
			memcpy(grown, specs->specs, specs->n * sizeof(TeTensorSpec));
		specs->specs = grown;
	}
	spec = &specs->specs[specs->n++];
	*spec = (TeTensorSpec) {
		.name = te_format(specs->arena, name_format, layer),
		.gguf_name = gguf_format == NULL ? NULL : te_format(specs->arena, gguf_format, layer),
		.role = role,
		.n_out = n_out,
		.n_in = n_in,
		.optional = optional,
	};
	return spec;
}

int32_t
te_config_size(const TeJson *config, const char *key, int64_t max)
{
	if (te_json_get(config, key) == NULL)
		te_throw(TE_ERR_CORRUPT, "config.json has no \"%s\"", key);
	return (int32_t) te_json_int_range(config, key, 0, 1, max);
}

TeActivation
te_config_activation(const TeJson *config, const char *key)
{
	TeStr		name = te_json_str(config, key, "gelu");
	TeActivation activation = te_activation_by_name(name);

	if (activation == TE_N_ACTIVATIONS)
		te_throw(TE_ERR_UNSUPPORTED, "\"%s\": activation \"%.*s\" is not supported", key, TE_STR_ARGS(name));
	return activation;
}

float
te_config_epsilon(const TeJson *config, const char *key, double fallback)
{
	double		value = te_json_real(config, key, fallback);

	if (!(value > 0 && value < 1))
		te_throw(TE_ERR_CORRUPT, "\"%s\" must be between 0 and 1, not %g", key, value);
	return (float) value;
}

void
te_config_heads(TeConfig *config)
{
	if (config->hidden_size % config->n_heads != 0)
		te_throw(TE_ERR_CORRUPT, "hidden size %d is no multiple of %d attention heads",
				 (int) config->hidden_size, (int) config->n_heads);
	config->n_kv_heads = config->n_heads;
	config->head_size = config->hidden_size / config->n_heads;
	config->embedding_size = config->hidden_size;
}
