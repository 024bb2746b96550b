/*-------------------------------------------------------------------------
 * rows.c
 *	  From texts to packed batches.
 *
 * Tokenization runs on workers, each with its scratch memory, some rows a
 * task.  Since workers cannot allocate, the place for a row's tokens is made
 * beforehand: as many as the text has bytes, which nearly always suffices, and
 * never more than the model takes.  Where it does not, or the text is longer
 * than the workers' scratch allows for, the calling thread does the row again
 * with an arena.  Of scratch there is as much as the session's limit has room for.
 *
 * Rows that are fed as tokens (te_job_feed_tokens()) are passed over.
 *
 * A batch is the concatenation of its sequences.  Positions count from 0 in
 * each; in a family with position_offset, padding tokens inside a text stand
 * at -1 (the offset makes that the padding's row) and are not counted, as the
 * reference does.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#define ROWS_PER_TASK 16
#define WORKER_TEXT ((size_t) 64 << 10)	/* longer texts are tokenized by the calling thread */

/* One call of te_rows_tokenize(), shared by the workers. */
typedef struct Tokenize
{
	TeSession  *session;
	const TeTokenizer *tokenizer;
	TeJobRow   *rows;
	size_t		n_rows;
	size_t		max_tokens;
	uint8_t    *status;			/* TeTextStatus of each row */
} Tokenize;

/* Was it fed so? */
static inline bool
is_tokenized(const TeJobRow *row)
{
	return row->n_tokens > 0;
}

/*
 * Scratch for each worker that suffices for most texts of this many bytes; for fewer workers where that of all would
 * take more than half of the workspace, and not for all texts where it is too much for one.
 */
static void
prepare_scratch(TeSession *session, const TeTokenizer *tokenizer, size_t text_bytes)
{
	size_t		bytes = te_encode_scratch(tokenizer, TE_MIN(text_bytes, WORKER_TEXT));
	size_t		most = session->limit > 0 ? session->limit / 2 : SIZE_MAX;
	int			n;

	bytes = TE_MIN(bytes, most);
	n = (int) TE_MIN((size_t) te_workers(), most / bytes);
	if (session->n_scratch >= n && session->scratch_bytes >= bytes)
		return;
	te_arena_reset(session->text_arena);
	session->n_scratch = 0;
	session->scratch = te_new_array(session->text_arena, TeTextScratch, n);
	for (int i = 0; i < n; i++)
	{
		session->scratch[i].memory = te_alloc(session->text_arena, bytes);
		session->scratch[i].bytes = bytes;
	}
	session->n_scratch = n;
	session->scratch_bytes = bytes;
}

/*
 * Of a pair, cut tokens off the end of the text; off the pair's own only where
 * nothing is left of the text.  Gives how many remain.
 */
static size_t
cut_text(TeToken *tokens, size_t n_tokens, size_t max_tokens)
{
	size_t		counts[2] = {0, 0};
	size_t		kept[2];
	size_t		excess = n_tokens > max_tokens ? n_tokens - max_tokens : 0;
	size_t		n = 0;

	for (size_t i = 0; i < n_tokens; i++)
		counts[tokens[i].sequence] += !tokens[i].special;
	kept[0] = counts[0] - TE_MIN(excess, counts[0]);
	excess -= counts[0] - kept[0];
	kept[1] = counts[1] - TE_MIN(excess, counts[1]);
	counts[0] = counts[1] = 0;
	for (size_t i = 0; i < n_tokens; i++)
	{
		if (tokens[i].special || counts[tokens[i].sequence]++ < kept[tokens[i].sequence])
			tokens[n++] = tokens[i];
	}
	return TE_MIN(n, max_tokens);
}

static bool
cuts_text(const Tokenize *call, const TeJobRow *row)
{
	return row->keep_pair && row->pair.data != NULL && call->max_tokens > 0;
}

static void
keep_tokens(TeJobRow *row, const TeToken *tokens, size_t n_tokens, size_t n_untruncated)
{
	row->n_tokens = n_tokens;
	row->n_untruncated = n_untruncated;
	for (size_t i = 0; i < n_tokens; i++)
		row->ids[i] = tokens[i].id;
	for (size_t i = 0; row->type_ids != NULL && i < n_tokens; i++)
		row->type_ids[i] = tokens[i].type_id;
}

static void
tokenize_task(void *arg, size_t task, int worker)
{
	Tokenize   *call = arg;
	TeTextScratch *scratch = &call->session->scratch[worker];
	size_t		first = task * ROWS_PER_TASK;
	size_t		stop = TE_MIN(first + ROWS_PER_TASK, call->n_rows);

	for (size_t i = first; i < stop; i++)
	{
		TeJobRow   *row = &call->rows[i];
		TeTextStatus status = TE_TEXT_MORE;

		if (is_tokenized(row))
			continue;
		if (row->text.len + row->pair.len <= WORKER_TEXT)
			status = te_encode(call->tokenizer, row->text, row->pair, true, cuts_text(call, row) ? 0 : call->max_tokens, scratch);
		if (status == TE_TEXT_OK && cuts_text(call, row))
			scratch->n_tokens = cut_text(scratch->tokens, scratch->n_tokens, call->max_tokens);
		if (status == TE_TEXT_OK && scratch->n_tokens > row->capacity)
			status = TE_TEXT_MORE;
		if (status == TE_TEXT_OK)
			keep_tokens(row, scratch->tokens, scratch->n_tokens, scratch->n_untruncated);
		call->status[i] = status;
	}
}

/* Places for the tokens of all rows: one allocation. */
static void
place_rows(Tokenize *call, TeArena *keep, bool types)
{
	size_t		total = 0;
	int32_t    *ids;

	for (size_t i = 0; i < call->n_rows; i++)
	{
		TeJobRow   *row = &call->rows[i];
		size_t		most = row->text.len + row->pair.len + te_tokens_added(call->tokenizer, row->pair.data != NULL) + 8;

		if (is_tokenized(row))
			continue;
		row->capacity = (uint32_t) TE_MIN(most, call->max_tokens > 0 ? call->max_tokens : INT32_MAX);
		total = te_add_size(total, row->capacity);
	}
	ids = te_alloc(keep, te_mul_size(total, types ? 2 * sizeof(int32_t) : sizeof(int32_t)));
	for (size_t i = 0; i < call->n_rows; i++)
	{
		TeJobRow   *row = &call->rows[i];

		if (is_tokenized(row))
			continue;
		row->ids = ids;
		ids += row->capacity;
		row->type_ids = types ? ids : NULL;
		ids += types ? row->capacity : 0;
	}
}

/* A row that did not fit, on this thread. */
static void
tokenize_alone(Tokenize *call, TeArena *keep, TeJobRow *row)
{
	TeArena    *step = call->session->step;
	size_t		n_tokens;
	size_t		n_untruncated;
	TeToken    *tokens;

	te_check_interrupts();
	te_arena_reset(step);
	tokens = te_encode_alloc(call->tokenizer, step, row->text, row->pair, true, cuts_text(call, row) ? 0 : call->max_tokens,
							 &n_tokens, &n_untruncated);
	if (cuts_text(call, row))
		n_tokens = cut_text(tokens, n_tokens, call->max_tokens);
	if (n_tokens > row->capacity)
	{
		row->ids = te_new_array(keep, int32_t, n_tokens);
		if (row->type_ids != NULL)
			row->type_ids = te_new_array(keep, int32_t, n_tokens);
		row->capacity = (uint32_t) n_tokens;
	}
	keep_tokens(row, tokens, n_tokens, n_untruncated);
}

/* What a session makes of a text that is longer than the model takes, or has nothing to compute on. */
static void
check_row(Tokenize *call, const TeJobRow *row)
{
	if (row->n_tokens == 0)
		te_throw(TE_ERR_INVALID, "the text has no tokens, and the model's tokenizer adds none");
	if (row->n_untruncated <= row->n_tokens)
		return;
	if (call->session->truncate == TE_TRUNCATE_ERROR)
		te_throw(TE_ERR_TOO_LONG, "the text has %u tokens, but the model takes %zu at most",
				 (unsigned) row->n_untruncated, call->max_tokens);
	call->session->usage.truncated++;
}

void
te_rows_tokenize(TeSession *session, TeArena *keep, TeJobRow *rows, size_t n_rows)
{
	Tokenize	call = {
		.session = session,
		.tokenizer = te_model_tokenizer(session->model),
		.rows = rows,
		.n_rows = n_rows,
		.max_tokens = te_model_context_length(session->model),
		.status = te_alloc0(keep, n_rows),
	};
	size_t		longest = 0;

	for (size_t i = 0; i < n_rows; i++)
		longest = TE_MAX(longest, rows[i].text.len + rows[i].pair.len);
	prepare_scratch(session, call.tokenizer, longest);
	place_rows(&call, keep, te_model_config(session->model)->type_vocab_size > 0);
	te_parallel_for_few(session->n_scratch, (n_rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK, tokenize_task, &call);

	for (size_t i = 0; i < n_rows; i++)
	{
		if (call.status[i] == TE_TEXT_INVALID)
			te_throw(TE_ERR_INVALID, "the text is not valid UTF-8");
		if (call.status[i] == TE_TEXT_LIMIT)
			te_throw(TE_ERR_LIMIT, "the text is too long for the tokenizer's pattern");
		if (call.status[i] == TE_TEXT_MORE)
			tokenize_alone(&call, keep, &rows[i]);
		check_row(&call, &rows[i]);
	}
}

/* ---- batches ---- */

static void
fill_sequence(const TeConfig *config, const TeJobRow *row, int32_t *ids, int32_t *type_ids, int32_t *positions)
{
	int32_t		position = 0;

	for (uint32_t i = 0; i < row->n_tokens; i++)
	{
		ids[i] = row->ids[i];
		if (ids[i] < 0 || ids[i] >= config->vocab_size)
			te_throw(TE_ERR_CORRUPT, "the tokenizer gives token %d, but the model's vocabulary has %d",
					 (int) ids[i], (int) config->vocab_size);
		if (config->position_offset > 0 && ids[i] == config->pad_id)
			positions[i] = -1;
		else
			positions[i] = position++;
		/* A model with one type has it for everything. */
		type_ids[i] = row->type_ids != NULL && row->type_ids[i] < config->type_vocab_size ? row->type_ids[i] : 0;
	}
}

TeBatch *
te_rows_batch(TeArena *arena, const TeModel *model, TeJobRow *const *rows, size_t n_rows)
{
	TeBatch    *batch = te_new(arena, TeBatch);
	int32_t    *starts = te_new_array(arena, int32_t, n_rows + 1);
	int32_t    *ids;
	int32_t    *type_ids;
	int32_t    *positions;

	for (size_t i = 0; i < n_rows; i++)
	{
		starts[i + 1] = starts[i] + (int32_t) rows[i]->n_tokens;
		batch->max_len = TE_MAX(batch->max_len, (int) rows[i]->n_tokens);
	}
	batch->n_seq = (int) n_rows;
	batch->n_tok = starts[n_rows];
	batch->seq_start = starts;
	batch->ids = ids = te_new_array(arena, int32_t, batch->n_tok);
	batch->type_ids = type_ids = te_new_array(arena, int32_t, batch->n_tok);
	batch->positions = positions = te_new_array(arena, int32_t, batch->n_tok);
	for (size_t i = 0; i < n_rows; i++)
		fill_sequence(te_model_config(model), rows[i], ids + starts[i], type_ids + starts[i], positions + starts[i]);
	return batch;
}
