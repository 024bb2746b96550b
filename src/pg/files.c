/*-------------------------------------------------------------------------
 * files.c
 *	  What models are imported from: files and folders of the server, large
 *	  objects.
 *
 * A file is opened for each read and closed again, a few microseconds for a
 * megabyte.  So no descriptor is held across an error, and none is lost when
 * the engine reads a definition long after this code has returned.  Each
 * time the file must be the one that was there first: device, inode, size,
 * time of change.  Files are read, never mapped, since a mapped file that
 * somebody truncates ends the process.
 *
 * A folder is its regular files, hidden ones left out, two levels deep (as in
 * "1_Pooling/config.json"); symbolic links are followed, which is how
 * model caches are built.  What is there but cannot be read, such as a link to
 * nowhere, is an error once the engine wants it: to do without it could mean
 * another model.
 *
 * Privileges are the callers' business (tr_check_privilege_of()), before a path is
 * looked at: whoever may not read files learns nothing of them.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpq/be-fsstubs.h"
#include "libpq/libpq-fs.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define READ_STEP ((size_t) 1024 * 1024)	/* between looks for interrupts */
#define MAX_FILES 1000			/* of a folder */
#define MAX_DEPTH 2
#define UNREADABLE_SIZE 64		/* enough for any parser to begin to read */

/* A file as it was when we first saw it. */
typedef struct ServerFile
{
	const char *path;
	dev_t		device;
	ino_t		inode;
	off_t		size;
	time_t		mtime;
	bool		used;			/* has been read from */
} ServerFile;

/* ---- files of the server ---- */

char *
tr_absolute_path(const char *path)
{
	char	   *copy = pstrdup(path);

	canonicalize_path(copy);
	if (!is_absolute_path(copy))
		ereport(ERROR, (errcode(ERRCODE_INVALID_NAME), errmsg("path \"%s\" is not absolute", path)));
	return copy;
}

/* O_NONBLOCK: a pipe in place of a file must not make us wait. */
static int
open_file(const char *path, struct stat *status)
{
	int			fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
	if (fstat(fd, status) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", path)));
	if (!S_ISREG(status->st_mode))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a regular file", path)));
	return fd;
}

static void
close_file(int fd, const char *path)
{
	if (CloseTransientFile(fd) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not close file \"%s\": %m", path)));
}

/* Read all of len bytes, in steps. */
static void
read_fully(int fd, const char *path, char *into, size_t len, off_t offset)
{
	while (len > 0)
	{
		ssize_t		got;

		CHECK_FOR_INTERRUPTS();
		got = pread(fd, into, Min(len, READ_STEP), offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			ereport(ERROR, (errcode_for_file_access(), errmsg("could not read file \"%s\": %m", path)));
		if (got == 0)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("file \"%s\" became shorter while it was read", path)));
		into += got;
		offset += got;
		len -= (size_t) got;
	}
}

/* TeSource.read */
static void
file_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	ServerFile *file = source->host;
	struct stat status;
	int			fd = open_file(file->path, &status);

	if (status.st_dev != file->device || status.st_ino != file->inode ||
		status.st_size != file->size || status.st_mtime != file->mtime)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("file \"%s\" was changed while it was read", file->path)));
	read_fully(fd, file->path, into, len, (off_t) offset);
	close_file(fd, file->path);
	file->used = true;
}

/*
 * A source for a regular file of that status; of another kind, or of a status
 * that is all zero, for a file whose first read fails and says why.
 */
static TeSource
file_source(TeArena *arena, const char *name, const char *path, const struct stat *status)
{
	ServerFile *file = te_new(arena, ServerFile);

	file->path = te_cstring(arena, te_str(path));
	file->device = status->st_dev;
	file->inode = status->st_ino;
	file->size = status->st_size;
	file->mtime = status->st_mtime;
	return (TeSource) {
		.name = te_cstring(arena, te_str(name)),
		.size = S_ISREG(status->st_mode) ? (uint64) status->st_size : UNREADABLE_SIZE,
		.read = file_read,
		.host = file,
	};
}

/* Add the files below `path`; `relative` is the path within the folder, "" at its top. */
static void
list_folder(TeArena *arena, TeFolder *folder, TeSource *files, const char *path, const char *relative, int depth)
{
	DIR		   *directory = AllocateDir(path);
	struct dirent *entry;

	while ((entry = ReadDir(directory, path)) != NULL)
	{
		char	   *below;
		char	   *name;
		struct stat status;

		CHECK_FOR_INTERRUPTS();
		if (entry->d_name[0] == '.')
			continue;
		below = psprintf("%s/%s", path, entry->d_name);
		name = psprintf("%s%s%s", relative, relative[0] != '\0' ? "/" : "", entry->d_name);
		if (stat(below, &status) != 0)
			memset(&status, 0, sizeof(status));
		if (S_ISDIR(status.st_mode))
		{
			if (depth < MAX_DEPTH)
				list_folder(arena, folder, files, below, name, depth + 1);
		}
		else
		{
			if (folder->n_files == MAX_FILES)
				ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
								errmsg("folder \"%s\" has more than %d files", folder->name, MAX_FILES)));
			files[folder->n_files++] = file_source(arena, name, below, &status);
		}
	}
	FreeDir(directory);
}

/* Where the server's own files are: it finds them by its program's place, and so do we. */
char *
tr_share_path(const char *path)
{
	char		directory[MAXPGPATH];

	if (strncmp(path, TR_SHARE_PREFIX, strlen(TR_SHARE_PREFIX)) != 0)
		return pstrdup(path);
	get_share_path(my_exec_path, directory);
	return psprintf("%s/%s", directory, path + strlen(TR_SHARE_PREFIX));
}

bool
tr_in_share(const char *path)
{
	char	   *directory = tr_share_path(TR_SHARE_PREFIX);

	return strncmp(path, directory, strlen(directory)) == 0;
}

TrInput *
tr_input_path(TeArena *arena, const char *path)
{
	TrInput    *input = te_new(arena, TrInput);
	bool		in_share = strncmp(path, TR_SHARE_PREFIX, strlen(TR_SHARE_PREFIX)) == 0;
	struct stat status;

	input->path = input->name = te_cstring(arena, te_str(tr_absolute_path(tr_share_path(path))));
	input->stored_path = in_share ? te_cstring(arena, te_str(path)) : input->path;
	input->descriptor = -1;
	if (stat(input->path, &status) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not open \"%s\": %m", input->path),
						in_share ? errhint("The file comes with the extension \"transformer\". Install on this server the release that has it.") : 0));
	input->is_folder = S_ISDIR(status.st_mode);
	if (input->is_folder)
	{
		TeSource   *files = te_new_array(arena, TeSource, MAX_FILES);

		input->folder = (TeFolder) {.name = input->name,.files = files};
		list_folder(arena, &input->folder, files, input->path, "", 1);
	}
	else
	{
		close_file(open_file(input->path, &status), input->path);
		input->file = file_source(arena, input->name, input->path, &status);
	}
	return input;
}

/* ---- large objects ---- */

/* TeSource.read */
static void
large_object_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	const TrInput *input = source->host;
	char	   *to = into;

	DirectFunctionCall3(be_lo_lseek64, Int32GetDatum(input->descriptor), Int64GetDatum((int64) offset), Int32GetDatum(SEEK_SET));
	while (len > 0)
	{
		int			got;

		CHECK_FOR_INTERRUPTS();
		got = lo_read(input->descriptor, to, (int) Min(len, READ_STEP));
		if (got <= 0)
			ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("%s became shorter while it was read", source->name)));
		to += got;
		len -= (size_t) got;
	}
}

/* The caller needs SELECT on it, which lo_open() checks. */
TrInput *
tr_input_large_object(TeArena *arena, Oid large_object)
{
	TrInput    *input = te_new(arena, TrInput);
	int64		size;

	input->name = te_format(arena, "large object %u", large_object);
	input->descriptor = DatumGetInt32(DirectFunctionCall2(be_lo_open, ObjectIdGetDatum(large_object), Int32GetDatum(INV_READ)));
	size = DatumGetInt64(DirectFunctionCall3(be_lo_lseek64, Int32GetDatum(input->descriptor), Int64GetDatum(0),
											 Int32GetDatum(SEEK_END)));
	input->file = (TeSource) {.name = input->name,.size = (uint64) size,.read = large_object_read,.host = input};
	return input;
}

/* ---- either ---- */

/*
 * Size and time of the files with weights, by which a change is noticed early.
 * Others need not be read again when storage 'file' is (the catalog has the
 * tokenizer), so they do not count.
 */
static void
sum_up(TrInput *input)
{
	int			n = input->is_folder ? input->folder.n_files : 1;
	const TeSource *files = input->is_folder ? input->folder.files : &input->file;

	input->size = 0;
	input->mtime = 0;
	for (int i = 0; i < n; i++)
	{
		const ServerFile *file = files[i].host;

		if (!file->used || (input->is_folder && !te_str_ends(te_str(files[i].name), ".safetensors")))
			continue;
		input->size += (uint64) file->size;
		input->mtime = Max(input->mtime, time_t_to_timestamptz((pg_time_t) file->mtime));
	}
}

TeModelDef *
tr_input_import(TeArena *arena, TrInput *input, const TeImportOptions *options)
{
	TeFolder   *archive;
	TeModelDef *def;

	if (input->is_folder)
		def = te_import_folder(arena, &input->folder, options);
	else if (tr_tar_probe(&input->file))
	{
		archive = te_new(arena, TeFolder);
		tr_tar_folder(arena, &input->file, archive);
		def = te_import_folder(arena, archive, options);
	}
	else
		def = te_import_gguf(arena, &input->file, options);
	if (input->path != NULL)
		sum_up(input);
	return def;
}

void
tr_input_close(TrInput *input)
{
	if (input->descriptor >= 0)
		DirectFunctionCall1(be_lo_close, Int32GetDatum(input->descriptor));
	input->descriptor = -1;
}
