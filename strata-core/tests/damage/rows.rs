//! Rows that nobody wrote, in files whose checksums hold.

use strata_core::ErrorKind;
use strata_core::ids::{ColumnId, SchemaVersion};
use strata_core::row::{Column, ColumnType, Datum, RowView, Schema, SqlType};

use crate::allocator::{ALLOCATOR, MOST_BYTES};

const ID: ColumnId = ColumnId::new(0);

fn schema_of_array(element_type: ColumnType) -> Schema {
    let column = Column {
        id: ID,
        name: "a".to_owned(),
        column_type: ColumnType::Array(Box::new(element_type)),
        sql_type: SqlType::default(),
        nullable: true,
        default: None,
        missing: Datum::Null,
        dropped: false,
    };
    Schema::new(SchemaVersion::new(1), vec![column])
}

/// A row of one array, of which there is no more than the bitmap of NULLs: as many elements as that has bits.
fn row_of_bitmap(bitmap_bytes: u32) -> Vec<u8> {
    let mut row = vec![1, 0, 0];
    row.extend((4 + bitmap_bytes).to_le_bytes());
    row.extend((8 * bitmap_bytes).to_le_bytes());
    row.resize(row.len() + bitmap_bytes as usize, 0);
    row
}

#[test]
fn elements_of_an_array_that_are_not_there_take_no_memory() {
    for element_type in [ColumnType::Bool, ColumnType::Int16, ColumnType::Uuid, ColumnType::Text] {
        let row = row_of_bitmap(1 << 20);
        let schema = schema_of_array(element_type);
        ALLOCATOR.take_largest();
        let view = RowView::new(&row, &schema).expect("the row itself is sound");
        let error = view.datum(ID).expect_err("there are no elements");
        let largest = ALLOCATOR.take_largest();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(largest <= MOST_BYTES, "{:?}: an allocation of {largest} bytes", schema.columns);
    }
}
