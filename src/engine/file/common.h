/*-------------------------------------------------------------------------
 * common.h
 *	  What the file formats share, inside this folder.
 *-------------------------------------------------------------------------
 */
#ifndef TE_FILE_COMMON_H
#define TE_FILE_COMMON_H

#include "file/file.h"

/* The tensors of a set in the order of their data. */
extern const TeTensorInfo **te_file_by_offset(TeArena *arena, const TeTensorSet *set);

/* Copy a tensor's data from its source; interruptible. */
extern void te_file_copy_tensor(TeArena *scratch, const TeTensorInfo *tensor, TeSink *sink);

/* Bring the sink to a multiple of `alignment` bytes. */
extern void te_file_pad(TeArena *scratch, TeSink *sink, uint64_t alignment);

#endif							/* TE_FILE_COMMON_H */
