/*-------------------------------------------------------------------------
 * store_file.c
 *	  Images as files of the cache directory.
 *
 * The file's name is the registry: the digest of the content and the version
 * of the image's layout.  A file under that name is complete, since it was
 * built under another name, flushed and renamed; and it never changes.  So it
 * needs no reference count (who maps it keeps it, also when it is removed), it
 * is there again after a crash or a restart, and its memory is the kernel's
 * page cache: one copy for all backends, evictable.
 *
 * A backend maps it from a descriptor that was opened for reading, so that no
 * bug in it can write to the weights.  The builder maps it for writing, after
 * the room on disk has been reserved: a full disk is an error then, never
 * SIGBUS.
 *
 * A temporary file is also the lock of its digest (store.c).  One whose lock
 * is free was left by a process that died, and goes when the directory is read
 * next, like files of another layout.
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
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define RESERVE_STEP ((off_t) 256 * 1024 * 1024)	/* between looks at interrupts */
#define HEX_LENGTH (2 * TR_DIGEST_LENGTH)

void
tr_image_path(char path[MAXPGPATH], const uint8 *digest, const char *suffix)
{
	char		hex[HEX_LENGTH + 1];

	hex[hex_encode((const char *) digest, TR_DIGEST_LENGTH, hex)] = '\0';
	snprintf(path, MAXPGPATH, "%s/%s.%u%s", TR_CACHE_DIRECTORY, hex, te_image_version(), suffix);
}

static void
file_unmap(TrMapping *mapping)
{
	(void) munmap(mapping->address, mapping->bytes);
}

/* A file that is not what its name says (somebody cut it) counts as none: it is built anew, over it. */
static bool
file_map(const uint8 *digest, TrMapping *into)
{
	char		path[MAXPGPATH];
	struct stat st;
	int			fd;

	tr_image_path(path, digest, "");
	fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	if (fd < 0 && errno == ENOENT)
		return false;
	if (fd < 0 || fstat(fd, &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open file \"%s\": %m", path)));
	if (st.st_size == 0)
	{
		CloseTransientFile(fd);
		return false;
	}
	*into = (TrMapping) {.store = &tr_store_file,.bytes = st.st_size,.device = st.st_dev,.inode = st.st_ino};
	memcpy(into->digest, digest, TR_DIGEST_LENGTH);
	into->address = mmap(NULL, into->bytes, PROT_READ, MAP_SHARED, fd, 0);
	CloseTransientFile(fd);
	if (into->address == MAP_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not map file \"%s\": %m", path)));
	if (te_image_valid(into->address, into->bytes, digest))
		return true;
	file_unmap(into);
	return false;
}

/* 0 or an errno. */
static int
reserve(int fd, uint64 bytes)
{
	for (off_t done = 0; done < (off_t) bytes;)
	{
		off_t		step = Min(RESERVE_STEP, (off_t) bytes - done);
		int			error = posix_fallocate(fd, done, step);

		CHECK_FOR_INTERRUPTS();
		if (error == EINTR)
			continue;
		if (error != 0)
			return error;
		done += step;
	}
	return 0;
}

static int
file_build(TrBuild *build, TrMapping *into)
{
	char		path[MAXPGPATH];
	void	   *memory;
	int			error = reserve(build->fd, build->bytes);

	if (error != 0)
		return error;
	memory = mmap(NULL, build->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, build->fd, 0);
	if (memory == MAP_FAILED)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("could not map file \"%s\": %m", build->path)));
	PG_TRY();
	{
		te_image_build(build->arena, build->plan, memory);
	}
	PG_FINALLY();
	{
		(void) munmap(memory, build->bytes);
	}
	PG_END_TRY();
	tr_image_path(path, build->digest, "");
	(void) durable_rename(build->path, path, ERROR);	/* flushes the file first */
	if (!file_map(build->digest, into))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("file \"%s\" is not what was written to it", path)));
	return 0;
}

static bool
file_current(const TrMapping *mapping)
{
	char		path[MAXPGPATH];
	struct stat st;

	tr_image_path(path, mapping->digest, "");
	return stat(path, &st) == 0 && st.st_dev == mapping->device && st.st_ino == mapping->inode;
}

static uint64
file_drop(const uint8 *digest)
{
	char		path[MAXPGPATH];
	struct stat st;

	tr_image_path(path, digest, "");
	if (stat(path, &st) != 0)
		return 0;
	if (unlink(path) != 0 && errno != ENOENT)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not remove file \"%s\": %m", path)));
	return st.st_size;
}

/* Is somebody building this?  If not, it is a leftover, and removed. */
static bool
being_built(const char *path)
{
	int			fd = OpenTransientFile(path, O_RDWR | PG_BINARY);
	bool		building = true;

	if (fd < 0)
		return false;
	if (tr_flock_try(fd))
	{
		building = false;
		if (tr_same_file(fd, path))
			(void) unlink(path);
	}
	CloseTransientFile(fd);
	return building;
}

/* "<hex>.<layout>" or "<hex>.<layout>.tmp"; anything else in the directory is not ours. */
static bool
parse_name(const char *name, uint8 *digest, uint32 *layout, bool *temporary)
{
	char	   *end;

	if (strspn(name, "0123456789abcdef") != HEX_LENGTH || name[HEX_LENGTH] != '.')
		return false;
	(void) hex_decode(name, HEX_LENGTH, (char *) digest);
	*layout = strtoul(name + HEX_LENGTH + 1, &end, 10);
	*temporary = strcmp(end, ".tmp") == 0;
	return *temporary || *end == '\0';
}

static List *
file_list(List *images)
{
	DIR		   *dir = AllocateDir(TR_CACHE_DIRECTORY);
	struct dirent *entry;

	while ((entry = ReadDirExtended(dir, TR_CACHE_DIRECTORY, DEBUG1)) != NULL)
	{
		TrImage    *image = palloc0(sizeof(TrImage));
		char		path[MAXPGPATH];
		struct stat st;
		uint32		layout;

		if (!parse_name(entry->d_name, image->digest, &layout, &image->building))
			continue;
		snprintf(path, sizeof(path), "%s/%s", TR_CACHE_DIRECTORY, entry->d_name);
		if (image->building && !being_built(path))
			continue;
		if (!image->building && layout != te_image_version())
		{
			(void) unlink(path);
			continue;
		}
		if (stat(path, &st) != 0)
			continue;
		image->store = &tr_store_file;
		image->bytes = st.st_size;
		image->written = time_t_to_timestamptz(st.st_mtime);
		images = lappend(images, image);
	}
	if (dir != NULL)
		FreeDir(dir);
	return images;
}

const TrStore tr_store_file = {
	.name = "file",
	.build = file_build,
	.map = file_map,
	.unmap = file_unmap,
	.current = file_current,
	.drop = file_drop,
	.list = file_list,
};
