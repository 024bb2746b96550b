/*-------------------------------------------------------------------------
 * arguments.c
 *	  What SQL functions demand of their arguments.
 *
 * Functions that change or look at models are not STRICT: one that did nothing
 * on a NULL would let a script go on that has lost a name.  Such an argument is an
 * error that names it, with a hint that says what to give; both come from one
 * table.  (A text that is NULL is another matter: that is a value, and gives NULL.)
 *
 * Labels that a user gives, for a model at import or for a text in zero_shot(),
 * are checked in one place, tr_labels().  Two of the same name could not be told
 * apart in a result (tr_labels_differ()); only tags of tokens may be one label.
 *
 * To add an argument that must not be null: its row in hints[].
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"


/* ---- what must not be null ---- */

static const struct
{
	const char *name;
	const char *hint;
}			hints[] = {
	{"model", "Write the name of a model, such as \"name\" or \"name@1\"; the view transformer.models lists them."},
	{"name", "Write a name for the model, such as \"minilm\"."},
	{"new_name", "Write the name that the model is to have."},
	{"role", "Write the name of a role, or \"public\" for all roles."},
	{"path", "Write the absolute path of a file or folder of the server."},
	{"large_object", "Write the OID of a large object, such as lo_import() or lo_from_bytea() gives."},
	{"storage", "Use \"table\" or \"file\"."},
	{"if_exists", "Use true or false."},
	{"labels", "Write them as an array, such as '{negative,positive}'."},
	{"max_tokens", "Write how many tokens a piece may have."},
	{"query", "Write a SELECT whose rows to learn from or to look at."},
	{"kind", "Use \"wordpiece\", \"bpe\" or \"unigram\"."},
	{"vocab_size", "Write how many tokens the vocabulary may have."},
	{"tbl", "Write the name of a table."},
	{"source", "Write the name of the column with the texts."},
	{"teacher", "Write the name of the model that is learned from."},
	{"student", "Write the name of the model that learns, or of one that is to be made of the teacher."},
	{"config", "Write what config.json would have, such as '{\"model_type\": \"bert\", \"hidden_size\": 128, ...}'."},
	{"tokenizer", "Write the name of a tokenizer, or of a model whose tokenizer to take."},
	{"seed", "Write a number."},
	{"run", "Write the number of a training run; the view transformer.training_runs lists them."},
	{"width", "Write a number of columns, or of pixels."},
	{"height", "Write a number of lines, or of pixels."},
	{"target", "Write the name of the column for the results."},
	{"schema", "Write a JSON schema, such as '{\"type\": \"object\", \"properties\": {\"name\": {\"type\": \"string\"}}}'."},
};

void
tr_throw_null(const char *name, const char *hint)
{
	for (int i = 0; hint == NULL && i < lengthof(hints); i++)
		if (strcmp(hints[i].name, name) == 0)
			hint = hints[i].hint;
	Assert(hint != NULL);
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("%s must not be null", name),
			 errhint("%s", hint)));
}

void
tr_require(FunctionCallInfo fcinfo, int arg, const char *name)
{
	if (PG_ARGISNULL(arg))
		tr_throw_null(name, NULL);
}

char *
tr_required_text(FunctionCallInfo fcinfo, int arg, const char *name)
{
	tr_require(fcinfo, arg, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

text *
tr_text_argument(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : PG_GETARG_TEXT_PP(arg);
}

/* ---- labels ---- */

static void
check_label(const TrTexts *labels, int i)
{
	text	   *label;
	const char *data;
	int			bytes;
	int			blanks = 0;

	if (labels->nulls[i])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("labels must not contain nulls"),
				 errdetail("Label %d is null.", i + 1),
				 errhint("Give each label a name.")));
	label = DatumGetTextPP(labels->values[i]);
	data = VARDATA_ANY(label);
	bytes = VARSIZE_ANY_EXHDR(label);
	while (blanks < bytes && strchr(" \t\r\n\f\v", data[blanks]) != NULL)
		blanks++;
	if (blanks == bytes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("labels must not be blank"),
				 errdetail("Label %d has no characters but white space.", i + 1),
				 errhint("Give each label a name.")));
	if (pg_mbstrlen_with_len(data, bytes) > TE_MAX_LABEL_CHARACTERS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a label must have at most %d characters", TE_MAX_LABEL_CHARACTERS),
				 errdetail("Label %d has %d.", i + 1, pg_mbstrlen_with_len(data, bytes)),
				 errhint("Give a label a word or a short sentence.")));
}

static int
compare_labels(const void *a, const void *b, void *arg)
{
	const TrTexts *labels = arg;
	text	   *x = DatumGetTextPP(labels->values[*(const int *) a]);
	text	   *y = DatumGetTextPP(labels->values[*(const int *) b]);
	int			x_bytes = VARSIZE_ANY_EXHDR(x);
	int			y_bytes = VARSIZE_ANY_EXHDR(y);
	int			result = memcmp(VARDATA_ANY(x), VARDATA_ANY(y), Min(x_bytes, y_bytes));

	if (result == 0)
		result = x_bytes - y_bytes;
	return result != 0 ? result : *(const int *) a - *(const int *) b;
}

void
tr_labels_differ(TrTexts *labels)
{
	int		   *order = palloc(sizeof(int) * labels->n);

	for (int i = 0; i < labels->n; i++)
		order[i] = i;
	qsort_arg(order, labels->n, sizeof(int), compare_labels, labels);
	for (int i = 1; i < labels->n; i++)
		if (tr_same_text(DatumGetTextPP(labels->values[order[i - 1]]), DatumGetTextPP(labels->values[order[i]])))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("labels must differ from each other"),
					 errdetail("Labels %d and %d are both \"%s\".", order[i - 1] + 1, order[i] + 1,
							   TextDatumGetCString(labels->values[order[i]])),
					 errhint("Give each label a name of its own.")));
	pfree(order);
}

TrTexts
tr_labels(ArrayType *array)
{
	TrTexts		labels = tr_texts(array);

	if (labels.n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("labels must not be empty"),
				 errdetail("The array has no elements."),
				 errhint("Write at least one label, as in '{negative,positive}'.")));
	if (labels.n > TE_MAX_LABELS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be at most %d labels", TE_MAX_LABELS),
				 errdetail("The array has %d elements.", labels.n),
				 errhint("Give fewer labels.")));
	for (int i = 0; i < labels.n; i++)
		check_label(&labels, i);
	return labels;
}
