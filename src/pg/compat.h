/*-------------------------------------------------------------------------
 * compat.h
 *	  What differs between PostgreSQL 14 and 18, and nothing else.
 *
 * The only file that looks at PG_VERSION_NUM.  Each difference gets one name
 * with the prefix TR_ or tr_, written for the newest version; older ones are
 * made to look like it.
 *-------------------------------------------------------------------------
 */
#ifndef TRANSFORMER_COMPAT_H
#define TRANSFORMER_COMPAT_H

#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#if PG_VERSION_NUM < 140000
#error "transformer needs PostgreSQL 14 or later"
#endif

#if PG_VERSION_NUM >= 180000
#define TR_MODULE_MAGIC(module, release) PG_MODULE_MAGIC_EXT(.name = module, .version = release)
#else
#define TR_MODULE_MAGIC(module, release) PG_MODULE_MAGIC
#endif

#if PG_VERSION_NUM >= 150000
#define tr_reserve_prefix(prefix) MarkGUCPrefixReserved(prefix)
#else
#define tr_reserve_prefix(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

#if PG_VERSION_NUM >= 180000
#define tr_primary_key(relation) RelationGetPrimaryKeyIndex((relation), false)
#else
#define tr_primary_key(relation) RelationGetPrimaryKeyIndex(relation)
#endif

#if PG_VERSION_NUM >= 160000
#define tr_backend_entry(index) pgstat_get_local_beentry_by_index(index)
#else
#define tr_backend_entry(index) pgstat_fetch_stat_local_beentry(index)
#endif

/* An expression of SQL/JSON, which evaluates some of its parts conditionally. */
#if PG_VERSION_NUM >= 170000
#define tr_is_json_expr(node) IsA(node, JsonExpr)
#else
#define tr_is_json_expr(node) false
#endif

#if PG_VERSION_NUM >= 170000
#define tr_estimate_array_length(root, array) estimate_array_length((root), (array))
#else
#define tr_estimate_array_length(root, array) ((double) estimate_array_length(array))
#endif

/* May an internal subtransaction begin in a process that takes part in a parallel query? */
#if PG_VERSION_NUM >= 180000
#define TR_PARALLEL_SUBTRANSACTIONS true
#else
#define TR_PARALLEL_SUBTRANSACTIONS false
#endif

/* All settings of the server. */
#if PG_VERSION_NUM >= 160000
#define tr_guc_variables(n) get_guc_variables(n)
#else
#define tr_guc_variables(n) (*(n) = GetNumConfigOptions(), get_guc_variables())
#endif

/* A worker for a role that may not log in. */
#if PG_VERSION_NUM >= 170000
#define TR_BGWORKER_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define TR_BGWORKER_FLAGS 0
#endif

/* EXPLAIN's headers were taken apart. */
#include "commands/explain.h"
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* A set-returning function that fills fcinfo->resultinfo's tuplestore. */
#if PG_VERSION_NUM >= 150000
#define tr_srf_begin(fcinfo) InitMaterializedSRF((fcinfo), 0)
#else
static inline void
tr_srf_begin(FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	TupleDesc	descriptor;
	MemoryContext before;

	if (result == NULL || !IsA(result, ReturnSetInfo) || !(result->allowedModes & SFRM_Materialize))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("set-valued function called in context that cannot accept a set")));
	before = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	result->returnMode = SFRM_Materialize;
	result->setResult = tuplestore_begin_heap(true, false, work_mem);
	result->setDesc = descriptor;
	MemoryContextSwitchTo(before);
}
#endif

#endif							/* TRANSFORMER_COMPAT_H */
