/*-------------------------------------------------------------------------
 * resolve.c
 *	  From a model's name to an engine that runs it, in this backend.
 *
 *	  name -> version	by the active snapshot, remembered while that is the same
 *	  version -> image	by the digest; shared memory (store.c)
 *	  image -> TrModel	attached once, kept over transactions
 *	  TrModel -> TrSession	workspace and jobs, or a generator, of the engine, kept over calls
 *
 * Which version.  Names are looked up with the active snapshot, so a statement
 * sees the version that it should, and a transaction its own.  A result is
 * remembered, together with the role whose privilege was checked, for as long
 * as the active snapshot is equal to that of the look-up; and it is forgotten
 * at the end of a transaction and when a subtransaction is rolled back, since
 * that can take back what an equal snapshot saw.  Messages of the relation
 * cache cannot replace this: a change is visible to others before its message
 * arrives.
 *
 * Lifetimes.  A TrModel that was handed out is valid until the end of the
 * transaction.  Then those whose image is not the one in shared memory any
 * more (evicted, unloaded) are let go, so that the memory comes back.  A
 * session lives in a context of its own below its model's; a session that an
 * error left in the middle of a job is dropped when the (sub)transaction that
 * began the job aborts, one that has grown large at the end of the
 * transaction. Jobs may nest (a trigger that embeds, fired by embed_table):
 * each gets a session that is idle.  A session with a generator has nothing else; it is
 * kept with the keys and values of what prompts had in common, so that a session (of users) computes a prefix once, and
 * with what its workspace has grown to.
 *
 * Texts that were cut are counted here and reported once a statement: when the
 * memory of the statement's portal goes (a procedure commits meanwhile), or
 * else before commit.
 */
#include "pg/catalog.h"
#include "pg/store.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "tcop/pquery.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"

#define MEMO_ENTRIES 8
#define MEMO_NAME 136			/* longer names are looked up each time */
#define SESSION_JOBS 4
#define SESSION_KEPT ((Size) 4 * 1024 * 1024)	/* a larger workspace ends with the transaction */

typedef struct KeptJob
{
	const char *task;			/* NULL: free */
	const char *kind;			/* or NULL */
	bool		keep_pair;
	int			top_k;
	TeJob	   *job;
} KeptJob;

/*
 * Workspace of the engine for one computation at a time.  A quarter of it is
 * for the activations of a batch, the rest for texts, tokens, results and what
 * their growth leaves unused.
 */
typedef struct TrSession
{
	struct TrSession *next;
	MemoryContext context;
	TeArena    *arena;
	TeSession  *engine;
	Size		limit;			/* as the settings were */
	Size		cache;			/* the same, of keys and values; 0: it has no generator */
	const char *cache_type;
	SubTransactionId busy;		/* in which a job runs; 0: idle */
	TeUsage		accounted;		/* of engine's usage */
	KeptJob		jobs[SESSION_JOBS];
	TeGenerator *generator;
} TrSession;

struct TrModel
{
	struct TrModel *next;
	MemoryContext context;
	TrMapping	mapping;
	int			slot;			/* in the control file, as found by the last statement */
	TeModel    *engine;
	TrSession  *sessions;
};

typedef struct Memo
{
	char		name[MEMO_NAME];	/* as the user wrote it; empty: free */
	Oid			role;
	TrModel    *model;
} Memo;

/* What decides what a snapshot sees, within one (sub)transaction. */
typedef struct SnapshotKey
{
	TransactionId xmin;
	TransactionId xmax;
	CommandId	curcid;
	uint32		n_xids;
	int32		n_subxids;
	bool		overflowed;
	TransactionId *xids;		/* in progress, then subtransactions */
	uint32		capacity;
} SnapshotKey;

static TrModel *models = NULL;
static Memo memos[MEMO_ENTRIES];
static int	next_memo = 0;
static SnapshotKey memo_snapshot;
static MemoryContext models_context = NULL;

static TeArena *scratch = NULL; /* tr_scratch()'s */
static MemoryContext scratch_context = NULL;
static Size scratch_limit = 0;	/* as the settings were */

static TeUsage usage_in_all;	/* of this backend's jobs */
static uint64 texts_cut = 0;	/* not reported yet */
static bool report_is_due = false;	/* a portal's end will report them */

/* ---- snapshots ---- */

static bool
same_snapshot(Snapshot snapshot)
{
	const SnapshotKey *key = &memo_snapshot;

	return snapshot->xmin == key->xmin && snapshot->xmax == key->xmax &&
		snapshot->curcid == key->curcid &&
		snapshot->xcnt == key->n_xids && snapshot->subxcnt == key->n_subxids &&
		snapshot->suboverflowed == key->overflowed &&
		memcmp(snapshot->xip, key->xids, key->n_xids * sizeof(TransactionId)) == 0 &&
		memcmp(snapshot->subxip, key->xids + key->n_xids, key->n_subxids * sizeof(TransactionId)) == 0;
}

static void
remember_snapshot(Snapshot snapshot)
{
	SnapshotKey *key = &memo_snapshot;
	uint32		needed = snapshot->xcnt + snapshot->subxcnt + 1;

	if (key->xids == NULL || needed > key->capacity)
	{
		if (key->xids != NULL)
			pfree(key->xids);
		key->xids = NULL;
		key->xids = MemoryContextAlloc(models_context, needed * 2 * sizeof(TransactionId));
		key->capacity = needed * 2;
	}
	key->xmin = snapshot->xmin;
	key->xmax = snapshot->xmax;
	key->curcid = snapshot->curcid;
	key->n_xids = snapshot->xcnt;
	key->n_subxids = snapshot->subxcnt;
	key->overflowed = snapshot->suboverflowed;
	memcpy(key->xids, snapshot->xip, key->n_xids * sizeof(TransactionId));
	memcpy(key->xids + key->n_xids, snapshot->subxip, key->n_subxids * sizeof(TransactionId));
}

static void
forget_names(void)
{
	memset(memos, 0, sizeof(memos));
}

static TrModel *
recall(Snapshot snapshot, const char *name)
{
	Oid			role = GetUserId();

	for (int i = 0; i < MEMO_ENTRIES; i++)
		if (memos[i].name[0] != '\0' && memos[i].role == role && strcmp(memos[i].name, name) == 0)
			return same_snapshot(snapshot) ? memos[i].model : NULL;
	return NULL;
}

static void
memorize(Snapshot snapshot, const char *name, TrModel *model)
{
	if (strlen(name) >= MEMO_NAME)
		return;
	if (memo_snapshot.xids == NULL || !same_snapshot(snapshot))
	{
		forget_names();
		remember_snapshot(snapshot);
	}
	strlcpy(memos[next_memo].name, name, MEMO_NAME);
	memos[next_memo].role = GetUserId();
	memos[next_memo].model = model;
	next_memo = (next_memo + 1) % MEMO_ENTRIES;
}

/* ---- texts that were cut ---- */

static void
report_cut(void)
{
	uint64		n = texts_cut;

	texts_cut = 0;
	report_is_due = false;
	if (n == 0)
		return;
	ereport(WARNING,
			(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
			 errmsg_plural("%llu text was longer than the model's limit and was cut",
						   "%llu texts were longer than the model's limit and were cut",
						   (unsigned long) Min(n, 1000), (unsigned long long) n),
			 errhint("Split long texts with transformer.chunk(), or set transformer.truncate to error or silent.")));
}

/* A portal that goes because of an error says nothing. */
static void
portal_ends(void *arg)
{
	if (IsTransactionState())
		report_cut();
	else
		report_is_due = false;
}

static void
count_cut(uint64 n)
{
	MemoryContextCallback *callback;

	if (n == 0 || tr_truncate != TR_TRUNCATE_WARN)
		return;
	texts_cut += n;
	if (report_is_due || ActivePortal == NULL)
		return;
	callback = MemoryContextAllocZero(ActivePortal->portalContext, sizeof(MemoryContextCallback));
	callback->func = portal_ends;
	MemoryContextRegisterResetCallback(ActivePortal->portalContext, callback);
	report_is_due = true;
}

/* ---- sessions ---- */

static void
drop_session(TrModel *model, TrSession *session)
{
	for (TrSession **link = &model->sessions; *link != NULL; link = &(*link)->next)
		if (*link == session)
		{
			*link = session->next;
			break;
		}
	MemoryContextDelete(session->context);
}

static void
fill_session(TrModel *model, TrSession *session)
{
	TeGeneratorLimits limits = {.cache_bytes = session->cache,.cache_type = te_str(session->cache_type)};

	session->arena = tr_arena(session->context, "session", session->limit + session->cache);
	session->engine = te_session_create(session->arena, model->engine, session->limit / 4);
	if (session->cache > 0)
		session->generator = te_generator_create(session->engine, &limits);
}

static TrSession *
make_session(TrModel *model, Size cache)
{
	MemoryContext context = AllocSetContextCreate(model->context, "transformer session", ALLOCSET_DEFAULT_SIZES);
	TrSession  *session = MemoryContextAllocZero(context, sizeof(TrSession));

	session->context = context;
	session->limit = tr_session_limit();
	session->cache = cache;
	session->cache_type = tr_cache_type();
	PG_TRY();
	{
		fill_session(model, session);
	}
	PG_CATCH();
	{
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	session->next = model->sessions;
	model->sessions = session;
	return session;
}

/* One on which nothing runs, set up as the settings say now; cache > 0: with a generator. */
static TrSession *
idle_session(TrModel *model, Size cache)
{
	TrSession  *session = model->sessions;

	while (session != NULL && (session->busy != InvalidSubTransactionId || (session->cache > 0) != (cache > 0)))
		session = session->next;
	if (session != NULL && (session->limit != tr_session_limit() || session->cache != cache ||
							session->cache_type != tr_cache_type()))
	{
		drop_session(model, session);
		session = NULL;
	}
	if (session == NULL)
		session = make_session(model, cache);
	te_session_set_truncate(session->engine, tr_truncate == TR_TRUNCATE_ERROR ? TE_TRUNCATE_ERROR : TE_TRUNCATE_CUT);
	return session;
}

/* What a session did since it was last asked. */
static TeUsage
usage_since(TrSession *session)
{
	const TeUsage *now = te_session_usage(session->engine);
	TeUsage		delta = {
		.rows = now->rows - session->accounted.rows,
		.tokens = now->tokens - session->accounted.tokens,
		.batches = now->batches - session->accounted.batches,
		.truncated = now->truncated - session->accounted.truncated,
		.seconds = now->seconds - session->accounted.seconds,
	};

	session->accounted = *now;
	return delta;
}

static uint64
account(TrModel *model, TrSession *session)
{
	TeUsage		usage = usage_since(session);

	tr_control_account(model->slot, &usage);
	usage_in_all.rows += usage.rows;
	usage_in_all.tokens += usage.tokens;
	usage_in_all.batches += usage.batches;
	usage_in_all.truncated += usage.truncated;
	usage_in_all.seconds += usage.seconds;
	count_cut(usage.truncated);
	return usage.truncated;
}

static bool
same_string(const char *a, TeStr b)
{
	return a == NULL ? b.data == NULL : b.data != NULL && te_str_is(b, a);
}

/* The kept job for this, or a free entry to make it in; NULL where all entries are others'. */
static KeptJob *
find_job(TrSession *session, const char *task, const TeJobOptions *options)
{
	KeptJob    *free = NULL;

	for (int i = 0; i < SESSION_JOBS; i++)
	{
		KeptJob    *kept = &session->jobs[i];

		if (kept->task == NULL)
			free = free ? free : kept;
		else if (strcmp(kept->task, task) == 0 && same_string(kept->kind, options->kind) &&
				 kept->keep_pair == options->keep_pair && kept->top_k == options->top_k)
			return kept;
	}
	return free;
}

TeJob *
tr_job_begin(TrModel *model, const char *task, const TeJobOptions *options)
{
	TrSession  *session = idle_session(model, 0);
	KeptJob    *kept = find_job(session, task, options);

	if (kept == NULL)
	{
		drop_session(model, session);
		session = idle_session(model, 0);
		kept = find_job(session, task, options);
	}
	session->busy = GetCurrentSubTransactionId();
	if (kept->task == NULL)
	{
		TeJobOptions copy = *options;

		if (options->kind.data != NULL)
			copy.kind = te_str_copy(session->arena, options->kind);
		kept->job = te_job_create(session->engine, task, &copy);
		kept->kind = copy.kind.data != NULL ? te_cstring(session->arena, copy.kind) : NULL;
		kept->keep_pair = options->keep_pair;
		kept->top_k = options->top_k;
		kept->task = MemoryContextStrdup(session->context, task);
	}
	return kept->job;
}

uint64
tr_job_end(TrModel *model, TeJob *job)
{
	for (TrSession *session = model->sessions; session != NULL; session = session->next)
		for (int i = 0; i < SESSION_JOBS; i++)
			if (session->jobs[i].job == job)
			{
				te_job_reset(job);
				session->busy = InvalidSubTransactionId;
				return account(model, session);
			}
	elog(ERROR, "job is not of this model");
}

/* ---- generators ---- */

/* A portal that was run in a subtransaction outlives that, and so does what its stream has. */
TeGenerator *
tr_generator_begin(TrModel *model, bool is_stream)
{
	TrSession  *session = idle_session(model, tr_cache_limit());

	session->busy = is_stream ? TopSubTransactionId : GetCurrentSubTransactionId();
	return session->generator;
}

void
tr_generator_end(TeGenerator *generator, bool broken)
{
	for (TrModel *model = models; model != NULL; model = model->next)
		for (TrSession *session = model->sessions; session != NULL; session = session->next)
		{
			if (session->generator != generator || session->busy == InvalidSubTransactionId)
				continue;
			if (broken || !IsTransactionState())
			{
				drop_session(model, session);
				return;
			}
			te_generator_reset(generator);
			session->busy = InvalidSubTransactionId;
			(void) account(model, session);
			return;
		}
}

const TeUsage *
tr_usage(void)
{
	return &usage_in_all;
}

/* ---- models ---- */

/* Do we map another copy of the same image, that took the place of this one? */
static bool
has_successor(const TrModel *model)
{
	for (TrModel *other = models; other != NULL; other = other->next)
		if (other != model && other->slot == model->slot)
			return true;
	return false;
}

static void
let_go(TrModel *model)
{
	for (TrModel **link = &models; *link != NULL; link = &(*link)->next)
		if (*link == model)
		{
			*link = model->next;
			break;
		}
	if (!has_successor(model))
		tr_control_use(model->slot, false);
	tr_image_unmap(&model->mapping);
	MemoryContextDelete(model->context);
}

static TrModel *
attach(const TrVersion *version)
{
	MemoryContext context = AllocSetContextCreate(models_context, "transformer model", ALLOCSET_SMALL_SIZES);
	TrModel    *model = MemoryContextAllocZero(context, sizeof(TrModel));
	volatile bool mapped = false;

	model->context = context;
	PG_TRY();
	{
		tr_image_map(version, &model->mapping);
		mapped = true;
		model->engine = te_model_attach(tr_arena(context, "model", 0), model->mapping.address, model->mapping.bytes);
	}
	PG_CATCH();
	{
		if (mapped)
			tr_image_unmap(&model->mapping);
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	model->next = models;
	models = model;
	return model;
}

static void init(void);

/*
 * The attached model of a version.  One whose image was evicted meanwhile is
 * not used again, so that the image is built (and counted) anew; others that
 * hold it in this transaction may go on.
 */
TrModel *
tr_model_of(const TrVersion *version)
{
	TrModel    *model;

	if (models_context == NULL)
		init();
	model = models;
	while (model != NULL && !(memcmp(model->mapping.digest, version->digest, TR_DIGEST_LENGTH) == 0 &&
							  tr_image_current(&model->mapping)))
		model = model->next;
	if (model == NULL)
		model = attach(version);
	model->slot = tr_control_slot(version->digest, true);
	tr_control_use(model->slot, true);
	tr_control_hit(model->slot);
	return model;
}

/* from_setting: where the name comes from, NULL where the user wrote it. */
static void
find_version(const char *name, const char *from_setting, TrVersion *into)
{
	char	   *bare;
	int32		number;

	tr_parse_model_name(name, &bare, &number);
	if (from_setting == NULL)
		tr_catalog_get(name, into);
	else if (!tr_catalog_find(bare, number, into))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("model \"%s\" does not exist", name),
				 errhint("The name comes from \"%s\". Import a model with transformer.import_model() and name it there or in the call.",
						 from_setting)));
}

static TrModel *
look_up(const char *name, const char *from_setting)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "transformer look-up", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TrVersion	version;
	TrModel    *model;

	find_version(name, from_setting, &version);
	tr_check_usage(&version);
	model = tr_model_of(&version);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return model;
}

/* ---- ends of transactions ---- */

static void
drop_sessions_of(TrModel *model, SubTransactionId since)
{
	TrSession  *next;

	for (TrSession *session = model->sessions; session != NULL; session = next)
	{
		next = session->next;
		if (session->busy >= since && session->busy != InvalidSubTransactionId)
			drop_session(model, session);
	}
}

/* Is a session the first of its kind, and small enough? */
static bool
is_kept(const TrModel *model, const TrSession *session)
{
	for (const TrSession *other = model->sessions; other != session; other = other->next)
		if ((other->cache > 0) == (session->cache > 0))
			return false;
	return te_arena_bytes(session->arena) <= (session->cache > 0 ? session->cache + session->limit / 2 : SESSION_KEPT);
}

/* What stays for the next transaction. */
static void
trim_sessions(TrModel *model)
{
	TrSession  *next;

	for (TrSession *session = model->sessions; session != NULL; session = next)
	{
		next = session->next;
		if (!is_kept(model, session))
			drop_session(model, session);
	}
}

static void
drop_scratch(void)
{
	scratch = NULL;
	MemoryContextReset(scratch_context);
}

static void
transaction_ends(void)
{
	TrModel    *next;

	forget_names();
	if (scratch != NULL && te_arena_bytes(scratch) > SESSION_KEPT)
		drop_scratch();
	tr_threads_release_all();
	for (TrModel *model = models; model != NULL; model = next)
	{
		next = model->next;
		drop_sessions_of(model, InvalidSubTransactionId + 1);
		trim_sessions(model);
		if (!tr_image_current(&model->mapping))
			let_go(model);
	}
}

static void
transaction_event(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PARALLEL_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (!report_is_due)
				report_cut();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
			texts_cut = 0;
			transaction_ends();
			break;
		default:
			transaction_ends();
			break;
	}
}

static void
subtransaction_event(SubXactEvent event, SubTransactionId id, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	forget_names();
	tr_threads_release_all();
	for (TrModel *model = models; model != NULL; model = model->next)
		drop_sessions_of(model, id);
}

static void
init(void)
{
	models_context = AllocSetContextCreate(TopMemoryContext, "transformer models", ALLOCSET_DEFAULT_SIZES);
	RegisterXactCallback(transaction_event, NULL);
	RegisterSubXactCallback(subtransaction_event, NULL);
}

/* ---- what the functions call ---- */

/* The name in the call, or else in the setting. */
static const char *
model_name(text *model, const char *setting, const char *setting_name)
{
	if (model != NULL)
		return text_to_cstring(model);
	if (setting == NULL || setting[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("no model is given, and \"%s\" names none", setting_name),
				 errhint("Import a model with transformer.import_model(), then name it in the call or set \"%s\".",
						 setting_name)));
	return setting;
}

TrModel *
tr_model_open(text *model, TrUse use)
{
	const char *name = model_name(model, tr_use_setting(use), tr_use_setting_name(use));
	bool		pushed = false;
	TrModel    *result;

	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	result = recall(GetActiveSnapshot(), name);
	if (result == NULL)
	{
		result = look_up(name, model == NULL ? tr_use_setting_name(use) : NULL);
		memorize(GetActiveSnapshot(), name, result);
	}
	if (pushed)
		PopActiveSnapshot();
	tr_use_check(use, tr_model_engine(result));
	return result;
}

TeModel *
tr_model_engine(TrModel *model)
{
	return model->engine;
}

const TrMapping *
tr_model_mapping(const TrModel *model)
{
	return &model->mapping;
}

const uint8 *
tr_model_digest(const TrModel *model)
{
	return model->mapping.digest;
}

TeArena *
tr_scratch(void)
{
	if (scratch != NULL && scratch_limit == tr_session_limit())
	{
		te_arena_reset(scratch);
		return scratch;
	}
	if (scratch_context == NULL)
		scratch_context = AllocSetContextCreate(TopMemoryContext, "transformer scratch", ALLOCSET_DEFAULT_SIZES);
	drop_scratch();
	scratch_limit = tr_session_limit();
	scratch = tr_arena(scratch_context, "session", scratch_limit);
	return scratch;
}
