/*-------------------------------------------------------------------------
 * fn_vector.c
 *	  Distances between embeddings as real[].
 *
 * Functions and no operators: operators on real[] would be chosen before
 * pgvector's and miss its indexes.  The arithmetic is the engine's, in double
 * precision sums.  Two arrays must have one dimension, the same length, at
 * least one element and no NULL.
 *-------------------------------------------------------------------------
 */
#include "pg/transformer.h"

#include <math.h>

#include "utils/array.h"

typedef struct VectorPair
{
	const float *a;
	const float *b;
	int			n;
} VectorPair;

static VectorPair
vector_pair(FunctionCallInfo fcinfo)
{
	VectorPair	pair;
	int			n;

	pair.a = tr_reals(PG_GETARG_ARRAYTYPE_P(0), &pair.n);
	pair.b = tr_reals(PG_GETARG_ARRAYTYPE_P(1), &n);
	if (pair.n != n)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("different vector dimensions %d and %d", pair.n, n)));
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_EXCEPTION),
				 errmsg("vector must have at least 1 dimension")));
	return pair;
}

/* Of vectors of length zero it is not defined: NaN. */
double
tr_cosine(const float *a, const float *b, int n)
{
	double		norms = sqrt(te_vector_dot(a, a, n)) * sqrt(te_vector_dot(b, b, n));
	double		cosine = te_vector_dot(a, b, n) / norms;

	/* Rounding may lead out of the range. */
	return isnan(cosine) ? cosine : Max(-1.0, Min(1.0, cosine));
}

PG_FUNCTION_INFO_V1(transformer_cosine_distance);
Datum
transformer_cosine_distance(PG_FUNCTION_ARGS)
{
	VectorPair	pair = vector_pair(fcinfo);

	PG_RETURN_FLOAT8(1.0 - tr_cosine(pair.a, pair.b, pair.n));
}

PG_FUNCTION_INFO_V1(transformer_inner_product);
Datum
transformer_inner_product(PG_FUNCTION_ARGS)
{
	VectorPair	pair = vector_pair(fcinfo);

	PG_RETURN_FLOAT8(te_vector_dot(pair.a, pair.b, pair.n));
}

PG_FUNCTION_INFO_V1(transformer_l2_distance);
Datum
transformer_l2_distance(PG_FUNCTION_ARGS)
{
	VectorPair	pair = vector_pair(fcinfo);

	PG_RETURN_FLOAT8(sqrt(te_vector_distance2(pair.a, pair.b, pair.n)));
}
