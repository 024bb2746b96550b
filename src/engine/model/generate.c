/*-------------------------------------------------------------------------
 * generate.c
 *	  The generator: prompts in, texts out, many at a time.
 *
 * A row waits for a place, is active (first its prompt is computed, then a token a step), and is finished.  A step takes up
 * rows while there are places and pages, gathers what is to be computed of all of them into one packed batch (a token of
 * each row that has its prompt; then pieces of prompts, TE_PROMPT_TOKENS in all), runs the model over it and draws a token for
 * each row that has all of its tokens.
 *
 * What rows have in common is computed once: te_sequence_begin() finds pages of earlier rows, and a row that begins like an
 * active one waits until that has computed what both share.  Where pages run out, the row that was taken up last goes back
 * to wait, and is computed again from its tokens when there is room.  None of it changes a row's text: keys and
 * values of a token are the same bits whoever computed them, with whatever else in the batch (kernels.h).
 *
 * Guesses.  Texts repeat themselves and their prompts.  While few rows are active, what followed the last time that the
 * last tokens occurred is computed along with the next token, since a pass over the weights costs about the same; the
 * sampler then draws token after token as ever, and goes on as long as it draws what was guessed ("prompt
 * lookup decoding", Saxena 2023).  A row whose guesses fail is not guessed for any more.
 *
 * Grammars are compiled when a row is fed, and kept with what they remember of the vocabulary, KEPT_GRAMMARS of them.
 *-------------------------------------------------------------------------
 */
#include "model/generate.h"

#include "base/random.h"

#define MAX_ROWS 32				/* where the caller does not say */
#define MIN_SHARED 32			/* tokens in common that are worth a step's wait */
#define KEPT_GRAMMARS 4
#define KEPT_BYTES ((size_t) 64 << 20)	/* of keys and values, when rows are forgotten */
#define MAX_GUESSES 4
#define GUESS_ROWS 2			/* most active rows while there are guesses */
#define GUESS_ALIKE 3			/* tokens that have occurred before */
#define GUESS_TRIES 16			/* guesses before they are judged */

const TeGenerateOptions te_generate_defaults = {
	.max_tokens = 128,.top_p = 1,.repetition_penalty = 1,.beams = 1,.length_penalty = 1
};

/* ---- grammars ---- */

struct TeKeptGrammar
{
	TeKeptGrammar *next;		/* used longer ago */
	TeArena    *arena;
	TeStr		source;			/* what it was made of, all kinds told apart */
	TeConstraint *constraint;
	size_t		users;			/* rows */
};

/* One text for a grammar of any kind, different for different ones; empty: none is wanted. */
static TeStr
grammar_source(TeArena *arena, const TeGenerateOptions *options)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, arena);
	if (options->grammar.data != NULL)
	{
		te_buffer_add_str(&buffer, "grammar ");
		te_buffer_add(&buffer, options->grammar.data, options->grammar.len);
	}
	if (options->schema != NULL)
	{
		te_buffer_add_str(&buffer, "schema ");
		te_json_write(&buffer, options->schema, 0);
	}
	for (size_t i = 0; i < options->n_choices; i++)
	{
		te_buffer_add_str(&buffer, "choice ");
		te_json_write_str(&buffer, options->choices[i]);
	}
	return (TeStr) {buffer.data, buffer.len};
}

static TeGrammar *
compile_grammar(TeArena *arena, const TeGenerateOptions *options)
{
	if (options->grammar.data != NULL)
		return te_grammar_from_gbnf(arena, options->grammar);
	if (options->schema != NULL)
		return te_grammar_from_schema(arena, options->schema);
	return te_grammar_from_choices(arena, options->choices, options->n_choices);
}

/* Give up those that nobody uses, but for the first few. */
static void
trim_grammars(TeGenerator *generator)
{
	TeKeptGrammar **link = &generator->grammars;
	int			n = 0;

	while (*link != NULL)
	{
		TeKeptGrammar *kept = *link;

		if (++n <= KEPT_GRAMMARS || kept->users > 0)
		{
			link = &kept->next;
			continue;
		}
		*link = kept->next;
		te_arena_destroy(kept->arena);
	}
}

/* The one for the options, moved to the front; NULL: the text is free. */
static TeKeptGrammar *
keep_grammar(TeGenerator *generator, TeArena *scratch, const TeGenerateOptions *options)
{
	const TeGeneration *ends = &te_model_pipeline(generator->model)->generation;
	TeStr		source = grammar_source(scratch, options);
	TeKeptGrammar **link = &generator->grammars;
	TeKeptGrammar *kept;
	TeArena    *arena;

	if (source.len == 0)
		return NULL;
	while (*link != NULL && !te_str_eq((*link)->source, source))
		link = &(*link)->next;
	kept = *link;
	if (kept != NULL)
		*link = kept->next;
	else
	{
		arena = te_arena_create(generator->arena, "grammar");
		kept = te_new(arena, TeKeptGrammar);
		kept->arena = arena;
		kept->source = te_str_copy(arena, source);
		if (generator->tokens == NULL)
			generator->tokens = te_tokens_create(generator->arena, generator->tokenizer, generator->n_vocab);
		kept->constraint = te_constraint_create(arena, compile_grammar(arena, options), generator->tokens, ends->end_ids, ends->n_end);
	}
	kept->next = generator->grammars;
	generator->grammars = kept;
	trim_grammars(generator);
	return kept;
}

/* ---- the generator ---- */

TeGenerator *
te_generator_create(TeSession *session, const TeGeneratorLimits *limits)
{
	TeArena    *arena = te_arena_create(session->arena, "generator");
	TeGenerator *generator = te_new(arena, TeGenerator);
	const TeModel *model = session->model;
	/* keys of longrope depend on how long their text had become, not only on the tokens before them */
	bool		no_sharing = limits->no_sharing || te_model_config(model)->rope.scaling == TE_ROPE_LONGROPE;
	TeDtype		dtype = limits->cache_type.len == 0 ? TE_F16 : te_dtype_by_name(limits->cache_type);

	if (te_model_head(model)->kind != TE_HEAD_CAUSAL)
		te_throw_hint(TE_ERR_UNSUPPORTED, NULL, "Use a model whose config.json names a class like LlamaForCausalLM.",
					  "a model for the task \"%.*s\" generates no text", TE_STR_ARGS(te_model_task(model)));
	if (dtype == TE_N_DTYPES)
		te_throw(TE_ERR_INVALID, "keys and values are not kept as %.*s", TE_STR_ARGS(limits->cache_type));
	generator->session = session;
	generator->model = model;
	generator->tokenizer = te_model_tokenizer(model);
	generator->arena = arena;
	generator->rows_arena = te_arena_create(arena, "rows");
	generator->scratch = te_arena_create(arena, "step of generation");
	generator->cache = te_cache_create(arena, model, dtype, limits->cache_bytes, no_sharing);
	generator->limits = *limits;
	generator->limits.cache_type = (TeStr) {NULL, 0};
	generator->limits.no_sharing = no_sharing;
	if (generator->limits.max_rows == 0)
		generator->limits.max_rows = MAX_ROWS;
	generator->context = te_model_context_length(model) > 0 ? (size_t) te_model_context_length(model) : SIZE_MAX;
	generator->n_vocab = TE_MIN(te_vocab_size(generator->tokenizer), te_generator_outputs(generator));
	return generator;
}

int
te_generator_outputs(const TeGenerator *generator)
{
	return te_head_outputs(te_model_head(generator->model), te_model_config(generator->model));
}

bool
te_ends_text(const TeGenerator *generator, int32_t id)
{
	const TeGeneration *generation = &te_model_pipeline(generator->model)->generation;

	for (size_t i = 0; i < generation->n_end; i++)
	{
		if (generation->end_ids[i] == id)
			return true;
	}
	return id == generation->begin_id;
}

/* Give back what a row holds that was not finished; nothing is allocated. */
static void
forget_row(TeGenerator *generator, TeGenerateRow *row)
{
	if (row->status == TE_ROW_FINISHED)
		return;
	if (row->beams != NULL)
		te_beams_end(generator, row);
	else
		te_sequence_end(generator->cache, &row->branch.sequence, NULL);
	if (row->grammar != NULL)
		row->grammar->users--;
	row->status = TE_ROW_FINISHED;
}

void
te_generator_reset(TeGenerator *generator)
{
	for (size_t i = 0; i < generator->n_rows; i++)
		forget_row(generator, generator->rows[i]);
	te_cache_trim(generator->cache, KEPT_BYTES);
	te_arena_reset(generator->rows_arena);
	generator->rows = NULL;
	generator->n_rows = 0;
	generator->capacity = 0;
	generator->n_finished = 0;
}

/* ---- feeding ---- */

void
te_check_token(const TeGenerator *generator, int32_t id)
{
	int32_t		most = TE_MIN(te_model_config(generator->model)->vocab_size, te_generator_outputs(generator));

	if (id < 0 || id >= most)
		te_throw(TE_ERR_CORRUPT, "the tokenizer gives token %d, but the model's vocabulary has %d", (int) id, (int) most);
}

int32_t *
te_prompt_tokens(const TeGenerator *generator, TeArena *arena, TeStr prompt, bool bare, size_t *n)
{
	const TeGeneration *generation = &te_model_pipeline(generator->model)->generation;
	int32_t		begin = generation->begin_id;
	/* where the files want it otherwise than the tokenizer has it, the beginning is put, or left out, here */
	bool		agreed = generation->adds_begin == (begin >= 0 && te_token_before(generator->tokenizer) == begin);
	size_t		n_untruncated;
	TeToken    *tokens = te_encode_alloc(generator->tokenizer, arena, prompt, (TeStr) {NULL, 0}, !bare && agreed, 0, n, &n_untruncated);
	int32_t    *ids = te_new_array(arena, int32_t, *n + 1);
	size_t		first = !bare && !agreed && generation->adds_begin && begin >= 0;

	/* a text that goes on has no end, whatever the tokenizer puts there */
	while (*n > 0 && tokens[*n - 1].special && tokens[*n - 1].id != begin)
		(*n)--;
	for (size_t i = 0; i < *n; i++)
	{
		ids[first + i] = tokens[i].id;
		te_check_token(generator, tokens[i].id);
	}
	if (begin >= 0 && (first > 0 || *n == 0))
	{
		ids[0] = begin;
		(*n)++;
	}
	if (*n == 0)
		te_throw_hint(TE_ERR_INVALID, NULL, "Give the model some text to begin with.",
					  "the prompt has no tokens, and the model no token for the beginning of a text");
	return ids;
}

/* Options that outlive the call; grammars do not, they are compiled. */
static TeGenerateOptions
copy_options(TeArena *arena, const TeGenerateOptions *options)
{
	TeGenerateOptions copy = *options;
	TeStr	   *stop = te_new_array(arena, TeStr, options->n_stop);

	for (size_t i = 0; i < options->n_stop; i++)
		stop[i] = te_str_copy(arena, options->stop[i]);
	copy.stop = stop;
	copy.grammar = (TeStr) {NULL, 0};
	copy.schema = NULL;
	copy.choices = NULL;
	return copy;
}

/* Does it fit, with what is to be made of it? */
static void
check_length(const TeGenerator *generator, const TeGenerateRow *row)
{
	size_t		most = te_cache_tokens(generator->cache);
	size_t		wanted = row->n_prompt + TE_MIN((size_t) row->options.max_tokens, generator->context - row->n_prompt);

	if (row->n_prompt >= generator->context)
		te_throw(TE_ERR_TOO_LONG, "the prompt has %zu tokens, but the model takes %zu with what it makes of them", row->n_prompt,
				 generator->context);
	wanted = (wanted + TE_PAGE - 1) / TE_PAGE * TE_PAGE;
	if (row->options.beams > 1) /* while beams go on, the last page of each is there twice, and that of one that is looked at */
		wanted = te_mul_size(wanted + TE_PAGE, (size_t) row->options.beams) + TE_PAGE;
	if (wanted > most)
		te_throw_hint(TE_ERR_LIMIT, te_format(row->arena, "A prompt of %zu tokens with %d that are made needs %zu kB, and there may be %zu kB.",
											  row->n_prompt, row->options.max_tokens, wanted / TE_PAGE * te_cache_page_bytes(generator->cache) / 1024,
											  most / TE_PAGE * te_cache_page_bytes(generator->cache) / 1024),
					  "Raise transformer.kv_cache, or ask for fewer tokens.", "keys and values do not fit into their memory");
}

static void
begin_branch(TeGenerator *generator, TeGenerateRow *row, const int32_t *ids, size_t n)
{
	TeBranch   *branch = &row->branch;
	bool		goes_on;

	branch->sequence.arena = row->arena;
	te_buffer_init(&branch->text, row->arena);
	branch->capacity = n + 64;
	branch->ids = te_new_array(row->arena, int32_t, branch->capacity);
	memcpy(branch->ids, ids, n * sizeof(int32_t));
	branch->n_ids = n;
	branch->sampler = te_sampler_create(row->arena, &row->options, generator->n_vocab, ids, n);
	branch->stream = te_text_stream_create(row->arena, generator->tokenizer);
	goes_on = te_text_stream_pass(branch->stream, ids, n);
	if (row->grammar != NULL)
		branch->constraint = te_constraint_begin(row->arena, row->grammar->constraint, goes_on);
}

static void
check_shortest(const TeGenerateRow *row)
{
	size_t		shortest = row->grammar != NULL ? te_constraint_shortest(row->branch.constraint) : 0;

	if (shortest > (size_t) row->options.max_tokens)
		te_throw_hint(TE_ERR_INVALID, te_format(row->arena, "The shortest text that the grammar allows has %zu tokens.", shortest),
					  "Raise max_tokens.", "max_tokens is %d, which leaves no room for any text that the grammar allows",
					  row->options.max_tokens);
}

/* One that nobody chose: of the time, the process's memory, and how many there were. */
static uint64_t
draw_seed(TeGenerator *generator)
{
	double		now = te_host_seconds();
	uint64_t	bits;

	memcpy(&bits, &now, sizeof(bits));
	return te_random_bits(bits ^ te_random_mix((uint64_t) (uintptr_t) generator), generator->n_drawn++);
}

static void
add_row(TeGenerator *generator, TeGenerateRow *row)
{
	if (generator->n_rows == generator->capacity)
	{
		size_t		capacity = TE_MAX(16, 2 * generator->capacity);
		TeGenerateRow **rows = te_new_array(generator->rows_arena, TeGenerateRow *, capacity);

		if (generator->n_rows > 0)
			memcpy(rows, generator->rows, generator->n_rows * sizeof(TeGenerateRow *));
		generator->rows = rows;
		generator->capacity = capacity;
	}
	generator->rows[generator->n_rows++] = row;
}

size_t
te_generator_feed(TeGenerator *generator, TeStr prompt, const TeGenerateOptions *options)
{
	TeArena    *arena = te_arena_create(generator->rows_arena, "row");
	TeGenerateRow *row = te_new(arena, TeGenerateRow);
	int32_t    *ids;

	te_generate_check(options);
	te_arena_reset(generator->session->step);
	row->arena = arena;
	row->options = copy_options(arena, options);
	if (!row->options.seeded)
		row->options.seed = draw_seed(generator);
	ids = te_prompt_tokens(generator, generator->session->step, prompt, options->bare, &row->n_prompt);
	check_length(generator, row);
	row->options.max_tokens = (int) TE_MIN((size_t) row->options.max_tokens, generator->context - row->n_prompt);
	row->grammar = keep_grammar(generator, arena, options);
	begin_branch(generator, row, ids, row->n_prompt);
	check_shortest(row);
	if (row->options.beams > 1)
		row->beams = te_beams_create(row);
	if (row->grammar != NULL)
		row->grammar->users++;
	add_row(generator, row);
	return generator->n_rows - 1;
}

/* ---- one pass ---- */

static void
fill_batch(TeArena *step, const TeGenerator *generator, TeWork *works, size_t n_works, TeBatch *batch)
{
	TeBatchPages *pages = te_new(step, TeBatchPages);
	int32_t    *starts = te_new_array(step, int32_t, n_works + 1);
	int32_t    *first = te_new_array(step, int32_t, n_works);
	int32_t    *lengths = te_new_array(step, int32_t, n_works);
	char	 ***data = te_new_array(step, char **, n_works);
	int32_t    *ids;
	int32_t    *positions;

	for (size_t i = 0; i < n_works; i++)
	{
		te_assert(works[i].n > 0 && works[i].n_wanted <= works[i].n);
		starts[i + 1] = starts[i] + (int32_t) works[i].n;
		batch->max_len = TE_MAX(batch->max_len, (int) works[i].n);
	}
	ids = te_new_array(step, int32_t, starts[n_works]);
	positions = te_new_array(step, int32_t, starts[n_works]);
	for (size_t i = 0; i < n_works; i++)
	{
		const TeSequence *sequence = works[i].sequence;

		te_assert((sequence->n_cached + works[i].n - 1) / TE_PAGE < sequence->n_pages);
		first[i] = (int32_t) sequence->n_cached;
		data[i] = sequence->data;
		lengths[i] = (int32_t) works[i].n_ids;
		for (size_t t = 0; t < works[i].n; t++)
		{
			ids[starts[i] + (int32_t) t] = works[i].ids[sequence->n_cached + t];
			positions[starts[i] + (int32_t) t] = (int32_t) (sequence->n_cached + t);
		}
	}
	*pages = (TeBatchPages) {.layout = *te_cache_layout(generator->cache),.n_layers = te_cache_layers(generator->cache),
		.first = first,.pages = (char *const *const *) data};
	batch->n_seq = (int) n_works;
	batch->n_tok = starts[n_works];
	batch->seq_start = starts;
	batch->ids = ids;
	batch->positions = positions;
	batch->lengths = lengths;
	batch->pages = pages;
}

/* The rows of the batch whose logits are wanted. */
static int32_t *
wanted_rows(TeArena *step, const TeBatch *batch, const TeWork *works, size_t n_works, size_t *n)
{
	int32_t    *rows = te_new_array(step, int32_t, batch->n_tok);

	*n = 0;
	for (size_t i = 0; i < n_works; i++)
	{
		for (size_t t = works[i].n - works[i].n_wanted; t < works[i].n; t++)
			rows[(*n)++] = batch->seq_start[i] + (int32_t) t;
	}
	return rows;
}

void
te_generator_pass(TeGenerator *generator, TeWork *works, size_t n_works)
{
	TeSession  *session = generator->session;
	double		start = te_host_seconds();
	TeBatch    *batch;
	TeGraph    *graph;
	TeNode	   *x;
	int32_t    *rows;
	size_t		n;
	float	   *logits;

	te_arena_reset(session->step);
	batch = te_new(session->step, TeBatch);
	fill_batch(session->step, generator, works, n_works, batch);
	graph = te_graph_create(session->step, TE_INFER, batch);
	te_graph_profile(graph, session->profile);
	x = te_model_arch(generator->model)->forward(graph, generator->model, batch);
	rows = wanted_rows(session->step, batch, works, n_works, &n);
	x = te_head_forward(graph, generator->model, te_select_rows(graph, x, rows, n));
	te_graph_keep(graph, x);
	te_graph_plan_within(graph, session->limit);
	te_graph_run(graph);
	logits = (float *) te_node_value(x);	/* nobody else reads them */
	for (size_t i = 0; i < n_works; i++)
	{
		works[i].logits = logits;
		logits += works[i].n_wanted * te_node_cols(x);
	}
	session->usage.tokens += batch->n_tok;
	session->usage.batches++;
	session->usage.seconds += te_host_seconds() - start;
}

/* ---- rows ---- */

void
te_branch_append(TeArena *arena, TeBranch *branch, int32_t id)
{
	TeStr		piece;

	if (branch->n_ids == branch->capacity)
	{
		int32_t    *ids = te_new_array(arena, int32_t, 2 * branch->capacity);

		memcpy(ids, branch->ids, branch->n_ids * sizeof(int32_t));
		branch->ids = ids;
		branch->capacity *= 2;
	}
	branch->ids[branch->n_ids++] = id;
	te_sampler_accept(branch->sampler, id);
	if (branch->constraint != NULL)
		te_constraint_accept(branch->constraint, id);
	piece = te_text_stream_add(branch->stream, id);
	te_buffer_add(&branch->text, piece.data, piece.len);
}

void
te_generator_finish(TeGenerator *generator, TeGenerateRow *row, TeFinish finish)
{
	TeBranch   *branch = &row->branch;
	TeStr		rest;

	if (row->status == TE_ROW_FINISHED)
		return;
	if (row->beams != NULL)
		te_beams_end(generator, row);
	else if (row->status == TE_ROW_ACTIVE)
		te_sequence_end(generator->cache, &branch->sequence, branch->ids);
	row->status = TE_ROW_FINISHED;
	row->finish = finish;
	if (!row->stopped)
	{
		rest = te_text_stream_end(branch->stream);
		te_buffer_add(&branch->text, rest.data, rest.len);
	}
	if (row->grammar != NULL)
		row->grammar->users--;
	generator->session->usage.rows++;
}

void
te_generator_drop(TeGenerator *generator, size_t row)
{
	te_assert(row < generator->n_rows);
	te_generator_finish(generator, generator->rows[row], TE_FINISH_STOP);
}

/* Where in the text, from `from` on, one of the texts to stop at begins; its length where there is none. */
static size_t
find_stop(const TeGenerateOptions *options, TeStr text, size_t from)
{
	size_t		found = text.len;

	for (size_t i = 0; i < options->n_stop; i++)
	{
		TeStr		stop = options->stop[i];
		size_t		begin = from < stop.len ? 0 : from - stop.len + 1;

		for (size_t at = begin; at + stop.len <= text.len && at < found; at++)
		{
			if (memcmp(text.data + at, stop.data, stop.len) == 0)
				found = at;
		}
	}
	return found;
}

/* How many bytes at the end of the text may be the beginning of a text to stop at. */
static size_t
doubtful(const TeGenerateOptions *options, TeStr text)
{
	size_t		most = 0;

	for (size_t i = 0; i < options->n_stop; i++)
	{
		TeStr		stop = options->stop[i];

		for (size_t n = TE_MIN(stop.len - 1, text.len); n > most; n--)
		{
			if (memcmp(text.data + text.len - n, stop.data, n) == 0)
				most = n;
		}
	}
	return most;
}

TeFinish
te_branch_finished(const TeGenerateRow *row, TeBranch *branch, size_t text_before, bool *stopped)
{
	TeStr		text = {branch->text.data, branch->text.len};
	size_t		stop = find_stop(&row->options, text, text_before);

	*stopped = stop < text.len;
	if (*stopped)
	{
		branch->text.len = stop;
		return TE_FINISH_STOP;
	}
	if (branch->constraint != NULL && te_constraint_finished(branch->constraint))
		return TE_FINISH_COMPLETE;
	return branch->n_ids - row->n_prompt >= (size_t) row->options.max_tokens ? TE_FINISH_LENGTH : TE_FINISH_NONE;
}

const uint64_t *
te_branch_allowed(const TeGenerator *generator, const TeGenerateRow *row, TeBranch *branch)
{
	size_t		left = (size_t) row->options.max_tokens - (branch->n_ids - row->n_prompt);
	uint64_t   *allowed;

	if (branch->constraint == NULL)
		return NULL;
	allowed = te_new_array(generator->scratch, uint64_t, ((size_t) generator->n_vocab + 63) / 64);
	te_constraint_mask(branch->constraint, left, allowed);
	return allowed;
}

bool
te_nothing_follows(const TeGenerator *generator, const uint64_t *allowed)
{
	for (size_t i = 0; allowed != NULL && i < ((size_t) generator->n_vocab + 63) / 64; i++)
	{
		if (allowed[i] != 0)
			return false;
	}
	return allowed != NULL;
}

/* Draw the next token of a row; false where the row is finished with it. */
static bool
draw(TeGenerator *generator, TeGenerateRow *row, float *logits)
{
	TeBranch   *branch = &row->branch;
	size_t		text_before = branch->text.len;
	const uint64_t *allowed = te_branch_allowed(generator, row, branch);
	double		logprob;
	int32_t		id;
	TeFinish	finish = TE_FINISH_COMPLETE;

	if (!te_nothing_follows(generator, allowed))
	{
		id = te_sampler_next(branch->sampler, logits, allowed, &logprob);
		branch->logprob += logprob;
		if (te_ends_text(generator, id))
			finish = TE_FINISH_END;
		else
		{
			te_branch_append(row->arena, branch, id);
			finish = te_branch_finished(row, branch, text_before, &row->stopped);
		}
	}
	if (finish == TE_FINISH_NONE)
		return true;
	te_generator_finish(generator, row, finish);
	return false;
}

/* ---- guesses ---- */

/* What followed the last time that the last tokens occurred; how many tokens, into `into`. */
static size_t
guess(TeGenerateRow *row, size_t n_active, int32_t *into)
{
	const TeBranch *branch = &row->branch;
	size_t		most = TE_MIN((size_t) MAX_GUESSES, (size_t) row->options.max_tokens - 1 - (branch->n_ids - row->n_prompt));
	const int32_t *last = branch->ids + branch->n_ids - GUESS_ALIKE;

	if (row->options.no_guesses || n_active > GUESS_ROWS || branch->n_ids < 2 * GUESS_ALIKE || most == 0)
		return 0;
	if (row->n_guessed >= GUESS_TRIES && row->n_hit * 3 < row->n_guessed)
		return 0;
	for (size_t at = branch->n_ids - GUESS_ALIKE; at-- > 0;)
	{
		if (memcmp(branch->ids + at, last, GUESS_ALIKE * sizeof(int32_t)) == 0)
		{
			size_t		n = TE_MIN(most, branch->n_ids - at - GUESS_ALIKE);

			memcpy(into, branch->ids + at + GUESS_ALIKE, n * sizeof(int32_t));
			return n;
		}
	}
	return 0;
}

/* ---- a step ---- */

static size_t
count_active(const TeGenerator *generator)
{
	size_t		n = 0;

	for (size_t i = generator->n_finished; i < generator->n_rows; i++)
		n += generator->rows[i]->status == TE_ROW_ACTIVE ? (size_t) generator->rows[i]->options.beams : 0;
	return n;
}

/* The active row that begins most like this one, by how many tokens. */
static TeGenerateRow *
most_alike(const TeGenerator *generator, const TeGenerateRow *row, size_t *n)
{
	TeGenerateRow *best = NULL;

	*n = 0;
	for (size_t i = generator->n_finished; i < generator->n_rows; i++)
	{
		TeGenerateRow *other = generator->rows[i];
		size_t		most = TE_MIN(row->branch.n_ids - 1, other->branch.n_ids);
		size_t		same = 0;

		if (other->status != TE_ROW_ACTIVE || other->beams != NULL)
			continue;
		while (same < most && row->branch.ids[same] == other->branch.ids[same])
			same++;
		if (same > *n)
		{
			best = other;
			*n = same;
		}
	}
	return best;
}

typedef enum Taken
{
	TAKEN,
	TAKEN_NOT,					/* it waits for another row that computes what both have in common */
	TAKEN_NO_PAGES
} Taken;

/* Take a row up, or see what it has to wait for. */
static Taken
take_up(TeGenerator *generator, TeGenerateRow *row)
{
	TeBranch   *branch = &row->branch;
	size_t		same;
	TeGenerateRow *other = generator->limits.no_sharing ? NULL : most_alike(generator, row, &same);

	if (other != NULL && other->branch.sequence.n_cached < same &&
		same >= te_sequence_known(generator->cache, branch->ids, branch->n_ids) + MIN_SHARED)
		return TAKEN_NOT;
	te_sequence_begin(generator->cache, &branch->sequence, branch->ids, branch->n_ids);
	if (other != NULL)
		te_sequence_copy_tail(generator->cache, &branch->sequence, &other->branch.sequence, same);
	if (!te_sequence_reserve(generator->cache, &branch->sequence, branch->n_ids))
	{
		te_sequence_end(generator->cache, &branch->sequence, NULL);
		return TAKEN_NO_PAGES;
	}
	if (!row->begun)
		row->n_shared = branch->sequence.n_cached;
	row->begun = true;
	row->status = TE_ROW_ACTIVE;
	return TAKEN;
}

static void
take_up_rows(TeGenerator *generator)
{
	size_t		n = count_active(generator);

	for (size_t i = generator->n_finished; i < generator->n_rows && n < (size_t) generator->limits.max_rows; i++)
	{
		TeGenerateRow *row = generator->rows[i];
		Taken		taken;

		/* beams have all pages for themselves */
		if (row->beams != NULL && (row->status == TE_ROW_ACTIVE || (row->status == TE_ROW_WAITING && n == 0 && take_up(generator, row) == TAKEN)))
			return;
		if (row->status != TE_ROW_WAITING || row->beams != NULL)
			continue;
		taken = take_up(generator, row);
		n += taken == TAKEN;
		/* nor are there for those behind it, which would only take what is kept for nothing */
		if (taken == TAKEN_NO_PAGES)
			return;
	}
}

/* Send the active row that comes last back to wait; false where it is this one, or the only one. */
static bool
send_back_last(TeGenerator *generator, const TeGenerateRow *but)
{
	for (size_t i = generator->n_rows; i-- > generator->n_finished;)
	{
		TeGenerateRow *row = generator->rows[i];

		if (row->status != TE_ROW_ACTIVE)
			continue;
		if (row == but || row->beams != NULL)
			return false;
		te_sequence_end(generator->cache, &row->branch.sequence, row->branch.ids);
		row->status = TE_ROW_WAITING;
		return true;
	}
	return false;
}

/* What is done for a row in a pass, beside its number of tokens. */
typedef struct Plan
{
	TeGenerateRow *row;
	size_t		first;			/* of the works */
	size_t		n_works;
	size_t		n_guessed;
	int32_t		guesses[MAX_GUESSES];
} Plan;

/* Pages for n tokens, if need be another row's; else the row itself goes back to wait, and false. */
static bool
reserve(TeGenerator *generator, TeGenerateRow *row, size_t n)
{
	TeSequence *sequence = &row->branch.sequence;

	while (!te_sequence_reserve(generator->cache, sequence, n))
	{
		if (send_back_last(generator, row))
			continue;
		te_sequence_end(generator->cache, sequence, row->branch.ids);
		row->status = TE_ROW_WAITING;
		return false;
	}
	return true;
}

/*
 * The work of a row that makes one text: the next token, with guesses, or a piece of the prompt of at most *room tokens.
 * Guesses are put behind the row's tokens for the pass.
 */
static bool
plan_row(TeGenerator *generator, size_t n_active, TeGenerateRow *row, size_t *room, TeWork *work, Plan *plan)
{
	TeBranch   *branch = &row->branch;
	size_t		todo = branch->n_ids - branch->sequence.n_cached;

	if (todo == 1)
	{
		plan->n_guessed = guess(row, n_active, plan->guesses);
		while (branch->n_ids + plan->n_guessed > branch->capacity)
			plan->n_guessed--;
	}
	else
		*room -= todo = TE_MIN(todo, *room);
	todo += plan->n_guessed;
	if (todo == 0 || !reserve(generator, row, branch->sequence.n_cached + todo))
		return false;
	memcpy(branch->ids + branch->n_ids, plan->guesses, plan->n_guessed * sizeof(int32_t));
	*work = (TeWork) {.sequence = &branch->sequence,.ids = branch->ids,.n_ids = branch->n_ids,.n = todo};
	if (branch->sequence.n_cached + todo == branch->n_ids + plan->n_guessed)
		work->n_wanted = 1 + plan->n_guessed;
	return true;
}

/* The works of all active rows; those that have their prompts first. */
static size_t
plan_pass(TeGenerator *generator, TeWork *works, Plan *plans, size_t *n_plans)
{
	size_t		n_active = count_active(generator);
	size_t		room = TE_PROMPT_TOKENS;
	size_t		n = 0;

	*n_plans = 0;
	for (size_t i = generator->n_finished; i < generator->n_rows; i++)
	{
		TeGenerateRow *row = generator->rows[i];
		Plan	   *plan = &plans[*n_plans];

		if (row->status != TE_ROW_ACTIVE)
			continue;
		*plan = (Plan) {.row = row,.first = n};
		if (row->beams != NULL)
			plan->n_works = te_beams_work(generator, row, works + n);
		else
			plan->n_works = plan_row(generator, n_active, row, &room, &works[n], plan);
		n += plan->n_works;
		*n_plans += plan->n_works > 0;
	}
	return n;
}

/* A row's tokens have been computed: draw the next one, and more where it was guessed. */
static void
advance_row(TeGenerator *generator, const Plan *plan, TeWork *work)
{
	TeGenerateRow *row = plan->row;
	TeBranch   *branch = &row->branch;
	size_t		outputs = (size_t) te_generator_outputs(generator);
	size_t		before = branch->sequence.n_cached + work->n - plan->n_guessed;

	row->n_guessed += plan->n_guessed;
	te_sequence_computed(generator->cache, &branch->sequence, branch->ids, before);
	for (size_t i = 0; i < work->n_wanted; i++)
	{
		if (!draw(generator, row, work->logits + i * outputs))
			return;
		if (i == plan->n_guessed || branch->ids[branch->n_ids - 1] != plan->guesses[i])
			return;
		row->n_hit++;
		te_sequence_computed(generator->cache, &branch->sequence, branch->ids, before + i + 1);
	}
}

bool
te_generator_step(TeGenerator *generator)
{
	size_t		most;
	TeWork	   *works;
	Plan	   *plans;
	size_t		n_plans;
	size_t		n;

	while (generator->n_finished < generator->n_rows && generator->rows[generator->n_finished]->status == TE_ROW_FINISHED)
		generator->n_finished++;
	if (generator->n_finished == generator->n_rows)
		return false;
	te_arena_reset(generator->scratch);
	take_up_rows(generator);
	most = count_active(generator) + 1;
	works = te_new_array(generator->scratch, TeWork, most);
	plans = te_new_array(generator->scratch, Plan, most);
	n = plan_pass(generator, works, plans, &n_plans);
	if (n == 0)
		te_throw(TE_ERR_INTERNAL, "no row can go on");
	te_generator_pass(generator, works, n);
	for (size_t i = 0; i < n_plans; i++)
	{
		if (plans[i].row->beams != NULL)
			te_beams_advance(generator, plans[i].row, works + plans[i].first, plans[i].n_works);
		else
			advance_row(generator, &plans[i], &works[plans[i].first]);
	}
	return true;
}

TeGenerated
te_generator_row(TeGenerator *generator, size_t number)
{
	const TeGenerateRow *row;
	TeGenerated result;

	te_assert(number < generator->n_rows);
	row = generator->rows[number];
	result = (TeGenerated) {.text = {row->branch.text.data, row->branch.text.len},.n_prompt = row->n_prompt,.n_shared = row->n_shared,
		.n_tokens = row->branch.n_ids - row->n_prompt,.logprob = row->branch.logprob,.finish = row->finish};
	if (row->status != TE_ROW_FINISHED)
		result.text.len -= doubtful(&row->options, result.text);
	return result;
}
