/*-------------------------------------------------------------------------
 * dtype.c
 *	  The table of storage types, made of dtype.def, and look-ups in it.
 *
 * It also knows the names of ggml's other types, so that a file with one of
 * them is refused by name.  To add a type see dtype.def.
 *-------------------------------------------------------------------------
 */
#include "base/quant.h"

const TeDtypeInfo te_dtypes[TE_N_DTYPES] = {
#define TE_DTYPE(symbol, name, ggml, safetensors, header, elements, bytes, to_float, from_float, error, rotated) \
	[symbol] = {name, ggml, safetensors, (int) (header), elements, (int) (bytes), to_float, from_float, error, rotated},
#include "base/dtype.def"
#undef TE_DTYPE
};

/* Types of ggml that are not ours, by number; NULL: ours, or none. */
static const char *const other_ggml_types[] = {
	[4] = "q4_2 (withdrawn)",
	[5] = "q4_3 (withdrawn)",
	[9] = "q8_1",
	[15] = "q8_K",
	[16] = "iq2_xxs",
	[17] = "iq2_xs",
	[18] = "iq3_xxs",
	[19] = "iq1_s",
	[20] = "iq4_nl",
	[21] = "iq3_s",
	[22] = "iq2_s",
	[23] = "iq4_xs",
	[29] = "iq1_m",
	[31] = "q4_0_4_4 (withdrawn)",
	[32] = "q4_0_4_8 (withdrawn)",
	[33] = "q4_0_8_8 (withdrawn)",
	[34] = "tq1_0",
	[35] = "tq2_0",
	[36] = "iq4_nl_4_4 (withdrawn)",
	[37] = "iq4_nl_4_8 (withdrawn)",
	[38] = "iq4_nl_8_8 (withdrawn)",
	[39] = "mxfp4",
	[40] = "nvfp4",
};

TeDtype
te_dtype_by_name(TeStr name)
{
	int			type = 0;

	while (type < TE_N_DTYPES && !te_str_is_ignoring_case(name, te_dtypes[type].name))
		type++;
	return (TeDtype) type;
}

/* Few rows, looked up once per tensor: no index. */
TeDtype
te_dtype_by_ggml(uint32_t number)
{
	int			type = 0;

	while (type < TE_N_DTYPES && (te_dtypes[type].ggml_type < 0 || (uint32_t) te_dtypes[type].ggml_type != number))
		type++;
	return (TeDtype) type;
}

TeDtype
te_dtype_by_safetensors(TeStr name)
{
	int			type = 0;

	while (type < TE_N_DTYPES && (te_dtypes[type].safetensors == NULL || !te_str_is(name, te_dtypes[type].safetensors)))
		type++;
	return (TeDtype) type;
}

const char *
te_ggml_type_name(uint32_t number)
{
	TeDtype		type = te_dtype_by_ggml(number);

	if (type != TE_N_DTYPES)
		return te_dtypes[type].name;
	if (number < TE_LENGTH(other_ggml_types) && other_ggml_types[number] != NULL)
		return other_ggml_types[number];
	return "unknown";
}
