/*-------------------------------------------------------------------------
 * text.h
 *	  Tokenizers: the components of Hugging Face's tokenizer.json.
 *
 * One format, one path.  Whatever a tokenizer comes from (tokenizer.json,
 * vocab.txt, vocab.json + merges.txt, a SentencePiece .model, GGUF metadata)
 * is first turned into tokenizer.json (te_tokenizer_from_*()), which is what the catalog keeps and
 * export writes.  te_tokenizer_compile() turns that into a position-independent image: offset tables only,
 * no pointers, 64-byte aligned, the same in every process, checked as it is built.  te_tokenizer_attach() looks at
 * its header and parses nothing, so that a vocabulary of 250,000 words costs nothing to attach.
 *
 * Encoding: added tokens are cut out first, the rest is normalized (keeping
 * for each character where it came from), pre-tokenized, given to the model (WordPiece,
 * BPE, Unigram, WordLevel), then post-processed (special tokens, type ids).
 *
 * Threads.  te_encode() is pure but for the scratch it is given: no arena, no
 * throw; it returns a status, and TE_TEXT_MORE when the scratch is too small (the
 * caller grows it and calls again).  Text that is not valid UTF-8 gives TE_TEXT_INVALID.
 *
 * Offsets are in bytes of the original text, [start, stop); SQL turns them
 * into characters.
 *
 * To add a component: write <component>.c with its row {type name, compile,
 * run or decode}, declare the row in tokenizer.h, and add it at the end of the table of its kind
 * in components.c.  To add a file format: a function that makes a tokenizer.json of it.
 *-------------------------------------------------------------------------
 */
#ifndef TE_TEXT_H
#define TE_TEXT_H

#include "base/json.h"

/* ---- from other forms to tokenizer.json (convert.c, spm.c, gguf.c); results are complete tokenizer.json objects ---- */

/* A BERT vocab.txt (one token a line; split on \n only); config: tokenizer_config.json or NULL. */
extern const TeJson *te_tokenizer_from_vocab_txt(TeArena *arena, TeStr vocab, const TeJson *config);
/* GPT-2 / RoBERTa vocab.json + merges.txt. model_type of config.json decides the post-processor. */
extern const TeJson *te_tokenizer_from_bpe(TeArena *arena, const TeJson *vocab, TeStr merges, const TeJson *config, TeStr model_type);
/* A SentencePiece .model (protobuf): Unigram or BPE, with its precompiled character map. */
extern const TeJson *te_tokenizer_from_spm(TeArena *arena, TeStr model, const TeJson *config, TeStr model_type);
/* The tokenizer.ggml.* keys of a GGUF file. */
extern const TeJson *te_tokenizer_from_gguf(TeArena *arena, const TeJson *meta);
/* The tokenizer.ggml.* keys for a GGUF file, added to meta. */
extern void te_tokenizer_to_gguf(TeArena *arena, const TeJson *tokenizer, TeJson *meta);

/* ---- compiled tokenizers ---- */

typedef struct TeTokenizer TeTokenizer;	/* what a compiled image begins with; in mapped, read-only memory */

/* Compile into buffer (appended at a 64-byte aligned place, returned as an offset into it). Throws naming the component. */
extern size_t te_tokenizer_compile(TeArena *scratch, const TeJson *tokenizer, TeBuffer *into);
/* Changes with the layout of what te_tokenizer_compile() makes. */
extern uint32_t te_tokenizer_version(void);
/* Check the header against len and give the tokenizer; throws TE_ERR_CORRUPT. No parsing. */
extern const TeTokenizer *te_tokenizer_attach(const void *image, size_t len);

typedef enum TeTextStatus
{
	TE_TEXT_OK,
	TE_TEXT_MORE,				/* scratch or output too small */
	TE_TEXT_INVALID,			/* not UTF-8 */
	TE_TEXT_LIMIT,				/* the text is too long, or a pattern passed its match limit */
	TE_TEXT_NO_TOKEN			/* a word is not in the vocabulary, and there is no token for unknown ones */
} TeTextStatus;

typedef struct TeToken
{
	int32_t		id;
	int32_t		type_id;
	uint32_t	start;			/* bytes of the original text; [0, 0) for special tokens that are added */
	uint32_t	stop;
	uint32_t	word;			/* index of the pre-token; UINT32_MAX for added special tokens */
	uint8_t		special;		/* added by the post-processor */
	uint8_t		literal;		/* stands for its text, not for its entry: an added token, or what is unknown to Unigram */
	uint8_t		sequence;		/* 0: text, 1: pair */
} TeToken;

/*
 * Work memory, 16-byte aligned, and output of one call.  Belongs to one thread at a time.  Start with
 * {.memory = ..., .bytes = ...} and all else zero, and again so with other memory: what
 * is kept between calls (compiled patterns) lies in it.
 */
typedef struct TeTextScratch
{
	char	   *memory;
	size_t		bytes;
	size_t		wanted;			/* set with TE_TEXT_MORE: at least so many bytes */
	TeToken    *tokens;			/* output; inside memory; valid until the next call */
	size_t		n_tokens;
	size_t		n_untruncated;	/* how many there would have been without max_tokens */
	/* The tokenizer's own: */
	size_t		kept;			/* bytes at the top that hold compiled patterns ... */
	uint64_t	kept_for;		/* ... of the tokenizer with this digest ... */
	const char *kept_memory;	/* ... while memory is still this */
	size_t		kept_bytes;
} TeTextScratch;

/* A size of scratch that suffices for most texts of this many bytes. */
extern size_t te_encode_scratch(const TeTokenizer *tokenizer, size_t text_bytes);

/*
 * Encode text, or a pair where pair.data is not NULL.  special: add the
 * post-processor's tokens.  max_tokens: truncate to so many, special tokens included (0: no bound); a pair
 * is truncated longest first.
 */
extern TeTextStatus te_encode(const TeTokenizer *tokenizer, TeStr text, TeStr pair, bool special,
							  size_t max_tokens, TeTextScratch *scratch);

/*
 * The words that a text falls into for the model, normalized: what a vocabulary is learned from.  Pure, as te_encode() is;
 * `take` has been given some already where the status is not TE_TEXT_OK.
 */
typedef void (*TeWordFunction) (void *arg, TeStr word);
extern TeTextStatus te_split_words(const TeTokenizer *tokenizer, TeStr text, TeTextScratch *scratch, TeWordFunction take, void *arg);

/* The error of a status that is neither TE_TEXT_OK nor TE_TEXT_MORE. */
extern TE_NORETURN void te_throw_text_status(TeTextStatus status);

/* te_encode() on the caller's thread with memory from an arena: throws instead, returns tokens in the arena. */
extern TeToken *te_encode_alloc(const TeTokenizer *tokenizer, TeArena *arena, TeStr text, TeStr pair,
								bool special, size_t max_tokens, size_t *n_tokens, size_t *n_untruncated);

/* Ids to text by the decoder (as they come: stream.h); skip_special leaves out special tokens.  Throws TE_ERR_INVALID on an id beyond the vocabulary. */
extern TeStr te_decode(const TeTokenizer *tokenizer, TeArena *arena, const int32_t *ids, size_t n, bool skip_special);

/*
 * What each token adds to a text that is decoded without special tokens, as bytes, which need not be whole characters: within the text, or as
 * its first token.  te_vocab_size() of them, {NULL, 0} for special tokens and ids that are no token.  Throws TE_ERR_UNSUPPORTED where that depends on
 * the tokens around it (CTC, words with marked ends).
 */
extern TeStr *te_token_bytes(const TeTokenizer *tokenizer, TeArena *arena, bool first);

extern TeStr te_token_text(const TeTokenizer *tokenizer, int32_t id);	/* as in the vocabulary ("##ing", "Ġthe"); {NULL, 0} where there is none */
extern int32_t te_token_id(const TeTokenizer *tokenizer, TeStr token);	/* -1 where there is none */
extern bool te_token_special(const TeTokenizer *tokenizer, int32_t id);	/* an added token that is no text */
extern int32_t te_token_before(const TeTokenizer *tokenizer); /* the special token that te_encode() puts before a text; -1: none */
extern int32_t te_vocab_size(const TeTokenizer *tokenizer); /* largest id + 1, added tokens included */
extern size_t te_tokens_added(const TeTokenizer *tokenizer, bool pair);	/* special tokens that the post-processor adds */

/* ---- vocabularies learned from texts (train_*.c) ---- */

/*
 * Feed texts, then take the tokenizer.json.  The vocabulary depends on which texts there were, on neither their
 * order nor the number of threads.  kind: "wordpiece", "bpe" (byte-level), "unigram"; options: an object, or NULL; errors are
 * TE_ERR_INVALID.  What is kept of texts is their different words: where these do not fit into the arena's limit, that is the error
 * TE_ERR_LIMIT.  Checks for interrupts.
 */
typedef struct TeTokenizerTrainer TeTokenizerTrainer;
extern TeTokenizerTrainer *te_tokenizer_trainer_create(TeArena *arena, TeStr kind, int64_t vocab_size, const TeJson *options);
extern void te_tokenizer_trainer_add(TeTokenizerTrainer *trainer, TeStr text);	/* copied */
/* Once, at the end; in the arena that was given. */
extern const TeJson *te_tokenizer_trainer_finish(TeTokenizerTrainer *trainer);

/* ---- Unicode (unicode.c over the generated table unicode_table.c): as the reference tokenizers see it ---- */

/* Next code point of UTF-8, advancing *p; -1 where the bytes are not valid UTF-8 (overlong and surrogates included). */
extern int32_t te_utf8_next(const char **p, const char *end);
extern size_t te_utf8_put(char *to, int32_t c);

#endif							/* TE_TEXT_H */
