/*-------------------------------------------------------------------------
 * fn_stat.c
 *	  Shared memory and statistics in SQL: load_model(), unload_model(), and
 *	  what is under the views loaded_models and stat_models.
 *
 * The stores say which images there are, the control file how much they are
 * used.  Both know digests only; names are the views' matter, which join the
 * catalog and show what the caller may use.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"
#include "pg/store.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define DIGEST_PREFIX "sha256:"	/* in the view loaded_models, too */

/* Memory is everybody's: what changes it for all is the owner's or a superuser's to do. */
static TrVersion
owned_version(const char *model)
{
	TrVersion	version;

	tr_catalog_get(model, &version);
	tr_check_owner(&version);
	return version;
}

static bool
is_pinned(const uint8 *digest)
{
	int			slot = tr_control_slot(digest, false);
	TrImageInfo info;

	return slot >= 0 && tr_control_read(slot, &info) && info.pinned;
}

/* Pinned first, so that it is not evicted before we are done. */
PG_FUNCTION_INFO_V1(transformer_load_model);
Datum
transformer_load_model(PG_FUNCTION_ARGS)
{
	TrVersion	version = owned_version(tr_required_text(fcinfo, 0, "model"));
	bool		was_pinned = is_pinned(version.digest);
	const TrMapping *mapping = NULL;

	tr_image_pin(version.digest, true);
	PG_TRY();
	{
		mapping = tr_model_mapping(tr_model_of(&version));
		if (mapping->store == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
					 errmsg("model \"%s@%d\" is in this session's private memory only", version.name, version.version),
					 errdetail("It could not be placed where all connections would share it.")));
		tr_image_prefault(mapping);
	}
	PG_CATCH();
	{
		tr_image_pin(version.digest, was_pinned);
		PG_RE_THROW();
	}
	PG_END_TRY();
	PG_RETURN_INT64((int64) mapping->bytes);
}

/*
 * The view shows images that no model here has as "sha256:<hex>".  They may be
 * another database's, or pinned and then dropped with their model, so a
 * superuser can unload them under that name.
 */
static bool
parse_digest(const char *name, uint8 *digest)
{
	const char *hex = name + strlen(DIGEST_PREFIX);

	if (strncmp(name, DIGEST_PREFIX, strlen(DIGEST_PREFIX)) != 0 || !superuser() ||
		strlen(hex) != 2 * TR_DIGEST_LENGTH || strspn(hex, "0123456789abcdef") != 2 * TR_DIGEST_LENGTH)
		return false;
	(void) hex_decode(hex, 2 * TR_DIGEST_LENGTH, (char *) digest);
	return true;
}

PG_FUNCTION_INFO_V1(transformer_unload_model);
Datum
transformer_unload_model(PG_FUNCTION_ARGS)
{
	char	   *model = tr_required_text(fcinfo, 0, "model");
	uint8		digest[TR_DIGEST_LENGTH];

	if (!parse_digest(model, digest))
		memcpy(digest, owned_version(model).digest, TR_DIGEST_LENGTH);
	tr_image_pin(digest, false);
	PG_RETURN_INT64((int64) tr_image_drop(digest));
}

static Datum
digest_datum(const uint8 *digest)
{
	bytea	   *value = palloc(VARHDRSZ + TR_DIGEST_LENGTH);

	SET_VARSIZE(value, VARHDRSZ + TR_DIGEST_LENGTH);
	memcpy(VARDATA(value), digest, TR_DIGEST_LENGTH);
	return PointerGetDatum(value);
}

/* "building", "in use" (some backend maps it), "loaded" */
static const char *
image_status(const TrImage *image, int slot)
{
	if (image->building)
		return "building";
	return slot >= 0 && tr_control_users(slot) > 0 ? "in use" : "loaded";
}

PG_FUNCTION_INFO_V1(transformer_images);
Datum
transformer_images(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *cell;

	tr_srf_begin(fcinfo);
	foreach(cell, tr_image_list())
	{
		TrImage    *image = lfirst(cell);
		int			slot = tr_control_slot(image->digest, false);
		TrImageInfo info = {.loaded_at = 0};
		bool		known = slot >= 0 && tr_control_read(slot, &info);
		Datum		values[] = {
			digest_datum(image->digest),
			CStringGetTextDatum(image_status(image, slot)),
			CStringGetTextDatum(image->store->name),
			Int64GetDatum((int64) image->bytes),
			BoolGetDatum(known && info.pinned),
			Int64GetDatum(known ? (int64) info.hits : 0),
			TimestampTzGetDatum(known && info.loaded_at != 0 ? info.loaded_at : image->written),
		};
		bool		nulls[lengthof(values)] = {false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PG_RETURN_NULL();
}

PG_FUNCTION_INFO_V1(transformer_image_statistics);
Datum
transformer_image_statistics(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tr_srf_begin(fcinfo);
	for (int slot = 0; slot < TR_MAX_IMAGES; slot++)
	{
		TrImageInfo info;
		Datum		values[6];
		bool		nulls[6] = {false};

		if (!tr_control_read(slot, &info))
			continue;
		values[0] = digest_datum(info.digest);
		values[1] = Int64GetDatum((int64) info.calls);
		values[2] = Int64GetDatum((int64) info.rows);
		values[3] = Int64GetDatum((int64) info.tokens);
		values[4] = Int64GetDatum((int64) info.batches);
		values[5] = Float8GetDatum(info.microseconds / 1000.0);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PG_RETURN_NULL();
}
