/*-------------------------------------------------------------------------
 * tar.c
 *	  A tar archive as a folder, read in place.
 *
 * For clients that can send a model folder only as one large object.  Formats:
 * POSIX ustar with pax headers, and GNU's with long names, which is what
 * every tar program writes.  Members are sources with an offset into the archive;
 * nothing is unpacked, and names are only compared, never opened.
 *
 * Members that are not regular files are left out; so are hidden ones, and
 * macOS's "._" files with them.  Folders that all members are in ("models/minilm/config.json",
 * "./config.json") are taken off their names.
 *
 * Every number comes from the archive: sizes are held against its end before
 * they are used, long names are at most a page.
 *
 * Reference: POSIX.1-2017, pax; the GNU tar manual, "Basic Tar Format".
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#define BLOCK 512
#define MAX_MEMBERS 1000
#define MAX_EXTENSION 65536		/* bytes of a pax header */
#define MAX_NAME 4096

typedef struct TarHeader
{
	char		name[100];
	char		mode[8];
	char		uid[8];
	char		gid[8];
	char		size[12];
	char		mtime[12];
	char		checksum[8];
	char		type;
	char		link[100];
	char		magic[6];		/* "ustar" and NUL or space */
	char		version[2];
	char		user[32];
	char		group[32];
	char		major[8];
	char		minor[8];
	char		prefix[155];
	char		pad[12];
} TarHeader;

StaticAssertDecl(sizeof(TarHeader) == BLOCK, "a tar header is a block");

/* A member as a source of its own. */
typedef struct TarMember
{
	const TeSource *archive;
	uint64		start;
} TarMember;

/* What headers before a member say about it. */
typedef struct TarExtension
{
	char	   *name;			/* NULL: none */
	bool		has_size;
	uint64		size;
} TarExtension;

typedef struct TarReader
{
	TeArena    *arena;
	const TeSource *archive;
	uint64		offset;			/* of the next header */
	TarExtension next;
} TarReader;

static TE_NORETURN void
damaged(const TarReader *reader, const char *what)
{
	te_throw(TE_ERR_CORRUPT, "\"%s\" is damaged: %s of the tar header at offset %llu is invalid", reader->archive->name, what,
			 (unsigned long long) reader->offset);
}

/* A number in octal, or in GNU's binary form where the first bit is set. */
static uint64
tar_number(const TarReader *reader, const char *field, int len, const char *what)
{
	uint64		value = 0;
	int			i = 0;

	if ((unsigned char) field[0] == 0x80)
	{
		for (i = 1; i < len; i++)
		{
			if (value >> 55 != 0)
				damaged(reader, what);
			value = value << 8 | (unsigned char) field[i];
		}
		return value;
	}
	while (i < len && field[i] == ' ')
		i++;
	for (; i < len && field[i] >= '0' && field[i] <= '7'; i++)
		value = value << 3 | (uint64) (field[i] - '0');
	if (i < len && field[i] != '\0' && field[i] != ' ')
		damaged(reader, what);
	return value;
}

/* The sum of all bytes, those of the sum itself taken as spaces. */
static bool
checksum_holds(const TarReader *reader, const TarHeader *header)
{
	const unsigned char *bytes = (const unsigned char *) header;
	uint64		sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
	{
		bool		own = i >= offsetof(TarHeader, checksum) && i < offsetof(TarHeader, type);

		sum += own ? ' ' : bytes[i];
	}
	return sum == tar_number(reader, header->checksum, sizeof(header->checksum), "checksum");
}

bool
tr_tar_probe(const TeSource *source)
{
	TarHeader	header;

	if (source->size < BLOCK)
		return false;
	te_source_read(source, 0, &header, BLOCK);
	return memcmp(header.magic, "ustar", 5) == 0;
}

/* ---- extended headers ---- */

/* One record of a pax header, "27 path=some/long/name\n"; len has been checked. */
static void
pax_record(TarReader *reader, const char *record, size_t len)
{
	const char *key = memchr(record, ' ', len);
	const char *end = record + len - 1; /* the line feed */
	const char *equals;

	if (key == NULL || *end != '\n')
		damaged(reader, "pax record");
	key++;
	equals = memchr(key, '=', (size_t) (end - key));
	if (equals == NULL)
		damaged(reader, "pax record");
	if (equals - key == 4 && memcmp(key, "path", 4) == 0)
		reader->next.name = te_cstring(reader->arena, (TeStr) {equals + 1, (size_t) (end - equals - 1)});
	else if (equals - key == 4 && memcmp(key, "size", 4) == 0)
	{
		reader->next.size = 0;
		for (const char *p = equals + 1; p < end; p++)
		{
			if (*p < '0' || *p > '9' || reader->next.size > (PG_UINT64_MAX - 9) / 10)
				damaged(reader, "pax size");
			reader->next.size = reader->next.size * 10 + (uint64) (*p - '0');
		}
		reader->next.has_size = true;
	}
}

/* All records; each begins with its own length in decimal. */
static void
pax_header(TarReader *reader, uint64 start, uint64 size)
{
	char	   *data;
	size_t		at = 0;

	if (size > MAX_EXTENSION)
		damaged(reader, "length of the pax header");
	data = te_alloc(reader->arena, (size_t) size);
	te_source_read(reader->archive, start, data, (size_t) size);
	while (at < size && data[at] != '\0')
	{
		size_t		len = 0;

		for (size_t i = at; i < size && data[i] >= '0' && data[i] <= '9' && len <= size; i++)
			len = len * 10 + (size_t) (data[i] - '0');
		if (len < 3 || len > size - at)
			damaged(reader, "length of a pax record");
		pax_record(reader, data + at, len);
		at += len;
	}
}

/* GNU: the name of the next member is the content of this one. */
static void
gnu_long_name(TarReader *reader, uint64 start, uint64 size)
{
	char	   *name;

	if (size > MAX_NAME)
		damaged(reader, "length of a name");
	name = te_alloc0(reader->arena, (size_t) size + 1);
	te_source_read(reader->archive, start, name, (size_t) size);
	reader->next.name = name;
}

/* ---- members ---- */

static void
member_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	const TarMember *member = source->host;

	te_source_read(member->archive, member->start + offset, into, len);
}

static const char *
member_name(TarReader *reader, const TarHeader *header)
{
	const char *name;

	if (reader->next.name != NULL)
		name = reader->next.name;
	else if (header->prefix[0] != '\0' && memcmp(header->magic, "ustar", 6) == 0)
		name = te_format(reader->arena, "%.*s/%.*s", (int) strnlen(header->prefix, sizeof(header->prefix)), header->prefix,
						 (int) strnlen(header->name, sizeof(header->name)), header->name);
	else
		name = te_cstring(reader->arena, (TeStr) {header->name, strnlen(header->name, sizeof(header->name))});
	while (name[0] == '.' && name[1] == '/')
		name += 2;
	return name;
}

/* Is a part of the path hidden? */
static bool
is_hidden(const char *name)
{
	return name[0] == '.' || strstr(name, "/.") != NULL;
}

/* Read a header and go on behind its data; false at the end of the archive. */
static bool
next_member(TarReader *reader, TarHeader *header, uint64 *start, uint64 *size)
{
	static const TarHeader zero;

	if (reader->archive->size - reader->offset < BLOCK)
		return false;
	te_source_read(reader->archive, reader->offset, header, BLOCK);
	if (memcmp(header, &zero, BLOCK) == 0)
		return false;
	if (!checksum_holds(reader, header))
		damaged(reader, "checksum");

	*size = reader->next.has_size && strchr("xgLK", header->type) == NULL ? reader->next.size :
		tar_number(reader, header->size, sizeof(header->size), "size");
	*start = reader->offset + BLOCK;
	if (*size > reader->archive->size - *start)
		damaged(reader, "size");
	/* The padding behind the last member may be cut off. */
	reader->offset = *start + Min(TYPEALIGN64(BLOCK, *size), reader->archive->size - *start);
	return true;
}

/* Take off a folder that all names begin with; false where there is none. */
static bool
strip_folder(TeFolder *folder, TeSource *files)
{
	const char *slash = folder->n_files > 0 ? strchr(files[0].name, '/') : NULL;
	size_t		len;

	if (slash == NULL)
		return false;
	len = (size_t) (slash - files[0].name) + 1;
	for (int i = 1; i < folder->n_files; i++)
	{
		if (strncmp(files[i].name, files[0].name, len) != 0)
			return false;
	}
	for (int i = 0; i < folder->n_files; i++)
		files[i].name += len;
	return true;
}

static void
add_member(TarReader *reader, TeFolder *folder, TeSource *files, const char *name, uint64 start, uint64 size)
{
	TarMember  *member;

	if (is_hidden(name))
		return;
	if (folder->n_files == MAX_MEMBERS)
		te_throw(TE_ERR_UNSUPPORTED, "%s has more than %d members", reader->archive->name, MAX_MEMBERS);
	member = te_new(reader->arena, TarMember);
	*member = (TarMember) {.archive = reader->archive,.start = start};
	files[folder->n_files++] = (TeSource) {.name = name,.size = size,.read = member_read,.host = member};
}

void
tr_tar_folder(TeArena *arena, const TeSource *archive, TeFolder *folder)
{
	TarReader	reader = {.arena = arena,.archive = archive};
	TeSource   *files = te_new_array(arena, TeSource, MAX_MEMBERS);
	TarHeader	header;
	uint64		start;
	uint64		size;

	*folder = (TeFolder) {.name = archive->name,.files = files};
	while (next_member(&reader, &header, &start, &size))
	{
		te_check_interrupts();
		switch (header.type)
		{
			case 'x':
				pax_header(&reader, start, size);
				continue;
			case 'L':
				gnu_long_name(&reader, start, size);
				continue;
			case 'g':
			case 'K':
				continue;		/* for all members; name of a link */
			case '0':
			case '\0':
				add_member(&reader, folder, files, member_name(&reader, &header), start, size);
				break;
			default:
				break;
		}
		reader.next = (TarExtension) {0};
	}
	while (strip_folder(folder, files))
		;
}
