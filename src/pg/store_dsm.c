/*-------------------------------------------------------------------------
 * store_dsm.c
 *	  Images as pinned dynamic shared memory segments.
 *
 * For memory that the kernel must not evict, and for huge pages (with
 * min_dynamic_shared_memory and huge_pages, the only way that PostgreSQL has
 * to get them).  A segment lives until the server stops or crashes, or until
 * it is dropped and its last user has let go; PostgreSQL counts the users.
 *
 * The control file says which segment holds an image, together with the
 * incarnation of shared memory that it belongs to, so that what a file from
 * before a restart says is not believed.  Whatever is attached is checked to
 * be the image that was asked for.
 *
 * Segments are made read-only in this process once they are attached.  That is
 * not possible for those that lie in the server's main shared memory, and it
 * is taken back before a segment is detached: PostgreSQL keeps its own notes
 * in free pages.
 *-------------------------------------------------------------------------
 */
#include "pg/store.h"

#include <sys/mman.h>

#include "nodes/pg_list.h"
#include "storage/dsm.h"

/* Segments begin at a page mostly, in main shared memory at a cache line of another size. */
static void *
aligned_address(dsm_segment *segment)
{
	return (void *) TYPEALIGN(TE_CACHE_LINE, dsm_segment_address(segment));
}

static void
make_writable(dsm_segment *segment, Datum arg)
{
	(void) mprotect(dsm_segment_address(segment), dsm_segment_map_length(segment), PROT_READ | PROT_WRITE);
}

/* Keep the segment beyond the transaction, and keep us from writing to it. */
static void
settle(dsm_segment *segment, const uint8 *digest, uint64 bytes, TrMapping *into)
{
	dsm_pin_mapping(segment);
	on_dsm_detach(segment, make_writable, 0);
	(void) mprotect(dsm_segment_address(segment), dsm_segment_map_length(segment), PROT_READ);
	*into = (TrMapping) {
		.store = &tr_store_dsm,
		.address = aligned_address(segment),
		.bytes = bytes,
		.segment = segment,
	};
	memcpy(into->digest, digest, TR_DIGEST_LENGTH);
}

/* An error on the way lets the segment go with the transaction's resources. */
static int
dsm_build(TrBuild *build, TrMapping *into)
{
	int			slot = tr_control_slot(build->digest, true);
	dsm_segment *segment = dsm_create(build->bytes + TE_CACHE_LINE, 0);

	/* Main shared memory is handed out as it was left. */
	memset(dsm_segment_address(segment), 0, dsm_segment_map_length(segment));
	te_image_build(build->arena, build->plan, aligned_address(segment));
	dsm_pin_segment(segment);
	settle(segment, build->digest, build->bytes, into);
	tr_control_set_segment(slot, dsm_segment_handle(segment), build->bytes);
	return 0;
}

/* What the control file says of an image; false where there is no segment. */
static bool
find_segment(const uint8 *digest, int *slot, TrImageInfo *info)
{
	*slot = tr_control_slot(digest, false);
	return *slot >= 0 && tr_control_read(*slot, info) && info->segment != DSM_HANDLE_INVALID;
}

static bool
dsm_map(const uint8 *digest, TrMapping *into)
{
	TrImageInfo info;
	dsm_segment *segment;
	int			slot;

	if (!find_segment(digest, &slot, &info))
		return false;
	segment = dsm_attach(info.segment);
	if (segment == NULL)
		return false;
	if (info.bytes + TE_CACHE_LINE > dsm_segment_map_length(segment) ||
		!te_image_valid(aligned_address(segment), info.bytes, digest))
	{
		dsm_detach(segment);
		return false;
	}
	settle(segment, digest, info.bytes, into);
	return true;
}

static void
dsm_unmap(TrMapping *mapping)
{
	dsm_detach(mapping->segment);
}

static bool
dsm_current(const TrMapping *mapping)
{
	TrImageInfo info;
	int			slot;

	return find_segment(mapping->digest, &slot, &info) &&
		info.segment == dsm_segment_handle(mapping->segment);
}

static uint64
dsm_drop(const uint8 *digest)
{
	TrImageInfo info;
	int			slot;

	if (!find_segment(digest, &slot, &info))
		return 0;
	tr_control_set_segment(slot, DSM_HANDLE_INVALID, 0);
	dsm_unpin_segment(info.segment);
	return info.bytes;
}

static List *
dsm_list(List *images)
{
	for (int slot = 0; slot < TR_MAX_IMAGES; slot++)
	{
		TrImageInfo info;
		TrImage    *image;

		if (!tr_control_read(slot, &info) || info.segment == DSM_HANDLE_INVALID)
			continue;
		image = palloc0(sizeof(TrImage));
		memcpy(image->digest, info.digest, TR_DIGEST_LENGTH);
		image->store = &tr_store_dsm;
		image->bytes = info.bytes;
		image->written = info.loaded_at;
		images = lappend(images, image);
	}
	return images;
}

const TrStore tr_store_dsm = {
	.name = "dsm",
	.build = dsm_build,
	.map = dsm_map,
	.unmap = dsm_unmap,
	.current = dsm_current,
	.drop = dsm_drop,
	.list = dsm_list,
};
