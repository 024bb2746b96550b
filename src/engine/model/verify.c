/*-------------------------------------------------------------------------
 * verify.c
 *	  What a user can check a model by: fixed texts, and distances of vectors.
 *
 * The catalog keeps the vectors that the scalar kernels give for the reference
 * texts when a model is imported; later they are compared with what the
 * kernels in use give.  The texts never change: what is stored depends on
 * them.  They are short, in several scripts, with digits, signs and an accent,
 * so that a broken tokenizer shows as well as a broken weight.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

static const char *const reference_texts[] = {
	"The river was frozen, and 3 boats lay still in the harbour.",
	"Où est la bibliothèque la plus proche ?",
	"Поезд отправляется в семь часов утра.",
	"今天的天气很好，我们去公园吧。",
	"कल बाज़ार में आम बहुत सस्ते थे।",
	"x = (a + b) * 2.5; // half of it?",
};

int
te_reference_count(void)
{
	return TE_LENGTH(reference_texts);
}

TeStr
te_reference_text(int i)
{
	te_assert(i >= 0 && i < te_reference_count());
	return te_str(reference_texts[i]);
}

double
te_vector_dot(const float *a, const float *b, size_t n)
{
	return te_kernel.dot(n, a, b);
}

double
te_vector_distance2(const float *a, const float *b, size_t n)
{
	return te_kernel.distance2(n, a, b);
}
