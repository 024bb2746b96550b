/*-------------------------------------------------------------------------
 * output.c
 *	  Models written to files of the server.
 *
 * A GGUF file, or a folder with safetensors and JSON, is written beside its
 * place under a temporary name, synced, and renamed when it is whole; after an
 * error, or when the session is ended, nothing is left.  What exists is never replaced.
 *
 * Modes are those of COPY TO a file: readable by all, writable by the server.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#define WRITE_STEP ((size_t) 1024 * 1024)	/* between looks for interrupts */

/* A file that is being written. */
typedef struct FileSink
{
	TeSink		sink;
	int			fd;
	char	   *path;
} FileSink;

/* A folder that is being written. */
typedef struct FolderSink
{
	TeFolderSink folder;
	const char *path;
	FileSink	file;			/* the one that is open */
	uint64		written;		/* by those that were closed */
} FolderSink;

/* ---- files ---- */

static void
file_write(TeSink *sink, const void *data, size_t len)
{
	FileSink   *file = sink->host;

	while (len > 0)
	{
		ssize_t		done;

		CHECK_FOR_INTERRUPTS();
		errno = 0;
		done = write(file->fd, data, Min(len, WRITE_STEP));
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
		{
			if (errno == 0)
				errno = ENOSPC;
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not write to file \"%s\": %m", file->path)));
		}
		data = (const char *) data + done;
		len -= (size_t) done;
	}
}

static void
file_begin(FileSink *file, const char *path)
{
	mode_t		mask = umask(S_IWGRP | S_IWOTH);

	PG_TRY();
	{
		file->path = pstrdup(path);
		file->fd = OpenTransientFilePerm(path, O_CREAT | O_EXCL | O_WRONLY | PG_BINARY, 0666);
	}
	PG_FINALLY();
	{
		umask(mask);
	}
	PG_END_TRY();
	if (file->fd < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not create file \"%s\": %m", path)));
	file->sink = (TeSink) {.write = file_write,.host = file};
}

static void
file_end(FileSink *file)
{
	if (pg_fsync(file->fd) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not fsync file \"%s\": %m", file->path)));
	if (CloseTransientFile(file->fd) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not close file \"%s\": %m", file->path)));
}

/* ---- folders ---- */

static void
make_folder(const char *path)
{
	mode_t		mask = umask(S_IWGRP | S_IWOTH);
	int			result = mkdir(path, 0777);

	umask(mask);
	if (result != 0 && errno != EEXIST)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not create directory \"%s\": %m", path)));
}

/* TeFolderSink.open; the path may have one folder in it, as in "1_Pooling/config.json". */
static TeSink *
folder_open(TeFolderSink *sink, const char *path)
{
	FolderSink *folder = sink->host;
	const char *slash = strrchr(path, '/');

	if (slash != NULL)
		make_folder(psprintf("%s/%.*s", folder->path, (int) (slash - path), path));
	file_begin(&folder->file, psprintf("%s/%s", folder->path, path));
	return &folder->file.sink;
}

static void
folder_close(TeFolderSink *sink, TeSink *file)
{
	FolderSink *folder = sink->host;

	folder->written += file->written;
	file_end(&folder->file);
}

/* Sync the names in a folder and in the folders within it. */
static void
sync_folder(const char *path)
{
	DIR		   *directory = AllocateDir(path);
	struct dirent *entry;

	while ((entry = ReadDir(directory, path)) != NULL)
	{
		char	   *below = psprintf("%s/%s", path, entry->d_name);
		struct stat status;

		if (entry->d_name[0] != '.' && lstat(below, &status) == 0 && S_ISDIR(status.st_mode))
			sync_folder(below);
	}
	FreeDir(directory);
	fsync_fname(path, true);
}

/* ---- either ---- */

static uint64
write_file(TeArena *scratch, const TeModelDef *def, const char *name, const char *path)
{
	FileSink	file;

	file_begin(&file, path);
	te_export_gguf(scratch, def, name, &file.sink);
	file_end(&file);
	return file.sink.written;
}

static uint64
write_folder(TeArena *scratch, const TeModelDef *def, const char *path)
{
	FolderSink	folder = {.folder = {.open = folder_open,.close = folder_close},.path = path};

	folder.folder.host = &folder;
	make_folder(path);
	te_export_folder(scratch, def, &folder.folder);
	sync_folder(path);
	return folder.written;
}

/* Remove what is there under the temporary name. */
static void
abandon(int code, Datum arg)
{
	const char *temporary = (const char *) DatumGetPointer(arg);
	struct stat status;

	if (lstat(temporary, &status) != 0)
		return;
	if (S_ISDIR(status.st_mode))
		rmtree(temporary, true);
	else
		unlink(temporary);
}

/* Give the finished file or folder its name. */
static void
publish(const char *temporary, const char *path)
{
	char	   *parent = pstrdup(path);

	if (rename(temporary, path) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not rename \"%s\" to \"%s\": %m", temporary, path)));
	get_parent_directory(parent);
	fsync_fname(parent[0] == '\0' ? "." : parent, true);
}

uint64
tr_output_path(TeArena *scratch, const TeModelDef *def, const char *name, const char *path)
{
	char	   *temporary;
	struct stat status;
	uint32		random;
	volatile uint64 bytes = 0;

	if (lstat(path, &status) == 0)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_FILE), errmsg("\"%s\" already exists", path),
						errhint("Choose another name, or remove it first.")));
	if (!pg_strong_random(&random, sizeof(random)))
		elog(ERROR, "could not get random bytes");
	temporary = psprintf("%s.tmp.%08x", path, random);

	PG_ENSURE_ERROR_CLEANUP(abandon, PointerGetDatum(temporary));
	{
		if (te_str_ends(te_str(path), ".gguf"))
			bytes = write_file(scratch, def, name, temporary);
		else
			bytes = write_folder(scratch, def, temporary);
		publish(temporary, path);
	}
	PG_END_ENSURE_ERROR_CLEANUP(abandon, PointerGetDatum(temporary));
	return bytes;
}
