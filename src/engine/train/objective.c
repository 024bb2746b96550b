/*-------------------------------------------------------------------------
 * objective.c
 *	  The table of objectives, and which of them a statement means.
 *
 * A task may have several, told apart by their columns: the first whose columns the query has
 * all of (but for optional ones) is the one.
 *-------------------------------------------------------------------------
 */
#include "train/train.h"

static const TeObjective *const objectives[] = {
#define OBJECTIVE_ROW(name) &te_objective_##name,
	TE_OBJECTIVES(OBJECTIVE_ROW)
#undef OBJECTIVE_ROW
};

const TeColumn *
te_objective_columns(const TeObjective *objective)
{
	return objective->columns;
}

const char *
te_objective_teacher(const TeObjective *objective)
{
	return objective->teacher;
}

const char *
te_objective_name(const TeObjective *objective)
{
	return objective->name;
}

const char *
te_objective_task(const TeObjective *objective)
{
	return objective->task;
}

const TeObjective *
te_objective_by_name(TeStr name)
{
	for (size_t i = 0; i < TE_LENGTH(objectives); i++)
	{
		if (te_str_is(name, objectives[i]->name))
			return objectives[i];
	}
	te_throw(TE_ERR_CORRUPT, "there is no objective \"%.*s\"", TE_STR_ARGS(name));
}

/* The first column that the objective needs and the query lacks, or NULL. */
static const TeColumn *
missing_column(const TeObjective *objective, const TeStr *columns, size_t n)
{
	for (const TeColumn *column = objective->columns; column->name != NULL; column++)
	{
		bool		found = column->optional;

		for (size_t i = 0; i < n; i++)
			found |= te_str_is(columns[i], column->name);
		if (!found)
			return column;
	}
	return NULL;
}

static const char *
list_columns(TeArena *arena, const TeObjective *objective)
{
	const char *list = "";

	for (const TeColumn *column = objective->columns; column->name != NULL; column++)
		list = te_format(arena, "%s%s%s%s", list, list[0] == '\0' ? "" : ", ", column->name, column->optional ? " (optional)" : "");
	return list;
}

static bool
is_of(const TeObjective *objective, const char *statement, TeStr task)
{
	return strcmp(objective->statement, statement) == 0 && te_str_is(task, objective->task);
}

/* A tokenizer has all, so that it is refused for having no weights. */
static bool
has_head(TeStr architecture, TeHeadKind head)
{
	return te_str_is(architecture, "tokenizer") || te_arch_head(te_arch_by_name(architecture), head) != NULL;
}

/*
 * The task that is meant where none is said: that which makes such a model, or what the statement usually means for one
 * of its architecture.
 */
static TeStr
usual_task(const char *statement, TeStr model_task, TeStr architecture)
{
	const TeObjective *usual = NULL;

	for (size_t i = 0; i < TE_LENGTH(objectives); i++)
	{
		if (strcmp(objectives[i]->statement, statement) != 0)
			continue;
		if (te_str_is(model_task, objectives[i]->model_task))
			return te_str(objectives[i]->task);
		if (objectives[i]->usual && has_head(architecture, objectives[i]->head))
			usual = objectives[i];
	}
	return usual != NULL ? te_str(usual->task) : model_task;
}

static TE_NORETURN void
throw_task(TeArena *arena, const char *statement, TeStr task)
{
	const char *list = "";

	for (size_t i = 0; i < TE_LENGTH(objectives); i++)
	{
		bool		first = strcmp(objectives[i]->statement, statement) == 0;

		/* a task that has several is named once */
		for (size_t j = 0; j < i; j++)
			first &= !is_of(objectives[j], statement, te_str(objectives[i]->task));
		if (first)
			list = te_format(arena, "%s%s\"%s\"", list, list[0] == '\0' ? "" : ", ", objectives[i]->task);
	}
	te_throw_hint(TE_ERR_INVALID, NULL, te_format(arena, "There are %s.", list), "%s knows no task \"%.*s\"", statement,
				  TE_STR_ARGS(task));
}

const TeObjective *
te_objective_find(TeArena *arena, const char *statement, TeStr task, TeStr model_task, TeStr architecture,
				  const TeStr *columns, size_t n_columns)
{
	TeStr		wanted = task.len > 0 ? te_task_name(task) : usual_task(statement, model_task, architecture);
	const char *wants = "";
	const char *missing = NULL;

	for (size_t i = 0; i < TE_LENGTH(objectives); i++)
	{
		const TeColumn *column;

		if (!is_of(objectives[i], statement, wanted))
			continue;
		column = missing_column(objectives[i], columns, n_columns);
		if (column == NULL)
			return objectives[i];
		if (missing == NULL)
			missing = column->name;
		wants = te_format(arena, "%s%s%s", wants, wants[0] == '\0' ? "" : "; or ", list_columns(arena, objectives[i]));
	}
	if (missing == NULL)
		throw_task(arena, statement, wanted);
	te_throw_hint(TE_ERR_INVALID, te_format(arena, "The task \"%.*s\" wants the columns %s.", TE_STR_ARGS(wanted), wants),
				  "Name the columns in the query: SELECT body AS text, ... .",
				  "the query has no column \"%s\"", missing);
}
