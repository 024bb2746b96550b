/*-------------------------------------------------------------------------
 * kernel_check_rows.h
 *	  The checkers of test_kernels.c for what goes over rows: norms, softmax and
 *	  the sum that it is made of, against ref.
 *
 * Part of test_kernels.c, which includes it below its own sizes and special values.
 *-------------------------------------------------------------------------
 */
#ifndef TE_KERNEL_CHECK_ROWS_H
#define TE_KERNEL_CHECK_ROWS_H

static void
check_layer_norm(double error)
{
	for (size_t s = 1; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *x = floats(3 * n, 5);
		float	   *residual = floats(3 * n, 1);
		float	   *gamma = floats(n, 1);
		float	   *beta = floats(n, 1);
		float	   *actual = floats(3 * n, 0);
		float	   *expected = floats(3 * n, 0);
		float		saved[6];
		float		saved_ref[6];

		for (int kind = 0; kind < 4; kind++)
		{
			te_kernel.layer_norm(3, n, x, kind & 1 ? residual : NULL, gamma, kind & 2 ? beta : NULL, 1e-5f, actual, saved);
			te_kernel_ref.layer_norm(3, n, x, kind & 1 ? residual : NULL, gamma, kind & 2 ? beta : NULL, 1e-5f, expected, saved_ref);
			/* a row of one or two elements may lose all its variance */
			if (n > 2)
			{
				check_all("layer_norm", n, actual, expected, 3 * n, error);
				check_all("layer_norm saved", n, saved, saved_ref, 6, error);
			}
		}
		te_kernel.layer_norm(3, n, x, residual, gamma, beta, 1e-5f, residual, NULL);
		check_all("layer_norm in place", n, residual, actual, 3 * n, 0);
		floats_free(x);
		floats_free(residual);
		floats_free(gamma);
		floats_free(beta);
		floats_free(actual);
		floats_free(expected);
	}
}

static void
check_rms_norm(double error)
{
	for (size_t s = 1; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *x = floats(3 * n, 5);
		float	   *gamma = floats(n, 1);
		float	   *actual = floats(3 * n, 0);
		float	   *expected = floats(3 * n, 0);
		float		saved[3];
		float		saved_ref[3];

		te_kernel.rms_norm(3, n, x, gamma, 1e-6f, actual, saved);
		te_kernel_ref.rms_norm(3, n, x, gamma, 1e-6f, expected, saved_ref);
		check_all("rms_norm", n, actual, expected, 3 * n, error);
		check_all("rms_norm saved", n, saved, saved_ref, 3, error);
		floats_free(x);
		floats_free(gamma);
		floats_free(actual);
		floats_free(expected);
	}
}

static void
check_softmax(double error)
{
	for (size_t s = 1; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *actual = floats(3 * n, 30);
		float	   *expected;

		actual[n / 2] = -INFINITY;
		actual[0] = 1e30f;
		expected = copy_of(actual, 3 * n);
		te_kernel.softmax(3, n, actual);
		te_kernel_ref.softmax(3, n, expected);
		check_all("softmax", n, actual, expected, 3 * n, error);
		actual[0] = NAN;
		te_kernel.softmax(1, n, actual);
		CHECK(isnan(actual[n - 1]));
		floats_free(actual);
		floats_free(expected);
	}
}

static void
check_exp_sum(double error)
{
	for (size_t s = 1; s < LENGTH(sizes); s++)
	{
		size_t		n = sizes[s];
		float	   *actual = floats(n, 30);
		float	   *expected;
		float		sum;

		actual[n / 2] = -INFINITY;
		expected = copy_of(actual, n);
		sum = te_kernel.exp_sum(n, 31, actual);
		CHECK_NEAR(sum, te_kernel_ref.exp_sum(n, 31, expected), error * fabs(sum));
		check_all("exp_sum", n, actual, expected, n, error);
		actual[0] = NAN;
		CHECK(isnan(te_kernel.exp_sum(n, 0, actual)));
		floats_free(actual);
		floats_free(expected);
	}
}

#endif							/* TE_KERNEL_CHECK_ROWS_H */
