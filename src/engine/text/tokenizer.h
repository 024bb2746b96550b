/*-------------------------------------------------------------------------
 * tokenizer.h
 *	  What the files of text/ share: the compiled image, the compiler that
 *	  builds it, and the encoder that runs it.
 *
 * The image.  A TeTokenizer header, then sections, all 8-byte aligned.  A
 * reference is a 32-bit offset from the header, 0 for none.  The normalizer,
 * the pre-tokenizer and the decoder are programs: arrays of TeStep, each the
 * number of a row in the table of its kind and the offset of its
 * parameters.  Row numbers are part of the format: new rows go to the end of a table,
 * and TE_TOKENIZER_VERSION counts every other change.
 *
 * The encoder.  Text is worked on as an array of TeChar: a code point and
 * the bytes of the original text that it stands for, which every step passes on.  So
 * what a step does to offsets is visible in the step, and nothing is
 * looked up afterwards.  Pieces (words, added tokens) are no list of their
 * own: the first character of a piece carries a flag, and an added token
 * is one entry that holds its id.
 *
 * Memory.  TeTextScratch is a stack with two ends.  Characters lie at the bottom; a
 * step that changes their number writes its output behind them
 * (te_open .. te_close), which is then moved down.  Tokens come after the characters.
 * What is needed for the time of one word or step is taken from the
 * top (te_high) and given back.  Where the two ends meet the status
 * becomes TE_TEXT_MORE, further output is dropped, and te_encode() returns.
 *-------------------------------------------------------------------------
 */
#ifndef TE_TOKENIZER_H
#define TE_TOKENIZER_H

#include "text/text.h"
#include "text/unicode.h"

/* ---- the image ---- */

#define TE_TOKENIZER_MAGIC UINT64_C(0x4b4f544e45544554)	/* "TETENTOK" */
#define TE_TOKENIZER_VERSION 1

typedef struct TeStep
{
	uint32_t	kind;			/* row of the table */
	uint32_t	param;			/* offset of its parameters, 0: none */
} TeStep;

typedef struct TeProgram
{
	uint32_t	steps;
	uint32_t	n;
} TeProgram;

typedef struct TeImageStr
{
	uint32_t	at;				/* offset from the image; UINT32_MAX: absent */
	uint32_t	len;
} TeImageStr;

/* Code points: uint32_t[n] */
typedef struct TeImageChars
{
	uint32_t	at;
	uint32_t	n;
} TeImageChars;

/* The tokens of the model; ids need not be dense. */
typedef struct TeVocab
{
	uint32_t	n_ids;			/* largest id + 1 */
	uint32_t	n_tokens;		/* different ones */
	uint32_t	tokens;			/* TeImageStr[n_ids] */
	uint32_t	slots;			/* TeVocabSlot[slot_mask + 1], open addressing */
	uint32_t	slot_mask;
	uint32_t	longest;		/* bytes of the longest token */
} TeVocab;

typedef struct TeVocabSlot
{
	uint32_t	tag;			/* upper half of the hash */
	uint32_t	id1;			/* id + 1; 0: free */
} TeVocabSlot;

typedef struct TeAdded
{
	TeImageStr	content;
	TeImageStr	decoded;		/* what decoding uses: the normalized form */
	uint32_t	id;
	bool		special;
	bool		skipped;		/* by a decoding that leaves special tokens out */
	bool		lstrip;
	bool		rstrip;
	bool		single_word;
} TeAdded;

/* A part of a post-processing template */
typedef struct TeTemplatePart
{
	int32_t		id;				/* a special token, or TE_PART_* */
	int32_t		type_id;		/* TE_KEEP_TYPE: as the sequence has it */
} TeTemplatePart;

#define TE_PART_TEXT (-1)
#define TE_PART_PAIR (-2)
#define TE_KEEP_TYPE (-1)

typedef struct TeTemplate
{
	uint32_t	parts;			/* TeTemplatePart[n]; n = 0: the sequences one after the other */
	uint32_t	n;
	uint32_t	added;			/* special tokens in it */
} TeTemplate;

/* What the post-processor does, from its components */
typedef struct TePost
{
	TeTemplate	single;
	TeTemplate	pair;
	uint8_t		n_trims;		/* so often is white space trimmed from offsets, ... */
	uint8_t		prefix_space;	/* ... bit i: the i-th time but for a space put before the text */
} TePost;

struct TeTokenizer
{
	uint64_t	magic;
	uint32_t	version;
	uint32_t	bytes;			/* of the whole image */
	uint64_t	digest;			/* of all behind the header */
	uint32_t	vocab_size;		/* largest id + 1, added tokens included */
	TeVocab		vocab;
	TeProgram	normalizer;
	TeProgram	pre_tokenizer;
	TeProgram	decoder;
	TeStep		model;
	bool		has_decoder;	/* without one, texts are joined with spaces */
	TePost		post;
	uint32_t	added;			/* TeAdded[n_added], by id */
	uint32_t	n_added;
	uint32_t	added_slots;	/* by content: TeVocabSlot[added_mask + 1], id1 is index + 1 */
	uint32_t	added_mask;
	uint32_t	raw_trie;		/* of added tokens that are looked for in the text as it is */
	uint32_t	normal_trie;	/* ... and in the normalized text */
	uint32_t	patterns;		/* TeImageStr[n_patterns]: regular expressions, each with a NUL */
	uint32_t	n_patterns;
};

static inline const void *
te_at(const TeTokenizer *tokenizer, uint32_t offset)
{
	return (const char *) tokenizer + offset;
}

static inline TeStr
te_image_str(const TeTokenizer *tokenizer, TeImageStr s)
{
	return (TeStr) {s.at == UINT32_MAX ? NULL : (const char *) tokenizer + s.at, s.len};
}

/* ---- hashing: FNV-1a, which can be continued byte by byte ---- */

#define TE_HASH_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t
te_hash_add(uint64_t hash, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t) data[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* ---- the vocabulary (vocab.c) ---- */

/* The id of the token that is prefix followed by rest; hash is that of both; -1 where there is none. */
extern int32_t te_vocab_find(const TeTokenizer *tokenizer, uint64_t hash, TeStr prefix, TeStr rest);
extern int32_t te_vocab_id(const TeTokenizer *tokenizer, TeStr token);
/* Put a hash into a table of slots that has room, ahead of no equal one. */
extern void te_slot_insert(TeVocabSlot *slots, uint32_t mask, uint64_t hash, uint32_t id);
/* The tokens of bytes, such as <0x0A>; -1 where there is none. */
extern void te_byte_tokens(const TeTokenizer *tokenizer, TeArena *arena, int32_t ids[256]);
extern TeStr te_vocab_token(const TeTokenizer *tokenizer, int32_t id);
extern const TeAdded *te_added_by_content(const TeTokenizer *tokenizer, TeStr content);
extern const TeAdded *te_added_by_id(const TeTokenizer *tokenizer, int32_t id);

/* ---- tries (trie.c): sets of byte strings, walked a byte at a time ---- */

typedef struct TeTrieKey
{
	TeStr		key;
	int32_t		value;
} TeTrieKey;

typedef struct TeTrieUnit
{
	uint32_t	base;			/* children are at base + byte + 1; of a leaf: its value */
	uint32_t	check;			/* parent + 1; 0: free */
} TeTrieUnit;

typedef struct TeTrie
{
	uint32_t	n;
	uint32_t	reserved;
	TeTrieUnit	units[];
} TeTrie;

/* Advance *node (0 is the root) by a byte; false where no key goes on so. */
static inline bool
te_trie_step(const TeTrie *trie, uint32_t *node, uint8_t byte)
{
	uint32_t	next = trie->units[*node].base + byte + 1;

	if (next >= trie->n || trie->units[next].check != *node + 1)
		return false;
	*node = next;
	return true;
}

/* The value of the key that ends at node, or -1. */
static inline int32_t
te_trie_value(const TeTrie *trie, uint32_t node)
{
	uint32_t	leaf = trie->units[node].base;

	return leaf < trie->n && trie->units[leaf].check == node + 1 ? (int32_t) trie->units[leaf].base : -1;
}

/* ---- the compiler (compile.c) ---- */

typedef struct TeRow TeRow;

typedef struct TeCompiler
{
	TeArena    *arena;			/* for the time of compilation */
	TeBuffer   *into;
	size_t		base;			/* of the image in the buffer */
	TeTokenizer header;			/* copied into the image at the end */
	TeStep	   *steps;			/* of the program that is being compiled */
	size_t		n_steps;
	const char *part;			/* "normalizer", ...: for messages */
	TeImageStr *patterns;		/* as far as they are known */
} TeCompiler;

/* Append to the image, 8-byte aligned; gives the offset. */
extern uint32_t te_image_add(TeCompiler *compiler, const void *data, size_t bytes);
extern TeImageStr te_image_add_str(TeCompiler *compiler, TeStr s);
extern TeImageChars te_image_add_chars(TeCompiler *compiler, TeStr s);
/* A member that is a string of one character. */
extern uint32_t te_char_member(TeCompiler *compiler, const TeJson *node, const char *key);
/* The image as far as it is built, to run parts of it; valid until the next te_image_add(). */
extern const TeTokenizer *te_image_so_far(TeCompiler *compiler);
extern void te_emit(TeCompiler *compiler, uint32_t kind, const void *param, size_t bytes);
/* Compile a component by the row that its "type" names. */
extern void te_compile_node(TeCompiler *compiler, const TeRow *const *table, const TeJson *node);
/* The members of a Sequence component, one after the other. */
extern void te_compile_list(TeCompiler *compiler, const TeRow *const *table, const TeJson *list);
extern uint32_t te_trie_compile(TeCompiler *compiler, TeTrieKey *keys, size_t n);
extern void te_vocab_compile(TeCompiler *compiler, const TeJson *vocab);
extern void te_added_compile(TeCompiler *compiler, const TeJson *added);
extern void te_post_compile(TeCompiler *compiler, const TeJson *post);

/* ---- the encoder (encode.c) ---- */

/* c is a code point and flags; of an added token: the flag, and its id */
typedef struct TeChar
{
	uint32_t	c;
	uint32_t	start;			/* bytes of the original text */
	uint32_t	stop;
} TeChar;

#define TE_CHAR_PIECE 0x80000000u	/* first of a piece */
#define TE_CHAR_TOKEN 0x40000000u	/* an added token, a piece of its own */
#define TE_CHAR_SEGMENT 0x20000000u /* while splitting: first of a segment ... */
#define TE_CHAR_MATCH 0x10000000u	/* ... that matched */
#define TE_CHAR_EMPTY 0x08000000u	/* ... and before which an empty match is */
#define TE_CHAR_CODE 0x001FFFFFu
#define TE_CHAR_ID 0x07FFFFFFu

typedef struct TeEncoder
{
	const TeTokenizer *tokenizer;
	TeTextStatus status;
	char	   *memory;
	size_t		low;			/* used from the bottom */
	size_t		high;			/* used from here to the top */
	TeChar	   *chars;
	size_t		n_chars;
	TeChar	   *out;			/* of the step that is running */
	size_t		n_out;
	size_t		max_out;
	TeToken    *tokens;
	size_t		n_tokens;
	const TeChar *word;			/* the piece that the model is given ... */
	const char *word_bytes;		/* ... in UTF-8 ... */
	const uint32_t *word_at;	/* ... with where each character begins, and the end */
	size_t		n_word;			/* characters */
	uint32_t	word_index;
	const void *const *patterns;	/* compiled, in the order of the image */
	bool		at_start;		/* the piece that is worked on begins where the text does */
} TeEncoder;

/* Where what is used from the bottom ends: behind the output of a step, while one is open. */
static inline size_t
te_bottom(const TeEncoder *encoder)
{
	return encoder->out != NULL ? (size_t) ((char *) (encoder->out + encoder->n_out) - encoder->memory) : encoder->low;
}

/* Give back what was taken from the top since it was at `high`. */
static inline void
te_release(TeEncoder *encoder, size_t high)
{
	encoder->high = high;
	if (encoder->out != NULL)
		encoder->max_out = (high - (size_t) ((char *) encoder->out - encoder->memory)) / sizeof(TeChar);
}

/* Take from the top; NULL, and the status, where there is no room. 16-byte aligned. */
static inline void *
te_high(TeEncoder *encoder, size_t bytes)
{
	bytes = TE_ALIGN(bytes, 16);
	if (TE_UNLIKELY(bytes > encoder->high - te_bottom(encoder)))
	{
		encoder->status = TE_TEXT_MORE;
		return NULL;
	}
	te_release(encoder, encoder->high - bytes);
	return encoder->memory + encoder->high;
}

/* Add to the output of a step. */
static inline void
te_put(TeEncoder *encoder, uint32_t c, uint32_t start, uint32_t stop)
{
	if (TE_UNLIKELY(encoder->n_out == encoder->max_out))
	{
		encoder->status = TE_TEXT_MORE;
		return;
	}
	encoder->out[encoder->n_out++] = (TeChar) {c, start, stop};
}

/* Works on one piece, whose flags are cleared: in[0..n) to te_put(). */
typedef void (*TePieceFunction) (TeEncoder *encoder, TeChar *in, size_t n, const void *param);
/* Call it for each piece that is no added token; the output takes the place of the input. */
extern void te_each_piece(TeEncoder *encoder, TePieceFunction function, const void *param);
/* Begin and end the output of a step that does not work piece by piece. */
extern void te_open(TeEncoder *encoder);
extern void te_close(TeEncoder *encoder);
/* Run a program of the image. */
extern void te_run(TeEncoder *encoder, TeProgram program, const TeRow *const *table);
/* A text through the normalizer alone; the characters are in the encoder. */
extern void te_normalize(const TeTokenizer *tokenizer, TeStr text, TeTextScratch *scratch, TeEncoder *encoder);
/* Cut out added tokens by a trie. */
extern void te_cut_added(TeEncoder *encoder, uint32_t trie);

/*
 * Many steps follow the reference in saying, for each character that they
 * put, how it came about: change > 0, it is inserted and shares the origin of the
 * one before; 0, it takes the place of the next one; < 0, and of so many
 * after that.  They put it with te_put_change(), and te_settle() then turns
 * the output since `from` into origins.
 */
static inline void
te_put_change(TeEncoder *encoder, uint32_t c, int change)
{
	te_put(encoder, c, (uint32_t) change, 0);
}

extern void te_settle(TeEncoder *encoder, const TeChar *in, size_t n, size_t from);

/* Pieces that several normalizers need (norm_unicode.c): canonical decomposition, lower case. */
extern void te_decompose_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param);
extern void te_lower_piece(TeEncoder *encoder, TeChar *in, size_t n, const void *param);

/* A token for characters [from, to) of the word. */
extern void te_emit_token(TeEncoder *encoder, int32_t id, size_t from, size_t to);
extern void te_mark_literal(TeEncoder *encoder);
/* The same for bytes of the word. */
extern void te_emit_bytes(TeEncoder *encoder, int32_t id, size_t from, size_t to);

/* ---- splitting (split.c) ---- */

typedef enum TeBehavior
{
	TE_SPLIT_REMOVED,
	TE_SPLIT_ISOLATED,
	TE_SPLIT_MERGED_WITH_PREVIOUS,
	TE_SPLIT_MERGED_WITH_NEXT,
	TE_SPLIT_CONTIGUOUS
} TeBehavior;

/* Marks the matches in a piece with te_mark(). */
typedef void (*TeMarkFunction) (TeEncoder *encoder, TeChar *in, size_t n, const void *param);
extern void te_split(TeEncoder *encoder, TeMarkFunction mark, const void *param, TeBehavior behavior, bool invert);
extern void te_mark(TeChar *in, size_t n, size_t from, size_t to);
extern TeBehavior te_behavior(TeCompiler *compiler, const TeJson *node, const char *key);

/* ---- component tables ---- */

/*
 * A component: its "type" in tokenizer.json, how its parameters are compiled (with te_emit),
 * and how it runs.  Which of the run functions a row has tells its kind.
 */
typedef struct TeDecoder TeDecoder;
struct TeRow
{
	const char *type;
	void		(*compile) (TeCompiler *compiler, const TeJson *node, uint32_t kind);
	void		(*run) (TeEncoder *encoder, const void *param);	/* normalizers, pre-tokenizers, models (one word) */
	void		(*decode) (TeDecoder *decoder, const void *param);
	/* decode for tokens that are no text together, but each by itself: within one, or first in one */
	void		(*each) (TeDecoder *decoder, const void *param, bool first);
	bool		fuses;			/* decode makes one text of all tokens */
	bool		pieces;			/* decode takes that text in pieces */
};

/* The tables (components.c), each ending with NULL. */
extern const TeRow *const te_normalizers[];
extern const TeRow *const te_pre_tokenizers[];
extern const TeRow *const te_models[];
extern const TeRow *const te_decoders[];

/* The rows: one a component, defined in its file. */
extern const TeRow te_norm_sequence,
			te_norm_bert,
			te_norm_nfc,
			te_norm_nfd,
			te_norm_nfkc,
			te_norm_nfkd,
			te_norm_lowercase,
			te_norm_strip_accents,
			te_norm_nmt,
			te_norm_strip,
			te_norm_replace,
			te_norm_prepend,
			te_norm_precompiled,
			te_norm_byte_level;
extern const TeRow te_pre_sequence,
			te_pre_bert,
			te_pre_whitespace,
			te_pre_whitespace_split,
			te_pre_punctuation,
			te_pre_digits,
			te_pre_delimiter,
			te_pre_scripts,
			te_pre_fixed_length,
			te_pre_split,
			te_pre_metaspace,
			te_pre_byte_level;
extern const TeRow te_model_wordpiece,
			te_model_wordlevel,
			te_model_bpe,
			te_model_unigram;
extern const TeRow te_decode_sequence,
			te_decode_wordpiece,
			te_decode_byte_level,
			te_decode_metaspace,
			te_decode_bpe,
			te_decode_byte_fallback,
			te_decode_fuse,
			te_decode_strip,
			te_decode_replace,
			te_decode_ctc;

/* The character that a byte is written as, below U+0200 (byte_level.c). */
extern uint32_t te_byte_level_char(uint8_t byte);

/* A component without parameters. */
extern void te_compile_plain(TeCompiler *compiler, const TeJson *node, uint32_t kind);

#endif							/* TE_TOKENIZER_H */
