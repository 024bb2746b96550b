/*-------------------------------------------------------------------------
 * load.c
 *	  The model that a benchmark's command line names, as import_model() would read it.
 *
 * Source and folder live as long as the arena, since a definition reads its tensors from them.
 *-------------------------------------------------------------------------
 */
#include "load.h"

TeModelDef *
load_definition(TeArena *arena, const char *path, const char *quantization)
{
	TeImportOptions import = {0};
	TeFolder   *folder = te_new(arena, TeFolder);
	TeSource   *file = te_new(arena, TeSource);

	if (quantization != NULL)
		import.quantization = te_str(quantization);
	if (te_str_ends(te_str(path), ".gguf"))
	{
		*file = te_std_file(arena, path);
		return te_import_gguf(arena, file, &import);
	}
	*folder = te_std_folder(arena, path);
	return te_import_folder(arena, folder, &import);
}
