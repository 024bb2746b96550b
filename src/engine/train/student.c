/*-------------------------------------------------------------------------
 * student.c
 *	  A smaller model made of some of a teacher's layers, to be distilled.
 *
 * Which tensors are a layer's is asked of the architecture, not known here: its list of tensors for the
 * teacher's number of layers, compared with that for the student's, says what stands before the number in a name.
 * Each tensor of layer j of the student is then the teacher's of the same name
 * but for the number, in whatever type that has; all else is the teacher's as it is.  Layers that
 * share their weights (ALBERT) are no tensors of their own: then there are only fewer of them.
 *
 * A number of layers means so many at even distances, the first and the last among them, as DistilBERT was
 * made (Sanh et al. 2019).  Where a family has layers of several kinds by their place, the nearest of the kind that the
 * student has there.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#include <stdlib.h>

#define MAX_PREFIXES 16

typedef struct Student
{
	TeArena    *arena;
	const TeModelDef *teacher;
	TeDefParts	teacher_parts;
	TeDefParts	parts;
	int32_t		n_teacher;		/* the teacher's layers, as config.json counts them */
	int32_t		n;				/* the student's */
	int32_t    *layers;			/* of the teacher */
	bool		chosen;			/* by the user, one by one */
	size_t		n_prefixes;		/* of names of a layer's tensors: "encoder.layer." */
	TeStr		prefixes[MAX_PREFIXES];
} Student;

/* config.json's names for the number of layers. */
static const char *const count_keys[] = {"num_hidden_layers", "n_layers", "n_layer", "num_layers"};

/* ---- which layers ---- */

/* Where a layer is computed several times (ALBERT), config.json counts it once. */
static void
count_layers(Student *student)
{
	for (size_t i = 0; i < TE_LENGTH(count_keys) && student->n_teacher == 0; i++)
		student->n_teacher = (int32_t) te_json_int_range(student->teacher_parts.config_json, count_keys[i], 0, 0, TE_MAX_LAYERS);
	if (student->n_teacher == 0)
		te_throw(TE_ERR_UNSUPPORTED, "config.json does not say how many layers the teacher has");
}

static void
read_list(Student *student, const TeJson *list)
{
	int32_t		n_teacher = student->n_teacher;

	if (list->n == 0 || list->n > (uint32_t) n_teacher)
		te_throw(TE_ERR_INVALID, "option \"layers\" must name 1 to %d layers", (int) n_teacher);
	student->chosen = true;
	student->n = (int32_t) list->n;
	student->layers = te_new_array(student->arena, int32_t, student->n);
	for (int32_t j = 0; j < student->n; j++)
	{
		const TeJson *item = &list->items[j];

		if (item->kind != TE_JSON_INTEGER || item->integer >= n_teacher || item->integer < (j == 0 ? 0 : student->layers[j - 1] + 1))
			te_throw(TE_ERR_INVALID, "option \"layers\" must name layers from 0 to %d, each once and in order", (int) n_teacher - 1);
		student->layers[j] = (int32_t) item->integer;
	}
}

/* The teacher's layer at an even distance from the others. */
static int32_t
even_layer(const Student *student, int32_t j)
{
	int32_t		last = student->n_teacher - 1;

	return student->n == 1 ? 0 : (2 * j * last + student->n - 1) / (2 * (student->n - 1));
}

static void
choose_layers(Student *student, const TeJson *layers)
{
	int32_t		n_teacher = student->n_teacher;

	if (layers != NULL && layers->kind == TE_JSON_NULL)
		layers = NULL;
	if (layers != NULL && layers->kind == TE_JSON_ARRAY)
	{
		read_list(student, layers);
		return;
	}
	if (layers != NULL && (layers->kind != TE_JSON_INTEGER || layers->integer < 1 || layers->integer > n_teacher))
		te_throw(TE_ERR_INVALID, "option \"layers\" must be a number from 1 to %d, or a list of layers", (int) n_teacher);
	student->n = layers != NULL ? (int32_t) layers->integer : TE_MAX(1, n_teacher / 2);
	student->layers = te_new_array(student->arena, int32_t, student->n);
	for (int32_t j = 0; j < student->n; j++)
		student->layers[j] = even_layer(student, j);
}

static bool
is_local(const TeConfig *config, int32_t layer)
{
	return (config->local_layers[layer / 32] >> (layer % 32) & 1) != 0;
}

static bool
kinds_agree(const Student *student)
{
	for (int32_t j = 0; j < student->n; j++)
	{
		if (is_local(&student->parts.config, j) != is_local(&student->teacher_parts.config, student->layers[j]))
			return false;
	}
	return true;
}

/* For each of the student's layers the nearest one of its kind behind the one before. */
static void
choose_by_kind(Student *student)
{
	int32_t		next = 0;

	for (int32_t j = 0; j < student->n; j++)
	{
		int32_t		even = even_layer(student, j);
		int32_t		best = -1;

		for (int32_t i = next; i <= student->n_teacher - (student->n - j); i++)
		{
			if (is_local(&student->parts.config, j) != is_local(&student->teacher_parts.config, i))
				continue;
			if (best < 0 || abs(i - even) < abs(best - even))
				best = i;
		}
		if (best < 0)
			return;
		student->layers[j] = best;
		next = best + 1;
	}
}

/* ---- config.json ---- */

/* With the student's number of layers; what it says of each layer, for those that are taken. */
static TeStr
student_config(const Student *student)
{
	TeArena    *arena = student->arena;
	TeJson	   *config = te_json_new_object(arena);

	te_json_set_copy(arena, config, student->teacher_parts.config_json);
	for (size_t i = 0; i < TE_LENGTH(count_keys); i++)
	{
		if (te_json_get(config, count_keys[i]) != NULL)
			te_json_set_int(te_json_add(arena, config, count_keys[i]), student->n);
	}
	for (uint32_t i = 0; i < config->n; i++)
	{
		TeJson	   *member = &config->items[i];
		TeJson	   *list;

		if (member->kind != TE_JSON_ARRAY || member->n != (uint32_t) student->n_teacher
			|| !te_str_starts(member->key, "layer"))
			continue;
		list = te_json_new_array(arena, (size_t) student->n);
		for (int32_t j = 0; j < student->n; j++)
			te_json_set_copy(arena, &list->items[j], &member->items[student->layers[j]]);
		te_json_set_copy(arena, member, list);
	}
	return te_json_text(arena, config, 0);
}

/* ---- names ---- */

/* A number between dots that begins at `at`; -1: there is none.  *end is the dot behind it. */
static int32_t
number_at(const char *at, const char **end)
{
	int32_t		number = 0;

	for (*end = at; **end >= '0' && **end <= '9' && number < TE_MAX_LAYERS; (*end)++)
		number = number * 10 + (**end - '0');
	return *end > at && **end == '.' ? number : -1;
}

/* What stands before the number of a layer that the student does not have. */
static void
add_prefix(Student *student, const char *name)
{
	const char *end;

	for (const char *at = name; *at != '\0'; at++)
	{
		TeStr		prefix = {name, (size_t) (at - name)};
		int32_t		number = at > name && at[-1] == '.' ? number_at(at, &end) : -1;

		if (number < student->n || number >= student->n_teacher)
			continue;
		for (size_t i = 0; i < student->n_prefixes; i++)
		{
			if (te_str_eq(student->prefixes[i], prefix))
				return;
		}
		if (student->n_prefixes == MAX_PREFIXES)
			te_throw(TE_ERR_UNSUPPORTED, "the names of the teacher's layers are not understood");
		student->prefixes[student->n_prefixes++] = prefix;
		return;
	}
}

/* The number of the layer that a tensor is of, and what stands around it; -1: of none. */
static int32_t
layer_of(const Student *student, const char *name, TeStr *prefix, const char **rest)
{
	for (size_t i = 0; i < student->n_prefixes; i++)
	{
		*prefix = student->prefixes[i];
		if (strncmp(name, prefix->data, prefix->len) == 0)
			return number_at(name + prefix->len, rest);
	}
	return -1;
}

static const char *
with_layer(TeArena *arena, TeStr prefix, int32_t layer, const char *rest)
{
	return te_format(arena, "%.*s%d%s", (int) prefix.len, prefix.data, (int) layer, rest);
}

/* The teacher's name of a tensor. */
static const char *
teacher_name(const Student *student, TeArena *arena, const char *name)
{
	TeStr		prefix;
	const char *rest;
	int32_t		layer = layer_of(student, name, &prefix, &rest);

	return layer < 0 || layer >= student->n ? name : with_layer(arena, prefix, student->layers[layer], rest);
}

static TE_NORETURN void
throw_layers(int32_t teacher, int32_t student, const char *name)
{
	te_throw_hint(TE_ERR_INVALID, NULL, "Choose other layers: the first one is often of a kind of its own.",
				  "layer %d of the teacher cannot be layer %d of a student: only one of them has \"%s\"", (int) teacher, (int) student, name);
}

/* A layer that is taken must have the tensors that the student's has in its place. */
static void
check_layers(const Student *student)
{
	TeStr		prefix;
	const char *rest;

	for (size_t i = 0; i < student->parts.specs.n; i++)
	{
		const char *name = student->parts.specs.specs[i].name;
		int32_t		layer = layer_of(student, name, &prefix, &rest);

		if (layer >= 0 && te_specs_find(&student->teacher_parts.specs, teacher_name(student, student->arena, name)) == NULL)
			throw_layers(student->layers[layer], layer, name);
	}
	for (size_t i = 0; i < student->teacher_parts.specs.n; i++)
	{
		const char *name = student->teacher_parts.specs.specs[i].name;
		int32_t		layer = layer_of(student, name, &prefix, &rest);

		for (int32_t j = 0; layer >= 0 && j < student->n; j++)
		{
			if (student->layers[j] == layer && te_specs_find(&student->parts.specs, with_layer(student->arena, prefix, j, rest)) == NULL)
				throw_layers(layer, j, name);
		}
	}
}

static const TeTensorInfo *
find_in_teacher(void *from, TeArena *arena, const TeTensorSpec *spec)
{
	const Student *student = from;

	return te_tensor_find(&student->teacher->tensors, te_str(teacher_name(student, arena, spec->name)));
}

/* ---- the student ---- */

static void
read_parts(Student *student, TeModelDef *def)
{
	def->config = student_config(student);
	te_def_parts(student->arena, def, &student->parts);
	if (student->parts.config.n_layers * (int64_t) student->n_teacher != student->teacher_parts.config.n_layers * (int64_t) student->n)
		te_throw(TE_ERR_UNSUPPORTED, "a model of architecture \"%.*s\" cannot be made of some layers of another",
				 TE_STR_ARGS(def->architecture));
}

TeModelDef *
te_model_student(TeArena *arena, const TeModelDef *teacher, const TeJson *layers)
{
	TeModelDef *def = te_new(arena, TeModelDef);
	Student		student = {.arena = arena};

	if (te_str_is(teacher->architecture, "tokenizer"))
		te_throw(TE_ERR_INVALID, "a tokenizer has no layers");
	student.teacher = te_lora_merged(arena, teacher);
	te_def_parts(arena, student.teacher, &student.teacher_parts);
	count_layers(&student);
	choose_layers(&student, layers);
	*def = *student.teacher;
	read_parts(&student, def);
	if (!kinds_agree(&student) && !student.chosen)
	{
		choose_by_kind(&student);
		read_parts(&student, def);
	}
	if (!kinds_agree(&student))
		te_throw_hint(TE_ERR_INVALID, NULL, "Choose layers of the same kinds in the same order.",
					  "the layers do not see as far as those of a student in their places");
	for (size_t i = 0; i < student.teacher_parts.specs.n; i++)
	{
		if (te_specs_find(&student.parts.specs, student.teacher_parts.specs.specs[i].name) == NULL)
			add_prefix(&student, student.teacher_parts.specs.specs[i].name);
	}
	check_layers(&student);
	def->tensors = (TeTensorSet) {0};
	te_def_assemble(arena, def, NULL, find_in_teacher, &student);
	return def;
}
