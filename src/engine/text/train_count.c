/*-------------------------------------------------------------------------
 * train_count.c
 *	  Texts to words and how often each occurs; and the trainer, from first to last.
 *
 * A text is normalized and split by the very components that the tokenizer will have, run from a compiled image
 * as they are when it is used; the image's model is a stub.  What is learned from is then a table of different words, so memory grows
 * with them and not with the texts.
 *
 * Texts are gathered until there is half a megabyte of them, then split on
 * threads, each text into room of its own; the caller's thread then counts, in their order.  A text that grows
 * beyond its room, as some do in normalization, is done again by the caller with as much memory as it takes.
 * Long texts are cut where no component looks across: at a single space between letters or digits of ASCII, or,
 * where there is none for long, between characters.  Words longer than
 * LONGEST_WORD are cut, too: nobody learns anything from them, and time is quadratic in their length.
 *-------------------------------------------------------------------------
 */
#include "text/tokenizer.h"
#include "text/train.h"

#define BATCH_BYTES ((size_t) 512 * 1024)
#define BATCH_TEXTS 8192
#define LONGEST_TEXT ((size_t) 16 * 1024)
#define LONGEST_WORD 1000		/* characters */

/* Room for the words of a text: each with its length before it. */
#define GROWTH 6
#define ROOM(bytes) (GROWTH * (bytes) + 64)

/* One text of a batch. */
typedef struct Piece
{
	TeStr		text;
	char	   *words;			/* ROOM(text.len) bytes */
	size_t		used;
	TeTextStatus status;		/* TE_TEXT_MORE: not enough room, or scratch */
} Piece;

struct TeTokenizerTrainer
{
	TeArena    *arena;			/* the result's */
	TeArena    *scratch;		/* all else */
	TeArena    *batch_arena;	/* in scratch: dropped before learning begins */
	const TeLearnKind *kind;
	TeLearnOptions options;
	TeTokenizerBuild build;
	const TeTokenizer *splitter;
	TeLearnWords words;

	char	   *texts;
	char	   *room;
	size_t		n_bytes;
	Piece	   *pieces;
	size_t		n_pieces;
	TeTextScratch *scratches;	/* one a worker */
	int			n_scratches;
	int			n_wanted;		/* room in the array */
};

/* The tokenizer with nothing for a model, to split texts with. */
static const TeTokenizer *
compile_splitter(TeTokenizerTrainer *trainer)
{
	TeTokenizerBuild stub;
	TeBuffer	image;
	size_t		offset;

	te_learn_parts(&stub, trainer->scratch, trainer->kind, &trainer->options);
	te_json_set_copy(trainer->scratch, stub.added, te_json_new_array(trainer->scratch, 0));
	stub.post_processor->kind = TE_JSON_NULL;
	te_build_set(&stub, stub.model, "{'type': 'WordLevel', 'vocab': {'?': 0}, 'unk_token': '?'}");
	te_buffer_init(&image, trainer->scratch);
	offset = te_tokenizer_compile(trainer->scratch, stub.root, &image);
	return te_tokenizer_attach(image.data + offset, image.len - offset);
}

TeTokenizerTrainer *
te_tokenizer_trainer_create(TeArena *arena, TeStr kind, int64_t vocab_size, const TeJson *options)
{
	TeArena    *scratch = te_arena_create(arena, "tokenizer training");
	TeTokenizerTrainer *trainer = te_new(scratch, TeTokenizerTrainer);

	trainer->arena = arena;
	trainer->scratch = scratch;
	trainer->kind = te_learn_kind(kind);
	trainer->options = te_learn_options(arena, trainer->kind, vocab_size, options);
	te_learn_parts(&trainer->build, arena, trainer->kind, &trainer->options);
	trainer->splitter = compile_splitter(trainer);
	te_learn_words_init(&trainer->words, scratch);
	trainer->batch_arena = te_arena_create(scratch, "texts");
	trainer->texts = te_alloc(trainer->batch_arena, BATCH_BYTES);
	trainer->room = te_alloc(trainer->batch_arena, ROOM(BATCH_BYTES) + BATCH_TEXTS * ROOM(0));
	trainer->pieces = te_new_array(trainer->batch_arena, Piece, BATCH_TEXTS);
	return trainer;
}

/* ---- splitting, on threads ---- */

static void
put_word(void *arg, TeStr word)
{
	Piece	   *piece = arg;
	uint32_t	len = (uint32_t) word.len;

	if (piece->used + sizeof(len) + len > ROOM(piece->text.len))
	{
		piece->status = TE_TEXT_MORE;
		return;
	}
	memcpy(piece->words + piece->used, &len, sizeof(len));
	memcpy(piece->words + piece->used + sizeof(len), word.data, len);
	piece->used += sizeof(len) + len;
}

static void
split_piece(void *arg, size_t task, int worker)
{
	TeTokenizerTrainer *trainer = arg;
	Piece	   *piece = &trainer->pieces[task];
	TeTextStatus status;

	piece->used = 0;
	piece->status = TE_TEXT_OK;
	status = te_split_words(trainer->splitter, piece->text, &trainer->scratches[worker], put_word, piece);
	if (status != TE_TEXT_OK)
		piece->status = status;
}

/* For as many workers as there may be now and memory suffices for; one at least. */
static void
need_scratches(TeTokenizerTrainer *trainer)
{
	size_t		bytes = te_encode_scratch(trainer->splitter, LONGEST_TEXT);
	int			n = te_workers();

	if (n > trainer->n_wanted)
	{
		TeTextScratch *more = te_new_array(trainer->batch_arena, TeTextScratch, n);

		if (trainer->n_scratches > 0)
			memcpy(more, trainer->scratches, sizeof(TeTextScratch) * (size_t) trainer->n_scratches);
		trainer->scratches = more;
		trainer->n_wanted = n;
	}
	while (trainer->n_scratches < trainer->n_wanted && (trainer->n_scratches == 0 || te_arena_fits(trainer->batch_arena, bytes)))
	{
		TeTextScratch *scratch = &trainer->scratches[trainer->n_scratches];

		scratch->memory = te_alloc(trainer->batch_arena, bytes);
		scratch->bytes = bytes;
		trainer->n_scratches++;
	}
}

/* ---- counting ---- */

/* How many bytes the first LONGEST_WORD characters are. */
static size_t
cut_word(TeStr word)
{
	size_t		chars = 0;

	if (word.len <= LONGEST_WORD)
		return word.len;
	for (size_t i = 0; i < word.len; i++)
	{
		if ((word.data[i] & 0xC0) != 0x80 && chars++ == LONGEST_WORD)
			return i;
	}
	return word.len;
}

static void
count_word(void *arg, TeStr word)
{
	while (word.len > 0)
	{
		size_t		len = cut_word(word);

		te_learn_words_add(arg, (TeStr) {word.data, len}, 1);
		word.data += len;
		word.len -= len;
	}
}

static void
gather_word(void *arg, TeStr word)
{
	uint32_t	len = (uint32_t) word.len;

	te_buffer_add(arg, &len, sizeof(len));
	te_buffer_add(arg, word.data, word.len);
}

/* Of words each with its length before it. */
static void
count_words(TeLearnWords *words, const char *data, size_t bytes)
{
	uint32_t	len;

	for (size_t at = 0; at < bytes; at += sizeof(len) + len)
	{
		memcpy(&len, data + at, sizeof(len));
		count_word(words, (TeStr) {data + at + sizeof(len), len});
	}
}

/* With memory until it suffices; a text is counted once it has been split to its end. */
static void
count_large(TeTokenizerTrainer *trainer, TeStr text)
{
	TeArena    *arena = te_arena_create(trainer->scratch, "a text");
	size_t		bytes = te_encode_scratch(trainer->splitter, text.len);
	TeTextStatus status;
	TeBuffer	words;

	do
	{
		TeTextScratch scratch = {.bytes = bytes};

		te_arena_reset(arena);
		scratch.memory = te_alloc(arena, bytes);
		te_buffer_init(&words, arena);
		status = te_split_words(trainer->splitter, text, &scratch, gather_word, &words);
		bytes = scratch.wanted;
	} while (status == TE_TEXT_MORE);
	if (status != TE_TEXT_OK)
		te_throw_text_status(status);
	count_words(&trainer->words, words.data, words.len);
	te_arena_destroy(arena);
}

static void
run_batch(TeTokenizerTrainer *trainer)
{
	char	   *room = trainer->room;

	for (size_t i = 0; i < trainer->n_pieces; i++)
	{
		trainer->pieces[i].words = room;
		room += ROOM(trainer->pieces[i].text.len);
	}
	need_scratches(trainer);
	te_parallel_for_few(trainer->n_scratches, trainer->n_pieces, split_piece, trainer);
	for (size_t i = 0; i < trainer->n_pieces; i++)
	{
		const Piece *piece = &trainer->pieces[i];

		te_check_interrupts();
		if (piece->status == TE_TEXT_OK)
			count_words(&trainer->words, piece->words, piece->used);
		else
			count_large(trainer, piece->text);
	}
	trainer->n_pieces = 0;
	trainer->n_bytes = 0;
}

/* ---- texts ---- */

static bool
is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Where to cut a text that is too long. */
static size_t
cut_text(TeStr text)
{
	size_t		at = LONGEST_TEXT;

	if (text.len <= LONGEST_TEXT)
		return text.len;
	for (size_t i = LONGEST_TEXT; i > LONGEST_TEXT / 2; i--)
	{
		if (text.data[i - 1] == ' ' && is_plain(text.data[i]) && is_plain(text.data[i - 2]))
			return i - 1;
	}
	while (at > LONGEST_TEXT / 2 && (text.data[at] & 0xC0) == 0x80)
		at--;
	return at;
}

void
te_tokenizer_trainer_add(TeTokenizerTrainer *trainer, TeStr text)
{
	while (text.len > 0)
	{
		size_t		len = cut_text(text);
		char	   *copy;

		if (trainer->n_pieces == BATCH_TEXTS || trainer->n_bytes + len > BATCH_BYTES)
			run_batch(trainer);
		copy = trainer->texts + trainer->n_bytes;
		memcpy(copy, text.data, len);
		trainer->pieces[trainer->n_pieces++] = (Piece) {.text = {copy, len}};
		trainer->n_bytes += len;
		text.data += len;
		text.len -= len;
	}
}

const TeJson *
te_tokenizer_trainer_finish(TeTokenizerTrainer *trainer)
{
	const TeJson *result = trainer->build.root;

	run_batch(trainer);
	te_arena_destroy(trainer->batch_arena);
	if (trainer->words.n == 0)
		te_throw(TE_ERR_INVALID, "texts have no words to learn a vocabulary from");
	te_learn_words_sort(&trainer->words);
	trainer->kind->learn(&trainer->build, trainer->scratch, &trainer->words, &trainer->options);
	te_arena_destroy(trainer->scratch);
	return result;
}
