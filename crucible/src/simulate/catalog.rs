//! What a catalog names, against the model: schemas, relations with their definitions, indexes, and the way from names to all of them.

use std::sync::Arc;

use strata_core::catalog::{Catalog, Relation};

use super::model::State;
use super::stop::{Stop, wrong};

/// Relations have one of so many names, which they share with others that are gone.
pub(super) const RELATIONS: [&str; 4] = ["t0", "t1", "t2", "t3"];
/// The names of the schemas that come and go.
pub(super) const SCHEMAS: [&str; 3] = ["s0", "s1", "s2"];

/// Whether two states name the same, with the same definitions.
pub(super) fn is_same(left: &State, right: &State) -> bool {
    let tables = || left.tables.iter().zip(&right.tables);
    left.schemas == right.schemas
        && left.views == right.views
        && left.tables.len() == right.tables.len()
        && tables().all(|(left, right)| left.0 == right.0 && left.1.def == right.1.def)
}

/// Fails where a catalog has something else than the model.
pub(super) fn holds(catalog: &Catalog, due: &State) -> Result<(), Stop> {
    schemas(catalog, due)?;
    relations(catalog, due)?;
    names(catalog, due)
}

fn schemas(catalog: &Catalog, due: &State) -> Result<(), Stop> {
    let there: Vec<_> = catalog.schemas().map(|schema| (schema.id, schema.name.as_str())).collect();
    let expected: Vec<_> = due.schemas.iter().map(|(id, name)| (*id, name.as_str())).collect();
    if there != expected {
        return Err(wrong(format!("the catalog has schemas {there:?}, not {expected:?}")));
    }
    for name in SCHEMAS {
        let (found, expected) = (catalog.schema(name).map(|schema| schema.id), due.schema(name));
        if found != expected {
            return Err(wrong(format!("schema {name} is found as {found:?}, not as {expected:?}")));
        }
    }
    Ok(())
}

fn relations(catalog: &Catalog, due: &State) -> Result<(), Stop> {
    let there: Vec<_> = catalog.relations().map(Relation::id).collect();
    let mut expected: Vec<_> = due.tables.keys().chain(due.views.keys()).copied().collect();
    expected.sort_unstable();
    if there != expected {
        return Err(wrong(format!("the catalog has relations {there:?}, not {expected:?}")));
    }
    for relation in catalog.relations() {
        let id = relation.id();
        let is_due = match relation {
            Relation::Table(table) => due.tables.get(&id).is_some_and(|due| is_equal(&due.def, table)),
            Relation::View(view) => due.views.get(&id).is_some_and(|due| is_equal(due, view)),
        };
        if !is_due {
            let table = due.tables.get(&id).map(|table| &table.def);
            let view = due.views.get(&id);
            return Err(wrong(format!("{id} is defined as {relation:?}, not as {table:?} or {view:?}")));
        }
    }
    Ok(())
}

fn is_equal<T: PartialEq>(left: &Arc<T>, right: &Arc<T>) -> bool {
    Arc::ptr_eq(left, right) || left == right
}

fn names(catalog: &Catalog, due: &State) -> Result<(), Stop> {
    for (id, schema) in &due.schemas {
        let about = |what: String| wrong(format!("in schema {schema}, {what}"));
        for name in RELATIONS {
            let found = catalog.relation(schema, name).map(Relation::id);
            let expected = due.named(*id, name);
            if found != expected {
                return Err(about(format!("{name} is found as {found:?}, not as {expected:?}")));
            }
        }
        let tables = due.tables.values().filter(|table| table.def.schema_id == *id);
        for (table, index) in
            tables.flat_map(|table| table.def.indexes.iter().map(|index| (&table.def, index)))
        {
            let found = catalog.find_index(schema, &index.name);
            if found != Some((table.id, index.id)) {
                return Err(about(format!("index {} of {} is found as {found:?}", index.name, table.name)));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::model::PUBLIC;

    #[test]
    fn what_the_model_lacks_is_seen() {
        let (mut catalog, due) = (Catalog::default(), State::default());
        holds(&catalog, &due).expect("both are empty");
        catalog.create_view(PUBLIC, "t0", "SELECT 1", Vec::new()).expect("new");
        assert!(holds(&catalog, &due).is_err(), "a view that nobody made");
        let mut catalog = Catalog::default();
        catalog.create_schema("s0").expect("new");
        assert!(holds(&catalog, &due).is_err(), "a schema that nobody made");
    }
}
