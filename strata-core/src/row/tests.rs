//! Rows, keys and arrays of every type, made at random: what goes in comes out, in the same order.

use super::*;
use crate::ids::{ColumnId, SchemaVersion};

fn column(id: u32, column_type: ColumnType, missing: Datum) -> Column {
    let name = format!("c{id}");
    let sql_type = SqlType { oid: 0, modifier: -1 };
    let id = ColumnId::new(id);
    Column { id, name, column_type, sql_type, nullable: true, default: None, missing, dropped: false }
}

#[test]
fn a_row_reads_back_and_a_later_column_reads_as_missing() {
    let old = vec![
        column(0, ColumnType::Int64, Datum::Null),
        column(1, ColumnType::Text, Datum::Null),
        column(2, ColumnType::Array(Box::new(ColumnType::Text)), Datum::Null),
    ];
    let mut new = old.clone();
    new.push(column(3, ColumnType::Text, Datum::Text("since then".into())));
    let (old, new) = (Schema::new(SchemaVersion::new(1), old), Schema::new(SchemaVersion::new(2), new));
    let mut values =
        vec![Datum::Int64(-7), Datum::Null, Datum::Array(vec![Datum::Text("x".into()), Datum::Null])];
    let mut bytes = Vec::new();
    encode_row(&old, &values, &mut bytes).expect("fits");

    let row = RowView::new(&bytes, &new).expect("valid");
    values.push(Datum::Text("since then".into()));
    assert_eq!(row.to_datums().expect("valid"), values);
    assert_eq!(row.text(ColumnId::new(1)).expect("a text"), None);
    assert_eq!(row.text(ColumnId::new(3)).expect("a text"), Some("since then"));
    let mut builder = ColumnBuilder::new(&ColumnType::Text, 2);
    builder.push_rows(&[row, row], ColumnId::new(3)).expect("texts");
    assert_eq!(datum_at(&builder.finish(), 1, &ColumnType::Text).expect("a text"), values[3]);
}
