/*-------------------------------------------------------------------------
 * unigram.c
 *	  The Unigram model: the most probable sequence of tokens.
 *
 * T. Kudo, "Subword Regularization", 2018.  Viterbi over the characters of
 * a piece: for each place, the best score of a path that ends there.  Tokens that
 * begin at a place are found by one walk down a trie, so that the work is
 * the length of the piece times the length of the tokens that begin there.
 *
 * A character without a token of its own may be unknown, at the score of the worst
 * token less a penalty; unknown characters in a row are one, and then, if so
 * configured, the tokens of their bytes.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

#include <math.h>

#define UNKNOWN_PENALTY 10.0

typedef struct UnigramParam
{
	double		unknown_score;
	uint32_t	trie;
	uint32_t	scores;			/* double[n_ids] */
	int32_t		unk;			/* -1: there is none */
	bool		byte_fallback;
	int32_t		bytes[256];		/* the token of each byte, or -1 */
} UnigramParam;

#define EXACT_POWERS 22			/* 10^22 is the largest that a double holds */

/*
 * The reference does not read a number to the nearest double: it makes an integer of all its digits and
 * divides that by a power of ten, so that it rounds twice.  The last bit decides between paths of
 * equal score, such as "-" before or after "---" in a rule, so it is done here alike, from the
 * digits that the file has: the shortest that tell the number from its neighbours.
 */
static double
read_as_reference(TeArena *work, double value)
{
	const char *digits = "";
	uint64_t	whole = 0;
	double		power = 1;
	int			n_fraction = 0;
	bool		in_fraction = false;
	bool		plain;

	for (int n = 15; n <= 17; n++)
	{
		digits = te_format(work, "%.*g", n, fabs(value));
		if (te_json_parse_real(te_str(digits)) == fabs(value))
			break;
	}
	for (; *digits == '.' || (*digits >= '0' && *digits <= '9'); digits++)
	{
		if (*digits == '.')
			in_fraction = true;
		else
		{
			whole = whole * 10 + (uint64_t) (*digits - '0');
			n_fraction += in_fraction;
		}
	}
	plain = *digits == '\0';
	te_arena_reset(work);
	/* With an exponent, or beyond the powers, it is no score of a model that was trained */
	if (!plain || n_fraction > EXACT_POWERS)
		return value;
	for (int i = 0; i < n_fraction; i++)
		power *= 10;
	return copysign((double) whole / power, value);
}

/* A number of any kind. */
static double
score_of(TeArena *work, const TeJson *pair, uint32_t number)
{
	if (pair->n == 2 && pair->items[1].kind == TE_JSON_REAL)
		return read_as_reference(work, pair->items[1].real);
	if (pair->n == 2 && pair->items[1].kind == TE_JSON_INTEGER)
		return (double) pair->items[1].integer;
	te_throw(TE_ERR_CORRUPT, "tokenizer: token %u has no score", number);
}

/* Of equal tokens the last one counts, in the trie as in the vocabulary. */
static void
compile_unigram(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	const TeJson *vocab = te_json_get(node, "vocab");
	UnigramParam *param = te_new(compiler->arena, UnigramParam);
	double	   *scores;
	TeTrieKey  *keys;
	double		worst = INFINITY;
	TeArena    *work = te_arena_create(compiler->arena, "scores");

	if (vocab == NULL || vocab->kind != TE_JSON_ARRAY)
		te_throw(TE_ERR_CORRUPT, "tokenizer: vocabulary of a Unigram model is no list");
	scores = te_new_array(compiler->arena, double, vocab->n);
	keys = te_new_array(compiler->arena, TeTrieKey, vocab->n);
	for (uint32_t i = 0; i < vocab->n; i++)
	{
		/* te_vocab_compile() has checked that the entries are lists with a string */
		keys[i] = (TeTrieKey) {vocab->items[i].items[0].string, (int32_t) i};
		scores[i] = score_of(work, &vocab->items[i], i);
		worst = scores[i] < worst ? scores[i] : worst;
	}
	te_arena_destroy(work);
	param->unknown_score = worst - UNKNOWN_PENALTY;
	param->unk = (int32_t) te_json_int_range(node, "unk_id", -1, -1, (int64_t) vocab->n - 1);
	param->byte_fallback = te_json_bool(node, "byte_fallback", false);
	te_byte_tokens(te_image_so_far(compiler), compiler->arena, param->bytes);
	param->scores = te_image_add(compiler, scores, vocab->n * sizeof(double));
	param->trie = te_trie_compile(compiler, keys, vocab->n);
	te_emit(compiler, kind, param, sizeof(UnigramParam));
}

/* The best path that ends at a place */
typedef struct Best
{
	double		score;
	uint32_t	from;			/* where its last token begins; UINT32_MAX: no path yet */
	int32_t		id;
} Best;

/* The first of equal paths stays. */
static inline void
offer(Best *best, double score, size_t from, int32_t id)
{
	if (best->from == UINT32_MAX || score > best->score)
		*best = (Best) {score, (uint32_t) from, id};
}

/* Offer all tokens that begin at a place, and the unknown one where no token is just its character. */
static void
extend(TeEncoder *encoder, const UnigramParam *param, Best *best, size_t from)
{
	const TeTrie *trie = te_at(encoder->tokenizer, param->trie);
	const double *scores = te_at(encoder->tokenizer, param->scores);
	const uint8_t *bytes = (const uint8_t *) encoder->word_bytes;
	const uint32_t *at = encoder->word_at;
	double		score = best[from].score;
	bool		has_single = false;
	uint32_t	node = 0;

	for (size_t to = from; param->trie != 0 && to < encoder->n_word; to++)
	{
		int32_t		id;
		uint32_t	k = at[to];

		while (k < at[to + 1] && te_trie_step(trie, &node, bytes[k]))
			k++;
		if (k < at[to + 1])
			break;
		id = te_trie_value(trie, node);
		if (id < 0)
			continue;
		offer(&best[to + 1], scores[id] + score, from, id);
		has_single |= to == from;
	}
	if (has_single)
		return;
	if (param->unk < 0 && (best[from + 1].from == UINT32_MAX || param->unknown_score + score > best[from + 1].score))
		encoder->status = TE_TEXT_NO_TOKEN;
	offer(&best[from + 1], param->unknown_score + score, from, param->unk);
}

/* What was unknown: a token after all, if it is one as a whole; its bytes; or the unknown token. */
static void
emit_unknown(TeEncoder *encoder, const UnigramParam *param, size_t from, size_t to)
{
	const uint8_t *bytes = (const uint8_t *) encoder->word_bytes;
	uint32_t	first = encoder->word_at[from];
	uint32_t	end = encoder->word_at[to];
	int32_t		id = te_vocab_id(encoder->tokenizer, (TeStr) {encoder->word_bytes + first, end - first});
	bool		as_bytes = id < 0 && param->byte_fallback;

	for (uint32_t k = first; k < end && as_bytes; k++)
		as_bytes = param->bytes[bytes[k]] >= 0;
	if (!as_bytes)
	{
		te_emit_token(encoder, id >= 0 ? id : param->unk, from, to);
		te_mark_literal(encoder);
		return;
	}
	for (uint32_t k = first; k < end; k++)
		te_emit_token(encoder, param->bytes[bytes[k]], from, to);
}

/* The best path: its links are turned around, then followed from the start. */
static void
emit_path(TeEncoder *encoder, const UnigramParam *param, Best *best)
{
	size_t		n = encoder->n_word;
	uint32_t	end = UINT32_MAX;
	int32_t		id = -1;

	for (uint32_t to = (uint32_t) n;;)
	{
		Best		here = best[to];

		best[to].from = end;
		best[to].id = id;
		if (to == 0)
			break;
		end = to;
		id = here.id;
		to = here.from;
	}
	/* Now best[i] tells where the token that begins at i ends, and its id */
	for (size_t from = 0; from < n;)
	{
		size_t		to = best[from].from;

		if (best[from].id != param->unk)
			te_emit_token(encoder, best[from].id, from, to);
		else
		{
			while (to < n && best[to].id == param->unk)
				to = best[to].from;
			emit_unknown(encoder, param, from, to);
		}
		from = to;
	}
}

/* Forward for the scores, back for the path. */
static void
run_unigram(TeEncoder *encoder, const void *data)
{
	const UnigramParam *param = data;
	size_t		n = encoder->n_word;
	Best	   *best = te_high(encoder, (n + 1) * sizeof(Best));

	if (best == NULL)
		return;
	for (size_t i = 0; i <= n; i++)
		best[i] = (Best) {0, i == 0 ? 0 : UINT32_MAX, -1};
	for (size_t i = 0; i < n && encoder->status == TE_TEXT_OK; i++)
		extend(encoder, param, best, i);
	if (encoder->status == TE_TEXT_OK)
		emit_path(encoder, param, best);
}

const TeRow te_model_unigram = {"Unigram", compile_unigram, run_unigram};
