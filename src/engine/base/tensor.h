/*-------------------------------------------------------------------------
 * tensor.h
 *	  Storage types and tensor descriptions.
 *
 * A tensor is row-major.  Its innermost dimension (n_in of a weight matrix
 * [n_out, n_in]) is stored in blocks of its type, so it must be a multiple of
 * the block; a row is the unit that is converted.  Rows of some types begin with a header, a scale for all of the row.  Functions that convert rows are
 * pure: kernels call them on threads.
 *
 * dims are in the order of Hugging Face and PyTorch (outermost first); the
 * GGUF code turns its own around.
 *-------------------------------------------------------------------------
 */
#ifndef TE_TENSOR_H
#define TE_TENSOR_H

#include "base/base.h"

#define TE_MAX_DIMS 4

typedef enum TeDtype
{
#define TE_DTYPE(symbol, ...) symbol,
#include "base/dtype.def"
#undef TE_DTYPE
	TE_N_DTYPES
} TeDtype;

typedef struct TeDtypeInfo
{
	const char *name;
	int			ggml_type;		/* -1: GGUF has none */
	const char *safetensors;	/* NULL: safetensors has none */
	int			row_header_bytes;	/* before the blocks of each row */
	int			block_elements;
	int			block_bytes;
	/* n elements, a multiple of block_elements; one whole row where rows have a header; pure */
	void		(*to_float) (const void *from, float *to, size_t n);
	void		(*from_float) (const float *from, void *to, size_t n);
	double		round_trip_error;
	bool		rotated;		/* blocks hold the row as te_rotate() makes it (quant.h) */
} TeDtypeInfo;

extern const TeDtypeInfo te_dtypes[TE_N_DTYPES];

/* By "q8_0" (case does not matter); TE_N_DTYPES where there is none. */
extern TeDtype te_dtype_by_name(TeStr name);
extern TeDtype te_dtype_by_ggml(uint32_t number);
extern TeDtype te_dtype_by_safetensors(TeStr name);
extern const char *te_ggml_type_name(uint32_t number);	/* of types that are not supported too, for messages */

typedef struct TeTensorInfo
{
	TeStr		name;
	TeDtype		dtype;
	int			n_dims;			/* 0: a scalar */
	int64_t		dims[TE_MAX_DIMS];
	uint64_t	bytes;
	const TeSource *source;		/* where the bytes are ... */
	uint64_t	offset;			/* ... and from where on */
} TeTensorInfo;

/* All throw TE_ERR_CORRUPT naming the tensor where a size overflows or is no multiple of the block. */
extern uint64_t te_tensor_elements(const TeTensorInfo *tensor);
extern uint64_t te_tensor_bytes(const TeTensorInfo *tensor);
extern uint64_t te_row_bytes(TeDtype dtype, int64_t n_in);	/* throws where n_in is no multiple of the block */

/* The same for an n_in that was checked; pure. */
static inline size_t
te_checked_row_bytes(TeDtype dtype, int64_t n_in)
{
	const TeDtypeInfo *type = &te_dtypes[dtype];

	return (size_t) type->row_header_bytes + (size_t) (n_in / type->block_elements) * (size_t) type->block_bytes;
}

/* A set of tensors, looked up by name. */
typedef struct TeTensorSet
{
	size_t		n;
	TeTensorInfo *tensors;
	uint32_t   *index;			/* open addressing by te_hash(name); filled by te_tensor_set_index() */
	size_t		index_size;
} TeTensorSet;

extern void te_tensor_set_index(TeArena *arena, TeTensorSet *set);	/* throws on a name that occurs twice */
extern const TeTensorInfo *te_tensor_find(const TeTensorSet *set, TeStr name);

/* Convert `rows` rows of n_in elements between types; equal types copy.  scratch: n_in floats. Pure. */
extern void te_convert_rows(TeDtype from_type, const void *from, TeDtype to_type, void *to,
							int64_t rows, int64_t n_in, float *scratch);

#endif							/* TE_TENSOR_H */
