//! What depends on relations: views on what their queries name.
//!
//! A view is its query's text, whose names are looked up when it is planned; so they are here.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{ObjectName, Query, Statement as Ast, Visit, Visitor};
use strata_core::catalog::{Catalog, Relation, ViewDef};
use strata_core::ids::TableId;

use super::find_relation;
use crate::error::{SqlError, SqlResult};
use crate::session::Session;
use crate::sql::names::fold;

/// A view and what it reads.
#[derive(Debug)]
pub(super) struct Dependant {
    pub(super) view: Arc<ViewDef>,
    /// The relation that it is found by.
    pub(super) on: TableId,
}

/// The names in a query's FROM clauses, without those that it defines itself.
#[derive(Default)]
struct Names {
    found: Vec<ObjectName>,
    defined: Vec<String>,
}

impl Visitor for Names {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.defined.extend(tables.map(|table| fold(&table.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.found.push(relation.clone());
        ControlFlow::Continue(())
    }
}

/// The relations that a query names.
fn relations_of(catalog: &Catalog, search_path: &[String], query: &Ast) -> Vec<TableId> {
    let mut names = Names::default();
    let _ = query.visit(&mut names);
    let is_defined = |name: &ObjectName| match name.0.as_slice() {
        [only] => only.as_ident().is_some_and(|only| names.defined.contains(&fold(only))),
        _ => false,
    };
    let found = names.found.iter().filter(|name| !is_defined(name)).filter_map(|name| {
        let (schema, relation) = find_relation(search_path, catalog, name).ok()??;
        catalog.relation(&schema, &relation).map(Relation::id)
    });
    found.collect()
}

/// All views that read these relations, or views that do; each behind what it reads.
pub(super) fn views_over(catalog: &Catalog, search_path: &[String], relations: &[TableId]) -> Vec<Dependant> {
    let views = catalog.relations().filter_map(|relation| match relation {
        Relation::View(view) => {
            let schema = catalog.schema_by_id(view.schema_id)?;
            let path: Vec<String> =
                std::iter::once(schema.name.clone()).chain(search_path.iter().cloned()).collect();
            let query = crate::sql::parse::parse(&view.query).ok()?.pop()?;
            Some((Arc::clone(view), relations_of(catalog, &path, query.ast())))
        }
        Relation::Table(_) => None,
    });
    let views: Vec<(Arc<ViewDef>, Vec<TableId>)> = views.collect();
    let mut reached = relations.to_vec();
    let mut found = Vec::new();
    let mut next = 0;
    while let Some(on) = reached.get(next).copied() {
        next += 1;
        for (view, reads) in &views {
            if reads.contains(&on) && !reached.contains(&view.id) {
                reached.push(view.id);
                found.push(Dependant { view: Arc::clone(view), on });
            }
        }
    }
    found
}

/// `table a`.
pub(super) fn described(catalog: &Catalog, relation: TableId) -> String {
    match catalog.relation_by_id(relation) {
        Some(Relation::View(view)) => format!("view {}", view.name),
        Some(Relation::Table(table)) => format!("table {}", table.name),
        None => "a relation".to_owned(),
    }
}

/// 2BP01, or with CASCADE the notice of what goes, too.
pub(super) fn check(
    session: &mut Session,
    catalog: &Catalog,
    dropped: &str,
    dependants: &[Dependant],
    cascade: bool,
) -> SqlResult<()> {
    match dependants {
        [] => Ok(()),
        [only] if cascade => {
            session.notice("00000", format!("drop cascades to view {}", only.view.name));
            Ok(())
        }
        all if cascade => {
            session.notice("00000", format!("drop cascades to {} other objects", all.len()));
            Ok(())
        }
        all => {
            let details: Vec<String> = all
                .iter()
                .map(|found| format!("view {} depends on {}", found.view.name, described(catalog, found.on)))
                .collect();
            Err(SqlError::new("2BP01", format!("cannot drop {dropped} because other objects depend on it"))
                .with_detail(details.join("\n"))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."))
        }
    }
}

/// The columns of views as they are now; `None` for one that cannot be planned.
pub(super) fn shapes(session: &mut Session, views: &[Dependant]) -> SqlResult<Vec<Option<SchemaRef>>> {
    if views.is_empty() {
        return Ok(Vec::new());
    }
    let (planner, catalog) = session.start_statement()?;
    let shape = |found: &Dependant| {
        let schema = catalog.schema_by_id(found.view.schema_id)?;
        planner.view_columns(&schema.name, &found.view).ok()
    };
    Ok(views.iter().map(shape).collect())
}
