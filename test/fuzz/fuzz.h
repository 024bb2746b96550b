/*-------------------------------------------------------------------------
 * fuzz.h
 *	  A fuzz target: one file fuzz_<name>.c, with a seed corpus in
 *	  corpus/<name>/ that make_corpus.py makes.
 *
 *		#include "fuzz.h"
 *
 *		static void
 *		parse(TeArena *arena, TeStr input)
 *		{
 *			...				may throw
 *		}
 *
 *		FUZZ_TARGET(parse)
 *
 * An input passes where parsing it ends, with a result or with an error of its
 * own kind.  It fails where it crashes, where a sanitizer objects, where the
 * error is TE_ERR_INTERNAL (a failed assertion), and where it takes more memory
 * than its size justifies: the arena is limited to FUZZ_BASE + FUZZ_FACTOR times
 * the input.
 *
 * With libFuzzer: make fuzz FUZZ=<name>.  Without: make fuzz-replay links
 * replay.c instead and runs the corpus once.
 *-------------------------------------------------------------------------
 */
#ifndef TE_FUZZ_H
#define TE_FUZZ_H

#include "port_std.h"

#include <stdio.h>
#include <stdlib.h>

#define FUZZ_BASE ((size_t) 2 * 1024 * 1024)
#define FUZZ_FACTOR ((size_t) 512)

#define FUZZ_TARGET(body) \
	int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); \
	\
	int \
	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) \
	{ \
		TeStdOwner *owner = te_std_owner_create(); \
		\
		te_std_quiet(true); \
		TE_TRY \
		{ \
			TeArena    *arena = te_arena_create_root(owner, "fuzz target", FUZZ_BASE + FUZZ_FACTOR * size, NULL); \
			\
			/* a copy, so that an over-read of the input is seen */ \
			body(arena, te_str_copy(arena, (TeStr) {(const char *) data, size})); \
		} \
		TE_CATCH \
		{ \
			TeErrorCode code = te_std_error()->code; \
			\
			if (code == TE_ERR_INTERNAL || code == TE_ERR_LIMIT || code == TE_ERR_MEMORY) \
			{ \
				fprintf(stderr, "not an error that an input may cause: %s\n", te_std_error()->message); \
				abort(); \
			} \
		} \
		TE_END_TRY; \
		te_std_owner_drop(owner); \
		return 0; \
	}

/* Something that must hold whatever the input. */
#define FUZZ_CHECK(cond) te_assert(cond)

#endif							/* TE_FUZZ_H */
