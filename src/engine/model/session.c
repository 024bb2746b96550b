/*-------------------------------------------------------------------------
 * session.c
 *	  Sessions, and the jobs that run in them: texts in, rows of numbers out.
 *
 * A job tokenizes its rows (rows.c), orders them by length, cuts packed
 * batches and runs the task's graph on each.  A batch has as many tokens as
 * keep its activations within BATCH_BYTES, so that they stay in the caches
 * while the weights stream by, and fewer where the workspace would pass the
 * session's limit; a text alone is always a batch, however long.
 *
 * A text's result does not depend on the batch that it falls into: kernels
 * compute a row from that row alone.
 *
 * Lifetimes: the session's arena holds jobs; a job's arena holds its rows,
 * tokens and results until te_job_reset(); the step arena is reset for each
 * batch.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#define BATCH_BYTES ((size_t) 16 << 20)
#define BATCH_MIN_TOKENS 512
#define BATCH_MAX_TOKENS 2048

struct TeJob
{
	TeSession  *session;
	TeArena    *arena;			/* reset by te_job_reset() */
	const TeTaskKind *task;
	TeStr		prompt;			/* put before each text */
	TeJobOptions options;		/* but for kind, which is the caller's */
	int			width;			/* floats of a row of a result */
	TeJobRow   *rows;
	size_t		n_rows;
	size_t		n_done;
	size_t		capacity;
};

/* A batch, and what it takes to compute it; in the step. */
typedef struct Built
{
	TeBatch    *batch;
	TeGraph    *graph;
	TeNode	   *output;
} Built;

static const TeTaskKind *const tasks[] = {
#define TASK_ROW(name) &te_task_##name,
	TE_TASKS(TASK_ROW)
#undef TASK_ROW
};

TeSession *
te_session_create(TeArena *parent, const TeModel *model, size_t limit)
{
	TeArena    *arena = te_arena_create(parent, "session");
	TeSession  *session = te_new(arena, TeSession);

	session->arena = arena;
	session->step = te_arena_create(arena, "step");
	session->text_arena = te_arena_create(arena, "tokenizer scratch");
	session->model = model;
	session->limit = limit;
	return session;
}

void
te_session_destroy(TeSession *session)
{
	te_arena_destroy(session->arena);
}

void
te_session_set_truncate(TeSession *session, TeTruncate truncate)
{
	session->truncate = truncate;
}

const TeUsage *
te_session_usage(const TeSession *session)
{
	return &session->usage;
}

void
te_session_profile(TeSession *session, double *seconds)
{
	session->profile = seconds;
}

TeJob *
te_job_create(TeSession *session, const char *task, const TeJobOptions *options)
{
	static const TeJobOptions no_options;
	TeJob	   *job = te_new(session->arena, TeJob);

	for (size_t i = 0; i < TE_LENGTH(tasks); i++)
	{
		if (strcmp(tasks[i]->name, task) == 0)
			job->task = tasks[i];
	}
	if (job->task == NULL)
		te_throw(TE_ERR_INTERNAL, "there is no task \"%s\"", task);
	if (options == NULL)
		options = &no_options;
	job->task->needs(session->model, options);
	job->session = session;
	job->arena = te_arena_create(session->arena, "job");
	job->prompt = job->task->prompt(session->model, options);
	job->options = *options;
	job->options.kind = (TeStr) {NULL, 0};
	job->width = job->task->width(session->model, options);
	return job;
}

/* Prompt and text in one piece: a tokenizer may join the two at the seam. */
static TeStr
with_prompt(const TeJob *job, TeStr text)
{
	char	   *joined;

	if (job->prompt.len == 0)
		return text;
	joined = te_alloc(job->arena, te_add_size(job->prompt.len, text.len));
	memcpy(joined, job->prompt.data, job->prompt.len);
	if (text.len > 0)
		memcpy(joined + job->prompt.len, text.data, text.len);
	return (TeStr) {joined, job->prompt.len + text.len};
}

TeArena *
te_job_arena(const TeJob *job)
{
	return job->arena;
}

const TeModel *
te_job_model(const TeJob *job)
{
	return job->session->model;
}

size_t
te_job_rows(const TeJob *job)
{
	return job->n_rows;
}

static size_t
add_row(TeJob *job, TeJobRow row)
{
	if (job->n_rows == job->capacity)
	{
		size_t		capacity = job->capacity == 0 ? 64 : te_mul_size(job->capacity, 2);
		TeJobRow   *rows = te_new_array(job->arena, TeJobRow, capacity);

		if (job->n_rows > 0)
			memcpy(rows, job->rows, job->n_rows * sizeof(TeJobRow));
		job->rows = rows;
		job->capacity = capacity;
	}
	job->rows[job->n_rows] = row;
	return job->n_rows++;
}

size_t
te_job_feed(TeJob *job, TeStr text, TeStr pair)
{
	return add_row(job, (TeJobRow) {.text = with_prompt(job, text), .pair = pair, .keep_pair = job->options.keep_pair});
}

size_t
te_job_feed_tokens(TeJob *job, const TeToken *tokens, size_t n_tokens)
{
	size_t		context = te_model_context_length(job->session->model);
	TeJobRow	row = {.n_tokens = (uint32_t) n_tokens, .n_untruncated = (uint32_t) n_tokens};

	te_assert(n_tokens > 0 && n_tokens <= (context > 0 ? context : INT32_MAX));
	row.ids = te_new_array(job->arena, int32_t, n_tokens);
	row.type_ids = te_model_config(job->session->model)->type_vocab_size > 0 ? te_new_array(job->arena, int32_t, n_tokens) : NULL;
	for (size_t i = 0; i < n_tokens; i++)
		row.ids[i] = tokens[i].id;
	for (size_t i = 0; row.type_ids != NULL && i < n_tokens; i++)
		row.type_ids[i] = tokens[i].type_id;
	return add_row(job, row);
}

/* Rows by length, then by number: a counting sort. */
static TeJobRow **
rows_by_length(TeArena *arena, TeJobRow *rows, size_t n_rows)
{
	uint32_t	longest = 0;
	size_t	   *starts;
	TeJobRow  **sorted = te_new_array(arena, TeJobRow *, n_rows);

	for (size_t i = 0; i < n_rows; i++)
		longest = TE_MAX(longest, rows[i].n_tokens);
	starts = te_new_array(arena, size_t, (size_t) longest + 2);
	for (size_t i = 0; i < n_rows; i++)
		starts[rows[i].n_tokens + 1]++;
	for (size_t i = 1; i <= longest; i++)
		starts[i] += starts[i - 1];
	for (size_t i = 0; i < n_rows; i++)
		sorted[starts[rows[i].n_tokens]++] = &rows[i];
	return sorted;
}

/* Tokens of a batch by the model's shape alone. */
static size_t
batch_tokens(const TeConfig *config)
{
	size_t		floats = (size_t) config->hidden_size * 6 + config->intermediate_size;
	size_t		tokens = BATCH_BYTES / (floats * sizeof(float));

	return TE_MAX(BATCH_MIN_TOKENS, TE_MIN(tokens, BATCH_MAX_TOKENS));
}

/* How many of the rows make a batch of at most `tokens` tokens; at least one. */
static size_t
cut_batch(TeJobRow *const *rows, size_t n_rows, size_t tokens)
{
	size_t		n = 1;
	size_t		sum = rows[0]->n_tokens;

	while (n < n_rows && sum + rows[n]->n_tokens <= tokens)
		sum += rows[n++]->n_tokens;
	return n;
}

static void
build_graph(TeJob *job, TeJobRow *const *rows, size_t n_rows, Built *built)
{
	TeSession  *session = job->session;

	te_arena_reset(session->step);
	built->batch = te_rows_batch(session->step, session->model, rows, n_rows);
	built->graph = te_graph_create(session->step, TE_INFER, built->batch);
	te_graph_profile(built->graph, session->profile);
	built->output = job->task->compute(session->step, built->graph, session->model, built->batch);
	te_graph_keep(built->graph, built->output);
}

/*
 * Build the graph of a batch, with fewer rows while its workspace passes the limit, or what is left of all memory;
 * gives the number of rows.  First of all goes what the step has kept of other batches.
 */
static size_t
build_batch(TeJob *job, TeJobRow *const *rows, size_t n_rows, Built *built)
{
	TeSession  *session = job->session;
	bool		cleared = false;

	for (;;)
	{
		size_t		bytes;
		bool		fits;

		build_graph(job, rows, n_rows, built);
		bytes = te_graph_plan_within(built->graph, session->limit);
		fits = te_arena_fits(session->step, bytes);
		if (fits && (session->limit == 0 || n_rows == 1 || bytes <= session->limit))
			return n_rows;
		if (!fits && !cleared)
			te_arena_clear(session->step);
		else if (n_rows == 1)
			return n_rows;
		else
			n_rows = (n_rows + 1) / 2;
		cleared |= !fits;
	}
}

/* Hand the rows that a graph gave to the texts that they are of. */
static void
keep_results(const TeJob *job, TeJobRow *const *rows, size_t n_rows, const TeNode *output)
{
	const float *values = te_node_value(output);
	size_t		cols = te_node_cols(output);

	te_assert(job->task->reduce != NULL || cols == (size_t) job->width);
	for (size_t i = 0; i < n_rows; i++)
	{
		if (job->task->reduce != NULL)
			job->task->reduce(&job->options, values, rows[i]->n_values, cols, rows[i]->values);
		else
			memcpy(rows[i]->values, values, rows[i]->n_values * cols * sizeof(float));
		values += rows[i]->n_values * cols;
	}
	te_assert(values == te_node_value(output) + te_node_rows(output) * cols);
}

/* Run the next batch; gives the number of rows done. */
static size_t
run_batch(TeJob *job, TeJobRow *const *rows, size_t n_rows, size_t tokens)
{
	TeSession  *session = job->session;
	double		start = te_host_seconds();
	Built		built;

	n_rows = build_batch(job, rows, cut_batch(rows, n_rows, tokens), &built);
	te_graph_run(built.graph);
	keep_results(job, rows, n_rows, built.output);
	session->usage.rows += n_rows;
	session->usage.tokens += built.batch->n_tok;
	session->usage.batches++;
	session->usage.seconds += te_host_seconds() - start;
	return n_rows;
}

/* Room for the results of tokenized rows. */
static void
place_results(TeJob *job, TeJobRow *rows, size_t n_rows)
{
	size_t		total = 0;
	float	   *values;

	for (size_t i = 0; i < n_rows; i++)
	{
		rows[i].n_values = job->task->n_values != NULL ? job->task->n_values(job->session->model, &job->options, &rows[i]) : 1;
		total = te_add_size(total, te_mul_size(rows[i].n_values, job->width));
	}
	values = te_alloc(job->arena, te_mul_size(total, sizeof(float)));
	for (size_t i = 0; i < n_rows; i++)
	{
		rows[i].values = values;
		values += rows[i].n_values * job->width;
	}
}

void
te_job_run(TeJob *job)
{
	TeJobRow   *rows = job->rows + job->n_done;
	size_t		n_rows = job->n_rows - job->n_done;
	size_t		tokens;
	TeJobRow  **sorted;

	if (n_rows == 0)
		return;
	te_rows_tokenize(job->session, job->arena, rows, n_rows);
	place_results(job, rows, n_rows);
	sorted = rows_by_length(job->arena, rows, n_rows);
	tokens = batch_tokens(te_model_config(job->session->model));
	for (size_t done = 0; done < n_rows;)
		done += run_batch(job, sorted + done, n_rows - done, tokens);
	te_arena_reset(job->session->step);
	job->n_done = job->n_rows;
}

const float *
te_job_vector(const TeJob *job, size_t row, int *n)
{
	te_assert(row < job->n_done && job->rows[row].n_values == 1);
	*n = job->width;
	return job->rows[row].values;
}

const float *
te_job_values(const TeJob *job, size_t row, size_t *n_rows, int *width)
{
	te_assert(row < job->n_done);
	*n_rows = job->rows[row].n_values;
	*width = job->width;
	return job->rows[row].values;
}

int
te_job_width(const TeJob *job)
{
	return job->width;
}

const TeJobRow *
te_job_row(const TeJob *job, size_t row)
{
	te_assert(row < job->n_done);
	return &job->rows[row];
}

void
te_job_reset(TeJob *job)
{
	te_arena_reset(job->arena);
	job->rows = NULL;
	job->n_rows = 0;
	job->n_done = 0;
	job->capacity = 0;
}
