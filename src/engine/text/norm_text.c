/*-------------------------------------------------------------------------
 * norm_text.c
 *	  Normalizers that work on the text as such: Strip, Replace and Prepend.
 *
 * What is put in place of a match has the origin of the last character of
 * the match, and what is put before a text has that of its first character: so the
 * reference counts, and so do offsets.
 *-------------------------------------------------------------------------
 */
#include "text/pattern.h"

/* ---- Strip ---- */

typedef struct StripParam
{
	bool		left;
	bool		right;
} StripParam;

/* Both sides by default. */
static void
compile_strip(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	StripParam	param;

	param.left = te_json_bool(node, "strip_left", true);
	param.right = te_json_bool(node, "strip_right", true);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* White space at the ends. */
static void
strip_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *data)
{
	const StripParam *param = data;
	size_t		from = 0;
	size_t		to = n;

	while (param->left && from < to && te_uc_is(in[from].c, TE_UC_WHITE))
		from++;
	while (param->right && to > from && te_uc_is(in[to - 1].c, TE_UC_WHITE))
		to--;
	for (size_t i = from; i < to; i++)
		te_put(encoder, in[i].c, in[i].start, in[i].stop);
}

/* Added tokens are ends too. */
static void
run_strip(TeEncoder *encoder, const void *param)
{
	te_each_piece(encoder, strip_piece, param);
}

const TeRow te_norm_strip = {"Strip", compile_strip, run_strip};

/* ---- Replace ---- */

typedef struct ReplaceParam
{
	TePattern	pattern;
	TeImageChars content;
} ReplaceParam;

/* The content may be empty. */
static void
compile_replace(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	ReplaceParam param = {0};

	param.pattern = te_pattern_compile(compiler, te_json_get(node, "pattern"));
	param.content = te_image_add_chars(compiler, te_json_str(node, "content", ""));
	te_emit(compiler, kind, &param, sizeof(param));
}

typedef struct Replacing
{
	TeEncoder  *encoder;
	const TeChar *in;
	const ReplaceParam *param;
	size_t		done;			/* characters of the input */
} Replacing;

/* What did not match, with its own origin. */
static void
copy_to(Replacing *replacing, size_t to)
{
	for (; replacing->done < to; replacing->done++)
	{
		const TeChar *c = &replacing->in[replacing->done];

		te_put(replacing->encoder, c->c & TE_CHAR_CODE, c->start, c->stop);
	}
}

/* The content, at the last character of the match; before the text if an empty match is there. */
static void
replace_match(void *arg, size_t from, size_t to)
{
	Replacing  *replacing = arg;
	TeEncoder  *encoder = replacing->encoder;
	const uint32_t *content = te_at(encoder->tokenizer, replacing->param->content.at);
	const TeChar *first = &replacing->in[0];
	uint32_t	start = to > 0 ? replacing->in[to - 1].start : first->start;
	uint32_t	stop = to > 0 ? replacing->in[to - 1].stop : first->start;

	copy_to(replacing, from);
	for (uint32_t i = 0; i < replacing->param->content.n; i++)
		te_put(encoder, content[i], start, stop);
	replacing->done = to;
}

/* Matches in order, then the rest. */
static void
replace_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *data)
{
	const ReplaceParam *param = data;
	Replacing	replacing = {encoder, in, param, 0};

	te_pattern_each(encoder, in, n, &param->pattern, replace_match, &replacing);
	copy_to(&replacing, n);
}

/* Piece by piece: no match crosses an added token. */
static void
run_replace(TeEncoder *encoder, const void *param)
{
	te_each_piece(encoder, replace_piece, param);
}

const TeRow te_norm_replace = {"Replace", compile_replace, run_replace};

/* ---- Prepend ---- */

/* The text itself is all there is. */
static void
compile_prepend(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	TeImageChars param = te_image_add_chars(compiler, te_json_str(node, "prepend", ""));

	te_emit(compiler, kind, &param, sizeof(param));
}

/* A piece is never empty. */
static void
prepend_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *data)
{
	const TeImageChars *param = data;
	const uint32_t *content = te_at(encoder->tokenizer, param->at);

	for (uint32_t i = 0; i < param->n; i++)
		te_put(encoder, content[i], in[0].start, in[0].stop);
	for (size_t i = 0; i < n; i++)
		te_put(encoder, in[i].c, in[i].start, in[i].stop);
}

/* Before each piece between added tokens. */
static void
run_prepend(TeEncoder *encoder, const void *param)
{
	te_each_piece(encoder, prepend_piece, param);
}

const TeRow te_norm_prepend = {"Prepend", compile_prepend, run_prepend};
