/*-------------------------------------------------------------------------
 * template_impl.h
 *	  What the files of the template interpreter share.
 *
 *	  template_lex.c		text to tokens, with Jinja's rules for white space around tags
 *	  template_parse.c		tokens to a tree: statements
 *	  template_expr.c		tokens to a tree: expressions
 *	  template.c			runs statements
 *	  template_eval.c		runs expressions
 *	  template_value.c		Python's values: truth, equality, order, str(), repr()
 *	  template_text.c		Python's strings: characters, white space, case, %-formats
 *	  template_filters.c	filters		template_lists.c	those that take a list
 *	  template_tests.c		tests
 *	  template_methods.c	methods and global functions
 *	  template_json.c		JSON to values and back
 *
 * Values are those of Python that Jinja shows: lists and dictionaries never change once they are made, since transformers
 * renders in an immutable sandbox, so that they are shared freely.  Only a namespace changes.
 *
 * A template comes from a model's file and is not trusted.  Every node that is run counts as a step, and what a step
 * may make is bounded; so are the depth, the memory of the whole, and the text.  All of it is in one arena that the render drops.
 *
 * To add a filter, a test, a method or a function: its row in the table of its kind.
 *-------------------------------------------------------------------------
 */
#ifndef TE_TEMPLATE_IMPL_H
#define TE_TEMPLATE_IMPL_H

#include "base/json.h"

#define TE_TEMPLATE_STEPS ((uint64_t) 20000000)
#define TE_TEMPLATE_MEMORY ((size_t) 128 << 20)
#define TE_TEMPLATE_TEXT ((size_t) 16 << 20)	/* of one string, and of the result */
#define TE_TEMPLATE_RANGE 100000	/* numbers, as in Jinja's sandbox */
#define TE_TEMPLATE_DEPTH 500	/* of what runs */
#define TE_TEMPLATE_NESTING 100	/* of what is written */

/* ---- values ---- */

typedef enum TeValueKind
{
	TE_V_MISSING,				/* an argument that is not given */
	TE_V_UNDEFINED,				/* Jinja's: text says of what */
	TE_V_NONE,
	TE_V_BOOL,
	TE_V_INT,
	TE_V_FLOAT,
	TE_V_STRING,
	TE_V_LIST,
	TE_V_TUPLE,
	TE_V_DICT,
	TE_V_NAMESPACE,
	TE_V_LOOP,
	TE_V_MACRO,
	TE_V_FUNCTION,				/* a global one */
	TE_V_METHOD,				/* of a value */
	TE_V_CYCLER,
	TE_V_JOINER
} TeValueKind;

typedef struct TeValue TeValue;
typedef struct TeValueList TeValueList;
typedef struct TeValueDict TeValueDict;
typedef struct TeTemplateLoop TeTemplateLoop;
typedef struct TeTemplateMacro TeTemplateMacro;
typedef struct TeTemplateBound TeTemplateBound;
typedef struct TeTemplateRow TeTemplateRow;

struct TeValue
{
	TeValueKind kind;
	union
	{
		bool		boolean;
		int64_t		integer;
		double		real;
		TeStr		text;
		TeValueList *list;		/* of a cycler too */
		TeValueDict *dict;		/* of a namespace too */
		TeTemplateLoop *loop;
		TeTemplateMacro *macro;
		TeTemplateBound *bound;
		const TeTemplateRow *function;
	};
};

struct TeValueList
{
	size_t		n;
	size_t		capacity;
	TeValue    *items;
	bool		lazy;			/* stands for a generator: true whatever it has, and given out once */
	size_t		at;				/* of a cycler; of a joiner: whether it was called */
};

struct TeValueDict
{
	size_t		n;
	size_t		capacity;
	TeValue    *keys;
	TeValue    *values;
};

/* A value's method, and the value. */
struct TeTemplateBound
{
	const TeTemplateRow *method;
	TeValue		self;
};

/* ---- the tree ---- */

typedef enum TeNodeKind
{
	/* statements */
	TE_T_TEXT,					/* text */
	TE_T_OUTPUT,				/* a: expression */
	TE_T_BODY,					/* items */
	TE_T_IF,					/* items: condition, body, ..., and the body of else */
	TE_T_FOR,					/* a: target, b: list, c: condition or NULL, items: body, and that of else or NULL */
	TE_T_SET,					/* a: target, b: expression */
	TE_T_SET_BLOCK,				/* a: target, b: body, c: filters or NULL */
	TE_T_MACRO,					/* text: name, items: parameters, a: body */
	TE_T_CALL,					/* a: the call, b: the macro that is the caller */
	TE_T_FILTER_BLOCK,			/* c: filters, b: body */
	TE_T_WITH,					/* items: targets and expressions in turn, a: body */
	TE_T_BREAK,
	TE_T_CONTINUE,
	/* expressions */
	TE_T_CONST,					/* value */
	TE_T_NAME,					/* text */
	TE_T_LIST,					/* items */
	TE_T_TUPLE,					/* items */
	TE_T_DICT,					/* items: keys and values in turn */
	TE_T_CALLED,				/* a: function, items: arguments */
	TE_T_FILTER,				/* a: value, or NULL for what a block makes; text: name, row; items: arguments */
	TE_T_TEST,					/* a: value; text: name, row; items: arguments */
	TE_T_ATTRIBUTE,				/* a: value, text: name */
	TE_T_ITEM,					/* a: value, b: index or slice */
	TE_T_SLICE,					/* a, b, c: start, stop, step, or NULL */
	TE_T_NOT,					/* a */
	TE_T_NEGATE,				/* a */
	TE_T_PLUS,					/* a */
	TE_T_AND,					/* a, b */
	TE_T_OR,					/* a, b */
	TE_T_BINARY,				/* a, b, text: operator */
	TE_T_CONCAT,				/* items */
	TE_T_COMPARE,				/* a, items: TE_T_OPERAND */
	TE_T_OPERAND,				/* text: operator, a */
	TE_T_CONDITION,				/* a: condition, b, c: or NULL */
	TE_T_SPREAD,				/* of arguments: a: a list, or with text "**" names and values */
	TE_T_KEYWORD,				/* of an argument or parameter: text: name, a: value or default, or NULL */
	TE_T_N_KINDS
} TeNodeKind;

typedef struct TeTemplateNode TeTemplateNode;
struct TeTemplateNode
{
	TeNodeKind	kind;
	int			line;
	TeStr		text;
	TeValue		value;
	const TeTemplateRow *row;
	TeTemplateNode *a;
	TeTemplateNode *b;
	TeTemplateNode *c;
	TeTemplateNode **items;
	size_t		n;
	size_t		capacity;
};

/* ---- tokens ---- */

typedef enum TeTokenKind
{
	TE_L_END,
	TE_L_TEXT,					/* between tags */
	TE_L_OUTPUT_BEGIN,			/* {{ */
	TE_L_OUTPUT_END,
	TE_L_BLOCK_BEGIN,			/* {% */
	TE_L_BLOCK_END,
	TE_L_NAME,
	TE_L_NUMBER,
	TE_L_STRING,				/* with its quotes */
	TE_L_OPERATOR
} TeTokenKind;

typedef struct TeTemplateToken
{
	TeTokenKind kind;
	int			line;
	TeStr		text;
} TeTemplateToken;

/* The last token is TE_L_END. */
extern TeTemplateToken *te_template_lex(TeArena *arena, TeStr source);

typedef struct TeTemplateParser
{
	TeArena    *arena;
	const TeTemplateToken *token;	/* the next one */
	int			nesting;
	int			loops;			/* around what is parsed */
} TeTemplateParser;

extern TeTemplateNode *te_template_parse(TeArena *arena, TeStr source);
extern TeTemplateNode *te_template_node(TeTemplateParser *parser, TeNodeKind kind);
extern void te_template_add(TeTemplateParser *parser, TeTemplateNode *to, TeTemplateNode *item);
extern bool te_template_next_is(const TeTemplateParser *parser, TeTokenKind kind, const char *text);
extern bool te_template_accept(TeTemplateParser *parser, TeTokenKind kind, const char *text);
extern TeStr te_template_expect(TeTemplateParser *parser, TeTokenKind kind, const char *text);
extern TE_NORETURN void te_template_unexpected(const TeTemplateParser *parser, const char *wanted);
/* An expression; a tuple where there are commas.  Conditions: "a if b else c". */
extern TeTemplateNode *te_template_parse_expression(TeTemplateParser *parser, bool conditions);
extern TeTemplateNode *te_template_parse_tuple(TeTemplateParser *parser, bool conditions, const char *stop);
/* What is assigned to: a name, or names in a row; attributes of a namespace where that is allowed. */
extern TeTemplateNode *te_template_parse_target(TeTemplateParser *parser, bool attributes);
/* "upper|replace('a', 'b')", of what comes before (NULL: what a block makes). */
extern TeTemplateNode *te_template_parse_filters(TeTemplateParser *parser, TeTemplateNode *of);
/* "(a, b=1)" of a call into items. */
extern void te_template_parse_arguments(TeTemplateParser *parser, TeTemplateNode *into);

/* ---- running ---- */

typedef struct TeTemplateScope TeTemplateScope;

typedef struct TeTemplateRun
{
	TeArena    *arena;			/* of everything */
	TeBuffer   *out;
	const TeValueDict *variables;
	uint64_t	steps;
	int			depth;
	int			line;			/* of what runs */
} TeTemplateRun;

struct TeTemplateMacro
{
	const TeTemplateNode *node;
	TeTemplateScope *scope;		/* where it was defined */
};

struct TeTemplateLoop
{
	const TeValueList *list;
	size_t		index;			/* from 0 */
	TeValue		changed;		/* what changed() was called with last */
};

typedef struct TeTemplateArguments
{
	const TeValue *list;
	size_t		n;
	const TeStr *names;			/* of the last n_names of list */
	size_t		n_names;
} TeTemplateArguments;

#define TE_TEMPLATE_PARAMETERS 6

/*
 * A filter, test, method or function.  Its arguments are bound to the names of its parameters (of which so many have to
 * be given), absent ones being TE_V_MISSING; `any` takes them as they are.
 */
struct TeTemplateRow
{
	const char *name;
	TeValue		(*call) (TeTemplateRun *run, TeValue self, const TeValue *arguments);
	int			required;
	const char *parameters[TE_TEMPLATE_PARAMETERS];
	TeValue		(*any) (TeTemplateRun *run, TeValue self, const TeTemplateArguments *arguments);
};

/* Tables, each ending with a row without a name. */
extern const TeTemplateRow te_template_filters[];
extern const TeTemplateRow te_template_list_filters[];
extern const TeTemplateRow te_template_tests[];
extern const TeTemplateRow te_template_string_methods[];
extern const TeTemplateRow te_template_dict_methods[];
extern const TeTemplateRow te_template_list_methods[];
extern const TeTemplateRow te_template_loop_methods[];
extern const TeTemplateRow te_template_functions[];

extern const TeTemplateRow *te_template_find(const TeTemplateRow *table, TeStr name);	/* NULL: none */
extern const TeTemplateRow *te_template_filter(TeStr name);
extern TeValue te_template_call_row(TeTemplateRun *run, const TeTemplateRow *row, TeValue self, const TeTemplateArguments *arguments);

/* An error of the line that runs, printf's way. */
#define te_template_fail(run, code, ...) te_template_stop((run), (code), te_format((run)->arena, __VA_ARGS__))
extern TE_NORETURN void te_template_stop(const TeTemplateRun *run, TeErrorCode code, const char *text);
/* Work of so many bytes or items was done: throws where it is too much in all. */
extern void te_template_charge(TeTemplateRun *run, size_t work);
extern void te_template_enter(TeTemplateRun *run);	/* deeper; te_template_leave() comes back */
extern void te_template_leave(TeTemplateRun *run);

extern TeValue te_template_eval(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node);
extern TeValue te_template_call(TeTemplateRun *run, TeValue function, const TeTemplateArguments *arguments);
/* A filter with what stands in its place where it has no value of its own. */
extern TeValue te_template_apply_filters(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node, TeValue of);
extern TeValue te_template_attribute(TeTemplateRun *run, TeValue value, TeStr name);	/* value.name */
extern TeValue te_template_item(TeTemplateRun *run, TeValue value, TeValue index);	/* value[index] */
/* By a path such as "function.name", or a number.  What is not there is the fallback, where one is given. */
extern TeValue te_template_path(TeTemplateRun *run, TeValue value, TeValue path, TeValue fallback);

/* Statements (template.c) */
extern TeTemplateScope *te_template_scope(TeTemplateRun *run, TeTemplateScope *parent);
extern void te_template_assign(TeTemplateRun *run, TeTemplateScope *scope, TeStr name, TeValue value);
extern TeValue te_template_lookup(TeTemplateRun *run, const TeTemplateScope *scope, TeStr name);
extern TeValue te_template_call_macro(TeTemplateRun *run, const TeTemplateMacro *macro, const TeTemplateArguments *arguments);

/* ---- values (template_value.c) ---- */

#define TE_VALUE_NONE ((TeValue) {.kind = TE_V_NONE})
#define TE_VALUE_BOOL(x) ((TeValue) {.kind = TE_V_BOOL,.boolean = (x)})
#define TE_VALUE_INT(x) ((TeValue) {.kind = TE_V_INT,.integer = (x)})
#define TE_VALUE_REAL(x) ((TeValue) {.kind = TE_V_FLOAT,.real = (x)})
#define TE_VALUE_STR(x) ((TeValue) {.kind = TE_V_STRING,.text = (x)})

extern TeValue te_value_list(TeTemplateRun *run, TeValueKind kind);	/* an empty list or tuple */
extern void te_value_append(TeTemplateRun *run, TeValueList *list, TeValue item);
extern TeValue te_value_dict(TeTemplateRun *run);
extern void te_value_put(TeTemplateRun *run, TeValueDict *dict, TeValue key, TeValue value);
extern const TeValue *te_value_get(TeTemplateRun *run, const TeValueDict *dict, TeValue key);	/* NULL: none */
extern TeValue te_value_undefined(const char *text);	/* of what, for messages; not copied */
extern bool te_value_true(TeValue value);
extern bool te_value_is_number(TeValue value);	/* bool too */
extern double te_value_real(TeValue value); /* of a number */
extern bool te_value_equal(TeTemplateRun *run, TeValue a, TeValue b);
extern int	te_value_compare(TeTemplateRun *run, TeValue a, TeValue b);	/* throws where they have no order */
extern bool te_value_contains(TeTemplateRun *run, TeValue all, TeValue item);
/* What a loop goes over, as a list: characters, keys, items; throws where there is nothing to go over. */
extern const TeValueList *te_value_iterate(TeTemplateRun *run, TeValue value);
extern const char *te_value_type(TeValue value);	/* Python's name of it */
extern TeStr te_value_text(TeTemplateRun *run, TeValue value); /* str() */
extern TeStr te_value_repr(TeTemplateRun *run, TeValue value); /* repr() */
extern TeStr te_value_need_text(TeTemplateRun *run, TeValue value, const char *what); /* of a string; throws for others */
extern int64_t te_value_need_int(TeTemplateRun *run, TeValue value, const char *what);
/* A string or list cut: indices count from the end where negative.  Absent ones are MISSING or NONE. */
extern TeValue te_value_slice(TeTemplateRun *run, TeValue value, TeValue start, TeValue stop, TeValue step);

extern TeValue te_value_from_json(TeTemplateRun *run, const TeJson *json);
extern TeStr te_real_text(TeArena *arena, double real); /* as Python writes it */

/* ---- strings (template_text.c) ---- */

typedef struct TeJsonStyle
{
	bool		ascii;
	TeStr		indent;			/* of a level; {NULL, 0}: all in a line */
	TeStr		item_separator;
	TeStr		key_separator;
	bool		sorted;
} TeJsonStyle;

extern TeStr te_value_to_json(TeTemplateRun *run, TeValue value, const TeJsonStyle *style);

extern bool te_is_white(uint32_t c);	/* to Python */
extern size_t te_text_length(TeStr text);	/* in characters */
extern size_t te_text_offset(TeStr text, size_t n);	/* in bytes, of character n */
extern TeStr te_text_strip(TeStr text, TeStr chars, bool left, bool right);	/* chars.data NULL: white space */
extern TeStr te_text_lower(TeTemplateRun *run, TeStr text);
extern TeStr te_text_upper(TeTemplateRun *run, TeStr text);
extern TeStr te_text_capitalize(TeTemplateRun *run, TeStr text);
extern TeStr te_text_replace(TeTemplateRun *run, TeStr text, TeStr from, TeStr to, int64_t most);	/* most < 0: all */
extern size_t te_text_find(TeStr text, TeStr part, size_t from);	/* bytes; SIZE_MAX: not there */
extern TeValue te_text_lines(TeTemplateRun *run, TeStr text);	/* splitlines() */
extern TeStr te_text_printf(TeTemplateRun *run, TeStr format, const TeTemplateArguments *arguments);	/* % */
/* To a buffer that may not grow without bound. */
extern void te_template_write(TeTemplateRun *run, TeBuffer *buffer, TeStr text);
extern TeStr te_buffer_text(const TeBuffer *buffer); /* never NULL */

/* ---- for tables of rows ---- */

static inline bool
te_given(TeValue value)
{
	return value.kind != TE_V_MISSING;
}

#define TE_VALUE_MISSING ((TeValue) {.kind = TE_V_MISSING})

static inline bool
te_is_list(TeValue value)
{
	return value.kind == TE_V_LIST || value.kind == TE_V_TUPLE;
}

#endif							/* TE_TEMPLATE_IMPL_H */
