/*-------------------------------------------------------------------------
 * store.c
 *	  Images in shared memory: build once, map, evict.
 *
 * An image is addressed by the digest of what it is made of, so there is
 * nothing to invalidate: an image is there or not, and if not, whoever needs
 * it builds it from the catalog.  Where it is kept is a store's matter
 * (store_file.c, store_dsm.c).
 *
 * Building.  The lock of a digest is a lock of the kernel on the file
 * "<digest>.<layout>.tmp", which is also what the file store builds in.
 * Others that need the image wait for it with their latch, so that they can be
 * cancelled, in whatever database they are; when the builder dies, the kernel
 * gives the lock to the next.  Who gets the lock looks whether the path is
 * still that file: if it was renamed (the image is ready) or removed (the
 * builder failed), it begins again.
 *
 * Room.  transformer.shared_memory bounds the sum of all images.  A builder
 * claims its room by giving its file that length, under the control lock,
 * after it has removed the least recently used images that nobody pinned.  Who
 * still maps one of them keeps it until the end of its transaction
 * (resolve.c).
 *
 * Where the cache directory cannot be written or is full, the image goes to
 * private memory, within transformer.session_memory and with a warning; else
 * it is an error.
 *
 * Lock order: catalog relations, the lock of a digest, the control lock.
 *-------------------------------------------------------------------------
 */
#include "pg/store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define PREFAULT_STEP ((Size) 64 * 1024 * 1024) /* between looks at interrupts */
#define MEGABYTE ((uint64) 1024 * 1024)

static const TrStore *const tr_stores[] = {
	[TR_STORE_FILE] = &tr_store_file,
	[TR_STORE_DSM] = &tr_store_dsm,
};

/* ---- the lock of a digest ---- */

/* 0, or why the directory cannot be written (errno). */
static int
lock_build(TrBuild *build)
{
	int			error = tr_cache_directory();

	if (error != 0)
		return error;
	tr_image_path(build->path, build->digest, ".tmp");
	for (;;)
	{
		build->fd = OpenTransientFilePerm(build->path, O_RDWR | O_CREAT | PG_BINARY, S_IRUSR | S_IWUSR);
		if (build->fd < 0)
			return errno;
		tr_flock(build->fd);
		if (tr_same_file(build->fd, build->path))
			break;
		CloseTransientFile(build->fd);
	}
	/* What a dead builder left there must not count as claimed. */
	return ftruncate(build->fd, 0) == 0 ? 0 : errno;
}

/* The file is not there any more where it became the image. */
static void
unlock_build(TrBuild *build)
{
	if (tr_same_file(build->fd, build->path))
		(void) unlink(build->path);
	CloseTransientFile(build->fd);
}

static void
abandon_build(int code, Datum arg)
{
	unlock_build((TrBuild *) DatumGetPointer(arg));
}

/* ---- room ---- */

typedef struct Candidate
{
	TrImage    *image;
	TimestampTz last_used;
} Candidate;

static int
by_last_use(const ListCell *a, const ListCell *b)
{
	TimestampTz left = ((Candidate *) lfirst(a))->last_used;
	TimestampTz right = ((Candidate *) lfirst(b))->last_used;

	return left < right ? -1 : left > right;
}

/*
 * Split images into those that may go, least recently used first, and the
 * bytes of the rest.
 */
static List *
find_candidates(List *images, uint64 *evictable, uint64 *fixed)
{
	List	   *candidates = NIL;
	ListCell   *cell;

	*evictable = *fixed = 0;
	foreach(cell, images)
	{
		TrImage    *image = lfirst(cell);
		int			slot = tr_control_slot(image->digest, false);
		TrImageInfo info;
		bool		known = slot >= 0 && tr_control_read(slot, &info);
		Candidate  *candidate;

		if (image->building || (known && info.pinned))
		{
			*fixed += image->bytes;
			continue;
		}
		*evictable += image->bytes;
		candidate = palloc(sizeof(Candidate));
		candidate->image = image;
		candidate->last_used = known ? info.last_used : image->written;
		candidates = lappend(candidates, candidate);
	}
	list_sort(candidates, by_last_use);
	return candidates;
}

static void
report_no_room(uint64 bytes, uint64 fixed)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("no room in shared memory for a model of %llu MB",
					(unsigned long long) ((bytes + MEGABYTE - 1) / MEGABYTE)),
			 errdetail("transformer.shared_memory is %d MB, of which pinned models and those being built take %llu MB.",
					   tr_shared_memory, (unsigned long long) ((fixed + MEGABYTE - 1) / MEGABYTE)),
			 errhint("Raise transformer.shared_memory, or unload a model with transformer.unload_model().")));
}

/*
 * Remove images until `bytes` more fit.  Nothing is removed where that could
 * not be enough.  To list the images also sweeps the leftovers of dead
 * builders.
 */
static void
make_room(uint64 bytes)
{
	uint64		limit = (uint64) tr_shared_memory * MEGABYTE;
	uint64		evictable;
	uint64		fixed;
	List	   *candidates = find_candidates(tr_image_list(), &evictable, &fixed);
	ListCell   *cell;

	if (limit == 0)
		return;
	if (fixed + bytes > limit)
		report_no_room(bytes, fixed);
	foreach(cell, candidates)
	{
		TrImage    *image = ((Candidate *) lfirst(cell))->image;

		if (fixed + evictable + bytes <= limit)
			break;
		image->store->drop(image->digest);
		evictable -= image->bytes;
	}
}

/* 0, or why the file cannot be extended (errno). */
static int
claim_room(TrBuild *build)
{
	int			lock = tr_control_lock();
	int			error;

	make_room(build->bytes);
	error = ftruncate(build->fd, build->bytes) == 0 ? 0 : errno;
	tr_control_unlock(lock);
	return error;
}

/* ---- building ---- */

/* Compiles the tokenizer: for the one who builds, not for all that wait. */
static void
make_plan(TrBuild *build)
{
	if (build->plan == NULL)
		build->plan = te_image_plan(build->arena, build->definition, build->digest, &build->bytes);
}

static void
private_unmap(TrMapping *mapping)
{
	(void) munmap(mapping->address, mapping->bytes);
}

static void
report_private(uint64 bytes, int error)
{
	static bool warned = false;
	bool		fits = bytes <= tr_session_limit();

	if (fits && warned)
		return;
	warned = warned || fits;
	errno = error;
	ereport(fits ? WARNING : ERROR,
			(errcode_for_file_access(),
			 errmsg("could not place a model of %llu MB in directory \"%s\": %m",
					(unsigned long long) ((bytes + MEGABYTE - 1) / MEGABYTE), TR_CACHE_DIRECTORY),
			 fits ? errdetail("This session keeps a copy of its own.") :
			 errdetail("A copy for this session alone would exceed transformer.session_memory."),
			 errhint("Make room on the file system of the data directory, or set transformer.weights_store to dsm.")));
}

/* error: why there is no shared one. */
static void
build_private(TrBuild *build, TrMapping *into, int error)
{
	make_plan(build);
	report_private(build->bytes, error);
	*into = (TrMapping) {.store = NULL,.bytes = build->bytes};
	memcpy(into->digest, build->digest, TR_DIGEST_LENGTH);
	into->address = mmap(NULL, build->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (into->address == MAP_FAILED)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	PG_TRY();
	{
		te_image_build(build->arena, build->plan, into->address);
	}
	PG_CATCH();
	{
		private_unmap(into);
		PG_RE_THROW();
	}
	PG_END_TRY();
	(void) mprotect(into->address, into->bytes, PROT_READ);
}

/* 0, or why there is no room in the store. Somebody else may have built it while we waited. */
static int
build_shared(const TrStore *store, TrBuild *build, TrMapping *into)
{
	volatile int error = lock_build(build);	/* set inside PG_TRY */

	if (error != 0)
		return error;
	PG_ENSURE_ERROR_CLEANUP(abandon_build, PointerGetDatum(build));
	{
		if (!store->map(build->digest, into))
		{
			make_plan(build);
			error = claim_room(build);
			if (error == 0)
				error = store->build(build, into);
			if (error == 0)
				tr_control_loaded(tr_control_slot(build->digest, true));
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon_build, PointerGetDatum(build));
	unlock_build(build);
	return error;
}

/* Errors that mean that the file system does not take the image, whatever we do. */
static bool
is_lack_of_room(int error)
{
	return error == ENOSPC || error == EDQUOT || error == EROFS || error == EACCES ||
		error == EPERM || error == EFBIG;
}

static void
build_image(const TrStore *store, const TrVersion *version, TrMapping *into)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "transformer image",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	TrBuild		build = {.arena = tr_arena(context, "image", 0)};
	TrContext	doing;
	int			error;

	tr_context_push(&doing, psprintf("building the shared image of model \"%s@%d\"", version->name, version->version));
	memcpy(build.digest, version->digest, TR_DIGEST_LENGTH);
	build.definition = tr_catalog_definition(build.arena, version);
	error = build_shared(store, &build, into);
	if (error != 0 && !is_lack_of_room(error))
	{
		errno = error;
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not write to directory \"%s\": %m", TR_CACHE_DIRECTORY)));
	}
	if (error != 0)
		build_private(&build, into, error);
	tr_context_pop(&doing);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

void
tr_image_map(const TrVersion *version, TrMapping *into)
{
	const TrStore *store = tr_stores[tr_weights_store];

	if (!store->map(version->digest, into))
		build_image(store, version, into);
}

void
tr_image_unmap(TrMapping *mapping)
{
	if (mapping->store == NULL)
		private_unmap(mapping);
	else
		mapping->store->unmap(mapping);
}

/* A private one is nobody else's. */
bool
tr_image_current(const TrMapping *mapping)
{
	return mapping->store == NULL || mapping->store->current(mapping);
}

/* ---- what load_model() and unload_model() need ---- */

void
tr_image_prefault(const TrMapping *mapping)
{
	for (uint64 done = 0; done < mapping->bytes; done += PREFAULT_STEP)
	{
		char	   *from = (char *) mapping->address + done;
		Size		step = Min(PREFAULT_STEP, mapping->bytes - done);
		volatile char sink;

		CHECK_FOR_INTERRUPTS();
#ifdef MADV_POPULATE_READ
		if (madvise(from, step, MADV_POPULATE_READ) == 0)
			continue;
#endif
		for (Size i = 0; i < step; i += 4096)
			sink = from[i];
		(void) sink;
	}
}

/* Under the lock, so that nobody who is making room removes what has just been pinned. */
void
tr_image_pin(const uint8 *digest, bool pinned)
{
	int			slot = tr_control_slot(digest, true);
	int			lock = tr_control_lock();

	tr_control_pin(slot, pinned);
	tr_control_unlock(lock);
}

uint64
tr_image_drop(const uint8 *digest)
{
	int			lock = tr_control_lock();
	uint64		bytes = 0;

	for (int i = 0; i < lengthof(tr_stores); i++)
		bytes += tr_stores[i]->drop(digest);
	tr_control_unlock(lock);
	return bytes;
}

List *
tr_image_list(void)
{
	List	   *images = NIL;

	for (int i = 0; i < lengthof(tr_stores); i++)
		images = tr_stores[i]->list(images);
	return images;
}
