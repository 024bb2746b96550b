/*-------------------------------------------------------------------------
 * isa.c
 *	  Which instruction set runs: detection, and the dispatch table.
 *
 * A row of `sets` per instruction set, slowest first.  On x86 an extension
 * counts only where both the processor and the operating system (XCR0, which
 * says what registers are saved) have it.  On aarch64 NEON is part of the base.
 *
 * A set lies over another one and takes from it what it does not do better.
 *
 * To add a set: a row here, its file, its rows in kernels.def.
 *-------------------------------------------------------------------------
 */
#include "kernels/impl.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

const TeKernels te_kernel_ref = {
#define TE_KERNEL_TYPE(name, ret, args) .name = te_ref_##name,
#include "kernels/kernel_types.def"
#undef TE_KERNEL_TYPE
};

TeKernels	te_kernel = {
#define TE_KERNEL_TYPE(name, ret, args) .name = te_ref_##name,
#include "kernels/kernel_types.def"
#undef TE_KERNEL_TYPE
};

const TeKernelRow te_kernel_rows[] = {
#define KERNEL(name, isa, error) {#name, #isa, error, (void (*) (void)) te_##isa##_##name, offsetof(TeKernels, name)},
#include "kernels/kernels.def"
#undef KERNEL
	{NULL, "", 0, NULL, 0}		/* C has no empty arrays */
};
const size_t te_n_kernel_rows = TE_LENGTH(te_kernel_rows) - 1;

static bool
cpu_has_ref(void)
{
	return true;
}

#if defined(__x86_64__)

#define XCR0_AVX 0x06			/* xmm, upper halves of ymm */
#define XCR0_AVX512 0xe6		/* and mask registers, zmm */

/* cpuid leaf 7's ebx and ecx, where the system saves the registers of `xcr0` and leaf 1 has FMA and F16C; else false */
static bool
cpu_leaf7(unsigned int xcr0, unsigned int *ebx, unsigned int *ecx)
{
	const unsigned int needed = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
	unsigned int a;
	unsigned int b;
	unsigned int c;
	unsigned int d;
	unsigned int saved;
	unsigned int high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || (c & needed) != needed)
		return false;
	__asm__ ("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
	return (saved & xcr0) == xcr0 && __get_cpuid_count(7, 0, &a, ebx, ecx, &d);
}

static bool
cpu_has_avx2(void)
{
	unsigned int ebx;
	unsigned int ecx;

	return cpu_leaf7(XCR0_AVX, &ebx, &ecx) && (ebx & bit_AVX2) != 0;
}

static bool
cpu_has_avx512(void)
{
	const unsigned int needed = bit_AVX2 | bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
	unsigned int ebx;
	unsigned int ecx;

	return cpu_leaf7(XCR0_AVX512, &ebx, &ecx) && (ebx & needed) == needed;
}

/* Leaf 7, subleaf 1, eax bit 4 */
static bool
cpu_has_avx_vnni(void)
{
	unsigned int a;
	unsigned int b;
	unsigned int c;
	unsigned int d;

	return cpu_has_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4) != 0;
}

/* Leaf 7, ecx bit 11 */
static bool
cpu_has_avx512_vnni(void)
{
	unsigned int ebx;
	unsigned int ecx;

	return cpu_has_avx512() && cpu_leaf7(XCR0_AVX512, &ebx, &ecx) && (ecx & 1u << 11) != 0;
}

/* Leaf 7, subleaf 1, eax bit 5 */
static bool
cpu_has_avx512_bf16(void)
{
	unsigned int a;
	unsigned int b;
	unsigned int c;
	unsigned int d;

	return cpu_has_avx512_vnni() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 5) != 0;
}

#elif defined(__aarch64__)

static bool
cpu_has_neon(void)
{
	return true;
}

static bool
cpu_has_neon_dot(void)
{
#if defined(__linux__)
	return (getauxval(AT_HWCAP) & 1 << 20) != 0;	/* HWCAP_ASIMDDP */
#elif defined(__ARM_FEATURE_DOTPROD)
	return true;
#else
	return false;
#endif
}

#endif

/* A set lies over another: it needs only the kernels that it does better. */
typedef struct InstructionSet
{
	const char *name;
	const char *base;
	bool		(*cpu_has) (void);
} InstructionSet;

static const InstructionSet sets[] = {
	{"ref", NULL, cpu_has_ref},
#if defined(__x86_64__)
	{"avx2", "ref", cpu_has_avx2},
	{"avx_vnni", "avx2", cpu_has_avx_vnni},
	{"avx512", "avx2", cpu_has_avx512},
	{"avx512_vnni", "avx512", cpu_has_avx512_vnni},
	{"avx512_bf16", "avx512_vnni", cpu_has_avx512_bf16},
#elif defined(__aarch64__)
	{"neon", "ref", cpu_has_neon},
	{"neon_dot", "neon", cpu_has_neon_dot},
#endif
};

static const InstructionSet *selected = &sets[0];

size_t
te_isa_list(const char **names, size_t max)
{
	size_t		n = 0;

	for (size_t i = 0; i < TE_LENGTH(sets); i++)
	{
		if (n < max && sets[i].cpu_has())
			names[n++] = sets[i].name;
	}
	return n;
}

/* The row for a name, or NULL; "auto" is the last that this CPU has. */
static const InstructionSet *
find_set(const char *name)
{
	bool		any = strcmp(name, "auto") == 0;

	for (size_t i = TE_LENGTH(sets); i-- > 0;)
	{
		if ((any || strcmp(name, sets[i].name) == 0) && sets[i].cpu_has())
			return &sets[i];
	}
	return NULL;
}

/* The kernels of a set over those of the sets below it. */
static void
lay_over(const InstructionSet *set)
{
	if (set->base == NULL)
	{
		te_kernel = te_kernel_ref;
		return;
	}
	lay_over(find_set(set->base));
	for (size_t i = 0; i < te_n_kernel_rows; i++)
	{
		const TeKernelRow *row = &te_kernel_rows[i];

		if (strcmp(row->isa, set->name) == 0)
			memcpy((char *) &te_kernel + row->offset, &row->function, sizeof(row->function));
	}
}

bool
te_isa_select(const char *name)
{
	const InstructionSet *set = find_set(name);

	if (set == NULL)
		return false;
	lay_over(set);
	selected = set;
	return true;
}

bool
te_has_bf16(void)
{
	return te_kernel.gemm_panel_bf16 != te_kernel_ref.gemm_panel_bf16;
}

const char *
te_isa_name(void)
{
	return selected->name;
}
