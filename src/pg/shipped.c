/*-------------------------------------------------------------------------
 * shipped.c
 *	  Models that come with the extension.
 *
 * `make install` puts them into the folder "transformer" of the server's share
 * directory: NAME.gguf is version 1 of model NAME, NAME-2.gguf version 2 and
 * so on.  A version never becomes another file, as columns may name it; a release
 * that has a better model adds a file, and keeps the old one for as long as it wants
 * NAME@1 to work.
 *
 * The update scripts call register_shipped().  It reads each file once, for its
 * digests, and stores what any version of storage 'file' has, with its tokenizer; the
 * image is built when somebody uses the model.  A file that is damaged is a WARNING, and
 * one that is not there is not registered.  Paths begin with $share (files.c).
 *
 * What a database has of these models is not dumped: a restore creates the
 * extension, of whatever release, and so has that one's models.  So that nothing collides then
 * with what users make, the rows have the key "@NAME", which
 * no user's model can have, and a row of the name itself goes before it:
 *
 *	  a model of the user's, which may be older than ours
 *	  ours with a grant, a version or anything else changed: copied to
 *	  the name by the first change (catalog_write.c), and dumped like a user's
 *	  ours dropped: a name without versions
 *
 * In each of these cases the name is the database's, and further releases leave it alone.
 *
 * To add a model: its file in models/, its row in _transformer.shipped.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include "access/xact.h"
#include "nodes/pg_list.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

#define SHIPPED_FOLDER TR_SHARE_PREFIX "transformer"
#define SHIPPED_SUFFIX ".gguf"

typedef struct Shipped
{
	char	   *file;			/* within the folder */
	char	   *name;
	int32		version;
} Shipped;

/* ---- files ---- */

/* "encoder-2" is version 2 of "encoder"; any other name is that of version 1. */
static Shipped *
parse_file(const char *file)
{
	Shipped    *shipped = palloc(sizeof(Shipped));
	char	   *dash;
	char	   *bare;

	shipped->file = pstrdup(file);
	shipped->name = pnstrdup(file, strlen(file) - strlen(SHIPPED_SUFFIX));
	shipped->version = 1;
	dash = strrchr(shipped->name, '-');
	if (dash != NULL)
	{
		char	   *with_version = pstrdup(shipped->name);
		int32		version;

		with_version[dash - shipped->name] = '@';
		if (tr_split_model_name(with_version, &bare, &version) && version > 1)
		{
			shipped->name = bare;
			shipped->version = version;
		}
	}
	return shipped;
}

static int
by_name_and_version(const ListCell *a, const ListCell *b)
{
	const Shipped *left = lfirst(a);
	const Shipped *right = lfirst(b);
	int			order = strcmp(left->name, right->name);

	return order != 0 ? order : left->version < right->version ? -1 : left->version > right->version;
}

/* No folder: nothing was installed. */
static List *
list_files(void)
{
	char	   *folder = tr_share_path(SHIPPED_FOLDER);
	DIR		   *directory = AllocateDir(folder);
	List	   *files = NIL;
	struct dirent *entry;

	if (directory == NULL && errno == ENOENT)
		return NIL;
	while ((entry = ReadDirExtended(directory, folder, WARNING)) != NULL)
	{
		size_t		len = strlen(entry->d_name);

		if (entry->d_name[0] != '.' && len > strlen(SHIPPED_SUFFIX) &&
			strcmp(entry->d_name + len - strlen(SHIPPED_SUFFIX), SHIPPED_SUFFIX) == 0)
			files = lappend(files, parse_file(entry->d_name));
	}
	if (directory != NULL)
		FreeDir(directory);
	list_sort(files, by_name_and_version);
	return files;
}

/* ---- registering ---- */

/* The task that a model is shipped for; {NULL, 0}: what the file says. */
static TeStr
shipped_task(TeArena *arena, const char *name)
{
	TrScan	   *scan = tr_scan_begin("shipped", N_SHIPPED, 1, CStringGetTextDatum(name));
	Datum		values[N_SHIPPED + 1];
	bool		nulls[N_SHIPPED + 1];
	TeStr		task = {NULL, 0};

	if (tr_scan_next(scan, values, nulls))
		task = te_str_copy(arena, tr_utf8(DatumGetTextPP(values[SHIPPED_TASK])));
	tr_scan_end(scan);
	return task;
}

static void
register_file(const Shipped *shipped)
{
	char	   *path = psprintf(SHIPPED_FOLDER "/%s", shipped->file);
	TeArena    *arena = tr_arena(CurrentMemoryContext, "shipped model", tr_session_limit());
	TeImportOptions options = {.task = shipped_task(arena, shipped->name)};
	TrNewVersion new = {.name = shipped->name,.shipped = shipped->version};
	TrInput    *input;
	TrVersion	version;
	TrContext	context;

	tr_check_model_name(shipped->name);
	tr_context_push(&context, psprintf("while registering model \"%s\"", shipped->name));
	tr_import_begin();
	new.input = input = tr_input_path(arena, path);
	new.def = tr_input_import(arena, input, &options);
	tr_catalog_create(arena, &new, &context, &version);
	tr_import_end();
	tr_context_pop(&context);
	te_arena_destroy(arena);
}

/* What somebody wants to stop is stopped. */
static bool
is_about_the_file(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category != ERRCODE_OPERATOR_INTERVENTION && category != ERRCODE_INSUFFICIENT_RESOURCES;
}

static void
report_failure(const Shipped *shipped, const ErrorData *error)
{
	ereport(WARNING, (errcode(error->sqlerrcode),
					  errmsg("model \"%s@%d\", which comes with the extension, is left out", shipped->name, shipped->version),
					  errdetail_internal("%s", error->message),
					  errhint("Install the extension's files again, then run SELECT _transformer.register_shipped().")));
}

/* In a subtransaction; an error becomes a WARNING. */
static bool
try_to_register(const Shipped *shipped)
{
	MemoryContext before = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(before);
	PG_TRY();
	{
		register_file(shipped);
		ReleaseCurrentSubTransaction();
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(before);
		error = CopyErrorData();
		if (!is_about_the_file(error))
			PG_RE_THROW();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		report_failure(shipped, error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(before);
	CurrentResourceOwner = owner;
	return done;
}

/* Has the database said what the name is?  Where it was dropped, quietly.  (In a script of an extension a NOTICE is not seen.) */
static bool
is_taken(const char *name)
{
	TrVersion	own;

	if (!tr_catalog_has_name(name))
		return false;
	if (tr_catalog_find(name, 0, &own))
		ereport(WARNING, (errmsg("model \"%s\" is this database's own, and the one that comes with the extension is left out", name)));
	return true;
}

PG_FUNCTION_INFO_V1(transformer_register_shipped);
Datum
transformer_register_shipped(PG_FUNCTION_ARGS)
{
	const char *taken = "";
	int32		registered = 0;
	ListCell   *cell;

	tr_must_be_writable("register_shipped()");
	foreach(cell, list_files())
	{
		const Shipped *shipped = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (strcmp(shipped->name, taken) == 0)
			continue;
		if (is_taken(shipped->name))
			taken = shipped->name;
		else if (try_to_register(shipped))
			registered++;
	}
	PG_RETURN_INT32(registered);
}
