/*-------------------------------------------------------------------------
 * template_tests.c
 *	  Chat templates: tests, which stand behind "is".
 *-------------------------------------------------------------------------
 */
#include "text/template_impl.h"

#include "text/text.h"

/* A test that asks for nothing but the value. */
#define TEST(name, condition) \
	static TeValue \
	test_##name(TeTemplateRun *run, TeValue self, const TeValue *arguments) \
	{ \
		return TE_VALUE_BOOL(condition); \
	}

TEST(defined, self.kind != TE_V_UNDEFINED)
TEST(undefined, self.kind == TE_V_UNDEFINED)
TEST(none, self.kind == TE_V_NONE)
TEST(boolean, self.kind == TE_V_BOOL)
TEST(true, self.kind == TE_V_BOOL && self.boolean)
TEST(false, self.kind == TE_V_BOOL && !self.boolean)
TEST(integer, self.kind == TE_V_INT)
TEST(float, self.kind == TE_V_FLOAT)
TEST(number, te_value_is_number(self))
TEST(string, self.kind == TE_V_STRING)
TEST(mapping, self.kind == TE_V_DICT)
TEST(sequence, self.kind == TE_V_STRING || self.kind == TE_V_DICT || (te_is_list(self) && !self.list->lazy))
TEST(iterable, self.kind == TE_V_STRING || self.kind == TE_V_DICT || te_is_list(self) || self.kind == TE_V_UNDEFINED)
TEST(callable, self.kind == TE_V_MACRO || self.kind == TE_V_FUNCTION || self.kind == TE_V_METHOD || self.kind == TE_V_JOINER)
TEST(odd, te_value_need_int(run, self, "what is odd") % 2 != 0)
TEST(even, te_value_need_int(run, self, "what is even") % 2 == 0)
TEST(eq, te_value_equal(run, self, arguments[0]))
TEST(ne, !te_value_equal(run, self, arguments[0]))
TEST(lt, te_value_compare(run, self, arguments[0]) < 0)
TEST(le, te_value_compare(run, self, arguments[0]) <= 0)
TEST(gt, te_value_compare(run, self, arguments[0]) > 0)
TEST(ge, te_value_compare(run, self, arguments[0]) >= 0)
TEST(in, te_value_contains(run, arguments[0], self))
TEST(sameas, self.kind == arguments[0].kind && te_value_equal(run, self, arguments[0]))
TEST(filter, self.kind == TE_V_STRING && te_template_filter(self.text) != NULL)
TEST(test, self.kind == TE_V_STRING && te_template_find(te_template_tests, self.text) != NULL)
TEST(escaped, false)

static TeValue
test_divisibleby(TeTemplateRun *run, TeValue self, const TeValue *arguments)
{
	int64_t		by = te_value_need_int(run, arguments[0], "what is divided by");
	int64_t		of = te_value_need_int(run, self, "what is divided");

	if (by == 0)
		te_template_fail(run, TE_ERR_INVALID, "division by zero");
	return TE_VALUE_BOOL(by == -1 || of % by == 0);
}

/* All letters of the case, and at least one. */
static bool
is_case(TeTemplateRun *run, TeValue self, bool upper)
{
	TeStr		text = te_value_text(run, self);
	TeStr		lowered = te_text_lower(run, text);
	TeStr		raised = te_text_upper(run, text);

	return te_str_eq(text, upper ? raised : lowered) && !te_str_eq(lowered, raised);
}

TEST(lower, is_case(run, self, false))
TEST(upper, is_case(run, self, true))

const TeTemplateRow te_template_tests[] = {
	{"defined", test_defined},
	{"undefined", test_undefined},
	{"none", test_none},

	{"boolean", test_boolean},
	{"true", test_true},
	{"false", test_false},
	{"integer", test_integer},
	{"float", test_float},
	{"number", test_number},
	{"string", test_string},
	{"mapping", test_mapping},
	{"sequence", test_sequence},
	{"iterable", test_iterable},
	{"callable", test_callable},
	{"odd", test_odd},
	{"even", test_even},
	{"divisibleby", test_divisibleby, 1, {"num"}},
	{"eq", test_eq, 1, {"other"}},
	{"==", test_eq, 1, {"other"}},
	{"equalto", test_eq, 1, {"other"}},
	{"ne", test_ne, 1, {"other"}},
	{"!=", test_ne, 1, {"other"}},
	{"lt", test_lt, 1, {"other"}},
	{"<", test_lt, 1, {"other"}},
	{"lessthan", test_lt, 1, {"other"}},
	{"le", test_le, 1, {"other"}},
	{"<=", test_le, 1, {"other"}},
	{"gt", test_gt, 1, {"other"}},
	{">", test_gt, 1, {"other"}},
	{"greaterthan", test_gt, 1, {"other"}},
	{"ge", test_ge, 1, {"other"}},
	{">=", test_ge, 1, {"other"}},
	{"in", test_in, 1, {"seq"}},
	{"sameas", test_sameas, 1, {"other"}},
	{"lower", test_lower},
	{"upper", test_upper},
	{"filter", test_filter},
	{"test", test_test},
	{"escaped", test_escaped},
	{NULL}
};
