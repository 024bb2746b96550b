/*-------------------------------------------------------------------------
 * unicode.h
 *	  Character properties as the reference tokenizers see them.
 *
 * The reference libraries were built with several versions of Unicode, one
 * per component; the generated table (unicode_table.c, by
 * make_unicode_table.py) holds what each component does with each code
 * point.  It is two-stage: a block number by the high bits, a record number by
 * the low bits, then the record.
 *
 * To add a property: a name at the end of the list here and in the script,
 * with the question that tells it, and generate the table anew.
 *-------------------------------------------------------------------------
 */
#ifndef TE_UNICODE_H
#define TE_UNICODE_H

#include "text/text.h"

#define TE_UC_WHITE (1u << 0)	/* white space of the standard library */
#define TE_UC_BERT_SPACE (1u << 1)	/* becomes a space when BERT cleans text */
#define TE_UC_BERT_CONTROL (1u << 2)	/* is removed when BERT cleans text */
#define TE_UC_BERT_MARK (1u << 3)	/* non-spacing mark to BERT */
#define TE_UC_PUNCT (1u << 4)	/* punctuation to BERT and Punctuation */
#define TE_UC_MARK (1u << 5)	/* combining mark to StripAccents */
#define TE_UC_NUMERIC (1u << 6)	/* to Digits */
#define TE_UC_RE_WORD (1u << 7)	/* \w of Whitespace and of single-word added tokens */
#define TE_UC_RE_SPACE (1u << 8)	/* \s of the same */
#define TE_UC_ON_SPACE (1u << 9)	/* from here on: \s \w \p{..} of patterns in files */
#define TE_UC_ON_WORD (1u << 10)
#define TE_UC_L (1u << 11)
#define TE_UC_LU (1u << 12)
#define TE_UC_LL (1u << 13)
#define TE_UC_LT (1u << 14)
#define TE_UC_LM (1u << 15)
#define TE_UC_LO (1u << 16)
#define TE_UC_M (1u << 17)
#define TE_UC_N (1u << 18)
#define TE_UC_ND (1u << 19)
#define TE_UC_P (1u << 20)
#define TE_UC_S (1u << 21)
#define TE_UC_COMPOSE (1u << 22)	/* may be the second of a pair that composes */

#define TE_UC_NEW (1u << 23)	/* its category is other than in Unicode 14 */

typedef struct TeCharClass
{
	uint32_t	flags;			/* TE_UC_* */
	uint8_t		combining;		/* canonical combining class */
	uint8_t		grapheme;		/* TE_GB_* */
	uint8_t		script;			/* number of a script class, 0: joins any */
} TeCharClass;

/* Expansions, as offsets into te_uc_pool: a count, then so many code points; 0: none */
typedef struct TeCharMap
{
	uint16_t	lower;
	uint16_t	canonical;
	uint16_t	compatible;
} TeCharMap;

typedef struct TeCharPair
{
	uint32_t	first;
	uint32_t	second;
	uint32_t	composed;
} TeCharPair;

/* Grapheme cluster break classes, in the order of the script. */
enum
{
	TE_GB_OTHER,
	TE_GB_CR,
	TE_GB_LF,
	TE_GB_CONTROL,
	TE_GB_EXTEND,
	TE_GB_ZWJ,
	TE_GB_REGIONAL,
	TE_GB_PREPEND,
	TE_GB_SPACING,
	TE_GB_L,
	TE_GB_V,
	TE_GB_T,
	TE_GB_LV,
	TE_GB_LVT,
	TE_GB_PICTOGRAPHIC
};

extern const uint16_t te_uc_class_stage1[];
extern const uint16_t te_uc_class_stage2[];
extern const TeCharClass te_uc_classes[];
extern const uint16_t te_uc_map_stage1[];
extern const uint16_t te_uc_map_stage2[];
extern const TeCharMap te_uc_maps[];
extern const uint32_t te_uc_pool[];
extern const TeCharPair te_uc_pairs[];
extern const size_t te_uc_n_pairs;

/* c is a code point, below 0x110000. */
static inline const TeCharClass *
te_uc_class(uint32_t c)
{
	return &te_uc_classes[te_uc_class_stage2[(uint32_t) te_uc_class_stage1[c >> 7] << 7 | (c & 127)]];
}

static inline bool
te_uc_is(uint32_t c, uint32_t flags)
{
	return (te_uc_class(c)->flags & flags) != 0;
}

static inline const TeCharMap *
te_uc_map(uint32_t c)
{
	return &te_uc_maps[te_uc_map_stage2[(uint32_t) te_uc_map_stage1[c >> 6] << 6 | (c & 63)]];
}

#define TE_HANGUL_BASE 0xAC00
#define TE_HANGUL_COUNT 11172

/* Full canonical or compatible decomposition of c into to (at least TE_UC_LONGEST); how many. */
#define TE_UC_LONGEST 18
extern int	te_uc_decompose(uint32_t c, bool compatible, uint32_t *to);
/* Lower case of c, likewise. */
extern int	te_uc_lower(uint32_t c, uint32_t *to);
/* The character that the pair composes to; 0 where there is none. */
extern uint32_t te_uc_compose(uint32_t first, uint32_t second);

#endif							/* TE_UNICODE_H */
