/*-------------------------------------------------------------------------
 * norm_unicode.c
 *	  NFC, NFD, NFKC, NFKD, Lowercase, StripAccents and Nmt.
 *
 * Unicode Standard Annex #15.  The four forms are canonical or compatible
 * decomposition, marks put in the order of their combining classes, and for two of them
 * composition.  Each output character says how it came about (te_put_change),
 * as the reference does: the first of an expansion replaces, the others
 * are inserted, and a composed one swallows those it is made of.  A mark takes that
 * along when it is reordered, so that offsets come out as the reference's.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"

#define SHORT_RUN 24			/* marks that are sorted by insertion */

/* Put marks [from, to) of the output in order, those of equal class as they were. */
static void
sort_few(TeChar *marks, size_t n)
{
	for (size_t i = 1; i < n; i++)
	{
		TeChar		mark = marks[i];
		uint8_t		class = te_uc_class(mark.c)->combining;
		size_t		j = i;

		for (; j > 0 && te_uc_class(marks[j - 1].c)->combining > class; j--)
			marks[j] = marks[j - 1];
		marks[j] = mark;
	}
}

/* Of many, by counting. */
static void
sort_many(TeEncoder *encoder, TeChar *marks, size_t n)
{
	size_t		high = encoder->high;
	size_t		count[257] = {0};
	TeChar	   *sorted;

	sorted = te_high(encoder, n * sizeof(TeChar));
	if (sorted == NULL)
		return;
	for (size_t i = 0; i < n; i++)
		count[te_uc_class(marks[i].c)->combining + 1]++;
	for (int i = 0; i < 256; i++)
		count[i + 1] += count[i];
	for (size_t i = 0; i < n; i++)
		sorted[count[te_uc_class(marks[i].c)->combining]++] = marks[i];
	memcpy(marks, sorted, n * sizeof(TeChar));
	te_release(encoder, high);
}

/* Sort each run of marks in the output since `from`. */
static void
order_marks(TeEncoder *encoder, size_t from)
{
	for (size_t i = from; i < encoder->n_out && encoder->status == TE_TEXT_OK; i++)
	{
		size_t		to = i;

		while (to < encoder->n_out && te_uc_class(encoder->out[to].c)->combining != 0)
			to++;
		if (to - i > SHORT_RUN)
			sort_many(encoder, encoder->out + i, to - i);
		else if (to - i > 1)
			sort_few(encoder->out + i, to - i);
		i = to;
	}
}

/* Decomposition with changes; says whether any character decomposed or is a mark. */
static bool
decompose(TeEncoder *encoder, const TeChar *in, size_t n, bool compatible)
{
	bool		changed = false;

	for (size_t i = 0; i < n; i++)
	{
		uint32_t	to[TE_UC_LONGEST];
		int			k = 1;

		if (in[i].c < 0xA0)
		{
			te_put_change(encoder, in[i].c, 0);
			continue;
		}
		k = te_uc_decompose(in[i].c, compatible, to);
		if (k > 1 || to[0] != in[i].c || te_uc_class(to[0])->combining != 0)
			changed = true;
		for (int j = 0; j < k; j++)
			te_put_change(encoder, to[j], j > 0);
	}
	return changed;
}

/* Composition of the output since `from`, in place. */
static void
compose(TeEncoder *encoder, size_t from)
{
	TeChar	   *out = encoder->out;
	size_t		starter = SIZE_MAX;
	size_t		to = from;
	int			last_class = -1;	/* of the mark before, since the starter; -1: there is none */

	for (size_t i = from; i < encoder->n_out; i++)
	{
		TeChar		c = out[i];
		int			class = te_uc_class(c.c)->combining;
		uint32_t	composed = 0;

		if (starter != SIZE_MAX && last_class < class)
			composed = te_uc_compose(out[starter].c, c.c);
		else if (starter != SIZE_MAX && last_class == -1)
			composed = te_uc_compose(out[starter].c, c.c);
		if (composed != 0)
		{
			out[starter].c = composed;
			out[starter].start += c.start - 1;
			continue;
		}
		if (class == 0)
		{
			starter = to;
			last_class = -1;
		}
		else
			last_class = class;
		out[to++] = c;
	}
	encoder->n_out = to;
}

/* One piece in one of the four forms. */
static void
normal_form(TeEncoder *encoder, const TeChar *in, size_t n, bool compatible, bool composed)
{
	size_t		from = encoder->n_out;
	bool		changed = decompose(encoder, in, n, compatible);

	if (encoder->status != TE_TEXT_OK)
		return;
	if (changed)
		order_marks(encoder, from);
	if (composed)
		compose(encoder, from);
	te_settle(encoder, in, n, from);
}

/* Canonical, composed. */
static void
nfc_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	normal_form(encoder, in, n, false, true);
}

/* NFD. */
void
te_decompose_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	normal_form(encoder, in, n, false, false);
}

/* Compatible, composed. */
static void
nfkc_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	normal_form(encoder, in, n, true, true);
}

/* Compatible. */
static void
nfkd_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	normal_form(encoder, in, n, true, false);
}

/* By the full mappings, without regard to context: a final sigma stays a sigma. */
void
te_lower_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n; i++)
	{
		uint32_t	to[TE_UC_LONGEST];
		int			k = te_uc_lower(in[i].c, to);

		for (int j = 0; j < k; j++)
			te_put(encoder, to[j], in[i].start, in[i].stop);
	}
}

/* Combining marks that stand alone; letters with accents are not decomposed here. */
static void
strip_accents_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n; i++)
		if (!te_uc_is(in[i].c, TE_UC_MARK))
			te_put(encoder, in[i].c, in[i].start, in[i].stop);
}

/* The rules of the "nmt" normalizers: some control characters go, some spaces become one. */
static void
nmt_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param)
{
	for (size_t i = 0; i < n; i++)
	{
		uint32_t	c = in[i].c;

		if ((c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F)
			continue;
		if (c == 0x09 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
			c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD)
			c = ' ';
		te_put(encoder, c, in[i].start, in[i].stop);
	}
}

#define PIECEWISE(name, type, function) \
	static void run_##name(TeEncoder *encoder, const void *param) { te_each_piece(encoder, function, param); } \
	const TeRow te_norm_##name = {type, te_compile_plain, run_##name};

PIECEWISE(nfc, "NFC", nfc_piece)
PIECEWISE(nfd, "NFD", te_decompose_piece)
PIECEWISE(nfkc, "NFKC", nfkc_piece)
PIECEWISE(nfkd, "NFKD", nfkd_piece)
PIECEWISE(lowercase, "Lowercase", te_lower_piece)
PIECEWISE(strip_accents, "StripAccents", strip_accents_piece)
PIECEWISE(nmt, "Nmt", nmt_piece)
