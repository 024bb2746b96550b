/*-------------------------------------------------------------------------
 * constraint_check.h
 *	  What the tests of grammars share: vocabularies, and texts drawn from masks.
 *-------------------------------------------------------------------------
 */
#ifndef TE_CONSTRAINT_CHECK_H
#define TE_CONSTRAINT_CHECK_H

#include "harness.h"

#include "base/random.h"
#include "file/file.h"
#include "model/grammar.h"
#include "model/tokens.h"
#include "text/text.h"

/* Byte-level BPE, SentencePiece with bytes, WordPiece, Unigram: of models/fixtures/tokenizers */
static const char *const vocabularies[] = {"gpt2", "llama3", "llama", "unigram", "bert"};

typedef struct Vocabulary
{
	const TeTokenizer *tokenizer;
	const TeTokens *tokens;
	int32_t		end;			/* an id beyond the tokenizer's */
} Vocabulary;

static const TeTokenizer *
compile_tokenizer(TeArena *arena, const TeJson *json)
{
	TeBuffer	image;
	size_t		at;

	te_buffer_init(&image, arena);
	at = te_tokenizer_compile(arena, json, &image);
	return te_tokenizer_attach(image.data + at, image.len - at);
}

static const TeTokenizer *
load_tokenizer(TeArena *arena, const char *name)
{
	TeSource	source = te_std_file(arena, te_format(arena, "%s/fixtures/tokenizers/%s.json", TE_TEST_MODELS, name));

	return compile_tokenizer(arena, te_json_parse(arena, te_source_whole(arena, &source, SIZE_MAX), name));
}

__attribute__((unused)) static Vocabulary
load_vocabulary(TeArena *arena, const char *name)
{
	Vocabulary	v;

	v.tokenizer = load_tokenizer(arena, name);
	v.end = te_vocab_size(v.tokenizer);
	v.tokens = te_tokens_create(arena, v.tokenizer, v.end + 1);
	return v;
}

/* Of a GGUF file in the folder of test data. */
__attribute__((unused)) static Vocabulary
load_gguf_vocabulary(TeArena *arena, const char *path)
{
	TeSource	source = te_std_file(arena, path);
	TeModelFile file;
	Vocabulary	v;

	te_gguf_read(arena, &source, &file);
	v.tokenizer = compile_tokenizer(arena, te_tokenizer_from_gguf(arena, file.meta));
	v.end = te_vocab_size(v.tokenizer);
	v.tokens = te_tokens_create(arena, v.tokenizer, v.end + 1);
	return v;
}

static size_t
count_bits(const uint64_t *words, size_t n)
{
	size_t		count = 0;

	for (size_t i = 0; i < n; i++)
		count += (size_t) __builtin_popcountll(words[i]);
	return count;
}

/* The k-th set bit. */
static int32_t
nth_bit(const uint64_t *words, size_t k)
{
	for (int32_t i = 0;; i++)
	{
		if ((words[i / 64] >> (i % 64) & 1) != 0 && k-- == 0)
			return i;
	}
}

/* A token that the mask has, or has not, is one after which the text can, or cannot, be finished. */
static void
check_mask(TeArena *arena, const TeConstraintState *state, const Vocabulary *v, const uint64_t *allowed, size_t left, int32_t id)
{
	TeArena    *work = te_arena_create(arena, "copy");
	TeConstraintState *copy = te_constraint_copy(work, state);
	bool		is_allowed = (allowed[id / 64] >> (id % 64) & 1) != 0;
	volatile bool fits = false;

	TE_TRY
	{
		te_constraint_accept(copy, id);
		fits = left > 0 && te_constraint_shortest(copy) <= left - 1;
	}
	TE_CATCH
	{
		CHECK(te_std_error()->code == TE_ERR_INVALID);
	}
	TE_END_TRY;
	if (id != v->end)
		CHECK(is_allowed == fits);
	te_arena_destroy(work);
}

/*
 * Draws a text by masks, with as many tokens as the shortest has, and `slack` more.  false: the grammar cannot be written with the
 * vocabulary.
 */
__attribute__((unused)) static bool
draw_text(TeArena *arena, const TeGrammar *grammar, const Vocabulary *v, size_t slack, uint64_t seed, TeStr *text)
{
	TeConstraint *constraint;
	TeConstraintState *volatile begun = NULL;
	size_t		n_words = (size_t) (v->end + 1 + 63) / 64;
	uint64_t   *allowed = te_new_array(arena, uint64_t, n_words);
	TeConstraintState *state;
	TeBuffer	bytes;
	int32_t    *ids;
	size_t		left;
	size_t		n = 0;

	TE_TRY
	{
		constraint = te_constraint_create(arena, grammar, v->tokens, &v->end, 1);
		begun = te_constraint_begin(arena, constraint, false);
	}
	TE_CATCH
	{
		CHECK(te_std_error()->code == TE_ERR_INVALID && strstr(te_std_error()->message, "no tokens to write") != NULL);
	}
	TE_END_TRY;
	if (begun == NULL)
		return false;
	state = begun;
	left = te_constraint_shortest(state) + slack;
	ids = te_new_array(arena, int32_t, left);
	te_buffer_init(&bytes, arena);
	while (!te_constraint_finished(state))
	{
		size_t		count;
		int32_t		id;

		te_constraint_mask(state, left, allowed);
		count = count_bits(allowed, n_words);
		CHECK(te_constraint_shortest(state) <= left);
		CHECK(te_constraint_complete(state) == ((allowed[v->end / 64] >> (v->end % 64) & 1) != 0));
		if (!CHECK(count > 0))
			break;
		for (uint64_t i = 0; i < 2; i++)
			check_mask(arena, state, v, allowed, left, (int32_t) te_random_below(seed, 100000 + n * 2 + i, (uint64_t) v->end));
		id = nth_bit(allowed, te_random_below(seed, n, count));
		check_mask(arena, state, v, allowed, left, id);
		if (id == v->end)
			break;
		CHECK(!te_token_special(v->tokenizer, id));
		te_constraint_accept(state, id);
		te_buffer_add(&bytes, (n == 0 ? v->tokens->first_texts : v->tokens->texts)[id].data,
					  (n == 0 ? v->tokens->first_texts : v->tokens->texts)[id].len);
		ids[n++] = id;
		if (!CHECK(left-- > 0))
			break;
	}
	CHECK(te_constraint_complete(state));
	*text = (TeStr) {bytes.data, bytes.len};
	CHECK(te_str_eq(*text, te_decode(v->tokenizer, arena, ids, n, true)));
	return true;
}

#endif							/* TE_CONSTRAINT_CHECK_H */
