//! What EXPLAIN shows of a point plan.

use super::access::{Access, shown};
use super::{Action, Outputs, PointPlan};

impl PointPlan {
    /// A line each.
    pub(crate) fn explain(&self) -> Vec<String> {
        let name = &self.table.name;
        match &self.action {
            Action::Select(select) => {
                let mut lines = self.access("Select from", &select.access, select.filter.as_ref());
                if let Outputs::Computed(program) = &select.outputs {
                    lines.push(format!("  Output: {}", program.shown()));
                }
                lines
            }
            Action::Insert(rows) => {
                vec![format!("Insert into {name}"), format!("  Point: rows={}", rows.len())]
            }
            Action::Update(change) => self.access("Update", &change.access, change.filter.as_ref()),
            Action::Delete(change) => self.access("Delete from", &change.access, change.filter.as_ref()),
        }
    }

    fn access(&self, action: &str, access: &Access, filter: Option<&super::Program>) -> Vec<String> {
        let index = self.table.index(access.index).map_or("?", |index| index.name.as_str());
        let mut lines = vec![
            format!("{action} {}", self.table.name),
            format!("  Point: index={index} ({})", shown(access, &self.table)),
        ];
        if let Some(filter) = filter {
            lines.push(format!("  Filter: {}", filter.shown()));
        }
        lines
    }
}
