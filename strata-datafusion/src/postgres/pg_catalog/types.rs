//! pg_type and what hangs on it: pg_proc, pg_collation, pg_opclass, pg_am, pg_language.
//!
//! `types.tsv` and `procedures.tsv` are the rows of PostgreSQL 15's pg_type and pg_proc for the types that exist here,
//! their arrays, the pseudo types, and the functions these name; `operator_classes.tsv` are the B-tree classes.

use std::sync::LazyLock;

use super::{Maker, OWNER, Rows, Scan, Value, fixed};
use crate::postgres::types::{PgType, oid};

pub(super) fn maker(name: &str) -> Option<Maker> {
    Some(match name {
        "pg_type" => types,
        "pg_proc" => procedures,
        "pg_collation" => collations,
        "pg_opclass" => operator_classes,
        "pg_am" => access_methods,
        "pg_language" => languages,
        _ => return None,
    })
}

/// A row of pg_type.
pub(crate) struct TypeFacts {
    pub(crate) oid: i64,
    pub(crate) name: &'static str,
    pub(crate) by_value: bool,
    pub(crate) array: i64,
    pub(crate) align: &'static str,
    pub(crate) storage: &'static str,
    collation: i64,
    cells: Vec<&'static str>,
}

fn number(cell: Option<&&str>) -> i64 {
    cell.and_then(|cell| cell.parse().ok()).unwrap_or(0)
}

fn lines(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().map(|line| line.split('\t').collect())
}

/// The types, by OID.
pub(crate) static TYPES: LazyLock<Vec<TypeFacts>> = LazyLock::new(|| {
    lines(include_str!("types.tsv"))
        .filter_map(|cells| {
            Some(TypeFacts {
                oid: number(cells.first()),
                name: cells.get(1)?,
                by_value: cells.get(3) == Some(&"t"),
                array: number(cells.get(9)),
                align: cells.get(17)?,
                storage: cells.get(18)?,
                collation: number(cells.get(19)),
                cells,
            })
        })
        .collect()
});

/// The functions of types: OID and name, then the rest of the row.
static PROCEDURES: LazyLock<Vec<(i64, &'static str, Vec<&'static str>)>> = LazyLock::new(|| {
    let lines = lines(include_str!("procedures.tsv"));
    lines.filter_map(|cells| Some((number(cells.first()), *cells.get(1)?, cells))).collect()
});

/// The B-tree operator classes: OID, family, type, whether default, and the row.
static OPERATOR_CLASSES: LazyLock<Vec<(i64, i64, Vec<&'static str>)>> = LazyLock::new(|| {
    let lines = lines(include_str!("operator_classes.tsv"));
    lines.map(|cells| (number(cells.first()), number(cells.get(3)), cells)).collect()
});

/// What is known of a type.
pub(crate) fn facts(oid: u32) -> Option<&'static TypeFacts> {
    let oid = i64::from(oid);
    TYPES.binary_search_by_key(&oid, |facts| facts.oid).ok().and_then(|place| TYPES.get(place))
}

/// The collation of a type's columns, 0 for none.
pub(super) fn collation_of(oid: u32) -> i64 {
    facts(oid).map_or(0, |facts| facts.collation)
}

/// The B-tree operator class for columns of a type.
pub(super) fn operator_class(oid: u32) -> i64 {
    const ARRAYS: i64 = 2277;
    let looked_up = match oid {
        oid::VARCHAR | oid::JSON => oid::TEXT,
        other => other,
    };
    let of = |wanted: i64| OPERATOR_CLASSES.iter().find(|class| class.1 == wanted).map(|class| class.0);
    of(i64::from(looked_up))
        .or_else(|| PgType::new(oid).element().and_then(|_| of(ARRAYS)))
        .unwrap_or_default()
}

/// The function of this OID.
pub(crate) fn procedure_name(oid: i64) -> Option<&'static str> {
    PROCEDURES.iter().find(|procedure| procedure.0 == oid).map(|procedure| procedure.1)
}

/// The OID of the function of this name.
pub(crate) fn procedure_oid(name: &str) -> Option<i64> {
    PROCEDURES.iter().find(|procedure| procedure.1 == name).map(|procedure| procedure.0)
}

fn types(_scan: &Scan<'_>, rows: &mut Rows) {
    // Integers, booleans and texts of the row after oid, typname and typbyval.
    const INTEGERS: &[(usize, &str)] = &[
        (2, "typlen"),
        (8, "typelem"),
        (10, "typinput"),
        (11, "typoutput"),
        (12, "typreceive"),
        (13, "typsend"),
        (14, "typmodin"),
        (15, "typmodout"),
        (16, "typsubscript"),
    ];
    for facts in TYPES.iter() {
        let text = |place: usize| Value::from(facts.cells.get(place).copied());
        let mut row = vec![
            ("oid", facts.oid.into()),
            ("typname", facts.name.into()),
            ("typnamespace", fixed::PG_CATALOG.into()),
            ("typowner", fixed::OWNER.into()),
            ("typbyval", facts.by_value.into()),
            ("typtype", text(4)),
            ("typcategory", text(5)),
            ("typispreferred", (facts.cells.get(6) == Some(&"t")).into()),
            ("typisdefined", true.into()),
            ("typdelim", text(7)),
            ("typarray", facts.array.into()),
            ("typalign", facts.align.into()),
            ("typstorage", facts.storage.into()),
            ("typtypmod", (-1).into()),
            ("typcollation", facts.collation.into()),
        ];
        row.extend(INTEGERS.iter().map(|(place, name)| (*name, number(facts.cells.get(*place)).into())));
        rows.push(row);
    }
}

fn procedures(_scan: &Scan<'_>, rows: &mut Rows) {
    const INTERNAL: i64 = 12;
    for (oid, name, cells) in PROCEDURES.iter() {
        let arguments: Vec<i64> =
            cells.get(6).map_or("", |cell| cell).split(' ').filter_map(|oid| oid.parse().ok()).collect();
        rows.push(vec![
            ("oid", (*oid).into()),
            ("proname", (*name).into()),
            ("pronamespace", fixed::PG_CATALOG.into()),
            ("proowner", fixed::OWNER.into()),
            ("prolang", INTERNAL.into()),
            ("procost", Value::Float(1.0)),
            ("prokind", cells.get(2).copied().into()),
            ("provolatile", cells.get(3).copied().into()),
            ("proisstrict", (cells.get(4) == Some(&"t")).into()),
            ("proparallel", "s".into()),
            ("pronargs", arguments.len().into()),
            ("prorettype", number(cells.get(5)).into()),
            ("proargtypes", arguments.into()),
            ("prosrc", (*name).into()),
        ]);
    }
}

fn collations(_scan: &Scan<'_>, rows: &mut Rows) {
    for (oid, name, provider, locale) in
        [(100, "default", "d", None), (950, "C", "c", Some("C")), (951, "POSIX", "c", Some("POSIX"))]
    {
        rows.push(vec![
            ("oid", oid.into()),
            ("collname", name.into()),
            ("collnamespace", fixed::PG_CATALOG.into()),
            ("collowner", fixed::OWNER.into()),
            ("collprovider", provider.into()),
            ("collisdeterministic", true.into()),
            ("collencoding", (-1).into()),
            ("collcollate", locale.into()),
            ("collctype", locale.into()),
        ]);
    }
}

fn operator_classes(_scan: &Scan<'_>, rows: &mut Rows) {
    for (oid, input, cells) in OPERATOR_CLASSES.iter() {
        rows.push(vec![
            ("oid", (*oid).into()),
            ("opcmethod", fixed::BTREE.into()),
            ("opcname", cells.get(1).copied().into()),
            ("opcnamespace", fixed::PG_CATALOG.into()),
            ("opcowner", fixed::OWNER.into()),
            ("opcfamily", number(cells.get(2)).into()),
            ("opcintype", (*input).into()),
            ("opcdefault", (cells.get(4) == Some(&"t")).into()),
            ("opckeytype", number(cells.get(5)).into()),
        ]);
    }
}

fn access_methods(_scan: &Scan<'_>, rows: &mut Rows) {
    for (oid, name, kind) in [(fixed::HEAP, "heap", "t"), (fixed::BTREE, "btree", "i")] {
        rows.push(vec![("oid", oid.into()), ("amname", name.into()), ("amtype", kind.into())]);
    }
}

fn languages(_scan: &Scan<'_>, rows: &mut Rows) {
    for (oid, name, trusted) in [(12, "internal", false), (14, "sql", true)] {
        rows.push(vec![
            ("oid", oid.into()),
            ("lanname", name.into()),
            ("lanowner", fixed::OWNER.into()),
            ("lanpltrusted", trusted.into()),
        ]);
    }
}

/// The name under which a role is known.
pub(crate) fn role_name(oid: i64) -> Option<&'static str> {
    (oid == fixed::OWNER).then_some(OWNER)
}
