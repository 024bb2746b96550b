/*-------------------------------------------------------------------------
 * port_std.h
 *	  A host of the engine without a server: for unit tests, fuzz targets and
 *	  benchmarks.  Beyond src/engine/port.h it offers what a test needs: to catch
 *	  an error, to make the Nth allocation or interrupt check fail, to see what
 *	  is still allocated, and files and directories as sources.
 *
 * Errors unwind by longjmp.  A variable of the function with TE_TRY that is
 * changed inside it and read behind it must be volatile.
 *-------------------------------------------------------------------------
 */
#ifndef TE_PORT_STD_H
#define TE_PORT_STD_H

#include "base/base.h"

#include <setjmp.h>

/* The code of a cancelled query, which only the host knows. */
#define TE_STD_INTERRUPTED ((TeErrorCode) TE_N_ERRORS)
#define TE_STD_NO_ERROR ((TeErrorCode) -1)

typedef struct TeStdError
{
	TeErrorCode code;
	char		message[1024];
	char		detail[1024];	/* "" where there is none */
	char		hint[1024];
} TeStdError;

/* The error that was caught last; code TE_STD_NO_ERROR where none was yet. */
extern const TeStdError *te_std_error(void);

typedef struct TeStdTry
{
	jmp_buf		jump;
	struct TeStdTry *outer;
} TeStdTry;

extern void te_std_push(TeStdTry *frame);
extern void te_std_pop(void);

/*
 * TE_TRY { ... } TE_CATCH { ... te_std_error() ... } TE_END_TRY;
 * No return, break or goto out of the first block.
 */
#define TE_TRY \
	do { \
		TeStdTry	te_std_frame; \
		te_std_push(&te_std_frame); \
		if (setjmp(te_std_frame.jump) == 0) \
		{
#define TE_CATCH \
			te_std_pop(); \
		} \
		else \
		{
#define TE_END_TRY \
		} \
	} while (0)

/* Run body(arg); false where it threw, and then te_std_error() says what. */
extern bool te_std_run(void (*body) (void *arg), void *arg);

/*
 * Owners of blocks.  NULL is an owner too.  Dropping one frees its blocks as a
 * server does with a memory context.
 */
typedef struct TeStdOwner TeStdOwner;
extern TeStdOwner *te_std_owner_create(void);
extern void te_std_owner_drop(TeStdOwner *owner);
extern size_t te_std_blocks(void);	/* allocated now, of all owners */

/* Fault injection; each is disarmed by 0 and by firing. */
extern void te_std_fail_allocation(uint64_t nth);	/* 1: the next te_host_alloc() throws TE_ERR_MEMORY */
extern void te_std_interrupt(uint64_t nth); /* 1: the next te_check_interrupts() throws TE_STD_INTERRUPTED */
extern uint64_t te_std_allocations(void);	/* calls so far */
extern uint64_t te_std_checks(void);

/*
 * Run body(arg) again and again, failing the first, second, ... allocation and
 * then interrupt check, until a run gets through.  After each failure, the
 * error must be the injected one and the number of blocks what it was before.
 * body must create its root arena with te_std_fault_owner().  Returns the number
 * of failures injected, or -1 with a message on stderr.
 */
extern int	te_std_fault_loop(void (*body) (void *arg), void *arg);
extern TeStdOwner *te_std_fault_owner(void);

/* Reports go to stderr unless quiet; the last one is kept. */
extern void te_std_quiet(bool quiet);
extern const char *te_std_last_report(void);

/* Files.  All throw TE_ERR_IO.  Sources and folders stay open until the process ends. */
extern TeSource te_std_file(TeArena *arena, const char *path);
extern TeFolder te_std_folder(TeArena *arena, const char *path);	/* with subdirectories */
extern TeSink te_std_file_sink(TeArena *arena, const char *path);
extern void te_std_file_sink_close(TeSink *sink);
extern TeFolderSink te_std_folder_sink(TeArena *arena, const char *path);	/* makes the directories */

/* Workers of te_parallel_for(); 1 by default, so that a test says when it wants more. */
extern void te_std_set_workers(int workers);

#endif							/* TE_PORT_STD_H */
