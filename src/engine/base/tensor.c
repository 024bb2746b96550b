/*-------------------------------------------------------------------------
 * tensor.c
 *	  Sizes of tensors, sets of tensors by name, conversion of rows.
 *
 * Dimensions come from files: products are checked, and an innermost dimension
 * that is no multiple of its type's block is refused here, once, for all
 * formats.  The index of a set is open addressing with linear probing, at most
 * half full, slots holding number + 1; names are compared in full, so a
 * collision of hashes costs time only (and that can be cancelled).
 *-------------------------------------------------------------------------
 */
#include "base/tensor.h"

/* For messages. */
static const char *
source_name(const TeTensorInfo *tensor)
{
	return tensor->source != NULL ? tensor->source->name : "memory";
}

/* 1 for a scalar, 0 where a dimension is 0. */
uint64_t
te_tensor_elements(const TeTensorInfo *tensor)
{
	int64_t		elements = 1;

	for (int i = 0; i < tensor->n_dims; i++)
	{
		if (tensor->dims[i] < 0 || __builtin_mul_overflow(elements, tensor->dims[i], &elements))
			te_throw(TE_ERR_CORRUPT, "tensor \"%.*s\" of \"%s\" has dimensions that are too large",
					 TE_STR_ARGS(tensor->name), source_name(tensor));
	}
	return (uint64_t) elements;
}

/* What the data must take, by type and dimensions. */
uint64_t
te_tensor_bytes(const TeTensorInfo *tensor)
{
	const TeDtypeInfo *type = &te_dtypes[tensor->dtype];
	uint64_t	elements = te_tensor_elements(tensor);
	int64_t		n_in = tensor->n_dims > 0 ? tensor->dims[tensor->n_dims - 1] : 1;
	uint64_t	headers;
	uint64_t	bytes;

	if (n_in % type->block_elements != 0)
		te_throw(TE_ERR_CORRUPT, "tensor \"%.*s\" of \"%s\" has rows of %lld elements, not a multiple of %d as its type %s needs",
				 TE_STR_ARGS(tensor->name), source_name(tensor), (long long) n_in, type->block_elements, type->name);
	if (__builtin_mul_overflow(elements / (uint64_t) type->block_elements, (uint64_t) type->block_bytes, &bytes) ||
		__builtin_mul_overflow(n_in > 0 ? elements / (uint64_t) n_in : 0, (uint64_t) type->row_header_bytes, &headers) ||
		__builtin_add_overflow(bytes, headers, &bytes) || bytes > INT64_MAX)
		te_throw(TE_ERR_CORRUPT, "tensor \"%.*s\" of \"%s\" is too large", TE_STR_ARGS(tensor->name),
				 source_name(tensor));
	return bytes;
}

/* Bytes of one row of n_in elements. */
uint64_t
te_row_bytes(TeDtype dtype, int64_t n_in)
{
	const TeDtypeInfo *type = &te_dtypes[dtype];

	if (n_in < 0 || n_in % type->block_elements != 0)
		te_throw(TE_ERR_CORRUPT, "rows of %lld elements cannot be stored as %s: they must be a multiple of %d",
				 (long long) n_in, type->name, type->block_elements);
	return te_add_size(te_mul_size((size_t) (n_in / type->block_elements), (size_t) type->block_bytes),
					   (size_t) type->row_header_bytes);
}

/* The slot where `name` is, or where it would go. */
static size_t
find_slot(const TeTensorSet *set, TeStr name)
{
	size_t		slot = (size_t) te_hash(name.data, name.len) & (set->index_size - 1);

	while (set->index[slot] != 0 && !te_str_eq(set->tensors[set->index[slot] - 1].name, name))
		slot = (slot + 1) & (set->index_size - 1);
	return slot;
}

/* At most half of the slots are used, so that find_slot() ends. */
void
te_tensor_set_index(TeArena *arena, TeTensorSet *set)
{
	size_t		size = 4;

	te_assert(set->n < UINT32_MAX);
	while (size < set->n * 2)
		size *= 2;
	set->index = te_new_array(arena, uint32_t, size);
	set->index_size = size;
	for (size_t i = 0; i < set->n; i++)
	{
		size_t		slot = find_slot(set, set->tensors[i].name);

		if (i % 1024 == 0)
			te_check_interrupts();
		if (set->index[slot] != 0)
			te_throw(TE_ERR_CORRUPT, "tensor \"%.*s\" occurs twice, again in \"%s\"",
					 TE_STR_ARGS(set->tensors[i].name), source_name(&set->tensors[i]));
		set->index[slot] = (uint32_t) i + 1;
	}
}

const TeTensorInfo *
te_tensor_find(const TeTensorSet *set, TeStr name)
{
	size_t		slot;

	if (set->n == 0)
		return NULL;
	slot = find_slot(set, name);
	return set->index[slot] != 0 ? &set->tensors[set->index[slot] - 1] : NULL;
}

/* Row by row through floats, so that scratch is one row whatever the tensor's size. */
void
te_convert_rows(TeDtype from_type, const void *from, TeDtype to_type, void *to,
				int64_t rows, int64_t n_in, float *scratch)
{
	const TeDtypeInfo *source = &te_dtypes[from_type];
	const TeDtypeInfo *target = &te_dtypes[to_type];
	size_t		from_bytes = te_checked_row_bytes(from_type, n_in);
	size_t		to_bytes = te_checked_row_bytes(to_type, n_in);

	if (from_type == to_type)
	{
		memcpy(to, from, (size_t) rows * from_bytes);
		return;
	}
	for (int64_t row = 0; row < rows; row++)
	{
		source->to_float((const char *) from + (size_t) row * from_bytes, scratch, (size_t) n_in);
		target->from_float(scratch, (char *) to + (size_t) row * to_bytes, (size_t) n_in);
	}
}
