/*-------------------------------------------------------------------------
 * pool.h
 *	  Threads for te_parallel_for(), for any host.
 *
 * Not re-entrant: one thread of the process, its main one, runs jobs.
 *-------------------------------------------------------------------------
 */
#ifndef TE_POOL_H
#define TE_POOL_H

#include "port.h"

#define TE_POOL_MAX_THREADS 256

/*
 * Run task(arg, i, worker) for i in [0, n_tasks) on at most n_threads threads,
 * of which the caller is worker 0.  interrupted (may be NULL) is asked by the
 * caller between its tasks; once it says yes no further task begins.  It must not throw.  False: some tasks were not run, because of that or
 * because the call came from inside a task.  All threads have stopped either way.
 */
extern bool te_pool_run(int n_threads, size_t n_tasks, TeTask task, void *arg, bool (*interrupted) (void));

/* Processors that this process may use, >= 1. */
extern int	te_pool_cpus(void);

/* End the helper threads; they are made again when needed. */
extern void te_pool_shutdown(void);

#endif							/* TE_POOL_H */
