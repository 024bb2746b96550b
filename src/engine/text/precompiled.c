/*-------------------------------------------------------------------------
 * precompiled.c
 *	  Precompiled: the character map that a SentencePiece model carries.
 *
 * The map is a blob: the size of a double-array trie in bytes, the trie (units of
 * Darts-clone, 32 bits each), then replacements, each ended by a NUL; the
 * trie's values are offsets into these.  The trie comes from a file and is used
 * as it is, so each step is checked against its size.
 *
 * The reference asks first for the map of a whole grapheme cluster of less than six bytes, and takes
 * the shortest key that the cluster begins with; where there is none, character by
 * character.  Clusters are those of Unicode Standard Annex #29; the rule
 * for conjuncts (GB9c) is left out, as it makes no cluster that short.
 *-------------------------------------------------------------------------
 */
#include "text/build.h"
#include "text/tokenizer.h"

#define SHORT_CLUSTER 6			/* bytes */

typedef struct PrecompiledParam
{
	uint32_t	units;			/* uint32_t[n_units] */
	uint32_t	n_units;
	uint32_t	texts;			/* n_texts bytes, and a NUL */
	uint32_t	n_texts;
} PrecompiledParam;

/* ---- compiling ---- */

/* An empty map is no step at all. */
static void
compile_precompiled(TeCompiler *compiler, const TeJson *node, uint32_t kind)
{
	TeStr		blob = te_base64_decode(compiler->arena, te_json_str(node, "precompiled_charsmap", ""));
	PrecompiledParam param = {0};
	uint32_t	size;

	if (blob.len == 0)
		return;
	if (blob.len >= sizeof(size))
		memcpy(&size, blob.data, sizeof(size));
	if (blob.len < sizeof(size) || size > blob.len - sizeof(size) ||
		!te_utf8_valid((TeStr) {blob.data + sizeof(size) + size / 4 * 4, blob.len - sizeof(size) - size / 4 * 4}))
		te_throw(TE_ERR_CORRUPT, "tokenizer: precompiled_charsmap is malformed");
	param.n_units = size / 4;
	param.n_texts = (uint32_t) (blob.len - sizeof(size) - (size_t) param.n_units * 4);
	param.units = te_image_add(compiler, blob.data + sizeof(size), (size_t) param.n_units * 4);
	param.texts = te_image_add(compiler, blob.data + sizeof(size) + (size_t) param.n_units * 4, param.n_texts);
	te_image_add(compiler, "", 1);
	te_emit(compiler, kind, &param, sizeof(param));
}

/* ---- the map ---- */

/* Of a unit: the distance to its children, its label, whether a key ends there. */
static inline uint32_t
unit_offset(uint32_t unit)
{
	return (unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* The byte that leads here; other bits make it differ from any byte. */
static inline uint32_t
unit_label(uint32_t unit)
{
	return unit & ((1u << 31) | 0xFF);
}

/* The replacement of the shortest key that the bytes begin with. */
static bool
look_up(const TeTokenizer *tokenizer, const PrecompiledParam *param, const char *bytes, size_t len, TeStr *to)
{
	const uint32_t *units = te_at(tokenizer, param->units);
	const char *texts = te_at(tokenizer, param->texts);
	uint32_t	at = 0;
	uint32_t	unit;

	if (param->n_units == 0)
		return false;
	at ^= unit_offset(units[0]);
	for (size_t i = 0; i < len && bytes[i] != '\0'; i++)
	{
		at ^= (uint8_t) bytes[i];
		if (at >= param->n_units)
			return false;
		unit = units[at];
		if (unit_label(unit) != (uint8_t) bytes[i])
			return false;
		at ^= unit_offset(unit);
		if (unit >> 8 & 1)
		{
			uint32_t	text = at < param->n_units ? units[at] & 0x7FFFFFFF : UINT32_MAX;

			if (text > param->n_texts || (text > 0 && (texts[text] & 0xC0) == 0x80))
				return false;
			*to = (TeStr) {texts + text, strnlen(texts + text, param->n_texts - text)};
			return true;
		}
	}
	return false;
}

/* ---- grapheme clusters ---- */

/* Is there a border between two characters?  regional: Regional_Indicator characters before `right`; see UAX #29. */
static bool
is_border(uint8_t left, uint8_t right, bool pictographic, size_t regional)
{
	bool		left_control = left == TE_GB_CONTROL || left == TE_GB_CR || left == TE_GB_LF;
	bool		right_control = right == TE_GB_CONTROL || right == TE_GB_CR || right == TE_GB_LF;

	if (left == TE_GB_CR && right == TE_GB_LF)
		return false;
	if (left_control || right_control)
		return true;
	if (left == TE_GB_L && (right == TE_GB_L || right == TE_GB_V || right == TE_GB_LV || right == TE_GB_LVT))
		return false;
	if ((left == TE_GB_LV || left == TE_GB_V) && (right == TE_GB_V || right == TE_GB_T))
		return false;
	if ((left == TE_GB_LVT || left == TE_GB_T) && right == TE_GB_T)
		return false;
	if (right == TE_GB_EXTEND || right == TE_GB_ZWJ || right == TE_GB_SPACING || left == TE_GB_PREPEND)
		return false;
	if (pictographic && left == TE_GB_ZWJ && right == TE_GB_PICTOGRAPHIC)
		return false;
	return !(left == TE_GB_REGIONAL && right == TE_GB_REGIONAL && regional % 2 == 1);
}

/* Where the cluster that begins at i ends. */
static size_t
cluster_end(const TeChar *in, size_t n, size_t i)
{
	uint8_t		left = te_uc_class(in[i].c)->grapheme;
	bool		pictographic = left == TE_GB_PICTOGRAPHIC;	/* ... followed by Extend and ZWJ only */
	size_t		regional = left == TE_GB_REGIONAL;

	for (i++; i < n; i++)
	{
		uint8_t		right = te_uc_class(in[i].c)->grapheme;

		if (is_border(left, right, pictographic, regional))
			break;
		pictographic = right == TE_GB_PICTOGRAPHIC ||
			(pictographic && (right == TE_GB_EXTEND || right == TE_GB_ZWJ));
		regional = right == TE_GB_REGIONAL ? regional + 1 : 0;
		left = right;
	}
	return i;
}

/* ---- running ---- */

/* n_old characters become `text`: so the reference says which of them are new and which are gone. */
static void
put_replacement(TeEncoder *encoder, size_t from, size_t n_old, TeStr text)
{
	const char *p = text.data;
	const char *end = p + text.len;
	size_t		first = encoder->n_out;
	size_t		n_new;

	while (p < end)
	{
		int32_t		c = te_utf8_next(&p, end);

		if (c < 0)
			break;
		te_put_change(encoder, (uint32_t) c, 0);
	}
	n_new = encoder->n_out - first;
	for (size_t i = n_old; i < n_new; i++)
		encoder->out[first + i].start = 1;
	if (n_new < n_old && encoder->n_out > from)
		encoder->out[encoder->n_out - 1].start -= (uint32_t) (n_old - n_new);
}

/* Cluster by cluster, then settle the origins at once. */
static void
precompiled_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *data)
{
	const PrecompiledParam *param = data;
	const TeTokenizer *tokenizer = encoder->tokenizer;
	size_t		from = encoder->n_out;

	for (size_t i = 0; i < n && encoder->status == TE_TEXT_OK;)
	{
		size_t		to = cluster_end(in, n, i);
		char		bytes[SHORT_CLUSTER * 4];
		size_t		len = 0;
		TeStr		text;

		for (size_t k = i; k < to && len < SHORT_CLUSTER; k++)
			len += te_utf8_put(bytes + len, (int32_t) in[k].c);
		if (len < SHORT_CLUSTER && look_up(tokenizer, param, bytes, len, &text))
		{
			put_replacement(encoder, from, to - i, text);
			i = to;
			continue;
		}
		for (; i < to; i++)
		{
			len = te_utf8_put(bytes, (int32_t) in[i].c);
			if (look_up(tokenizer, param, bytes, len, &text))
				put_replacement(encoder, from, 1, text);
			else
				te_put_change(encoder, in[i].c, 0);
		}
	}
	if (encoder->status == TE_TEXT_OK)
		te_settle(encoder, in, n, from);
}

/* Clusters do not reach across added tokens. */
static void
run_precompiled(TeEncoder *encoder, const void *param)
{
	te_each_piece(encoder, precompiled_piece, param);
}

const TeRow te_norm_precompiled = {"Precompiled", compile_precompiled, run_precompiled};
