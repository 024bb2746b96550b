/*-------------------------------------------------------------------------
 * file.h
 *	  Model file formats: GGUF v2 and v3, safetensors; read and write.
 *
 * Readers see a TeSource only, parse its header through one cursor, and
 * describe the tensors; they do not read the tensors' data.  Every size,
 * offset and count is checked against the source's size before anything is
 * allocated for it.  Writers push bytes into a TeSink; tensor data comes from
 * the TeTensorInfo's source.
 *
 * To add a format: a pair of functions here, a fuzz target of the same name,
 * and a row in model/import.c and model/export.c.
 *
 * References: the GGUF specification (ggml/docs/gguf.md), the safetensors
 * format description (8-byte length, JSON header, data).
 *-------------------------------------------------------------------------
 */
#ifndef TE_FILE_H
#define TE_FILE_H

#include "base/json.h"
#include "base/tensor.h"

typedef struct TeModelFile
{
	const TeJson *meta;			/* GGUF key-values, with dotted keys as they are; safetensors' __metadata__ or an empty object */
	TeTensorSet tensors;		/* dims outermost first */
} TeModelFile;

extern bool te_gguf_probe(const TeSource *source);
extern void te_gguf_read(TeArena *arena, const TeSource *source, TeModelFile *file);
extern void te_safetensors_read(TeArena *arena, const TeSource *source, TeModelFile *file);

/*
 * Write a file.  meta: an object; GGUF value types are chosen by `gguf_types`
 * conventions: integers u32 (or i64/u64 where they do not fit), reals f32, arrays by
 * their first item (empty: string).  Tensors are written in the order given, in their own
 * storage type; te_gguf_write throws TE_ERR_UNSUPPORTED for a type without a GGUF number,
 * te_safetensors_write for one without a safetensors name.
 */
extern void te_gguf_write(TeArena *scratch, const TeModelFile *file, TeSink *sink);
extern void te_safetensors_write(TeArena *scratch, const TeModelFile *file, TeSink *sink);

#endif							/* TE_FILE_H */
