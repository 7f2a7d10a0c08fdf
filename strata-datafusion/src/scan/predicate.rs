//! Which rows a scan depends on: the read predicate that it leaves in a SERIALIZABLE transaction.

use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result};
use datafusion::physical_expr::PhysicalExpr;
use strata_core::catalog::TableDef;
use strata_core::heap::SegmentView;
use strata_core::heap::column::Selection;
use strata_core::table::{ReadPredicate, RowFilter, TableView};

use super::filters::{Conjunct, compile};
use super::source::{CHUNK_ROWS, ColumnSource, read_columns};

/// The predicate of a scan with these conditions, which are in terms of the provider's schema.
pub(crate) fn read_predicate(
    table: &TableView,
    schema: &SchemaRef,
    columns: &Arc<[ColumnSource]>,
    conditions: &[Arc<dyn PhysicalExpr>],
) -> Result<ReadPredicate> {
    if conditions.is_empty() {
        return Ok(ReadPredicate::Table);
    }
    let def = Arc::clone(table.def());
    let conjuncts = compile(conditions, schema, |place| match columns.get(place)? {
        ColumnSource::Stored(id) => def.schema.column(*id).map(|column| &column.column_type),
        ColumnSource::RowId => None,
    })?;
    let columns = Arc::clone(columns);
    Ok(ReadPredicate::Filter(Arc::new(Conditions { def, columns, conjuncts })))
}

/// The conditions of a scan. Holds nothing of the statement: the transaction keeps it to its end.
struct Conditions {
    def: Arc<TableDef>,
    columns: Arc<[ColumnSource]>,
    conjuncts: Vec<Conjunct>,
}

impl Conditions {
    fn any_passes(&self, segment: &SegmentView, slots: &[u32]) -> Result<bool> {
        let mut left = slots.to_vec();
        for conjunct in &self.conjuncts {
            let selection = Selection::Slots(left.clone());
            let sources = conjunct.columns().iter().map(|place| self.columns.get(*place).copied());
            let sources = sources.collect::<Option<Vec<_>>>().ok_or_else(|| {
                DataFusionError::Internal("a condition names a column that is not there".into())
            })?;
            let arrays = read_columns(segment, &self.def.schema, &sources, &selection)?;
            let passed = conjunct.evaluate(arrays, left.len())?;
            left = left
                .into_iter()
                .zip(passed.values())
                .filter_map(|(slot, passed)| passed.then_some(slot))
                .collect();
            if left.is_empty() {
                return Ok(false);
            }
        }
        Ok(!left.is_empty())
    }
}

impl RowFilter for Conditions {
    fn may_match(&self, segment: &SegmentView, slots: &[u32]) -> bool {
        // A condition that fails on a row would have failed the scan: who knows what it reads.
        slots.chunks(CHUNK_ROWS as usize).any(|slots| self.any_passes(segment, slots).unwrap_or(true))
    }
}
