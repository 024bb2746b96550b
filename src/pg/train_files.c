/*-------------------------------------------------------------------------
 * train_files.c
 *	  The directory of a training run: files, the lock, and what becomes of it.
 *
 * Files are virtual descriptors of the server, closed with the memory
 * context that they were opened in.  Writing looks for interrupts between pieces and
 * has the kernel begin to write early, so that a cancel acts at once and the flush at the end is short.
 *
 * The lock is a lock of the kernel on a file of the directory.  It is held from the
 * moment the run is worked on to the end of the transaction, when it is known whether
 * there is a new version.  Then the directory goes, whether the transaction commits or is rolled back; what failed before that, or died,
 * leaves it for resume_training().  A subtransaction's end passes the lock on, or lets go of it.  A process that dies lets go too, so a
 * directory that nobody has locked is that of an interrupted run.  A transaction with a run in it cannot be prepared: nobody would
 * have the lock until it ends.
 *
 * When the extension is dropped, what this database has of runs goes with it, and those at work are stopped.
 * A session that has not loaded the library cannot do so: then the next run of an extension that is made again does it.
 *
 * What a run leaves that never read all its rows cannot be resumed; it is removed when the next run
 * begins, as are directories whose version was committed (the server stopped before it could remove them) and those of
 * databases that were dropped.  One that says how it failed stays until cancel_training().
 *
 * A crash may take back what a sequence gave, so a number may come twice; then its
 * directory is there, or the row of the run that was resumed, and the next one is taken.
 *-------------------------------------------------------------------------
 */
#include "pg/train.h"
#include "pg/store.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/fd.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define BUFFER_BYTES ((size_t) 64 * 1024)
#define WRITE_STEP ((size_t) 1024 * 1024)	/* between looks for interrupts */
#define WRITEBACK_STEP ((off_t) 4 * 1024 * 1024)
#define SMALL_FILE ((size_t) 64 * 1024 * 1024)

/* The lock last: without it there is no run. */
static const char *const file_names[] = {
	"rows", "eval_rows", "log", "checkpoint", "checkpoint.tmp", "status", "run.json.tmp", "run.json", "lock"
};

/* ---- files ---- */

struct TrFile
{
	File		file;
	char	   *path;
	uint64		size;			/* on disk */
	uint64		flushed;		/* that the kernel was asked to write */
	double		end;			/* of the clock, when writing is given up; 0: never */
	char	   *buffer;
	size_t		used;
	TeSink		sink;
	TeSource	source;
	MemoryContextCallback callback;
};

static void
throw_file(const char *what, const char *path)
{
	ereport(ERROR, (errcode_for_file_access(), errmsg("could not %s file \"%s\": %m", what, path)));
}

/* Write bytes behind what is there. */
static void
write_bytes(TrFile *file, const char *data, size_t len)
{
	while (len > 0)
	{
		int			n;

		CHECK_FOR_INTERRUPTS();
		if (file->end > 0 && te_host_seconds() > file->end)
			ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("writing file \"%s\" takes too long", file->path)));
		errno = 0;
		n = FileWrite(file->file, (void *) data, (int) Min(len, WRITE_STEP), (off_t) file->size, PG_WAIT_EXTENSION);
		if (n <= 0)
		{
			if (errno == 0)
				errno = ENOSPC;
			throw_file("write", file->path);
		}
		data += n;
		len -= (size_t) n;
		file->size += (uint64) n;
	}
	if (file->size - file->flushed >= (uint64) WRITEBACK_STEP)
	{
		FileWriteback(file->file, (off_t) file->flushed, (off_t) (file->size - file->flushed), PG_WAIT_EXTENSION);
		file->flushed = file->size;
	}
}

static void
flush_buffer(TrFile *file)
{
	write_bytes(file, file->buffer, file->used);
	file->used = 0;				/* not before: whoever is interrupted may come again */
}

/* TeSink.write */
static void
file_write(TeSink *sink, const void *data, size_t len)
{
	TrFile	   *file = sink->host;

	if (file->used + len > BUFFER_BYTES)
		flush_buffer(file);
	if (len >= BUFFER_BYTES)
	{
		write_bytes(file, data, len);
		return;
	}
	memcpy(file->buffer + file->used, data, len);
	file->used += len;
}

/* TeSource.read */
static void
file_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	TrFile	   *file = source->host;
	char	   *to = into;

	while (len > 0)
	{
		int			n;

		CHECK_FOR_INTERRUPTS();
		n = FileRead(file->file, (void *) to, (int) Min(len, WRITE_STEP), (off_t) offset, PG_WAIT_EXTENSION);
		if (n < 0)
			throw_file("read", file->path);
		if (n == 0)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("file \"%s\" became shorter while it was read", file->path)));
		to += n;
		offset += (uint64) n;
		len -= (size_t) n;
	}
}

static void
close_with_memory(void *arg)
{
	TrFile	   *file = arg;

	if (file->file >= 0)
		FileClose(file->file);
	file->file = -1;
}

TrFile *
tr_file_open(const char *path, TrFileMode mode)
{
	static const int flags[] = {
		[TR_FILE_READ] = O_RDONLY | PG_BINARY,
		[TR_FILE_CREATE] = O_RDWR | O_CREAT | O_TRUNC | PG_BINARY,
		[TR_FILE_APPEND] = O_RDWR | O_CREAT | PG_BINARY,
	};
	TrFile	   *file = palloc0(sizeof(TrFile));
	off_t		size;

	file->path = pstrdup(path);
	if (mode != TR_FILE_READ)
		file->buffer = palloc(BUFFER_BYTES);
	file->callback.func = close_with_memory;
	file->callback.arg = file;
	file->file = PathNameOpenFilePerm(path, flags[mode], S_IRUSR | S_IWUSR);
	if (file->file < 0)
		throw_file("open", path);
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &file->callback);
	size = FileSize(file->file);
	if (size < 0)
		throw_file("look at", path);
	file->size = file->flushed = (uint64) size;
	file->sink = (TeSink) {.write = file_write,.host = file};
	file->source = (TeSource) {.name = file->path,.size = file->size,.read = file_read,.host = file};
	return file;
}

TeSink *
tr_file_sink(TrFile *file)
{
	return &file->sink;
}

const TeSource *
tr_file_source(TrFile *file)
{
	file->source.size = file->size;
	return &file->source;
}

void
tr_file_set_limit(TrFile *file, double seconds)
{
	file->end = seconds > 0 ? te_host_seconds() + seconds : 0;
}

uint64
tr_file_size(const TrFile *file)
{
	return file->size + file->used;
}

void
tr_file_truncate(TrFile *file, uint64 size)
{
	if (FileTruncate(file->file, (off_t) size, PG_WAIT_EXTENSION) != 0)
		throw_file("truncate", file->path);
	file->size = file->flushed = size;
	file->used = 0;
}

void
tr_file_sync(TrFile *file)
{
	flush_buffer(file);
	if (FileSync(file->file, PG_WAIT_EXTENSION) != 0)
		throw_file("fsync", file->path);
}

void
tr_file_close(TrFile *file)
{
	close_with_memory(file);
}

/* ---- runs that this process holds ---- */

typedef struct Hold
{
	struct Hold *next;
	int64		run;
	int			fd;				/* of the lock */
	TrHoldKind	kind;
	SubTransactionId owner;
} Hold;

static Hold *holds = NULL;
static bool holds_outlive = false;

/* What goes with the extension when the transaction that drops it commits. */
static SubTransactionId dropping = InvalidSubTransactionId; /* since this one */
static List *dropped_runs;
static TrProgress dropped_trainings[TR_MAX_TRAININGS];
static int	n_dropped_trainings;

void
tr_run_path(char path[MAXPGPATH], int64 run, const char *file)
{
	snprintf(path, MAXPGPATH, "%s/run.%u." INT64_FORMAT "%s%s", TR_CACHE_DIRECTORY, MyDatabaseId, run,
			 file != NULL ? "/" : "", file != NULL ? file : "");
}

/* Remove a directory; allocates and throws nothing, since it is called when there is no way back. */
static void
remove_directory(const char *directory)
{
	char		path[MAXPGPATH];

	for (int i = 0; i < (int) lengthof(file_names); i++)
	{
		snprintf(path, sizeof(path), "%s/%s", directory, file_names[i]);
		(void) unlink(path);
	}
	(void) rmdir(directory);
}

static Hold *
find_hold(int64 run)
{
	Hold	   *hold = holds;

	while (hold != NULL && hold->run != run)
		hold = hold->next;
	return hold;
}

static void
drop_hold(Hold *hold, bool remove)
{
	Hold	  **link = &holds;

	if (remove)
	{
		char		directory[MAXPGPATH];

		tr_run_path(directory, hold->run, NULL);
		remove_directory(directory);
	}
	while (*link != hold)
		link = &(*link)->next;
	*link = hold->next;
	(void) close(hold->fd);
	ReleaseExternalFD();
	pfree(hold);
}

/* All that may fail is done before the commit. */
static void
find_dropped(void)
{
	MemoryContext before = MemoryContextSwitchTo(TopTransactionContext);

	dropped_runs = tr_run_list();
	n_dropped_trainings = tr_control_trainings(dropped_trainings, TR_MAX_TRAININGS);
	MemoryContextSwitchTo(before);
}

/* Whoever is at work on one of them finds its directory gone, if the signal does not reach him. */
static void
remove_dropped(void)
{
	char		directory[MAXPGPATH];
	ListCell   *cell;

	foreach(cell, dropped_runs)
	{
		tr_run_path(directory, *(int64 *) lfirst(cell), NULL);
		remove_directory(directory);
	}
	for (int i = 0; i < n_dropped_trainings; i++)
	{
		if (dropped_trainings[i].pid != MyProcPid)
			(void) kill((pid_t) dropped_trainings[i].pid, SIGINT);
	}
}

static void
before_commit(void)
{
	if (dropping != InvalidSubTransactionId)
	{
		find_dropped();
		return;
	}

	for (Hold *hold = holds; hold != NULL; hold = hold->next)
	{
		if (hold->kind == TR_HOLD_QUEUED)
			tr_background_start(hold->run);
	}
}

static void
before_prepare(void)
{
	for (Hold *hold = holds; hold != NULL; hold = hold->next)
	{
		if (hold->kind != TR_HOLD_WORK)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("cannot PREPARE a transaction with a training")));
	}
}

static void
end_transaction(bool aborted)
{
	Hold	   *next;

	if (dropping != InvalidSubTransactionId && !aborted)
		remove_dropped();
	dropping = InvalidSubTransactionId;
	for (Hold *hold = holds; hold != NULL; hold = next)
	{
		next = hold->next;
		if (hold->kind == TR_HOLD_WORK && holds_outlive)
			continue;
		drop_hold(hold, hold->kind == TR_HOLD_DONE || (hold->kind == TR_HOLD_QUEUED && aborted));
	}
}

static void
at_transaction(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			before_commit();
			break;
		case XACT_EVENT_PRE_PREPARE:
			before_prepare();
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PREPARE:
		case XACT_EVENT_ABORT:
			end_transaction(event == XACT_EVENT_ABORT);
			break;
		default:
			break;
	}
}

static void
at_subtransaction(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	Hold	   *next;

	if (dropping == mine)
		dropping = event == SUBXACT_EVENT_COMMIT_SUB ? parent : event == SUBXACT_EVENT_ABORT_SUB ? InvalidSubTransactionId : mine;
	for (Hold *hold = holds; hold != NULL; hold = next)
	{
		next = hold->next;
		if (hold->owner != mine)
			continue;
		if (event == SUBXACT_EVENT_COMMIT_SUB)
			hold->owner = parent;
		else if (event == SUBXACT_EVENT_ABORT_SUB)
			drop_hold(hold, hold->kind != TR_HOLD_WORK);
	}
}

static void
register_callbacks(void)
{
	static bool registered = false;

	if (registered)
		return;
	RegisterXactCallback(at_transaction, NULL);
	RegisterSubXactCallback(at_subtransaction, NULL);
	registered = true;
}

void
tr_runs_drop(void)
{
	register_callbacks();
	if (dropping == InvalidSubTransactionId)
		dropping = GetCurrentSubTransactionId();
}

void
tr_runs_outlive_transactions(void)
{
	holds_outlive = true;
}

/* Try to take a lock of the kernel on a run's file `lock`; -1 where somebody else has it, or (missing) there is none. */
static int
lock_file(int64 run, int operation, bool make, bool *missing)
{
	char		path[MAXPGPATH];
	int			fd;
	int			rc;

	tr_run_path(path, run, "lock");
	fd = BasicOpenFilePerm(path, O_RDWR | (make ? O_CREAT : 0) | PG_BINARY, S_IRUSR | S_IWUSR);
	*missing = fd < 0 && (errno == ENOENT || errno == ENOTDIR);
	if (*missing)
		return -1;
	if (fd < 0)
		throw_file("open", path);
	/* somebody who only looks has it for a moment, and is not in the way of others who look */
	for (int attempt = 0; (rc = flock(fd, operation | LOCK_NB)) != 0 && operation == LOCK_EX && attempt < 20; attempt++)
		pg_usleep(1000);
	if (rc == 0 && tr_same_file(fd, path))
		return fd;
	(void) close(fd);
	return -1;
}

/* False where somebody else has it, or (missing) the run is gone. */
static bool
take_hold(int64 run, bool make, bool *missing)
{
	Hold	   *hold = MemoryContextAllocZero(TopMemoryContext, sizeof(Hold));

	register_callbacks();
	hold->run = run;
	hold->owner = GetCurrentSubTransactionId();
	hold->fd = lock_file(run, LOCK_EX, make, missing);
	if (hold->fd < 0)
	{
		pfree(hold);
		return false;
	}
	ReserveExternalFD();
	hold->next = holds;
	holds = hold;
	return true;
}

bool
tr_run_lock(int64 run)
{
	bool		missing;

	if (find_hold(run) != NULL)
		return false;
	if (take_hold(run, false, &missing))
		return true;
	if (missing)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no unfinished training run " INT64_FORMAT, run)));
	return false;
}

void
tr_run_hold(int64 run, TrHoldKind kind)
{
	Hold	   *hold = find_hold(run);

	Assert(hold != NULL);
	hold->kind = kind;
}

void
tr_run_release(int64 run, bool remove)
{
	Hold	   *hold = find_hold(run);

	if (hold != NULL)
		drop_hold(hold, remove);
}

/* ---- directories ---- */

bool
tr_run_exists(int64 run)
{
	char		path[MAXPGPATH];
	struct stat st;

	tr_run_path(path, run, NULL);
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool
tr_run_is_locked(int64 run)
{
	bool		missing;
	int			fd;

	if (find_hold(run) != NULL)
		return true;
	fd = lock_file(run, LOCK_SH, false, &missing);
	if (fd >= 0)
		(void) close(fd);
	return fd < 0 && !missing;
}

/* Does the directory of a run that nobody works on have to stay? */
static bool
worth_keeping(int64 run, const char *directory)
{
	char		path[MAXPGPATH];
	struct stat st;
	Oid			owner;
	Oid			extension = tr_extension();
	TeArena    *arena;
	const TeJson *description;
	bool		described;
	bool		whole;
	bool		ours;

	if (tr_catalog_find_run(run, &owner))
		return false;
	tr_run_path(path, run, "run.json");
	described = stat(path, &st) == 0;
	arena = tr_training_arena(CurrentMemoryContext);
	description = tr_run_description(arena, run);
	/* read to the end?  Nobody knows where the description is damaged */
	whole = described && (description == NULL || te_json_bool(description, "spooled", false));
	ours = description == NULL || te_json_int(description, "extension", extension) == extension;
	te_arena_destroy(arena);
	if (!ours)
		return false;
	tr_run_path(path, run, "status");
	if (stat(path, &st) == 0)
		return true;
	tr_run_path(path, run, "rows");
	if (stat(path, &st) == 0)
		return whole;
	return stat(directory, &st) == 0 && time(NULL) - st.st_mtime < TR_QUEUED_SECONDS;
}

/* Another session may be sweeping, too, and be faster. */
static void
sweep_run(Oid database, int64 run, const char *directory)
{
	bool		missing;

	CHECK_FOR_INTERRUPTS();
	if (database != MyDatabaseId)
	{
		if (!SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
			remove_directory(directory);
		return;
	}
	if (tr_run_is_locked(run) || worth_keeping(run, directory) || !take_hold(run, true, &missing))
		return;
	tr_run_release(run, true);
}

/* "run.<database>.<number>" */
static bool
parse_name(const char *name, Oid *database, int64 *run)
{
	char	   *end;

	if (strncmp(name, "run.", 4) != 0)
		return false;
	*database = (Oid) strtoul(name + 4, &end, 10);
	if (*end != '.')
		return false;
	*run = strtoll(end + 1, &end, 10);
	return *end == '\0' && *run > 0;
}

/* Calls `each` for every directory of a run; names are read first, since it may change the directory. */
static void
each_run(void (*each) (Oid database, int64 run, const char *directory))
{
	DIR		   *dir = AllocateDir(TR_CACHE_DIRECTORY);
	struct dirent *entry;
	List	   *names = NIL;
	ListCell   *cell;

	if (dir == NULL)
		return;
	while ((entry = ReadDirExtended(dir, TR_CACHE_DIRECTORY, DEBUG1)) != NULL)
		names = lappend(names, pstrdup(entry->d_name));
	FreeDir(dir);
	foreach(cell, names)
	{
		Oid			database;
		int64		run;

		if (parse_name(lfirst(cell), &database, &run))
			each(database, run, psprintf("%s/%s", TR_CACHE_DIRECTORY, (char *) lfirst(cell)));
	}
}

static List *found;

static void
remember(Oid database, int64 run, const char *directory)
{
	int64	   *number;

	if (database != MyDatabaseId)
		return;
	number = palloc(sizeof(int64));
	*number = run;
	found = lappend(found, number);
}

List *
tr_run_list(void)
{
	found = NIL;
	each_run(remember);
	return found;
}

/* False where the number was given before; looked at in this order, since a commit is seen before its directory goes. */
static bool
make_directory(int64 run)
{
	char		path[MAXPGPATH];
	Oid			owner;
	bool		finished;

	tr_run_path(path, run, NULL);
	if (mkdir(path, S_IRWXU) != 0)
	{
		if (errno != EEXIST)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not create directory \"%s\": %m", path)));
		return false;
	}
	PushActiveSnapshot(GetLatestSnapshot());
	finished = tr_catalog_find_run(run, &owner);
	PopActiveSnapshot();
	if (finished)
		(void) rmdir(path);
	return !finished;
}

int64
tr_run_create(void)
{
	int64		run;
	bool		missing;
	int			error = tr_cache_directory();

	if (error == 0)
		each_run(sweep_run);
	errno = error;
	if (error != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not create directory \"%s\": %m", TR_CACHE_DIRECTORY)));
	while (!make_directory(run = tr_catalog_next_run()))
		CHECK_FOR_INTERRUPTS();
	if (!take_hold(run, true, &missing))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("training run " INT64_FORMAT " is in use", run)));
	fsync_fname(TR_CACHE_DIRECTORY, true);
	return run;
}

/* ---- small files ---- */

void
tr_run_write(int64 run, const char *file, TeStr text)
{
	char		path[MAXPGPATH];
	char		temporary[MAXPGPATH];
	TrFile	   *to;

	tr_run_path(path, run, file);
	snprintf(temporary, sizeof(temporary), "%s.tmp", path);
	to = tr_file_open(temporary, TR_FILE_CREATE);
	te_sink_write(tr_file_sink(to), text.data, text.len);
	tr_file_sync(to);
	tr_file_close(to);
	(void) durable_rename(temporary, path, ERROR);
}

TeStr
tr_run_read(TeArena *arena, int64 run, const char *file)
{
	char		path[MAXPGPATH];
	struct stat st;
	TeStr		text = {NULL, 0};
	char	   *data;
	int			fd;
	ssize_t		n;

	tr_run_path(path, run, file);
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return text;
	if (fd < 0 || fstat(fd, &st) != 0)
		throw_file("open", path);
	data = te_alloc(arena, Min((size_t) st.st_size, SMALL_FILE));
	n = read(fd, data, Min((size_t) st.st_size, SMALL_FILE));
	CloseTransientFile(fd);
	if (n < 0)
		throw_file("read", path);
	return (TeStr) {data, (size_t) n};
}

void
tr_run_set_status(int64 run, const char *word, const char *message)
{
	char		path[MAXPGPATH];
	int			fd;

	tr_run_path(path, run, "status");
	if (word == NULL)
	{
		(void) unlink(path);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | PG_BINARY, S_IRUSR | S_IWUSR);
	if (fd < 0)
		return;
	if (write(fd, word, strlen(word)) < 0 || write(fd, "\n", 1) < 0 || write(fd, message, strlen(message)) < 0)
		(void) unlink(path);
	(void) close(fd);
}
