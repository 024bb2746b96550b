/*-------------------------------------------------------------------------
 * schema.h
 *	  What the files that make grammars of JSON schemas share.
 *-------------------------------------------------------------------------
 */
#ifndef TE_SCHEMA_H
#define TE_SCHEMA_H

#include "model/grammar_impl.h"

/* Schemas that a value must keep to, all of them; false among them means none does. */
typedef struct TeSchemas
{
	uint32_t	n;
	uint32_t	capacity;
	const TeJson **nodes;		/* objects */
	bool		never;
} TeSchemas;

typedef struct TeSchemaRule
{
	uint32_t	rule;			/* of the builder */
	uint32_t	n_nodes;
	const TeJson **nodes;		/* sorted by address: which schemas it is for */
	TeSchemas	schemas;
	struct TeSchemaRule *chain;
	struct TeSchemaRule *next;	/* in the order in which they were made */
} TeSchemaRule;

#define TE_SCHEMA_SLOTS 256

typedef struct TeSchemaCompiler
{
	TeBuilder	builder;
	const TeJson *root;
	TeSchemaRule *slots[TE_SCHEMA_SLOTS];
	TeSchemaRule *first;
	TeSchemaRule **last;
	uint32_t	n_leaves;		/* combinations of anyOf that were made */
	bool		checking;		/* whether schemas of oneOf exclude each other */
	/* parts that all share, made when they are first wanted: rule + 1 */
	uint32_t	character;
	uint32_t	value;
	uint32_t	number;
} TeSchemaCompiler;

/* ---- grammar_schema.c ---- */

extern TE_NORETURN void te_schema_unsupported(const char *keyword, const char *where);
/* The rule of a value that keeps to all of the schemas, as an expression. */
extern TeExpr *te_schema_value(TeSchemaCompiler *c, const TeSchemas *schemas);
extern void te_schemas_add(TeSchemaCompiler *c, TeSchemas *schemas, const TeJson *node);
/* A member of any of them that is a number that counts: the largest (or least) of them; the fallback where there is none. */
extern uint32_t te_schema_count(const TeSchemas *schemas, const char *keyword, bool largest, uint32_t fallback);

/* "{", ",", ...: a text as it is. */
static inline TeExpr *
te_expr_literal(TeBuilder *b, const char *text)
{
	return te_expr_text(b, te_str(text));
}

/* ---- grammar_object.c ---- */

extern TeExpr *te_schema_object(TeSchemaCompiler *c, const TeSchemas *schemas);
extern TeExpr *te_schema_array(TeSchemaCompiler *c, const TeSchemas *schemas);
/* Any JSON value. */
extern TeExpr *te_schema_any(TeSchemaCompiler *c);

/* ---- grammar_scalar.c ---- */

extern TeExpr *te_schema_string(TeSchemaCompiler *c, const TeSchemas *schemas);
extern TeExpr *te_schema_number(TeSchemaCompiler *c, const TeSchemas *schemas, bool integer);
/* A character within quotes, as a rule. */
extern TeExpr *te_schema_character(TeSchemaCompiler *c);
/* Does a number or a string of an enumeration keep to the bounds of the schemas? */
extern bool te_schema_admits(TeSchemaCompiler *c, const TeSchemas *schemas, const TeJson *value);

/* ---- grammar_pattern.c ---- */

/* A regular expression, as what it matches is written within the quotes of JSON; *least and *most: characters. */
extern TeExpr *te_pattern_expr(TeBuilder *b, TeStr pattern, uint32_t *least, uint32_t *most);

#endif							/* TE_SCHEMA_H */
