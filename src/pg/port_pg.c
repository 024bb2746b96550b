/*-------------------------------------------------------------------------
 * port_pg.c
 *	  The engine's host inside a server: engine/port.h over PostgreSQL.
 *
 * Errors.  te_throw() is ereport(ERROR): it unwinds by longjmp, the arenas'
 * blocks go with their memory context.  Messages come in UTF-8 and may quote
 * bytes of a damaged file; they are made valid in the database's encoding
 * first, since the error path must not fail itself.
 *
 * Threads.  te_parallel_for() is the only place where they run, and it returns
 * or throws only after all of them have stopped.  A parallel worker computes
 * on one thread: its leader has already decided how many processes there are.
 *
 * Interrupts.  A computation is abandoned only for what is certain to throw:
 * a cancel or the end of the session, not held off.  Everything else that may
 * be pending is served by te_check_interrupts() between computations.
 *
 * Memory.  The owner of a root arena is a memory context.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include "engine/port.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/blas.h"
#include "port/pool.h"
#include "portability/instr_time.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/memutils.h"

#define MOST_DEFAULT_THREADS 8
#define MOST_SHOWN 60			/* characters of a text in a message */

/* ---- text between UTF-8 and the database's encoding ---- */

/* A copy in which each byte that is not part of valid UTF-8 is a question mark. */
static char *
valid_utf8(const char *text)
{
	char	   *copy = pstrdup(text);
	int			len = (int) strlen(copy);
	int			at = 0;

	while ((at += pg_encoding_verifymbstr(PG_UTF8, copy + at, len - at)) < len)
		copy[at++] = '?';
	return copy;
}

/* Only ASCII: what every server encoding has. */
static char *
only_ascii(char *text)
{
	for (char *p = text; *p != '\0'; p++)
	{
		if (IS_HIGHBIT_SET(*p))
			*p = '?';
	}
	return text;
}

/* A message of the engine for ereport; never throws for what is in it.  NULL stays NULL. */
static const char *
message_text(const char *text)
{
	int			encoding = GetDatabaseEncoding();
	char	   *valid;
	char	   *converted;
	int			room;
	Oid			conversion;

	if (text == NULL)
		return NULL;
	valid = valid_utf8(text);
	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
		return valid;
	if (!IsTransactionState())
		return only_ascii(valid);
	conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	if (!OidIsValid(conversion))
		return only_ascii(valid);

	room = (int) strlen(valid) * MAX_CONVERSION_GROWTH + 1;
	converted = palloc0(room);
	if (pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding, (unsigned char *) valid, (int) strlen(valid),
									  (unsigned char *) converted, room, true) < (int) strlen(valid))
		return only_ascii(valid);
	return converted;
}

TeStr
tr_utf8(text *value)
{
	char	   *data = VARDATA_ANY(value);
	int			len = (int) VARSIZE_ANY_EXHDR(value);
	char	   *converted = pg_server_to_any(data, len, PG_UTF8);

	if (converted != data)
		len = (int) strlen(converted);
	return (TeStr) {converted, (size_t) len};
}

/* What is said of a text that cannot be shown: its first characters, those beyond ASCII as unistr() reads them. */
static char *
in_ascii(TeStr utf8)
{
	unsigned char *at = (unsigned char *) valid_utf8(pnstrdup(utf8.data, utf8.len));
	StringInfoData ascii;

	initStringInfo(&ascii);
	for (int n = 0; *at != '\0'; n++, at += pg_utf_mblen(at))
	{
		pg_wchar	c = utf8_to_unicode(at);

		if (n == MOST_SHOWN)
		{
			appendStringInfoString(&ascii, "...");
			break;
		}
		if (c < 0x80)
			appendStringInfoChar(&ascii, (char) c);
		else
			appendStringInfo(&ascii, c > 0xFFFF ? "\\+%06X" : "\\%04X", (unsigned) c);
	}
	return ascii.data;
}

/* Into an encoding other than UTF-8; palloc'd. */
static char *
convert_to_server(TeStr utf8, const char *what, const char *hint)
{
	int			encoding = GetDatabaseEncoding();
	Oid			conversion = FindDefaultConversionProc(PG_UTF8, encoding);
	int			room = (int) utf8.len * MAX_CONVERSION_GROWTH + 1;
	char	   *converted;

	if (!OidIsValid(conversion))
		return pg_any_to_server(utf8.data, (int) utf8.len, PG_UTF8);	/* which says so */
	converted = palloc0(room);
	if (pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding, (unsigned char *) utf8.data, (int) utf8.len,
									  (unsigned char *) converted, room, true) < (int) utf8.len)
		ereport(ERROR,
				(errcode(ERRCODE_UNTRANSLATABLE_CHARACTER),
				 errmsg("%s has a character that encoding \"%s\" has not", what, GetDatabaseEncodingName()),
				 errdetail("It is \"%s\".", in_ascii(utf8)),
				 errhint("%s", hint != NULL ? hint : "Use a database with encoding UTF8.")));
	return converted;
}

text *
tr_text_as(TeStr utf8, const char *what, const char *hint)
{
	int			encoding = GetDatabaseEncoding();
	char	   *converted;

	if (utf8.len > MaxAllocSize / MAX_CONVERSION_GROWTH - 1)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("result of %zu bytes is too long", utf8.len)));
	if (utf8.len == 0)
		return cstring_to_text_with_len("", 0);
	if (encoding != PG_UTF8 && encoding != PG_SQL_ASCII)
		return cstring_to_text(convert_to_server(utf8, what, hint));
	converted = pg_any_to_server(utf8.data, (int) utf8.len, PG_UTF8);
	return cstring_to_text_with_len(converted, (int) utf8.len);
}

text *
tr_text(TeStr utf8)
{
	return tr_text_as(utf8, "a text of the model", NULL);
}

char *
tr_cstring(TeStr utf8)
{
	return text_to_cstring(tr_text(utf8));
}

/* ---- errors and messages ---- */

/* printf into palloc'ed memory. */
static char *format_palloc(const char *fmt, va_list args) pg_attribute_printf(1, 0);

static char *
format_palloc(const char *fmt, va_list args)
{
	size_t		room = 256;

	for (;;)
	{
		char	   *text = palloc(room);
		va_list		copy;
		size_t		needed;

		va_copy(copy, args);
		needed = pvsnprintf(text, room, fmt, copy);
		va_end(copy);
		if (needed < room)
			return text;
		pfree(text);
		room = needed;
	}
}

static int
error_sqlstate(TeErrorCode code)
{
#define ERROR_SQLSTATE(symbol, sqlstate) [symbol] = sqlstate,
	static const char *const states[TE_N_ERRORS] = {TE_ERRORS(ERROR_SQLSTATE)};
#undef ERROR_SQLSTATE
	const char *s = states[code];

	return MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4]);
}

static TE_NORETURN void
throw(TeErrorCode code, const char *detail, const char *hint, const char *message)
{
	message = message_text(message);
	detail = message_text(detail);
	hint = message_text(hint);
	ereport(ERROR,
			(errcode(error_sqlstate(code)),
			 errmsg_internal("%s", message),
			 detail != NULL ? errdetail_internal("%s", detail) : 0,
			 hint != NULL ? errhint("%s", hint) : 0));
	pg_unreachable();
}

void
te_throw(TeErrorCode code, const char *fmt,...)
{
	va_list		args;
	char	   *message;

	va_start(args, fmt);
	message = format_palloc(fmt, args);
	va_end(args);
	throw(code, NULL, NULL, message);
}

void
te_throw_hint(TeErrorCode code, const char *detail, const char *hint, const char *fmt,...)
{
	va_list		args;
	char	   *message;

	va_start(args, fmt);
	message = format_palloc(fmt, args);
	va_end(args);
	throw(code, detail, hint, message);
}

void
te_report(TeLevel level, const char *fmt,...)
{
	static const int levels[] = {[TE_DEBUG] = DEBUG1,[TE_NOTICE] = NOTICE,[TE_WARNING] = WARNING};
	va_list		args;
	char	   *message;

	va_start(args, fmt);
	message = format_palloc(fmt, args);
	va_end(args);
	ereport(levels[level], (errmsg_internal("%s", message_text(message))));
	pfree(message);
}

char *
te_format(TeArena *arena, const char *fmt,...)
{
	va_list		args;
	char	   *text;
	char	   *result;

	va_start(args, fmt);
	text = format_palloc(fmt, args);
	va_end(args);
	result = te_cstring(arena, te_str(text));
	pfree(text);
	return result;
}

static void
context_callback(void *arg)
{
	TrContext  *context = arg;

	if (context->part.data == NULL)
		errcontext("%s", context->doing);
	else
		errcontext("%s, tensor \"%s\"", context->doing,
				   message_text(pnstrdup(context->part.data, Min(context->part.len, 200))));
}

void
tr_context_push(TrContext *context, const char *doing)
{
	context->doing = doing;
	context->part = (TeStr) {NULL, 0};
	context->link.callback = context_callback;
	context->link.arg = context;
	context->link.previous = error_context_stack;
	error_context_stack = &context->link;
}

void
tr_context_pop(TrContext *context)
{
	error_context_stack = context->link.previous;
}

/* ---- interrupts, threads ---- */

void
te_check_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
}

void
te_hold_interrupts(void)
{
	HOLD_INTERRUPTS();
}

void
te_resume_interrupts(void)
{
	RESUME_INTERRUPTS();
}

/* Is something pending that will certainly throw? */
static bool
must_stop(void)
{
	return (QueryCancelPending || ProcDiePending) &&
		InterruptHoldoffCount == 0 && QueryCancelHoldoffCount == 0 && CritSectionCount == 0;
}

int
te_workers(void)
{
	static int	cpus = 0;		/* asked once: it is a system call */

	if (IsParallelWorker())
		return 1;
	if (cpus == 0)
		cpus = te_pool_cpus();
	return tr_threads > 0 ? tr_threads : Min(cpus, MOST_DEFAULT_THREADS);
}

void
te_parallel_for(size_t n_tasks, TeTask task, void *arg)
{
	te_parallel_for_few(te_workers(), n_tasks, task, arg);
}

void
te_parallel_for_few(int n_workers, size_t n_tasks, TeTask task, void *arg)
{
	int			wanted = (int) Min((size_t) Min(n_workers, te_workers()), n_tasks);
	int			granted = wanted > 1 ? tr_threads_acquire(wanted) : 1;
	bool		finished;

	finished = te_pool_run(granted, n_tasks, task, arg, must_stop);
	if (wanted > 1)
		tr_threads_release(granted);
	if (finished)
		return;
	CHECK_FOR_INTERRUPTS();
	ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("computation was interrupted")));
}

/* ---- memory, time, OpenBLAS ---- */

TeArena *
tr_arena(MemoryContext context, const char *name, Size limit)
{
	return te_arena_create_root(context, name, limit, limit > 0 ?
								"Raise transformer.session_memory, or lower transformer.threads: each thread takes a share of it." : NULL);
}

void *
te_host_alloc(void *owner, size_t bytes)
{
	void	   *block = NULL;

	if (AllocHugeSizeIsValid(bytes))
		block = MemoryContextAllocExtended(owner, bytes, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	if (block == NULL)
		te_throw_hint(TE_ERR_MEMORY, psprintf("Failed on a request of %zu bytes.", bytes), NULL, "out of memory");
	return block;
}

void
te_host_free(void *owner, void *block)
{
	pfree(block);
}

double
te_host_seconds(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return INSTR_TIME_GET_DOUBLE(now);
}

/* That of now() in SQL: the same for a whole transaction. */
void
te_host_now(TeTime *now)
{
	struct pg_tm tm;
	fsec_t		fraction;
	int			zone;

	if (timestamp2tm(GetCurrentTransactionStartTimestamp(), &zone, &tm, &fraction, NULL, NULL) != 0)
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("timestamp out of range")));
	*now = (TeTime) {
		.year = tm.tm_year,
		.month = tm.tm_mon,
		.day = tm.tm_mday,
		.hour = tm.tm_hour,
		.minute = tm.tm_min,
		.second = tm.tm_sec,
		.weekday = j2day(date2j(tm.tm_year, tm.tm_mon, tm.tm_mday)),
	};
}

const TeBlas *
te_host_blas(void)
{
	return te_blas_load();
}
