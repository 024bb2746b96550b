/*-------------------------------------------------------------------------
 * template_expr.c
 *	  Chat templates: tokens to a tree. Expressions, in the order in which Jinja's operators bind.
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include "text/text.h"

static TeTemplateNode *parse_or(TeTemplateParser *parser);
static TeTemplateNode *parse_unary(TeTemplateParser *parser, bool filters);
static TeTemplateNode *parse_postfix(TeTemplateParser *parser, TeTemplateNode *node);

static bool
next_operator(const TeTemplateParser *parser, const char *text)
{
	return te_template_next_is(parser, TE_L_OPERATOR, text);
}

static bool
accept_operator(TeTemplateParser *parser, const char *text)
{
	return te_template_accept(parser, TE_L_OPERATOR, text);
}

static bool
accept_name(TeTemplateParser *parser, const char *text)
{
	return te_template_accept(parser, TE_L_NAME, text);
}

/* ---- literals ---- */

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

/* So many hexadecimal digits, or octal ones, as a character; the number of bytes read, 0 where they are none. */
static size_t
numeric_escape(const char *p, const char *end, size_t digits, int base, TeBuffer *into)
{
	char		utf8[4];
	uint32_t	c = 0;
	size_t		n = 0;

	while (n < digits && p + n < end && hex_digit(p[n]) < base)
		c = c * (uint32_t) base + (uint32_t) hex_digit(p[n++]);
	if ((base == 16 && n < digits) || c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
		return 0;
	te_buffer_add(into, utf8, te_utf8_put(utf8, (int32_t) c));
	return n;
}

/* What a backslash before p means; the number of bytes read, 0: nothing. */
static size_t
escape(const char *p, const char *end, TeBuffer *into)
{
	static const char from[] = "\\'\"abfnrtv";
	static const char to[] = "\\'\"\a\b\f\n\r\t\v";
	const char *plain = *p != '\0' ? strchr(from, *p) : NULL;
	size_t		n;

	if (*p == '\n')
		return 1;
	if (plain != NULL)
	{
		te_buffer_add(into, &to[plain - from], 1);
		return 1;
	}
	if (*p >= '0' && *p <= '7')
		return numeric_escape(p, end, 3, 8, into);
	n = numeric_escape(p + 1, end, *p == 'x' ? 2 : *p == 'u' ? 4 : 8, 16, into);
	return (*p == 'x' || *p == 'u' || *p == 'U') && n > 0 ? n + 1 : 0;
}

/* Without its quotes, and its escapes read; one that means nothing stays. */
static void
add_string(TeTemplateParser *parser, TeStr quoted, TeBuffer *into)
{
	const char *p = quoted.data + 1;
	const char *end = quoted.data + quoted.len - 1;

	while (p < end)
	{
		size_t		len = into->len;
		size_t		n = *p == '\\' && p + 1 < end ? escape(p + 1, end, into) : 0;

		if (n == 0)
		{
			into->len = len;
			te_buffer_add(into, p, 1);
		}
		p += n + 1;
	}
}

/* Strings that follow one another are one. */
static TeValue
string_value(TeTemplateParser *parser)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, parser->arena);
	while (te_template_next_is(parser, TE_L_STRING, NULL))
		add_string(parser, (parser->token++)->text, &buffer);
	return TE_VALUE_STR(te_buffer_text(&buffer));
}

/* The base of "0x1f", and its digits. */
static int
base_of(TeStr *text)
{
	char		mark = text->len > 2 && text->data[0] == '0' ? text->data[1] | 0x20 : '\0';
	int			base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;

	if (base != 10)
		*text = (TeStr) {text->data + 2, text->len - 2};
	return base;
}

static TeValue
number_value(TeTemplateParser *parser)
{
	TeStr		text = te_template_expect(parser, TE_L_NUMBER, NULL);
	char	   *plain = te_alloc(parser->arena, text.len + 1);
	size_t		n = 0;
	bool		real = false;
	int			base;
	int64_t		value = 0;

	for (size_t i = 0; i < text.len; i++)
	{
		if (text.data[i] != '_')
			plain[n++] = text.data[i];
	}
	text = (TeStr) {plain, n};
	base = base_of(&text);
	for (size_t i = 0; i < text.len && base == 10; i++)
		real |= text.data[i] == '.' || text.data[i] == 'e' || text.data[i] == 'E';
	if (real)
		return TE_VALUE_REAL(te_json_parse_real(text));
	for (size_t i = 0; i < text.len; i++)
	{
		int			digit = hex_digit(text.data[i]);

		if (digit >= base)
			te_template_unexpected(parser, "digits");
		if (value > (INT64_MAX - digit) / base)
			te_throw(TE_ERR_UNSUPPORTED, "chat template, line %d: numbers beyond 64 bits are not supported", parser->token->line);
		value = value * base + digit;
	}
	return TE_VALUE_INT(value);
}

/* ---- what stands by itself ---- */

/* [a, b] or {a: b}, behind its bracket. */
static TeTemplateNode *
parse_display(TeTemplateParser *parser, TeNodeKind kind, const char *close)
{
	TeTemplateNode *node = te_template_node(parser, kind);

	while (!accept_operator(parser, close))
	{
		if (node->n > 0)
		{
			if (!accept_operator(parser, ","))
				te_template_unexpected(parser, close);
			if (accept_operator(parser, close))
				break;
		}
		te_template_add(parser, node, te_template_parse_expression(parser, true));
		if (kind != TE_T_DICT)
			continue;
		te_template_expect(parser, TE_L_OPERATOR, ":");
		te_template_add(parser, node, te_template_parse_expression(parser, true));
	}
	return node;
}

/* A word that is a value, or a name. */
static TeTemplateNode *
parse_name(TeTemplateParser *parser)
{
	static const struct
	{
		const char *name;
		TeValue		value;
	}			constants[] = {
		{"true", {.kind = TE_V_BOOL,.boolean = true}}, {"True", {.kind = TE_V_BOOL,.boolean = true}},
		{"false", {.kind = TE_V_BOOL}}, {"False", {.kind = TE_V_BOOL}}, {"none", {.kind = TE_V_NONE}}, {"None", {.kind = TE_V_NONE}},
	};
	TeTemplateNode *node = te_template_node(parser, TE_T_NAME);

	node->text = te_template_expect(parser, TE_L_NAME, NULL);
	for (size_t i = 0; i < TE_LENGTH(constants); i++)
	{
		if (!te_str_is(node->text, constants[i].name))
			continue;
		node->kind = TE_T_CONST;
		node->value = constants[i].value;
	}
	return node;
}

static TeTemplateNode *
parse_primary(TeTemplateParser *parser)
{
	TeTemplateNode *node;

	if (te_template_next_is(parser, TE_L_NAME, NULL))
		return parse_name(parser);
	if (accept_operator(parser, "["))
		return parse_display(parser, TE_T_LIST, "]");
	if (accept_operator(parser, "{"))
		return parse_display(parser, TE_T_DICT, "}");
	if (accept_operator(parser, "("))
	{
		node = te_template_parse_tuple(parser, true, ")");
		te_template_expect(parser, TE_L_OPERATOR, ")");
		return node;
	}
	node = te_template_node(parser, TE_T_CONST);
	if (te_template_next_is(parser, TE_L_STRING, NULL))
		node->value = string_value(parser);
	else if (te_template_next_is(parser, TE_L_NUMBER, NULL))
		node->value = number_value(parser);
	else
		te_template_unexpected(parser, "an expression");
	return node;
}

/* ---- what follows it ---- */

void
te_template_parse_arguments(TeTemplateParser *parser, TeTemplateNode *into)
{
	te_template_expect(parser, TE_L_OPERATOR, "(");
	while (!accept_operator(parser, ")"))
	{
		TeTemplateNode *argument = NULL;

		if (into->n > 0)
		{
			if (!accept_operator(parser, ","))
				te_template_unexpected(parser, "\",\" or \")\"");
			if (accept_operator(parser, ")"))
				break;
		}
		if (next_operator(parser, "*") || next_operator(parser, "**"))
		{
			argument = te_template_node(parser, TE_T_SPREAD);
			argument->text = (parser->token++)->text;
			argument->a = te_template_parse_expression(parser, true);
		}
		else if (te_template_next_is(parser, TE_L_NAME, NULL) && parser->token[1].kind == TE_L_OPERATOR && te_str_is(parser->token[1].text, "="))
		{
			argument = te_template_node(parser, TE_T_KEYWORD);
			argument->text = parser->token->text;
			parser->token += 2;
			argument->a = te_template_parse_expression(parser, true);
		}
		else if (into->n > 0 && into->items[into->n - 1]->kind == TE_T_KEYWORD)
			te_template_unexpected(parser, "a named argument");
		else
			argument = te_template_parse_expression(parser, true);
		te_template_add(parser, into, argument);
	}
}

/* An index, or a slice of two or three parts, each of which may be absent. */
static TeTemplateNode *
parse_index(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_SLICE);

	if (!next_operator(parser, ":"))
		node->a = te_template_parse_expression(parser, true);
	if (!accept_operator(parser, ":"))
		return node->a;
	if (!next_operator(parser, ":") && !next_operator(parser, "]"))
		node->b = te_template_parse_expression(parser, true);
	if (accept_operator(parser, ":") && !next_operator(parser, "]"))
		node->c = te_template_parse_expression(parser, true);
	return node;
}

/* Behind "." or "[". */
static TeTemplateNode *
parse_member(TeTemplateParser *parser, TeTemplateNode *of, bool dot)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_ITEM);

	node->a = of;
	if (dot && te_template_next_is(parser, TE_L_NAME, NULL))
	{
		node->kind = TE_T_ATTRIBUTE;
		node->text = (parser->token++)->text;
	}
	else if (dot)
	{
		node->b = te_template_node(parser, TE_T_CONST);
		node->b->value = number_value(parser);
	}
	else
	{
		node->b = parse_index(parser);
		te_template_expect(parser, TE_L_OPERATOR, "]");
	}
	return node;
}

static TeTemplateNode *
parse_call(TeTemplateParser *parser, TeTemplateNode *function)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_CALLED);

	node->a = function;
	te_template_parse_arguments(parser, node);
	return node;
}

static TeTemplateNode *
parse_postfix(TeTemplateParser *parser, TeTemplateNode *node)
{
	while (true)
	{
		if (accept_operator(parser, "."))
			node = parse_member(parser, node, true);
		else if (accept_operator(parser, "["))
			node = parse_member(parser, node, false);
		else if (next_operator(parser, "("))
			node = parse_call(parser, node);
		else
			return node;
	}
}

/* Behind "|", or where a filter stands by itself. */
static TeTemplateNode *
parse_filter(TeTemplateParser *parser, TeTemplateNode *of)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_FILTER);

	node->a = of;
	node->text = te_template_expect(parser, TE_L_NAME, NULL);
	node->row = te_template_filter(node->text);
	if (next_operator(parser, "("))
		te_template_parse_arguments(parser, node);
	return node;
}

TeTemplateNode *
te_template_parse_filters(TeTemplateParser *parser, TeTemplateNode *of)
{
	if (of == NULL && te_template_next_is(parser, TE_L_NAME, NULL))
		of = parse_filter(parser, NULL);
	while (accept_operator(parser, "|"))
		of = parse_filter(parser, of);
	return of;
}

/* Behind "is".  One argument needs no brackets. */
static TeTemplateNode *
parse_test(TeTemplateParser *parser, TeTemplateNode *of)
{
	static const char *const no_argument[] = {"else", "or", "and", "is", "if"};
	TeTemplateNode *node = te_template_node(parser, TE_T_TEST);
	TeTemplateNode *negated = te_template_node(parser, TE_T_NOT);
	bool		not = accept_name(parser, "not");
	bool		argument;

	node->a = of;
	negated->a = node;
	node->text = te_template_expect(parser, TE_L_NAME, NULL);
	node->row = te_template_find(te_template_tests, node->text);
	argument = te_template_next_is(parser, TE_L_NAME, NULL) || te_template_next_is(parser, TE_L_STRING, NULL) ||
		te_template_next_is(parser, TE_L_NUMBER, NULL) || next_operator(parser, "[") || next_operator(parser, "{");
	for (size_t i = 0; i < TE_LENGTH(no_argument); i++)
		argument = argument && !te_template_next_is(parser, TE_L_NAME, no_argument[i]);
	if (next_operator(parser, "("))
		te_template_parse_arguments(parser, node);
	else if (argument)
		te_template_add(parser, node, parse_postfix(parser, parse_primary(parser)));
	return not ? negated : node;
}

static TeTemplateNode *
parse_filters_and_tests(TeTemplateParser *parser, TeTemplateNode *node)
{
	while (true)
	{
		if (accept_operator(parser, "|"))
			node = parse_filter(parser, node);
		else if (accept_name(parser, "is"))
			node = parse_test(parser, node);
		else if (next_operator(parser, "("))
			node = parse_call(parser, node);
		else
			return node;
	}
}

/* ---- operators ---- */

/* Every way down through the grammar that may come back to itself passes here. */
static void
deeper(TeTemplateParser *parser)
{
	if (++parser->nesting > TE_TEMPLATE_NESTING)
		te_throw(TE_ERR_UNSUPPORTED, "chat template, line %d: more than %d levels", parser->token->line, TE_TEMPLATE_NESTING);
}

static TeTemplateNode *
parse_unary(TeTemplateParser *parser, bool filters)
{
	bool		minus = next_operator(parser, "-");
	TeTemplateNode *node;

	deeper(parser);
	if (minus || next_operator(parser, "+"))
	{
		node = te_template_node(parser, minus ? TE_T_NEGATE : TE_T_PLUS);
		parser->token++;
		node->a = parse_unary(parser, false);
	}
	else
		node = parse_primary(parser);
	node = parse_postfix(parser, node);
	if (filters)
		node = parse_filters_and_tests(parser, node);
	parser->nesting--;
	return node;
}

static TeTemplateNode *
parse_operand(TeTemplateParser *parser)
{
	return parse_unary(parser, true);
}

/* Operators of one rank, from the left. */
static TeTemplateNode *
parse_binary(TeTemplateParser *parser, const char *const *operators, TeTemplateNode *(*operand) (TeTemplateParser *))
{
	TeTemplateNode *left = operand(parser);

	for (size_t i = 0; operators[i] != NULL;)
	{
		TeTemplateNode *node;

		if (!next_operator(parser, operators[i]))
		{
			i++;
			continue;
		}
		node = te_template_node(parser, TE_T_BINARY);
		node->text = (parser->token++)->text;
		node->a = left;
		node->b = operand(parser);
		left = node;
		i = 0;
	}
	return left;
}

static TeTemplateNode *
parse_power(TeTemplateParser *parser)
{
	static const char *const operators[] = {"**", NULL};

	return parse_binary(parser, operators, parse_operand);
}

static TeTemplateNode *
parse_product(TeTemplateParser *parser)
{
	static const char *const operators[] = {"*", "/", "//", "%", NULL};

	return parse_binary(parser, operators, parse_power);
}

static TeTemplateNode *
parse_concat(TeTemplateParser *parser)
{
	TeTemplateNode *first = parse_product(parser);
	TeTemplateNode *node;

	if (!next_operator(parser, "~"))
		return first;
	node = te_template_node(parser, TE_T_CONCAT);
	te_template_add(parser, node, first);
	while (accept_operator(parser, "~"))
		te_template_add(parser, node, parse_product(parser));
	return node;
}

static TeTemplateNode *
parse_sum(TeTemplateParser *parser)
{
	static const char *const operators[] = {"+", "-", NULL};

	return parse_binary(parser, operators, parse_concat);
}

/* The operator of a comparison, which may be two words; {NULL, 0}: none follows. */
static TeStr
accept_comparison(TeTemplateParser *parser)
{
	static const char *const operators[] = {"==", "!=", "<", "<=", ">", ">="};

	for (size_t i = 0; i < TE_LENGTH(operators); i++)
	{
		if (accept_operator(parser, operators[i]))
			return te_str(operators[i]);
	}
	if (accept_name(parser, "in"))
		return TE_STR("in");
	if (te_template_next_is(parser, TE_L_NAME, "not") && parser->token[1].kind == TE_L_NAME && te_str_is(parser->token[1].text, "in"))
	{
		parser->token += 2;
		return TE_STR("not in");
	}
	return (TeStr) {NULL, 0};
}

/* a < b < c is a < b and b < c. */
static TeTemplateNode *
parse_comparison(TeTemplateParser *parser)
{
	TeTemplateNode *first = parse_sum(parser);
	TeTemplateNode *node = NULL;
	TeStr		operator;

	while ((operator = accept_comparison(parser)).data != NULL)
	{
		TeTemplateNode *operand = te_template_node(parser, TE_T_OPERAND);

		if (node == NULL)
		{
			node = te_template_node(parser, TE_T_COMPARE);
			node->a = first;
		}
		operand->text = operator;
		operand->a = parse_sum(parser);
		te_template_add(parser, node, operand);
	}
	return node != NULL ? node : first;
}

static TeTemplateNode *
parse_not(TeTemplateParser *parser)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_NOT);

	if (!accept_name(parser, "not"))
		return parse_comparison(parser);
	deeper(parser);
	node->a = parse_not(parser);
	parser->nesting--;
	return node;
}

static TeTemplateNode *
parse_logic(TeTemplateParser *parser, const char *name, TeNodeKind kind, TeTemplateNode *(*operand) (TeTemplateParser *))
{
	TeTemplateNode *left = operand(parser);

	while (te_template_next_is(parser, TE_L_NAME, name))
	{
		TeTemplateNode *node = te_template_node(parser, kind);

		parser->token++;
		node->a = left;
		node->b = operand(parser);
		left = node;
	}
	return left;
}

static TeTemplateNode *
parse_and(TeTemplateParser *parser)
{
	return parse_logic(parser, "and", TE_T_AND, parse_not);
}

static TeTemplateNode *
parse_or(TeTemplateParser *parser)
{
	return parse_logic(parser, "or", TE_T_OR, parse_and);
}

TeTemplateNode *
te_template_parse_expression(TeTemplateParser *parser, bool conditions)
{
	TeTemplateNode *node;

	deeper(parser);
	node = parse_or(parser);
	while (conditions && te_template_next_is(parser, TE_L_NAME, "if"))
	{
		TeTemplateNode *condition = te_template_node(parser, TE_T_CONDITION);

		parser->token++;
		condition->b = node;
		condition->a = parse_or(parser);
		if (accept_name(parser, "else"))
			condition->c = te_template_parse_expression(parser, true);
		node = condition;
	}
	parser->nesting--;
	return node;
}

/* Does a tuple end here, before another expression? */
static bool
at_end_of_tuple(const TeTemplateParser *parser, const char *stop)
{
	TeTokenKind kind = parser->token->kind;

	return kind == TE_L_OUTPUT_END || kind == TE_L_BLOCK_END || kind == TE_L_END || next_operator(parser, ")") ||
		(stop != NULL && te_template_next_is(parser, TE_L_NAME, stop));
}

/* stop ")": within brackets, where there may be nothing at all. */
TeTemplateNode *
te_template_parse_tuple(TeTemplateParser *parser, bool conditions, const char *stop)
{
	TeTemplateNode *node = te_template_node(parser, TE_T_TUPLE);
	bool		is_tuple = stop != NULL && strcmp(stop, ")") == 0 && next_operator(parser, ")");

	while (!at_end_of_tuple(parser, stop))
	{
		te_template_add(parser, node, te_template_parse_expression(parser, conditions));
		if (!accept_operator(parser, ","))
			break;
		is_tuple = true;
	}
	if (!is_tuple && node->n == 0)
		te_template_unexpected(parser, "an expression");
	return is_tuple ? node : node->items[0];
}

/* A name, an attribute, or targets in brackets. */
static TeTemplateNode *
parse_one_target(TeTemplateParser *parser, bool attributes)
{
	TeTemplateNode *node;

	deeper(parser);
	if (accept_operator(parser, "("))
	{
		node = te_template_parse_target(parser, attributes);
		te_template_expect(parser, TE_L_OPERATOR, ")");
	}
	else
	{
		node = parse_name(parser);
		if (node->kind != TE_T_NAME)
			te_template_unexpected(parser, "a name to assign to");
		if (attributes && accept_operator(parser, "."))
		{
			TeTemplateNode *attribute = te_template_node(parser, TE_T_ATTRIBUTE);

			attribute->a = node;
			attribute->text = te_template_expect(parser, TE_L_NAME, NULL);
			node = attribute;
		}
	}
	parser->nesting--;
	return node;
}

TeTemplateNode *
te_template_parse_target(TeTemplateParser *parser, bool attributes)
{
	TeTemplateNode *first = parse_one_target(parser, attributes);
	TeTemplateNode *node;

	if (!next_operator(parser, ","))
		return first;
	node = te_template_node(parser, TE_T_TUPLE);
	te_template_add(parser, node, first);
	while (accept_operator(parser, ",") && (te_template_next_is(parser, TE_L_NAME, NULL) || next_operator(parser, "(")) &&
		   !te_template_next_is(parser, TE_L_NAME, "in"))
		te_template_add(parser, node, parse_one_target(parser, attributes));
	return node;
}
