/*-------------------------------------------------------------------------
 * harness.h
 *	  Unit tests: one program per file test_<name>.c.
 *
 *		#include "harness.h"
 *
 *		TEST(adds_two_and_two)
 *		{
 *			CHECK(2 + 2 == 4);
 *			CHECK_NEAR(0.1 + 0.2, 0.3, 1e-12);
 *			CHECK_THROWS(TE_ERR_CORRUPT, te_json_parse(arena, te_str("["), "test"));
 *		}
 *
 *		TEST_MAIN()
 *
 * Each test has a root arena of its own, `arena`, destroyed at its end.  An
 * error that a test does not catch fails it, and the next one runs.  A test
 * fails where a check of it does; the program prints failures as they happen
 * and one line at the end, and exits with 1 where a test failed.  With
 * arguments, only the tests whose name contains one of them run.
 *
 * Data: te_test_data("tokenizers/bert") is a path in the folder that the
 * environment variable TRANSFORMER_TEST_DATA names (default: ../shared/data
 * from the repository), or NULL where it is not there; call SKIP() then.
 * TE_TEST_MODELS is the folder models/ of the repository, TE_TEST_DIR test/.
 *-------------------------------------------------------------------------
 */
#ifndef TE_HARNESS_H
#define TE_HARNESS_H

#include "port_std.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* gcc suspects every loop around CHECK_THROWS; nothing is changed between setjmp and longjmp. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wclobbered"
#endif

#ifndef TE_TEST_ROOT
#define TE_TEST_ROOT "."
#endif
#define TE_TEST_MODELS TE_TEST_ROOT "/models"
#define TE_TEST_DIR TE_TEST_ROOT "/test"

typedef struct TeTest
{
	const char *name;
	void		(*run) (TeArena *arena);
	struct TeTest *next;
} TeTest;

static TeTest *te_first_test;
static TeTest **te_last_test = &te_first_test;
static int	te_failures_here;	/* failed checks of the running test */
static bool te_skipped_here;
static long te_n_checks;

/* A constructor, so that a test is written once; tests run in the order of the file. */
#define TEST(test) \
	static void test_##test(TeArena *arena); \
	static TeTest entry_##test = {#test, test_##test, NULL}; \
	__attribute__((constructor)) static void \
	register_##test(void) \
	{ \
		*te_last_test = &entry_##test; \
		te_last_test = &entry_##test.next; \
	} \
	static void \
	test_##test(TeArena *arena)

/* Fixtures that are not there. */
#define SKIP(why) \
	do { \
		fprintf(stderr, "  skipped %s: %s\n", __func__ + 5, (why)); \
		te_skipped_here = true; \
		return; \
	} while (0)

__attribute__((unused)) static bool
te_check(bool ok, const char *file, int line, const char *what)
{
	te_n_checks++;
	if (!ok)
	{
		te_failures_here++;
		if (te_failures_here <= 20)
			fprintf(stderr, "%s:%d: check failed: %s\n", file, line, what);
	}
	return ok;
}

#define CHECK(cond) te_check((cond), __FILE__, __LINE__, #cond)

__attribute__((unused)) static bool
te_check_near(double actual, double expected, double tolerance, const char *file, int line, const char *what)
{
	char		text[512];

	snprintf(text, sizeof(text), "%s is %.9g, not %.9g within %.3g", what, actual, expected, tolerance);
	return te_check(fabs(actual - expected) <= tolerance, file, line, text);
}

#define CHECK_NEAR(actual, expected, tolerance) \
	te_check_near((actual), (expected), (tolerance), __FILE__, __LINE__, #actual)

__attribute__((unused)) static bool
te_check_str(TeStr actual, const char *expected, const char *file, int line, const char *what)
{
	char		text[1024];

	snprintf(text, sizeof(text), "%s is \"%.*s\", not \"%.200s\"", what, TE_STR_ARGS(actual), expected);
	return te_check(te_str_is(actual, expected), file, line, text);
}

/* actual: a TeStr. */
#define CHECK_STR(actual, expected) te_check_str((actual), (expected), __FILE__, __LINE__, #actual)

__attribute__((unused)) static void
te_check_error(bool thrown, TeErrorCode code, const char *part, const char *file, int line, const char *what)
{
	char		text[2048];

	if (!thrown)
		snprintf(text, sizeof(text), "%s throws", what);
	else
		snprintf(text, sizeof(text), "%s throws the expected error, not code %d: %s", what,
				 (int) te_std_error()->code, te_std_error()->message);
	te_check(thrown && te_std_error()->code == code &&
			 (part == NULL || strstr(te_std_error()->message, part) != NULL), file, line, text);
}

/* The message must contain `part` (NULL: anything). */
#define CHECK_THROWS_LIKE(code, part, expr) \
	do { \
		volatile bool te_thrown = false; \
		TE_TRY \
		{ \
			(void) (expr); \
		} \
		TE_CATCH \
		{ \
			te_thrown = true; \
		} \
		TE_END_TRY; \
		te_check_error(te_thrown, (code), (part), __FILE__, __LINE__, #expr); \
	} while (0)

#define CHECK_THROWS(code, expr) CHECK_THROWS_LIKE(code, NULL, expr)

/* A path in the folder of test data, valid for the next 15 calls; NULL where it is not there. */
__attribute__((unused)) static const char *
te_test_data(const char *path)
{
	static char paths[16][1024];
	static unsigned turn;
	const char *folder = getenv("TRANSFORMER_TEST_DATA");
	char	   *full = paths[turn++ % TE_LENGTH(paths)];

	if (folder == NULL)
		folder = TE_TEST_ROOT "/../shared/data";
	snprintf(full, sizeof(paths[0]), "%s/%s", folder, path);
	return access(full, R_OK) == 0 ? full : NULL;
}

/* One test in an arena of its own; whether it passed. */
__attribute__((unused)) static bool
te_run_test(const TeTest *test)
{
	TeStdOwner *owner = te_std_owner_create();

	te_failures_here = 0;
	te_skipped_here = false;
	TE_TRY
	{
		TeArena    *arena = te_arena_create_root(owner, test->name, 0, NULL);

		test->run(arena);
	}
	TE_CATCH
	{
		te_failures_here++;
		fprintf(stderr, "  uncaught error %d: %s\n", (int) te_std_error()->code, te_std_error()->message);
	}
	TE_END_TRY;
	te_std_owner_drop(owner);
	if (te_failures_here > 0)
		fprintf(stderr, "  FAILED %s (%d checks)\n", test->name, te_failures_here);
	return te_failures_here == 0;
}

__attribute__((unused)) static bool
te_test_wanted(const TeTest *test, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
	{
		if (strstr(test->name, argv[i]) != NULL)
			return true;
	}
	return argc < 2;
}

#define TEST_MAIN() \
	int \
	main(int argc, char **argv) \
	{ \
		int			passed = 0; \
		int			failed = 0; \
		int			skipped = 0; \
		\
		for (const TeTest *test = te_first_test; test != NULL; test = test->next) \
		{ \
			if (!te_test_wanted(test, argc, argv)) \
				continue; \
			if (!te_run_test(test)) \
				failed++; \
			else if (te_skipped_here) \
				skipped++; \
			else \
				passed++; \
		} \
		printf("%d passed, %d failed, %d skipped (%ld checks)\n", passed, failed, skipped, te_n_checks); \
		return failed > 0; \
	}

#endif							/* TE_HARNESS_H */
