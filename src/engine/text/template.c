/*-------------------------------------------------------------------------
 * template.c
 *	  Chat templates: running statements.
 *
 * A scope is what a loop's turn, a macro or a block binds names in; below all are the variables, and then the global
 * functions.  As in Jinja, "if" has no scope of its own, and what a loop sets is gone with its turn.
 *
 * To add a statement: a row in `runners` (and template_parse.c).
 *-------------------------------------------------------------------------
 */
#include "text/template.h"

#include "text/template_impl.h"

typedef enum Flow
{
	FLOW_NEXT,
	FLOW_BREAK,
	FLOW_CONTINUE
} Flow;

typedef struct Binding
{
	TeStr		name;
	TeValue		value;
	struct Binding *next;
} Binding;

struct TeTemplateScope
{
	TeTemplateScope *parent;
	Binding    *bindings;
	Binding    *unused;			/* of earlier turns of a loop */
	bool		held;			/* by a macro that was defined in it */
};

void
te_template_stop(const TeTemplateRun *run, TeErrorCode code, const char *text)
{
	te_throw(code, "chat template, line %d: %s", run->line, text);
}

void
te_template_charge(TeTemplateRun *run, size_t work)
{
	uint64_t	before = run->steps;

	run->steps += work;
	if (before / 4096 == run->steps / 4096)
		return;
	te_check_interrupts();
	if (run->steps > TE_TEMPLATE_STEPS || work > TE_TEMPLATE_STEPS)
		te_template_fail(run, TE_ERR_LIMIT, "the template takes too many steps");
	if (te_arena_bytes(run->arena) > TE_TEMPLATE_MEMORY)
		te_template_fail(run, TE_ERR_LIMIT, "the template takes more than %zu bytes of memory", TE_TEMPLATE_MEMORY);
}

void
te_template_enter(TeTemplateRun *run)
{
	if (++run->depth > TE_TEMPLATE_DEPTH)
		te_template_fail(run, TE_ERR_LIMIT, "the template is nested too deeply");
}

void
te_template_leave(TeTemplateRun *run)
{
	run->depth--;
}

/* ---- scopes ---- */

TeTemplateScope *
te_template_scope(TeTemplateRun *run, TeTemplateScope *parent)
{
	TeTemplateScope *scope = te_new(run->arena, TeTemplateScope);

	scope->parent = parent;
	return scope;
}

void
te_template_assign(TeTemplateRun *run, TeTemplateScope *scope, TeStr name, TeValue value)
{
	Binding    *binding = scope->bindings;

	while (binding != NULL && !te_str_eq(binding->name, name))
		binding = binding->next;
	if (binding == NULL)
	{
		binding = scope->unused != NULL ? scope->unused : te_new(run->arena, Binding);
		scope->unused = binding->next;
		*binding = (Binding) {.name = name,.next = scope->bindings};
		scope->bindings = binding;
	}
	binding->value = value;
}

TeValue
te_template_lookup(TeTemplateRun *run, const TeTemplateScope *scope, TeStr name)
{
	const TeValue *variable;
	const TeTemplateRow *function;

	for (; scope != NULL; scope = scope->parent)
	{
		for (const Binding *binding = scope->bindings; binding != NULL; binding = binding->next)
		{
			if (te_str_eq(binding->name, name))
				return binding->value;
		}
	}
	variable = te_value_get(run, run->variables, TE_VALUE_STR(name));
	if (variable != NULL)
		return *variable;
	function = te_template_find(te_template_functions, name);
	if (function != NULL)
		return (TeValue) {.kind = TE_V_FUNCTION,.function = function};
	return te_value_undefined(te_format(run->arena, "\"%.*s\" is undefined", TE_STR_ARGS(name)));
}

/* ---- assignment ---- */

static void assign(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *target, TeValue value);

/* As many names as items. */
static void
assign_row(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *target, TeValue value)
{
	const TeValueList *list = te_value_iterate(run, value);

	if (list->n != target->n)
		te_template_fail(run, TE_ERR_INVALID, "%zu values for %zu names", list->n, target->n);
	for (size_t i = 0; i < target->n; i++)
		assign(run, scope, target->items[i], list->items[i]);
}

static void
assign(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *target, TeValue value)
{
	TeValue		space;

	if (target->kind == TE_T_NAME)
	{
		te_template_assign(run, scope, target->text, value);
		return;
	}
	if (target->kind == TE_T_TUPLE)
	{
		assign_row(run, scope, target, value);
		return;
	}
	space = te_template_lookup(run, scope, target->a->text);
	if (space.kind != TE_V_NAMESPACE)
		te_template_fail(run, TE_ERR_INVALID, "attributes can be set of a namespace only, not of a value of type %s", te_value_type(space));
	te_value_put(run, space.dict, TE_VALUE_STR(target->text), value);
}

/* ---- statements ---- */

static Flow run_body(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *body);

/* What a body writes, as a text. */
static TeStr
captured(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *body)
{
	TeBuffer   *out = run->out;
	TeBuffer	buffer;

	te_buffer_init(&buffer, run->arena);
	run->out = &buffer;
	run_body(run, scope, body);
	run->out = out;
	return te_buffer_text(&buffer);
}

static Flow
run_text(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	te_template_write(run, run->out, node->text);
	return FLOW_NEXT;
}

static Flow
run_output(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	te_template_write(run, run->out, te_value_text(run, te_template_eval(run, scope, node->a)));
	return FLOW_NEXT;
}

static Flow
run_if(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	for (size_t i = 0; i + 1 < node->n; i += 2)
	{
		if (te_value_true(te_template_eval(run, scope, node->items[i])))
			return run_body(run, scope, node->items[i + 1]);
	}
	return node->n % 2 == 1 ? run_body(run, scope, node->items[node->n - 1]) : FLOW_NEXT;
}

/* The scope of a loop's next turn, with the memory of the last one unless a macro holds that. */
static TeTemplateScope *
next_turn(TeTemplateRun *run, TeTemplateScope *scope, TeTemplateScope *last)
{
	if (last == NULL || last->held)
		return te_template_scope(run, scope);
	while (last->bindings != NULL)
	{
		Binding    *binding = last->bindings;

		last->bindings = binding->next;
		binding->next = last->unused;
		last->unused = binding;
	}
	return last;
}

/* What a loop goes over: the items that its condition keeps. */
static const TeValueList *
loop_items(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	const TeValueList *all = te_value_iterate(run, te_template_eval(run, scope, node->b));
	TeTemplateScope *turn = NULL;
	TeValueList *kept;

	if (node->c == NULL)
		return all;
	kept = te_new(run->arena, TeValueList);
	for (size_t i = 0; i < all->n; i++)
	{
		turn = next_turn(run, scope, turn);
		assign(run, turn, node->a, all->items[i]);
		if (te_value_true(te_template_eval(run, turn, node->c)))
			te_value_append(run, kept, all->items[i]);
	}
	return kept;
}

static Flow
run_for(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	const TeValueList *list = loop_items(run, scope, node);
	TeTemplateLoop *loop = te_new(run->arena, TeTemplateLoop);
	TeTemplateScope *turn = NULL;

	loop->list = list;
	for (size_t i = 0; i < list->n; i++)
	{
		turn = next_turn(run, scope, turn);
		te_template_charge(run, 1);
		loop->index = i;
		te_template_assign(run, turn, TE_STR("loop"), (TeValue) {.kind = TE_V_LOOP,.loop = loop});
		assign(run, turn, node->a, list->items[i]);
		if (run_body(run, turn, node->items[0]) == FLOW_BREAK)
			break;
	}
	if (list->n == 0 && node->items[1] != NULL)
		return run_body(run, te_template_scope(run, scope), node->items[1]);
	return FLOW_NEXT;
}

static Flow
run_set(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	assign(run, scope, node->a, te_template_eval(run, scope, node->b));
	return FLOW_NEXT;
}

static Flow
run_set_block(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		value = TE_VALUE_STR(captured(run, te_template_scope(run, scope), node->b));

	if (node->c != NULL)
		value = te_template_apply_filters(run, scope, node->c, value);
	assign(run, scope, node->a, value);
	return FLOW_NEXT;
}

static TeValue
macro_value(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeTemplateMacro *macro = te_new(run->arena, TeTemplateMacro);

	*macro = (TeTemplateMacro) {node, scope};
	for (; scope != NULL; scope = scope->parent)
		scope->held = true;
	return (TeValue) {.kind = TE_V_MACRO,.macro = macro};
}

static Flow
run_macro(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	te_template_assign(run, scope, node->text, macro_value(run, scope, node));
	return FLOW_NEXT;
}

/* The call, with the block as one more argument, "caller". */
static Flow
run_call(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeTemplateScope *inner = te_template_scope(run, scope);
	TeTemplateNode call = *node->a;
	TeTemplateNode keyword = {.kind = TE_T_KEYWORD,.line = node->line,.text = TE_STR("caller")};
	TeTemplateNode name = {.kind = TE_T_NAME,.line = node->line,.text = TE_STR("caller")};

	te_template_assign(run, inner, TE_STR("caller"), macro_value(run, scope, node->b));
	keyword.a = &name;
	call.items = te_new_array(run->arena, TeTemplateNode *, call.n + 1);
	for (size_t i = 0; i < call.n; i++)
		call.items[i] = node->a->items[i];
	call.items[call.n++] = &keyword;
	te_template_write(run, run->out, te_value_text(run, te_template_eval(run, inner, &call)));
	return FLOW_NEXT;
}

static Flow
run_filter_block(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeValue		value = TE_VALUE_STR(captured(run, te_template_scope(run, scope), node->b));

	te_template_write(run, run->out, te_value_text(run, te_template_apply_filters(run, scope, node->c, value)));
	return FLOW_NEXT;
}

/* Values are of the scope outside. */
static Flow
run_with(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	TeTemplateScope *inner = te_template_scope(run, scope);

	for (size_t i = 0; i < node->n; i += 2)
		assign(run, inner, node->items[i], te_template_eval(run, scope, node->items[i + 1]));
	return run_body(run, inner, node->a);
}

static Flow
run_break(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	return FLOW_BREAK;
}

static Flow
run_continue(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node)
{
	return FLOW_CONTINUE;
}

static Flow (*const runners[]) (TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *node) =
{
	[TE_T_TEXT] = run_text,
	[TE_T_OUTPUT] = run_output,
	[TE_T_BODY] = run_body,
	[TE_T_IF] = run_if,
	[TE_T_FOR] = run_for,
	[TE_T_SET] = run_set,
	[TE_T_SET_BLOCK] = run_set_block,
	[TE_T_MACRO] = run_macro,
	[TE_T_CALL] = run_call,
	[TE_T_FILTER_BLOCK] = run_filter_block,
	[TE_T_WITH] = run_with,
	[TE_T_BREAK] = run_break,
	[TE_T_CONTINUE] = run_continue,
};

static Flow
run_body(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *body)
{
	Flow		flow = FLOW_NEXT;

	te_template_enter(run);
	for (size_t i = 0; flow == FLOW_NEXT && i < body->n; i++)
	{
		const TeTemplateNode *node = body->items[i];

		run->line = node->line;
		te_template_charge(run, 1);
		flow = runners[node->kind] (run, scope, node);
	}
	te_template_leave(run);
	return flow;
}

/* ---- macros ---- */

/* The number of the parameter of that name; n where there is none. */
static size_t
parameter_by_name(const TeTemplateNode *macro, TeStr name)
{
	size_t		i = 0;

	while (i < macro->n && !te_str_eq(macro->items[i]->text, name))
		i++;
	return i;
}

/* Arguments to names; what has no name is in varargs and kwargs. */
static void
bind_arguments(TeTemplateRun *run, TeTemplateScope *scope, const TeTemplateNode *macro, const TeTemplateArguments *arguments)
{
	size_t		n = arguments->n - arguments->n_names;
	TeValue		more = te_value_list(run, TE_V_TUPLE);
	TeValue		named = te_value_dict(run);

	for (size_t i = 0; i < n; i++)
	{
		if (i < macro->n)
			te_template_assign(run, scope, macro->items[i]->text, arguments->list[i]);
		else
			te_value_append(run, more.list, arguments->list[i]);
	}
	for (size_t i = 0; i < arguments->n_names; i++)
	{
		TeStr		name = arguments->names[i];

		if (parameter_by_name(macro, name) < macro->n || te_str_is(name, "caller"))
			te_template_assign(run, scope, name, arguments->list[n + i]);
		else
			te_value_put(run, named.dict, TE_VALUE_STR(name), arguments->list[n + i]);
	}
	te_template_assign(run, scope, TE_STR("varargs"), more);
	te_template_assign(run, scope, TE_STR("kwargs"), named);
}

static bool
is_bound(const TeTemplateScope *scope, TeStr name)
{
	const Binding *binding = scope->bindings;

	while (binding != NULL && !te_str_eq(binding->name, name))
		binding = binding->next;
	return binding != NULL;
}

TeValue
te_template_call_macro(TeTemplateRun *run, const TeTemplateMacro *macro, const TeTemplateArguments *arguments)
{
	TeTemplateScope *scope = te_template_scope(run, macro->scope);
	const TeTemplateNode *node = macro->node;

	bind_arguments(run, scope, node, arguments);
	for (size_t i = 0; i < node->n; i++)
	{
		const TeTemplateNode *parameter = node->items[i];
		TeValue		value;

		if (is_bound(scope, parameter->text))
			continue;
		value = te_value_undefined(te_format(run->arena, "parameter \"%.*s\" was not provided", TE_STR_ARGS(parameter->text)));
		if (parameter->a != NULL)
			value = te_template_eval(run, scope, parameter->a);
		te_template_assign(run, scope, parameter->text, value);
	}
	return TE_VALUE_STR(captured(run, scope, node->a));
}

/* ---- the whole ---- */

TeStr
te_template_render(TeArena *arena, TeStr source, const TeJson *variables)
{
	TeTemplateRun run = {.arena = te_arena_create(arena, "chat template"),.line = 1};
	TeBuffer	out;
	TeStr		result;

	te_assert(variables != NULL && variables->kind == TE_JSON_OBJECT);
	te_buffer_init(&out, run.arena);
	run.out = &out;
	run.variables = te_value_from_json(&run, variables).dict;
	run_body(&run, te_template_scope(&run, NULL), te_template_parse(run.arena, source));
	result = te_str_copy(arena, te_buffer_text(&out));
	te_arena_destroy(run.arena);
	return result;
}
