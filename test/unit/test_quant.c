/*-------------------------------------------------------------------------
 * test_quant.c
 *	  Storage types: every row of dtype.def, against the reference and against
 *	  itself; and tensors' sizes, sets and conversion.
 *
 * data/quant.safetensors is made by make_data.py.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "base/quant.h"
#include "file/file.h"

/* A deterministic N(0,1) (sum of twelve uniforms). */
static float
normal(uint64_t *state)
{
	float		sum = -6;

	for (int i = 0; i < 12; i++)
	{
		*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		sum += (float) (*state >> 40) * 0x1p-24f;
	}
	return sum;
}

/* Bytes of a tensor "<type>.<part>"; NULL where there is none. */
static const void *
fixture(TeArena *arena, const char *type, const char *part, size_t *bytes)
{
	static const char *const path = TE_TEST_DIR "/unit/data/quant.safetensors";
	TeSource   *source = te_new(arena, TeSource);
	TeModelFile file;
	const TeTensorInfo *tensor;
	void	   *data;

	*source = te_std_file(arena, path);
	te_safetensors_read(arena, source, &file);
	tensor = te_tensor_find(&file.tensors, te_str(te_format(arena, "%s%s%s", type, *type ? "." : "", part)));
	if (tensor == NULL)
		return NULL;
	data = te_alloc(arena, (size_t) tensor->bytes);
	te_source_read(source, tensor->offset, data, (size_t) tensor->bytes);
	*bytes = (size_t) tensor->bytes;
	return data;
}

TEST(half_precision_is_exact_both_ways)
{
	for (uint32_t bits = 0; bits < 65536; bits++)
	{
		float		value = te_half_to_float((TeHalf) bits);
		bool		nan = (bits & 0x7fff) > 0x7c00;

		if (nan)
			CHECK(isnan(value) && isnan(te_half_to_float(te_half_from_float(value))));
		else
			CHECK(te_half_from_float(value) == bits);
	}
	CHECK(te_half_to_float(0x3c00) == 1 && te_half_to_float(0x0001) == 0x1p-24f);
	CHECK(te_half_from_float(65519.996f) == 0x7bff && te_half_from_float(65520) == 0x7c00);
	CHECK(te_half_from_float(0x1p-25f) == 0 && te_half_from_float(0x1.000002p-25f) == 1);
	CHECK(te_half_from_float(0x3p-25f) == 2);	/* a tie, to even */
	CHECK(te_half_from_float(1 + 0x1p-11f) == 0x3c00 && te_half_from_float(1 + 0x3p-11f) == 0x3c02);
	CHECK(te_bf16_make(1 + 0x1p-8f) == 0x3f80 && te_bf16_make(1 + 0x3p-8f) == 0x3f82);
	CHECK(te_bf16_make(INFINITY) == 0x7f80 && isnan(te_bf16_value(te_bf16_make(NAN))));
}

TEST(values_are_those_of_the_reference)
{
	int			n_types = 0;

	for (int t = 0; t < TE_N_DTYPES; t++)
	{
		const TeDtypeInfo *type = &te_dtypes[t];
		size_t		bytes;
		size_t		value_bytes;
		const char *blocks = fixture(arena, type->name, "blocks", &bytes);
		const float *values = fixture(arena, type->name, "values", &value_bytes);
		size_t		n;
		float	   *own;

		if (blocks == NULL)
			continue;
		n_types++;
		n = bytes / (size_t) type->block_bytes * (size_t) type->block_elements;
		CHECK(value_bytes == n * sizeof(float));
		own = te_new_array(arena, float, n);
		type->to_float(blocks, own, n);
		for (size_t i = 0; i < n; i++)
		{
			if (!CHECK(memcmp(&own[i], &values[i], sizeof(float)) == 0 || (isnan(own[i]) && isnan(values[i]))))
			{
				fprintf(stderr, "%s, element %zu: %g, not %g\n", type->name, i, (double) own[i], (double) values[i]);
				break;
			}
		}
	}
	CHECK(n_types == 11);
}

TEST(blocks_are_those_of_the_reference)
{
	size_t		source_bytes;
	const float *source = fixture(arena, "", "source", &source_bytes);
	size_t		n = source_bytes / sizeof(float);
	int			n_types = 0;

	for (int t = 0; t < TE_N_DTYPES; t++)
	{
		const TeDtypeInfo *type = &te_dtypes[t];
		size_t		bytes;
		const char *expected = fixture(arena, type->name, "quantized", &bytes);
		char	   *own;

		if (expected == NULL)
			continue;
		n_types++;
		CHECK(bytes == te_row_bytes((TeDtype) t, (int64_t) n));
		own = te_alloc(arena, bytes);
		type->from_float(source, own, n);
		for (size_t i = 0; i < bytes; i++)
		{
			if (!CHECK(own[i] == expected[i]))
			{
				fprintf(stderr, "%s, byte %zu of block %zu\n", type->name, i % (size_t) type->block_bytes,
						i / (size_t) type->block_bytes);
				break;
			}
		}
	}
	CHECK(n_types == 7);
}

TEST(round_trips_stay_within_their_bound)
{
	const size_t n = 256 * 64;
	float	   *from = te_new_array(arena, float, n);
	float	   *back = te_new_array(arena, float, n);
	void	   *blocks = te_alloc(arena, n * sizeof(double));
	uint64_t	state = 1;

	for (size_t i = 0; i < n; i++)
		from[i] = normal(&state);
	for (int t = 0; t < TE_N_DTYPES; t++)
	{
		const TeDtypeInfo *type = &te_dtypes[t];
		double		error = 0;
		double		power = 0;

		if (type->from_float == NULL)
			continue;
		type->from_float(from, blocks, n);
		type->to_float(blocks, back, n);
		for (size_t i = 0; i < n; i++)
		{
			error += ((double) from[i] - (double) back[i]) * ((double) from[i] - (double) back[i]);
			power += (double) from[i] * (double) from[i];
		}
		error = sqrt(error / power);
		if (getenv("SHOW_ERRORS") != NULL)
			fprintf(stderr, "  %-5s %.5f (bound %.5f)\n", type->name, error, type->round_trip_error);
		CHECK(error <= type->round_trip_error);
		CHECK(type->round_trip_error == 0 || error > type->round_trip_error / 20);
	}
}

/* What cannot be represented must not lead to undefined behaviour, and its neighbours must not suffer in other blocks. */
TEST(extreme_values_are_tamed)
{
	static const float extremes[] = {0, -0.0f, 1, -1, INFINITY, -INFINITY, NAN, 3e38f, -3e38f, 1e-45f, -1e-40f, 1e-8f};
	float		from[512];
	float		back[512];
	char		blocks[512 * sizeof(double)] __attribute__((aligned(16)));

	for (int t = 0; t < TE_N_DTYPES; t++)
	{
		const TeDtypeInfo *type = &te_dtypes[t];

		if (type->from_float == NULL)
			continue;
		for (size_t e = 0; e < TE_LENGTH(extremes); e++)
		{
			for (int i = 0; i < 512; i++)
				from[i] = i >= 256 ? 1 : i % 3 == 0 ? extremes[e] : extremes[(e + (size_t) i) % TE_LENGTH(extremes)];
			type->from_float(from, blocks, 512);
			type->to_float(blocks, back, 512);
			/* a scale for the whole row has no other blocks */
			for (int i = 256; i < 512 && type->row_header_bytes == 0; i++)
				CHECK_NEAR((double) back[i], 1, 0.2);
		}
		memset(from, 0, sizeof(from));
		type->from_float(from, blocks, 512);
		type->to_float(blocks, back, 512);
		for (int i = 0; i < 512; i++)
			CHECK(back[i] == 0);
	}
}

TEST(types_are_found)
{
	for (int t = 0; t < TE_N_DTYPES; t++)
	{
		const TeDtypeInfo *type = &te_dtypes[t];

		CHECK(te_dtype_by_name(te_str(type->name)) == (TeDtype) t);
		if (type->ggml_type >= 0)
		{
			CHECK(te_dtype_by_ggml((uint32_t) type->ggml_type) == (TeDtype) t);
			CHECK(strcmp(te_ggml_type_name((uint32_t) type->ggml_type), type->name) == 0);
		}
		if (type->safetensors != NULL)
			CHECK(te_dtype_by_safetensors(te_str(type->safetensors)) == (TeDtype) t);
		CHECK(type->from_float == NULL || type->to_float != NULL);
	}
	CHECK(te_dtype_by_name(TE_STR("Q4_k")) == TE_Q4_K);
	CHECK(te_dtype_by_name(TE_STR("q9")) == TE_N_DTYPES);
	CHECK(te_dtype_by_ggml(16) == TE_N_DTYPES && te_dtype_by_ggml(UINT32_MAX) == TE_N_DTYPES);
	CHECK(strcmp(te_ggml_type_name(16), "iq2_xxs") == 0);
	CHECK(strcmp(te_ggml_type_name(UINT32_MAX), "unknown") == 0);
	CHECK(te_dtype_by_safetensors(TE_STR("F8_E4M3")) == TE_N_DTYPES);
}

TEST(sizes_of_tensors)
{
	TeTensorInfo tensor = {.name = TE_STR("w"),.dtype = TE_Q4_K,.n_dims = 2,.dims = {3, 512}};

	CHECK(te_tensor_elements(&tensor) == 1536 && te_tensor_bytes(&tensor) == 3 * 2 * 144);
	tensor.dims[1] = 500;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"w\"", te_tensor_bytes(&tensor));
	tensor.dtype = TE_F64;
	tensor.dims[0] = INT64_MAX / 500;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"w\"", te_tensor_bytes(&tensor));
	tensor.dims[0] = INT64_MAX / 2;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"w\"", te_tensor_elements(&tensor));
	tensor.dims[0] = -1;
	CHECK_THROWS(TE_ERR_CORRUPT, te_tensor_elements(&tensor));
	tensor.n_dims = 0;
	CHECK(te_tensor_bytes(&tensor) == 8);
	tensor = (TeTensorInfo) {.name = TE_STR("w"),.dtype = TE_INT8,.n_dims = 3,.dims = {2, 3, 7}};
	CHECK(te_tensor_bytes(&tensor) == 6 * (4 + 7));
	tensor.dims[2] = 0;
	CHECK(te_tensor_bytes(&tensor) == 0);
	tensor.dims[1] = INT64_MAX / 8;
	tensor.dims[2] = 1;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"w\"", te_tensor_bytes(&tensor));
	CHECK(te_row_bytes(TE_Q8_0, 64) == 68);
	CHECK(te_row_bytes(TE_INT8, 64) == 68 && te_row_bytes(TE_INT8, 63) == 67);
	CHECK_THROWS(TE_ERR_CORRUPT, te_row_bytes(TE_Q8_0, 63));
}

TEST(sets_find_their_tensors)
{
	TeTensorSet set = {.n = 1000};
	TeTensorSet none = {.n = 0};

	set.tensors = te_new_array(arena, TeTensorInfo, set.n);
	for (size_t i = 0; i < set.n; i++)
		set.tensors[i].name = te_str(te_format(arena, "tensor.%zu", i));
	te_tensor_set_index(arena, &set);
	for (size_t i = 0; i < set.n; i++)
		CHECK(te_tensor_find(&set, set.tensors[i].name) == &set.tensors[i]);
	CHECK(te_tensor_find(&set, TE_STR("tensor.1000")) == NULL);
	CHECK(te_tensor_find(&none, TE_STR("x")) == NULL);
	set.tensors[7].name = set.tensors[900].name;
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"tensor.900\" occurs twice", te_tensor_set_index(arena, &set));
}

TEST(rows_are_converted)
{
	float		from[4 * 64];
	float		scratch[64];
	float		back[4 * 64];
	TeBlockQ8_0 q8[8];
	TeBlockQ8_0 copy[8];
	TeBlockQ4_0 q4[8];
	uint64_t	state = 5;

	for (int i = 0; i < 256; i++)
		from[i] = normal(&state);
	te_convert_rows(TE_F32, from, TE_Q8_0, q8, 4, 64, scratch);
	te_convert_rows(TE_Q8_0, q8, TE_Q8_0, copy, 4, 64, scratch);
	CHECK(memcmp(q8, copy, sizeof(q8)) == 0);
	te_convert_rows(TE_Q8_0, q8, TE_Q4_0, q4, 4, 64, scratch);
	te_convert_rows(TE_Q4_0, q4, TE_F32, back, 4, 64, scratch);
	for (int i = 0; i < 256; i++)
		CHECK_NEAR((double) back[i], (double) from[i], 0.4);
}

/* One element in a hundred is large: a scale for the row alone would round most others to few levels. */
TEST(int8_rows_with_outliers)
{
	float		x[384];
	float		back[384];
	char		row[sizeof(float) + 384];
	double		error = 0;
	double		size = 0;
	uint32_t	seed = 1;

	for (int i = 0; i < 384; i++)
	{
		seed = seed * 1664525 + 1013904223;
		x[i] = ((float) (seed >> 8) / (1 << 23) - 1) * (i % 96 == 5 ? 12 : 1);
	}
	te_int8_from_float(x, row, 384);
	te_int8_to_float(row, back, 384);
	for (int i = 0; i < 384; i++)
	{
		error += (x[i] - back[i]) * (x[i] - back[i]);
		size += x[i] * x[i];
	}
	CHECK(sqrt(error / size) < 0.01);
	te_rotate(384, te_rotation(384), x, back);
	te_rotate(384, te_rotation(384), back, back);
	for (int i = 0; i < 384; i++)
		CHECK_NEAR(back[i], x[i], 1e-5);
	CHECK(te_rotation(384) == 128 && te_rotation(1536) == 256 && te_rotation(12) == 1 && te_rotation(7) == 1 && te_rotation(312) == 8);
}

TEST_MAIN()
