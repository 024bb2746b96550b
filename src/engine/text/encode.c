/*-------------------------------------------------------------------------
 * encode.c
 *	  Text to tokens: the driver of the components, and post-processing.
 *
 * See tokenizer.h for how text and memory are laid out.  The order is:
 * characters; added tokens that are looked for in raw text; the
 * normalizer; added tokens that are looked for in normalized text; the pre-tokenizer;
 * the model, piece by piece; truncation; the template of special tokens.
 *
 * Nothing here throws or allocates but te_encode_alloc().
 *-------------------------------------------------------------------------
 */
#include "text/pattern.h"

#define LONGEST_TEXT ((size_t) INT32_MAX)
#define BASE_SCRATCH ((size_t) 16 * 1024)

/* An estimate: what grows, or is mostly punctuation, may want more. */
size_t
te_encode_scratch(const TeTokenizer *tokenizer, size_t text_bytes)
{
	/* Input and output of a step, then characters and tokens */
	return BASE_SCRATCH + (tokenizer->n_patterns > 0 ? TE_MATCH_SCRATCH : 0) + tokenizer->n_patterns * TE_PATTERN_SCRATCH +
		text_bytes * (2 * sizeof(TeChar) + sizeof(TeToken));
}

/* ---- steps ---- */

/* Until te_close() the top is shared with te_put(). */
void
te_open(TeEncoder *encoder)
{
	encoder->out = encoder->chars + encoder->n_chars;
	encoder->n_out = 0;
	te_release(encoder, encoder->high);
}

/* The output takes the place of the input. */
void
te_close(TeEncoder *encoder)
{
	memmove(encoder->chars, encoder->out, encoder->n_out * sizeof(TeChar));
	encoder->n_chars = encoder->n_out;
	encoder->out = NULL;
	encoder->low = (size_t) ((char *) (encoder->chars + encoder->n_chars) - encoder->memory);
}

/* Where the piece that begins at `from` ends. */
static size_t
piece_end(const TeChar *chars, size_t n, size_t from)
{
	size_t		to = from + 1;

	while (to < n && !(chars[to].c & TE_CHAR_PIECE))
		to++;
	return to;
}

/* Flags of borders are set again for what the function puts. */
void
te_each_piece(TeEncoder *encoder, TePieceFunction function, const void *param)
{
	TeChar	   *in = encoder->chars;
	size_t		n = encoder->n_chars;

	te_open(encoder);
	for (size_t i = 0; i < n && encoder->status == TE_TEXT_OK;)
	{
		size_t		from = encoder->n_out;
		size_t		to = i + 1;

		if (in[i].c & TE_CHAR_TOKEN)
			te_put(encoder, in[i].c, in[i].start, in[i].stop);
		else
		{
			to = piece_end(in, n, i);
			in[i].c &= TE_CHAR_CODE;
			encoder->at_start = in[i].start == 0;
			function(encoder, in + i, to - i, param);
			if (encoder->n_out > from)
				encoder->out[from].c |= TE_CHAR_PIECE;
		}
		i = to;
	}
	te_close(encoder);
}

/* Places beyond the input, which only a malformed character map leads to, have the last origin. */
void
te_settle(TeEncoder *encoder, const TeChar *in, size_t n, size_t from)
{
	size_t		next = 0;

	for (size_t i = from; i < encoder->n_out; i++)
	{
		TeChar	   *c = &encoder->out[i];
		int32_t		change = (int32_t) c->start;
		const TeChar *origin = &in[TE_MIN(next, n - 1)];

		if (change > 0)
			origin = next > 0 ? &in[TE_MIN(next, n) - 1] : &in[0];
		c->start = origin->start;
		c->stop = change > 0 && next == 0 ? origin->start : origin->stop;
		if (change <= 0)
			next += 1 + (size_t) -change;
	}
}

/* Stops at the first step that does not succeed. */
void
te_run(TeEncoder *encoder, TeProgram program, const TeRow *const *table)
{
	const TeStep *steps = te_at(encoder->tokenizer, program.steps);

	for (uint32_t i = 0; i < program.n && encoder->status == TE_TEXT_OK; i++)
		table[steps[i].kind]->run(encoder, te_at(encoder->tokenizer, steps[i].param));
}

/* ---- the text as characters ---- */

/* Also the check that the text is UTF-8. */
static void
load_text(TeEncoder *encoder, TeStr text)
{
	const char *p = text.data;
	const char *end = p + text.len;

	encoder->chars = (TeChar *) (encoder->memory + encoder->low);
	encoder->n_chars = 0;
	te_open(encoder);
	while (p < end && encoder->status == TE_TEXT_OK)
	{
		uint32_t	start = (uint32_t) (p - text.data);
		int32_t		c = te_utf8_next(&p, end);

		if (c < 0)
			encoder->status = TE_TEXT_INVALID;
		else
			te_put(encoder, (uint32_t) c, start, (uint32_t) (p - text.data));
	}
	if (encoder->n_out > 0)
		encoder->out[0].c |= TE_CHAR_PIECE;
	te_close(encoder);
}

/* For added tokens, at compile time. */
void
te_normalize(const TeTokenizer *tokenizer, TeStr text, TeTextScratch *scratch, TeEncoder *encoder)
{
	*encoder = (TeEncoder) {.tokenizer = tokenizer,.memory = scratch->memory,.high = scratch->bytes & ~(size_t) 63};
	te_patterns_open(encoder, scratch);
	load_text(encoder, text);
	te_run(encoder, tokenizer->normalizer, te_normalizers);
}

/* ---- the model ---- */

/* Offsets reach from the start of the first to the end of the last character. */
void
te_emit_token(TeEncoder *encoder, int32_t id, size_t from, size_t to)
{
	const TeChar *word = encoder->word;

	if (TE_UNLIKELY(sizeof(TeToken) > encoder->high - encoder->low))
	{
		encoder->status = TE_TEXT_MORE;
		return;
	}
	encoder->low += sizeof(TeToken);
	encoder->tokens[encoder->n_tokens++] = (TeToken)
	{
		.id = id,.start = word[from].start,.stop = word[TE_MAX(to, from + 1) - 1].stop,.word = encoder->word_index
	};
}

/* Of the last token; see TeToken. */
void
te_mark_literal(TeEncoder *encoder)
{
	if (encoder->n_tokens > 0)
		encoder->tokens[encoder->n_tokens - 1].literal = 1;
}

/* The character of the word that a byte belongs to. */
static size_t
char_of_byte(const TeEncoder *encoder, size_t byte)
{
	size_t		low = 0;
	size_t		high = encoder->n_word;

	while (high - low > 1)
	{
		size_t		middle = (low + high) / 2;

		if (encoder->word_at[middle] <= byte)
			low = middle;
		else
			high = middle;
	}
	return low;
}

/* A byte stands for the whole of its character. */
void
te_emit_bytes(TeEncoder *encoder, int32_t id, size_t from, size_t to)
{
	size_t		first = char_of_byte(encoder, from);
	size_t		last = to > from ? char_of_byte(encoder, to - 1) : first;

	te_emit_token(encoder, id, first, last + 1);
}

/* Give a piece to the model, in UTF-8 with the place of each character. */
static void
encode_word(TeEncoder *encoder, const TeChar *in, size_t n)
{
	size_t		high = encoder->high;
	const TeStep *model = &encoder->tokenizer->model;
	uint32_t   *at = te_high(encoder, (n + 1) * sizeof(uint32_t));
	char	   *bytes = te_high(encoder, n * 4);
	uint32_t	len = 0;

	if (bytes == NULL || at == NULL)
		return;
	for (size_t i = 0; i < n; i++)
	{
		at[i] = len;
		len += (uint32_t) te_utf8_put(bytes + len, (int32_t) (in[i].c & TE_CHAR_CODE));
	}
	at[n] = len;
	encoder->word = in;
	encoder->n_word = n;
	encoder->word_bytes = bytes;
	encoder->word_at = at;
	te_models[model->kind]->run(encoder, te_at(encoder->tokenizer, model->param));
	te_release(encoder, high);
}

/* Tokens grow up from behind the characters, the work memory of words down from the top. */
static void
encode_pieces(TeEncoder *encoder)
{
	const TeChar *in = encoder->chars;
	size_t		n = encoder->n_chars;

	encoder->low = TE_ALIGN(encoder->low, 8);
	encoder->tokens = (TeToken *) (encoder->memory + encoder->low);
	encoder->n_tokens = 0;
	encoder->word_index = 0;
	for (size_t i = 0; i < n && encoder->status == TE_TEXT_OK; encoder->word_index++)
	{
		size_t		to = i + 1;

		if (in[i].c & TE_CHAR_TOKEN)
		{
			encoder->word = in + i;
			te_emit_token(encoder, (int32_t) (in[i].c & TE_CHAR_ID), 0, 1);
			te_mark_literal(encoder);
		}
		else
		{
			to = piece_end(in, n, i);
			encode_word(encoder, in + i, to - i);
		}
		i = to;
	}
}

/* One text; its tokens end up at the bottom of what is free. */
static TeToken *
encode_text(TeEncoder *encoder, TeStr text, size_t *n_tokens)
{
	size_t		bottom = TE_ALIGN(encoder->low, 8);
	const TeTokenizer *tokenizer = encoder->tokenizer;
	TeToken    *tokens;

	*n_tokens = 0;
	encoder->low = bottom;
	load_text(encoder, text);
	if (encoder->status == TE_TEXT_OK && tokenizer->raw_trie != 0)
		te_cut_added(encoder, tokenizer->raw_trie);
	te_run(encoder, tokenizer->normalizer, te_normalizers);
	if (encoder->status == TE_TEXT_OK && tokenizer->normal_trie != 0)
		te_cut_added(encoder, tokenizer->normal_trie);
	te_run(encoder, tokenizer->pre_tokenizer, te_pre_tokenizers);
	if (encoder->status != TE_TEXT_OK || encoder->high - encoder->low < 16)
	{
		if (encoder->status == TE_TEXT_OK)
			encoder->status = TE_TEXT_MORE;
		return NULL;
	}
	encode_pieces(encoder);
	tokens = (TeToken *) (encoder->memory + bottom);
	memmove(tokens, encoder->tokens, encoder->n_tokens * sizeof(TeToken));
	*n_tokens = encoder->n_tokens;
	encoder->low = bottom + encoder->n_tokens * sizeof(TeToken);
	return tokens;
}

/* ---- post-processing ---- */

/* Characters of white space at one end of a token; the byte-level form of a space counts too. */
static size_t
count_space(TeStr text, bool at_end)
{
	size_t		n = 0;
	size_t		from = 0;
	size_t		to = text.len;

	while (from < to)
	{
		size_t		at = at_end ? to - 1 : from;
		const char *p;
		int32_t		c;

		while (at_end && at > from && (text.data[at] & 0xC0) == 0x80)
			at--;
		p = text.data + at;
		c = te_utf8_next(&p, text.data + to);
		if (c < 0 || (c != 0x120 && !te_uc_is((uint32_t) c, TE_UC_WHITE)))
			break;
		if (at_end)
			to = at;
		else
			from = (size_t) (p - text.data);
		n++;
	}
	return n;
}

/* n characters on from a place in the text, or back. */
static uint32_t
move(TeStr text, uint32_t at, size_t n, bool back)
{
	while (n > 0 && (back ? at > 0 : at < text.len))
	{
		if (back)
			at--;
		else
			at++;
		if (at == text.len || (text.data[at] & 0xC0) != 0x80)
			n--;
	}
	return at;
}

/* Leave white space out of offsets; the reference counts in characters of the token. */
static void
trim_offsets(const TeTokenizer *tokenizer, bool prefix_space, TeStr text, TeToken *tokens, size_t n)
{
	for (size_t i = 0; i < n; i++)
	{
		TeToken    *token = &tokens[i];
		TeStr		form = te_vocab_token(tokenizer, token->id);
		size_t		before,
					after;

		if (token->literal)
			form = (TeStr) {text.data + token->start, token->stop - token->start};
		before = count_space(form, false);
		after = count_space(form, true);
		if (before == 1 && (i == 0 || token->start == 0) && prefix_space)
			before = 0;
		if (before > 0)
			token->start = TE_MIN(move(text, token->start, before, false), token->stop);
		if (after > 0)
			token->stop = TE_MAX(move(text, token->stop, after, true), token->start);
	}
}

/* How many tokens of each text to keep, so that both have `room`: longest first. */
static void
truncate_pair(size_t room, size_t *n, size_t *m)
{
	size_t	   *shorter = *n <= *m ? n : m;
	size_t	   *longer = *n <= *m ? m : n;

	if (*n + *m <= room)
		return;
	*longer = *shorter > room ? *shorter : TE_MAX(*shorter, room - *shorter);
	if (*shorter + *longer > room)
	{
		*shorter = room / 2;
		*longer = room / 2 + room % 2;
	}
}

typedef struct Part
{
	TeToken    *tokens;
	size_t		n;
	TeStr		text;
} Part;

/* The template filled in, behind the tokens of the texts; then moved to the bottom. */
static void
fill_template(TeEncoder *encoder, const TeTemplate *template, const Part parts[2], bool special, TeTextScratch *scratch)
{
	const TeTemplatePart *from = te_at(encoder->tokenizer, template->parts);
	TeToken    *out = (TeToken *) (encoder->memory + encoder->low);
	size_t		room = (encoder->high - encoder->low) / sizeof(TeToken);
	size_t		n = 0;
	uint8_t		sequence = 0;

	for (uint32_t i = 0; i < template->n; i++)
	{
		bool		is_special = from[i].id >= 0;
		const Part *part = &parts[from[i].id == TE_PART_PAIR];

		if (is_special && !special)
			continue;
		if (room - n < (is_special ? 1 : part->n))
		{
			encoder->status = TE_TEXT_MORE;
			return;
		}
		if (is_special)
			out[n++] = (TeToken) {.id = from[i].id,.type_id = TE_MAX(from[i].type_id, 0),.word = UINT32_MAX,
			.special = 1,.sequence = sequence};
		else
		{
			sequence = from[i].id == TE_PART_PAIR;
			for (size_t j = 0; j < part->n; j++, n++)
			{
				out[n] = part->tokens[j];
				out[n].type_id = from[i].type_id == TE_KEEP_TYPE ? sequence : from[i].type_id;
				out[n].sequence = sequence;
			}
		}
	}
	memmove(encoder->memory, out, n * sizeof(TeToken));
	scratch->tokens = (TeToken *) encoder->memory;
	scratch->n_tokens = n;
}

/* Truncates, trims offsets and fills the template, in the order of the reference. */
static void
post_process(TeEncoder *encoder, Part parts[2], bool has_pair, bool special, size_t max_tokens, TeTextScratch *scratch)
{
	const TeTokenizer *tokenizer = encoder->tokenizer;
	const TeTemplate *template = has_pair ? &tokenizer->post.pair : &tokenizer->post.single;
	size_t		added = special ? template->added : 0;

	scratch->n_untruncated = parts[0].n + parts[1].n + added;
	if (max_tokens > 0)
	{
		size_t		room = max_tokens > added ? max_tokens - added : 0;

		truncate_pair(room, &parts[0].n, &parts[1].n);
	}
	for (int i = 0; i < tokenizer->post.n_trims; i++)
		for (int j = 0; j < 2; j++)
			trim_offsets(tokenizer, tokenizer->post.prefix_space >> i & 1, parts[j].text, parts[j].tokens, parts[j].n);
	fill_template(encoder, template, parts, special, scratch);
	if (max_tokens > 0)
		scratch->n_tokens = TE_MIN(scratch->n_tokens, max_tokens);
}

/* The tokens of the first text stay at the bottom while the second one is worked on. */
TeTextStatus
te_encode(const TeTokenizer *tokenizer, TeStr text, TeStr pair, bool special, size_t max_tokens, TeTextScratch *scratch)
{
	TeEncoder	encoder = {.tokenizer = tokenizer,.memory = scratch->memory};
	Part		parts[2] = {{.text = text.len > 0 ? text : TE_STR("")}, {.text = pair.len > 0 ? pair : TE_STR("")}};
	int			n_parts = pair.data != NULL ? 2 : 1;

	scratch->tokens = NULL;
	scratch->n_tokens = scratch->n_untruncated = 0;
	if (text.len > LONGEST_TEXT || pair.len > LONGEST_TEXT)
		return TE_TEXT_LIMIT;
	encoder.high = scratch->bytes & ~(size_t) 63;
	if (encoder.high == 0)
		encoder.status = TE_TEXT_MORE;
	else
		te_patterns_open(&encoder, scratch);
	for (int i = 0; i < n_parts && encoder.status == TE_TEXT_OK; i++)
		parts[i].tokens = encode_text(&encoder, parts[i].text, &parts[i].n);
	if (encoder.status == TE_TEXT_OK)
		post_process(&encoder, parts, n_parts == 2, special, max_tokens, scratch);
	if (encoder.status == TE_TEXT_MORE)
		scratch->wanted = TE_MAX(te_encode_scratch(tokenizer, text.len + pair.len), scratch->bytes * 2);
	if (encoder.status != TE_TEXT_OK)
		scratch->n_tokens = 0;
	return encoder.status;
}

/* Added tokens are text like any other here. */
TeTextStatus
te_split_words(const TeTokenizer *tokenizer, TeStr text, TeTextScratch *scratch, TeWordFunction take, void *arg)
{
	TeEncoder	encoder = {.tokenizer = tokenizer,.memory = scratch->memory,.high = scratch->bytes & ~(size_t) 63};

	te_patterns_open(&encoder, scratch);
	load_text(&encoder, text);
	te_run(&encoder, tokenizer->normalizer, te_normalizers);
	te_run(&encoder, tokenizer->pre_tokenizer, te_pre_tokenizers);
	for (size_t i = 0, to; i < encoder.n_chars && encoder.status == TE_TEXT_OK; i = to)
	{
		size_t		high = encoder.high;
		size_t		len = 0;
		char	   *bytes;

		to = piece_end(encoder.chars, encoder.n_chars, i);
		bytes = te_high(&encoder, (to - i) * 4);
		for (size_t j = i; bytes != NULL && j < to; j++)
			len += te_utf8_put(bytes + len, (int32_t) (encoder.chars[j].c & TE_CHAR_CODE));
		if (bytes != NULL)
			take(arg, (TeStr) {bytes, len});
		te_release(&encoder, high);
	}
	scratch->wanted = TE_MAX(te_encode_scratch(tokenizer, text.len), scratch->bytes * 2);
	return encoder.status;
}

/* What a status means to a user. */
void
te_throw_text_status(TeTextStatus status)
{
	switch (status)
	{
		case TE_TEXT_INVALID:
			te_throw(TE_ERR_INVALID, "text is not valid UTF-8");
		case TE_TEXT_NO_TOKEN:
			te_throw(TE_ERR_INVALID, "text has a word that is not in the vocabulary, and the tokenizer has no token for unknown words");
		case TE_TEXT_LIMIT:
			te_throw(TE_ERR_TOO_LONG, "text is too long for the tokenizer, or too much for one of its patterns");
		default:
			te_throw(TE_ERR_INTERNAL, "unexpected status %d of the tokenizer", (int) status);
	}
}

/* Grows the scratch until it suffices. */
TeToken *
te_encode_alloc(const TeTokenizer *tokenizer, TeArena *arena, TeStr text, TeStr pair, bool special, size_t max_tokens,
				size_t *n_tokens, size_t *n_untruncated)
{
	TeArena    *work = te_arena_create(arena, "tokens");
	TeTextScratch scratch = {.wanted = te_encode_scratch(tokenizer, text.len + pair.len)};
	TeTextStatus status;
	TeToken    *result;

	do
	{
		te_arena_reset(work);
		scratch = (TeTextScratch) {.memory = te_alloc(work, scratch.wanted),.bytes = scratch.wanted};
		status = te_encode(tokenizer, text, pair, special, max_tokens, &scratch);
	} while (status == TE_TEXT_MORE);
	if (status != TE_TEXT_OK)
		te_throw_text_status(status);
	result = te_alloc(arena, te_mul_size(TE_MAX(scratch.n_tokens, (size_t) 1), sizeof(TeToken)));
	memcpy(result, scratch.tokens, scratch.n_tokens * sizeof(TeToken));
	*n_tokens = scratch.n_tokens;
	if (n_untruncated != NULL)
		*n_untruncated = scratch.n_untruncated;
	te_arena_destroy(work);
	return result;
}

/* By the template, counted when it was compiled. */
size_t
te_tokens_added(const TeTokenizer *tokenizer, bool pair)
{
	return pair ? tokenizer->post.pair.added : tokenizer->post.single.added;
}
