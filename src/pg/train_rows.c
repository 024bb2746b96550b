/*-------------------------------------------------------------------------
 * train_rows.c
 *	  Rows of a query to a spool of examples.
 *
 * The objective says which columns, query_rows.c gives the values, the engine makes examples of them and writes
 * these to a file of the run.  Without a teacher a row is added as it comes.  With one, rows wait until there are so
 * many that a batch is worth it; the teacher computes what it says of all of them, and then each is added together with that.  Since a
 * row is then added after later ones were read, its number is kept with it, for errors.
 *
 * The spool is on disk when this returns.  Memory: the rows that wait, and eight bytes an example.
 *-------------------------------------------------------------------------
 */
#include "pg/train.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define TEACHER_ROWS 256		/* that a teacher is asked about at a time */
#define TEACHER_BYTES ((Size) 4 * 1024 * 1024)

/* A row that waits for what the teacher says of it. */
typedef struct WaitingRow
{
	int64		number;
	TeValue    *values;
} WaitingRow;

/* Rows of one query on their way to a spool. */
typedef struct Reader
{
	const TrSpooling *spool;
	const char *what;			/* "training query" */
	int64		rows;			/* that were added */
	TeExamples *examples;
	const TeColumn *columns;
	int			n_columns;
	TrQueryColumn *wanted;
	TrModel    *teacher;		/* NULL: none */
	int			most;			/* rows that wait */
	int			n_waiting;
	WaitingRow *waiting;
	Size		bytes;			/* of their texts */
	MemoryContext memory;		/* of the rows that wait */
	int64		at;				/* the row that an error is about; 0: none */
} Reader;

/* The columns of an objective, as the query is to give them. */
static void
want_columns(Reader *reader, const TeObjective *objective)
{
	static const Oid types[] = {[TE_COLUMN_TEXT] = TEXTOID,[TE_COLUMN_TEXTS] = TEXTARRAYOID,[TE_COLUMN_REAL] = FLOAT8OID};

	reader->columns = te_objective_columns(objective);
	while (reader->columns[reader->n_columns].name != NULL)
		reader->n_columns++;
	reader->wanted = palloc0(sizeof(TrQueryColumn) * reader->n_columns);
	for (int i = 0; i < reader->n_columns; i++)
	{
		reader->wanted[i].name = reader->columns[i].name;
		reader->wanted[i].type = types[reader->columns[i].type];
		reader->wanted[i].optional = reader->columns[i].optional;
	}
}

/* A text as the engine's, in memory that stays. */
static TeStr
take_text(Reader *reader, Datum datum)
{
	TeStr		given = tr_utf8(DatumGetTextPP(datum));
	char	   *copy = palloc(given.len + 1);

	memcpy(copy, given.data, given.len);
	reader->bytes += given.len;
	return (TeStr) {copy, given.len};
}

static void
take_texts(Reader *reader, TeValue *value, ArrayType *array, const char *column)
{
	TrTexts		texts = tr_texts(array);
	TeStr	   *strings = palloc(sizeof(TeStr) * (texts.n + 1));

	for (int i = 0; i < texts.n; i++)
	{
		if (texts.nulls[i])
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("column \"%s\" has an array with a null", column)));
		strings[i] = take_text(reader, texts.values[i]);
	}
	value->n_texts = (size_t) texts.n;
	value->texts = strings;
}

/* Values of the current row, in the memory of rows that wait. */
static TeValue *
take_values(Reader *reader, const TrQuery *query)
{
	TeValue    *values = palloc0(sizeof(TeValue) * reader->n_columns);

	for (int i = 0; i < reader->n_columns; i++)
	{
		values[i].given = query->found[i];
		if (!values[i].given)
			continue;
		if (reader->columns[i].type == TE_COLUMN_TEXT)
			values[i].text = take_text(reader, query->values[i]);
		else if (reader->columns[i].type == TE_COLUMN_REAL)
			values[i].real = DatumGetFloat8(query->values[i]);
		else
			take_texts(reader, &values[i], DatumGetArrayTypeP(query->values[i]), reader->columns[i].name);
	}
	return values;
}

/* The value of a column of that name; an empty one where there is none. */
static TeStr
text_of(const Reader *reader, const TeValue *values, const char *name)
{
	for (int i = 0; i < reader->n_columns; i++)
	{
		if (strcmp(reader->columns[i].name, name) == 0 && values[i].given)
			return values[i].text;
	}
	return (TeStr) {NULL, 0};
}

/* What the teacher says of the rows that wait. */
static TeJob *
ask_teacher(Reader *reader)
{
	TeJobOptions options = {0};
	TeJob	   *job = tr_job_begin(reader->teacher, te_objective_teacher(reader->spool->objective), &options);

	for (int i = 0; i < reader->n_waiting; i++)
		te_job_feed(job, text_of(reader, reader->waiting[i].values, "text"),
					text_of(reader, reader->waiting[i].values, "text_pair"));
	te_job_run(job);
	return job;
}

/* Make examples of the rows that wait. */
static void
add_waiting(Reader *reader)
{
	TeJob	   *job = reader->teacher != NULL && reader->n_waiting > 0 ? ask_teacher(reader) : NULL;

	for (int i = 0; i < reader->n_waiting; i++)
	{
		reader->at = reader->waiting[i].number;
		te_examples_add(reader->examples, reader->waiting[i].values);
		if (job != NULL)
		{
			size_t		n;
			int			width;
			const float *says = te_job_values(job, (size_t) i, &n, &width);

			te_examples_add_soft(reader->examples, says, n * (size_t) width);
		}
		reader->rows++;
	}
	reader->at = 0;
	if (job != NULL)
		(void) tr_job_end(reader->teacher, job);
	reader->n_waiting = 0;
	reader->bytes = 0;
	reader->spool->show(reader->spool->arg, reader->rows);
}

/* "row 17 of the training query" */
static void
say_row(void *arg)
{
	const Reader *reader = arg;

	if (reader->at > 0)
		errcontext("row " INT64_FORMAT " of the %s", reader->at, reader->what);
}

/* All rows, one after the other; with a teacher so many at a time. */
static void
take_rows(Reader *reader, TrQuery *query)
{
	ErrorContextCallback callback = {.previous = error_context_stack,.callback = say_row,.arg = reader};
	MemoryContext before = CurrentMemoryContext;

	error_context_stack = &callback;
	while (tr_query_next(query))
	{
		MemoryContextSwitchTo(reader->memory);
		reader->at = query->row;
		reader->waiting[reader->n_waiting] = (WaitingRow) {query->row, take_values(reader, query)};
		reader->at = 0;
		if (++reader->n_waiting == reader->most || reader->bytes >= TEACHER_BYTES)
		{
			add_waiting(reader);
			MemoryContextReset(reader->memory);
		}
		MemoryContextSwitchTo(before);
	}
	add_waiting(reader);
	error_context_stack = callback.previous;
}

TeExamples *
tr_spool_open(TeArena *arena, int64 run, const TeObjective *objective, const char *file)
{
	char		path[MAXPGPATH];

	tr_run_path(path, run, file);
	return te_examples_open(arena, objective, tr_file_source(tr_file_open(path, TR_FILE_READ)));
}

static void
init_reader(Reader *reader, const TrSpooling *spool, const char *what)
{
	*reader = (Reader) {.spool = spool,.what = what,.most = 1};
	want_columns(reader, spool->objective);
	if (te_objective_teacher(spool->objective) != NULL)
	{
		reader->teacher = tr_model_open(cstring_to_text(spool->teacher), TR_USE_TOKENS);
		reader->most = TEACHER_ROWS;
	}
	reader->waiting = palloc(sizeof(WaitingRow) * reader->most);
	reader->memory = AllocSetContextCreate(CurrentMemoryContext, "rows to learn from", ALLOCSET_DEFAULT_SIZES);
}

static void
warn_truncated(uint64 rows, const char *what)
{
	if (rows > 0 && tr_truncate == TR_TRUNCATE_WARN)
		ereport(WARNING,
				(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg_plural("%llu row of the %s is longer than the model takes, and was cut",
							   "%llu rows of the %s are longer than the model takes, and were cut",
							   (unsigned long) rows, (unsigned long long) rows, what),
				 errhint("Split long texts with transformer.chunk(), or set transformer.truncate to error or silent.")));
}

static void
say_empty(uint64 rows, const char *what)
{
	if (rows > 0)
		ereport(NOTICE,
				(errmsg_plural("%llu row of the %s has no words to learn from, and was left out",
							   "%llu rows of the %s have no words to learn from, and were left out",
							   (unsigned long) rows, (unsigned long long) rows, what)));
}

TeExamples *
tr_spool_query(const TrSpooling *spool, const char *sql, const char *what, const char *file, const TeExamples *like)
{
	TrModel    *model = tr_model_open(cstring_to_text(spool->base), TR_USE_TOKENS);
	TeArena    *arena = te_arena_create(spool->arena, "rows");
	Reader		reader;
	char		path[MAXPGPATH];
	TrFile	   *to;
	TrQuery    *query;

	tr_run_path(path, spool->run, file);
	to = tr_file_open(path, TR_FILE_CREATE);
	init_reader(&reader, spool, what);
	reader.examples = te_examples_create(arena, tr_model_engine(model), spool->objective, spool->options, like, tr_file_sink(to));
	te_examples_set_truncate(reader.examples, tr_truncate == TR_TRUNCATE_ERROR ? TE_TRUNCATE_ERROR : TE_TRUNCATE_CUT);
	if (reader.teacher != NULL)
		te_examples_set_teacher(reader.examples, tr_model_engine(reader.teacher));
	query = tr_query_open(sql, what, reader.wanted, reader.n_columns);
	take_rows(&reader, query);
	tr_query_close(query);
	te_examples_finish(reader.examples);
	warn_truncated(te_examples_truncated(reader.examples), what);
	say_empty(te_examples_empty(reader.examples), what);
	te_arena_destroy(arena);
	MemoryContextDelete(reader.memory);
	tr_file_sync(to);
	tr_file_close(to);
	return tr_spool_open(spool->arena, spool->run, spool->objective, file);
}
