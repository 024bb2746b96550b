/*-------------------------------------------------------------------------
 * progress.c
 *	  How far an import, or the training of a tokenizer, is, for other sessions to see.
 *
 * The server has room in shared memory for the progress of one command of each
 * backend: a number for the command and some counters.  It takes any number,
 * clears the entry at the end of the command and when a transaction
 * aborts, and shows those of its own commands.  So an import reports under a number of ours,
 * with no shared memory of our own and nothing to clean up, and a view of ours
 * shows it.  Nothing is reported with track_activities off.
 *
 * Who sees what is as in the server's pg_stat_progress views: anybody which
 * backends are at it, but how far only those with the rights of its user or
 * of pg_read_all_stats.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/acl.h"
#include "utils/backend_status.h"
#include "utils/builtins.h"

#define IMPORT_COMMAND ((ProgressCommandType) 0x7472)	/* none of the server's */

/* Counters of the entry. */
enum
{
	PARAM_PHASE,
	PARAM_TENSORS_DONE,
	PARAM_TENSORS_TOTAL,
	PARAM_BYTES_DONE,
	PARAM_BYTES_TOTAL
};

static const char *const phases[] = {
	[TR_IMPORT_READING] = "reading header",
	[TR_IMPORT_STORING] = "storing tensors",
	[TR_IMPORT_BUILDING] = "building image",
	[TR_IMPORT_COUNTING] = "counting words",
	[TR_IMPORT_LEARNING] = "learning vocabulary",
};

/* ---- reporting ---- */

void
tr_import_begin(void)
{
	pgstat_progress_start_command(IMPORT_COMMAND, InvalidOid);
	tr_import_phase(TR_IMPORT_READING);
}

void
tr_import_phase(TrImportPhase phase)
{
	pgstat_progress_update_param(PARAM_PHASE, phase);
}

void
tr_import_size(uint64 tensors, uint64 bytes)
{
	const int	params[] = {PARAM_TENSORS_TOTAL, PARAM_BYTES_TOTAL};
	const int64 values[] = {(int64) tensors, (int64) bytes};

	pgstat_progress_update_multi_param(lengthof(params), params, values);
}

void
tr_import_done(uint64 tensors, uint64 bytes)
{
	const int	params[] = {PARAM_TENSORS_DONE, PARAM_BYTES_DONE};
	const int64 values[] = {(int64) tensors, (int64) bytes};

	pgstat_progress_update_multi_param(lengthof(params), params, values);
}

void
tr_import_end(void)
{
	pgstat_progress_end_command();
}

/* ---- the view ---- */

#define COLUMNS 8

/* The user's own, as pg_stat_activity decides it. */
static bool
may_see(Oid user)
{
	return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) || has_privs_of_role(GetUserId(), user);
}

/* A name as a Datum; null where it is of something that was dropped. */
static Datum
name_or_null(const char *name, bool *isnull)
{
	*isnull = name == NULL;
	return name == NULL ? (Datum) 0 : DirectFunctionCall1(namein, CStringGetDatum(name));
}

static void
add_backend(ReturnSetInfo *result, const PgBackendStatus *backend)
{
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	int64		phase = backend->st_progress_param[PARAM_PHASE];

	values[0] = Int32GetDatum(backend->st_procpid);
	values[1] = name_or_null(get_database_name(backend->st_databaseid), &nulls[1]);
	values[2] = name_or_null(GetUserNameFromId(backend->st_userid, true), &nulls[2]);
	if (may_see(backend->st_userid) && phase >= 0 && phase < (int64) lengthof(phases))
	{
		values[3] = CStringGetTextDatum(phases[phase]);
		for (int i = PARAM_TENSORS_DONE; i <= PARAM_BYTES_TOTAL; i++)
			values[3 + i] = Int64GetDatum(backend->st_progress_param[i]);
	}
	else
		memset(&nulls[3], true, sizeof(bool) * (COLUMNS - 3));
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(transformer_import_progress);
Datum
transformer_import_progress(PG_FUNCTION_ARGS)
{
	int			n = pgstat_fetch_stat_numbackends();

	tr_srf_begin(fcinfo);
	for (int i = 1; i <= n; i++)
	{
		LocalPgBackendStatus *entry = tr_backend_entry(i);

		if (entry != NULL && entry->backendStatus.st_progress_command == IMPORT_COMMAND)
			add_backend((ReturnSetInfo *) fcinfo->resultinfo, &entry->backendStatus);
	}
	return (Datum) 0;
}
