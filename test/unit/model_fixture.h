/*-------------------------------------------------------------------------
 * model_fixture.h
 *	  What the tests of models share: fixtures, images, folders in memory.
 *-------------------------------------------------------------------------
 */
#ifndef TE_MODEL_FIXTURE_H
#define TE_MODEL_FIXTURE_H

#include "harness.h"

#include "model/model.h"

/* Importing a fixture says much that is right; te_std_last_report() has it all the same. */
__attribute__((constructor)) static void
be_quiet(void)
{
	te_std_quiet(true);
}

/* The folders of models/fixtures that make_arch.py makes. */
static const char *const fixture_names[] = {"bert", "distilbert", "roberta", "xlm-roberta", "mpnet", "modernbert", "nomic-bert",
	"albert", "electra", "deberta-v2", "deberta-v3", "albert-inner", "electra-equal"};

/* The families of fixtures "<task>-<family>" that make_heads.py and make_decoders_norm.py make. */
static const char *const head_families[] = {"bert", "distilbert", "roberta", "mpnet", "albert", "electra", "modernbert",
	"deberta", "deberta-v3", "nomic", "gpt2", "neox", "phi", "mpt"};

typedef struct Fixture
{
	TeFolder	folder;
	TeModelDef *def;
	const TeJson *expected;		/* expected.json */
} Fixture;

/* Is there a fixture of that name? */
__attribute__((unused)) static bool
has_fixture(TeArena *arena, const char *name)
{
	FILE	   *file = fopen(te_format(arena, "%s/fixtures/%s/expected.json", TE_TEST_MODELS, name), "r");

	if (file != NULL)
		fclose(file);
	return file != NULL;
}

__attribute__((unused)) static TeFolder
fixture_folder(TeArena *arena, const char *name)
{
	return te_std_folder(arena, te_format(arena, "%s/fixtures/%s", TE_TEST_MODELS, name));
}

__attribute__((unused)) static const TeJson *
fixture_json(TeArena *arena, const TeFolder *folder, const char *name)
{
	return te_json_parse(arena, te_source_whole(arena, te_folder_find(folder, name), SIZE_MAX), name);
}

/* Imported as `quantization`, or as it is where that is NULL. */
__attribute__((unused)) static Fixture *
fixture_load(TeArena *arena, const char *name, const char *quantization)
{
	Fixture    *fixture = te_new(arena, Fixture);
	TeImportOptions options = {0};

	if (quantization != NULL)
		options.quantization = te_str(quantization);
	fixture->folder = fixture_folder(arena, name);
	fixture->expected = fixture_json(arena, &fixture->folder, "expected.json");
	fixture->def = te_import_folder(arena, &fixture->folder, &options);
	return fixture;
}

static const uint8_t fixture_digest[32] = {1, 2, 3};

__attribute__((unused)) static void *
build_image(TeArena *arena, const TeModelDef *def, uint64_t *bytes)
{
	TeImagePlan *plan = te_image_plan(arena, def, fixture_digest, bytes);
	void	   *image = te_alloc0(arena, *bytes);

	te_image_build(arena, plan, image);
	return image;
}

__attribute__((unused)) static TeModel *
load_model(TeArena *arena, const TeModelDef *def)
{
	uint64_t	bytes;
	void	   *image = build_image(arena, def, &bytes);

	return te_model_attach(arena, image, bytes);
}

/* The vector of one text in a session of its own. */
__attribute__((unused)) static const float *
embed_one(TeArena *arena, const TeModel *model, TeStr text, const char *kind, int *n)
{
	TeSession  *session = te_session_create(arena, model, 0);
	TeJobOptions options = {0};
	TeJob	   *job;

	if (kind != NULL)
		options.kind = te_str(kind);
	te_session_set_truncate(session, TE_TRUNCATE_CUT);
	job = te_job_create(session, "embed", &options);
	te_job_feed(job, text, (TeStr) {NULL, 0});
	te_job_run(job);
	return te_job_vector(job, 0, n);
}

__attribute__((unused)) static double
cosine(const float *a, const float *b, int n)
{
	double		ab = 0;
	double		aa = 0;
	double		bb = 0;

	for (int i = 0; i < n; i++)
	{
		ab += (double) a[i] * b[i];
		aa += (double) a[i] * a[i];
		bb += (double) b[i] * b[i];
	}
	return ab / sqrt(aa * bb);
}

/* Bit for bit.  n by reference, since the calls that set it are arguments too. */
__attribute__((unused)) static bool
same_vector(const float *a, const float *b, const int *n)
{
	return memcmp(a, b, *n * sizeof(float)) == 0;
}

/* Numbers of an array. */
__attribute__((unused)) static float *
json_floats(TeArena *arena, const TeJson *list)
{
	float	   *values = te_new_array(arena, float, list->n);

	for (uint32_t i = 0; i < list->n; i++)
		values[i] = list->items[i].kind == TE_JSON_INTEGER ? (float) list->items[i].integer : (float) list->items[i].real;
	return values;
}

/* ---- a folder in memory, written and then read ---- */

#define MAX_MEMORY_FILES 32

typedef struct MemoryFolder
{
	TeFolderSink sink;
	TeArena    *arena;
	TeBuffer	buffers[MAX_MEMORY_FILES];
	TeSink		sinks[MAX_MEMORY_FILES];
	TeSource	sources[MAX_MEMORY_FILES];
	const char *names[MAX_MEMORY_FILES];
	int			n;
} MemoryFolder;

static TeSink *
memory_open(TeFolderSink *sink, const char *path)
{
	MemoryFolder *folder = sink->host;
	int			i = folder->n++;

	te_assert(folder->n <= MAX_MEMORY_FILES);
	folder->names[i] = te_format(folder->arena, "%s", path);
	te_buffer_init(&folder->buffers[i], folder->arena);
	folder->sinks[i] = te_sink_buffer(&folder->buffers[i]);
	return &folder->sinks[i];
}

static void
memory_close(TeFolderSink *sink, TeSink *file)
{
}

__attribute__((unused)) static MemoryFolder *
memory_folder(TeArena *arena)
{
	MemoryFolder *folder = te_new(arena, MemoryFolder);

	folder->arena = arena;
	folder->sink.open = memory_open;
	folder->sink.close = memory_close;
	folder->sink.host = folder;
	return folder;
}

__attribute__((unused)) static TeFolder
memory_folder_read(MemoryFolder *folder)
{
	for (int i = 0; i < folder->n; i++)
		folder->sources[i] = te_source_memory(folder->names[i], folder->buffers[i].data, folder->buffers[i].len);
	return (TeFolder) {"memory", folder->n, folder->sources};
}

__attribute__((unused)) static void
memory_folder_add(MemoryFolder *folder, const char *name, TeStr content)
{
	te_sink_write(memory_open(&folder->sink, name), content.data, content.len);
}

/* A copy of a folder; `without` (or NULL) is left out. */
__attribute__((unused)) static MemoryFolder *
memory_folder_copy(TeArena *arena, const TeFolder *from, const char *without)
{
	MemoryFolder *folder = memory_folder(arena);

	for (int i = 0; i < from->n_files; i++)
	{
		if (strcmp(from->files[i].name, "expected.json") != 0
			&& (without == NULL || strcmp(from->files[i].name, without) != 0))
			memory_folder_add(folder, from->files[i].name, te_source_whole(arena, &from->files[i], SIZE_MAX));
	}
	return folder;
}

/* ---- GGUF files in memory ---- */

/* A model as a GGUF file. */
__attribute__((unused)) static TeSource *
exported_gguf(TeArena *arena, const TeModelDef *def)
{
	TeSource   *source = te_new(arena, TeSource);
	TeBuffer	buffer;
	TeSink		sink;

	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_export_gguf(arena, def, "test", &sink);
	*source = te_source_memory("test.gguf", buffer.data, buffer.len);
	return source;
}

/* An exported file without our keys: what llama.cpp's converter writes, more or less. */
__attribute__((unused)) static TeSource *
foreign_gguf(TeArena *arena, const TeModelDef *def, const char *architecture)
{
	TeJson	   *meta = te_json_new_object(arena);
	TeSource   *source = te_new(arena, TeSource);
	TeModelFile file;
	TeBuffer	buffer;
	TeSink		sink;

	te_gguf_read(arena, exported_gguf(arena, def), &file);
	for (uint32_t i = 0; i < file.meta->n; i++)
	{
		TeStr		key = file.meta->items[i].key;

		if (!te_str_starts(key, "transformer.") && !te_str_is(key, "tokenizer.huggingface.json"))
			te_json_set_copy(arena, te_json_add(arena, meta, te_cstring(arena, key)), &file.meta->items[i]);
	}
	te_json_set_str(te_json_add(arena, meta, "general.architecture"), te_str(architecture));
	file.meta = meta;
	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_gguf_write(arena, &file, &sink);
	*source = te_source_memory("foreign.gguf", buffer.data, buffer.len);
	return source;
}

#endif							/* TE_MODEL_FIXTURE_H */
