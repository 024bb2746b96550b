/*-------------------------------------------------------------------------
 * train_background.c
 *	  Training in a background worker.
 *
 * finetune(..., background => true) only describes the run (run.json, with who called and
 * with which settings).  Before the transaction commits a worker is asked for, so that having none is an
 * error that the caller sees; the worker then waits for the end of that
 * transaction and does nothing where it was rolled back.
 *
 * The worker is the caller as far as the server lets it: connected to the same database as the same session
 * user, with the current user put in its place as a SECURITY DEFINER function would (so that code of a query
 * cannot get back to the session user), and with the settings that the caller's session had made.
 * Those are found by their source: what the server's files and ALTER ROLE say, the worker
 * has by itself.
 *
 * What it trains may be dropped meanwhile, and so may the extension.  Dropping that stops the workers of the database (object_access()).
 *
 * Nobody waits for it: what it has to say goes to the server log and to the run's status.  It is not started again
 * after a crash; resume_training() goes on where it stopped.
 *-------------------------------------------------------------------------
 */
#include "pg/train.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc_tables.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static object_access_hook_type next_object_access;

#define LOCK_SECONDS 30.0		/* the caller's lock goes right after its commit */

/* What the worker is told, in bgw_extra. */
typedef struct WorkerArguments
{
	Oid			database;
	Oid			session_user;
	TransactionId xid;			/* that has to commit first */
	int64		run;
} WorkerArguments;

StaticAssertDecl(sizeof(WorkerArguments) <= BGW_EXTRALEN, "arguments of a worker");

PGDLLEXPORT void transformer_training_worker(Datum argument);

/* ---- the end of the extension ---- */

Oid
tr_extension(void)
{
	return get_extension_oid("transformer", true);
}

static void
object_access(ObjectAccessType access, Oid class, Oid object, int part, void *arg)
{
	if (next_object_access != NULL)
		next_object_access(access, class, object, part, arg);
	if (access == OAT_DROP && class == ExtensionRelationId && object == tr_extension())
		tr_runs_drop();
}

void
tr_training_init(void)
{
	next_object_access = object_access_hook;
	object_access_hook = object_access;
}

/* ---- settings of the caller's session ---- */

/* Made by SET or by the client, and of meaning to another session. */
static bool
is_of_session(const struct config_generic *setting)
{
	static const char *const others[] = {
		"application_name", "client_encoding", "is_superuser", "role", "seed", "session_authorization",
		"transaction_deferrable", "transaction_isolation", "transaction_read_only", "idle_in_transaction_session_timeout",
		"statement_timeout", "lock_timeout", "idle_session_timeout", "transaction_timeout"
	};

	if (setting->source != PGC_S_SESSION && setting->source != PGC_S_CLIENT)
		return false;
	if (setting->context != PGC_USERSET && setting->context != PGC_SUSET)
		return false;
	for (int i = 0; i < (int) lengthof(others); i++)
	{
		if (strcmp(setting->name, others[i]) == 0)
			return false;
	}
	return true;
}

void
tr_background_describe(TeArena *arena, TeJson *json)
{
	TeJson	   *settings = te_json_new_object(arena);
	int			n;
	struct config_generic **all = tr_guc_variables(&n);

	for (int i = 0; i < n; i++)
	{
		const char *value;

		if (!is_of_session(all[i]))
			continue;
		value = GetConfigOption(all[i]->name, true, false);
		if (value != NULL)
			te_json_set_str(te_json_add(arena, settings, te_cstring(arena, te_str(all[i]->name))),
							te_str_copy(arena, tr_utf8(cstring_to_text(value))));
	}
	te_json_set_copy(arena, te_json_add(arena, json, "settings"), settings);
	te_json_set_int(te_json_add(arena, json, "session_user"), GetSessionUserId());
	te_json_set_int(te_json_add(arena, json, "xid"), GetTopTransactionId());
}

/* A setting that this server, or the role, does not allow here stays as it is. */
static void
apply_settings(const TeJson *settings)
{
	for (uint32 i = 0; settings != NULL && i < settings->n; i++)
	{
		const TeJson *setting = &settings->items[i];

		if (setting->kind == TE_JSON_STRING)
			(void) set_config_option(tr_cstring(setting->key), tr_cstring(setting->string),
									 superuser() ? PGC_SUSET : PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET, true, LOG, false);
	}
}

void
tr_background_become(const TeJson *description)
{
	Oid			user;
	int			context;
	Oid			owner = tr_run_owner(description);

	if (!OidIsValid(owner))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("the role that began the training was dropped")));
	GetUserIdAndSecContext(&user, &context);
	if (owner != user)
		SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	apply_settings(te_json_get(description, "settings"));
}

/* ---- starting one ---- */

void
tr_background_start(int64 run)
{
	BackgroundWorker worker = {
		.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION,
		.bgw_start_time = BgWorkerStart_RecoveryFinished,
		.bgw_restart_time = BGW_NEVER_RESTART,
		.bgw_library_name = "transformer",
		.bgw_function_name = "transformer_training_worker",
		.bgw_type = "transformer training",
	};
	WorkerArguments arguments = {
		.database = MyDatabaseId,.session_user = GetSessionUserId(),.xid = GetTopTransactionId(),.run = run
	};

	snprintf(worker.bgw_name, BGW_MAXLEN, "transformer training " INT64_FORMAT, run);
	memcpy(worker.bgw_extra, &arguments, sizeof(arguments));
	if (!RegisterDynamicBackgroundWorker(&worker, NULL))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("could not start training run " INT64_FORMAT " in the background", run),
						errdetail("All background workers are in use."),
						errhint("Raise max_worker_processes, or train in the foreground.")));
}

/* ---- being one ---- */

/* Wait for the transaction that asked for the run; false where it was rolled back. */
static bool
was_committed(const WorkerArguments *arguments)
{
	XactLockTableWait(arguments->xid, NULL, NULL, XLTW_None);
	return TransactionIdDidCommit(arguments->xid);
}

/* The caller holds the lock until just after its commit. */
static bool
take_lock(int64 run)
{
	double		end = te_host_seconds() + LOCK_SECONDS;

	while (tr_run_exists(run) && !tr_run_lock(run))
	{
		if (te_host_seconds() > end)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return tr_run_exists(run);
}

static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/* As the session user: it need not be one that may log in, since somebody did. */
void
transformer_training_worker(Datum argument)
{
	WorkerArguments arguments;
	MemoryContext memory;
	bool		begin;

	memcpy(&arguments, MyBgworkerEntry->bgw_extra, sizeof(arguments));
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, StatementCancelHandler);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(arguments.database, arguments.session_user, TR_BGWORKER_FLAGS);
	memory = AllocSetContextCreate(TopMemoryContext, "transformer training", ALLOCSET_DEFAULT_SIZES);
	tr_runs_outlive_transactions();

	pgstat_report_activity(STATE_RUNNING, MyBgworkerEntry->bgw_name);
	begin_transaction();
	begin = was_committed(&arguments) && take_lock(arguments.run);
	PopActiveSnapshot();
	CommitTransactionCommand();
	if (begin)
	{
		/* another one, which sees what that transaction has written */
		begin_transaction();
		MemoryContextSwitchTo(memory);
		tr_train_queued(tr_training_arena(memory), arguments.run);
	}
	pgstat_report_activity(STATE_IDLE, NULL);
}
