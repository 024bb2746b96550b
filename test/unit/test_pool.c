/*-------------------------------------------------------------------------
 * test_pool.c
 *	  What the hosts share: the thread pool and the loader of OpenBLAS.
 *
 * A program of its own, since emulators of another processor do not survive
 * threads in a forked child.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

#include "port/blas.h"
#include "port/pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

static atomic_int counts[1000];
static atomic_int stop_after;
static atomic_bool nested_result;

static void
count_task(void *arg, size_t task, int worker)
{
	atomic_fetch_add(&counts[task], 1);
}

static void
nested_task(void *arg, size_t task, int worker)
{
	if (te_pool_run(2, 4, count_task, NULL, NULL))
		atomic_store(&nested_result, true);
}

static bool
stop_soon(void)
{
	return atomic_fetch_sub(&stop_after, 1) <= 0;
}

static int
counted(void)
{
	int			sum = 0;

	for (size_t i = 0; i < LENGTH(counts); i++)
		sum += atomic_exchange(&counts[i], 0);
	return sum;
}

TEST(pool_runs_each_task_once)
{
	for (int threads = 1; threads <= 8; threads++)
	{
		for (int repeat = 0; repeat < 200; repeat++)
		{
			size_t		n = (size_t) (repeat * 5);
			int			wrong = 0;

			CHECK(te_pool_run(threads, n, count_task, NULL, NULL));
			for (size_t i = 0; i < LENGTH(counts); i++)
				wrong += atomic_exchange(&counts[i], 0) != (i < n ? 1 : 0);
			CHECK(wrong == 0);
		}
	}
}

TEST(pool_stops_when_interrupted)
{
	for (int threads = 1; threads <= 4; threads++)
	{
		for (int after = 0; after < 5; after++)
		{
			atomic_store(&stop_after, after);
			CHECK(!te_pool_run(threads, 1000, count_task, NULL, stop_soon) || threads > 1);
			if (threads == 1)
				CHECK(counted() == after);
			else
				CHECK(counted() <= 1000);
		}
	}
	CHECK(te_pool_run(4, 1000, count_task, NULL, NULL));
	CHECK(counted() == 1000);
}

TEST(pool_refuses_nested_use)
{
	atomic_store(&nested_result, false);
	CHECK(te_pool_run(3, 20, nested_task, NULL, NULL));
	CHECK(!atomic_load(&nested_result));
	CHECK(counted() == 0);
	CHECK(te_pool_run(3, 20, count_task, NULL, NULL));
	CHECK(counted() == 20);
}

TEST(pool_works_after_fork_and_shutdown)
{
	pid_t		child;
	int			status = -1;

	CHECK(te_pool_run(3, 100, count_task, NULL, NULL));
	counted();
	child = fork();
	if (child == 0)
	{
		bool		ok = te_pool_run(3, 100, count_task, NULL, NULL) && counted() == 100;

		te_pool_shutdown();
		_exit(ok ? 0 : 1);
	}
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	te_pool_shutdown();
	CHECK(te_pool_run(2, 100, count_task, NULL, NULL));
	CHECK(counted() == 100);
	te_pool_shutdown();
}

/* A signal to the process is delivered to the caller's thread: the helpers block all. */
static pthread_t main_thread;
static atomic_int signals_here;
static atomic_int signals_elsewhere;

static void
on_signal(int number)
{
	atomic_fetch_add(pthread_equal(pthread_self(), main_thread) ? &signals_here : &signals_elsewhere, 1);
}

static void
signal_task(void *arg, size_t task, int worker)
{
	kill(getpid(), SIGUSR1);
}

TEST(pool_helpers_block_signals)
{
	main_thread = pthread_self();
	signal(SIGUSR1, on_signal);
	for (int i = 0; i < 100; i++)
		CHECK(te_pool_run(4, 20, signal_task, NULL, NULL));
	CHECK(atomic_load(&signals_here) > 0);
	CHECK(atomic_load(&signals_elsewhere) == 0);
	signal(SIGUSR1, SIG_DFL);
	te_pool_shutdown();
}

TEST(blas_leaves_signals_and_environment_alone)
{
	const char *core = getenv("OPENBLAS_CORETYPE");
	const char *threads = getenv("OPENBLAS_NUM_THREADS");
	char		before[64];
	sigset_t	mask;
	const TeBlas *blas;

	snprintf(before, sizeof(before), "%.30s %.30s", core != NULL ? core : "-", threads != NULL ? threads : "-");
	blas = te_blas_load();
	CHECK(blas == te_blas_load());
	core = getenv("OPENBLAS_CORETYPE");
	threads = getenv("OPENBLAS_NUM_THREADS");
	CHECK(strncmp(before, core != NULL ? core : "-", core != NULL ? strlen(core) : 1) == 0);
	CHECK((threads == NULL) == (strchr(before, ' ')[1] == '-'));
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	CHECK(!sigismember(&mask, SIGINT) && !sigismember(&mask, SIGTERM));
	if (blas == NULL)
		SKIP("OpenBLAS is not installed");
	fprintf(stderr, "  OpenBLAS runs as %s\n", blas->name);
}

TEST_MAIN()
