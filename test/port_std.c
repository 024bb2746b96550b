/*-------------------------------------------------------------------------
 * port_std.c
 *	  The engine's host for standalone programs.  See port_std.h.
 *
 * Everything is on the calling thread but the tasks of te_parallel_for().
 * Blocks are kept in a list per owner, with a header in front of each.
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE

#include "port_std.h"

#include "port/blas.h"
#include "port/pool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>


/* ---- errors ---- */

static int	n_held;				/* te_hold_interrupts() */
static TeStdTry *innermost;
static TeStdError last_error = {.code = TE_STD_NO_ERROR};
static char last_report[1024];
static bool quiet_reports;

static const char *const error_names[] = {
#define NAME(code, sqlstate) #code " (" sqlstate ")",
	TE_ERRORS(NAME)
#undef NAME
	"interrupted",
};

const TeStdError *
te_std_error(void)
{
	return &last_error;
}

void
te_std_push(TeStdTry *frame)
{
	frame->outer = innermost;
	innermost = frame;
}

void
te_std_pop(void)
{
	innermost = innermost->outer;
}

/* Nobody catches: a test that did not expect an error ends here. */
static TE_NORETURN void
raise_error(void)
{
	TeStdTry   *frame = innermost;

	if (frame == NULL)
	{
		fprintf(stderr, "uncaught error %s: %s\n", error_names[last_error.code], last_error.message);
		if (last_error.detail[0] != '\0')
			fprintf(stderr, "detail: %s\n", last_error.detail);
		if (last_error.hint[0] != '\0')
			fprintf(stderr, "hint: %s\n", last_error.hint);
		abort();
	}
	innermost = frame->outer;
	n_held = 0;
	longjmp(frame->jump, 1);
}

/* vsnprintf with the C locale's decimal point. */
static int
format_c(char *into, size_t size, const char *fmt, va_list args)
{
	static locale_t c_locale;
	locale_t	before;
	int			len;

	if (c_locale == NULL)
		c_locale = newlocale(LC_ALL_MASK, "C", NULL);
	before = uselocale(c_locale);
	len = vsnprintf(into, size, fmt, args);
	uselocale(before);
	return len;
}

void
te_throw(TeErrorCode code, const char *fmt,...)
{
	va_list		args;

	last_error = (TeStdError) {.code = code};
	va_start(args, fmt);
	format_c(last_error.message, sizeof(last_error.message), fmt, args);
	va_end(args);
	raise_error();
}

void
te_throw_hint(TeErrorCode code, const char *detail, const char *hint, const char *fmt,...)
{
	va_list		args;

	last_error = (TeStdError) {.code = code};
	va_start(args, fmt);
	format_c(last_error.message, sizeof(last_error.message), fmt, args);
	va_end(args);
	snprintf(last_error.detail, sizeof(last_error.detail), "%s", detail != NULL ? detail : "");
	snprintf(last_error.hint, sizeof(last_error.hint), "%s", hint != NULL ? hint : "");
	raise_error();
}

/* For callers that only want to know whether it threw. */
bool
te_std_run(void (*body) (void *arg), void *arg)
{
	volatile bool done = false;

	TE_TRY
	{
		body(arg);
		done = true;
	}
	TE_CATCH
	{
	}
	TE_END_TRY;
	return done;
}

void
te_report(TeLevel level, const char *fmt,...)
{
	static const char *const levels[] = {"debug", "notice", "warning"};
	va_list		args;

	va_start(args, fmt);
	format_c(last_report, sizeof(last_report), fmt, args);
	va_end(args);
	if (!quiet_reports && level != TE_DEBUG)
		fprintf(stderr, "%s: %s\n", levels[level], last_report);
}

void
te_std_quiet(bool quiet)
{
	quiet_reports = quiet;
}

const char *
te_std_last_report(void)
{
	return last_report;
}

/* Once into a small buffer for the length, once into the arena. */
char *
te_format(TeArena *arena, const char *fmt,...)
{
	char		small[256];
	char	   *text;
	int			len;
	va_list		args;

	va_start(args, fmt);
	len = format_c(small, sizeof(small), fmt, args);
	va_end(args);
	te_assert(len >= 0);
	text = te_alloc(arena, (size_t) len + 1);
	va_start(args, fmt);
	format_c(text, (size_t) len + 1, fmt, args);
	va_end(args);
	return text;
}

/* ---- blocks ---- */

typedef struct Block
{
	struct Block *next;
	struct Block *previous;
	TeStdOwner *owner;
	size_t		bytes;
} Block;

_Static_assert(sizeof(Block) % 16 == 0, "blocks keep the alignment of malloc");

struct TeStdOwner
{
	Block	   *blocks;
};

static TeStdOwner global_owner;
static size_t n_blocks;
static uint64_t n_allocations;
static uint64_t fail_at;		/* value of n_allocations, or 0 */

/* Counts, fails when told to, and links the block to its owner. */
void *
te_host_alloc(void *owner, size_t bytes)
{
	TeStdOwner *of = owner != NULL ? owner : &global_owner;
	Block	   *block = NULL;

	n_allocations++;
	if (fail_at != 0 && n_allocations >= fail_at)
	{
		fail_at = 0;
		te_throw(TE_ERR_MEMORY, "out of memory (injected)");
	}
	if (bytes < SIZE_MAX - sizeof(Block))
		block = malloc(sizeof(Block) + bytes);
	if (block == NULL)
		te_throw(TE_ERR_MEMORY, "out of memory");
	*block = (Block) {.next = of->blocks,.owner = of,.bytes = bytes};
	if (of->blocks != NULL)
		of->blocks->previous = block;
	of->blocks = block;
	n_blocks++;
	return block + 1;
}

void
te_host_free(void *owner, void *memory)
{
	Block	   *block = (Block *) memory - 1;

	if (block->next != NULL)
		block->next->previous = block->previous;
	if (block->previous != NULL)
		block->previous->next = block->next;
	else
		block->owner->blocks = block->next;
	n_blocks--;
	free(block);
}

TeStdOwner *
te_std_owner_create(void)
{
	TeStdOwner *owner = calloc(1, sizeof(TeStdOwner));

	if (owner == NULL)
		te_throw(TE_ERR_MEMORY, "out of memory");
	return owner;
}

/* What a server does at the end of a memory context: everything of it is gone. */
void
te_std_owner_drop(TeStdOwner *owner)
{
	while (owner->blocks != NULL)
		te_host_free(owner, owner->blocks + 1);
	free(owner);
}

size_t
te_std_blocks(void)
{
	return n_blocks;
}

/* ---- faults ---- */

static uint64_t n_checks;
static uint64_t interrupt_at;
static TeStdOwner *fault_owner;

void
te_std_fail_allocation(uint64_t nth)
{
	fail_at = nth != 0 ? n_allocations + nth : 0;
}

void
te_std_interrupt(uint64_t nth)
{
	interrupt_at = nth != 0 ? n_checks + nth : 0;
}

uint64_t
te_std_allocations(void)
{
	return n_allocations;
}

uint64_t
te_std_checks(void)
{
	return n_checks;
}

/* Count a check; whether it is the one to fire at, or the first after it that may. */
static bool
interrupted(void)
{
	n_checks++;
	return interrupt_at != 0 && n_checks >= interrupt_at && n_held == 0;
}

void
te_hold_interrupts(void)
{
	n_held++;
}

void
te_resume_interrupts(void)
{
	n_held--;
}

void
te_check_interrupts(void)
{
	if (interrupted())
	{
		interrupt_at = 0;
		te_throw(TE_STD_INTERRUPTED, "canceled (injected)");
	}
}

TeStdOwner *
te_std_fault_owner(void)
{
	return fault_owner;
}

/* One run with the nth fault of a kind.  Returns 1: it fired; 0: the body got through; -1: wrong. */
static int
fault_run(void (*body) (void *arg), void *arg, bool allocation, uint64_t nth)
{
	size_t		blocks = n_blocks;
	TeErrorCode expected = allocation ? TE_ERR_MEMORY : TE_STD_INTERRUPTED;
	bool		done;

	fault_owner = te_std_owner_create();
	if (allocation)
		te_std_fail_allocation(nth);
	else
		te_std_interrupt(nth);
	done = te_std_run(body, arg);
	te_std_fail_allocation(0);
	te_std_interrupt(0);
	te_std_owner_drop(fault_owner);
	fault_owner = NULL;

	if (n_blocks != blocks)
	{
		fprintf(stderr, "fault %llu: %zu blocks before, %zu after\n", (unsigned long long) nth, blocks, n_blocks);
		return -1;
	}
	if (!done && last_error.code != expected)
	{
		fprintf(stderr, "fault %llu: unexpected error: %s\n", (unsigned long long) nth, last_error.message);
		return -1;
	}
	return done ? 0 : 1;
}

/* Allocations first, then interrupts; each until a run gets through. */
int
te_std_fault_loop(void (*body) (void *arg), void *arg)
{
	int			injected = 0;

	for (int kind = 0; kind < 2; kind++)
	{
		int			fired = 1;

		for (uint64_t nth = 1; fired == 1; nth++)
		{
			fired = fault_run(body, arg, kind == 0, nth);
			injected += fired == 1;
		}
		if (fired < 0)
			return -1;
	}
	return injected;
}

/* ---- threads, time, OpenBLAS ---- */

static int	n_workers = 1;

void
te_std_set_workers(int workers)
{
	n_workers = TE_MAX(1, TE_MIN(workers, TE_POOL_MAX_THREADS));
}

int
te_workers(void)
{
	return n_workers;
}

void
te_parallel_for(size_t n_tasks, TeTask task, void *arg)
{
	te_parallel_for_few(n_workers, n_tasks, task, arg);
}

/* A check of its own, then the pool asks between tasks; the error is thrown here, when all have stopped. */
void
te_parallel_for_few(int n, size_t n_tasks, TeTask task, void *arg)
{
	te_check_interrupts();
	if (te_pool_run(TE_MIN(n, n_workers), n_tasks, task, arg, interrupted))
		return;
	if (interrupt_at == 0)
		te_throw(TE_ERR_INTERNAL, "te_parallel_for() was called from inside a task");
	interrupt_at = 0;
	te_throw(TE_STD_INTERRUPTED, "canceled (injected)");
}

const TeBlas *
te_host_blas(void)
{
	return te_blas_load();
}

double
te_host_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
}

/* Always the same, so that tests can say what comes of it. */
void
te_host_now(TeTime *now)
{
	*now = (TeTime) {.year = 2024,.month = 7,.day = 4,.hour = 15,.minute = 6,.second = 9,.weekday = 4};
}

/* ---- files ---- */

/* errno in words, as a host would say it. */
static TE_NORETURN void
io_error(const char *verb, const char *path)
{
	te_throw(TE_ERR_IO, "could not %s \"%s\": %s", verb, path, strerror(errno));
}

/* pread: sources have no position. */
static void
file_read(const TeSource *source, uint64_t offset, void *into, size_t len)
{
	int			fd = (int) (intptr_t) source->host;
	char	   *to = into;

	while (len > 0)
	{
		ssize_t		got = pread(fd, to, len, (off_t) offset);

		if (got <= 0)
			io_error("read", source->name);
		to += got;
		offset += (uint64_t) got;
		len -= (size_t) got;
	}
}

/* path is opened; name is what messages say. */
static TeSource
open_source(TeArena *arena, const char *path, const char *name)
{
	struct stat status;
	int			fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &status) != 0)
		io_error("open", path);
	return (TeSource) {.name = te_cstring(arena, te_str(name)),.size = (uint64_t) status.st_size,
		.read = file_read,.host = (void *) (intptr_t) fd};
}

TeSource
te_std_file(TeArena *arena, const char *path)
{
	return open_source(arena, path, path);
}

/* Append the files of directory `path`, named from `prefix` on. */
static void
add_directory(TeArena *arena, TeBuffer *files, const char *path, const char *prefix)
{
	DIR		   *directory = opendir(path);
	struct dirent *entry;

	if (directory == NULL)
		io_error("open directory", path);
	while ((entry = readdir(directory)) != NULL)
	{
		const char *full = te_format(arena, "%s/%s", path, entry->d_name);
		const char *name = te_format(arena, "%s%s", prefix, entry->d_name);
		struct stat status;

		if (entry->d_name[0] == '.' || stat(full, &status) != 0)
			continue;
		if (S_ISDIR(status.st_mode))
			add_directory(arena, files, full, te_format(arena, "%s/", name));
		else if (S_ISREG(status.st_mode))
		{
			TeSource	source = open_source(arena, full, name);

			te_buffer_add(files, &source, sizeof(source));
		}
	}
	closedir(directory);
}

TeFolder
te_std_folder(TeArena *arena, const char *path)
{
	TeBuffer	files;

	te_buffer_init(&files, arena);
	add_directory(arena, &files, path, "");
	return (TeFolder) {.name = te_cstring(arena, te_str(path)),
		.n_files = (int) (files.len / sizeof(TeSource)),.files = (const TeSource *) files.data};
}

static void
file_write(TeSink *sink, const void *data, size_t len)
{
	if (fwrite(data, 1, len, sink->host) != len)
		io_error("write", "sink");
}

TeSink
te_std_file_sink(TeArena *arena, const char *path)
{
	FILE	   *file = fopen(path, "wb");

	if (file == NULL)
		io_error("create", path);
	return (TeSink) {.write = file_write,.host = file};
}

void
te_std_file_sink_close(TeSink *sink)
{
	if (fclose(sink->host) != 0)
		io_error("close", "sink");
	sink->host = NULL;
}

typedef struct StdFolderSink
{
	TeArena    *arena;
	const char *path;
} StdFolderSink;

/* Make all directories in front of the last slash. */
static void
make_directories(TeArena *arena, const char *path)
{
	char	   *copy = te_cstring(arena, te_str(path));

	for (char *slash = strchr(copy + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
	{
		*slash = '\0';
		if (mkdir(copy, 0777) != 0 && errno != EEXIST)
			io_error("create directory", copy);
		*slash = '/';
	}
}

static TeSink *
folder_open(TeFolderSink *folder, const char *path)
{
	StdFolderSink *own = folder->host;
	const char *full = te_format(own->arena, "%s/%s", own->path, path);
	TeSink	   *sink = te_new(own->arena, TeSink);

	make_directories(own->arena, full);
	*sink = te_std_file_sink(own->arena, full);
	return sink;
}

static void
folder_close(TeFolderSink *folder, TeSink *sink)
{
	te_std_file_sink_close(sink);
}

TeFolderSink
te_std_folder_sink(TeArena *arena, const char *path)
{
	StdFolderSink *own = te_new(arena, StdFolderSink);

	own->arena = arena;
	own->path = te_cstring(arena, te_str(path));
	return (TeFolderSink) {.open = folder_open,.close = folder_close,.host = own};
}
