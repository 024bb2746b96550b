/*-------------------------------------------------------------------------
 * generate_beams.c
 *	  Beam search: of a row several texts go on together, and the best of those that ended is the result.
 *
 * As transformers does it (GenerationMixin._beam_search() without early stopping).  Each running text proposes its best tokens;
 * of all proposals the best go on, as many as there are beams.  One that ends (by the model, a text to stop at, its grammar
 * or its length) while it is among the first `beams` proposals joins the finished ones, whose score is the sum of log
 * probabilities over length ^ length_penalty, and of which the best `beams` are kept.  It is over when no running text can pass
 * the worst of these.
 *
 * Running texts share the pages of what they have in common; one that goes on in two ways has its last page copied.  The
 * texts of a step are made anew in one of two arenas, out of those in the other.
 *-------------------------------------------------------------------------
 */
#include "model/generate.h"

#include <math.h>
#include <stdlib.h>

typedef struct Finished
{
	double		score;
	double		logprob;
	TeFinish	finish;
	int32_t    *ids;
	size_t		n_ids;
	TeStr		text;
} Finished;

/* A token that may come next. */
typedef struct Proposal
{
	double		score;			/* with all before it */
	size_t		from;			/* running text */
	int32_t		id;
} Proposal;

struct TeBeams
{
	size_t		n;
	bool		begun;			/* `running` counts; before, the row's own branch is computed */
	TeArena    *arenas[2];		/* the running texts are in the first */
	TeBranch   *running;
	size_t		n_running;
	Finished   *finished;		/* best first */
	size_t		n_finished;
};

TeBeams *
te_beams_create(TeGenerateRow *row)
{
	TeBeams    *beams = te_new(row->arena, TeBeams);

	beams->n = (size_t) row->options.beams;
	beams->finished = te_new_array(row->arena, Finished, beams->n + 1);
	for (int i = 0; i < 2; i++)
		beams->arenas[i] = te_arena_create(row->arena, "beams");
	return beams;
}

size_t
te_beams_work(TeGenerator *generator, TeGenerateRow *row, TeWork *works)
{
	TeBeams    *beams = row->beams;
	TeBranch   *branches = beams->begun ? beams->running : &row->branch;
	size_t		n = beams->begun ? beams->n_running : 1;

	for (size_t i = 0; i < n; i++)
	{
		TeSequence *sequence = &branches[i].sequence;
		size_t		todo = TE_MIN((size_t) TE_PROMPT_TOKENS, branches[i].n_ids - sequence->n_cached);

		if (!te_sequence_reserve(generator->cache, sequence, sequence->n_cached + todo))
			te_throw_hint(TE_ERR_LIMIT, NULL, "Raise transformer.kv_cache, or ask for fewer beams.",
						  "keys and values of %zu beams do not fit into their memory", beams->n);
		works[i] = (TeWork) {.sequence = sequence,.ids = branches[i].ids,.n_ids = branches[i].n_ids,.n = todo};
		works[i].n_wanted = sequence->n_cached + todo == branches[i].n_ids;
	}
	return n;
}

static void keep_finished(TeGenerateRow *row, const TeBranch *branch, double logprob, TeFinish finish, bool ends, bool stopped);

/* ---- proposals ---- */

static int
compare_proposals(const void *a, const void *b)
{
	const Proposal *x = a;
	const Proposal *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* The best of all, best first; as many as may be looked at. */
static Proposal *
propose(TeGenerator *generator, TeGenerateRow *row, TeBranch *branches, TeWork *works, size_t n_works, size_t *n)
{
	size_t		n_end = te_model_pipeline(generator->model)->generation.n_end;
	size_t		keep = TE_MAX((size_t) 2, 1 + n_end) * row->beams->n;
	Proposal   *proposals = te_new_array(generator->scratch, Proposal, keep * n_works);
	int32_t    *ids = te_new_array(generator->scratch, int32_t, keep);
	double	   *logprobs = te_new_array(generator->scratch, double, keep);

	*n = 0;
	for (size_t i = 0; i < n_works; i++)
	{
		const uint64_t *allowed = te_branch_allowed(generator, row, &branches[i]);
		size_t		n_best;

		if (te_nothing_follows(generator, allowed))
		{
			keep_finished(row, &branches[i], branches[i].logprob, TE_FINISH_COMPLETE, false, false);
			continue;
		}
		n_best = te_sampler_best(branches[i].sampler, works[i].logits, allowed, keep, ids, logprobs);
		for (size_t j = 0; j < n_best; j++)
			proposals[(*n)++] = (Proposal) {.score = branches[i].logprob + logprobs[j],.from = i,.id = ids[j]};
	}
	qsort(proposals, *n, sizeof(Proposal), compare_proposals);
	*n = TE_MIN(*n, keep);
	return proposals;
}

/* ---- texts ---- */

static void
copy_branch(TeGenerator *generator, TeArena *arena, const TeBranch *from, TeBranch *to)
{
	*to = (TeBranch) {.sequence.arena = arena,.n_ids = from->n_ids,.capacity = from->n_ids + 16,.logprob = from->logprob};
	if (!te_sequence_fork(generator->cache, &from->sequence, &to->sequence))
		te_throw_hint(TE_ERR_LIMIT, NULL, "Raise transformer.kv_cache, or ask for fewer beams.",
					  "keys and values of all beams do not fit into their memory");
	to->ids = te_new_array(arena, int32_t, to->capacity);
	memcpy(to->ids, from->ids, from->n_ids * sizeof(int32_t));
	to->sampler = te_sampler_copy(arena, from->sampler);
	if (from->constraint != NULL)
		to->constraint = te_constraint_copy(arena, from->constraint);
	to->stream = te_text_stream_copy(arena, from->stream);
	te_buffer_init(&to->text, arena);
	te_buffer_add(&to->text, from->text.data, from->text.len);
}

/* A text has ended: among the best that did, or forgotten.  ends: by a token that is not in it but counts. */
static void
keep_finished(TeGenerateRow *row, const TeBranch *branch, double logprob, TeFinish finish, bool ends, bool stopped)
{
	TeBeams    *beams = row->beams;
	size_t		length = branch->n_ids - row->n_prompt + ends;
	double		score = logprob / pow((double) length, row->options.length_penalty);
	size_t		at = beams->n_finished;
	Finished   *finished;
	TeBuffer	text;

	if (at == beams->n && !(score > beams->finished[at - 1].score))
		return;
	for (; at > 0 && score > beams->finished[at - 1].score; at--)
		beams->finished[at] = beams->finished[at - 1];
	finished = &beams->finished[at];
	beams->n_finished = TE_MIN(beams->n_finished + 1, beams->n);

	te_buffer_init(&text, row->arena);
	te_buffer_add(&text, branch->text.data, branch->text.len);
	if (!stopped)
	{
		TeStr		rest = te_text_stream_end(te_text_stream_copy(row->arena, branch->stream));

		te_buffer_add(&text, rest.data, rest.len);
	}
	*finished = (Finished) {.score = score,.logprob = logprob,.finish = finish,.n_ids = branch->n_ids,.text = {text.data, text.len}};
	finished->ids = te_new_array(row->arena, int32_t, branch->n_ids);
	memcpy(finished->ids, branch->ids, branch->n_ids * sizeof(int32_t));
}

/* Go on from a text with a token: a running text more, or a finished one where it is among the first. */
static void
go_on(TeGenerator *generator, TeGenerateRow *row, const TeBranch *from, const Proposal *proposal, bool first, TeBranch *next, size_t *n_next)
{
	TeBranch   *branch = &next[*n_next];
	size_t		text_before = from->text.len;
	TeFinish	finish;
	bool		stopped;

	copy_branch(generator, row->beams->arenas[1], from, branch);
	te_branch_append(row->beams->arenas[1], branch, proposal->id);
	branch->logprob = proposal->score;
	finish = te_branch_finished(row, branch, text_before, &stopped);
	if (finish == TE_FINISH_NONE)
	{
		(*n_next)++;
		return;
	}
	if (first)
		keep_finished(row, branch, proposal->score, finish, false, stopped);
	te_sequence_end(generator->cache, &branch->sequence, NULL);
}

/* ---- a step ---- */

/* May a running text still pass the worst of those that are finished? */
static bool
can_improve(const TeGenerateRow *row)
{
	const TeBeams *beams = row->beams;
	double		length;

	if (beams->n_running == 0)
		return false;
	if (beams->n_finished < beams->n)
		return true;
	length = (double) (beams->running[0].n_ids - row->n_prompt);
	return beams->running[0].logprob / pow(length, row->options.length_penalty) > beams->finished[beams->n - 1].score;
}

/* The best becomes the row's text. */
static void
conclude(TeGenerator *generator, TeGenerateRow *row)
{
	TeBeams    *beams = row->beams;
	TeBranch   *branch = &row->branch;
	Finished   *best = &beams->finished[0];

	te_assert(beams->n_finished > 0);
	branch->ids = best->ids;
	branch->n_ids = best->n_ids;
	branch->logprob = best->logprob;
	branch->text.len = 0;
	te_buffer_add(&branch->text, best->text.data, best->text.len);
	row->stopped = true;
	te_generator_finish(generator, row, best->finish);
}

static void
end_running(TeGenerator *generator, TeBranch *branches, size_t n)
{
	for (size_t i = 0; i < n; i++)
		te_sequence_end(generator->cache, &branches[i].sequence, NULL);
}

void
te_beams_advance(TeGenerator *generator, TeGenerateRow *row, TeWork *works, size_t n_works)
{
	TeBeams    *beams = row->beams;
	TeBranch   *branches = beams->begun ? beams->running : &row->branch;
	TeBranch   *next;
	size_t		n_next = 0;
	Proposal   *proposals;
	size_t		n;
	TeArena    *old = beams->arenas[0];

	for (size_t i = 0; i < n_works; i++)
		te_sequence_computed(generator->cache, works[i].sequence, works[i].ids, works[i].sequence->n_cached + works[i].n);
	if (works[0].n_wanted == 0)
		return;
	next = te_new_array(beams->arenas[1], TeBranch, beams->n + 1);
	proposals = propose(generator, row, branches, works, n_works, &n);
	for (size_t i = 0; i < n && (i < beams->n || n_next < beams->n); i++)
	{
		const TeBranch *from = &branches[proposals[i].from];

		if (!te_ends_text(generator, proposals[i].id))
		{
			if (n_next < beams->n)
				go_on(generator, row, from, &proposals[i], i < beams->n, next, &n_next);
		}
		else if (i < beams->n)
			keep_finished(row, from, proposals[i].score, TE_FINISH_END, true, false);
	}
	end_running(generator, branches, n_works);
	beams->begun = true;
	beams->running = next;
	beams->n_running = n_next;
	beams->arenas[0] = beams->arenas[1];
	beams->arenas[1] = old;
	te_arena_reset(old);
	if (!can_improve(row))
		conclude(generator, row);
}

void
te_beams_end(TeGenerator *generator, TeGenerateRow *row)
{
	TeBeams    *beams = row->beams;

	if (beams->begun)
		end_running(generator, beams->running, beams->n_running);
	else
		te_sequence_end(generator->cache, &row->branch.sequence, NULL);
	beams->n_running = 0;
}
