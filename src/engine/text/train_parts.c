/*-------------------------------------------------------------------------
 * train_parts.c
 *	  The components around a vocabulary that is learned, as the reference's ready-made tokenizers have them.
 *
 *		wordpiece	BERT: BertNormalizer, BertPreTokenizer
 *		bpe			GPT-2: ByteLevel, with its pattern; nothing is normalized unless asked for
 *		unigram		SentencePiece's ways: NFKC, runs of spaces as one, Metaspace
 *
 * What is put around a text follows from which special tokens there are, by name: [CLS] and [SEP] as BERT's, <s> and </s> as
 * RoBERTa's, </s> alone as T5's, <s> alone as Llama's; and nothing where there are none of these. The last two are what a model that
 * goes on with a text wants: nothing behind it.
 *-------------------------------------------------------------------------
 */
#include "text/convert.h"
#include "text/train.h"

/* ---- around a text ---- */

static TeBuildSpecial
special(const TeLearnOptions *options, const char *name)
{
	return (TeBuildSpecial) {te_str(name), te_learn_special(options, name)};
}

/* False where no convention is known by the special tokens. */
static bool
template_by_names(TeTokenizerBuild *build, const TeLearnOptions *options)
{
	TeBuildSpecial bert[] = {special(options, "[CLS]"), special(options, "[SEP]")};
	TeBuildSpecial roberta[] = {special(options, "<s>"), special(options, "</s>")};

	if (bert[0].id >= 0 && bert[1].id >= 0)
		te_build_template(build, "0:0 $A:0 1:0", "0:0 $A:0 1:0 $B:1 1:1", bert, TE_LENGTH(bert));
	else if (roberta[0].id >= 0 && roberta[1].id >= 0)
		te_build_template(build, "0:0 $A:0 1:0", "0:0 $A:0 1:0 1:0 $B:0 1:0", roberta, TE_LENGTH(roberta));
	else if (roberta[1].id >= 0)
		te_build_template(build, "$A:0 0:0", "$A:0 0:0 $B:0 0:0", &roberta[1], 1);
	else if (roberta[0].id >= 0)
		te_build_template(build, "0:0 $A:0", "0:0 $A:0 0:1 $B:1", &roberta[0], 1);
	else
		return false;
	return true;
}

/* ---- of each kind ---- */

void
te_learn_bert_parts(TeTokenizerBuild *build, const TeLearnOptions *options)
{
	te_build_set(build, build->normalizer, "{'type': 'BertNormalizer', 'clean_text': true, 'handle_chinese_chars': true, "
				 "'strip_accents': null}");
	if (options->strip_accents >= 0)
		te_build_bool(build, build->normalizer, "strip_accents", options->strip_accents != 0);
	te_build_bool(build, build->normalizer, "lowercase", options->lowercase);
	te_build_set(build, build->pre_tokenizer, "{'type': 'BertPreTokenizer'}");
	te_build_set(build, build->decoder, "{'type': 'WordPiece'}");
	te_build_str(build, build->decoder, "prefix", options->prefix);
	te_build_bool(build, build->decoder, "cleanup", true);
	template_by_names(build, options);
}

/* Steps of a normalizer one after the other; a single one by itself, none as null. */
static void
set_normalizers(TeTokenizerBuild *build, const char *first, const TeLearnOptions *options)
{
	const char *accents = options->strip_accents > 0 ? "{'type': 'NFD'}, {'type': 'StripAccents'}" : "";
	const char *lower = options->lowercase ? "{'type': 'Lowercase'}" : "";
	const char *list = te_format(build->arena, "%s%s%s%s%s", first, *first != '\0' && *accents != '\0' ? ", " : "", accents,
								 (*first != '\0' || *accents != '\0') && *lower != '\0' ? ", " : "", lower);

	if (*list != '\0')
		te_build_set(build, build->normalizer, te_format(build->arena, "{'type': 'Sequence', 'normalizers': [%s]}", list));
}

void
te_learn_byte_level_parts(TeTokenizerBuild *build, const TeLearnOptions *options)
{
	TeBuildSpecial cls = special(options, "<s>");
	TeBuildSpecial sep = special(options, "</s>");

	set_normalizers(build, "", options);
	te_build_set(build, build->pre_tokenizer, "{'type': 'ByteLevel'}");
	te_build_bool(build, build->pre_tokenizer, "add_prefix_space", options->add_prefix_space);
	te_build_bool(build, build->pre_tokenizer, "trim_offsets", true);
	te_build_bool(build, build->pre_tokenizer, "use_regex", true);
	te_build_set(build, build->decoder, "{'type': 'ByteLevel', 'add_prefix_space': true, 'trim_offsets': true, 'use_regex': true}");
	if (cls.id >= 0 && sep.id >= 0)
		te_build_roberta_processing(build, cls, sep, options->add_prefix_space);
	else if (!template_by_names(build, options))
		te_build_set(build, build->post_processor,
					 "{'type': 'ByteLevel', 'add_prefix_space': true, 'trim_offsets': false, 'use_regex': true}");
}

void
te_learn_metaspace_parts(TeTokenizerBuild *build, const TeLearnOptions *options)
{
	set_normalizers(build, "{'type': 'Nmt'}, {'type': 'NFKC'}, {'type': 'Replace', 'pattern': {'Regex': ' {2,}'}, 'content': ' '}",
					options);
	te_build_set(build, build->pre_tokenizer,
				 "{'type': 'Metaspace', 'replacement': '\xe2\x96\x81', 'prepend_scheme': 'always', 'split': true}");
	te_build_set(build, build->decoder,
				 "{'type': 'Metaspace', 'replacement': '\xe2\x96\x81', 'prepend_scheme': 'always', 'split': true}");
	template_by_names(build, options);
}

/* <mask> takes the space before it, so that "a <mask>" is one word, as RoBERTa has it. */
void
te_learn_parts(TeTokenizerBuild *build, TeArena *arena, const TeLearnKind *kind, const TeLearnOptions *options)
{
	TeBuildAdded *added = te_new_array(arena, TeBuildAdded, (size_t) options->n_specials);

	for (int64_t i = 0; i < options->n_specials; i++)
		added[i] = (TeBuildAdded) {options->specials[i], i,.special = true,.lstrip = te_str_is(options->specials[i], "<mask>")};
	te_build_start(build, arena);
	te_build_added(build, added, (size_t) options->n_specials);
	kind->components(build, options);
}
