/*-------------------------------------------------------------------------
 * tokens.h
 *	  The tokens of a vocabulary as bytes, for constraints.
 *-------------------------------------------------------------------------
 */
#ifndef TE_TOKENS_H
#define TE_TOKENS_H

#include "model/grammar_impl.h"

typedef struct TeTokenNode
{
	uint32_t	skip;			/* the next node that is not below this one */
	uint32_t	first;			/* its tokens are ids[first] up to the next node's first */
	uint16_t	depth;			/* bytes up to here */
	uint8_t		byte;			/* the last of them */
} TeTokenNode;

typedef struct TeTokenTree
{
	uint32_t	n_nodes;
	TeTokenNode *nodes;			/* preorder; 0 is the root; one more behind the last */
	uint32_t	n_ids;
	int32_t    *ids;			/* by their bytes */
	uint32_t	roots[256];		/* the node of a first byte, 0: none */
	size_t		longest;		/* bytes of a token */
} TeTokenTree;

struct TeTokens
{
	int			n_vocab;		/* logits of the model */
	size_t		n;				/* ids that have a logit and may be a token */
	const TeStr *texts;			/* of a token within a text; {NULL, 0}: it is none */
	const TeStr *first_texts;	/* the same for the first token of a text */
	TeTokenTree *tree;
	TeTokenTree *first_tree;	/* the same one where there is no difference */
	bool		all_bytes;		/* of other characters than ASCII, each is a token */
	TeCharClass characters;		/* that can be written by themselves */
	const TeCharClass *usable;	/* the same, NULL where it is all of them */
};

#endif							/* TE_TOKENS_H */
