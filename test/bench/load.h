/*-------------------------------------------------------------------------
 * load.h
 *	  The model that a benchmark's command line names.  See load.c.
 *-------------------------------------------------------------------------
 */
#ifndef LOAD_H
#define LOAD_H

#include "port_std.h"

#include "engine.h"

/* A GGUF file or a folder; quantization as import_model() has it, NULL: none asked for. */
extern TeModelDef *load_definition(TeArena *arena, const char *path, const char *quantization);

#endif							/* LOAD_H */
