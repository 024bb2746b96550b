/*-------------------------------------------------------------------------
 * gguf.h
 *	  Constants of the GGUF format that reader and writer share.
 *
 * A file is: magic, version, number of tensors, number of key-values; the
 * key-values; a description per tensor; padding; the data.  A string is a
 * 64-bit length and its bytes.  An array is the type of its items, their
 * number, and the items.  Dimensions are innermost first.
 *
 * Reference: ggml/docs/gguf.md.
 *-------------------------------------------------------------------------
 */
#ifndef TE_GGUF_H
#define TE_GGUF_H

#define GGUF_MAGIC "GGUF"
#define GGUF_MAGIC_LEN 4
#define GGUF_VERSION 3
#define GGUF_ALIGNMENT_KEY "general.alignment"
#define GGUF_DEFAULT_ALIGNMENT 32

/* Types of metadata values, by their numbers: symbol, bytes of the shortest value. */
#define GGUF_VALUES(V) \
	V(GGUF_U8, 1) \
	V(GGUF_I8, 1) \
	V(GGUF_U16, 2) \
	V(GGUF_I16, 2) \
	V(GGUF_U32, 4) \
	V(GGUF_I32, 4) \
	V(GGUF_F32, 4) \
	V(GGUF_BOOL, 1) \
	V(GGUF_STRING, 8) \
	V(GGUF_ARRAY, 12) \
	V(GGUF_U64, 8) \
	V(GGUF_I64, 8) \
	V(GGUF_F64, 8)

typedef enum GgufValue
{
#define GGUF_SYMBOL(symbol, bytes) symbol,
	GGUF_VALUES(GGUF_SYMBOL)
#undef GGUF_SYMBOL
	GGUF_N_VALUES
} GgufValue;

#endif							/* TE_GGUF_H */
