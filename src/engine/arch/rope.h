/*-------------------------------------------------------------------------
 * rope.h
 *	  Rotary positions of a family: what config.json says of them, and the frequencies that follow from it.
 *
 * A family's read_config() fills TeConfig's rope_columns and a TeRopeConfig for each kind of its layers; bind makes a TeRope of
 * that, which te_rope_table() takes.  Families with TeEncoder's slots get theirs by te_rotary_bind() (rotary.h).
 *-------------------------------------------------------------------------
 */
#ifndef TE_ROPE_H
#define TE_ROPE_H

#include "model/model.h"

/*
 * The object that speaks of rotary positions in either spelling, "rope_parameters" (which may have one for each type of layers) or
 * "rope_scaling"; NULL where there is none.  layer_type: "full_attention", ..., or NULL.
 */
extern const TeJson *te_rope_parameters(const TeJson *config, const char *layer_type);
/* Columns of each head that are turned, by partial_rotary_factor in either place, or else this fraction; from head_size. */
extern int32_t te_rope_columns(const TeJson *config, const TeJson *parameters, double fraction, const TeConfig *into);
/* The rest; base: that of a configuration whose parameters have none.  into has max_positions and rope_columns. */
extern void te_rope_read(const TeJson *config, const TeJson *parameters, double base, const TeConfig *into, TeRopeConfig *rope);
/* A base of frequencies; throws naming the key where it is none. */
extern float te_rope_base(const TeJson *config, const char *key, double fallback);

/* Frequencies of n_rot columns in the arena. */
extern TeRope te_rope_bind(TeArena *arena, const TeRopeConfig *config, int n_rot);

/* llama.cpp's keys "<arch>.rope..." and back, into a config.json that has the sizes of heads. */
extern void te_rope_to_gguf(TeArena *arena, const TeRopeConfig *rope, int n_rot, const char *arch, TeJson *meta);
extern void te_rope_from_gguf(TeArena *arena, const TeModelFile *file, const char *arch, TeJson *config);
/* And its tensors of factors that frequencies are divided by, in memory. */
extern void te_rope_gguf_tensors(const TeRopeConfig *rope, int n_rot, TeTensorList *list);

#endif							/* TE_ROPE_H */
