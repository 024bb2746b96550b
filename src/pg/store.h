/*-------------------------------------------------------------------------
 * store.h
 *	  Inside of the shared memory of models: what control.c, store.c, the two
 *	  stores and resolve.c share.
 *
 * The truth about which images exist is in the stores: the files of the cache
 * directory, the segments that the control file names.  The control file has
 * what is only useful (hits, pins, statistics) or only needed while the server
 * runs (segments, threads), so that losing it loses no image.
 *
 * To add a store: write store_<name>.c with its TrStore row, add the row to
 * tr_stores[] in store.c and its word to the setting's list in module.c.
 *-------------------------------------------------------------------------
 */
#ifndef TR_STORE_H
#define TR_STORE_H

#include "pg/transformer.h"

#include <sys/types.h>

#include "datatype/timestamp.h"

#define TR_CACHE_DIRECTORY "pgsql_tmp_transformer"	/* base backups and rewinds skip what begins with pgsql_tmp */

/* ---- control.c ---- */

/* What the control file knows about one image; plain copy of a slot. */
typedef struct TrImageInfo
{
	uint8		digest[TR_DIGEST_LENGTH];
	bool		pinned;
	uint64		hits;			/* statements that opened it */
	uint64		calls;
	uint64		rows;
	uint64		tokens;
	uint64		batches;
	uint64		microseconds;
	TimestampTz loaded_at;		/* 0: never */
	TimestampTz last_used;
	uint64		bytes;			/* of the segment */
	uint32		segment;		/* of the dsm store; 0: none */
} TrImageInfo;

#define TR_MAX_IMAGES 256

/* Take the lock on a file whose descriptor is open, waiting with the latch; interrupts are served. */
extern void tr_flock(int fd);
extern bool tr_flock_try(int fd);
/* Is `path` still the file behind fd?  Not so where it was removed or replaced while we waited. */
extern bool tr_same_file(int fd, const char *path);

/* Make the cache directory; 0, or why not (errno). */
extern int	tr_cache_directory(void);

/* The lock that serves eviction, pins and new slots, over all databases.  Held briefly; -1 where there is no control file. */
extern int	tr_control_lock(void);
extern void tr_control_unlock(int fd);

/* Slot of an image, made where there is none (then the least used is given up); -1 only if !make. */
extern int	tr_control_slot(const uint8 *digest, bool make);
extern bool tr_control_read(int slot, TrImageInfo *into);	/* false: the slot is free */
extern int	tr_control_users(int slot); /* live backends that map the image */
extern void tr_control_loaded(int slot);
extern void tr_control_hit(int slot);
extern void tr_control_account(int slot, const TeUsage *usage);
extern void tr_control_pin(int slot, bool pinned);
extern void tr_control_use(int slot, bool used);
extern void tr_control_set_segment(int slot, uint32 segment, uint64 bytes);
/* Give back all threads that this backend holds. */
extern void tr_threads_release_all(void);

/* ---- store.c ---- */

typedef struct TrStore TrStore;

/* An image in this process. */
typedef struct TrMapping
{
	const TrStore *store;		/* NULL: private memory */
	void	   *address;
	uint64		bytes;
	uint8		digest[TR_DIGEST_LENGTH];
	dev_t		device;			/* store_file.c: which file */
	ino_t		inode;
	void	   *segment;		/* store_dsm.c: dsm_segment */
} TrMapping;

/* An image that is being built; we hold the lock of its digest. */
typedef struct TrBuild
{
	uint8		digest[TR_DIGEST_LENGTH];
	uint64		bytes;
	char		path[MAXPGPATH];	/* the lock, which is also the temporary file */
	int			fd;				/* of it */
	TeArena    *arena;
	const TeModelDef *definition;
	TeImagePlan *plan;			/* NULL: not made yet */
} TrBuild;

/* An image in a store, to count or to evict. */
typedef struct TrImage
{
	uint8		digest[TR_DIGEST_LENGTH];
	const TrStore *store;
	uint64		bytes;
	bool		building;
	TimestampTz written;
} TrImage;

struct TrStore
{
	const char *name;
	/* Build, publish, map.  0, or the errno that says that the store has no room or may not be written. */
	int			(*build) (TrBuild *build, TrMapping *into);
	/* false: there is no (valid) image. */
	bool		(*map) (const uint8 *digest, TrMapping *into);
	void		(*unmap) (TrMapping *mapping);
	/* Is the mapped image the one that others would get? */
	bool		(*current) (const TrMapping *mapping);
	/* Remove; mappings stay valid.  Bytes, 0 where there was none.  Under the control lock. */
	uint64		(*drop) (const uint8 *digest);
	/* Append TrImage pointers. */
	List	   *(*list) (List *images);
};

extern const TrStore tr_store_file;
extern const TrStore tr_store_dsm;

/* Map the image of a version, built if need be. */
extern void tr_image_map(const TrVersion *version, TrMapping *into);
extern void tr_image_unmap(TrMapping *mapping);
extern bool tr_image_current(const TrMapping *mapping);
/* Read all of it into memory now. */
extern void tr_image_prefault(const TrMapping *mapping);
extern void tr_image_pin(const uint8 *digest, bool pinned);
/* Remove from all stores, pinned or not; bytes. */
extern uint64 tr_image_drop(const uint8 *digest);
extern List *tr_image_list(void);

/* Name of an image file: the digest in hex, the layout's version, and what follows. */
extern void tr_image_path(char path[MAXPGPATH], const uint8 *digest, const char *suffix);

/* ---- resolve.c ---- */

extern TrModel *tr_model_of(const TrVersion *version);
extern const TrMapping *tr_model_mapping(const TrModel *model);
extern const uint8 *tr_model_digest(const TrModel *model);

#endif							/* TR_STORE_H */
