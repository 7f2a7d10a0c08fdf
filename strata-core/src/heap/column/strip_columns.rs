//! The columns of strips. Blocks that have the same ones share them: lookups all over a large table read them once from memory,
//! not once a block.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::directory::{ColumnMeta, place_of_column};
use crate::ids::{ColumnId, SchemaVersion};
use crate::row::{Column, Datum, Schema, SqlType};

/// Those that some open block has. Which blocks share them changes nothing but where they are read.
static KNOWN: Mutex<Vec<Weak<StripColumns>>> = Mutex::new(Vec::new());

/// The columns of a block, numbered by their place in its directory.
#[derive(Debug)]
pub(super) struct StripColumns {
    schema: Schema,
    /// What each is in the table, ascending.
    ids: Box<[ColumnId]>,
}

impl StripColumns {
    /// Those of a block's directory.
    pub fn of(columns: &[ColumnMeta]) -> Arc<Self> {
        let mut known = KNOWN.lock();
        if let Some(shared) = known.iter().filter_map(Weak::upgrade).find(|shared| shared.are(columns)) {
            return shared;
        }
        let new = Arc::new(Self::new(columns));
        known.retain(|shared| shared.strong_count() > 0);
        known.push(Arc::downgrade(&new));
        new
    }

    fn new(columns: &[ColumnMeta]) -> Self {
        let ids = columns.iter().map(|meta| meta.id).collect();
        let columns = columns.iter().enumerate().map(|(place, meta)| Column {
            id: ColumnId::new(place as u32),
            name: String::new(),
            column_type: meta.column_type.clone(),
            sql_type: SqlType::default(),
            nullable: true,
            default: None,
            missing: Datum::Null,
            dropped: false,
        });
        Self { schema: Schema::new(SchemaVersion::default(), columns.collect()), ids }
    }

    fn are(&self, columns: &[ColumnMeta]) -> bool {
        let mut both = self.ids.iter().zip(self.schema.columns.iter()).zip(columns);
        self.ids.len() == columns.len()
            && both.all(|((id, column), meta)| *id == meta.id && column.column_type == meta.column_type)
    }

    /// As rows of strips are encoded.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Which of them is a table's column, of the same type.
    pub fn place_of(&self, column: &Column) -> Option<ColumnId> {
        let own = self.schema.columns.get(place_of_column(&self.ids, column.id, |id| *id)?)?;
        (own.column_type == column.column_type).then_some(own.id)
    }
}
