/*-------------------------------------------------------------------------
 * replay.c
 *	  Run a fuzz target over files and folders of inputs, without libFuzzer.
 *
 *		replay_gguf corpus/gguf crash-1234
 *
 * Before an input runs its name is printed if the environment variable VERBOSE
 * is set, so that one knows which crashed.
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE

#include "port_std.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* In exact memory of its own, so that an overrun is seen. */
static void
replay(TeArena *arena, const TeSource *source)
{
	TeStr		input = te_source_whole(arena, source, 64 * 1024 * 1024);
	uint8_t    *exact = malloc(input.len + 1);

	if (getenv("VERBOSE") != NULL)
		fprintf(stderr, "%s\n", source->name);
	memcpy(exact, input.data, input.len);
	LLVMFuzzerTestOneInput(exact, input.len);
	free(exact);
}

int
main(int argc, char **argv)
{
	TeArena    *arena = te_arena_create_root(NULL, "replay", 0, NULL);
	int			n = 0;

	for (int i = 1; i < argc; i++)
	{
		struct stat status;

		if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode))
		{
			TeFolder	folder = te_std_folder(arena, argv[i]);

			for (int f = 0; f < folder.n_files; f++, n++)
				replay(arena, &folder.files[f]);
		}
		else
		{
			TeSource	source = te_std_file(arena, argv[i]);

			replay(arena, &source);
			n++;
		}
	}
	printf("%s: %d inputs replayed\n", strrchr(argv[0], '/') != NULL ? strrchr(argv[0], '/') + 1 : argv[0], n);
	te_arena_destroy(arena);
	return n == 0;
}
