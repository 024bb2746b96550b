/*-------------------------------------------------------------------------
 * test_entities.c
 *	  Entities: those of the reference's pipeline, other schemes of tags, windows.
 *-------------------------------------------------------------------------
 */
#include "model_fixture.h"

static const char *const families[] = {"bert", "distilbert", "roberta", "mpnet", "albert", "electra", "modernbert"};

/* A token fixture with these labels. */
static TeModel *
tagging_model(TeArena *arena, const char *name, const TeStr *labels, int n)
{
	TeFolder	folder = fixture_folder(arena, name);

	return load_model(arena, te_import_folder(arena, &folder, &(TeImportOptions) {.n_labels = n,.labels = labels}));
}

static TeTagger *
start_tagger(TeArena *arena, const TeModel *model, TeJob **job)
{
	*job = te_job_create(te_session_create(arena, model, 0), "tag", NULL);
	return te_tagger_create(*job);
}

/* The byte at which character i begins. */
static uint32_t
byte_of(TeStr text, int64_t i)
{
	uint32_t	at = 0;

	for (; i > 0 && at < text.len; i--)
		at += (uint32_t) te_utf8_sequence(text.data + at, text.data + text.len);
	return at;
}

static bool
same_entity(TeStr text, const TeEntity *actual, const TeJson *expected)
{
	return te_str_eq(actual->label, te_json_str(expected, "label", ""))
		&& actual->start == byte_of(text, te_json_int(expected, "start", -1))
		&& actual->stop == byte_of(text, te_json_int(expected, "stop", -1))
		&& fabs(actual->score - te_json_real(expected, "score", -1)) <= 1e-5;
}

/* All texts of one set of labels in one job. */
static size_t
check_entities(TeArena *arena, const char *name, const TeJson *set)
{
	const TeJson *names = te_json_get(set, "labels");
	const TeJson *texts = te_json_get(set, "texts");
	TeStr	   *labels = te_new_array(arena, TeStr, names->n);
	size_t		found = 0;
	TeJob	   *job;
	TeTagger   *tagger;

	for (uint32_t i = 0; i < names->n; i++)
		labels[i] = names->items[i].string;
	tagger = start_tagger(arena, tagging_model(arena, name, labels, (int) names->n), &job);
	for (uint32_t i = 0; i < texts->n; i++)
		CHECK(te_tagger_feed(tagger, te_json_str(&texts->items[i], "text", "")) == i);
	te_job_run(job);
	for (uint32_t i = 0; i < texts->n; i++)
	{
		TeStr		text = te_json_str(&texts->items[i], "text", "");
		const TeJson *expected = te_json_get(&texts->items[i], "entities");
		size_t		n;
		const TeEntity *entities = te_tagger_entities(tagger, i, &n);
		bool		same = n == expected->n;

		for (size_t j = 0; j < n && same; j++)
			same = same_entity(text, &entities[j], &expected->items[j]);
		if (!CHECK(same))
			fprintf(stderr, "  %s, labels %.*s ..., text %u\n", name, TE_STR_ARGS(labels[0]), i);
		found += n;
	}
	return found;
}

TEST(entities_are_the_references)
{
	for (size_t f = 0; f < TE_LENGTH(families); f++)
	{
		const char *name = te_format(arena, "token-%s", families[f]);
		TeFolder	folder = fixture_folder(arena, name);
		const TeJson *sets = te_json_get(fixture_json(arena, &folder, "expected.json"), "entities");

		CHECK(sets->n >= 3);
		for (uint32_t i = 0; i < sets->n; i++)
			CHECK(check_entities(arena, name, &sets->items[i]) > 15);
	}
}

/* "label:text|label:text|..." */
static const char *
spans(TeArena *arena, const char *name, const char *const names[5], TeStr text)
{
	TeStr		labels[5];
	TeJob	   *job;
	TeTagger   *tagger;
	size_t		n;
	const TeEntity *entities;
	const char *result = "";

	for (int i = 0; i < 5; i++)
		labels[i] = te_str(names[i]);
	tagger = start_tagger(arena, tagging_model(arena, name, labels, 5), &job);
	te_tagger_feed(tagger, text);
	te_job_run(job);
	entities = te_tagger_entities(tagger, 0, &n);
	for (size_t i = 0; i < n; i++)
		result = te_format(arena, "%s%.*s:%.*s|", result, TE_STR_ARGS(entities[i].label),
						   (int) (entities[i].stop - entities[i].start), text.data + entities[i].start);
	return result;
}

/*
 * What the weights, which are random, make of the pieces of two texts, as numbers of labels:
 *
 *	  modernbert	The 1, sm 0, ell of bre 4, a 1, d 2, fill 4, s 2, the 4, st 1, re 2, et . 4
 *	  distilbert	brea 2, d 1, an 2, d 1, w 3, at 2, er 0
 */
#define MODERN "token-modernbert"
#define DISTIL "token-distilbert"

TEST(pieces_have_these_labels)
{
	static const char *const bare[5] = {"a", "b", "c", "d", "e"};

	CHECK_STR(te_str(spans(arena, MODERN, bare, TE_STR("The smell of bread fills the street."))),
			  "b:The|a:sm|e:ell of bre|b:a|c:d|e:fill|c:s|e:the|b:st|c:re|e:et.|");
	CHECK_STR(te_str(spans(arena, DISTIL, bare, TE_STR("bread and water"))), "c:brea|b:d|c:an|b:d|d:w|c:at|a:er|");
}

TEST(entities_end)
{
	static const char *const bioes[5] = {"O", "B-X", "E-X", "E-Y", "I-X"};
	static const char *const bilou[5] = {"O", "B-X", "L-X", "U-X", "I-X"};

	CHECK_STR(te_str(spans(arena, MODERN, bioes, TE_STR("The smell of bread fills the street."))),
			  "X:The|X:ell of bre|X:ad|X:fills|X:the|X:street.|");
	CHECK_STR(te_str(spans(arena, MODERN, bilou, TE_STR("The smell of bread fills the street."))),
			  "X:The|X:ell of bre|X:ad|X:fills|X:the|X:street.|");
}

TEST(entities_are_single_words)
{
	static const char *const bioes[5] = {"B-Y", "I-X", "S-X", "M-X", "O"};
	static const char *const bilou[5] = {"B-Y", "I-X", "U-X", "O", "O"};

	CHECK_STR(te_str(spans(arena, DISTIL, bioes, TE_STR("bread and water"))), "X:bread|X:and wat|Y:er|");
	CHECK_STR(te_str(spans(arena, DISTIL, bilou, TE_STR("bread and water"))), "X:bread|X:and|X:at|Y:er|");
}

TEST(bare_labels_may_look_like_tags)
{
	static const char *const labels[5] = {"E-mail", "B-X", "S-Bahn", "I-X", "O"};
	static const char *const nothing[5] = {"O", "B-O", "I-O", "O", "I-O"};

	CHECK_STR(te_str(spans(arena, MODERN, labels, TE_STR("The smell of bread fills the street."))),
			  "X:The|E-mail:sm|X:a|S-Bahn:d|S-Bahn:s|X:st|S-Bahn:re|");
	CHECK_STR(te_str(spans(arena, MODERN, nothing, TE_STR("The smell of bread fills the street."))), "");
}

TEST(nothing_is_found_in_nothing)
{
	static const char *const labels[5] = {"X", "X", "X", "X", "X"};

	CHECK_STR(te_str(spans(arena, MODERN, labels, TE_STR(""))), "");
	CHECK_STR(te_str(spans(arena, MODERN, labels, TE_STR(" \n\t "))), "");
	CHECK_STR(te_str(spans(arena, MODERN, labels, TE_STR("  a \n"))), "X:a|");
}

/* ---- windows ---- */

#define ROOM 30					/* a fixture's context without the special tokens */
#define STEP 23					/* with the overlap of a quarter taken off */

/* Words of one letter, which are a token each: "a b c ... a b c". */
static TeStr
letters(TeArena *arena, int n)
{
	char	   *text = te_alloc(arena, (size_t) n * 2);

	for (int i = 0; i < n; i++)
	{
		text[2 * i] = (char) ('a' + (i * i + i / 7) % 26);
		text[2 * i + 1] = ' ';
	}
	return (TeStr) {text, (size_t) n * 2 - 1};
}

/* The label of each letter, as the entities of a text say. */
static char *
labels_of_letters(TeArena *arena, const TeModel *model, TeStr text)
{
	TeJob	   *job;
	TeTagger   *tagger = start_tagger(arena, model, &job);
	char	   *labels = te_alloc0(arena, text.len / 2 + 2);
	const TeEntity *entities;
	size_t		n;

	te_tagger_feed(tagger, text);
	te_job_run(job);
	entities = te_tagger_entities(tagger, 0, &n);
	for (size_t i = 0; i < n; i++)
	{
		CHECK(entities[i].stop <= text.len && (i == 0 || entities[i].start > entities[i - 1].stop));
		for (uint32_t at = entities[i].start; at < entities[i].stop; at += 2)
			labels[at / 2] = entities[i].label.data[0];
	}
	return labels;
}

/* Each letter has the label that it has in the window whose edge is further away. */
static void
check_windows(TeArena *arena, const TeModel *model, int n)
{
	TeStr		text = letters(arena, n);
	char	   *actual = labels_of_letters(arena, model, text);
	int			start = 0;
	int			done = 0;

	while (done < n)
	{
		int			size = TE_MIN(ROOM, n);
		int			next = TE_MIN(start + STEP, n - size);
		int			end = start + size >= n ? n : (start + size + next) / 2;
		char	   *window = labels_of_letters(arena, model, (TeStr) {text.data + 2 * start, (size_t) size * 2 - 1});

		if (!CHECK(memcmp(actual + done, window + done - start, end - done) == 0))
			fprintf(stderr, "  %d letters, window from %d\n", n, start);
		done = end;
		start = next;
	}
}

TEST(long_texts_go_in_windows)
{
	static const int sizes[] = {1, ROOM - 1, ROOM, ROOM + 1, ROOM + STEP, ROOM + STEP + 1, 500};
	TeStr		labels[5] = {TE_STR("a"), TE_STR("b"), TE_STR("c"), TE_STR("d"), TE_STR("e")};

	for (size_t f = 0; f < TE_LENGTH(families); f++)
	{
		TeModel    *model = tagging_model(arena, te_format(arena, "token-%s", families[f]), labels, 5);

		/* byte-level: a space may be a token of its own */
		if (strcmp(families[f], "roberta") == 0)
			continue;
		for (size_t i = 0; i < TE_LENGTH(sizes); i++)
			check_windows(arena, model, sizes[i]);
	}
}

TEST(entities_across_windows_are_one)
{
	TeStr		labels[5] = {TE_STR("X"), TE_STR("X"), TE_STR("X"), TE_STR("X"), TE_STR("X")};

	for (size_t f = 0; f < TE_LENGTH(families); f++)
	{
		TeJob	   *job;
		TeTagger   *tagger = start_tagger(arena, tagging_model(arena, te_format(arena, "token-%s", families[f]), labels, 5), &job);
		TeStr		text = letters(arena, 2000);
		size_t		n;
		const TeEntity *entities;

		te_tagger_feed(tagger, text);
		te_tagger_feed(tagger, TE_STR("a"));
		te_job_run(job);
		entities = te_tagger_entities(tagger, 0, &n);
		CHECK(n == 1 && entities[0].start == 0 && entities[0].stop == text.len && entities[0].score > 0.2f);
		entities = te_tagger_entities(tagger, 1, &n);
		CHECK(n == 1 && entities[0].stop == 1);
	}
}

/*
 * A tokenizer that puts several characters for one stretch of text, the first
 * of them white space, has offsets that go back once white space is left out.
 */
static TeModel *
going_back_model(TeArena *arena)
{
	TeFolder	folder = fixture_folder(arena, "token-roberta");
	TeSource   *files = te_new_array(arena, TeSource, folder.n_files);
	TeFolder	changed = {.name = folder.name,.n_files = folder.n_files,.files = files};
	TeStr		labels[5] = {TE_STR("B-A"), TE_STR("B-B"), TE_STR("B-C"), TE_STR("B-D"), TE_STR("B-E")};
	static const char none[] = "\"normalizer\": null";
	const char *text = te_cstring(arena, te_source_whole(arena, te_folder_find(&folder, "tokenizer.json"), SIZE_MAX));
	const char *place = strstr(text, none);
	const char *json = te_format(arena, "%.*s%s%s", (int) (place - text), text,
								 "\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"QQQQQ\"}, \"content\": \"  Zq\"}",
								 place + strlen(none));

	for (int i = 0; i < folder.n_files; i++)
		files[i] = strcmp(folder.files[i].name, "tokenizer.json") == 0
			? te_source_memory("tokenizer.json", json, strlen(json)) : folder.files[i];
	return load_model(arena, te_import_folder(arena, &changed, &(TeImportOptions) {.n_labels = 5,.labels = labels}));
}

TEST(entities_are_in_order_where_offsets_are_not)
{
	TeStr		text = TE_STR("a QQQQQ bQQQQQ");
	TeJob	   *job;
	TeTagger   *tagger = start_tagger(arena, going_back_model(arena), &job);
	size_t		n_tokens;
	TeToken    *tokens = te_encode_alloc(te_model_tokenizer(te_job_model(job)), arena, text, (TeStr) {NULL, 0}, false, 0,
										 &n_tokens, NULL);
	bool		back = false;
	size_t		n;
	const TeEntity *entities;

	for (size_t i = 1; i < n_tokens; i++)
		back |= tokens[i].start < tokens[i - 1].start;
	CHECK(back);
	te_tagger_feed(tagger, text);
	te_job_run(job);
	entities = te_tagger_entities(tagger, 0, &n);
	CHECK(n > 3);
	for (size_t i = 0; i < n; i++)
		CHECK(entities[i].start < entities[i].stop && entities[i].stop <= text.len
			  && (i == 0 || entities[i].start >= entities[i - 1].start));
}

TEST(other_models_find_no_entities)
{
	static const struct
	{
		const char *name;
		const char *message;
	}			others[] = {
		{"answer-bert", "finds no entities"},
		{"classify-bert", "gives tokens no labels"},
		{"bert", "gives tokens no labels"},
	};

	for (size_t i = 0; i < TE_LENGTH(others); i++)
	{
		TeFolder	folder = fixture_folder(arena, others[i].name);
		TeModel    *model = load_model(arena, te_import_folder(arena, &folder, NULL));
		TeSession  *session = te_session_create(arena, model, 0);

		CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, others[i].message,
						  te_tagger_create(te_job_create(session, "tag", NULL)));
	}
}

TEST_MAIN()
