/*-------------------------------------------------------------------------
 * fn_text.c
 *	  Texts and tokens: tokenize(), tokens(), detokenize(), token_count() and
 *	  chunk().
 *
 * They need a model's tokenizer only, so a model without weights will do.
 * tokenize(), tokens() and token_count() have an array twin, a set with a row
 * for each element; the four are one table of "text to Datum" functions.
 *
 * chunk() cuts a text at spaces, else where words end, else where tokens end,
 * else where characters end.  A piece of a text may have more tokens than it
 * had inside the text (a word that was cut begins anew), so each piece is
 * tokenized again, and made shorter until it fits.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

static const TeTokenizer *
open_tokenizer(FunctionCallInfo fcinfo, int arg)
{
	return te_model_tokenizer(tr_model_engine(tr_model_open(tr_text_argument(fcinfo, arg), TR_USE_TOKENS)));
}

/* ---- functions of one text ---- */

static TeToken *
encode(const TeTokenizer *tokenizer, text *input, bool special, size_t *n)
{
	return te_encode_alloc(tokenizer, tr_scratch(), tr_utf8(input), (TeStr) {NULL, 0}, special, 0, n, NULL);
}

Datum
tr_token_ids(const TeTokenizer *tokenizer, text *input, bool special)
{
	size_t		n;
	TeToken    *tokens = encode(tokenizer, input, special, &n);
	int32	   *ids = palloc(sizeof(int32) * Max(n, 1));
	ArrayType  *array;

	for (size_t i = 0; i < n; i++)
		ids[i] = tokens[i].id;
	array = tr_int_array(ids, (int) n);
	pfree(ids);
	return PointerGetDatum(array);
}

Datum
tr_token_words(const TeTokenizer *tokenizer, text *input, bool special)
{
	size_t		n;
	TeToken    *tokens = encode(tokenizer, input, special, &n);
	Datum	   *words = palloc(sizeof(Datum) * Max(n, 1));

	for (size_t i = 0; i < n; i++)
		words[i] = PointerGetDatum(tr_text_as(te_token_text(tokenizer, tokens[i].id), "a token",
											   "Use transformer.tokenize(), which gives numbers, or a database with encoding UTF8."));
	return PointerGetDatum(tr_text_array(words, (int) n));
}

Datum
tr_token_count(const TeTokenizer *tokenizer, text *input, bool special)
{
	size_t		n;

	(void) encode(tokenizer, input, special, &n);
	return Int32GetDatum((int32) n);
}

static Datum
one_text(FunctionCallInfo fcinfo, TrTextFunction function, bool special)
{
	TrModel    *model;
	Datum		found;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	model = tr_model_open(tr_text_argument(fcinfo, 1), TR_USE_TOKENS);
	if (tr_ahead_found(fcinfo, model, &found))
		return found;
	return function(te_model_tokenizer(tr_model_engine(model)), PG_GETARG_TEXT_PP(0), special);
}

static Datum
each_text(FunctionCallInfo fcinfo, TrTextFunction function, bool special, Oid type)
{
	const TeTokenizer *tokenizer;
	TrTexts		texts;
	MemoryContext context;
	MemoryContext old;

	tr_set_begin(fcinfo, type);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	tokenizer = open_tokenizer(fcinfo, 1);
	texts = tr_texts(PG_GETARG_ARRAYTYPE_P(0));
	context = AllocSetContextCreate(CurrentMemoryContext, "transformer row", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	for (int i = 0; i < texts.n; i++)
	{
		Datum		value = (Datum) 0;

		CHECK_FOR_INTERRUPTS();
		if (!texts.nulls[i])
			value = function(tokenizer, DatumGetTextPP(texts.values[i]), special);
		tr_set_add(fcinfo, value, texts.nulls[i]);
		MemoryContextReset(context);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	PG_RETURN_NULL();
}

/* A special that is NULL counts as the default. */
static bool
special_argument(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(2) || PG_GETARG_BOOL(2);
}

PG_FUNCTION_INFO_V1(transformer_tokenize);
Datum
transformer_tokenize(PG_FUNCTION_ARGS)
{
	return one_text(fcinfo, tr_token_ids, special_argument(fcinfo));
}

PG_FUNCTION_INFO_V1(transformer_tokenize_array);
Datum
transformer_tokenize_array(PG_FUNCTION_ARGS)
{
	return each_text(fcinfo, tr_token_ids, special_argument(fcinfo), INT4ARRAYOID);
}

PG_FUNCTION_INFO_V1(transformer_tokens);
Datum
transformer_tokens(PG_FUNCTION_ARGS)
{
	return one_text(fcinfo, tr_token_words, special_argument(fcinfo));
}

PG_FUNCTION_INFO_V1(transformer_tokens_array);
Datum
transformer_tokens_array(PG_FUNCTION_ARGS)
{
	return each_text(fcinfo, tr_token_words, special_argument(fcinfo), TEXTARRAYOID);
}

PG_FUNCTION_INFO_V1(transformer_token_count);
Datum
transformer_token_count(PG_FUNCTION_ARGS)
{
	return one_text(fcinfo, tr_token_count, true);
}

PG_FUNCTION_INFO_V1(transformer_token_count_array);
Datum
transformer_token_count_array(PG_FUNCTION_ARGS)
{
	return each_text(fcinfo, tr_token_count, true, INT4OID);
}

/* Special tokens are left out, so that this undoes tokenize(). */
PG_FUNCTION_INFO_V1(transformer_detokenize);
Datum
transformer_detokenize(PG_FUNCTION_ARGS)
{
	const TeTokenizer *tokenizer;
	const int32 *ids;
	int			n;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	tokenizer = open_tokenizer(fcinfo, 1);
	ids = tr_ints(PG_GETARG_ARRAYTYPE_P(0), &n);
	PG_RETURN_TEXT_P(tr_text_as(te_decode(tokenizer, tr_scratch(), ids, n, true), "the text of the tokens", NULL));
}

/* ---- chunk() ---- */

/*
 * A text on its way into pieces.  Tokens are those of the rest from `base` on;
 * their places are relative to it.
 */
typedef struct Chunker
{
	const TeTokenizer *tokenizer;
	TeArena    *arena;			/* of tokens */
	TeArena    *trial;			/* of one piece that is tried */
	TeStr		input;
	size_t		base;
	TeToken    *tokens;
	size_t		n_tokens;
	size_t		max_tokens;		/* of a piece, special ones included */
	size_t		room;			/* the same without them */
	size_t		overlap;
	size_t		counted_bytes;	/* how many characters the bytes before this are */
	int32		counted_chars;
} Chunker;

static inline bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline bool
begins_character(const Chunker *c, size_t place)
{
	return place >= c->input.len || ((unsigned char) c->input.data[place] & 0xC0) != 0x80;
}

/* Bytes of the whole text. */
static inline size_t
token_start(const Chunker *c, size_t i)
{
	return c->base + c->tokens[i].start;
}

static inline size_t
token_stop(const Chunker *c, size_t i)
{
	return c->base + c->tokens[i].stop;
}

static void
tokenize_rest(Chunker *c, size_t base)
{
	TeStr		rest = {c->input.data + base, c->input.len - base};

	te_arena_reset(c->arena);
	c->base = base;
	c->tokens = te_encode_alloc(c->tokenizer, c->arena, rest, (TeStr) {NULL, 0}, false, 0, &c->n_tokens, NULL);
}

/* By how many tokens would this piece pass the limit? */
static size_t
excess(Chunker *c, size_t start, size_t stop)
{
	TeStr		piece = {c->input.data + start, stop - start};
	size_t		n;

	CHECK_FOR_INTERRUPTS();
	te_arena_reset(c->trial);
	(void) te_encode_alloc(c->tokenizer, c->trial, piece, (TeStr) {NULL, 0}, true, 0, &n, NULL);
	return n > c->max_tokens ? n - c->max_tokens : 0;
}

/* How good a place before token i is to cut the text. */
typedef enum Seam
{
	SEAM_NONE,					/* within a character: byte-level tokens may be parts of one */
	SEAM_TOKEN,
	SEAM_WORD,
	SEAM_SPACE
} Seam;

static Seam
seam_before(const Chunker *c, size_t i)
{
	size_t		stop;
	size_t		start;

	if (i >= c->n_tokens)
		return SEAM_SPACE;
	stop = token_stop(c, i - 1);
	start = token_start(c, i);
	if (start < stop || !begins_character(c, start) || !begins_character(c, stop))
		return SEAM_NONE;
	if (start > stop || is_space(c->input.data[start]))
		return SEAM_SPACE;
	return c->tokens[i].word != c->tokens[i - 1].word ? SEAM_WORD : SEAM_TOKEN;
}

/*
 * The best place to cut in (first, end]: a space if that does not halve the
 * piece, a word's end, a token's; `first` where there is none.
 */
static size_t
best_cut(const Chunker *c, size_t first, size_t end)
{
	for (size_t i = end; i > first + (end - first) / 2; i--)
		if (seam_before(c, i) == SEAM_SPACE)
			return i;
	for (Seam wanted = SEAM_WORD; wanted >= SEAM_TOKEN; wanted--)
		for (size_t i = end; i > first; i--)
			if (seam_before(c, i) >= wanted)
				return i;
	return first;
}

/*
 * Where a piece begins and ends.  Characters that are in no token (a tokenizer
 * may drop accents and control characters) go with the tokens before them, at
 * the very beginning with those behind; spaces at the ends are left out.
 */
static size_t
piece_start(const Chunker *c, size_t first)
{
	size_t		start = first == 0 ? c->base : token_start(c, first);

	while (start + 1 < token_stop(c, first) && is_space(c->input.data[start]))
		start++;
	return start;
}

static size_t
piece_stop(const Chunker *c, size_t cut)
{
	size_t		stop = cut < c->n_tokens ? token_start(c, cut) : c->input.len;

	while (stop > token_stop(c, cut - 1) && is_space(c->input.data[stop - 1]))
		stop--;
	return stop;
}

/* The token behind the piece that begins with token `first`; `first` where not even one token fits. */
static size_t
piece_end(Chunker *c, size_t first)
{
	size_t		end = Min(first + c->room, c->n_tokens);

	while (end > first)
	{
		size_t		cut = best_cut(c, first, end);
		size_t		over;

		if (cut == first)
			return first;
		over = excess(c, piece_start(c, first), piece_stop(c, cut));
		if (over == 0)
			return cut;
		end = cut > first + over ? cut - over : cut - 1;
	}
	return first;
}

/* Within a token: as many characters as fit, at least one.  Gives the byte behind. */
static size_t
piece_of_token(Chunker *c, size_t first)
{
	size_t		start = piece_start(c, first);
	size_t		last = first;
	size_t		stop;

	while (seam_before(c, last + 1) == SEAM_NONE)
		last++;
	stop = token_stop(c, last);
	while (excess(c, start, stop) > 0)
	{
		size_t		shorter = stop - 1;

		while (!begins_character(c, shorter))
			shorter--;
		if (shorter <= start)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("max_tokens is too small for a single character of the text")));
		stop = shorter;
	}
	return stop;
}

/* Where the piece after [first, cut) begins. */
static size_t
next_first(const Chunker *c, size_t first, size_t cut)
{
	size_t		from = Max(first + 1, cut > c->overlap ? cut - c->overlap : 0);

	for (Seam wanted = SEAM_SPACE; wanted >= SEAM_TOKEN; wanted--)
		for (size_t i = from; i < cut; i++)
			if (seam_before(c, i) >= wanted)
				return i;
	return cut;
}

/* Pieces come in the order of their starts, so characters are counted once. */
static void
add_piece(FunctionCallInfo fcinfo, Chunker *c, int32 seq, size_t start, size_t stop)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const char *data = c->input.data;
	Datum		values[4];
	bool		nulls[4] = {false};
	TeStr		span = {data + start, stop - start};
	text	   *piece = tr_text(span);

	c->counted_chars += tr_characters((TeStr) {data + c->counted_bytes, start - c->counted_bytes});
	c->counted_bytes = start;
	values[0] = Int32GetDatum(seq);
	values[1] = PointerGetDatum(piece);
	values[2] = Int32GetDatum(c->counted_chars + 1);
	values[3] = Int32GetDatum(c->counted_chars + tr_characters(span));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	pfree(piece);
}

static void
make_pieces(FunctionCallInfo fcinfo, Chunker *c)
{
	size_t		first = 0;
	size_t		done = 0;		/* the token behind the last piece */
	int32		seq = 1;

	tokenize_rest(c, 0);
	while (done < c->n_tokens)
	{
		size_t		cut = piece_end(c, first);

		/* An overlap that would leave no room for anything new is given up. */
		if (cut <= done && first < done)
		{
			first = done;
			continue;
		}
		if (cut > first)
		{
			add_piece(fcinfo, c, seq++, piece_start(c, first), piece_stop(c, cut));
			done = cut;
			first = cut < c->n_tokens ? next_first(c, first, cut) : cut;
		}
		else
		{
			size_t		stop = piece_of_token(c, first);

			add_piece(fcinfo, c, seq++, piece_start(c, first), stop);
			tokenize_rest(c, stop);
			first = done = 0;
		}
	}
}

static void
check_sizes(int max_tokens, int overlap, size_t added)
{
	if (max_tokens < (int) added + 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_tokens must be at least %d for this model, not %d", (int) added + 1, max_tokens),
				 errdetail("The model adds %d special tokens to each text, which count.", (int) added)));
	if (overlap < 0 || overlap >= max_tokens - (int) added)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("overlap must be between 0 and %d, not %d", max_tokens - (int) added - 1, overlap),
				 errdetail("It must be less than max_tokens without the %d special tokens that the model adds.",
						   (int) added)));
}

PG_FUNCTION_INFO_V1(transformer_chunk);
Datum
transformer_chunk(PG_FUNCTION_ARGS)
{
	Chunker		c = {0};
	TeArena    *scratch;
	size_t		added;

	tr_srf_begin(fcinfo);
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	tr_require(fcinfo, 1, "max_tokens");
	c.tokenizer = open_tokenizer(fcinfo, 3);
	added = te_tokens_added(c.tokenizer, false);
	c.overlap = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2);
	check_sizes(PG_GETARG_INT32(1), PG_ARGISNULL(2) ? 0 : PG_GETARG_INT32(2), added);
	c.max_tokens = PG_GETARG_INT32(1);
	c.room = c.max_tokens - added;
	c.input = tr_utf8(PG_GETARG_TEXT_PP(0));
	scratch = tr_scratch();
	c.arena = te_arena_create(scratch, "tokens");
	c.trial = te_arena_create(scratch, "piece");
	make_pieces(fcinfo, &c);
	PG_RETURN_NULL();
}
