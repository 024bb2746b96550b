/*-------------------------------------------------------------------------
 * port.h
 *	  The seam between the engine and its host.
 *
 * The engine knows nothing of PostgreSQL, of files, of threads and of stdio.
 * What it needs of a host is declared here and implemented twice: by
 * src/pg/port_pg.c inside a server, and by test/port_std.c for unit tests,
 * fuzz targets and benchmarks.
 *
 * Errors.  te_throw() does not return; it unwinds as ereport(ERROR) does.
 * Therefore nothing in the engine may hold a lock, a descriptor or memory that
 * is not in an arena across a call that can throw.
 *
 * Memory.  Only arenas (base/arena.c).  A host hands out blocks and takes them
 * back; when a host drops the owner of an arena (a memory context), the arena
 * and its children go with it and need no unwinding.
 *
 * Threads.  te_parallel_for() runs tasks on the caller and on helper threads.
 * A task may call kernels and other pure functions only: nothing that
 * allocates, throws, reports or checks for interrupts.
 *-------------------------------------------------------------------------
 */
#ifndef TE_PORT_H
#define TE_PORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define TE_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define TE_NORETURN __attribute__((noreturn))
#define TE_UNLIKELY(x) __builtin_expect(!!(x), 0)
#else
#define TE_PRINTF(f, a)
#define TE_NORETURN
#define TE_UNLIKELY(x) (x)
#endif

/*
 * Every error of the engine: code, SQLSTATE.  The host maps a code to its own
 * kind of error; the list is the only place that names them.
 */
#define TE_ERRORS(E) \
	E(TE_ERR_INTERNAL,		"XX000")	/* a bug in the engine */ \
	E(TE_ERR_INVALID,		"22023")	/* invalid_parameter_value */ \
	E(TE_ERR_CORRUPT,		"22P04")	/* a file or image is malformed: bad_copy_file_format */ \
	E(TE_ERR_UNSUPPORTED,	"0A000")	/* well formed, but not supported here */ \
	E(TE_ERR_TOO_LONG,		"54000")	/* program_limit_exceeded: text beyond the model's limit */ \
	E(TE_ERR_LIMIT,			"53400")	/* configuration_limit_exceeded: a memory budget */ \
	E(TE_ERR_MEMORY,		"53200")	/* out_of_memory */ \
	E(TE_ERR_MISSING,		"42704")	/* undefined_object: tensor, head, file of a folder */ \
	E(TE_ERR_IO,			"58030")	/* the host could not read or write */

#define TE_ERROR_CODE(code, sqlstate) code,
typedef enum TeErrorCode
{
	TE_ERRORS(TE_ERROR_CODE)
	TE_N_ERRORS
} TeErrorCode;
#undef TE_ERROR_CODE

typedef enum TeLevel
{
	TE_DEBUG,
	TE_NOTICE,
	TE_WARNING
} TeLevel;

typedef struct TeArena TeArena;

/* Raise an error.  Message style is PostgreSQL's: no capital, no full stop. */
extern TE_NORETURN void te_throw(TeErrorCode code, const char *fmt,...) TE_PRINTF(2, 3);

/*
 * The same with a detail and a hint, either of which may be NULL.  They are
 * plain strings (te_format() makes one), sentences with a full stop.
 */
extern TE_NORETURN void te_throw_hint(TeErrorCode code, const char *detail, const char *hint,
									  const char *fmt,...) TE_PRINTF(4, 5);

/* Tell the user something that is not an error. */
extern void te_report(TeLevel level, const char *fmt,...) TE_PRINTF(2, 3);

/* printf into an arena; never NULL.  Locale-independent. */
extern char *te_format(TeArena *arena, const char *fmt,...) TE_PRINTF(2, 3);

/*
 * Throw if the user cancelled or a timeout passed.  Cheap (reads a flag); call
 * it between graph nodes, per tensor chunk, per few thousand tokens.
 */
extern void te_check_interrupts(void);

/* Between these nothing is thrown for that, also by te_parallel_for(): what is changed is changed as a whole.  An error lets go, too. */
extern void te_hold_interrupts(void);
extern void te_resume_interrupts(void);

/*
 * Run task(arg, i, worker) for i in [0, n_tasks).  Tasks run in any order on
 * any worker; worker is in [0, te_workers()) and indexes scratch memory.  Which
 * work a task does must depend on i only, never on worker or on the number of
 * workers.  Returns when all are done; throws after all workers have stopped if
 * the user cancelled meanwhile (the output is then unfinished).
 */
typedef void (*TeTask) (void *arg, size_t task, int worker);
extern void te_parallel_for(size_t n_tasks, TeTask task, void *arg);
/* The same on at most n_workers, for which there is scratch memory; worker is in [0, n_workers). */
extern void te_parallel_for_few(int n_workers, size_t n_tasks, TeTask task, void *arg);

/* How many workers te_parallel_for() may use at present, >= 1. */
extern int	te_workers(void);

/* Blocks for arenas.  owner: what the host gave to te_arena_create_root().  Never NULL: throws TE_ERR_MEMORY. */
extern void *te_host_alloc(void *owner, size_t bytes);
extern void te_host_free(void *owner, void *block);

/* What time it is to the user, in the time zone of the session: for texts that say so. */
typedef struct TeTime
{
	int			year;
	int			month;			/* 1 to 12 */
	int			day;			/* 1 to 31 */
	int			hour;
	int			minute;
	int			second;
	int			weekday;		/* 0 to 6, from Sunday */
} TeTime;

extern void te_host_now(TeTime *now);

/* Seconds of a monotonic clock, for statistics and progress only. */
extern double te_host_seconds(void);

/*
 * OpenBLAS, loaded lazily by the host with signals blocked and told to use one
 * thread; NULL where it is not installed.  Fortran conventions are avoided:
 * these are the CBLAS entry points with 32-bit integers.
 */
typedef struct TeBlas
{
	void		(*sgemm) (int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
						  const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
	const char *name;			/* the core it runs as, for transformer.status */
} TeBlas;

#define TE_BLAS_ROW_MAJOR 101
#define TE_BLAS_NO_TRANS 111
#define TE_BLAS_TRANS 112

extern const TeBlas *te_host_blas(void);

#endif							/* TE_PORT_H */
