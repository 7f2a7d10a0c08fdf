use super::change::{NewColumn, NewIndex};
use super::system::{SystemTable, catalog_from, rows_of};
use super::*;
use crate::ids::ColumnId;
use crate::row::{ColumnType, Datum, KeyOrder, SqlType, encode_row};

fn column(name: &str, column_type: ColumnType) -> NewColumn {
    NewColumn {
        sql_type: SqlType { oid: 20, modifier: -1 },
        default: Some("42".into()),
        ..NewColumn::new(name, column_type)
    }
}

fn key(name: &str, column: u32, primary: bool) -> NewIndex {
    let order = KeyOrder { descending: !primary, nulls_first: false };
    let columns = vec![IndexColumn { column: ColumnId::new(column), order }];
    NewIndex { name: name.into(), primary, unique: true, constraint: true, columns }
}

/// A catalog with everything in it that can be.
fn sample() -> Catalog {
    let mut catalog = Catalog::default();
    catalog.create_schema("demo").expect("new");
    let decimal = ColumnType::Decimal { precision: 15, scale: 2 };
    let columns = vec![
        column("id", ColumnType::Int64),
        column("tags", ColumnType::Array(Box::new(ColumnType::Text))),
        column("price", decimal),
    ];
    let table = catalog.create_table("demo", "events", columns).expect("new");
    catalog.create_index(table, key("events_price", 2, false)).expect("new");
    catalog.create_index(table, key("events_pkey", 0, true)).expect("new");
    let late = NewColumn { missing: Datum::Int64(7), ..column("late", ColumnType::Int64) };
    catalog.add_column(table, late).expect("new");
    catalog.drop_column(table, ColumnId::new(1)).expect("there");
    catalog.create_view("public", "v", "SELECT 1", vec!["one".into()]).expect("new");
    catalog
}

#[test]
fn a_catalog_comes_back_from_its_rows() {
    let catalog = sample();
    let rows = rows_of(&catalog).expect("encodes");
    for ((table, _, _), row) in &rows {
        let mut bytes = Vec::new();
        encode_row(table.schema(), row, &mut bytes).expect("each row fits its system table");
    }
    assert_eq!(catalog_from(&rows).expect("decodes"), catalog);
}

#[test]
fn only_rows_that_differ_are_written() {
    let before = sample();
    let mut after = before.clone();
    let view = after.relation("public", "v").expect("there").id();
    after.rename_relation(view, "w").expect("free");
    let rows = CatalogRows::between(&before, &after).expect("encodes");
    assert_eq!(rows.added.iter().map(|(table, _)| *table).collect::<Vec<_>>(), vec![SystemTable::Views]);
    assert_eq!(rows.removed.len(), 1);
}

#[test]
fn names_are_unique_among_relations_and_indexes() {
    let mut catalog = sample();
    let taken = |result: Result<crate::ids::TableId>| matches!(result, Err(Error::AlreadyExists { .. }));
    assert!(taken(catalog.create_table("demo", "events", vec![])));
    assert!(taken(catalog.create_table("demo", "events_pkey", vec![])));
    assert!(taken(catalog.create_view("public", "v", "SELECT 2", vec![])));
    assert!(catalog.create_table("public", "events", vec![]).is_ok(), "another schema");
    let twice = vec![column("a", ColumnType::Int64), column("a", ColumnType::Text)];
    assert!(taken(catalog.create_table("public", "t", twice)));
}

#[test]
fn a_primary_key_makes_its_columns_not_null_and_dropping_a_column_drops_its_indexes() {
    let mut catalog = sample();
    let table = catalog.table_by_name("demo", "events").expect("there").clone();
    assert!(!table.schema.columns[0].nullable);
    assert_eq!(table.indexes.len(), 2);
    assert!(table.primary_key().is_some());
    catalog.drop_column(table.id, ColumnId::new(2)).expect("there");
    let table = catalog.table(table.id).expect("there");
    assert_eq!(table.indexes.iter().map(|index| index.name.as_str()).collect::<Vec<_>>(), ["events_pkey"]);
}

#[test]
fn truncate_takes_new_ids_and_a_schema_with_relations_stays() {
    let mut catalog = sample();
    let before = catalog.table_by_name("demo", "events").expect("there").clone();
    catalog.truncate(before.id).expect("there");
    let after = catalog.table(before.id).expect("there").clone();
    assert_ne!(before.heap, after.heap);
    assert!(before.indexes.iter().zip(&after.indexes).all(|(old, new)| old.id < new.id));
    assert!(catalog.drop_schema("demo").is_err());
    catalog.drop_relation(before.id).expect("there");
    catalog.drop_schema("demo").expect("empty now");
}
