/*-------------------------------------------------------------------------
 * test_grammar.c
 *	  GBNF and choices: what they match, what is refused, and texts made of masks alone.
 *
 * Against a recogniser of the test's own, which reads the notation by itself and tries
 * everything (gbnf_oracle.h).
 *-------------------------------------------------------------------------
 */
#include "constraint_check.h"
#include "grammar_match.h"
#include "gbnf_oracle.h"

#include "model/grammar.h"

static const TeGrammar *
gbnf(TeArena *arena, const char *source)
{
	return te_grammar_from_gbnf(arena, te_str(source));
}

TEST(texts_of_grammars)
{
	static const struct
	{
		const char *grammar;
		const char *yes[8];
		const char *no[8];
	}			cases[] = {
		{"root ::= \"yes\" | \"no\"", {"yes", "no"}, {"", "y", "yesno", "nO"}},
		{"root ::= \"a\"* [b-d]+ \"e\"?", {"b", "aab", "dcbe", "ce"}, {"", "a", "ae", "abee", "e"}},
		{"root ::= (\"ab\" | \"c\"){2,3}", {"abab", "abcab", "cc"}, {"ab", "cccc", "abababab", ""}},
		{"root ::= \"x\"{3}", {"xxx"}, {"xx", "xxxx"}},
		{"root ::= \"x\"{2,} \"y\"{0}", {"xx", "xxxxxx"}, {"x", "xxy"}},
		{"root ::= [^a-y\\n]", {"z", "A", "é", "\xF0\x9F\x98\x80"}, {"a", "\n", "zz", "\xC3"}},
		{"root ::= .", {"a", "\n", "中"}, {"", "ab"}},
		{"root ::= \"\\x41\\u00e9\\U0001F600\\n\\\"\\\\\"", {"Aé\xF0\x9F\x98\x80\n\"\\"}, {"A", "Aé"}},
		{"root ::= item (\",\" item)* # a list\nitem ::= [0-9]+", {"1", "12,3", "1,2,3"}, {",", "1,", ""}},
		{"root ::=\n  \"a\" |\n # between\n  \"b\" | (\n \"c\"\n \"d\" )\n", {"a", "b", "cd"}, {"c", "ab"}},
		{"root ::= s\ns ::= \"(\" s \")\" s | \"\"", {"", "()", "(())()", "((()))"}, {"(", ")(", "(()"}},
		{"root ::= e\ne ::= t (\"+\" t)*\nt ::= f (\"*\" f)*\nf ::= \"x\" | \"(\" e \")\"", {"x", "x+x*(x+x)", "((x))"}, {"", "x+", "(x", "xx"}},
		{"root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"\"", {"", "ab", "aabc", "aaacbc"}, {"a", "abc", "aab"}},
		{"root ::= (\"a\"*)* (\"b\"?)+", {"", "aaa", "b", "abb"}, {"ba", "c"}},
		{"root ::= a b\na ::= \"x\"?\nb ::= \"y\" | a \"z\"", {"y", "xy", "z", "xz", "xxz"}, {"x", "xxy"}},
		{"root ::= [ -~]", {" ", "~", "-"}, {"\n", ""}},
		{"root ::= [a-]", {"a", "-"}, {"b"}},
		{"root ::= [\\[\\]]", {"[", "]"}, {"\\"}},
		{"root ::= [é-ö中-丰]+", {"é", "ö", "ë中", "丰"}, {"e", "÷", "\xC3"}},
		{"root::=\"a\"\r\nb ::= root", {"a"}, {"b"}},
		{"root ::= [\\u0800-\\uFFFF\\U00010000-\\U0010FFFF]", {"ࠀ", "\xEF\xBF\xBF", "\xF4\x8F\xBF\xBF"}, {"\xDF\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80"}},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
	{
		const TeGrammar *grammar = gbnf(arena, cases[i].grammar);
		Oracle	   *oracle = oracle_parse(arena, cases[i].grammar);

		for (size_t j = 0; j < 8 && cases[i].yes[j] != NULL; j++)
		{
			if (!grammar_matches(arena, grammar, te_str(cases[i].yes[j])) || !oracle_matches(oracle, te_str(cases[i].yes[j])))
				te_check(false, __FILE__, __LINE__, te_format(arena, "%s matches %s", cases[i].grammar, cases[i].yes[j]));
		}
		for (size_t j = 0; j < 8 && cases[i].no[j] != NULL; j++)
		{
			if (grammar_matches(arena, grammar, te_str(cases[i].no[j])) || oracle_matches(oracle, te_str(cases[i].no[j])))
				te_check(false, __FILE__, __LINE__, te_format(arena, "%s does not match %s", cases[i].grammar, cases[i].no[j]));
		}
	}
}

TEST(grammars_that_are_refused)
{
	static const struct
	{
		TeErrorCode code;
		const char *part;
		const char *grammar;
	}			cases[] = {
		{TE_ERR_INVALID, "no rule \"root\"", ""},
		{TE_ERR_INVALID, "no rule \"root\"", "a ::= \"x\""},
		{TE_ERR_INVALID, "line 2: rule \"b\" is not defined", "root ::= \"a\" |\n b"},
		{TE_ERR_INVALID, "line 3: rule \"a\" is defined already in line 2", "root ::= a\na ::= \"x\"\na ::= \"y\""},
		{TE_ERR_INVALID, "rule \"root\" (line 1) is left recursive", "root ::= root \"a\" | \"b\""},
		{TE_ERR_INVALID, "left recursive", "root ::= a \"x\" | \"b\"\na ::= \"y\"? b\nb ::= a | \"z\""},
		{TE_ERR_INVALID, "line 2", "root ::= \"a\"\nb := \"x\""},
		{TE_ERR_INVALID, "no text of this form", "root ::= \"a\" root"},
		{TE_ERR_INVALID, "rule \"b\" (line 2) never ends", "root ::= \"a\" | b\nb ::= \"x\" b"},
		{TE_ERR_INVALID, "no text of this form", "root ::= []"},
		{TE_ERR_INVALID, "line 1: \")\" is expected", "root ::= (\"a\""},
		{TE_ERR_INVALID, "within quotes", "root ::= \"a"},
		{TE_ERR_INVALID, "within quotes", "root ::= [a"},
		{TE_ERR_INVALID, "escape is not known", "root ::= \"\\q\""},
		{TE_ERR_INVALID, "no character of Unicode", "root ::= \"\\uD800\""},
		{TE_ERR_INVALID, "hexadecimal", "root ::= \"\\x4\""},
		{TE_ERR_INVALID, "ends before it begins", "root ::= [z-a]"},
		{TE_ERR_INVALID, "upper bound below", "root ::= \"a\"{3,2}"},
		{TE_ERR_INVALID, "number is expected", "root ::= \"a\"{,2}"},
		{TE_ERR_INVALID, "\"}\" is expected", "root ::= \"a\"{1"},
		{TE_ERR_INVALID, "not expected here", "root ::= \"a\" )"},
		{TE_ERR_INVALID, "valid UTF-8", "root ::= \"\xC3\""},
		{TE_ERR_TOO_LONG, "too large", "root ::= \"a\"{0,1000000}"},
		{TE_ERR_TOO_LONG, "bound above", "root ::= \"a\"{99999999999}"},
		{TE_ERR_TOO_LONG, "too large", "root ::= (((\"a\" \"b\"){1000} \"b\"){1000} \"b\"){200000}"},
		{TE_ERR_UNSUPPORTED, "tokens in a grammar", "root ::= <think>"},
	};
	TeStr		deep = {te_alloc(arena, 10000), 10000};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
		CHECK_THROWS_LIKE(cases[i].code, cases[i].part, gbnf(arena, cases[i].grammar));
	memset((char *) deep.data, '(', deep.len);
	memcpy((char *) deep.data, "root ::= ", 9);
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "nested too deeply", te_grammar_from_gbnf(arena, deep));
}

TEST(choices_match_themselves)
{
	static const TeStr texts[] = {TE_STR("red"), TE_STR("green"), TE_STR("re"), TE_STR("grün"), TE_STR("greenish"), TE_STR("é"), TE_STR("è"), TE_STR("red")};
	static const TeStr bad[] = {TE_STR("a"), TE_STR("\xff")};
	TeGrammar  *grammar = te_grammar_from_choices(arena, texts, TE_LENGTH(texts));

	for (size_t i = 0; i < TE_LENGTH(texts); i++)
		CHECK(grammar_matches(arena, grammar, texts[i]));
	CHECK(!grammar_matches(arena, grammar, TE_STR("")));
	CHECK(!grammar_matches(arena, grammar, TE_STR("r")));
	CHECK(!grammar_matches(arena, grammar, TE_STR("gre")));
	CHECK(!grammar_matches(arena, grammar, TE_STR("reds")));
	CHECK_THROWS(TE_ERR_INVALID, te_grammar_from_choices(arena, texts, 0));
	CHECK_THROWS(TE_ERR_INVALID, te_grammar_from_choices(arena, bad, 2));
}

/* Ambiguous ones have few states. */
TEST(ambiguity_costs_little)
{
	const TeGrammar *grammar = gbnf(arena, "root ::= s\ns ::= \"a\" s s | \"a\" s \"b\" | \"a\" s \"c\" | \"a\"");
	char	   *text = te_alloc(arena, 500);

	memset(text, 'a', 500);
	memset(text + 301, 'b', 100);
	CHECK(grammar_matches(arena, grammar, (TeStr) {text, 401}));
	text[400] = 'd';
	CHECK(!grammar_matches(arena, grammar, (TeStr) {text, 401}));
}

/* Random expressions over few characters, so that texts match by chance, too. */
static void
random_expr(TeBuffer *b, uint64_t seed, uint64_t *i, int depth, int n_rules)
{
	static const char *const atoms[] = {"\"a\"", "\"b\"", "\"ab\"", "[ab]", "[^a]", "\"é\"", "[à-ü]", "\"\"", "\"中\"", "."};
	static const char *const marks[] = {"*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}"};
	uint64_t	kind = te_random_below(seed, (*i)++, depth > 3 ? 5 : 10);

	if (kind < 5)
		te_buffer_add_str(b, atoms[te_random_below(seed, (*i)++, TE_LENGTH(atoms))]);
	else if (kind == 5)
	{
		char		name[] = "r0";

		name[1] = (char) ('0' + te_random_below(seed, (*i)++, (uint64_t) n_rules));
		te_buffer_add_str(b, name);
	}
	else
	{
		uint64_t	n = 1 + te_random_below(seed, (*i)++, 3);

		te_buffer_add_str(b, "(");
		for (uint64_t j = 0; j < n; j++)
		{
			if (j > 0)
				te_buffer_add_str(b, kind < 8 ? " " : " | ");
			random_expr(b, seed, i, depth + 1, n_rules);
		}
		te_buffer_add_str(b, ")");
	}
	if (te_random_below(seed, (*i)++, 3) == 0)
		te_buffer_add_str(b, marks[te_random_below(seed, (*i)++, TE_LENGTH(marks))]);
}

static const char *
random_grammar(TeArena *arena, uint64_t seed)
{
	TeBuffer	b;
	uint64_t	i = 0;
	int			n_rules = 1 + (int) te_random_below(seed, i++, 4);

	te_buffer_init(&b, arena);
	te_buffer_add_str(&b, "root ::= r0 r0?\n");
	for (int r = 0; r < n_rules; r++)
	{
		te_buffer_add_str(&b, te_format(arena, "r%d ::= ", r));
		random_expr(&b, seed, &i, 0, n_rules);
		te_buffer_add_str(&b, " | ");
		random_expr(&b, seed, &i, 3, n_rules);
		te_buffer_add_str(&b, "\n");
	}
	te_buffer_add(&b, "", 1);
	return b.data;
}

/* NULL where it is refused for a reason that a random grammar may have. */
static const TeGrammar *
compile_random(TeArena *arena, const char *source)
{
	const TeGrammar *volatile grammar = NULL;

	TE_TRY
	{
		grammar = gbnf(arena, source);
	}
	TE_CATCH
	{
		CHECK(strstr(te_std_error()->message, "left recursive") || strstr(te_std_error()->message, "never ends") ||
			  strstr(te_std_error()->message, "no text of this form"));
	}
	TE_END_TRY;
	return grammar;
}

TEST(random_grammars_against_the_oracle)
{
	static const char *const letters[] = {"a", "b", "é", "中", "\xC3", "c"};
	TeArena    *work = te_arena_create(arena, "work");
	int			n_grammars = 0;
	int			n_yes = 0;

	for (uint64_t seed = 0; seed < 1500; seed++)
	{
		const char *source;
		const TeGrammar *grammar;
		Oracle	   *oracle;

		te_arena_reset(work);
		source = random_grammar(work, seed);
		grammar = compile_random(work, source);
		if (grammar == NULL)
			continue;
		n_grammars++;
		oracle = oracle_parse(work, source);
		for (uint64_t t = 0; t < 12; t++)
		{
			TeBuffer	text;
			TeStr		s;
			bool		yes;

			te_buffer_init(&text, work);
			for (uint64_t k = te_random_below(seed, 1000 + t, 6); k > 0; k--)
				te_buffer_add_str(&text, letters[te_random_below(seed, 2000 + t * 10 + k, TE_LENGTH(letters))]);
			s = (TeStr) {text.data, text.len};
			yes = grammar_matches(work, grammar, s);
			n_yes += yes;
			if (yes != oracle_matches(oracle, s))
				te_check(false, __FILE__, __LINE__, te_format(work, "%s and the oracle agree on %.*s", source, TE_STR_ARGS(s)));
		}
	}
	CHECK(n_grammars > 500);
	CHECK(n_yes > 1000);
}

/* ---- tokens ---- */

/* Ids one after the other are their bytes one after the other. */
static void
check_decoding(TeArena *arena, const char *name, uint64_t seed)
{
	const TeTokenizer *tokenizer = load_tokenizer(arena, name);
	TeStr	   *texts = te_token_bytes(tokenizer, arena, false);
	TeStr	   *first = te_token_bytes(tokenizer, arena, true);
	uint64_t	n_vocab = (uint64_t) te_vocab_size(tokenizer);

	for (uint64_t i = 0; i < 300; i++)
	{
		TeBuffer	bytes;
		int32_t		ids[6];
		size_t		n = 0;

		te_buffer_init(&bytes, arena);
		for (uint64_t k = 0; n < TE_LENGTH(ids); k++)
		{
			int32_t		id = (int32_t) te_random_below(seed, i * 1000 + k, n_vocab);
			TeStr		text = (n == 0 ? first : texts)[id];

			CHECK(text.data == NULL || !te_token_special(tokenizer, id));
			if (text.data == NULL)
				continue;
			te_buffer_add(&bytes, text.data, text.len);
			ids[n++] = id;
		}
		if (te_utf8_valid((TeStr) {bytes.data, bytes.len}) &&
			!te_str_eq(te_decode(tokenizer, arena, ids, n, true), (TeStr) {bytes.data, bytes.len}))
			te_check(false, __FILE__, __LINE__, te_format(arena, "%s: the same as %.*s", name, (int) bytes.len, bytes.data));
	}
}

TEST(tokens_are_their_bytes)
{
	static const char *const names[] = {"bert", "bert_cased", "gpt2", "llama", "llama3", "o200k", "precompiled", "prefix", "roberta", "unigram",
	"unigram_first"};

	for (size_t i = 0; i < TE_LENGTH(names); i++)
		check_decoding(arena, names[i], i);
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "depends on those around it", te_token_bytes(load_tokenizer(arena, "clip"), arena, false));
}

/* ---- texts made of masks ---- */

static void
check_random(TeArena *arena, const Vocabulary *v, uint64_t from, uint64_t to)
{
	TeArena    *work = te_arena_create(arena, "work");
	int			n = 0;

	for (uint64_t seed = from; seed < to; seed++)
	{
		const char *source;
		const TeGrammar *grammar;
		Oracle	   *oracle;

		te_arena_reset(work);
		source = random_grammar(work, seed);
		grammar = compile_random(work, source);
		if (grammar == NULL)
			continue;
		oracle = oracle_parse(work, source);
		for (uint64_t slack = 0; slack < 4; slack++)
		{
			TeStr		text;

			if (!draw_text(work, grammar, v, slack * slack, seed * 7 + slack, &text))
				continue;
			n++;
			if (!oracle_matches(oracle, text))
				te_check(false, __FILE__, __LINE__, te_format(work, "%s matches %.*s", source, TE_STR_ARGS(text)));
		}
	}
	CHECK(n > (int) (to - from) / 4);
	te_arena_destroy(work);
}

TEST(drawn_texts_are_of_their_grammar)
{
	for (size_t i = 0; i < TE_LENGTH(vocabularies); i++)
	{
		Vocabulary	v = load_vocabulary(arena, vocabularies[i]);

		check_random(arena, &v, i * 1000, i * 1000 + 300);
	}
}

/* States pass the bound of memory many times; the row does not notice. */
TEST(memory_of_states_is_bounded)
{
	Vocabulary	v = load_vocabulary(arena, "gpt2");
	TeArena    *own = te_arena_create(arena, "constraint");
	TeConstraint *constraint = te_constraint_create(own, gbnf(arena, "root ::= [a-z]{8000} | [a-z ]{8000} \"!\""), v.tokens, &v.end, 1);
	TeConstraintState *state = te_constraint_begin(arena, constraint, false);
	uint64_t	allowed[64];
	size_t		n_words = (size_t) (v.end + 64) / 64;
	size_t		left = te_constraint_shortest(state);

	CHECK(left <= 8000 && n_words <= TE_LENGTH(allowed));
	for (size_t n = 0; n_words <= TE_LENGTH(allowed) && !te_constraint_finished(state); n++, left--)
	{
		te_constraint_mask(state, left, allowed);
		if (!CHECK(count_bits(allowed, n_words) > 0))
			break;
		te_constraint_accept(state, nth_bit(allowed, te_random_below(7, n, count_bits(allowed, n_words))));
	}
	CHECK(te_constraint_complete(state));
	CHECK_NEAR(te_arena_bytes(own), 0, 48 * 1024 * 1024);
}

/* Of the vocabularies that people use. */
TEST(drawn_texts_with_real_vocabularies)
{
	static const char *const paths[] = {"vocab-gguf/ggml-vocab-gpt-2.gguf", "vocab-gguf/ggml-vocab-llama-spm.gguf",
	"vocab-gguf/ggml-vocab-bert-bge.gguf"};

	for (size_t i = 0; i < TE_LENGTH(paths); i++)
	{
		Vocabulary	v;

		if (te_test_data(paths[i]) == NULL)
			SKIP("no test data");
		v = load_gguf_vocabulary(arena, te_test_data(paths[i]));
		check_random(arena, &v, 5000 + i * 100, 5000 + i * 100 + 20);
	}
}

TEST_MAIN()
