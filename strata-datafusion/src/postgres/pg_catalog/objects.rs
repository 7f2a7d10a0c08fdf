//! The catalogs of what users make: pg_namespace, pg_class, pg_attribute, pg_index, pg_constraint and so on.

use std::sync::Arc;

use strata_core::catalog::{IndexDef, Relation, SchemaDef, TableDef};
use strata_core::row::{Column, SqlType};

use super::types::collation_of;
use super::{
    INFORMATION_SCHEMA, Maker, PG_CATALOG, Rows, Scan, Value, attnum, constraint_oid, default_oid, fixed,
    index_oid, is_constraint, schema_oid, system_relations, table_oid, types,
};
use crate::postgres::types::{PgType, oid};

/// Rows that a page of the statistics stands for.
const BYTES_PER_PAGE: u64 = 8192;

pub(super) fn maker(name: &str) -> Option<Maker> {
    Some(match name {
        "pg_namespace" => namespaces,
        "pg_class" => classes,
        "pg_attribute" => attributes,
        "pg_attrdef" => defaults,
        "pg_index" => indexes,
        "pg_constraint" => constraints,
        "pg_depend" => dependencies,
        _ => return None,
    })
}

impl Scan<'_> {
    /// The tables with their schemas.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&Arc<SchemaDef>, &Arc<TableDef>)> {
        self.catalog.tables().filter_map(|table| Some((self.catalog.schema_by_id(table.schema_id)?, table)))
    }

    /// The indexes with their tables and schemas.
    pub(crate) fn indexes(&self) -> impl Iterator<Item = (&Arc<SchemaDef>, &Arc<TableDef>, &IndexDef)> {
        self.tables()
            .flat_map(|(schema, table)| table.indexes.iter().map(move |index| (schema, table, index)))
    }

    /// How many rows a table has.
    pub(crate) fn row_count(&self, table: &TableDef) -> u64 {
        self.view.and_then(|view| view.table(table.id).ok()).map_or(0, |view| view.untracked().row_count())
    }
}

fn namespaces(scan: &Scan<'_>, rows: &mut Rows) {
    let fixed = [(fixed::PG_CATALOG, PG_CATALOG), (fixed::INFORMATION_SCHEMA, INFORMATION_SCHEMA)];
    let made =
        scan.catalog.schemas().map(|schema| (schema_oid(schema.id, &schema.name), schema.name.as_str()));
    for (oid, name) in fixed.into_iter().chain(made) {
        rows.push(vec![("oid", oid.into()), ("nspname", name.into()), ("nspowner", fixed::OWNER.into())]);
    }
}

/// What all rows of pg_class have.
fn class(oid: i64, name: &str, namespace: i64, kind: &str, columns: usize) -> Vec<(&'static str, Value)> {
    vec![
        ("oid", oid.into()),
        ("relname", name.into()),
        ("relnamespace", namespace.into()),
        ("relowner", fixed::OWNER.into()),
        ("relkind", kind.into()),
        ("relnatts", columns.into()),
        ("relpersistence", "p".into()),
        ("relispopulated", true.into()),
        ("relreplident", (if kind == "r" { "d" } else { "n" }).into()),
    ]
}

fn classes(scan: &Scan<'_>, rows: &mut Rows) {
    for relation in system_relations() {
        let mut row =
            class(relation.oid, relation.name, relation.namespace(), relation.kind, relation.columns.len());
        if relation.kind == "r" {
            row.extend([("relam", fixed::HEAP.into()), ("relreplident", "n".into())]);
        }
        rows.push(row);
    }
    for relation in scan.catalog.relations() {
        let Some(schema) = scan.catalog.schema_by_id(relation.schema_id()) else { continue };
        let namespace = schema_oid(schema.id, &schema.name);
        let oid = table_oid(relation.id());
        match relation {
            Relation::View(view) => {
                let columns = scan.view_columns.get(&view.id).map_or(0, Vec::len);
                let mut row = class(oid, &view.name, namespace, "v", columns);
                row.push(("relhasrules", true.into()));
                rows.push(row);
            }
            Relation::Table(table) => {
                let count = scan.row_count(table);
                let mut row = class(oid, &table.name, namespace, "r", table.schema.columns.len());
                row.extend([
                    ("relam", fixed::HEAP.into()),
                    ("relfilenode", oid.into()),
                    ("relhasindex", (!table.indexes.is_empty()).into()),
                    ("reltuples", Value::Float(count as f64)),
                    ("relpages", pages(table, count)),
                ]);
                rows.push(row);
                for index in &table.indexes {
                    let mut row =
                        class(index_oid(index.id), &index.name, namespace, "i", index.columns.len());
                    row.extend([
                        ("relam", fixed::BTREE.into()),
                        ("relfilenode", index_oid(index.id).into()),
                        ("reltuples", Value::Float(count as f64)),
                        ("relpages", pages(table, count)),
                    ]);
                    rows.push(row);
                }
            }
        }
    }
}

/// An estimate, for clients that plan by it.
fn pages(table: &TableDef, rows: u64) -> Value {
    let bytes = super::statistics::table_bytes(table, rows);
    Value::Int(i64::from(i32::try_from(bytes.div_ceil(BYTES_PER_PAGE)).unwrap_or(i32::MAX)))
}

/// A row of pg_attribute.
fn attribute(relation: i64, number: i64, name: &str, pg_type: PgType) -> Vec<(&'static str, Value)> {
    let facts = types::facts(pg_type.oid);
    vec![
        ("attrelid", relation.into()),
        ("attname", name.into()),
        ("atttypid", pg_type.oid.into()),
        ("atttypmod", pg_type.modifier.into()),
        ("attnum", number.into()),
        ("attlen", i64::from(pg_type.size()).into()),
        ("attndims", i64::from(pg_type.element().is_some()).into()),
        ("attcacheoff", (-1).into()),
        ("attstattarget", (-1).into()),
        ("attislocal", true.into()),
        ("attbyval", facts.is_some_and(|facts| facts.by_value).into()),
        ("attalign", facts.map(|facts| facts.align).into()),
        ("attstorage", facts.map(|facts| facts.storage).into()),
        ("attcollation", collation_of(pg_type.oid).into()),
    ]
}

/// The type of a stored column. `numeric` and the like keep their modifier.
fn column_type(sql_type: SqlType) -> PgType {
    PgType::from(sql_type)
}

fn attributes(scan: &Scan<'_>, rows: &mut Rows) {
    for relation in system_relations() {
        for (number, column) in (1..).zip(&relation.columns) {
            let mut row = attribute(relation.oid, number, column.name, column.pg_type);
            row.push(("attnotnull", column.required.into()));
            rows.push(row);
        }
    }
    for relation in scan.catalog.relations() {
        match relation {
            Relation::View(view) => {
                let columns = scan.view_columns.get(&view.id).map_or(&[][..], Vec::as_slice);
                for (number, (name, pg_type)) in (1..).zip(columns) {
                    rows.push(attribute(table_oid(view.id), number, name, *pg_type));
                }
            }
            Relation::Table(table) => {
                for column in table.schema.columns.iter() {
                    rows.push(table_attribute(table, column));
                }
                for index in &table.indexes {
                    index_attributes(table, index, rows);
                }
            }
        }
    }
}

fn table_attribute(table: &TableDef, column: &Column) -> Vec<(&'static str, Value)> {
    let number = attnum(column.id);
    if column.dropped {
        let name = format!("........pg.dropped.{number}........");
        let mut row = attribute(table_oid(table.id), number, &name, PgType::new(0));
        row.push(("attisdropped", true.into()));
        return row;
    }
    let mut row = attribute(table_oid(table.id), number, &column.name, column_type(column.sql_type));
    row.extend([("attnotnull", (!column.nullable).into()), ("atthasdef", column.default.is_some().into())]);
    row
}

fn index_attributes(table: &TableDef, index: &IndexDef, rows: &mut Rows) {
    for (number, key) in (1..).zip(&index.columns) {
        if let Some(column) = table.schema.column(key.column) {
            rows.push(attribute(index_oid(index.id), number, &column.name, column_type(column.sql_type)));
        }
    }
}

fn defaults(scan: &Scan<'_>, rows: &mut Rows) {
    for (_, table) in scan.tables() {
        for column in table.schema.live() {
            if let Some(default) = &column.default {
                rows.push(vec![
                    ("oid", default_oid(table.id, column.id).into()),
                    ("adrelid", table_oid(table.id).into()),
                    ("adnum", attnum(column.id).into()),
                    ("adbin", default.as_str().into()),
                ]);
            }
        }
    }
}

fn key_numbers(index: &IndexDef) -> Value {
    index.columns.iter().map(|column| attnum(column.column)).collect::<Vec<_>>().into()
}

fn indexes(scan: &Scan<'_>, rows: &mut Rows) {
    for (_, table, index) in scan.indexes() {
        let type_of = |key: &strata_core::catalog::IndexColumn| {
            table.schema.column(key.column).map_or(oid::TEXT, |column| column.sql_type.oid)
        };
        let keys = index.columns.iter();
        let options: Vec<i64> = keys
            .clone()
            .map(|key| i64::from(key.order.descending) + 2 * i64::from(key.order.nulls_first))
            .collect();
        let classes: Vec<i64> = keys.clone().map(|key| types::operator_class(type_of(key))).collect();
        let collations: Vec<i64> = keys.map(|key| collation_of(type_of(key))).collect();
        rows.push(vec![
            ("indexrelid", index_oid(index.id).into()),
            ("indrelid", table_oid(table.id).into()),
            ("indnatts", index.columns.len().into()),
            ("indnkeyatts", index.columns.len().into()),
            ("indisunique", index.unique.into()),
            ("indisprimary", index.primary.into()),
            ("indimmediate", true.into()),
            ("indisvalid", true.into()),
            ("indisready", true.into()),
            ("indislive", true.into()),
            ("indkey", key_numbers(index)),
            ("indcollation", collations.into()),
            ("indclass", classes.into()),
            ("indoption", options.into()),
        ]);
    }
}

fn constraints(scan: &Scan<'_>, rows: &mut Rows) {
    for (schema, table, index) in scan.indexes() {
        if !is_constraint(index) {
            continue;
        }
        rows.push(vec![
            ("oid", constraint_oid(index.id).into()),
            ("conname", index.name.as_str().into()),
            ("connamespace", schema_oid(schema.id, &schema.name).into()),
            ("contype", (if index.primary { "p" } else { "u" }).into()),
            ("convalidated", true.into()),
            ("conrelid", table_oid(table.id).into()),
            ("conindid", index_oid(index.id).into()),
            ("confupdtype", " ".into()),
            ("confdeltype", " ".into()),
            ("confmatchtype", " ".into()),
            ("conislocal", true.into()),
            ("connoinherit", true.into()),
            ("conkey", key_numbers(index)),
        ]);
    }
}

/// OIDs of the catalogs that dependencies name.
const CLASS_CATALOG: i64 = 1259;
const CONSTRAINT_CATALOG: i64 = 2606;

/// A constraint depends on its table's columns, its index on the constraint.
fn dependencies(scan: &Scan<'_>, rows: &mut Rows) {
    for (_, table, index) in scan.indexes() {
        let mut push = |from: (i64, i64), to: (i64, i64, i64), kind: &str| {
            rows.push(vec![
                ("classid", from.0.into()),
                ("objid", from.1.into()),
                ("refclassid", to.0.into()),
                ("refobjid", to.1.into()),
                ("refobjsubid", to.2.into()),
                ("deptype", kind.into()),
            ]);
        };
        let of_index = (CLASS_CATALOG, index_oid(index.id));
        let of_constraint = (CONSTRAINT_CATALOG, constraint_oid(index.id));
        let dependent = if is_constraint(index) { of_constraint } else { of_index };
        for key in &index.columns {
            push(dependent, (CLASS_CATALOG, table_oid(table.id), attnum(key.column)), "a");
        }
        if is_constraint(index) {
            push(of_index, (of_constraint.0, of_constraint.1, 0), "i");
        }
    }
}
