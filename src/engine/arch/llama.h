/*-------------------------------------------------------------------------
 * llama.h
 *	  The decoders that are built like Llama's: what their configuration (llama_config.c), their form in GGUF
 *	  (llama_gguf.c) and their computation (llama.c) know of each other.
 *
 * A family is a row of a table, by config.json's "model_type": what its models have beyond what config.json says.  Everything else is
 * in TeConfig, and nothing but the table knows a family by its name.
 *
 * To add a family: a row of te_llama_families, and of the model types in llama.c; its fixture in models/fixtures/make_decoders.py.
 *-------------------------------------------------------------------------
 */
#ifndef TE_LLAMA_H
#define TE_LLAMA_H

#include "arch/rotary.h"

/* What a family has, whatever config.json says. */
typedef enum TeLlamaTrait
{
	TE_LLAMA_PAIRS = 1 << 0,	/* GGUF has rows of query and key by pairs that are turned */
	TE_LLAMA_INPUT_BIAS = 1 << 1,	/* query, key and value have biases, and nothing else has */
	TE_LLAMA_HEAD_NORMS = 1 << 2,	/* each head of query and key is normalized */
	TE_LLAMA_FOUR_NORMS = 1 << 3,	/* what attention and feed-forward give is normalized too */
	TE_LLAMA_LESS_ONE = 1 << 4, /* folders have norms less one */
	TE_LLAMA_SCALED_WORDS = 1 << 5, /* embeddings are multiplied by the root of their width */
	TE_LLAMA_JOINT = 1 << 6,	/* query, key and value are one matrix, gate and up another */
	TE_LLAMA_TANH_GELU = 1 << 7,	/* "gelu" means the approximation, and is usual */
	TE_LLAMA_EXPERTS = 1 << 9,	/* layers have experts */
	TE_LLAMA_BLOCK_EXPERTS = 1 << 10,	/* whose tensors are called as Mixtral's, and what is chosen counts for 1 together */
	TE_LLAMA_NO_WINDOW_IN_GGUF = 1 << 8 /* llama.cpp lets all layers see everything, whatever the file says */
} TeLlamaTrait;

/* Which layers see a window only where config.json has one but does not list them. */
typedef enum TeLlamaWindows
{
	TE_WINDOW_NONE,
	TE_WINDOW_ALL,
	TE_WINDOW_LATER,			/* from "max_window_layers" on, where "use_sliding_window" */
	TE_WINDOW_PERIOD,			/* all but every "sliding_window_pattern"-th */
	TE_WINDOW_UNTURNED			/* those without rotary positions, where "use_sliding_window" */
} TeLlamaWindows;

typedef struct TeLlamaFamily
{
	const char *model_type;
	const char *gguf;			/* general.architecture */
	uint32_t	traits;
	TeLlamaWindows windows;
	int			period;			/* of global layers, or of those without rotary positions; 0: there are none such */
	double		base;			/* of rotary positions */
} TeLlamaFamily;

extern const TeLlamaFamily te_llama_families[];
/* That of a config.json; the first where it names none. */
extern const TeLlamaFamily *te_llama_family(const TeJson *config);

extern void te_llama_read_config(const TeJson *config, TeConfig *into);
extern void te_llama_config_from_gguf(TeArena *arena, const TeModelFile *file, TeJson *config);
extern void te_llama_config_to_gguf(TeArena *arena, const TeConfig *config, TeJson *meta);
/* Layers of experts (experts.c): after the other tensors of a table, and in the place of a layer's feed-forward. */
extern void te_llama_list_experts(const TeConfig *config, TeTensorSpecs *specs);
extern void te_llama_bind_experts(TeArena *arena, const TeModel *model, TeEncoder *decoder);
extern TeNode *te_llama_experts(TeGraph *graph, TeNode *x, const TeEncoderLayer *layer, const TeConfig *config);

extern void te_llama_gguf_tensors(const TeConfig *config, TeTensorList *list);

#endif							/* TE_LLAMA_H */
