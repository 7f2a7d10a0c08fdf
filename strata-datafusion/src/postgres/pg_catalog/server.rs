//! What there is once: the database, its role, its settings.

use super::{Maker, OWNER, Rows, Scan, Value, fixed};
use crate::session::settings;
use crate::sql::names::DATABASE;

pub(super) fn maker(name: &str) -> Option<Maker> {
    Some(match name {
        "pg_database" => databases,
        "pg_authid" | "pg_roles" => roles,
        "pg_user" | "pg_shadow" => users,
        "pg_tablespace" => tablespaces,
        "pg_settings" => parameters,
        "pg_stat_database" => database_statistics,
        _ => return None,
    })
}

/// Postgres' number of UTF8.
const UTF8: i64 = 6;

fn databases(_scan: &Scan<'_>, rows: &mut Rows) {
    rows.push(vec![
        ("oid", fixed::DATABASE.into()),
        ("datname", DATABASE.into()),
        ("datdba", fixed::OWNER.into()),
        ("encoding", UTF8.into()),
        ("datlocprovider", "c".into()),
        ("datallowconn", true.into()),
        ("datconnlimit", (-1).into()),
        ("dattablespace", DEFAULT_TABLESPACE.into()),
        ("datcollate", "C".into()),
        ("datctype", "C".into()),
    ]);
}

fn roles(_scan: &Scan<'_>, rows: &mut Rows) {
    rows.push(vec![
        ("oid", fixed::OWNER.into()),
        ("rolname", OWNER.into()),
        ("rolsuper", true.into()),
        ("rolinherit", true.into()),
        ("rolcreaterole", true.into()),
        ("rolcreatedb", true.into()),
        ("rolcanlogin", true.into()),
        ("rolreplication", true.into()),
        ("rolconnlimit", (-1).into()),
        ("rolbypassrls", true.into()),
        ("rolpassword", "********".into()),
    ]);
}

fn users(_scan: &Scan<'_>, rows: &mut Rows) {
    rows.push(vec![
        ("usename", OWNER.into()),
        ("usesysid", fixed::OWNER.into()),
        ("usecreatedb", true.into()),
        ("usesuper", true.into()),
        ("userepl", true.into()),
        ("usebypassrls", true.into()),
        ("passwd", "********".into()),
    ]);
}

const DEFAULT_TABLESPACE: i64 = 1663;

fn tablespaces(_scan: &Scan<'_>, rows: &mut Rows) {
    for (oid, name) in [(DEFAULT_TABLESPACE, "pg_default"), (DEFAULT_TABLESPACE + 1, "pg_global")] {
        rows.push(vec![("oid", oid.into()), ("spcname", name.into()), ("spcowner", fixed::OWNER.into())]);
    }
}

/// The parameters at their defaults; of the session's own values only the zone is known to a scan.
fn parameters(scan: &Scan<'_>, rows: &mut Rows) {
    for parameter in settings::descriptions() {
        let value = if parameter.name == "TimeZone" { scan.time_zone } else { parameter.default };
        rows.push(vec![
            ("name", parameter.name.into()),
            ("setting", value.into()),
            ("category", "Client Connection Defaults".into()),
            ("short_desc", parameter.description.into()),
            ("context", (if parameter.fixed { "internal" } else { "user" }).into()),
            ("vartype", "string".into()),
            ("source", "default".into()),
            ("boot_val", parameter.default.into()),
            ("reset_val", parameter.default.into()),
            ("pending_restart", false.into()),
        ]);
    }
}

fn database_statistics(_scan: &Scan<'_>, rows: &mut Rows) {
    rows.push(vec![("datid", Value::from(fixed::DATABASE)), ("datname", DATABASE.into())]);
}
