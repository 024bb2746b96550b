/*-------------------------------------------------------------------------
 * fuzz_safetensors.c
 *	  safetensors: the data of accepted tensors must be readable, and what is
 *	  written from an accepted file must be accepted, with the same tensors.
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "file/file.h"

static void
parse(TeArena *arena, TeStr input)
{
	TeSource	source = te_source_memory("input", input.data, input.len);
	TeSource	again;
	TeModelFile file;
	TeModelFile back;
	TeBuffer	buffer;
	TeSink		sink;

	te_safetensors_read(arena, &source, &file);
	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_safetensors_write(arena, &file, &sink);
	again = te_source_memory("output", buffer.data, buffer.len);
	te_safetensors_read(arena, &again, &back);

	FUZZ_CHECK(back.tensors.n == file.tensors.n);
	for (size_t i = 0; i < file.tensors.n; i++)
	{
		const TeTensorInfo *tensor = &file.tensors.tensors[i];
		const TeTensorInfo *other = te_tensor_find(&back.tensors, tensor->name);

		FUZZ_CHECK(other != NULL && other->bytes == tensor->bytes && other->dtype == tensor->dtype);
		FUZZ_CHECK(memcmp(buffer.data + other->offset, input.data + tensor->offset, (size_t) tensor->bytes) == 0);
	}
}

FUZZ_TARGET(parse)
