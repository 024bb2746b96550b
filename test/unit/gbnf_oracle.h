/*-------------------------------------------------------------------------
 * gbnf_oracle.h
 *	  A recogniser of GBNF for tests, which shares nothing with the engine's.
 *
 * It reads well-formed grammars only, and finds where an expression can end by where it can begin, for all
 * places at once; what a rule does from a place is remembered.
 *-------------------------------------------------------------------------
 */
#ifndef TE_GBNF_ORACLE_H
#define TE_GBNF_ORACLE_H

#include "harness.h"

#include "text/text.h"

typedef struct Term Term;
struct Term
{
	char		kind;			/* 'c': one of ranges; 's': sequence; 'e': either; 'r': rule by name; '*': min to max times */
	bool		negated;
	int			n;
	int			min;
	int			max;			/* -1: no bound */
	uint32_t	from[64];
	uint32_t	to[64];
	Term	   *parts[64];
	TeStr		name;
};

typedef struct Oracle
{
	TeArena    *arena;
	const char *p;
	int			n_rules;
	TeStr		names[64];
	Term	   *rules[64];
	/* the text */
	TeArena    *work;
	size_t		n;
	uint32_t   *text;
	uint8_t   **known;			/* [rule * (n + 1) + place]: where it may end */
} Oracle;

static Term *oracle_either(Oracle *o, bool inner);

static void
oracle_space(Oracle *o, bool lines)
{
	for (;; o->p++)
	{
		if (*o->p == '#')
			o->p += strcspn(o->p, "\r\n");
		if (*o->p == '\0' || strchr(lines ? " \t\r\n" : " \t", *o->p) == NULL)
		{
			if (*o->p != '#')
				return;
			o->p--;
		}
	}
}

static uint32_t
oracle_char(Oracle *o)
{
	static const char letters[] = "xuU";
	const char *end = o->p + strlen(o->p);
	char		digits[9] = "";
	int			n;

	if (*o->p != '\\')
		return (uint32_t) te_utf8_next(&o->p, end);
	o->p += 2;
	if (strchr(letters, o->p[-1]) == NULL)
		return o->p[-1] == 'n' ? '\n' : o->p[-1] == 't' ? '\t' : o->p[-1] == 'r' ? '\r' : (uint32_t) o->p[-1];
	n = 2 << (strchr(letters, o->p[-1]) - letters);
	memcpy(digits, o->p, (size_t) n);
	o->p += n;
	return (uint32_t) strtoul(digits, NULL, 16);
}

static Term *
oracle_part(Oracle *o)
{
	Term	   *t = te_new(o->arena, Term);
	const char *start = o->p;

	if (*o->p == '"')
	{
		t->kind = 's';
		for (o->p++; *o->p != '"'; t->n++)
		{
			Term	   *c = t->parts[t->n] = te_new(o->arena, Term);

			c->kind = 'c';
			c->n = 1;
			c->from[0] = c->to[0] = oracle_char(o);
		}
		o->p++;
	}
	else if (*o->p == '[')
	{
		t->kind = 'c';
		o->p++;
		if (*o->p == '^')
			t->negated = *o->p++ != '\0';
		for (; *o->p != ']'; t->n++)
		{
			t->from[t->n] = t->to[t->n] = oracle_char(o);
			if (*o->p == '-' && o->p[1] != ']')
			{
				o->p++;
				t->to[t->n] = oracle_char(o);
			}
		}
		o->p++;
	}
	else if (*o->p == '(')
	{
		o->p++;
		oracle_space(o, true);
		t = oracle_either(o, true);
		o->p++;
	}
	else if (*o->p == '.')
	{
		t->kind = 'c';
		t->negated = true;
		o->p++;
	}
	else
	{
		t->kind = 'r';
		o->p += strspn(o->p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
		t->name = (TeStr) {start, (size_t) (o->p - start)};
		if (t->name.len == 0)
			return NULL;
	}
	return t;
}

static Term *
oracle_times(Oracle *o, Term *part, bool inner)
{
	for (;;)
	{
		Term	   *t = te_new(o->arena, Term);
		char	   *end;

		oracle_space(o, inner);
		if (*o->p == '\0' || strchr("*+?{", *o->p) == NULL)
			return part;
		t->kind = '*';
		t->parts[0] = part;
		t->min = *o->p == '+';
		t->max = *o->p == '?' ? 1 : -1;
		if (*o->p == '{')
		{
			t->min = t->max = (int) strtol(o->p + 1, &end, 10);
			if (*end == ',')
			{
				t->max = end[1] == '}' ? -1 : (int) strtol(end + 1, NULL, 10);
				end = strchr(end, '}');
			}
			o->p = end;
		}
		o->p++;
		part = t;
	}
}

static Term *
oracle_either(Oracle *o, bool inner)
{
	Term	   *either = te_new(o->arena, Term);

	either->kind = 'e';
	for (;;)
	{
		Term	   *sequence = either->parts[either->n++] = te_new(o->arena, Term);
		Term	   *part;

		sequence->kind = 's';
		while ((part = oracle_part(o)) != NULL)
			sequence->parts[sequence->n++] = oracle_times(o, part, inner);
		if (*o->p != '|')
			return either;
		o->p++;
		oracle_space(o, true);
	}
}

/* source ends with a NUL. */
static Oracle *
oracle_parse(TeArena *arena, const char *source)
{
	Oracle	   *o = te_new(arena, Oracle);

	o->arena = arena;
	o->p = source;
	oracle_space(o, true);
	while (*o->p != '\0')
	{
		const char *start = o->p;

		o->p += strcspn(o->p, " \t:");
		o->names[o->n_rules] = (TeStr) {start, (size_t) (o->p - start)};
		o->p = strstr(o->p, "::=") + 3;
		oracle_space(o, true);
		o->rules[o->n_rules++] = oracle_either(o, false);
		oracle_space(o, true);
	}
	return o;
}

static int
oracle_rule(const Oracle *o, TeStr name)
{
	for (int i = 0; i < o->n_rules; i++)
	{
		if (te_str_eq(o->names[i], name))
			return i;
	}
	te_throw(TE_ERR_INTERNAL, "the oracle does not know rule %.*s", TE_STR_ARGS(name));
}

static uint8_t *oracle_run(Oracle *o, const Term *t, const uint8_t *from);

static uint8_t *
oracle_run_rule(Oracle *o, int rule, const uint8_t *from)
{
	uint8_t    *to = te_new_array(o->work, uint8_t, o->n + 1);

	for (size_t i = 0; i <= o->n; i++)
	{
		uint8_t   **known = &o->known[(size_t) rule * (o->n + 1) + i];

		if (!from[i])
			continue;
		if (*known == NULL)
		{
			uint8_t    *one = te_new_array(o->work, uint8_t, o->n + 1);

			one[i] = 1;
			*known = oracle_run(o, o->rules[rule], one);
		}
		for (size_t j = 0; j <= o->n; j++)
			to[j] |= (*known)[j];
	}
	return to;
}

static bool
oracle_has(const Term *t, uint32_t c)
{
	bool		found = false;

	for (int i = 0; i < t->n; i++)
		found = found || (c >= t->from[i] && c <= t->to[i]);
	return found != t->negated;
}

/* Until nothing is new. */
static uint8_t *
oracle_run_times(Oracle *o, const Term *t, const uint8_t *from)
{
	uint8_t    *all = te_new_array(o->work, uint8_t, o->n + 1);
	const uint8_t *at = from;

	for (int i = 0; t->max < 0 || i <= t->max; i++)
	{
		bool		more = false;

		for (size_t j = 0; j <= o->n && i >= t->min; j++)
		{
			more = more || (at[j] && !all[j]);
			all[j] |= at[j];
		}
		if (i >= t->min && !more)
			break;
		at = oracle_run(o, t->parts[0], at);
	}
	return all;
}

/* Where t can end if it begins at one of the places. */
static uint8_t *
oracle_run(Oracle *o, const Term *t, const uint8_t *from)
{
	uint8_t    *to = te_new_array(o->work, uint8_t, o->n + 1);
	bool		any = false;

	for (size_t i = 0; i <= o->n; i++)
		any = any || from[i];
	if (!any)
		return to;
	switch (t->kind)
	{
		case 'c':
			for (size_t i = 0; i < o->n; i++)
				to[i + 1] = from[i] && oracle_has(t, o->text[i]);
			return to;
		case 's':
			memcpy(to, from, o->n + 1);
			for (int i = 0; i < t->n; i++)
				to = oracle_run(o, t->parts[i], to);
			return to;
		case 'e':
			for (int i = 0; i < t->n; i++)
			{
				const uint8_t *one = oracle_run(o, t->parts[i], from);

				for (size_t j = 0; j <= o->n; j++)
					to[j] |= one[j];
			}
			return to;
		case 'r':
			return oracle_run_rule(o, oracle_rule(o, t->name), from);
		default:
			return oracle_run_times(o, t, from);
	}
}

static bool
oracle_matches(Oracle *o, TeStr text)
{
	const char *p = text.data;
	uint8_t    *from;
	bool		result;

	if (!te_utf8_valid(text))
		return false;
	o->work = te_arena_create(o->arena, "oracle");
	o->n = 0;
	o->text = te_new_array(o->work, uint32_t, text.len);
	while (text.len > 0 && p < text.data + text.len)
		o->text[o->n++] = (uint32_t) te_utf8_next(&p, text.data + text.len);
	o->known = te_new_array(o->work, uint8_t *, (size_t) o->n_rules * (o->n + 1));
	from = te_new_array(o->work, uint8_t, o->n + 1);
	from[0] = 1;
	result = oracle_run_rule(o, oracle_rule(o, TE_STR("root")), from)[o->n];
	te_arena_destroy(o->work);
	return result;
}

#endif							/* TE_GBNF_ORACLE_H */
