/*-------------------------------------------------------------------------
 * peaks.c
 *	  The peaks of this machine: independent multiply-adds in registers, in
 *	  f32, of bytes and of bf16, with the widest instructions that the
 *	  instruction set in use stands for; and reading memory from front to back.
 *
 * Shares of a peak are shares of what these loops reach in the same run, so that
 * a slow clock or a busy neighbour slows both.  Two threads that together reach
 * far less than twice the peak of one say that the system has put both on one
 * core: a benchmark throws such a sample away.
 *
 * To add an instruction set: its loops, and a row in peaks[].
 *-------------------------------------------------------------------------
 */
#include "peaks.h"

#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define PEAK_LOOPS 20000
#define CHAINS 12

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float
peak_avx512(void)
{
	__m512		sums[CHAINS];
	__m512		factor = _mm512_set1_ps(0.999f);

	for (int c = 0; c < CHAINS; c++)
		sums[c] = _mm512_set1_ps((float) c);
	for (int i = 0; i < PEAK_LOOPS; i++)
	{
		_Pragma("GCC unroll 12")
		for (int c = 0; c < CHAINS; c++)
			sums[c] = _mm512_fmadd_ps(sums[c], factor, factor);
	}
	for (int c = 1; c < CHAINS; c++)
		sums[0] = _mm512_add_ps(sums[0], sums[c]);
	return _mm512_reduce_add_ps(sums[0]);
}

__attribute__((target("avx2,fma"))) static float
peak_avx2(void)
{
	__m256		sums[CHAINS];
	__m256		factor = _mm256_set1_ps(0.999f);

	for (int c = 0; c < CHAINS; c++)
		sums[c] = _mm256_set1_ps((float) c);
	for (int i = 0; i < PEAK_LOOPS; i++)
	{
		_Pragma("GCC unroll 12")
		for (int c = 0; c < CHAINS; c++)
			sums[c] = _mm256_fmadd_ps(sums[c], factor, factor);
	}
	for (int c = 1; c < CHAINS; c++)
		sums[0] = _mm256_add_ps(sums[0], sums[c]);
	return _mm256_cvtss_f32(sums[0]);
}

/* Products of bytes and of bf16, in inline assembly as in the kernels. */
__attribute__((target("avx512f,avx512vnni"))) static float
byte_peak_avx512(void)
{
	__m512i		sums[CHAINS];
	__m512i		factor = _mm512_set1_epi32(0x01010101);

	_Pragma("GCC unroll 12")
	for (int c = 0; c < CHAINS; c++)
		sums[c] = _mm512_set1_epi32(c);
	for (int i = 0; i < PEAK_LOOPS; i++)
	{
		_Pragma("GCC unroll 12")
		for (int c = 0; c < CHAINS; c++)
			__asm__ ("vpdpbusd %1, %1, %0" : "+v"(sums[c]) : "v"(factor));
	}
	_Pragma("GCC unroll 12")
	for (int c = 1; c < CHAINS; c++)
		sums[0] = _mm512_add_epi32(sums[0], sums[c]);
	return (float) _mm512_reduce_add_epi32(sums[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static float
bf16_peak_avx512(void)
{
	__m512		sums[CHAINS];
	__m512		factor = _mm512_castsi512_ps(_mm512_set1_epi32(0x3f803f80));

	_Pragma("GCC unroll 12")
	for (int c = 0; c < CHAINS; c++)
		sums[c] = _mm512_set1_ps((float) c);
	for (int i = 0; i < PEAK_LOOPS; i++)
	{
		_Pragma("GCC unroll 12")
		for (int c = 0; c < CHAINS; c++)
			__asm__ ("vdpbf16ps %1, %1, %0" : "+v"(sums[c]) : "v"(factor));
	}
	_Pragma("GCC unroll 12")
	for (int c = 1; c < CHAINS; c++)
		sums[0] = _mm512_add_ps(sums[0], sums[c]);
	return _mm512_reduce_add_ps(sums[0]);
}

__attribute__((target("avx2"))) static float
byte_peak_avx2(void)
{
	__m256i		sums[CHAINS];
	__m256i		factor = _mm256_set1_epi32(0x01010101);

	_Pragma("GCC unroll 12")
	for (int c = 0; c < CHAINS; c++)
		sums[c] = _mm256_set1_epi32(c);
	for (int i = 0; i < PEAK_LOOPS; i++)
	{
		_Pragma("GCC unroll 12")
		for (int c = 0; c < CHAINS; c++)
			__asm__ ("%{vex%} vpdpbusd %1, %1, %0" : "+x"(sums[c]) : "x"(factor));
	}
	_Pragma("GCC unroll 12")
	for (int c = 1; c < CHAINS; c++)
		sums[0] = _mm256_add_epi32(sums[0], sums[c]);
	return (float) _mm256_extract_epi32(sums[0], 0);
}
#elif defined(__aarch64__)
static float
peak_neon(void)
{
	float32x4_t sums[CHAINS];
	float32x4_t factor = vdupq_n_f32(0.999f);

	for (int c = 0; c < CHAINS; c++)
		sums[c] = vdupq_n_f32((float) c);
	for (int i = 0; i < PEAK_LOOPS; i++)
	{
		_Pragma("GCC unroll 12")
		for (int c = 0; c < CHAINS; c++)
			sums[c] = vfmaq_f32(factor, sums[c], factor);
	}
	for (int c = 1; c < CHAINS; c++)
		sums[0] = vaddq_f32(sums[0], sums[c]);
	return vaddvq_f32(sums[0]);
}
#endif

static float
peak_ref(void)
{
	float		sums[CHAINS] = {0};

	for (int i = 0; i < PEAK_LOOPS; i++)
	{
		for (int c = 0; c < CHAINS; c++)
			sums[c] = sums[c] * 0.999f + 0.999f;
	}
	return sums[0] + sums[CHAINS - 1];
}

typedef float (*PeakLoop) (void);

/* An instruction set may lack a kind of product: no loop. */
typedef struct Peak
{
	const char *isa;			/* its name, or what it begins with */
	int			lanes;			/* floats of a register */
	PeakLoop	loops[PEAK_KINDS];
} Peak;

static const Peak peaks[] = {
	{"ref", 1, {peak_ref}},
#if defined(__x86_64__)
	{"avx512_", 16, {peak_avx512, byte_peak_avx512, bf16_peak_avx512}},
	{"avx512", 16, {peak_avx512}},
	{"avx_vnni", 8, {peak_avx2, byte_peak_avx2}},
	{"avx2", 8, {peak_avx2}},
#elif defined(__aarch64__)
	{"neon", 4, {peak_neon}},
#endif
};

/* Operations of one lane of f32 in one step: a multiply-add, of four bytes or of two bf16. */
static const double lane_ops[PEAK_KINDS] = {2, 8, 4};

static volatile float sink;

static void
peak_task(void *arg, size_t task, int worker)
{
	sink = (*(const PeakLoop *) arg) ();
}

/* Some of what stands behind a name is optional. */
static bool
has_instructions(PeakKind kind)
{
#if defined(__x86_64__)
	return kind != PEAK_BF16 || __builtin_cpu_supports("avx512bf16");
#else
	return true;
#endif
}

double
peak_rate(PeakKind kind, int threads, double seconds)
{
	const Peak *peak = NULL;
	PeakLoop	loop;
	int			workers = te_workers();
	double		best = INFINITY;
	double		until;

	for (size_t i = 0; i < LENGTH(peaks) && peak == NULL; i++)
	{
		if (strncmp(peaks[i].isa, te_isa_name(), strlen(peaks[i].isa)) == 0)
			peak = &peaks[i];
	}
	if (peak == NULL || peak->loops[kind] == NULL || !has_instructions(kind))
		return 0;
	loop = peak->loops[kind];
	te_std_set_workers(threads);
	until = te_host_seconds() + seconds;
	do
	{
		double		start = te_host_seconds();

		te_parallel_for((size_t) threads, peak_task, (void *) &loop);
		best = fmin(best, te_host_seconds() - start);
	} while (te_host_seconds() < until);
	te_std_set_workers(workers);
	return lane_ops[kind] * peak->lanes * CHAINS * PEAK_LOOPS * threads / best / 1e9;
}

/* A thread's part of the memory, a piece a task as products have it. */
typedef struct Reads
{
	const char *memory;
	size_t		bytes;
} Reads;

#define READ_PIECE ((size_t) 64 * 1024)

/* Every cache line of a piece, by the whole of its bytes. */
#if defined(__x86_64__)
__attribute__((target("avx2"))) static int
read_piece(const char *from, size_t n)
{
	__m256i		sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};

	for (size_t i = 0; i + 128 <= n; i += 128)
	{
		for (int j = 0; j < 4; j++)
			sums[j] = _mm256_xor_si256(sums[j], _mm256_loadu_si256((const __m256i *) (const void *) (from + i + 32 * j)));
	}
	sums[0] = _mm256_xor_si256(_mm256_xor_si256(sums[0], sums[1]), _mm256_xor_si256(sums[2], sums[3]));
	return _mm256_extract_epi32(sums[0], 0);
}
#else
static int
read_piece(const char *from, size_t n)
{
	uint64_t	sum = 0;

	for (size_t i = 0; i + 8 <= n; i += 8)
	{
		uint64_t	word;

		memcpy(&word, from + i, sizeof(word));
		sum ^= word;
	}
	return (int) sum;
}
#endif

static void
read_task(void *arg, size_t task, int worker)
{
	const Reads *reads = arg;
	size_t		first = task * READ_PIECE;

	sink = (float) read_piece(reads->memory + first, TE_MIN(READ_PIECE, reads->bytes - first));
}

double
peak_reads(const void *memory, size_t bytes, int threads)
{
	Reads		reads = {memory, bytes};
	int			workers = te_workers();
	double		best = INFINITY;

	te_std_set_workers(threads);
	for (int i = 0; i < 5; i++)
	{
		double		start = te_host_seconds();

		te_parallel_for((bytes + READ_PIECE - 1) / READ_PIECE, read_task, &reads);
		best = fmin(best, te_host_seconds() - start);
	}
	te_std_set_workers(workers);
	return (double) bytes / best;
}
