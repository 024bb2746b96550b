/*-------------------------------------------------------------------------
 * wordpiece.c
 *	  The WordPiece model.  Its decoder is in decode.c.
 *
 * Greedy: the longest token that a word begins with, then the longest
 * continuation ("##ing"), and so on; a word with a part that is no token is
 * unknown as a whole.  Y. Wu et al., "Google's Neural Machine Translation
 * System", 2016.
 *
 * A word of L characters has up to L^2 / 2 candidates.  Their hashes are
 * prefixes of one another, so that one pass over the rest of the word gives
 * all; candidates longer than the longest token are not looked up.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

typedef struct WordPieceParam
{
	int32_t		unk;			/* -1: there is none */
	uint32_t	max_chars;
	TeImageStr	prefix;
	uint64_t	prefix_hash;
} WordPieceParam;

/* The hash of the prefix is where those of all continuations begin. */
static void
compile_wordpiece(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	TeStr		unk = te_json_str(node, "unk_token", "[UNK]");
	TeStr		prefix = te_json_str(node, "continuing_subword_prefix", "##");
	WordPieceParam param = {0};

	param.unk = te_vocab_id(te_image_so_far(compiler), unk);
	param.max_chars = (uint32_t) te_json_int_range(node, "max_input_chars_per_word", 100, 0, INT32_MAX);
	param.prefix = te_image_add_str(compiler, prefix);
	param.prefix_hash = te_hash_add(TE_HASH_START, prefix.data, prefix.len);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* The longest token that continues the word at a character; its id, and where it ends. */
static int32_t
longest_token(const TeEncoder *encoder, const WordPieceParam *param, uint64_t *hashes, size_t from, size_t *to)
{
	const TeTokenizer *tokenizer = encoder->tokenizer;
	const uint32_t *at = encoder->word_at;
	const char *bytes = encoder->word_bytes;
	TeStr		prefix = {NULL, 0};
	uint64_t	hash = TE_HASH_START;
	size_t		end = from;

	if (from > 0)
	{
		prefix = te_image_str(tokenizer, param->prefix);
		hash = param->prefix_hash;
	}
	while (end < encoder->n_word && prefix.len + (at[end + 1] - at[from]) <= tokenizer->vocab.longest)
	{
		hash = te_hash_add(hash, bytes + at[end], at[end + 1] - at[end]);
		hashes[end++] = hash;
	}
	for (; end > from; end--)
	{
		TeStr		rest = {bytes + at[from], at[end] - at[from]};
		int32_t		id = te_vocab_find(tokenizer, hashes[end - 1], prefix, rest);

		if (id >= 0)
		{
			*to = end;
			return id;
		}
	}
	return -1;
}

/* Take back what the word has given, for one unknown token. */
static void
emit_unknown(TeEncoder *encoder, const WordPieceParam *param, size_t n_before)
{
	encoder->low -= (encoder->n_tokens - n_before) * sizeof(TeToken);
	encoder->n_tokens = n_before;
	if (param->unk < 0)
		encoder->status = TE_TEXT_NO_TOKEN;
	else
		te_emit_token(encoder, param->unk, 0, encoder->n_word);
}

/* Tokens are emitted as they are found, and taken back if the word turns out to be unknown. */
static void
run_wordpiece(TeEncoder *encoder, const void *data)
{
	const WordPieceParam *param = data;
	size_t		n_before = encoder->n_tokens;
	uint64_t   *hashes;

	if (encoder->n_word > param->max_chars)
	{
		emit_unknown(encoder, param, n_before);
		return;
	}
	hashes = te_high(encoder, encoder->n_word * sizeof(uint64_t));
	for (size_t from = 0; from < encoder->n_word && encoder->status == TE_TEXT_OK;)
	{
		size_t		to = from;
		int32_t		id = longest_token(encoder, param, hashes, from, &to);

		if (id < 0)
		{
			emit_unknown(encoder, param, n_before);
			return;
		}
		te_emit_token(encoder, id, from, to);
		from = to;
	}
}

const TeRow te_model_wordpiece = {"WordPiece", compile_wordpiece, run_wordpiece};
