/*-------------------------------------------------------------------------
 * ref.c
 *	  The scalar kernels: plain loops that say what every other one must compute.
 *
 * They are the truth for the tests and the floor of the dispatch table, so
 * they are written to be read: sums run in double, in order, and no product
 * is contracted into a fused operation, on any machine.  The exception is
 * gemm_panel_f32, whose contract (one chain of f32 multiply-adds an element,
 * which may be cut anywhere in k) excludes a wider accumulator.
 *
 * Also here: the activations and their derivatives, one pair a row of
 * activations.def.  gelu is the exact one, by the error function.
 *
 * To add an activation: a row there, the pair here, and the pair in
 * vec_math.inc.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#include <float.h>
#include <math.h>

#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif

/* ---- activations ---- */

#define SQRT_HALF 0.70710678118654752440
#define SQRT_2_OVER_PI 0.79788456080286535588
#define INV_SQRT_2PI 0.39894228040143267794
#define GELU_CUBIC 0.044715
#define QUICK_GELU 1.702

static double
sigmoid(double x)
{
	return 1.0 / (1.0 + exp(-x));
}

/* x * gate; at minus infinity the limit, 0, and not infinity times 0 */
static double
gated(double x, double gate)
{
	return fmax(x, -FLT_MAX) * gate;
}

static double
te_act_none(double x)
{
	return x;
}

static double
te_act_d_none(double x)
{
	return 1.0;
}

static double
te_act_gelu(double x)
{
	return gated(x, 0.5 * erfc(-x * SQRT_HALF));
}

static double
te_act_d_gelu(double x)
{
	return 0.5 * erfc(-x * SQRT_HALF) + x * INV_SQRT_2PI * exp(-0.5 * x * x);
}

/* The tanh form, 0.5 x (1 + tanh(u)), which is x * sigmoid(2 u). */
static double
te_act_gelu_tanh(double x)
{
	return gated(x, sigmoid(2.0 * SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x)));
}

static double
te_act_d_gelu_tanh(double x)
{
	double		s = sigmoid(2.0 * SQRT_2_OVER_PI * (x + GELU_CUBIC * x * x * x));

	return s + x * s * (1.0 - s) * 2.0 * SQRT_2_OVER_PI * (1.0 + 3.0 * GELU_CUBIC * x * x);
}

static double
te_act_relu(double x)
{
	return x < 0.0 ? 0.0 : x;
}

static double
te_act_d_relu(double x)
{
	return x > 0.0 ? 1.0 : 0.0;
}

static double
te_act_silu(double x)
{
	return gated(x, sigmoid(x));
}

static double
te_act_d_silu(double x)
{
	double		s = sigmoid(x);

	return s + x * s * (1.0 - s);
}

static double
te_act_tanh(double x)
{
	return tanh(x);
}

static double
te_act_d_tanh(double x)
{
	double		t = tanh(x);

	return 1.0 - t * t;
}

static double
te_act_sigmoid(double x)
{
	return sigmoid(x);
}

static double
te_act_d_sigmoid(double x)
{
	double		s = sigmoid(x);

	return s * (1.0 - s);
}

static double
te_act_quick_gelu(double x)
{
	return gated(x, sigmoid(QUICK_GELU * x));
}

static double
te_act_d_quick_gelu(double x)
{
	double		s = sigmoid(QUICK_GELU * x);

	return s + QUICK_GELU * x * s * (1.0 - s);
}

typedef struct ActivationRow
{
	double		(*value) (double x);
	double		(*derivative) (double x);
	const char *names[4];		/* the first is the one that is written */
} ActivationRow;

static const ActivationRow activations[TE_N_ACTIVATIONS] = {
#define TE_ACTIVATION(symbol, suffix, ...) [symbol] = {te_act_##suffix, te_act_d_##suffix, {__VA_ARGS__}},
#include "kernels/activations.def"
#undef TE_ACTIVATION
};

TeActivation
te_activation_by_name(TeStr name)
{
	for (int i = 0; i < TE_N_ACTIVATIONS; i++)
	{
		for (size_t j = 0; j < TE_LENGTH(activations[i].names) && activations[i].names[j] != NULL; j++)
		{
			if (te_str_is(name, activations[i].names[j]))
				return (TeActivation) i;
		}
	}
	return TE_N_ACTIVATIONS;
}

const char *
te_activation_name(TeActivation activation)
{
	return activations[activation].names[0];
}

float
te_activation_value(TeActivation activation, float x)
{
	return (float) activations[activation].value(x);
}

float
te_activation_derivative(TeActivation activation, float x)
{
	return (float) activations[activation].derivative(x);
}

void
te_ref_activate(TeActivation activation, size_t n, const float *x, float *y)
{
	for (size_t i = 0; i < n; i++)
		y[i] = te_activation_value(activation, x[i]);
}

void
te_ref_activate_backward(TeActivation activation, size_t n, const float *x, const float *d_y, float *d_x)
{
	for (size_t i = 0; i < n; i++)
		d_x[i] += d_y[i] * te_activation_derivative(activation, x[i]);
}

void
te_ref_gate(TeActivation activation, size_t rows, size_t n, const float *x, float *y)
{
	for (size_t r = 0; r < rows; r++, x += 2 * n, y += n)
	{
		for (size_t i = 0; i < n; i++)
			y[i] = te_activation_value(activation, x[i]) * x[n + i];
	}
}

/* ---- rotary positions ---- */

void
te_ref_rope(size_t n_heads, size_t d_head, size_t n_rot, bool pairs, float sign, const float *table, float *x)
{
	const float *cosines = table;
	const float *sines = table + n_rot;
	size_t		apart = pairs ? 1 : n_rot / 2;

	for (size_t h = 0; h < n_heads; h++, x += d_head)
	{
		for (size_t p = 0; p < n_rot / 2; p++)
		{
			size_t		i = pairs ? 2 * p : p;
			size_t		j = i + apart;
			float		a = x[i];
			float		b = x[j];

			x[i] = a * cosines[i] + b * (sign * sines[i]);
			x[j] = b * cosines[j] + a * (sign * sines[j]);
		}
	}
}

/* ---- matrices ---- */

static void
gemm_panel(size_t m, size_t k, const float *a, size_t row_stride, size_t k_stride, const float *panel,
		   float *acc, size_t ld_acc, bool add)
{
	for (size_t r = 0; r < m; r++)
	{
		float	   *y = acc + r * ld_acc;

		if (!add)
			memset(y, 0, TE_PANEL * sizeof(float));
		for (size_t i = 0; i < k; i++)
		{
			float		factor = a[r * row_stride + i * k_stride];

			for (size_t c = 0; c < TE_PANEL; c++)
				y[c] += factor * panel[i * TE_PANEL + c];
		}
	}
}

void
te_ref_gemm_panel_f32(size_t m, size_t k, const float *a, size_t ld_a, const float *panel,
					  float *acc, size_t ld_acc, bool add)
{
	gemm_panel(m, k, a, ld_a, 1, panel, acc, ld_acc, add);
}

void
te_ref_gemm_columns_f32(size_t m, size_t k, const float *a, size_t ld_a, const float *panel,
						float *acc, size_t ld_acc, bool add)
{
	gemm_panel(m, k, a, 1, ld_a, panel, acc, ld_acc, add);
}

void
te_ref_pack_panel(size_t rows, size_t k, const float *a, size_t ld_a, float *panel)
{
	for (size_t i = 0; i < k; i++)
	{
		for (size_t r = 0; r < TE_PANEL; r++)
			panel[i * TE_PANEL + r] = r < rows ? a[r * ld_a + i] : 0.0f;
	}
}

void
te_ref_pack_columns(size_t k, size_t n, const float *a, size_t ld_a, float *panel)
{
	for (size_t i = 0; i < k; i++)
	{
		for (size_t c = 0; c < TE_PANEL; c++)
			panel[i * TE_PANEL + c] = c < n ? a[i * ld_a + c] : 0.0f;
	}
}

void
te_ref_epilogue(size_t rows, size_t n, const float *x, size_t ld_x, const float *bias, TeActivation activation,
				const float *residual, size_t ld_residual, float *y, size_t ld_y)
{
	for (size_t r = 0; r < rows; r++)
	{
		for (size_t c = 0; c < n; c++)
		{
			float		value = x[r * ld_x + c];

			if (bias != NULL)
				value += bias[c];
			if (activation != TE_ACT_NONE)
				value = te_activation_value(activation, value);
			if (residual != NULL)
				value += residual[r * ld_residual + c];
			y[r * ld_y + c] = value;
		}
	}
}

/* ---- rows ---- */

void
te_ref_layer_norm(size_t rows, size_t n, const float *x, const float *residual, const float *gamma,
				  const float *beta, float eps, float *y, float *saved)
{
	for (size_t r = 0; r < rows; r++, x += n, y += n)
	{
		double		sum = 0.0;
		double		squares = 0.0;
		double		mean;
		double		inverse;

		for (size_t i = 0; i < n; i++)
		{
			y[i] = residual != NULL ? x[i] + residual[i] : x[i];
			sum += y[i];
		}
		mean = sum / (double) n;
		for (size_t i = 0; i < n; i++)
			squares += (y[i] - mean) * (y[i] - mean);
		inverse = 1.0 / sqrt(squares / (double) n + eps);
		for (size_t i = 0; i < n; i++)
			y[i] = (float) ((y[i] - mean) * inverse * gamma[i] + (beta != NULL ? beta[i] : 0.0f));
		if (saved != NULL)
		{
			saved[2 * r] = (float) mean;
			saved[2 * r + 1] = (float) inverse;
		}
		if (residual != NULL)
			residual += n;
	}
}

void
te_ref_rms_norm(size_t rows, size_t n, const float *x, const float *gamma, float eps, float *y, float *saved)
{
	for (size_t r = 0; r < rows; r++, x += n, y += n)
	{
		double		squares = 0.0;
		double		inverse;

		for (size_t i = 0; i < n; i++)
			squares += (double) x[i] * x[i];
		inverse = 1.0 / sqrt(squares / (double) n + eps);
		for (size_t i = 0; i < n; i++)
			y[i] = (float) (x[i] * inverse * gamma[i]);
		if (saved != NULL)
			saved[r] = (float) inverse;
	}
}

void
te_ref_softmax(size_t rows, size_t n, float *x)
{
	for (size_t r = 0; r < rows; r++, x += n)
	{
		float		most = te_ref_max(n, x);
		double		sum = 0.0;

		for (size_t i = 0; i < n; i++)
			sum += exp((double) x[i] - most);
		for (size_t i = 0; i < n; i++)
			x[i] = (float) (exp((double) x[i] - most) / sum);
	}
}

float
te_ref_exp_sum(size_t n, float most, float *x)
{
	double		sum = 0.0;

	for (size_t i = 0; i < n; i++)
	{
		x[i] = (float) exp((double) x[i] - most);
		sum += x[i];
	}
	return (float) sum;
}

void
te_ref_add(size_t n, const float *a, const float *b, float *y)
{
	for (size_t i = 0; i < n; i++)
		y[i] = a[i] + b[i];
}

void
te_ref_multiply(size_t n, const float *a, const float *b, float *y)
{
	for (size_t i = 0; i < n; i++)
		y[i] = a[i] * b[i];
}

void
te_ref_scale(size_t n, float factor, const float *x, float *y)
{
	for (size_t i = 0; i < n; i++)
		y[i] = factor * x[i];
}

void
te_ref_axpy(size_t n, float factor, const float *x, float *y)
{
	for (size_t i = 0; i < n; i++)
		y[i] += factor * x[i];
}

float
te_ref_dot(size_t n, const float *a, const float *b)
{
	double		sum = 0.0;

	for (size_t i = 0; i < n; i++)
		sum += (double) a[i] * b[i];
	return (float) sum;
}

float
te_ref_distance2(size_t n, const float *a, const float *b)
{
	double		sum = 0.0;

	for (size_t i = 0; i < n; i++)
		sum += ((double) a[i] - b[i]) * ((double) a[i] - b[i]);
	return (float) sum;
}

/* NaN where an element is one. */
float
te_ref_max(size_t n, const float *x)
{
	float		most = -INFINITY;

	for (size_t i = 0; i < n; i++)
	{
		if (!(x[i] <= most))
			most = x[i];
		if (isnan(most))
			break;
	}
	return most;
}

/* ---- attention ---- */

/* The product of a head's row x with the row of a distance. */
static double
relative_score(const TeAttention *at, const float *panels, int head, const float *x, int32_t distance)
{
	size_t		row = (size_t) (distance + at->relative_panels / 2 * TE_PANEL);
	const float *panel = panels + ((size_t) head * (size_t) at->relative_panels + row / TE_PANEL) * (size_t) at->d_head * TE_PANEL;
	double		score = 0.0;

	for (int i = 0; i < at->d_head; i++)
		score += (double) x[i] * panel[(size_t) i * TE_PANEL + row % TE_PANEL];
	return score;
}

/* Score of a query and a key, both token numbers of one sequence; -infinity where it may not be seen. */
static double
attention_score(const TeAttention *at, int head, int32_t query, int32_t key)
{
	int			kv_head = head / (at->n_head / at->n_kv_head);
	const float *q = at->q + (size_t) query * at->ld_q + (size_t) head * at->d_head;
	const float *k = at->k + (size_t) key * at->ld_k + (size_t) kv_head * at->d_head;
	int32_t		distance = key - query;
	double		score = 0.0;

	if (at->causal && distance > 0)
		return -INFINITY;
	if (at->window > 0 && (distance > at->window || -distance > at->window))
		return -INFINITY;
	for (int i = 0; i < at->d_head; i++)
		score += (double) q[i] * k[i];
	if (at->relative_keys != NULL)
		score += relative_score(at, at->relative_keys, head, q, -distance);
	if (at->relative_queries != NULL)
		score += relative_score(at, at->relative_queries, head, k, -distance);
	score *= at->scale;
	if (at->softcap > 0)
		score = at->softcap * tanh(score / at->softcap);
	if (at->bias != NULL)
		score += at->bias[(size_t) head * (2 * at->bias_span - 1) + (distance + at->bias_span - 1)];
	if (at->slopes != NULL)
		score += (double) at->slopes[head] * distance;
	return score;
}

/* Scores are computed twice, once for their maximum, so that no memory of the length of a sequence is needed. */
void
te_ref_attention(const TeAttention *at, int head, int32_t s0, int32_t s1, int32_t q0, int32_t q1, float *scratch)
{
	int			kv_head = head / (at->n_head / at->n_kv_head);

	for (int32_t query = q0; query < q1; query++)
	{
		float	   *out = at->out + (size_t) query * at->ld_out + (size_t) head * at->d_head;
		double		sums[TE_MAX_D_HEAD] = {0};
		double		most = -INFINITY;
		double		total = 0.0;

		for (int32_t key = s0; key < s1; key++)
		{
			double		score = attention_score(at, head, query, key);

			if (!(score <= most))
				most = score;
		}
		for (int32_t key = s0; key < s1; key++)
		{
			const float *v = at->v + (size_t) key * at->ld_v + (size_t) kv_head * at->d_head;
			double		weight = exp(attention_score(at, head, query, key) - most);

			total += weight;
			for (int i = 0; i < at->d_head; i++)
				sums[i] += weight * v[i];
		}
		for (int i = 0; i < at->d_head; i++)
			out[i] = (float) (sums[i] / total);
	}
}

/* ---- products of bf16 ---- */

void
te_ref_round_bf16(size_t n, const float *x, uint16_t *y)
{
	for (size_t i = 0; i < n; i++)
		y[i] = te_bf16_make(x[i]);
	if (n % 2 != 0)
		y[n] = 0;
}

void
te_ref_round_floats_bf16(size_t n, const float *x, float *y)
{
	for (size_t i = 0; i < n; i++)
		y[i] = te_bf16_value(te_bf16_make(x[i]));
}

/* a[r * row_stride + i * k_stride] of `rows` rows into a panel of pairs */
static void
pack_pairs(size_t rows, size_t k, const float *a, size_t row_stride, size_t k_stride, uint16_t *panel)
{
	for (size_t i = 0; i < (k + 1) / 2 * 2; i++)
	{
		for (size_t r = 0; r < TE_PANEL; r++)
			panel[(i / 2 * TE_PANEL + r) * 2 + i % 2] = r < rows && i < k ? te_bf16_make(a[r * row_stride + i * k_stride]) : 0;
	}
}

void
te_ref_pack_panel_bf16(size_t rows, size_t k, const float *a, size_t ld_a, uint16_t *panel)
{
	pack_pairs(rows, k, a, ld_a, 1, panel);
}

void
te_ref_pack_columns_bf16(size_t k, size_t n, const float *a, size_t ld_a, uint16_t *panel)
{
	pack_pairs(n, k, a, 1, ld_a, panel);
}

/* Products of bf16 are exact in f32; each is added to the sum in its turn. */
static void
gemm_pairs(size_t m, size_t pairs, const uint16_t *a, size_t row_stride, size_t pair_stride, const uint16_t *panel,
		   float *acc, size_t ld_acc, bool add)
{
	for (size_t r = 0; r < m; r++)
	{
		for (size_t c = 0; c < TE_PANEL; c++)
		{
			float		sum = add ? acc[r * ld_acc + c] : 0;

			for (size_t i = 0; i < 2 * pairs; i++)
				sum += te_bf16_value(a[r * row_stride + i / 2 * pair_stride + i % 2])
					* te_bf16_value(panel[(i / 2 * TE_PANEL + c) * 2 + i % 2]);
			acc[r * ld_acc + c] = sum;
		}
	}
}

void
te_ref_gemm_panel_bf16(size_t m, size_t pairs, const uint16_t *a, size_t ld_a, const uint16_t *panel,
					   float *acc, size_t ld_acc, bool add)
{
	gemm_pairs(m, pairs, a, ld_a, 2, panel, acc, ld_acc, add);
}

void
te_ref_gemm_columns_bf16(size_t m, size_t pairs, const uint16_t *a, const uint16_t *panel,
						 float *acc, size_t ld_acc, bool add)
{
	gemm_pairs(m, pairs, a, 2, 2 * TE_PANEL, panel, acc, ld_acc, add);
}
