/*-------------------------------------------------------------------------
 * pool.c
 *	  A pool of helper threads that share out the tasks of one job at a time.
 *
 * Helpers are made when first asked for, with all signals blocked (a host's
 * handlers run on its main thread only), and never end by themselves.  After a
 * fork the child has none; the pool notices by the process id and starts anew.
 *
 * A job is published by raising `epoch`.  Each thread has a share of
 * consecutive tasks, with an atomic counter, and takes from the others' shares when its own has
 * run out.  So tasks with like numbers of one job after the other, which work on the same rows,
 * mostly meet the cache in which those rows are.  The caller takes part as worker 0, so a job never waits for a
 * helper to wake up.  When the counters have run out the caller closes the job
 * and waits for the helpers that are inside:
 *
 *	helper: active++, then read `open`; if closed, leave without touching the job
 *	caller: open = false, then wait for active == 0; only then may the job change
 *
 * Both are sequentially consistent, so one of the two sees the other.
 *
 * A forward pass is some hundred jobs, microseconds apart.  Therefore a helper
 * spins for SPIN_SECONDS before it sleeps, and so does the caller when it
 * waits; but not where threads outnumber processors, since spinning then keeps
 * from running what is waited for.  For the same reason a spinner that has waited for
 * QUIET_SECONDS yields now and then: on a busy machine two threads may share a processor for
 * seconds.  Not sooner: between the products of a token, which are microseconds, half of the waiting would be in the system.
 *
 * Nothing here throws or jumps.  An interrupt makes the counters run out.
 *-------------------------------------------------------------------------
 */
#ifndef _GNU_SOURCE
#ifndef _GNU_SOURCE
#define _GNU_SOURCE				/* sched_getaffinity */
#endif
#endif
#include "port/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define SPIN_SECONDS 50e-6
#define QUIET_SECONDS 10e-6
#define SPINS_PER_CLOCK 32		/* pauses between two looks at the clock */
#define STACK_BYTES (1024 * 1024)

#if defined(__x86_64__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ __volatile__("yield")
#else
#define PAUSE() ((void) 0)
#endif

/* Consecutive tasks, in a cache line of their own. */
typedef struct Share
{
	_Alignas(64) atomic_size_t next;
	size_t		end;
} Share;

typedef struct Pool
{
	pid_t		owner;			/* process that the threads belong to */
	int			n_helpers;
	pthread_t	helpers[TE_POOL_MAX_THREADS];
	atomic_bool spin;			/* processors suffice for all threads */

	/* the job; written by the caller while no helper is inside */
	TeTask		task;
	void	   *arg;
	int			n_threads;

	pthread_mutex_t lock;		/* for sleeping only */
	pthread_cond_t work;		/* epoch has changed */
	pthread_cond_t done;		/* active has become 0 */
	atomic_uint sleepers;
	atomic_bool caller_sleeps;

	_Alignas(64) atomic_uint epoch;
	atomic_bool open;
	atomic_bool quit;
	_Alignas(64) atomic_int active;
	Share		shares[TE_POOL_MAX_THREADS];
} Pool;

static Pool pool = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.work = PTHREAD_COND_INITIALIZER,
	.done = PTHREAD_COND_INITIALIZER
};

static _Thread_local bool inside_job;

static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + 1e-9 * (double) now.tv_nsec;
}

int
te_pool_cpus(void)
{
#if defined(__linux__)
	cpu_set_t	set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
#endif
	return sysconf(_SC_NPROCESSORS_ONLN) > 0 ? (int) sysconf(_SC_NPROCESSORS_ONLN) : 1;
}

/* Waiting by spinning. */
typedef struct Spin
{
	double		start;			/* 0: not begun */
	int			pauses;
} Spin;

/* Pause; false: it has taken SPIN_SECONDS. */
static bool
spin_on(Spin *spin)
{
	double		spent;

	PAUSE();
	if (++spin->pauses % SPINS_PER_CLOCK != 0)
		return true;
	if (spin->start == 0)
		spin->start = seconds();
	spent = seconds() - spin->start;
	if (spent > QUIET_SECONDS)
		sched_yield();
	return spent < SPIN_SECONDS;
}

/* Spin until there is a job that the helper has not seen, or for long enough. */
static void
spin_for_job(unsigned int seen)
{
	Spin		spin = {0};

	while (atomic_load_explicit(&pool.epoch, memory_order_acquire) == seen && spin_on(&spin))
		;
}

/* Until there is a job, or the end, that the helper has not seen. */
static unsigned int
wait_for_job(unsigned int seen)
{
	if (pool.spin)
		spin_for_job(seen);
	if (atomic_load(&pool.epoch) == seen)
	{
		pthread_mutex_lock(&pool.lock);
		atomic_fetch_add(&pool.sleepers, 1);
		while (atomic_load(&pool.epoch) == seen)
			pthread_cond_wait(&pool.work, &pool.lock);
		atomic_fetch_sub(&pool.sleepers, 1);
		pthread_mutex_unlock(&pool.lock);
	}
	return atomic_load(&pool.epoch);
}

/* Leave the job; the last one out wakes a caller that sleeps. */
static void
leave_job(void)
{
	if (atomic_fetch_sub(&pool.active, 1) == 1 && atomic_load(&pool.caller_sleeps))
	{
		pthread_mutex_lock(&pool.lock);
		pthread_cond_signal(&pool.done);
		pthread_mutex_unlock(&pool.lock);
	}
}

/* The next task of the worker's share, or of the shares after it; false: there is none. */
static bool
take_task(int worker, size_t *task)
{
	for (int i = 0; i < pool.n_threads; i++)
	{
		Share	   *share = &pool.shares[(worker + i) % pool.n_threads];

		if (atomic_load_explicit(&share->next, memory_order_relaxed) >= share->end)
			continue;
		*task = atomic_fetch_add(&share->next, 1);
		if (*task < share->end)
			return true;
	}
	return false;
}

static void *
helper_main(void *argument)
{
	int			worker = (int) (intptr_t) argument;
	unsigned int seen = 0;

	inside_job = true;
	for (;;)
	{
		seen = wait_for_job(seen);
		if (atomic_load(&pool.quit))
			return NULL;
		atomic_fetch_add(&pool.active, 1);
		if (atomic_load(&pool.open) && worker < pool.n_threads)
		{
			size_t		i;

			while (take_task(worker, &i))
				pool.task(pool.arg, i, worker);
		}
		leave_job();
	}
}

/* A process that was forked has the memory of the pool, but none of its threads. */
static void
forget_parent(void)
{
	pool.owner = getpid();
	pool.n_helpers = 0;
	pthread_mutex_init(&pool.lock, NULL);
	pthread_cond_init(&pool.work, NULL);
	pthread_cond_init(&pool.done, NULL);
	atomic_store(&pool.sleepers, 0);
	atomic_store(&pool.caller_sleeps, false);
	atomic_store(&pool.epoch, 0);
	atomic_store(&pool.open, false);
	atomic_store(&pool.quit, false);
	atomic_store(&pool.active, 0);
}

/* Bring the helpers to `wanted`, or as near as the system allows. */
static void
make_helpers(int wanted)
{
	pthread_attr_t attributes;
	sigset_t	all;
	sigset_t	before;

	if (pool.n_helpers >= wanted || pthread_attr_init(&attributes) != 0)
		return;
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (pool.n_helpers < wanted)
	{
		if (pthread_create(&pool.helpers[pool.n_helpers], &attributes, helper_main,
						   (void *) (intptr_t) (pool.n_helpers + 1)) != 0)
			break;
		pool.n_helpers++;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	atomic_store(&pool.spin, pool.n_helpers < te_pool_cpus());
}

/* Make the epoch change visible, to spinners and to sleepers. */
static void
announce(void)
{
	/* 0 is what a new helper has seen */
	if (atomic_fetch_add(&pool.epoch, 1) + 1 == 0)
		atomic_fetch_add(&pool.epoch, 1);
	if (atomic_load(&pool.sleepers) > 0)
	{
		pthread_mutex_lock(&pool.lock);
		pthread_cond_broadcast(&pool.work);
		pthread_mutex_unlock(&pool.lock);
	}
}

/* Cut the tasks into shares that differ by one at most. */
static void
share_out(size_t n_tasks, int n_threads)
{
	size_t		begin = 0;

	pool.n_threads = n_threads;
	for (int i = 0; i < n_threads; i++)
	{
		size_t		n = n_tasks / n_threads + ((size_t) i < n_tasks % n_threads);

		atomic_store(&pool.shares[i].next, begin);
		pool.shares[i].end = begin + n;
		begin += n;
	}
}

/* Take all tasks that nobody has begun. */
static void
run_out(void)
{
	for (int i = 0; i < pool.n_threads; i++)
		atomic_store(&pool.shares[i].next, pool.shares[i].end);
}

static void
sleep_until_idle(void)
{
	pthread_mutex_lock(&pool.lock);
	atomic_store(&pool.caller_sleeps, true);
	while (atomic_load(&pool.active) != 0)
		pthread_cond_wait(&pool.done, &pool.lock);
	atomic_store(&pool.caller_sleeps, false);
	pthread_mutex_unlock(&pool.lock);
}

/*
 * Close the job and wait until no helper is inside.  There is nothing to ask
 * for interrupts here: all tasks have begun, and each is short.
 */
static void
close_job(void)
{
	Spin		spin = {0};

	atomic_store(&pool.open, false);
	while (pool.spin && atomic_load(&pool.active) != 0 && spin_on(&spin))
		;
	if (atomic_load(&pool.active) != 0)
		sleep_until_idle();
}

/* What the caller does of a job, on one thread all of it. */
static bool
run_tasks(TeTask task, void *arg, bool (*interrupted) (void))
{
	size_t		i;

	while (take_task(0, &i))
	{
		if (interrupted != NULL && interrupted())
		{
			run_out();
			return false;
		}
		task(arg, i, 0);
	}
	return true;
}

bool
te_pool_run(int n_threads, size_t n_tasks, TeTask task, void *arg, bool (*interrupted) (void))
{
	bool		finished;

	if (inside_job)
		return false;
	inside_job = true;
	if ((size_t) n_threads > n_tasks)
		n_threads = (int) n_tasks;
	if (n_threads > TE_POOL_MAX_THREADS)
		n_threads = TE_POOL_MAX_THREADS;

	if (n_threads <= 1)
	{
		share_out(n_tasks, 1);
		finished = run_tasks(task, arg, interrupted);
		inside_job = false;
		return finished;
	}

	if (pool.owner != getpid())
		forget_parent();
	make_helpers(n_threads - 1);
	pool.task = task;
	pool.arg = arg;
	share_out(n_tasks, n_threads);
	atomic_store(&pool.open, true);
	announce();
	finished = run_tasks(task, arg, interrupted);
	close_job();
	inside_job = false;
	return finished;
}

void
te_pool_shutdown(void)
{
	if (pool.owner != getpid() || inside_job)
		return;
	atomic_store(&pool.quit, true);
	announce();
	for (int i = 0; i < pool.n_helpers; i++)
		pthread_join(pool.helpers[i], NULL);
	forget_parent();
}
