/*-------------------------------------------------------------------------
 * options.c
 *	  The options of a training run: names, types, bounds, defaults.
 *
 * One table.  SQL's arguments and the members of its `options` are set through it alike,
 * a checkpoint writes it, and so does the row of a run in the catalog.  Strings
 * belong to the arena of the options.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#include <math.h>

typedef enum OptionType
{
	OPTION_REAL,
	OPTION_INTEGER,
	OPTION_BOOL,
	OPTION_STRING,
	OPTION_JSON
} OptionType;

typedef struct Option
{
	const char *name;
	OptionType	type;
	size_t		offset;			/* in TeTrainOptions */
	double		min;			/* of a number */
	double		max;
	double		number;			/* default; of a bool too */
	const char *string;			/* default */
	const char *(*value) (size_t i);	/* what a string may be, NULL at the end; no function: anything */
} Option;

static const char *
precision_name(size_t i)
{
	static const char *const names[] = {"f32", "bf16"};

	return i < TE_LENGTH(names) ? names[i] : NULL;
}

/* "": as the base is stored. */
static const char *
quantization_name(size_t i)
{
	for (int dtype = 0; dtype < TE_N_DTYPES && i > 0; dtype++)
	{
		if (te_dtypes[dtype].from_float != NULL && --i == 0)
			return te_dtypes[dtype].name;
	}
	return i == 0 ? "" : NULL;
}

#define AT(member) offsetof(TeTrainOptions, member)
#define MOST 1e12

static const Option table[] = {
	{"epochs", OPTION_REAL, AT(epochs), 1e-6, 1e6, 3},
	{"batch_size", OPTION_INTEGER, AT(batch_size), 1, 65536, 32},
	{"max_steps", OPTION_INTEGER, AT(max_steps), 0, MOST, 0},
	{"learning_rate", OPTION_REAL, AT(learning_rate), 0, 100, 0},
	{"warmup", OPTION_REAL, AT(warmup), 0, MOST, 0.1},
	{"schedule", OPTION_STRING, AT(schedule), .string = "linear", .value = te_schedule_name},
	{"max_length", OPTION_INTEGER, AT(max_length), 0, TE_MAX_POSITIONS, 0},
	{"seed", OPTION_INTEGER, AT(seed), -9e15, 9e15, 0},
	{"optimizer", OPTION_STRING, AT(optimizer), .string = "adamw", .value = te_optimizer_name},
	{"weight_decay", OPTION_REAL, AT(weight_decay), 0, 10, 0.01},
	{"beta1", OPTION_REAL, AT(beta1), 0, 0.999999, 0.9},
	{"beta2", OPTION_REAL, AT(beta2), 0, 0.999999, 0.999},
	{"epsilon", OPTION_REAL, AT(epsilon), 1e-15, 1, 1e-8},
	{"clip", OPTION_REAL, AT(clip), 0, 1e6, 1},
	{"dropout", OPTION_REAL, AT(dropout), 0, 0.9, 0},
	{"label_smoothing", OPTION_REAL, AT(label_smoothing), 0, 0.999, 0},
	{"class_weights", OPTION_JSON, AT(class_weights)},
	{"freeze", OPTION_STRING, AT(freeze), .string = ""},
	{"lora_rank", OPTION_INTEGER, AT(lora_rank), 0, 4096, 0},
	{"lora_alpha", OPTION_REAL, AT(lora_alpha), 0, 1e6, 0},
	{"lora_tensors", OPTION_STRING, AT(lora_tensors), .string = ""},
	{"merge", OPTION_BOOL, AT(merge)},
	{"quantization", OPTION_STRING, AT(quantization), .string = "", .value = quantization_name},
	{"new_labels", OPTION_BOOL, AT(new_labels)},
	{"eval_steps", OPTION_INTEGER, AT(eval_steps), 0, MOST, 0},
	{"patience", OPTION_INTEGER, AT(patience), 0, 1e6, 0},
	{"match", OPTION_STRING, AT(match), .string = "cosine", .value = te_match_name},
	{"loss", OPTION_STRING, AT(loss), .string = "", .value = te_pair_loss_name},
	{"temperature", OPTION_REAL, AT(temperature), 1e-3, 1000, 2},
	{"alpha", OPTION_REAL, AT(alpha), 0, 1, 0.5},
	{"cosine_scale", OPTION_REAL, AT(cosine_scale), 1e-3, 1000, 20},
	{"margin", OPTION_REAL, AT(margin), 0, 100, 0.2},
	{"mask_rate", OPTION_REAL, AT(mask_rate), 0.001, 0.9, 0.15},
	{"whole_word", OPTION_BOOL, AT(whole_word)},
	{"precision", OPTION_STRING, AT(precision), .string = "f32", .value = precision_name},
	{"piece_tokens", OPTION_INTEGER, AT(piece_tokens), 0, 1 << 20, 0},
};

static void *
member(TeTrainOptions *options, const Option *option)
{
	return (char *) options + option->offset;
}

TeTrainOptions *
te_train_options(TeArena *arena, const TeObjective *objective)
{
	TeTrainOptions *options = te_new(arena, TeTrainOptions);

	options->arena = arena;
	for (size_t i = 0; i < TE_LENGTH(table); i++)
	{
		const Option *option = &table[i];

		if (option->type == OPTION_REAL)
			*(double *) member(options, option) = option->number;
		else if (option->type == OPTION_INTEGER)
			*(int64_t *) member(options, option) = (int64_t) option->number;
		else if (option->type == OPTION_STRING)
			*(TeStr *) member(options, option) = te_str(option->string);
	}
	options->dropout = objective->dropout;
	if (objective->epochs > 0)
		options->epochs = objective->epochs;
	return options;
}

/* "a, b, c" of the table. */
static const char *
names_of_options(TeArena *arena)
{
	const char *list = table[0].name;

	for (size_t i = 1; i < TE_LENGTH(table); i++)
		list = te_format(arena, "%s, %s", list, table[i].name);
	return list;
}

static double
number_of(const Option *option, const TeJson *value)
{
	double		number = value->kind == TE_JSON_INTEGER ? (double) value->integer : value->real;

	if (value->kind != TE_JSON_INTEGER && value->kind != TE_JSON_REAL)
		te_throw(TE_ERR_INVALID, "option \"%s\" must be a number", option->name);
	if (option->type == OPTION_INTEGER && number != floor(number))
		te_throw(TE_ERR_INVALID, "option \"%s\" must be an integer", option->name);
	if (!(number >= option->min && number <= option->max))
		te_throw(TE_ERR_INVALID, "option \"%s\" must be between %g and %g, not %g", option->name, option->min, option->max, number);
	return number;
}

/* The value as the table has it. */
static TeStr
check_value(TeArena *arena, const Option *option, TeStr value)
{
	const char *list = "";
	const char *name;

	if (option->value == NULL)
		return te_str_copy(arena, value);
	for (size_t i = 0; (name = option->value(i)) != NULL; i++)
	{
		if (te_str_is_ignoring_case(value, name))
			return te_str(name);
		list = te_format(arena, "%s%s\"%s\"", list, list[0] == '\0' ? "" : ", ", name);
	}
	te_throw_hint(TE_ERR_INVALID, NULL, te_format(arena, "There are %s.", list), "option \"%s\" cannot be \"%.*s\"", option->name,
				  TE_STR_ARGS(value));
}

static void
set(TeTrainOptions *options, const Option *option, const TeJson *value)
{
	TeJson	   *copy;

	switch (option->type)
	{
		case OPTION_REAL:
			*(double *) member(options, option) = number_of(option, value);
			return;
		case OPTION_INTEGER:
			*(int64_t *) member(options, option) = (int64_t) number_of(option, value);
			return;
		case OPTION_BOOL:
			if (value->kind != TE_JSON_BOOL)
				te_throw(TE_ERR_INVALID, "option \"%s\" must be true or false", option->name);
			*(bool *) member(options, option) = value->boolean;
			return;
		case OPTION_STRING:
			if (value->kind != TE_JSON_STRING)
				te_throw(TE_ERR_INVALID, "option \"%s\" must be a string", option->name);
			*(TeStr *) member(options, option) = check_value(options->arena, option, value->string);
			return;
		case OPTION_JSON:
			copy = te_json_new_object(options->arena);
			te_json_set_copy(options->arena, copy, value);
			*(const TeJson **) member(options, option) = copy;
			return;
	}
}

void
te_train_set(TeTrainOptions *options, TeStr name, const TeJson *value)
{
	for (size_t i = 0; i < TE_LENGTH(table); i++)
	{
		if (te_str_is(name, table[i].name))
		{
			set(options, &table[i], value);
			return;
		}
	}
	te_throw_hint(TE_ERR_INVALID, NULL, te_format(options->arena, "There are %s.", names_of_options(options->arena)),
				  "there is no option \"%.*s\"", TE_STR_ARGS(name));
}

void
te_train_check_alone(const TeTrainOptions *options)
{
	const char *name = options->patience > 0 ? "patience" : options->eval_steps > 0 ? "eval_steps" : NULL;

	if (name != NULL)
		te_throw_hint(TE_ERR_INVALID, NULL, "Give an eval_query.", "option \"%s\" needs rows to evaluate on", name);
}

const TeJson *
te_train_options_json(TeArena *arena, const TeTrainOptions *options)
{
	TeJson	   *json = te_json_new_object(arena);

	for (size_t i = 0; i < TE_LENGTH(table); i++)
	{
		const Option *option = &table[i];
		const void *value = member((TeTrainOptions *) options, option);
		const TeJson *object = option->type == OPTION_JSON ? *(const TeJson *const *) value : NULL;

		if (option->type == OPTION_REAL)
			te_json_set_real(te_json_add(arena, json, option->name), *(const double *) value);
		else if (option->type == OPTION_INTEGER)
			te_json_set_int(te_json_add(arena, json, option->name), *(const int64_t *) value);
		else if (option->type == OPTION_BOOL)
			te_json_set_bool(te_json_add(arena, json, option->name), *(const bool *) value);
		else if (option->type == OPTION_STRING)
			te_json_set_str(te_json_add(arena, json, option->name), *(const TeStr *) value);
		else if (object != NULL)
			te_json_set_copy(arena, te_json_add(arena, json, option->name), object);
	}
	return json;
}

bool
te_train_keeps_best(const TeTrainOptions *options)
{
	return options->patience > 0;
}
