/*-------------------------------------------------------------------------
 * examples.c
 *	  The data set of a run: rows of a query as tokens and targets, in a spool.
 *
 * Rows stream through: an objective makes one or more examples of a row, each is
 * written to the host's sink as a record, and only its place is kept in memory (8 bytes). A trainer
 * reads records by number, in whatever order an epoch has.
 *
 *	  record	int32: n_sequences, n_targets, n_soft, lengths of the sequences,
 *				then of each sequence its ids and its types, then targets, then n_soft floats
 *	  end		JSON: {"labels": [...], "order": [...], "rows": ..., "tokens": ..., "truncated": ..., "soft": ..., "places": n}, offsets of
 *				the records, then length of the JSON and a magic number
 *
 * Everything needed to go on after a crash is in the spool: te_examples_open().
 *
 * Labels.  Either they are given (another set's, or the model's) or they are whatever occurs; then
 * targets count them in order of occurrence, and `order` turns that into their places
 * among the sorted ones, which does not depend on the order of the rows.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

#include <stdlib.h>

#define SPOOL_MAGIC UINT64_C(0x314c4f4f50534554)	/* "TESPOOL1" */
#define MAX_END ((size_t) 1 << 30)
#define HEADER_WORDS 3

struct TeExamples
{
	TeArena    *arena;
	TeArena    *row;			/* reset for each row */
	const TeObjective *objective;
	const TeModel *model;		/* NULL in one that was opened */
	const TeTrainOptions *options;
	TeSink	   *sink;
	const TeSource *source;		/* once it is opened */

	size_t		n_rows;
	uint64_t	tokens;
	uint64_t	truncated;
	bool		row_truncated;
	uint64_t	empty;			/* rows without an example */
	TeTruncate	truncate;
	int32_t    *pending;		/* the record that was put last, not yet written: a teacher's vector may follow */
	size_t		pending_words;

	int32_t		n_soft;			/* the width of a row of what a teacher says; 0: there is none */

	size_t		n;				/* examples */
	size_t		capacity;
	uint64_t   *places;			/* of records; n + 1 once it is finished */
	uint64_t	written;

	/* labels: an open hash by name, at most half full */
	bool		fixed;			/* no others may occur */
	int32_t		n_labels;
	int32_t		label_capacity;
	TeStr	   *labels;
	int32_t    *label_index;	/* -1: free */
	size_t		label_index_size;
	int32_t    *order;			/* from numbers in records to those of the sorted labels; NULL: the same */
};

/* ---- labels ---- */

static size_t
label_slot(const TeExamples *examples, TeStr label)
{
	size_t		slot = te_hash(label.data, label.len) & (examples->label_index_size - 1);

	while (examples->label_index[slot] >= 0 && !te_str_eq(examples->labels[examples->label_index[slot]], label))
		slot = (slot + 1) & (examples->label_index_size - 1);
	return slot;
}

static void
index_labels(TeExamples *examples, size_t size)
{
	examples->label_index_size = size;
	examples->label_index = te_alloc(examples->arena, te_mul_size(size, sizeof(int32_t)));
	memset(examples->label_index, 0xff, size * sizeof(int32_t));
	for (int32_t i = 0; i < examples->n_labels; i++)
		examples->label_index[label_slot(examples, examples->labels[i])] = i;
}

static int32_t
add_label(TeExamples *examples, TeStr label)
{
	if (examples->n_labels == TE_MAX_LABELS)
		te_throw_hint(TE_ERR_INVALID, NULL, "Is the column of labels one of numbers or of texts? Then the task is another one.",
					  "there are more than %d labels", TE_MAX_LABELS);
	if (examples->n_labels == examples->label_capacity)
	{
		int32_t		capacity = TE_MAX(64, 2 * examples->label_capacity);
		TeStr	   *labels = te_new_array(examples->arena, TeStr, capacity);

		if (examples->n_labels > 0)
			memcpy(labels, examples->labels, examples->n_labels * sizeof(TeStr));
		examples->labels = labels;
		examples->label_capacity = capacity;
		index_labels(examples, 4 * (size_t) capacity);
	}
	examples->labels[examples->n_labels] = te_str_copy(examples->arena, label);
	examples->label_index[label_slot(examples, label)] = examples->n_labels;
	return examples->n_labels++;
}

/* In UTF-8. */
static size_t
count_characters(TeStr text)
{
	size_t		n = 0;

	for (size_t i = 0; i < text.len; i++)
		n += ((unsigned char) text.data[i] & 0xc0) != 0x80;
	return n;
}

int32_t
te_examples_label(TeExamples *examples, TeStr label)
{
	int32_t		found = examples->label_index_size == 0 ? -1 : examples->label_index[label_slot(examples, label)];

	if (label.len == 0)
		te_throw(TE_ERR_INVALID, "a label is empty");
	if (found >= 0)
		return found;
	if (examples->fixed)
		te_throw_hint(TE_ERR_INVALID, NULL,
					  "Labels that a model does not have want a new head: the option \"new_labels\". Rows for evaluation must have the labels of those for training.",
					  "label \"%.*s\" is not known", TE_STR_ARGS(label));
	if (count_characters(label) > TE_MAX_LABEL_CHARACTERS)
		te_throw_hint(TE_ERR_INVALID, te_format(examples->row, "It has %zu.", count_characters(label)), "Give a label a word or a short sentence.",
					  "a label must have at most %d characters", TE_MAX_LABEL_CHARACTERS);
	return add_label(examples, label);
}

static void
fix_labels(TeExamples *examples, const TeStr *labels, int32_t n)
{
	for (int32_t i = 0; i < n; i++)
		add_label(examples, labels[i]);
	examples->fixed = true;
}

static int
compare_labels(const void *a, const void *b)
{
	const TeStr *x = a;
	const TeStr *y = b;
	int			order = memcmp(x->data, y->data, TE_MIN(x->len, y->len));

	return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* A model that can only say one thing has nothing to learn. */
static void
check_labels(const TeExamples *examples)
{
	if (examples->fixed || examples->n_labels >= examples->objective->fewest_labels)
		return;
	if (examples->n_labels == 0)
		te_throw(TE_ERR_INVALID, "no row has a label");
	te_throw_hint(TE_ERR_INVALID, NULL, "Give rows with other labels, too. Whether a text has a label or not is a task \"multi-label\".",
				  "all rows have the same label, \"%.*s\"", TE_STR_ARGS(examples->labels[0]));
}

/* Sort the labels that occurred; order says where each went. */
static void
sort_labels(TeExamples *examples)
{
	TeStr	   *sorted;

	if (examples->fixed || examples->n_labels == 0)
		return;
	sorted = te_new_array(examples->arena, TeStr, examples->n_labels);
	examples->order = te_new_array(examples->arena, int32_t, examples->n_labels);
	memcpy(sorted, examples->labels, examples->n_labels * sizeof(TeStr));
	qsort(sorted, (size_t) examples->n_labels, sizeof(TeStr), compare_labels);
	for (int32_t i = 0; i < examples->n_labels; i++)
		examples->order[examples->label_index[label_slot(examples, sorted[i])]] = i;
	examples->labels = sorted;
}

int32_t
te_examples_labels(const TeExamples *examples, const TeStr **labels)
{
	*labels = examples->labels;
	return examples->n_labels;
}

/* ---- making examples ---- */

TeExamples *
te_examples_create(TeArena *arena, const TeModel *model, const TeObjective *objective, const TeTrainOptions *options,
				   const TeExamples *like, TeSink *spool)
{
	TeExamples *examples = te_new(arena, TeExamples);
	const TeHead *head = te_model_head(model);

	examples->arena = arena;
	examples->row = te_arena_create(arena, "row");
	examples->objective = objective;
	examples->model = model;
	examples->options = options;
	examples->sink = spool;
	examples->truncate = TE_TRUNCATE_CUT;
	if (objective->labels == TE_LABELS_NONE)
		return examples;
	if (like != NULL)
		fix_labels(examples, like->labels, like->n_labels);
	else if (objective->teacher == NULL && head->kind == objective->head && !options->new_labels)
		fix_labels(examples, head->labels, head->n_labels);
	return examples;
}

void
te_examples_set_truncate(TeExamples *examples, TeTruncate truncate)
{
	examples->truncate = truncate;
}

/* Labels that another set had are the same teacher's. */
void
te_examples_set_teacher(TeExamples *examples, const TeModel *teacher)
{
	const TeHead *head = te_model_head(teacher);
	bool		named = examples->objective->labels == TE_LABELS_NAMED;

	te_assert(examples->objective->teacher != NULL && examples->n == 0);
	if (head->kind != examples->objective->head || (!named && head->n_labels > 1))
		te_throw(TE_ERR_INVALID, "a model for the task \"%.*s\" cannot be the teacher for \"%s\"", TE_STR_ARGS(te_model_task(teacher)),
				 examples->objective->task);
	if (named && head->scoring != TE_SCORE_SOFTMAX)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "A teacher's labels must exclude one another.",
					  "a teacher that gives several labels at a time, or a single one, is not supported");
	examples->n_soft = head->kind == TE_HEAD_NONE ? te_model_dimensions(teacher) : head->n_labels;
	if (!named)
		return;
	examples->n_labels = examples->label_capacity = 0;
	examples->label_index_size = 0;
	fix_labels(examples, head->labels, head->n_labels);
}

TeArena *
te_examples_arena(TeExamples *examples)
{
	return examples->row;
}

const TeModel *
te_examples_model(const TeExamples *examples)
{
	return examples->model;
}

const TeTrainOptions *
te_examples_options(const TeExamples *examples)
{
	return examples->options;
}

size_t
te_examples_longest(const TeExamples *examples)
{
	size_t		context = (size_t) te_model_context_length(examples->model);
	size_t		wanted = (size_t) examples->options->max_length;

	return context == 0 ? wanted : wanted == 0 ? context : TE_MIN(wanted, context);
}

TeToken *
te_examples_tokenize(TeExamples *examples, TeStr text, TeStr pair, size_t *n)
{
	size_t		n_untruncated;
	TeToken    *tokens = te_encode_alloc(te_model_tokenizer(examples->model), examples->row, text, pair, true,
										 te_examples_longest(examples), n, &n_untruncated);

	if (*n == 0)
		te_throw(TE_ERR_INVALID, "the text has no tokens, and the model's tokenizer adds none");
	if (n_untruncated > *n)
		te_examples_cut(examples, n_untruncated);
	return tokens;
}

void
te_examples_cut(TeExamples *examples, size_t n_tokens)
{
	if (examples->truncate == TE_TRUNCATE_ERROR)
		te_throw(TE_ERR_TOO_LONG, "the text has %zu tokens, but an example has %zu at most", n_tokens, te_examples_longest(examples));
	examples->row_truncated = true;
}

TeSequence
te_sequence_of_tokens(TeArena *arena, const TeToken *tokens, size_t n)
{
	TeSequence	sequence = {(int32_t) n, te_new_array(arena, int32_t, n), te_new_array(arena, int32_t, n)};

	for (size_t i = 0; i < n; i++)
	{
		sequence.ids[i] = tokens[i].id;
		sequence.type_ids[i] = tokens[i].type_id;
	}
	return sequence;
}

TeSequence
te_examples_sequence(TeExamples *examples, TeStr text, TeStr pair)
{
	size_t		n;
	TeToken    *tokens = te_examples_tokenize(examples, text, pair, &n);

	return te_sequence_of_tokens(examples->row, tokens, n);
}

static void
write_out(TeExamples *examples, const void *data, size_t len)
{
	te_sink_write(examples->sink, data, len);
	examples->written += len;
}

/* How many numbers a teacher says of an example whose first sequence has so many tokens. */
static size_t
soft_words(const TeExamples *examples, int32_t n_tokens)
{
	return (size_t) examples->n_soft * (size_t) (examples->objective->head == TE_HEAD_TOKEN ? n_tokens : 1);
}

static void
flush_record(TeExamples *examples)
{
	if (examples->pending != NULL && examples->n_soft > 0 && examples->pending[2] == 0)
		te_throw(TE_ERR_INTERNAL, "the teacher has said nothing of a row");
	if (examples->pending != NULL)
		write_out(examples, examples->pending, examples->pending_words * sizeof(int32_t));
	examples->pending = NULL;
}

static void
add_place(TeExamples *examples, uint64_t place)
{
	if (examples->n == examples->capacity)
	{
		size_t		capacity = TE_MAX((size_t) 1024, te_mul_size(examples->capacity, 2));
		uint64_t   *places = te_alloc(examples->arena, te_mul_size(te_add_size(capacity, 1), sizeof(uint64_t)));

		if (examples->n > 0)
			memcpy(places, examples->places, examples->n * sizeof(uint64_t));
		examples->places = places;
		examples->capacity = capacity;
	}
	examples->places[examples->n++] = place;
}

static size_t
record_words(const TeExample *example)
{
	size_t		words = HEADER_WORDS + (size_t) example->n_sequences + (size_t) example->n_targets + (size_t) example->n_soft;

	for (int i = 0; i < example->n_sequences; i++)
		words += 2 * (size_t) example->sequences[i].n;
	return words;
}

void
te_examples_put(TeExamples *examples, const TeExample *example)
{
	int32_t    *at;

	flush_record(examples);
	if (examples->n == UINT32_MAX)
		te_throw(TE_ERR_LIMIT, "there are more than %u examples", UINT32_MAX);
	add_place(examples, examples->written);
	examples->pending_words = record_words(example);
	examples->pending = at = te_new_array(examples->row, int32_t, examples->pending_words);
	*at++ = example->n_sequences;
	*at++ = example->n_targets;
	*at++ = example->n_soft;
	for (int i = 0; i < example->n_sequences; i++)
		*at++ = example->sequences[i].n;
	for (int i = 0; i < example->n_sequences; i++)
	{
		const TeSequence *sequence = &example->sequences[i];

		memcpy(at, sequence->ids, sequence->n * sizeof(int32_t));
		at += sequence->n;
		memcpy(at, sequence->type_ids, sequence->n * sizeof(int32_t));
		at += sequence->n;
		examples->tokens += (uint64_t) sequence->n;
	}
	if (example->n_targets > 0)
		memcpy(at, example->targets, example->n_targets * sizeof(int32_t));
	if (example->n_soft > 0)
		memcpy(at + example->n_targets, example->soft, example->n_soft * sizeof(float));
}

void
te_examples_add(TeExamples *examples, const TeValue *values)
{
	size_t		before = examples->n;

	flush_record(examples);
	te_check_interrupts();
	te_arena_reset(examples->row);
	examples->row_truncated = false;
	examples->objective->encode(examples, values);
	examples->truncated += examples->row_truncated;
	if (examples->n > before)
		examples->n_rows++;
	else
		examples->empty++;
}

void
te_examples_add_soft(TeExamples *examples, const float *soft, size_t n)
{
	int32_t    *longer;

	te_assert(examples->pending != NULL && examples->pending[2] == 0 && examples->n_soft > 0 && n < INT32_MAX);
	if (n != soft_words(examples, examples->pending[HEADER_WORDS]))
		te_throw_hint(TE_ERR_INVALID, NULL, "Teacher and student must have the same tokenizer, and take texts of the same length.",
					  "the teacher says %zu numbers of a text of %d tokens, and %d labels each", n, (int) examples->pending[HEADER_WORDS],
					  (int) examples->n_soft);
	longer = te_new_array(examples->row, int32_t, te_add_size(examples->pending_words, n));
	memcpy(longer, examples->pending, examples->pending_words * sizeof(int32_t));
	memcpy(longer + examples->pending_words, soft, n * sizeof(float));
	longer[2] = (int32_t) n;
	examples->pending = longer;
	examples->pending_words += n;
}

void
te_examples_finish(TeExamples *examples)
{
	TeArena    *arena = examples->arena;
	TeJson	   *end = te_json_new_object(arena);
	TeJson	   *labels = te_json_new_array(arena, (size_t) examples->n_labels);
	TeJson	   *order;
	TeStr		text;
	uint64_t	tail[2];

	if (examples->n == 0)
		te_throw(TE_ERR_INVALID, "the query gave nothing to learn from");
	flush_record(examples);
	add_place(examples, examples->written);
	examples->n--;
	check_labels(examples);
	sort_labels(examples);
	for (int32_t i = 0; i < examples->n_labels; i++)
		te_json_set_str(&labels->items[i], examples->labels[i]);
	te_json_set_copy(arena, te_json_add(arena, end, "labels"), labels);
	if (examples->order != NULL)
	{
		order = te_json_new_array(arena, (size_t) examples->n_labels);
		for (int32_t i = 0; i < examples->n_labels; i++)
			te_json_set_int(&order->items[i], examples->order[i]);
		te_json_set_copy(arena, te_json_add(arena, end, "order"), order);
	}
	te_json_set_int(te_json_add(arena, end, "rows"), (int64_t) examples->n_rows);
	te_json_set_int(te_json_add(arena, end, "tokens"), (int64_t) examples->tokens);
	te_json_set_int(te_json_add(arena, end, "truncated"), (int64_t) examples->truncated);
	te_json_set_int(te_json_add(arena, end, "soft"), examples->n_soft);
	te_json_set_int(te_json_add(arena, end, "places"), (int64_t) examples->n);
	text = te_json_text(arena, end, 0);
	write_out(examples, examples->places, (examples->n + 1) * sizeof(uint64_t));
	write_out(examples, text.data, text.len);
	tail[0] = text.len;
	tail[1] = SPOOL_MAGIC;
	write_out(examples, tail, sizeof(tail));
}

/* ---- reading them ---- */

static void
read_labels(TeExamples *examples, const TeJson *end)
{
	const TeJson *labels = te_json_get(end, "labels");
	const TeJson *order = te_json_get(end, "order");

	if (labels == NULL || labels->kind != TE_JSON_ARRAY || labels->n > TE_MAX_LABELS
		|| (order != NULL && (order->kind != TE_JSON_ARRAY || order->n != labels->n)))
		te_throw(TE_ERR_CORRUPT, "the spool \"%s\" has damaged labels", examples->source->name);
	examples->n_labels = (int32_t) labels->n;
	examples->labels = te_new_array(examples->arena, TeStr, labels->n);
	examples->order = order == NULL ? NULL : te_new_array(examples->arena, int32_t, labels->n);
	for (uint32_t i = 0; i < labels->n; i++)
	{
		if (labels->items[i].kind != TE_JSON_STRING
			|| (order != NULL && (order->items[i].kind != TE_JSON_INTEGER || order->items[i].integer < 0
								  || order->items[i].integer >= labels->n)))
			te_throw(TE_ERR_CORRUPT, "the spool \"%s\" has damaged labels", examples->source->name);
		examples->labels[i] = labels->items[i].string;
		if (order != NULL)
			examples->order[i] = (int32_t) order->items[i].integer;
	}
}

static void
read_places(TeExamples *examples, uint64_t end)
{
	uint64_t	bytes = te_mul_size(te_add_size(examples->n, 1), sizeof(uint64_t));

	if (bytes > end)
		te_throw(TE_ERR_CORRUPT, "the spool \"%s\" is cut short", examples->source->name);
	examples->places = te_alloc(examples->arena, bytes);
	te_source_read(examples->source, end - bytes, examples->places, bytes);
	for (size_t i = 0; i < examples->n; i++)
	{
		if (examples->places[i] >= examples->places[i + 1] || examples->places[i + 1] > end - bytes)
			te_throw(TE_ERR_CORRUPT, "the spool \"%s\" has damaged places", examples->source->name);
	}
}

TeExamples *
te_examples_open(TeArena *arena, const TeObjective *objective, const TeSource *spool)
{
	TeExamples *examples = te_new(arena, TeExamples);
	uint64_t	tail[2] = {0, 0};
	TeStr		text;
	char	   *bytes;
	const TeJson *end;

	examples->arena = arena;
	examples->objective = objective;
	examples->source = spool;
	if (spool->size > sizeof(tail))
		te_source_read(spool, spool->size - sizeof(tail), tail, sizeof(tail));
	if (tail[1] != SPOOL_MAGIC || tail[0] > TE_MIN(spool->size - sizeof(tail), (uint64_t) MAX_END))
		te_throw(TE_ERR_CORRUPT, "\"%s\" is no spool that was finished", spool->name);
	bytes = te_alloc(arena, tail[0]);
	te_source_read(spool, spool->size - sizeof(tail) - tail[0], bytes, tail[0]);
	text = (TeStr) {bytes, tail[0]};
	end = te_json_parse(arena, text, spool->name);
	read_labels(examples, end);
	examples->n_rows = (size_t) te_json_int_range(end, "rows", 0, 0, INT64_MAX);
	examples->tokens = (uint64_t) te_json_int_range(end, "tokens", 0, 0, INT64_MAX);
	examples->truncated = (uint64_t) te_json_int_range(end, "truncated", 0, 0, INT64_MAX);
	examples->n_soft = (int32_t) te_json_int_range(end, "soft", 0, 0, INT32_MAX);
	examples->n = (size_t) te_json_int_range(end, "places", 0, 1, UINT32_MAX);
	read_places(examples, spool->size - sizeof(tail) - tail[0]);
	return examples;
}

static TE_NORETURN void
throw_record(const TeExamples *examples, size_t i)
{
	te_throw(TE_ERR_CORRUPT, "example %zu of the spool \"%s\" is damaged", i, examples->source->name);
}

void
te_examples_read(const TeExamples *examples, size_t i, TeArena *arena, TeExample *into)
{
	uint64_t	bytes = examples->places[i + 1] - examples->places[i];
	size_t		words = (size_t) (bytes / sizeof(int32_t));
	int32_t    *at = te_alloc(arena, bytes);
	int32_t    *lengths;

	te_source_read(examples->source, examples->places[i], at, bytes);
	memset(into, 0, sizeof(*into));
	if (words < HEADER_WORDS || at[0] < 1 || at[0] > TE_MAX_SEQUENCES || at[1] < 0 || at[2] < 0
		|| words < HEADER_WORDS + (size_t) at[0])
		throw_record(examples, i);
	into->n_sequences = at[0];
	into->n_targets = at[1];
	into->n_soft = at[2];
	lengths = at + HEADER_WORDS;
	for (int s = 0; s < into->n_sequences; s++)
	{
		into->sequences[s].n = lengths[s];
		if (lengths[s] < 1 || (size_t) lengths[s] > words)
			throw_record(examples, i);
	}
	if (record_words(into) != words || (size_t) into->n_soft != soft_words(examples, lengths[0]))
		throw_record(examples, i);
	at = lengths + into->n_sequences;
	for (int s = 0; s < into->n_sequences; s++)
	{
		into->sequences[s].ids = at;
		into->sequences[s].type_ids = at + into->sequences[s].n;
		at += 2 * (size_t) into->sequences[s].n;
	}
	into->targets = at;
	into->soft = (float *) (at + into->n_targets);
	for (int32_t t = 0; examples->objective->labels != TE_LABELS_NONE && t < into->n_targets; t++)
	{
		if (into->targets[t] >= examples->n_labels)
			throw_record(examples, i);
		if (examples->order != NULL && into->targets[t] >= 0)
			into->targets[t] = examples->order[into->targets[t]];
	}
	if (examples->objective->fits != NULL && !examples->objective->fits(into))
		throw_record(examples, i);
}

int32_t
te_examples_soft(const TeExamples *examples)
{
	return examples->n_soft;
}

size_t
te_examples_rows(const TeExamples *examples)
{
	return examples->n_rows;
}

size_t
te_examples_count(const TeExamples *examples)
{
	return examples->n;
}

uint64_t
te_examples_tokens(const TeExamples *examples)
{
	return examples->tokens;
}

uint64_t
te_examples_empty(const TeExamples *examples)
{
	return examples->empty;
}

uint64_t
te_examples_truncated(const TeExamples *examples)
{
	return examples->truncated;
}
