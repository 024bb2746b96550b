/*-------------------------------------------------------------------------
 * test_file.c
 *	  GGUF and safetensors: files of the reference writers, round trips, and
 *	  files that are damaged in every way that can be thought of.
 *
 * data/tiny.gguf and data/tiny.safetensors are made by make_data.py.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "file/file.h"

#define TINY_GGUF TE_TEST_DIR "/unit/data/tiny.gguf"
#define TINY_SAFETENSORS TE_TEST_DIR "/unit/data/tiny.safetensors"

typedef void (*ReadFunction) (TeArena *arena, const TeSource *source, TeModelFile *file);
typedef void (*WriteFunction) (TeArena *scratch, const TeModelFile *file, TeSink *sink);

static TeSource *
new_source(TeArena *arena, TeSource source)
{
	TeSource   *copy = te_new(arena, TeSource);

	*copy = source;
	return copy;
}

static TeStr
whole_file(TeArena *arena, const char *path)
{
	TeSource	source = te_std_file(arena, path);

	return te_source_whole(arena, &source, 1 << 20);
}

static TeModelFile
read_bytes(TeArena *arena, ReadFunction read, TeStr bytes)
{
	TeModelFile file;

	read(arena, new_source(arena, te_source_memory("test file", bytes.data, bytes.len)), &file);
	return file;
}

static TeStr
write_file(TeArena *arena, WriteFunction write, const TeModelFile *file)
{
	TeBuffer   *buffer = te_new(arena, TeBuffer);
	TeSink		sink;

	te_buffer_init(buffer, arena);
	sink = te_sink_buffer(buffer);
	write(arena, file, &sink);
	CHECK(sink.written == buffer->len);
	return (TeStr) {buffer->data, buffer->len};
}

static const void *
tensor_data(TeArena *arena, const TeTensorInfo *tensor)
{
	void	   *data = te_alloc(arena, (size_t) tensor->bytes);

	te_source_read(tensor->source, tensor->offset, data, (size_t) tensor->bytes);
	return data;
}

/* Same tensors, whatever their order. */
static void
check_same_tensors(TeArena *arena, const TeModelFile *a, const TeModelFile *b)
{
	CHECK(a->tensors.n == b->tensors.n);
	for (size_t i = 0; i < a->tensors.n; i++)
	{
		const TeTensorInfo *x = &a->tensors.tensors[i];
		const TeTensorInfo *y = te_tensor_find(&b->tensors, x->name);

		if (!CHECK(y != NULL && x->dtype == y->dtype && x->n_dims == y->n_dims && x->bytes == y->bytes))
			continue;
		CHECK(memcmp(x->dims, y->dims, (size_t) x->n_dims * sizeof(x->dims[0])) == 0);
		CHECK(memcmp(tensor_data(arena, x), tensor_data(arena, y), (size_t) x->bytes) == 0);
	}
}

static const char *
json_text(TeArena *arena, const TeJson *json)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, arena);
	te_json_write(&buffer, json, 0);
	te_buffer_add(&buffer, "", 1);
	return buffer.data;
}

TEST(gguf_of_the_reference)
{
	TeModelFile file = read_bytes(arena, te_gguf_read, whole_file(arena, TINY_GGUF));
	const TeTensorInfo *half = te_tensor_find(&file.tensors, TE_STR("half"));
	const TeTensorInfo *quantized = te_tensor_find(&file.tensors, TE_STR("quantized"));
	const TeTensorInfo *vector = te_tensor_find(&file.tensors, TE_STR("vector"));

	CHECK_STR(te_json_str(file.meta, "general.architecture", NULL), "bert");
	CHECK(te_json_int(file.meta, "value.u8", 0) == 200 && te_json_int(file.meta, "value.i8", 0) == -100);
	CHECK(te_json_int(file.meta, "value.u16", 0) == 60000 && te_json_int(file.meta, "value.i16", 0) == -30000);
	CHECK(te_json_int(file.meta, "value.u32", 0) == 4000000000 && te_json_int(file.meta, "value.i32", 0) == -2000000000);
	CHECK(te_json_real(file.meta, "value.f32", 0) == 0.5 && te_json_real(file.meta, "value.f64", 0) == 0.1);
	CHECK(te_json_bool(file.meta, "value.bool", false));
	CHECK_STR(te_json_str(file.meta, "value.string", NULL), "h\xc3\xa9llo \xf0\x9f\x98\x80");
	CHECK(te_json_real(file.meta, "value.u64", 0) == 0x1p63 + 0x1p20);
	CHECK(te_json_int(file.meta, "value.i64", 0) == -(INT64_C(1) << 62));
	CHECK_STR(te_str(json_text(arena, te_json_get(file.meta, "array.strings"))), "[\"a\",\"\",\"\xe4\xb8\xad\xe6\x96\x87\"]");
	CHECK_STR(te_str(json_text(arena, te_json_get(file.meta, "array.floats"))), "[1.5,-2.5]");
	CHECK_STR(te_str(json_text(arena, te_json_get(file.meta, "array.nested"))), "[[1,2],[3]]");

	CHECK(file.tensors.n == 4);
	CHECK(half->dtype == TE_F16 && half->n_dims == 3 && half->dims[0] == 2 && half->dims[1] == 3 && half->dims[2] == 4);
	CHECK(quantized->dtype == TE_Q8_0 && quantized->dims[0] == 4 && quantized->dims[1] == 64 && quantized->bytes == 4 * 68);
	CHECK(vector->dtype == TE_I32 && ((const int32_t *) tensor_data(arena, vector))[6] == 6);
}

TEST(safetensors_of_the_reference)
{
	TeModelFile file = read_bytes(arena, te_safetensors_read, whole_file(arena, TINY_SAFETENSORS));
	const TeTensorInfo *scalar = te_tensor_find(&file.tensors, TE_STR("scalar"));
	const TeTensorInfo *empty = te_tensor_find(&file.tensors, TE_STR("empty"));
	const TeTensorInfo *ids = te_tensor_find(&file.tensors, TE_STR("ids"));
	const TeTensorInfo *two = te_tensor_find(&file.tensors, TE_STR("double"));

	CHECK_STR(te_json_str(file.meta, "note", NULL), "h\xc3\xa9llo");
	CHECK(file.tensors.n == 7);
	CHECK(scalar->n_dims == 0 && *(const float *) tensor_data(arena, scalar) == 2.5f);
	CHECK(empty->bytes == 0 && empty->dims[1] == 4);
	CHECK(ids->dtype == TE_I64 && ((const int64_t *) tensor_data(arena, ids))[5] == 5);
	CHECK(((const double *) tensor_data(arena, two))[1] == 1e300);
}

TEST(round_trips)
{
	TeModelFile gguf = read_bytes(arena, te_gguf_read, whole_file(arena, TINY_GGUF));
	TeModelFile safetensors = read_bytes(arena, te_safetensors_read, whole_file(arena, TINY_SAFETENSORS));
	TeStr		bytes = write_file(arena, te_gguf_write, &gguf);
	TeModelFile back = read_bytes(arena, te_gguf_read, bytes);

	check_same_tensors(arena, &gguf, &back);
	for (uint32_t i = 0; i < gguf.meta->n; i++)
	{
		const TeJson *a = &gguf.meta->items[i];
		const TeJson *b = &back.meta->items[i];

		CHECK(te_str_eq(a->key, b->key) && a->kind == b->kind);
		if (!te_str_is(a->key, "value.f64"))	/* reals are written as f32 */
			CHECK_STR(te_str(json_text(arena, a)), json_text(arena, b));
	}
	CHECK(te_str_eq(bytes, write_file(arena, te_gguf_write, &back)) || te_json_get(gguf.meta, "value.f64") != NULL);

	bytes = write_file(arena, te_safetensors_write, &safetensors);
	back = read_bytes(arena, te_safetensors_read, bytes);
	check_same_tensors(arena, &safetensors, &back);
	CHECK_STR(te_str(json_text(arena, back.meta)), json_text(arena, safetensors.meta));
	for (size_t i = 0; i < back.tensors.n; i++)
		CHECK(back.tensors.tensors[i].offset % (uint64_t) te_dtypes[back.tensors.tensors[i].dtype].block_bytes == 0);
	CHECK(te_str_eq(bytes, write_file(arena, te_safetensors_write, &back)));

	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "\"quantized\"", write_file(arena, te_safetensors_write, &gguf));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "\"mask\"", write_file(arena, te_gguf_write, &safetensors));
}

TEST(gguf_types_of_written_metadata)
{
	static const char text[] = "{\"small\":1,\"negative\":-1,\"wide\":5000000000,\"real\":0.5,\"huge\":1e300,\"nothing\":null,"
		"\"ints\":[1,-1],\"wides\":[1,5000000000],\"mixed\":[1,2.5],\"bools\":[true,false],\"none\":[],"
		"\"nested\":[[1],[\"a\"]],\"tokenizer.ggml.precompiled_charsmap\":[1,255]}";
	TeModelFile file = {.meta = te_json_parse(arena, TE_STR(text), "test")};
	TeStr		bytes = write_file(arena, te_gguf_write, &file);
	TeModelFile back = read_bytes(arena, te_gguf_read, bytes);

	CHECK_STR(te_str(json_text(arena, back.meta)),
			  "{\"small\":1,\"negative\":-1,\"wide\":5000000000,\"real\":0.5,\"huge\":1e+300,"
			  "\"ints\":[1,-1],\"wides\":[1,5000000000],\"mixed\":[1.0,2.5],\"bools\":[true,false],\"none\":[],"
			  "\"nested\":[[1],[\"a\"]],\"tokenizer.ggml.precompiled_charsmap\":[1,255]}");
	CHECK(memcmp(bytes.data + 24 + 8 + 5, "\4\0\0\0\1\0\0\0", 8) == 0);	/* "small" is u32 */

	file.meta = te_json_parse(arena, TE_STR("{\"bad\":[1,\"a\"]}"), "test");
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "\"bad\"", write_file(arena, te_gguf_write, &file));
	file.meta = te_json_parse(arena, TE_STR("{\"bad\":{}}"), "test");
	CHECK_THROWS_LIKE(TE_ERR_INVALID, "\"bad\"", write_file(arena, te_gguf_write, &file));
}

/* Read damaged bytes: any error but an internal one, or none. */
static void
read_damaged(TeArena *arena, ReadFunction read, TeStr bytes)
{
	TeArena    *own = te_arena_create(arena, "damaged");

	TE_TRY
	{
		read_bytes(own, read, bytes);
	}
	TE_CATCH
	{
		TeErrorCode code = te_std_error()->code;

		CHECK(code == TE_ERR_CORRUPT || code == TE_ERR_UNSUPPORTED);
	}
	TE_END_TRY;
	CHECK(te_arena_bytes(own) < 2000000);
	te_arena_destroy(own);
}

/* needed: the length without padding at the end. */
static void
damage_in_every_way(TeArena *arena, ReadFunction read, TeStr good, size_t needed)
{
	char	   *bytes = te_alloc(arena, good.len);

	for (size_t len = 0; len < needed; len++)
	{
		/* a copy of just that length, so that an overrun is seen */
		TeArena    *own = te_arena_create(arena, "truncated");

		CHECK_THROWS(TE_ERR_CORRUPT, read_bytes(own, read, te_str_copy(own, (TeStr) {good.data, len})));
		te_arena_destroy(own);
	}
	for (size_t at = 0; at < good.len; at++)
	{
		static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff};

		memcpy(bytes, good.data, good.len);
		for (size_t i = 0; i < TE_LENGTH(values); i++)
		{
			bytes[at] = (char) values[i];
			read_damaged(arena, read, (TeStr) {bytes, good.len});
		}
		memset(bytes + at, 0xff, TE_MIN((size_t) 8, good.len - at));
		read_damaged(arena, read, (TeStr) {bytes, good.len});
	}
}

TEST(damaged_files_give_errors)
{
	TeStr		gguf = whole_file(arena, TINY_GGUF);
	TeStr		safetensors = whole_file(arena, TINY_SAFETENSORS);
	TeModelFile file = read_bytes(arena, te_gguf_read, gguf);
	const TeTensorInfo *last = te_tensor_find(&file.tensors, TE_STR("vector"));

	damage_in_every_way(arena, te_gguf_read, gguf, (size_t) (last->offset + last->bytes));
	damage_in_every_way(arena, te_safetensors_read, safetensors, safetensors.len);
}

/* A safetensors file of a header and some bytes of data. */
static TeStr
safetensors_bytes(TeArena *arena, const char *header, size_t data)
{
	TeBuffer	out;
	uint64_t	len = strlen(header);

	te_buffer_init(&out, arena);
	te_buffer_add(&out, &len, sizeof(len));
	te_buffer_add_str(&out, header);
	memset(te_buffer_extend(&out, data), 0, data);
	return (TeStr) {out.data, out.len};
}

TEST(safetensors_headers_are_checked)
{
	static const struct
	{
		const char *header;
		size_t		data;
		TeErrorCode code;
		const char *message;	/* NULL: it is good */
	}			cases[] = {
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, 0, NULL},
		{"{}", 0, 0, NULL},
		{"[]", 0, TE_ERR_CORRUPT, "not an object"},
		{"{\"a\":1}", 0, TE_ERR_CORRUPT, "tensor \"a\""},
		{"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2, TE_ERR_UNSUPPORTED, "F8_E4M3"},
		{"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, TE_ERR_CORRUPT, "no dtype"},
		{"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, TE_ERR_CORRUPT, "no shape"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, TE_ERR_CORRUPT, "not made of sizes"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, TE_ERR_UNSUPPORTED, "5 dimensions"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[9223372036854775807,2],\"data_offsets\":[0,8]}}", 8, TE_ERR_CORRUPT, "too large"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, TE_ERR_CORRUPT, "data_offsets"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, TE_ERR_CORRUPT, "data_offsets"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, TE_ERR_CORRUPT, "need 12"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, TE_ERR_CORRUPT, "truncated"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 9, TE_ERR_CORRUPT, "the last tensor ends"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, TE_ERR_CORRUPT, "begins at"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
		8, TE_ERR_CORRUPT, "occurs twice"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
		8, TE_ERR_CORRUPT, "begins at"},
		{"{\"__metadata__\":5}", 0, TE_ERR_CORRUPT, "__metadata__"},
		{"{\"a\":", 0, TE_ERR_CORRUPT, "not valid JSON"},
	};

	for (size_t i = 0; i < TE_LENGTH(cases); i++)
	{
		TeStr		bytes = safetensors_bytes(arena, cases[i].header, cases[i].data);

		if (cases[i].message == NULL)
			read_bytes(arena, te_safetensors_read, bytes);
		else
		{
			CHECK_THROWS_LIKE(cases[i].code, cases[i].message, read_bytes(arena, te_safetensors_read, bytes));
			CHECK(strstr(te_std_error()->message, "test file") != NULL);
		}
	}
}

/* A GGUF file of raw parts: each is (pointer, length), ended by NULL. */
static TeStr
gguf_bytes(TeArena *arena, uint32_t version, uint64_t tensors, uint64_t pairs, const char *rest, size_t len)
{
	TeBuffer	out;

	te_buffer_init(&out, arena);
	te_buffer_add_str(&out, "GGUF");
	te_buffer_add(&out, &version, 4);
	te_buffer_add(&out, &tensors, 8);
	te_buffer_add(&out, &pairs, 8);
	te_buffer_add(&out, rest, len);
	return (TeStr) {out.data, out.len};
}

#define GGUF(version, tensors, pairs, rest) gguf_bytes(arena, version, tensors, pairs, rest, sizeof(rest) - 1)
#define NAME_A "\1\0\0\0\0\0\0\0a"

TEST(gguf_headers_are_checked)
{
	char		deep[12 * 20];

	read_bytes(arena, te_gguf_read, GGUF(2, 0, 0, ""));
	read_bytes(arena, te_gguf_read, GGUF(3, 0, 1, NAME_A "\7\0\0\0\1"));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "version 1", read_bytes(arena, te_gguf_read, GGUF(1, 0, 0, "")));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "version 4", read_bytes(arena, te_gguf_read, GGUF(4, 0, 0, "")));
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "big-endian", read_bytes(arena, te_gguf_read, GGUF(0x03000000, 0, 0, "")));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "not a GGUF", read_bytes(arena, te_gguf_read, TE_STR("GGML\0\0\0\0")));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "claims", read_bytes(arena, te_gguf_read, GGUF(3, 0, 1000000, "")));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "claims", read_bytes(arena, te_gguf_read, GGUF(3, UINT64_MAX, 0, "")));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"a\" has the unknown value type 13",
					  read_bytes(arena, te_gguf_read, GGUF(3, 0, 1, NAME_A "\15\0\0\0\0")));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "claims",
					  read_bytes(arena, te_gguf_read, GGUF(3, 0, 1, NAME_A "\11\0\0\0\10\0\0\0\0\0\0\0\0\0\0\1")));
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "UTF-8", read_bytes(arena, te_gguf_read, GGUF(3, 0, 1, "\1\0\0\0\0\0\0\0\xff\0\0\0\0\0")));

	/* arrays in arrays in arrays */
	for (size_t i = 0; i < sizeof(deep); i += 12)
		memcpy(deep + i, "\11\0\0\0\1\0\0\0\0\0\0\0", 12);
	memcpy(deep, NAME_A "\11\0\0", 12);
	memcpy(deep + 12, "\0\11\0\0\0\1\0\0\0\0\0\0", 12);
	memmove(deep + 25, deep + 24, sizeof(deep) - 25);
	deep[24] = '\0';
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "nested too deeply",
					  read_bytes(arena, te_gguf_read, gguf_bytes(arena, 3, 0, 1, deep, sizeof(deep))));
}

/* name, dimensions, the first dimension, type, offset */
#define TENSOR(dims, dim, type, offset) NAME_A dims dim type offset
#define ONE "\1\0\0\0"
#define EIGHT "\10\0\0\0\0\0\0\0"
#define ZERO8 "\0\0\0\0\0\0\0\0"
#define F32 "\0\0\0\0"

TEST(gguf_tensors_are_checked)
{
	static const char data[64] = "";
	TeStr		good = GGUF(3, 1, 0, TENSOR(ONE, EIGHT, F32, ZERO8));
	TeBuffer	file;

	te_buffer_init(&file, arena);
	te_buffer_add(&file, good.data, good.len);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "tensor \"a\" has 32 bytes", read_bytes(arena, te_gguf_read, (TeStr) {file.data, file.len}));
	te_buffer_add(&file, data, TE_ALIGN(file.len, 32) - file.len + 32);
	CHECK(read_bytes(arena, te_gguf_read, (TeStr) {file.data, file.len}).tensors.tensors[0].offset == 64);

	file.data[good.len - 8] = 16;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "not a multiple of 32", read_bytes(arena, te_gguf_read, (TeStr) {file.data, file.len}));
	file.data[good.len - 8] = 0;
	file.data[good.len - 12] = 16;
	CHECK_THROWS_LIKE(TE_ERR_UNSUPPORTED, "tensor \"a\" of \"test file\" has the storage type iq2_xxs (16)",
					  read_bytes(arena, te_gguf_read, (TeStr) {file.data, file.len}));
	file.data[good.len - 12] = 8;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "rows of 8 elements, not a multiple of 32",
					  read_bytes(arena, te_gguf_read, (TeStr) {file.data, file.len}));
	file.data[good.len - 12] = 0;
	file.data[good.len - 24] = 5;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "5 dimensions", read_bytes(arena, te_gguf_read, (TeStr) {file.data, file.len}));

	/* two tensors in one place; one name for two */
	file.len = 0;
	good = GGUF(3, 2, 0, TENSOR(ONE, EIGHT, F32, ZERO8) "\1\0\0\0\0\0\0\0b" ONE EIGHT F32 ZERO8);
	te_buffer_add(&file, good.data, good.len);
	te_buffer_add(&file, data, 64);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "overlap", read_bytes(arena, te_gguf_read, (TeStr) {file.data, file.len}));
	file.data[good.len - 25] = 'a';
	file.data[good.len - 8] = 32;
	te_buffer_add(&file, data, 64);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "occurs twice", read_bytes(arena, te_gguf_read, (TeStr) {file.data, file.len}));
}

typedef struct FaultCase
{
	ReadFunction read;
	WriteFunction write;
	TeStr		bytes;
} FaultCase;

static void
read_and_write(void *arg)
{
	const FaultCase *fault = arg;
	TeArena    *root = te_arena_create_root(te_std_fault_owner(), "faults", 0, NULL);
	TeModelFile file = read_bytes(root, fault->read, fault->bytes);

	write_file(root, fault->write, &file);
}

TEST(faults)
{
	FaultCase	gguf = {te_gguf_read, te_gguf_write, whole_file(arena, TINY_GGUF)};
	FaultCase	safetensors = {te_safetensors_read, te_safetensors_write, whole_file(arena, TINY_SAFETENSORS)};

	CHECK(te_std_fault_loop(read_and_write, &gguf) > 5);
	CHECK(te_std_fault_loop(read_and_write, &safetensors) > 5);
}

TEST(a_real_vocabulary)
{
	const char *path = te_test_data("vocab-gguf/ggml-vocab-bert-bge.gguf");
	TeModelFile file;
	TeModelFile back;
	TeSource	source;

	if (path == NULL)
		SKIP("no test data");
	source = te_std_file(arena, path);
	CHECK(te_gguf_probe(&source));
	te_gguf_read(arena, &source, &file);
	CHECK(te_json_get(file.meta, "tokenizer.ggml.tokens")->n == 30522);
	back = read_bytes(arena, te_gguf_read, write_file(arena, te_gguf_write, &file));
	CHECK(strcmp(json_text(arena, file.meta), json_text(arena, back.meta)) == 0);
}

TEST_MAIN()
