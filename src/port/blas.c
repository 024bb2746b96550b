/*-------------------------------------------------------------------------
 * blas.c
 *	  Loads OpenBLAS at run time.
 *
 * Loaded and not linked, so that a connection that never trains does not pay
 * for it and a machine without it works.  All signals are blocked from before
 * the library is opened until its first call has returned: whatever threads it
 * starts inherit the mask, and a host's handlers go on running on its main
 * thread only.  It is told to use one thread; work is divided by
 * te_parallel_for().
 *
 * The environment is set for the time of loading and then put back.
 * OPENBLAS_NUM_THREADS=1 keeps it from starting threads at all.
 * OPENBLAS_CORETYPE, unless the user has set it, names a better core where
 * OpenBLAS would not know the processor: versions before 0.3.22 take AMD's
 * processors with AVX-512 for Haswells, at half the speed (measured 116
 * against 200-227 GFLOP/s on one core), and give other makers' a core
 * from before AVX.  Intel's they recognise.
 *-------------------------------------------------------------------------
 */
#include "port/blas.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char *const library_names[] = {"libopenblas.so.0", "libopenblas.so"};

/* A variable of the environment while the library is loaded, and what it was. */
typedef struct Variable
{
	const char *name;
	char	   *before;			/* malloc'ed, or NULL: was not set */
} Variable;

static bool
variable_set(Variable *variable, const char *name, const char *value)
{
	const char *before = getenv(name);

	variable->name = name;
	variable->before = before != NULL ? strdup(before) : NULL;
	return (before == NULL || variable->before != NULL) && setenv(name, value, 1) == 0;
}

static void
variable_restore(Variable *variable)
{
	if (variable->before != NULL)
		setenv(variable->name, variable->before, 1);
	else
		unsetenv(variable->name);
	free(variable->before);
}

/* The core to name, or NULL: OpenBLAS finds it. */
static const char *
better_core(void)
{
#if defined(__x86_64__)
	bool		avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
		__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");

	if (__builtin_cpu_is("intel"))
		return NULL;
	if (avx512)
		return "SkylakeX";
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && !__builtin_cpu_is("amd"))
		return "Haswell";
#endif
	return NULL;
}

/* Open the library with its threads off and, where needed, a core named. */
static void *
open_library(void)
{
	const char *core = getenv("OPENBLAS_CORETYPE") == NULL ? better_core() : NULL;
	Variable	threads;
	Variable	coretype;
	void	   *library = NULL;

	if (!variable_set(&threads, "OPENBLAS_NUM_THREADS", "1"))
		return NULL;
	if (core != NULL)
		variable_set(&coretype, "OPENBLAS_CORETYPE", core);
	for (size_t i = 0; library == NULL && i < sizeof(library_names) / sizeof(library_names[0]); i++)
		library = dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL);
	if (core != NULL)
		variable_restore(&coretype);
	variable_restore(&threads);
	return library;
}

/* Fill in *blas; false where something is missing. */
static bool
load(TeBlas *blas)
{
	void	   *library = open_library();
	void		(*set_num_threads) (int n);
	char	   *(*core_name) (void);
	float		one = 1.0f;
	float		result = 0.0f;

	if (library == NULL)
		return false;
	*(void **) &blas->sgemm = dlsym(library, "cblas_sgemm");
	*(void **) &set_num_threads = dlsym(library, "openblas_set_num_threads");
	*(void **) &core_name = dlsym(library, "openblas_get_corename");
	if (blas->sgemm == NULL || set_num_threads == NULL)
	{
		dlclose(library);
		return false;
	}
	set_num_threads(1);
	blas->name = core_name != NULL ? core_name() : "unknown";
	blas->sgemm(TE_BLAS_ROW_MAJOR, TE_BLAS_NO_TRANS, TE_BLAS_NO_TRANS, 1, 1, 1, 1.0f, &one, 1, &one, 1, 0.0f, &result, 1);
	return result == 1.0f;
}

const TeBlas *
te_blas_load(void)
{
	static TeBlas blas;
	static bool tried;
	static bool loaded;

	if (!tried)
	{
		sigset_t	all;
		sigset_t	before;

		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
		loaded = load(&blas);
		tried = true;
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	return loaded ? &blas : NULL;
}
