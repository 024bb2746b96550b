/*-------------------------------------------------------------------------
 * pinned.c
 *	  Which columns and indexes depend on a version of a model.
 *
 * embed_pinned(input, 'name@3') and classify_pinned() are IMMUTABLE, so they stand in generated
 * columns, defaults, index expressions and check constraints.  Their stored
 * results are of that version, and rows inserted later need it: it must not be
 * dropped or renamed.  PostgreSQL records that such an expression
 * depends on the function, not on the model, so we take the expressions
 * that depend on one of the functions (pg_depend) and look for calls whose model
 * is a constant.
 *
 * Only this database is looked at, which is where the model is.  Views and
 * functions that name a version are not protected; they store nothing.
 *
 * To add a pinned function: its name in pinned_functions[].
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* Their second argument is the model. */
static const char *const pinned_functions[] = {"embed_pinned", "classify_pinned"};

typedef struct PinnedSearch
{
	Oid			function;
	const char *name;
	int32		version;		/* 0: any */
	bool		found;
} PinnedSearch;

/* Does a constant model argument mean what we look for? */
static bool
argument_matches(const PinnedSearch *search, Node *argument)
{
	const char *model;
	const char *at;

	while (argument != NULL && IsA(argument, RelabelType))
		argument = (Node *) ((RelabelType *) argument)->arg;
	if (argument == NULL || !IsA(argument, Const) || ((Const *) argument)->constisnull ||
		((Const *) argument)->consttype != TEXTOID)
		return false;
	model = TextDatumGetCString(((Const *) argument)->constvalue);
	at = strchr(model, '@');
	if (at == NULL || (size_t) (at - model) != strlen(search->name) || strncmp(model, search->name, at - model) != 0)
		return false;
	return search->version == 0 || atoi(at + 1) == search->version;
}

static bool
search_walker(Node *node, void *context)
{
	PinnedSearch *search = context;

	if (node == NULL)
		return false;
	if (IsA(node, FuncExpr))
	{
		FuncExpr   *call = (FuncExpr *) node;

		if (call->funcid == search->function && list_length(call->args) >= 2 &&
			argument_matches(search, lsecond(call->args)))
		{
			search->found = true;
			return true;
		}
	}
	return expression_tree_walker(node, search_walker, context);
}

/* Look into a column of type pg_node_tree. */
static void
search_column(PinnedSearch *search, HeapTuple tuple, TupleDesc columns, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, columns, &isnull);

	if (!isnull)
		search_walker(stringToNode(TextDatumGetCString(value)), search);
}

/* A row of a catalog found by one or two of its columns, and its columns with expressions. */
static void
search_row(PinnedSearch *search, Oid catalog, Oid index, int key_column, Oid key, int key2_column, int16 key2,
		   int column, int column2)
{
	Relation	relation = table_open(catalog, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], key_column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(key));
	if (key2_column > 0)
		ScanKeyInit(&keys[1], key2_column, BTEqualStrategyNumber, F_INT2EQ, Int16GetDatum(key2));
	scan = systable_beginscan(relation, index, true, NULL, key2_column > 0 ? 2 : 1, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		search_column(search, tuple, RelationGetDescr(relation), column);
		if (column2 > 0)
			search_column(search, tuple, RelationGetDescr(relation), column2);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
}

/*
 * An object that depends on the function.  A generated column's expression is recorded
 * for the column itself up to PostgreSQL 14, for its default since.
 */
static void
search_dependent(PinnedSearch *search, Oid class, Oid object, int32 column)
{
	if (class == AttrDefaultRelationId)
		search_row(search, AttrDefaultRelationId, AttrDefaultOidIndexId, Anum_pg_attrdef_oid, object, 0, 0,
				   Anum_pg_attrdef_adbin, 0);
	else if (class == ConstraintRelationId)
		search_row(search, ConstraintRelationId, ConstraintOidIndexId, Anum_pg_constraint_oid, object, 0, 0,
				   Anum_pg_constraint_conbin, 0);
	else if (class == RelationRelationId && column != 0)
		search_row(search, AttrDefaultRelationId, AttrDefaultIndexId, Anum_pg_attrdef_adrelid, object,
				   Anum_pg_attrdef_adnum, (int16) column, Anum_pg_attrdef_adbin, 0);
	else if (class == RelationRelationId)
		search_row(search, IndexRelationId, IndexRelidIndexId, Anum_pg_index_indexrelid, object, 0, 0,
				   Anum_pg_index_indexprs, Anum_pg_index_indpred);
}

/* Throw if an object that depends on search->function names the version. */
static void
check_dependents(PinnedSearch *search, const char *action)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(search->function));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend row = (Form_pg_depend) GETSTRUCT(tuple);
		ObjectAddress object = {row->classid, row->objid, row->objsubid};

		search_dependent(search, row->classid, row->objid, row->objsubid);
		if (search->found)
			ereport(ERROR, (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
							errmsg("cannot %s model \"%s\" because other objects depend on it", action,
								   search->version > 0 ? tr_version_name(search->name, search->version) : search->name),
							errdetail("It is named by %s.", getObjectDescription(&object, false)),
							errhint("Drop or change the dependent object first.")));
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

void
tr_check_not_pinned(const char *name, int32 version, const char *action)
{
	Oid			extension = get_extension_oid("transformer", true);

	for (int i = 0; i < (int) lengthof(pinned_functions); i++)
	{
		CatCList   *functions = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(pinned_functions[i]));

		for (int j = 0; j < functions->n_members; j++)
		{
			Form_pg_proc function = (Form_pg_proc) GETSTRUCT(&functions->members[j]->tuple);
			PinnedSearch search = {.function = function->oid,.name = name,.version = version};

			if (getExtensionOfObject(ProcedureRelationId, function->oid) == extension)
				check_dependents(&search, action);
		}
		ReleaseSysCacheList(functions);
	}
}
