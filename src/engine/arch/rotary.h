/*-------------------------------------------------------------------------
 * rotary.h
 *	  The body that ModernBERT and nomic-bert share: an encoder with rotary
 *	  positions and gated feed-forward layers, normalized before or after.
 *
 * Tensors are rows of encoder.h's table.  A family binds through te_rotary_bind(), which
 * makes the frequencies of positions beside.
 *-------------------------------------------------------------------------
 */
#ifndef TE_ROTARY_H
#define TE_ROTARY_H

#include "arch/encoder.h"
#include "arch/rope.h"

extern const TeEncoder *te_rotary_bind(const TeEncoderTensor *table, TeArena *arena, const TeModel *model);
/* norm(words + types), then layers: x = norm(x + out(attention(x))), x = norm(x + down(gate(up(x)))). */
extern TeNode *te_rotary_forward_post_norm(TeGraph *graph, const TeModel *model, const TeBatch *batch);
/* The same with x = x + out(attention(norm(x))), x = x + down(gate(up(norm(x)))), and a norm of the last. */
extern TeNode *te_rotary_forward_pre_norm(TeGraph *graph, const TeModel *model, const TeBatch *batch);

extern bool te_rotary_is_local(const TeConfig *config, int layer);
extern bool te_rotary_is_unturned(const TeConfig *config, int layer);
extern bool te_rotary_has_experts(const TeConfig *config, int layer);

#endif							/* TE_ROTARY_H */
