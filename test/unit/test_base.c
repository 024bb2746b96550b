/*-------------------------------------------------------------------------
 * test_base.c
 *	  Arenas, buffers, sources, cursors, folders; and the standalone host.
 *-------------------------------------------------------------------------
 */
#include "harness.h"

TEST(allocations_are_aligned)
{
	for (size_t size = 0; size < 2000; size = size * 3 / 2 + 1)
	{
		char	   *p = te_alloc(arena, size);

		CHECK((uintptr_t) p % (size >= 256 ? 64 : 16) == 0);
		memset(p, 0xaa, size);
	}
	for (int i = 0; i < 20; i++)
	{
		char	   *p = te_alloc(arena, (size_t) 1 << i);

		CHECK((uintptr_t) p % ((1 << i) >= 256 ? 64 : 16) == 0);
		memset(p, i, (size_t) 1 << i);
	}
	CHECK(te_alloc(arena, 0) != NULL);
}

TEST(zeroed_allocations)
{
	int		   *p = te_new_array(arena, int, 1000);

	memset(p, 0xff, 1000 * sizeof(int));
	te_arena_reset(arena);
	p = te_new_array(arena, int, 1000);
	for (int i = 0; i < 1000; i++)
		CHECK(p[i] == 0);
	CHECK_THROWS(TE_ERR_CORRUPT, te_new_array(arena, int, SIZE_MAX / 2));
	CHECK_THROWS(TE_ERR_LIMIT, te_alloc(arena, SIZE_MAX - 8));
}

TEST(children_go_with_their_parent)
{
	size_t		blocks = te_std_blocks();
	size_t		bytes = te_arena_bytes(arena);
	TeArena    *parent = te_arena_create(arena, "parent");
	TeArena    *kept = te_arena_create(arena, "kept");

	for (int i = 0; i < 5; i++)
	{
		TeArena    *child = te_arena_create(parent, "child");

		te_alloc(child, 100000);
		te_alloc(te_arena_create(child, "grandchild"), 10);
		if (i == 2)
			te_arena_destroy(child);
	}
	te_alloc(kept, 10);
	CHECK(te_arena_bytes(parent) > 400000);
	CHECK(te_arena_bytes(arena) > te_arena_bytes(parent));
	te_arena_destroy(parent);
	te_arena_destroy(kept);
	CHECK(te_std_blocks() == blocks);
	CHECK(te_arena_bytes(arena) == bytes);
}

TEST(reset_keeps_a_block)
{
	TeArena    *step = te_arena_create(arena, "step");
	uint64_t	allocations;

	for (int round = 0; round < 3; round++)
	{
		te_alloc(step, 3000000);
		for (int i = 0; i < 100; i++)
			te_alloc(step, 1000);
		te_arena_reset(step);
	}
	allocations = te_std_allocations();
	te_alloc(step, 3000000);
	for (int i = 0; i < 100; i++)
		te_alloc(step, 1000);
	CHECK(te_std_allocations() == allocations);
}

TEST(blocks_that_resets_kept_give_way)
{
	TeArena    *root = te_arena_create_root(NULL, "session", 1000000, NULL);
	TeArena    *step = te_arena_create(root, "step");
	TeArena    *other = te_arena_create(root, "other");

	te_alloc(step, 300000);
	te_alloc(other, 300000);
	te_arena_reset(step);
	te_arena_reset(other);
	CHECK(te_arena_bytes(root) > 600000);
	CHECK(te_arena_fits(step, 800000));
	te_alloc(step, 800000);
	CHECK(!te_arena_fits(step, 300000) && !te_arena_fits(other, 300000) && te_arena_fits(other, 100000));
	te_alloc(other, 100000);
	CHECK_THROWS(TE_ERR_LIMIT, te_alloc(other, 300000));

	/* one that has begun to be used does not, unless it is cleared */
	te_arena_reset(step);
	te_arena_reset(other);
	te_alloc(step, 500000);
	te_arena_reset(step);
	te_alloc(step, 20000);
	CHECK(!te_arena_fits(step, 790000));
	te_arena_clear(step);
	CHECK(te_arena_bytes(step) < 20000);
	te_alloc(step, 20000);
	CHECK(te_arena_fits(step, 790000));
	te_alloc(step, 790000);
	te_arena_destroy(root);
}

TEST(limit_of_a_root)
{
	TeArena    *root = te_arena_create_root(NULL, "session", 200000, "Raise the setting.");
	TeArena    *child = te_arena_create(root, "child");
	size_t		small = 0;

	CHECK_THROWS_LIKE(TE_ERR_LIMIT, "session needs more memory than its limit of 195 kB", te_alloc(child, 200000));
	CHECK(strcmp(te_std_error()->hint, "Raise the setting.") == 0);
	te_alloc(child, 100000);
	CHECK_THROWS(TE_ERR_LIMIT, te_alloc(root, 100000));
	TE_TRY
	{
		for (;;)
		{
			te_alloc(child, 1000);
			small++;
		}
	}
	TE_CATCH
	{
		CHECK(te_std_error()->code == TE_ERR_LIMIT);
	}
	TE_END_TRY;
	CHECK(te_arena_bytes(root) <= 200000 && te_arena_bytes(root) > 190000);
	te_arena_reset(root);
	te_alloc(root, 100000);
	te_arena_destroy(root);
}

TEST(sizes_are_checked)
{
	CHECK(te_mul_size(3, 4) == 12);
	CHECK(te_add_size(3, 4) == 7);
	CHECK_THROWS(TE_ERR_CORRUPT, te_mul_size(SIZE_MAX, 2));
	CHECK_THROWS(TE_ERR_CORRUPT, te_add_size(SIZE_MAX, 1));
}

TEST(strings)
{
	CHECK(te_str_eq(TE_STR("abc"), te_str("abc")));
	CHECK(te_str_eq((TeStr) {NULL, 0}, TE_STR("")));
	CHECK(te_str_starts(TE_STR("model.safetensors"), "model."));
	CHECK(te_str_ends(TE_STR("model.safetensors"), ".safetensors"));
	CHECK(!te_str_ends(TE_STR("s"), "safetensors"));
	CHECK_STR(te_str_copy(arena, TE_STR("copy")), "copy");
	CHECK(strcmp(te_cstring(arena, (TeStr) {"abcdef", 3}), "abc") == 0);
	CHECK(te_hash("", 0) == UINT64_C(0xcbf29ce484222325));
	CHECK(te_hash("foobar", 6) == UINT64_C(0x85944171f73967e8));
	CHECK(te_utf8_valid(TE_STR("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")));
	CHECK(!te_utf8_valid(TE_STR("\xc0\x80")));
	CHECK(!te_utf8_valid(TE_STR("\xed\xa0\x80")));
	CHECK(!te_utf8_valid(TE_STR("\xf4\x90\x80\x80")));
	CHECK(!te_utf8_valid(TE_STR("\xe2\x82")));
	CHECK(strcmp(te_format(arena, "%d %s %.2f", 5, "x", 1.5), "5 x 1.50") == 0);
}

TEST(buffers_grow)
{
	TeBuffer	buffer;

	te_buffer_init(&buffer, arena);
	for (int i = 0; i < 10000; i++)
		te_buffer_add(&buffer, &i, sizeof(i));
	te_buffer_add(&buffer, NULL, 0);
	CHECK(buffer.len == 10000 * sizeof(int));
	for (int i = 0; i < 10000; i++)
		CHECK(memcmp(buffer.data + (size_t) i * sizeof(int), &i, sizeof(int)) == 0);
	CHECK_THROWS(TE_ERR_CORRUPT, te_buffer_extend(&buffer, SIZE_MAX));
}

TEST(sources_are_bounded)
{
	TeSource	source = te_source_memory("numbers", "0123456789", 10);
	char		into[16];

	te_source_read(&source, 4, into, 6);
	CHECK(memcmp(into, "456789", 6) == 0);
	te_source_read(&source, 10, into, 0);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"numbers\"", te_source_read(&source, 4, into, 7));
	CHECK_THROWS(TE_ERR_CORRUPT, te_source_read(&source, UINT64_MAX, into, 2));
	CHECK_STR(te_source_whole(arena, &source, 10), "0123456789");
	CHECK_THROWS(TE_ERR_CORRUPT, te_source_whole(arena, &source, 9));
}

TEST(sinks_and_folders)
{
	TeBuffer	buffer;
	TeSink		sink;
	TeSource	files[2] = {te_source_memory("a", "", 0), te_source_memory("b/c", "x", 1)};
	TeFolder	folder = {"folder", 2, files};

	te_buffer_init(&buffer, arena);
	sink = te_sink_buffer(&buffer);
	te_sink_write(&sink, "ab", 2);
	te_sink_write(&sink, NULL, 0);
	te_sink_write(&sink, "c", 1);
	CHECK(sink.written == 3 && memcmp(buffer.data, "abc", 3) == 0);
	CHECK(te_folder_find(&folder, "b/c") == &files[1]);
	CHECK(te_folder_find(&folder, "c") == NULL);
}

TEST(cursor_reads_through_windows)
{
	size_t		n = 300000;
	uint8_t    *bytes = te_alloc(arena, n);
	uint8_t    *piece = te_alloc(arena, n);
	TeSource	source = te_source_memory("bytes", bytes, n);
	TeCursor	cursor;
	size_t		at = 0;

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t) (i * 7 + i / 256);
	te_cursor_init(&cursor, arena, &source);
	for (size_t len = 1; at + len <= n; len = len * 5 / 3 + 1)
	{
		te_cursor_bytes(&cursor, piece, len);
		CHECK(memcmp(piece, bytes + at, len) == 0);
		at += len;
		if (at < n)
			CHECK(te_cursor_u8(&cursor) == bytes[at]);
		at++;
	}
	CHECK(te_cursor_left(&cursor) == n - at);
	CHECK_THROWS_LIKE(TE_ERR_CORRUPT, "\"bytes\"", te_cursor_bytes(&cursor, piece, n));
	te_cursor_skip(&cursor, n - at);
	CHECK_THROWS(TE_ERR_CORRUPT, te_cursor_skip(&cursor, 1));
	CHECK_THROWS(TE_ERR_CORRUPT, te_cursor_u8(&cursor));
}

TEST(cursor_numbers)
{
	static const uint8_t bytes[] = {1, 2, 1, 4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1,
	0, 0, 0xc0, 0x3f, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 'h', 'i'};
	TeSource	source = te_source_memory("numbers", bytes, sizeof(bytes));
	TeCursor	cursor;

	te_cursor_init(&cursor, arena, &source);
	CHECK(te_cursor_u8(&cursor) == 1);
	CHECK(te_cursor_u16(&cursor) == 0x0102);
	CHECK(te_cursor_u32(&cursor) == 0x01020304);
	CHECK(te_cursor_u64(&cursor) == UINT64_C(0x0102030405060708));
	CHECK(te_cursor_f32(&cursor) == 1.5f);
	CHECK(te_cursor_f64(&cursor) == 1.5);
	CHECK_THROWS(TE_ERR_CORRUPT, te_cursor_str(&cursor, arena, UINT64_MAX));
	CHECK_STR(te_cursor_str(&cursor, arena, 2), "hi");
}

/* What a fault must not break: a tree of arenas that grows. */
static void
grow_arenas(void *arg)
{
	TeArena    *root = te_arena_create_root(te_std_fault_owner(), "faults", 0, NULL);

	for (int i = 0; i < 3; i++)
	{
		TeArena    *child = te_arena_create(root, "child");

		te_alloc(child, 50000);
		te_check_interrupts();
		te_alloc(root, 40000);
		te_arena_reset(child);
	}
}

TEST(faults_leave_nothing)
{
	CHECK(te_std_fault_loop(grow_arenas, NULL) >= 9);
}

static void
add_task(void *arg, size_t task, int worker)
{
	((int *) arg)[task] += (int) task;
}

TEST(parallel_for_runs_each_task_once)
{
	for (int workers = 1; workers <= 4; workers++)
	{
		int			sums[100] = {0};

		te_std_set_workers(workers);
		CHECK(te_workers() == workers);
		te_parallel_for(TE_LENGTH(sums), add_task, sums);
		for (int i = 0; i < 100; i++)
			CHECK(sums[i] == i);
		te_std_interrupt(workers == 1 ? 3 : 1);
		CHECK_THROWS(TE_STD_INTERRUPTED, te_parallel_for(TE_LENGTH(sums), add_task, sums));
	}
	te_std_set_workers(1);
}

static void
note_worker(void *arg, size_t task, int worker)
{
	((int *) arg)[task] = worker;
}

TEST(parallel_for_few_has_few_workers)
{
	int			worker_of[200];

	te_std_set_workers(4);
	for (int few = 1; few <= 8; few++)
	{
		te_parallel_for_few(few, TE_LENGTH(worker_of), note_worker, worker_of);
		for (size_t i = 0; i < TE_LENGTH(worker_of); i++)
			CHECK(worker_of[i] >= 0 && worker_of[i] < few && worker_of[i] < 4);
	}
	te_std_set_workers(1);
}

TEST_MAIN()
