/*-------------------------------------------------------------------------
 * image.c
 *	  Images: a model as one block of relocatable, immutable bytes.
 *
 *	  ImageHeader						fixed size, with configuration and pipeline
 *	  tables							ImageTensor[], name index, ImagePrompt[], labels, strings
 *	  tokenizer							as te_tokenizer_compile() lays it
 *	  weights							each 64-byte aligned, in the layout that kernels read
 *
 * Places are offsets from the image's start, so that it is the same at any
 * address.  An image is built once into zeroed memory that nobody else sees,
 * then mapped read-only by everybody.  Its header is written last.
 *
 * Checks.  te_image_valid() looks at the header in constant time: magic,
 * version, size, digest, its own hash.  te_image_view(), for attaching, also
 * hashes the tables (some kilobytes) and checks every place in them against
 * the image's size, so that a damaged or truncated image is an error.  Weights
 * and tokenizer are covered by the size only: hashing them at each attach
 * would read the whole model.
 *
 * The layout may change with any release.  Cached images of another one are passed over, by te_image_version().
 * That has the sizes of all that is stored as the compiler lays it, and how many numbers each list has whose
 * numbers are stored.  What it cannot see (members change places, a family reads its configuration otherwise, weights are
 * packed otherwise) IMAGE_LAYOUT counts; a test has hashes of images, and fails where it was forgotten.
 *-------------------------------------------------------------------------
 */
#include "model/model.h"

#define IMAGE_LAYOUT 11
#define IMAGE_CHUNK ((size_t) 1 << 20)	/* bytes of a tensor read at a time */
#define IMAGE_FREE UINT32_MAX	/* of the name index */

static const char image_magic[8] = {'T', 'E', 'I', 'M', 'A', 'G', 'E', '\n'};

typedef struct ImageSpan
{
	uint64_t	offset;
	uint64_t	len;
} ImageSpan;

typedef struct ImageDense
{
	ImageSpan	tensor;
	int32_t		n_in;
	int32_t		n_out;
	int32_t		bias;
	int32_t		activation;
} ImageDense;

typedef struct ImagePrompt
{
	ImageSpan	name;
	ImageSpan	text;
} ImagePrompt;

typedef struct ImageHead
{
	int32_t		kind;
	int32_t		row;
	int32_t		scoring;
	int32_t		pair_scoring;
	int32_t		pooling;
	int32_t		tied;
	int32_t		activations[TE_MAX_HEAD_LAYERS];
} ImageHead;

typedef struct ImageGeneration
{
	ImageSpan	chat_template;
	ImageSpan	bos_token;
	ImageSpan	eos_token;
	int32_t		begin_id;
	int32_t		adds_begin;
	int32_t		n_end;
	int32_t		end_ids[TE_MAX_ENDS];
	int32_t		zero;
} ImageGeneration;

typedef struct ImageTensor
{
	ImageSpan	name;
	ImageSpan	data;
	int64_t		n_out;
	int64_t		n_in;
	int32_t		dtype;
	int32_t		layout;
	int32_t		role;
	int32_t		zero;
} ImageTensor;

typedef struct ImageHeader
{
	char		magic[8];
	uint32_t	version;
	uint32_t	header_bytes;
	uint64_t	bytes;			/* of the whole image */
	uint8_t		digest[32];
	uint64_t	tables_hash;	/* of the tables, which follow the header */
	ImageSpan	tables;
	ImageSpan	architecture;
	ImageSpan	task;
	ImageSpan	tokenizer;		/* len 0: none */
	ImageSpan	tensors;		/* ImageTensor[] */
	ImageSpan	index;			/* uint32_t[], a power of two */
	ImageSpan	prompts;		/* ImagePrompt[] */
	ImageSpan	labels;			/* ImageSpan[] */
	TeConfig	config;
	ImageHead	head;
	int32_t		dimensions;
	int32_t		context_length;
	int32_t		max_tokens;
	int32_t		normalize;
	int32_t		default_prompt;
	int32_t		n_poolings;
	int32_t		pooling[TE_N_POOLINGS];
	int32_t		n_dense;
	ImageDense	dense[TE_MAX_DENSE];
	ImageGeneration generation;
	uint64_t	header_hash;	/* of what stands before it; last */
} ImageHeader;

struct TeImagePlan
{
	const TeModelDef *def;
	bool		training;		/* see te_image_plan_training() */
	ImageHeader header;
	TeBuffer	tables;			/* laid out as if it began at sizeof(ImageHeader) */
	TeBuffer	tokenizer;		/* the compiled form begins at tokenizer_start */
	size_t		tokenizer_start;
	size_t		n_tensors;
	ImageTensor *tensors;
};

uint32_t
te_image_version(void)
{
	/* The header's own size would not do: what a part of it grows by may go into padding. */
	const uint32_t parts[] = {
		IMAGE_LAYOUT, te_tokenizer_version(), TE_PANEL,
		sizeof(ImageHeader), sizeof(TeConfig), sizeof(ImageHead), sizeof(ImageDense), sizeof(ImagePrompt),
		sizeof(ImageGeneration), sizeof(ImageTensor),
		TE_MAX_HEAD_LAYERS, TE_MAX_DENSE, TE_MAX_ENDS, TE_N_POOLINGS, TE_N_HEADS, TE_N_ACTIVATIONS, TE_N_DTYPES,
	};

	return (uint32_t) te_hash(parts, sizeof(parts));
}

static uint64_t
header_hash(const ImageHeader *header)
{
	return te_hash(header, offsetof(ImageHeader, header_hash));
}

/* ---- planning ---- */

/* Room in the tables, 8-byte aligned; the image's offset of it. */
static ImageSpan
add_table(TeImagePlan *plan, const void *data, size_t len)
{
	ImageSpan	span;

	while ((sizeof(ImageHeader) + plan->tables.len) % 8 != 0)
		te_buffer_add(&plan->tables, "", 1);
	span.offset = sizeof(ImageHeader) + plan->tables.len;
	span.len = len;
	te_buffer_add(&plan->tables, data, len);
	return span;
}

static ImageSpan
add_string(TeImagePlan *plan, TeStr string)
{
	return add_table(plan, string.data, string.len);
}

/* The image's layout of a tensor: what te_linear reads is packed, embeddings too that are a head's weights, but not what training changes. */
static TeLayout
tensor_layout(const TeImagePlan *plan, const TeTensorSpec *spec, TeDtype dtype)
{
	if (plan->training && dtype == TE_F32)
		return TE_ROWS;
	return spec->role == TE_ROLE_LINEAR || spec->multiplied ? te_pack_layout(dtype, spec->n_in) : TE_ROWS;
}

static size_t
layout_bytes(TeLayout layout, TeDtype dtype, int64_t n_out, int64_t n_in)
{
	if (layout == TE_PANELS)
		return te_pack_bytes(dtype, n_out, n_in);
	return te_mul_size(n_out, te_row_bytes(dtype, n_in));
}

/* Describe all tensors but for their places. */
static void
plan_tensors(TeArena *arena, TeImagePlan *plan, const TeDefParts *parts)
{
	plan->tensors = te_new_array(arena, ImageTensor, parts->specs.n);
	for (size_t i = 0; i < parts->specs.n; i++)
	{
		const TeTensorSpec *spec = &parts->specs.specs[i];
		const TeTensorInfo *info = te_tensor_find(&plan->def->tensors, te_str(spec->name));
		ImageTensor *tensor;

		if (info == NULL)
			continue;
		tensor = &plan->tensors[plan->n_tensors++];
		tensor->name = add_string(plan, info->name);
		tensor->dtype = info->dtype;
		tensor->role = spec->role;
		tensor->layout = tensor_layout(plan, spec, info->dtype);
		tensor->n_out = spec->n_out;
		tensor->n_in = spec->n_in;
		tensor->data.len = layout_bytes((TeLayout) tensor->layout, info->dtype, spec->n_out, spec->n_in);
	}
}

/* Hash table of names to numbers, at most half full. */
static ImageSpan
plan_index(TeArena *arena, TeImagePlan *plan)
{
	size_t		size = 16;
	uint32_t   *index;

	while (size < 2 * plan->n_tensors)
		size *= 2;
	index = te_alloc(arena, size * sizeof(uint32_t));
	memset(index, 0xff, size * sizeof(uint32_t));
	for (size_t i = 0; i < plan->n_tensors; i++)
	{
		const ImageSpan *name = &plan->tensors[i].name;
		size_t		slot = te_hash(plan->tables.data + (name->offset - sizeof(ImageHeader)), name->len) & (size - 1);

		while (index[slot] != IMAGE_FREE)
			slot = (slot + 1) & (size - 1);
		index[slot] = (uint32_t) i;
	}
	return add_table(plan, index, size * sizeof(uint32_t));
}

static void
plan_pipeline(TeArena *arena, TeImagePlan *plan, const TePipeline *pipeline)
{
	ImageHeader *header = &plan->header;
	ImagePrompt *prompts = te_new_array(arena, ImagePrompt, pipeline->n_prompts);

	header->max_tokens = pipeline->max_tokens;
	header->normalize = pipeline->normalize;
	header->default_prompt = pipeline->default_prompt;
	header->n_poolings = pipeline->n_poolings;
	for (int i = 0; i < pipeline->n_poolings; i++)
		header->pooling[i] = pipeline->pooling[i];
	header->n_dense = pipeline->n_dense;
	for (int i = 0; i < pipeline->n_dense; i++)
	{
		const TeDense *dense = &pipeline->dense[i];

		header->dense[i] = (ImageDense) {
			add_string(plan, dense->tensor), dense->n_in, dense->n_out, dense->bias, dense->activation
		};
	}
	for (int i = 0; i < pipeline->n_prompts; i++)
	{
		prompts[i].name = add_string(plan, pipeline->prompts[i].name);
		prompts[i].text = add_string(plan, pipeline->prompts[i].text);
	}
	header->prompts = add_table(plan, prompts, pipeline->n_prompts * sizeof(ImagePrompt));
}

static void
plan_head(TeArena *arena, TeImagePlan *plan, const TeHead *head)
{
	ImageSpan  *labels = te_new_array(arena, ImageSpan, head->n_labels);

	for (int32_t i = 0; i < head->n_labels; i++)
		labels[i] = add_string(plan, head->labels[i]);
	plan->header.head = (ImageHead) {
		.kind = head->kind,
		.row = head->row,
		.scoring = head->scoring,
		.pair_scoring = head->pair_scoring,
		.pooling = head->pooling,
		.tied = head->tied,
	};
	for (int i = 0; i < TE_MAX_HEAD_LAYERS; i++)
		plan->header.head.activations[i] = head->activations[i];
	plan->header.labels = add_table(plan, labels, head->n_labels * sizeof(ImageSpan));
}

static void
plan_tokenizer(TeArena *arena, TeImagePlan *plan, const TeDefParts *parts)
{
	const TeJson *json;

	te_buffer_init(&plan->tokenizer, arena);
	if (plan->def->tokenizer.len == 0)
		return;
	json = te_json_parse(arena, plan->def->tokenizer, "tokenizer.json");
	plan->tokenizer_start = te_tokenizer_compile(arena, json, &plan->tokenizer);
	plan->header.tokenizer.len = plan->tokenizer.len - plan->tokenizer_start;
}

/* What the files say, and what the compiled tokenizer adds to it. */
static void
plan_generation(TeImagePlan *plan, TeGeneration generation)
{
	ImageGeneration *into = &plan->header.generation;

	if (plan->header.head.kind == TE_HEAD_CAUSAL && plan->header.tokenizer.len > 0)
		te_generation_complete(te_tokenizer_attach(plan->tokenizer.data + plan->tokenizer_start, plan->header.tokenizer.len),
							   plan->header.config.vocab_size, &generation);
	into->chat_template = add_string(plan, generation.chat_template);
	into->bos_token = add_string(plan, generation.bos_token);
	into->eos_token = add_string(plan, generation.eos_token);
	into->begin_id = generation.begin_id;
	into->adds_begin = generation.adds_begin;
	into->n_end = (int32_t) generation.n_end;
	memcpy(into->end_ids, generation.end_ids, sizeof(into->end_ids));
}

static TeImagePlan *
plan_image(TeArena *arena, const TeModelDef *def, const uint8_t digest[32], bool training, uint64_t *bytes)
{
	TeImagePlan *plan = te_new(arena, TeImagePlan);
	ImageHeader *header = &plan->header;
	TeDefParts	parts;
	uint64_t	end;

	plan->def = def;
	plan->training = training;
	te_buffer_init(&plan->tables, arena);
	te_def_parts(arena, def, &parts);
	memcpy(header->magic, image_magic, sizeof(image_magic));
	header->version = te_image_version();
	header->header_bytes = sizeof(ImageHeader);
	memcpy(header->digest, digest, sizeof(header->digest));
	header->config = parts.config;
	header->dimensions = def->dimensions;
	header->context_length = def->context_length;
	header->architecture = add_string(plan, def->architecture);
	header->task = add_string(plan, def->task);
	plan_pipeline(arena, plan, &parts.pipeline);
	plan_head(arena, plan, &parts.head);
	plan_tensors(arena, plan, &parts);
	header->index = plan_index(arena, plan);
	plan_tokenizer(arena, plan, &parts);
	plan_generation(plan, parts.pipeline.generation);

	/* Places: the tensor table is the last of the tables, since it says where the weights are. */
	header->tensors = add_table(plan, plan->tensors, plan->n_tensors * sizeof(ImageTensor));
	header->tables = (ImageSpan) {sizeof(ImageHeader), plan->tables.len};
	end = TE_ALIGN(header->tables.offset + header->tables.len, TE_CACHE_LINE);
	header->tokenizer.offset = end;
	end = TE_ALIGN(te_add_size(end, header->tokenizer.len), TE_CACHE_LINE);
	for (size_t i = 0; i < plan->n_tensors; i++)
	{
		plan->tensors[i].data.offset = end;
		end = TE_ALIGN(te_add_size(end, plan->tensors[i].data.len), TE_CACHE_LINE);
	}
	memcpy(plan->tables.data + (header->tensors.offset - sizeof(ImageHeader)), plan->tensors,
		   plan->n_tensors * sizeof(ImageTensor));
	header->bytes = end;
	header->tables_hash = te_hash(plan->tables.data, plan->tables.len);
	header->header_hash = header_hash(header);
	*bytes = end;
	return plan;
}

TeImagePlan *
te_image_plan(TeArena *arena, const TeModelDef *def, const uint8_t digest[32], uint64_t *bytes)
{
	return plan_image(arena, def, digest, false, bytes);
}

TeImagePlan *
te_image_plan_training(TeArena *arena, const TeModelDef *def, uint64_t *bytes)
{
	static const uint8_t no_digest[32];

	return plan_image(arena, def, no_digest, true, bytes);
}

/* ---- building ---- */

/* A chunk of rows on its way into panels; a task is a panel. */
typedef struct PackChunk
{
	const ImageTensor *tensor;
	const char *rows;
	int64_t		first;			/* row of the tensor, a multiple of TE_PANEL */
	int64_t		n_rows;
	void	   *packed;
} PackChunk;

static void
pack_task(void *arg, size_t task, int worker)
{
	const PackChunk *chunk = arg;
	const ImageTensor *tensor = chunk->tensor;
	size_t		row_bytes = te_checked_row_bytes((TeDtype) tensor->dtype, tensor->n_in);
	int64_t		skip = (int64_t) task * TE_PANEL;

	te_pack_rows((TeDtype) tensor->dtype, tensor->n_out, tensor->n_in, chunk->first + skip,
				 TE_MIN(TE_PANEL, chunk->n_rows - skip), chunk->rows + skip * row_bytes, chunk->packed);
}

/* Rows of a packed tensor, a chunk of whole panels at a time. */
static void
build_panels(TeArena *arena, const ImageTensor *tensor, const TeTensorInfo *info, void *packed)
{
	uint64_t	row_bytes = te_row_bytes(info->dtype, tensor->n_in);
	int64_t		step = TE_ALIGN(te_tensor_chunk_rows(info, IMAGE_CHUNK), TE_PANEL);
	char	   *rows = te_alloc(arena, te_mul_size(TE_MIN(step, tensor->n_out), row_bytes));

	for (int64_t first = 0; first < tensor->n_out; first += step)
	{
		PackChunk	chunk = {tensor, rows, first, TE_MIN(step, tensor->n_out - first), packed};

		te_check_interrupts();
		te_source_read(info->source, info->offset + first * row_bytes, rows, chunk.n_rows * row_bytes);
		te_parallel_for((chunk.n_rows + TE_PANEL - 1) / TE_PANEL, pack_task, &chunk);
	}
}

/* Rows as they are, straight to their place. */
static void
build_rows(const ImageTensor *tensor, const TeTensorInfo *info, char *to)
{
	uint64_t	row_bytes = te_row_bytes(info->dtype, tensor->n_in);
	int64_t		step = te_tensor_chunk_rows(info, IMAGE_CHUNK);

	for (int64_t first = 0; first < tensor->n_out; first += step)
	{
		int64_t		n_rows = TE_MIN(step, tensor->n_out - first);

		te_check_interrupts();
		te_source_read(info->source, info->offset + first * row_bytes, to + first * row_bytes, n_rows * row_bytes);
	}
}

void
te_image_build(TeArena *arena, TeImagePlan *plan, void *memory)
{
	char	   *image = memory;
	TeArena    *scratch = te_arena_create(arena, "image");

	memcpy(image + sizeof(ImageHeader), plan->tables.data, plan->tables.len);
	if (plan->header.tokenizer.len > 0)
		memcpy(image + plan->header.tokenizer.offset, plan->tokenizer.data + plan->tokenizer_start,
			   plan->header.tokenizer.len);
	for (size_t i = 0; i < plan->n_tensors; i++)
	{
		const ImageTensor *tensor = &plan->tensors[i];
		TeStr		name = {plan->tables.data + (tensor->name.offset - sizeof(ImageHeader)), tensor->name.len};
		const TeTensorInfo *info = te_tensor_find(&plan->def->tensors, name);

		if (tensor->layout == TE_PANELS)
			build_panels(scratch, tensor, info, image + tensor->data.offset);
		else
			build_rows(tensor, info, image + tensor->data.offset);
		te_arena_reset(scratch);
	}
	te_arena_destroy(scratch);
	memcpy(image, &plan->header, sizeof(ImageHeader));
}

/* ---- checking ---- */

/* NULL, or what is wrong with the header. */
static const char *
header_fault(const void *memory, uint64_t bytes)
{
	const ImageHeader *header = memory;

	if (bytes < sizeof(ImageHeader) || ((uintptr_t) memory & (TE_CACHE_LINE - 1)) != 0)
		return "is too short or not aligned";
	if (memcmp(header->magic, image_magic, sizeof(image_magic)) != 0)
		return "does not begin as one";
	if (header->version != te_image_version() || header->header_bytes != sizeof(ImageHeader))
		return "has the layout of another version";
	if (header->bytes != bytes)
		return "has another size than its header says";
	if (header->header_hash != header_hash(header))
		return "has a damaged header";
	return NULL;
}

bool
te_image_valid(const void *memory, uint64_t bytes, const uint8_t digest[32])
{
	return header_fault(memory, bytes) == NULL
		&& memcmp(((const ImageHeader *) memory)->digest, digest, 32) == 0;
}

/* A place of the image, checked; align is a power of two. */
static const void *
span_data(const ImageHeader *header, ImageSpan span, size_t align)
{
	if (span.offset > header->bytes || span.len > header->bytes - span.offset || span.offset % align != 0)
		te_throw(TE_ERR_CORRUPT, "model image has a place beyond its end");
	return (const char *) header + span.offset;
}

static TeStr
span_str(const ImageHeader *header, ImageSpan span)
{
	return (TeStr) {span_data(header, span, 1), span.len};
}

/* One row of the tensor table as a weight. */
static void
view_tensor(const ImageHeader *header, const ImageTensor *tensor, TeImageView *view, size_t i)
{
	const void *data = span_data(header, tensor->data, TE_CACHE_LINE);

	if (tensor->dtype < 0 || tensor->dtype >= TE_N_DTYPES || te_dtypes[tensor->dtype].to_float == NULL
		|| (tensor->layout != TE_ROWS && tensor->layout != TE_PANELS)
		|| tensor->n_out < 1 || tensor->n_in < 1
		|| tensor->data.len != layout_bytes((TeLayout) tensor->layout, (TeDtype) tensor->dtype, tensor->n_out,
											tensor->n_in))
		te_throw(TE_ERR_CORRUPT, "model image describes a tensor that cannot be");
	view->names[i] = span_str(header, tensor->name);
	view->weights[i] = (TeWeight) {
		.dtype = (TeDtype) tensor->dtype,
		.layout = (TeLayout) tensor->layout,
		.n_out = tensor->n_out,
		.n_in = tensor->n_in,
		.data = data,
	};
	if (tensor->role == TE_ROLE_LINEAR)
		view->n_linear_elements += tensor->n_out * tensor->n_in;
}

static void
view_tensors(TeArena *arena, const ImageHeader *header, TeImageView *view)
{
	const ImageTensor *tensors = span_data(header, header->tensors, 8);
	size_t		n_used = 0;

	view->n_tensors = header->tensors.len / sizeof(ImageTensor);
	view->index = span_data(header, header->index, 8);
	view->index_size = header->index.len / sizeof(uint32_t);
	if (view->index_size < 2 * view->n_tensors || view->index_size == 0
		|| (view->index_size & (view->index_size - 1)) != 0)
		te_throw(TE_ERR_CORRUPT, "model image has a damaged name index");
	for (size_t i = 0; i < view->index_size; i++)
	{
		if (view->index[i] == IMAGE_FREE)
			continue;
		if (view->index[i] >= view->n_tensors || ++n_used > view->n_tensors)
			te_throw(TE_ERR_CORRUPT, "model image has a damaged name index");
	}
	view->weights = te_new_array(arena, TeWeight, view->n_tensors);
	view->names = te_new_array(arena, TeStr, view->n_tensors);
	for (size_t i = 0; i < view->n_tensors; i++)
		view_tensor(header, &tensors[i], view, i);
}

static void
view_pipeline(const ImageHeader *header, TePipeline *pipeline)
{
	const ImagePrompt *prompts = span_data(header, header->prompts, 8);

	pipeline->n_poolings = header->n_poolings;
	pipeline->n_dense = header->n_dense;
	pipeline->n_prompts = header->prompts.len / sizeof(ImagePrompt);
	if (pipeline->n_poolings < 0 || pipeline->n_poolings > TE_N_POOLINGS
		|| pipeline->n_dense < 0 || pipeline->n_dense > TE_MAX_DENSE
		|| pipeline->n_prompts > TE_MAX_PROMPTS || header->default_prompt >= pipeline->n_prompts)
		te_throw(TE_ERR_CORRUPT, "model image has a damaged pipeline");
	for (int i = 0; i < pipeline->n_poolings; i++)
		pipeline->pooling[i] = (TePooling) header->pooling[i];
	for (int i = 0; i < pipeline->n_dense; i++)
	{
		const ImageDense *dense = &header->dense[i];

		pipeline->dense[i] = (TeDense) {
			span_str(header, dense->tensor), dense->n_in, dense->n_out, dense->bias != 0,
			(TeActivation) dense->activation
		};
	}
	for (int i = 0; i < pipeline->n_prompts; i++)
		pipeline->prompts[i] = (TePrompt) {span_str(header, prompts[i].name), span_str(header, prompts[i].text)};
	pipeline->normalize = header->normalize != 0;
	pipeline->max_tokens = header->max_tokens;
	pipeline->default_prompt = header->default_prompt;
}

/* Ids index embeddings: none may be beyond the vocabulary. */
static void
view_generation(const ImageHeader *header, TeGeneration *into)
{
	const ImageGeneration *generation = &header->generation;
	bool		damaged = generation->n_end < 0 || generation->n_end > TE_MAX_ENDS || generation->begin_id < -1 ||
		generation->begin_id >= TE_MAX(header->config.vocab_size, 1);

	te_generation_none(into);
	for (int32_t i = 0; !damaged && i < generation->n_end; i++)
	{
		into->end_ids[i] = generation->end_ids[i];
		damaged = into->end_ids[i] < 0 || into->end_ids[i] >= header->config.vocab_size;
	}
	if (damaged)
		te_throw(TE_ERR_CORRUPT, "model image has damaged tokens that begin and end a text");
	into->n_end = (size_t) generation->n_end;
	into->chat_template = span_str(header, generation->chat_template);
	into->bos_token = span_str(header, generation->bos_token);
	into->eos_token = span_str(header, generation->eos_token);
	into->begin_id = generation->begin_id;
	into->adds_begin = generation->adds_begin != 0;
}

/* Which layers the head has, the architecture knows (te_head_bind). */
static void
view_head(TeArena *arena, const ImageHeader *header, TeHead *into)
{
	const ImageHead *head = &header->head;
	const ImageSpan *spans = span_data(header, header->labels, 8);
	size_t		n = header->labels.len / sizeof(ImageSpan);
	TeStr	   *labels = te_new_array(arena, TeStr, n);
	bool		damaged = head->kind < TE_HEAD_NONE || head->kind >= TE_N_HEADS || n > TE_MAX_LABELS
		|| head->scoring < TE_SCORE_SOFTMAX || head->scoring > TE_SCORE_IDENTITY
		|| head->pair_scoring < TE_SCORE_SOFTMAX || head->pair_scoring > TE_SCORE_IDENTITY
		|| head->pooling < 0 || head->pooling >= TE_N_POOLINGS || (int64_t) n != header->config.n_labels
		|| te_head_names_outputs((TeHeadKind) head->kind) != (n > 0);

	for (int i = 0; i < TE_MAX_HEAD_LAYERS; i++)
	{
		damaged |= head->activations[i] < 0 || head->activations[i] >= TE_N_ACTIVATIONS;
		into->activations[i] = (TeActivation) head->activations[i];
	}
	if (damaged)
		te_throw(TE_ERR_CORRUPT, "model image has a damaged head");
	for (size_t i = 0; i < n; i++)
		labels[i] = span_str(header, spans[i]);
	into->kind = (TeHeadKind) head->kind;
	into->row = head->row;
	into->scoring = (TeScoring) head->scoring;
	into->pair_scoring = (TeScoring) head->pair_scoring;
	into->pooling = (TePooling) head->pooling;
	into->tied = head->tied != 0;
	into->n_labels = (int32_t) n;
	into->labels = labels;
}

void
te_image_view(TeArena *arena, const void *image, uint64_t bytes, TeImageView *view)
{
	const ImageHeader *header = image;
	const char *fault = header_fault(image, bytes);

	if (fault != NULL)
		te_throw(TE_ERR_CORRUPT, "model image %s", fault);
	if (te_hash(span_data(header, header->tables, 1), header->tables.len) != header->tables_hash)
		te_throw(TE_ERR_CORRUPT, "model image has damaged tables");
	memset(view, 0, sizeof(*view));
	view->architecture = span_str(header, header->architecture);
	view->task = span_str(header, header->task);
	view->config = &header->config;
	view->dimensions = header->dimensions;
	view->context_length = header->context_length;
	if (header->tokenizer.len > 0)
		view->tokenizer = (TeStr) {span_data(header, header->tokenizer, TE_CACHE_LINE), header->tokenizer.len};
	view_tensors(arena, header, view);
	view_pipeline(header, &view->pipeline);
	view_generation(header, &view->pipeline.generation);
	view_head(arena, header, &view->head);
}
