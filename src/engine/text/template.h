/*-------------------------------------------------------------------------
 * template.h
 *	  Chat templates: the part of Jinja that templates of models on the hub are written in.
 *-------------------------------------------------------------------------
 */
#ifndef TE_TEMPLATE_H
#define TE_TEMPLATE_H

#include "base/json.h"

/*
 * The text that a template makes of variables (an object), as Jinja renders it for transformers: with trim_blocks and
 * lstrip_blocks.  Errors name the template's line: TE_ERR_CORRUPT where it is no template, TE_ERR_UNSUPPORTED where it
 * wants of Jinja what is not here, TE_ERR_INVALID where it fails on these variables or calls raise_exception(), and
 * TE_ERR_LIMIT where it would take too long or too much memory.  Checks for interrupts.
 */
extern TeStr te_template_render(TeArena *arena, TeStr source, const TeJson *variables);

#endif							/* TE_TEMPLATE_H */
