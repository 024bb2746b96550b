/*-------------------------------------------------------------------------
 * serve.h
 *	  bench_engine's requests from bench.py.  See serve.c.
 *-------------------------------------------------------------------------
 */
#ifndef SERVE_H
#define SERVE_H

#include "port_std.h"

#include "engine.h"

typedef struct ServedModel
{
	const char *type;
	TeModel    *model;
} ServedModel;

typedef struct Texts
{
	size_t		n;
	TeStr	   *items;
} Texts;

/* The lines of a file, escapes undone. */
extern Texts read_texts(TeArena *arena, const char *path);

/* Answer requests on standard input until it ends. */
extern void serve(TeArena *arena, const ServedModel *models, int n_models);

#endif							/* SERVE_H */
