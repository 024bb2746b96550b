/*-------------------------------------------------------------------------
 * panels.h
 *	  How quantized weights lie in panels, and one element of each.
 *
 * Levels come in groups of four consecutive k, which is how the dot product
 * instructions of bytes read them and costs an expansion nothing.  Levels and scales are those of
 * the blocks that a panel was made of (quant.h), bit for bit, so that an image can be turned back.
 *
 * A panel's blocks follow one another over k.  Of the K types the scales of six bits are
 * bytes here, since taking them apart would cost more than reading them.
 *
 * te_<type>_at() says what one element is; ref and pack.c read panels by it alone.
 *
 * To add a type: its struct and its te_<type>_at(), and what pack.c says.
 *-------------------------------------------------------------------------
 */
#ifndef TE_PANELS_H
#define TE_PANELS_H

#include "base/quant.h"
#include "kernels/kernels.h"

/* Of signed bytes, as x86 wants one side of a product unsigned. */
#define TE_BYTE_BIAS 128

/*
 * int8: the sums of the 64 columns, which the zeros of rows of bytes are multiplied by, their scales, then the
 * whole of k, padded with anything to a multiple of 4.
 */
typedef struct TePanelInt8
{
	float		sum[TE_PANEL];
	float		scale[TE_PANEL];
	uint8_t		q[][TE_PANEL][4];
} TePanelInt8;

/* 32 levels in nibbles: low ones are k 0..15, high ones 16..31. */
typedef uint8_t TeNibbles[TE_QK / 8][TE_PANEL][4];
/* A fifth bit for them: bit i of byte j is that of k 4 * i + j. */
typedef uint8_t TeFifths[TE_PANEL][4];

/* A block of 32 rows of k, as large as the 64 blocks of the rows that it was made of. */
typedef struct TePanelQ8_0
{
	TeHalf		d[TE_PANEL];
	uint8_t		q[TE_QK / 4][TE_PANEL][4];	/* biased by 128 */
} TePanelQ8_0;

typedef struct TePanelQ4_0
{
	TeHalf		d[TE_PANEL];
	TeNibbles	q;
} TePanelQ4_0;

typedef struct TePanelQ4_1
{
	TeHalf		d[TE_PANEL];
	TeHalf		m[TE_PANEL];
	TeNibbles	q;
} TePanelQ4_1;

typedef struct TePanelQ5_0
{
	TeHalf		d[TE_PANEL];
	TeFifths	high;
	TeNibbles	q;
} TePanelQ5_0;

typedef struct TePanelQ5_1
{
	TeHalf		d[TE_PANEL];
	TeHalf		m[TE_PANEL];
	TeFifths	high;
	TeNibbles	q;
} TePanelQ5_1;

/* A super-block of 256 rows of k. */
typedef struct TePanelQ4_K
{
	TeHalf		d[TE_PANEL];
	TeHalf		dmin[TE_PANEL];
	struct
	{
		uint8_t		scale[TE_PANEL];
		uint8_t		min[TE_PANEL];
		TeNibbles	q;
	}			group[TE_QK_K / TE_QK];
} TePanelQ4_K;

typedef struct TePanelQ5_K
{
	TeHalf		d[TE_PANEL];
	TeHalf		dmin[TE_PANEL];
	struct
	{
		uint8_t		scale[TE_PANEL];
		uint8_t		min[TE_PANEL];
		TeFifths	high;
		TeNibbles	q;
	}			group[TE_QK_K / TE_QK];
} TePanelQ5_K;

/* Of a group of 16, low nibbles are k 0..7, high ones 8..15; bits 2 * i of byte j of `high` are those above of k 4 * i + j. */
typedef struct TePanelQ6_K
{
	TeHalf		d[TE_PANEL];
	struct
	{
		int8_t		scale[TE_PANEL];
		uint8_t		q[2][TE_PANEL][4];
		uint8_t		high[TE_PANEL][4];
	}			group[TE_QK_K / 16];
} TePanelQ6_K;

_Static_assert(sizeof(TePanelQ8_0) == TE_PANEL * sizeof(TeBlockQ8_0), "layout of a q8_0 panel");
_Static_assert(sizeof(TePanelQ4_0) == TE_PANEL * sizeof(TeBlockQ4_0), "layout of a q4_0 panel");
_Static_assert(sizeof(TePanelQ4_1) == TE_PANEL * sizeof(TeBlockQ4_1), "layout of a q4_1 panel");
_Static_assert(sizeof(TePanelQ5_0) == TE_PANEL * sizeof(TeBlockQ5_0), "layout of a q5_0 panel");
_Static_assert(sizeof(TePanelQ5_1) == TE_PANEL * sizeof(TeBlockQ5_1), "layout of a q5_1 panel");
_Static_assert(sizeof(TePanelQ4_K) == TE_PANEL * (sizeof(TeBlockQ4_K) + 4), "layout of a q4_K panel");
_Static_assert(sizeof(TePanelQ5_K) == TE_PANEL * (sizeof(TeBlockQ5_K) + 4), "layout of a q5_K panel");
_Static_assert(sizeof(TePanelQ6_K) == TE_PANEL * sizeof(TeBlockQ6_K), "layout of a q6_K panel");

/* An element of a panel: scale * level + offset. */
typedef struct TePanelValue
{
	float		scale;
	float		offset;
	int			level;
} TePanelValue;

/* A zero keeps its sign where the type has no offsets. */
static inline float
te_panel_float(TePanelValue value)
{
	float		scaled = value.scale * (float) value.level;

	return value.offset != 0 ? scaled + value.offset : scaled;
}

/* Of rows of 32, the levels of row k. */
static inline int
te_nibble_at(const TeNibbles q, size_t k, size_t c)
{
	int			both = q[k % 16 / 4][c][k % 4];

	return k < 16 ? both & 15 : both >> 4;
}

static inline int
te_five_bits_at(const TeNibbles q, const TeFifths high, size_t k, size_t c)
{
	return te_nibble_at(q, k, c) | (high[c][k % 4] >> (k / 4) & 1) << 4;
}

static inline TePanelValue
te_q8_0_at(const void *panel, size_t k, size_t c)
{
	const TePanelQ8_0 *block = (const TePanelQ8_0 *) panel + k / TE_QK;

	return (TePanelValue) {te_half_to_float(block->d[c]), 0, block->q[k % TE_QK / 4][c][k % 4] - TE_BYTE_BIAS};
}

static inline TePanelValue
te_q4_0_at(const void *panel, size_t k, size_t c)
{
	const TePanelQ4_0 *block = (const TePanelQ4_0 *) panel + k / TE_QK;

	return (TePanelValue) {te_half_to_float(block->d[c]), 0, te_nibble_at(block->q, k % TE_QK, c) - 8};
}

static inline TePanelValue
te_q4_1_at(const void *panel, size_t k, size_t c)
{
	const TePanelQ4_1 *block = (const TePanelQ4_1 *) panel + k / TE_QK;

	return (TePanelValue) {te_half_to_float(block->d[c]), te_half_to_float(block->m[c]), te_nibble_at(block->q, k % TE_QK, c)};
}

static inline TePanelValue
te_q5_0_at(const void *panel, size_t k, size_t c)
{
	const TePanelQ5_0 *block = (const TePanelQ5_0 *) panel + k / TE_QK;

	return (TePanelValue) {te_half_to_float(block->d[c]), 0, te_five_bits_at(block->q, block->high, k % TE_QK, c) - 16};
}

static inline TePanelValue
te_q5_1_at(const void *panel, size_t k, size_t c)
{
	const TePanelQ5_1 *block = (const TePanelQ5_1 *) panel + k / TE_QK;

	return (TePanelValue) {te_half_to_float(block->d[c]), te_half_to_float(block->m[c]),
		te_five_bits_at(block->q, block->high, k % TE_QK, c)};
}

static inline TePanelValue
te_q4_K_at(const void *panel, size_t k, size_t c)
{
	const TePanelQ4_K *block = (const TePanelQ4_K *) panel + k / TE_QK_K;
	size_t		g = k % TE_QK_K / TE_QK;

	return (TePanelValue) {te_half_to_float(block->d[c]) * block->group[g].scale[c],
		-(te_half_to_float(block->dmin[c]) * block->group[g].min[c]), te_nibble_at(block->group[g].q, k % TE_QK, c)};
}

static inline TePanelValue
te_q5_K_at(const void *panel, size_t k, size_t c)
{
	const TePanelQ5_K *block = (const TePanelQ5_K *) panel + k / TE_QK_K;
	size_t		g = k % TE_QK_K / TE_QK;

	return (TePanelValue) {te_half_to_float(block->d[c]) * block->group[g].scale[c],
		-(te_half_to_float(block->dmin[c]) * block->group[g].min[c]),
		te_five_bits_at(block->group[g].q, block->group[g].high, k % TE_QK, c)};
}

static inline TePanelValue
te_q6_K_at(const void *panel, size_t k, size_t c)
{
	const TePanelQ6_K *block = (const TePanelQ6_K *) panel + k / TE_QK_K;
	size_t		g = k % TE_QK_K / 16;
	size_t		quad = k % 16 / 4;
	int			both = block->group[g].q[quad % 2][c][k % 4];
	int			high = block->group[g].high[c][k % 4] >> (2 * quad) & 3;

	return (TePanelValue) {te_half_to_float(block->d[c]) * block->group[g].scale[c], 0,
		((quad < 2 ? both & 15 : both >> 4) | high << 4) - 32};
}

#endif							/* TE_PANELS_H */
