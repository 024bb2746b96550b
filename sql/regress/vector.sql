-- Distances between real[].
\set SHOW_CONTEXT never
SELECT transformer.l2_distance('{0,0}', '{3,4}'), transformer.inner_product('{1,2,3}', '{4,5,6}'),
	transformer.cosine_distance('{1,0}', '{0,1}'), round(transformer.cosine_distance('{1,2}', '{2,4}')::numeric, 6),
	round(transformer.cosine_distance('{1,2}', '{-1,-2}')::numeric, 6);
SELECT transformer.cosine_distance('{0,0}', '{1,1}');
SELECT transformer.l2_distance('{3e38}', '{-3e38}') > 5e38 AS wide;
SELECT transformer.l2_distance('{1,Infinity}', '{1,1}'), transformer.inner_product('{NaN}', '{1}');
SELECT transformer.l2_distance(NULL, '{1}') IS NULL AS is_null;

-- Against plain SQL, for lengths around those that the kernels work in.
WITH v AS (
	SELECT n, ARRAY(SELECT sin(i * n)::real FROM generate_series(1, n) i) AS a,
		ARRAY(SELECT cos(i + n)::real FROM generate_series(1, n) i) AS b
	FROM generate_series(1, 70) n
), plain AS (
	SELECT n, a, b, sum(x::float8 * y) AS dot, sqrt(sum((x::float8 - y) ^ 2)) AS l2,
		1 - sum(x::float8 * y) / sqrt(sum(x::float8 ^ 2) * sum(y::float8 ^ 2)) AS cosine
	FROM v, unnest(a, b) u(x, y) GROUP BY n, a, b
)
SELECT max(abs(dot - transformer.inner_product(a, b))) < 1e-4 AS dot,
	max(abs(l2 - transformer.l2_distance(a, b))) < 1e-4 AS l2,
	max(abs(cosine - transformer.cosine_distance(a, b))) < 1e-4 AS cosine
FROM plain;

SELECT transformer.l2_distance('{1,2}', '{1}');
SELECT transformer.inner_product('{}', '{}');
SELECT transformer.cosine_distance('{1,NULL}', '{1,2}');
SELECT transformer.l2_distance('{{1},{2}}', '{1,2}');
\set VERBOSITY sqlstate
SELECT transformer.l2_distance('{1,2}', '{1}');
SELECT transformer.inner_product('{}', '{}');
SELECT transformer.cosine_distance('{1,NULL}', '{1,2}');
