/*-------------------------------------------------------------------------
 * fuzz_gguf.c
 *	  GGUF: the data of accepted tensors must be readable, and what is written
 *	  from an accepted file must be accepted, with the same tensors.
 *-------------------------------------------------------------------------
 */
#include "fuzz.h"

#include "file/file.h"

/* Read every tensor to its end; small ones are converted too. */
static void
touch_tensors(TeArena *arena, const TeModelFile *file)
{
	for (size_t i = 0; i < file->tensors.n; i++)
	{
		const TeTensorInfo *tensor = &file->tensors.tensors[i];
		void	   *data = te_alloc(arena, (size_t) tensor->bytes);
		size_t		elements = (size_t) te_tensor_elements(tensor);

		FUZZ_CHECK(te_tensor_find(&file->tensors, tensor->name) == tensor);
		te_source_read(tensor->source, tensor->offset, data, (size_t) tensor->bytes);
		if (te_dtypes[tensor->dtype].to_float != NULL)
			te_dtypes[tensor->dtype].to_float(data, te_new_array(arena, float, elements), elements);
	}
}

static void
parse(TeArena *arena, TeStr input)
{
	TeSource	source = te_source_memory("input", input.data, input.len);
	TeSource	again;
	TeModelFile file;
	TeModelFile back;
	TeBuffer	buffer;
	TeSink		sink;

	te_gguf_probe(&source);
	te_gguf_read(arena, &source, &file);
	touch_tensors(arena, &file);

	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_gguf_write(arena, &file, &sink);
	again = te_source_memory("output", buffer.data, buffer.len);
	te_gguf_read(arena, &again, &back);
	FUZZ_CHECK(back.tensors.n == file.tensors.n);
	for (size_t i = 0; i < back.tensors.n; i++)
		FUZZ_CHECK(back.tensors.tensors[i].bytes == file.tensors.tensors[i].bytes);
}

FUZZ_TARGET(parse)
