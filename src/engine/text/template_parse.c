/*-------------------------------------------------------------------------
 * template_parse.c
 *	  Chat templates: tokens to a tree. Statements.
 *
 * As in Jinja, which names exist is found out when the template runs: a filter that is not here is an error where it is
 * applied, and not in a branch that is never taken.
 *
 * To add a statement: a row in `statements`, and how it runs in template.c.
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

TeTemplateNode *
te_template_node(TeTemplateParser *parser, TeNodeKind kind)
{
	TeTemplateNode *node = te_new(parser->arena, TeTemplateNode);

	node->kind = kind;
	node->line = parser->token->line;
	return node;
}

void
te_template_add(TeTemplateParser *parser, TeTemplateNode *to, TeTemplateNode *item)
{
	if (to->n == to->capacity)
	{
		size_t		capacity = TE_MAX(4, to->capacity * 2);
		TeTemplateNode **items = te_new_array(parser->arena, TeTemplateNode *, capacity);

		if (to->n > 0)
			memcpy(items, to->items, to->n * sizeof(TeTemplateNode *));
		to->items = items;
		to->capacity = capacity;
	}
	to->items[to->n++] = item;
}

/* text NULL: any. */
bool
te_template_next_is(const TeTemplateParser *parser, TeTokenKind kind, const char *text)
{
	return parser->token->kind == kind && (text == NULL || te_str_is(parser->token->text, text));
}

bool
te_template_accept(TeTemplateParser *parser, TeTokenKind kind, const char *text)
{
	if (!te_template_next_is(parser, kind, text))
		return false;
	parser->token++;
	return true;
}

void
te_template_unexpected(const TeTemplateParser *parser, const char *wanted)
{
	static const char *const names[] = {"the end of the template", "text", "\"{{\"", "\"}}\"", "\"{%\"", "\"%}\""};
	TeStr		text = parser->token->text;

	if (parser->token->kind < TE_LENGTH(names))
		te_throw(TE_ERR_CORRUPT, "chat template, line %d: %s instead of %s", parser->token->line, names[parser->token->kind], wanted);
	te_throw(TE_ERR_CORRUPT, "chat template, line %d: \"%.*s\" instead of %s", parser->token->line, TE_STR_ARGS(text), wanted);
}

TeStr
te_template_expect(TeTemplateParser *parser, TeTokenKind kind, const char *text)
{
	TeStr		found = parser->token->text;

	if (!te_template_accept(parser, kind, text))
		te_template_unexpected(parser, text != NULL ? text : kind == TE_L_NAME ? "a name" : kind == TE_L_BLOCK_END ? "\"%}\"" : "\"}}\"");
	return found;
}

/* ---- bodies ---- */

static TeTemplateNode *parse_statement(TeTemplateParser *parser);

/* Is the next tag one of these, which end a body? */
static bool
at_end(const TeTemplateParser *parser, const char *const *ends)
{
	for (; ends != NULL && *ends != NULL; ends++)
	{
		if (te_template_next_is(parser, TE_L_NAME, *ends))
			return true;
	}
	return false;
}

/* Up to a tag of one of the names, of which the name is next; NULL: up to the end. */
static TeTemplateNode *
parse_body(TeTemplateParser *parser, const char *const *ends)
{
	TeTemplateNode *body = te_template_node(parser, TE_T_BODY);

	if (++parser->nesting > TE_TEMPLATE_NESTING)
		te_throw(TE_ERR_UNSUPPORTED, "chat template, line %d: more than %d levels", parser->token->line, TE_TEMPLATE_NESTING);
	while (true)
	{
		TeTemplateNode *node;

		if (te_template_next_is(parser, TE_L_END, NULL))
		{
			if (ends != NULL)
				te_template_unexpected(parser, ends[0]);
			break;
		}
		node = te_template_node(parser, TE_T_TEXT);
		node->text = parser->token->text;
		if (te_template_accept(parser, TE_L_OUTPUT_BEGIN, NULL))
		{
			node->kind = TE_T_OUTPUT;
			node->a = te_template_parse_tuple(parser, true, NULL);
			te_template_expect(parser, TE_L_OUTPUT_END, NULL);
		}
		else if (te_template_accept(parser, TE_L_BLOCK_BEGIN, NULL))
		{
			if (at_end(parser, ends))
				break;
			node = parse_statement(parser);
			te_template_expect(parser, TE_L_BLOCK_END, NULL);
		}
		else
			parser->token++;
		te_template_add(parser, body, node);
	}
	parser->nesting--;
	return body;
}

/* Behind the tag that begins it. */
static TeTemplateNode *
parse_block(TeTemplateParser *parser, const char *const *ends)
{
	te_template_accept(parser, TE_L_OPERATOR, ":");
	te_template_expect(parser, TE_L_BLOCK_END, NULL);
	return parse_body(parser, ends);
}

/* The same with one end, whose name is passed over. */
static TeTemplateNode *
parse_block_to(TeTemplateParser *parser, const char *end)
{
	const char *const ends[] = {end, NULL};
	TeTemplateNode *body = parse_block(parser, ends);

	parser->token++;
	return body;
}

/* ---- statements, behind their names ---- */

static TeTemplateNode *
parse_if(TeTemplateParser *parser)
{
	static const char *const ends[] = {"endif", "elif", "else", NULL};
	TeTemplateNode *node = te_template_node(parser, TE_T_IF);

	do
	{
		te_template_add(parser, node, te_template_parse_tuple(parser, false, NULL));
		te_template_add(parser, node, parse_block(parser, ends));
	} while (te_template_accept(parser, TE_L_NAME, "elif"));
	if (te_template_accept(parser, TE_L_NAME, "else"))
		te_template_add(parser, node, parse_block_to(parser, "endif"));
	else
		te_template_expect(parser, TE_L_NAME, "endif");
	return node;
}

static TeTemplateNode *
parse_for(TeTemplateParser *parser)
{
	static const char *const ends[] = {"endfor", "else", NULL};
	TeTemplateNode *node = te_template_node(parser, TE_T_FOR);
	TeTemplateNode *otherwise = NULL;

	node->a = te_template_parse_target(parser, false);
	te_template_expect(parser, TE_L_NAME, "in");
	node->b = te_template_parse_tuple(parser, false, "recursive");
	if (te_template_accept(parser, TE_L_NAME, "if"))
		node->c = te_template_parse_expression(parser, true);
	if (te_template_next_is(parser, TE_L_NAME, "recursive"))
		te_throw(TE_ERR_UNSUPPORTED, "chat template, line %d: recursive loops are not supported", node->line);
	parser->loops++;
	te_template_add(parser, node, parse_block(parser, ends));
	parser->loops--;
	if (te_template_accept(parser, TE_L_NAME, "else"))
		otherwise = parse_block_to(parser, "endfor");
	else
		parser->token++;
	te_template_add(parser, node, otherwise);
	return node;
}

static TeTemplateNode *
parse_set(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_SET);

	node->a = te_template_parse_target(parser, true);
	if (te_template_accept(parser, TE_L_OPERATOR, "="))
	{
		node->b = te_template_parse_tuple(parser, true, NULL);
		return node;
	}
	node->kind = TE_T_SET_BLOCK;
	node->c = te_template_parse_filters(parser, NULL);
	node->b = parse_block_to(parser, "endset");
	return node;
}

/* "(a, b=1)" of a definition. */
static void
parse_parameters(TeTemplateParser *parser, TeTemplateNode *macro)
{
	te_template_expect(parser, TE_L_OPERATOR, "(");
	while (!te_template_accept(parser, TE_L_OPERATOR, ")"))
	{
		TeTemplateNode *parameter;

		if (macro->n > 0)
			te_template_expect(parser, TE_L_OPERATOR, ",");
		parameter = te_template_node(parser, TE_T_KEYWORD);
		parameter->text = te_template_expect(parser, TE_L_NAME, NULL);
		if (te_template_accept(parser, TE_L_OPERATOR, "="))
			parameter->a = te_template_parse_expression(parser, true);
		te_template_add(parser, macro, parameter);
	}
}

/* A body of its own: no loop is around it. */
static TeTemplateNode *
parse_macro_body(TeTemplateParser *parser, const char *end)
{
	int			loops = parser->loops;
	TeTemplateNode *body;

	parser->loops = 0;
	body = parse_block_to(parser, end);
	parser->loops = loops;
	return body;
}

static TeTemplateNode *
parse_macro(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_MACRO);

	node->text = te_template_expect(parser, TE_L_NAME, NULL);
	parse_parameters(parser, node);
	node->a = parse_macro_body(parser, "endmacro");
	return node;
}

static TeTemplateNode *
parse_call(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_CALL);

	node->b = te_template_node(parser, TE_T_MACRO);
	node->b->text = TE_STR("caller");
	if (te_template_next_is(parser, TE_L_OPERATOR, "("))
		parse_parameters(parser, node->b);
	node->a = te_template_parse_expression(parser, true);
	if (node->a->kind != TE_T_CALLED)
		te_template_unexpected(parser, "a call");
	node->b->a = parse_macro_body(parser, "endcall");
	return node;
}

static TeTemplateNode *
parse_filter(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_FILTER_BLOCK);

	node->c = te_template_parse_filters(parser, NULL);
	node->b = parse_block_to(parser, "endfilter");
	return node;
}

static TeTemplateNode *
parse_with(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_WITH);

	while (!te_template_next_is(parser, TE_L_BLOCK_END, NULL))
	{
		if (node->n > 0)
			te_template_expect(parser, TE_L_OPERATOR, ",");
		te_template_add(parser, node, te_template_parse_target(parser, false));
		te_template_expect(parser, TE_L_OPERATOR, "=");
		te_template_add(parser, node, te_template_parse_expression(parser, true));
	}
	node->a = parse_block_to(parser, "endwith");
	return node;
}

/* transformers' own: marks what the model said, which only training wants to know. */
static TeTemplateNode *
parse_generation(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_WITH);

	node->a = parse_block_to(parser, "endgeneration");
	return node;
}

static TeTemplateNode *
parse_print(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_BODY);

	do
	{
		TeTemplateNode *output = te_template_node(parser, TE_T_OUTPUT);

		output->a = te_template_parse_expression(parser, true);
		te_template_add(parser, node, output);
	} while (te_template_accept(parser, TE_L_OPERATOR, ","));
	return node;
}

static TeTemplateNode *
parse_leaving(TeTemplateParser *parser, TeNodeKind kind)
{
	TeTemplateNode *node = te_template_node(parser, kind);

	if (parser->loops == 0)
		te_throw(TE_ERR_CORRUPT, "chat template, line %d: \"break\" or \"continue\" outside of a loop", node->line);
	return node;
}

static TeTemplateNode *
parse_break(TeTemplateParser *parser)
{
	return parse_leaving(parser, TE_T_BREAK);
}

static TeTemplateNode *
parse_continue(TeTemplateParser *parser)
{
	return parse_leaving(parser, TE_T_CONTINUE);
}

static const struct
{
	const char *name;
	TeTemplateNode *(*parse) (TeTemplateParser *parser);
}			statements[] = {
	{"if", parse_if},
	{"for", parse_for},
	{"set", parse_set},
	{"macro", parse_macro},
	{"call", parse_call},
	{"filter", parse_filter},
	{"with", parse_with},
	{"generation", parse_generation},
	{"print", parse_print},
	{"break", parse_break},
	{"continue", parse_continue},
};

/* Jinja's or its extensions', but not here. */
static const char *const other_statements[] = {
	"autoescape", "block", "extends", "include", "import", "from", "do", "trans", "debug"
};

static TeTemplateNode *
parse_statement(TeTemplateParser *parser)
{
	TeStr		name = parser->token->text;

	for (size_t i = 0; parser->token->kind == TE_L_NAME && i < TE_LENGTH(statements); i++)
	{
		if (!te_str_is(name, statements[i].name))
			continue;
		parser->token++;
		return statements[i].parse(parser);
	}
	for (size_t i = 0; i < TE_LENGTH(other_statements); i++)
	{
		if (te_str_is(name, other_statements[i]))
			te_throw(TE_ERR_UNSUPPORTED, "chat template, line %d: {%% %s %%} is not supported", parser->token->line, other_statements[i]);
	}
	te_template_unexpected(parser, "a statement");
}

TeTemplateNode *
te_template_parse(TeArena *arena, TeStr source)
{
	TeTemplateParser parser = {.arena = arena,.token = te_template_lex(arena, source)};

	return parse_body(&parser, NULL);
}
