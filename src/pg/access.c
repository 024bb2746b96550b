/*-------------------------------------------------------------------------
 * access.c
 *	  Who may do what: USAGE and ownership of models, files of the server.
 *
 * A model has an owner, and USAGE may be granted to roles or to PUBLIC; both
 * are rows of _transformer.privilege.  Membership counts as with tables (roles
 * that inherit).  Superusers may do everything; a model whose owner was
 * dropped is theirs.
 *
 * The catalog's tables have no privileges of their own: the functions that
 * read them ask here first.
 *-------------------------------------------------------------------------
 */
#include "pg/catalog.h"

#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"

bool
tr_has_usage(const TrVersion *version, Oid role)
{
	TrScan	   *scan;
	Datum		values[N_PRIVILEGE + 1];
	bool		nulls[N_PRIVILEGE + 1];
	bool		allowed = false;

	if (superuser_arg(role))
		return true;
	scan = tr_scan_begin("privilege", N_PRIVILEGE, 1, CStringGetTextDatum(version->key));
	while (!allowed && tr_scan_next(scan, values, nulls))
	{
		Oid			holder = DatumGetObjectId(values[PRIVILEGE_ROLE]);

		allowed = holder == ACL_ID_PUBLIC || has_privs_of_role(role, holder);
	}
	tr_scan_end(scan);
	return allowed;
}

void
tr_check_usage(const TrVersion *version)
{
	if (!tr_has_usage(version, GetUserId()))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for model \"%s\"", version->name),
						errhint("The model's owner can grant it with transformer.grant_model().")));
}

void
tr_check_owner(const TrVersion *version)
{
	if (superuser() || (OidIsValid(version->owner) && has_privs_of_role(GetUserId(), version->owner)))
		return;
	ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be owner of model \"%s\"", version->name)));
}

Oid
tr_role(const char *name)
{
	return strcmp(name, "public") == 0 ? ACL_ID_PUBLIC : get_role_oid(name, false);
}

void
tr_check_privilege_of(Oid predefined_role, const char *action)
{
	if (!has_privs_of_role(GetUserId(), predefined_role))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to %s", action),
						errdetail("Only roles with privileges of the role \"%s\" may do that.",
								  GetUserNameFromId(predefined_role, false))));
}
