//! What an OID or a name stands for, and its definition.

use std::sync::Arc;

use strata_core::catalog::{IndexDef, Relation, SchemaDef, TableDef};

use super::{Definition, FunctionContext};
use crate::error::{SqlError, SqlResult};
use crate::postgres::pg_catalog::definition::{constraint_definition, index_column, index_definition, quote};
use crate::postgres::pg_catalog::types::role_name;
use crate::postgres::pg_catalog::{
    PG_CATALOG, SystemRelation, Value, constraint_oid, index_oid, statistics, system_relations, table_oid,
};
use crate::postgres::types::oid;

pub(super) static FUNCTIONS: &[Definition] = &[
    Definition::strict("pg_get_indexdef", 1..=3, oid::TEXT, |context, arguments| {
        Ok(context.index_definition(arguments).into())
    }),
    Definition::strict("pg_get_constraintdef", 1..=2, oid::TEXT, |context, arguments| {
        Ok(context.constraint_definition(arguments).into())
    }),
    Definition::strict("pg_get_viewdef", 1..=2, oid::TEXT, |context, arguments| {
        context.view_definition(arguments)
    }),
    Definition::strict("pg_get_userbyid", 1..=1, oid::NAME, |_, arguments| {
        let role = arguments.first().and_then(Value::int).unwrap_or_default();
        Ok(role_name(role).map_or_else(|| format!("unknown (OID={role})"), str::to_owned).into())
    }),
    Definition::strict("pg_table_is_visible", 1..=1, oid::BOOL, |context, arguments| {
        Ok(arguments
            .first()
            .and_then(Value::int)
            .and_then(|oid| context.by_oid(oid))
            .map(|found| context.is_visible(&found))
            .into())
    }),
    Definition::strict("pg_relation_size", 1..=2, oid::INT8, |context, arguments| {
        context.size(arguments, |sizes| sizes.own)
    }),
    Definition::strict("pg_table_size", 1..=1, oid::INT8, |context, arguments| {
        context.size(arguments, |sizes| sizes.own)
    }),
    Definition::strict("pg_indexes_size", 1..=1, oid::INT8, |context, arguments| {
        context.size(arguments, |sizes| sizes.indexes)
    }),
    Definition::strict("pg_total_relation_size", 1..=1, oid::INT8, |context, arguments| {
        context.size(arguments, |sizes| sizes.own.saturating_add(sizes.indexes))
    }),
    Definition::strict("pg_database_size", 1..=1, oid::INT8, |context, _| {
        let tables = context.catalog.tables();
        let bytes: i64 =
            tables.map(|table| context.table_sizes(table)).map(|s| s.own.saturating_add(s.indexes)).sum();
        Ok(bytes.into())
    }),
];

/// A relation of pg_class.
pub(super) enum Found<'a> {
    System(&'static SystemRelation),
    Relation(&'a Arc<SchemaDef>, &'a Relation),
    Index(&'a Arc<SchemaDef>, &'a Arc<TableDef>, &'a IndexDef),
}

/// Bytes, estimated: rows times the width of a row.
struct Sizes {
    own: i64,
    indexes: i64,
}

impl Found<'_> {
    pub(super) fn oid(&self) -> i64 {
        match self {
            Self::System(relation) => relation.oid,
            Self::Relation(_, relation) => table_oid(relation.id()),
            Self::Index(_, _, index) => index_oid(index.id),
        }
    }

    fn schema(&self) -> &str {
        match self {
            Self::System(relation) => relation.schema_name,
            Self::Relation(schema, _) | Self::Index(schema, _, _) => &schema.name,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::System(relation) => relation.name,
            Self::Relation(_, relation) => relation.name(),
            Self::Index(_, _, index) => &index.name,
        }
    }
}

impl FunctionContext {
    fn indexes(&self) -> impl Iterator<Item = (&Arc<SchemaDef>, &Arc<TableDef>, &IndexDef)> {
        self.catalog
            .tables()
            .filter_map(|table| Some((self.catalog.schema_by_id(table.schema_id)?, table)))
            .flat_map(|(schema, table)| table.indexes.iter().map(move |index| (schema, table, index)))
    }

    /// The relation of this OID.
    pub(super) fn by_oid(&self, oid: i64) -> Option<Found<'_>> {
        if let Some(relation) = self.catalog.relations().find(|relation| table_oid(relation.id()) == oid) {
            return Some(Found::Relation(self.catalog.schema_by_id(relation.schema_id())?, relation));
        }
        if let Some((schema, table, index)) = self.indexes().find(|(_, _, index)| index_oid(index.id) == oid)
        {
            return Some(Found::Index(schema, table, index));
        }
        system_relations().iter().find(|relation| relation.oid == oid).map(Found::System)
    }

    /// The relation of this name in a schema.
    pub(super) fn in_schema(&self, schema: &str, name: &str) -> Option<Found<'_>> {
        if let Some(found) = self.catalog.schema(schema) {
            if let Some(relation) = self.catalog.relation(schema, name) {
                return Some(Found::Relation(found, relation));
            }
            let mut indexes = self.indexes();
            if let Some((_, table, index)) =
                indexes.find(|(of, _, index)| of.name == schema && index.name == name)
            {
                return Some(Found::Index(found, table, index));
            }
        }
        let mut system = system_relations().iter();
        system.find(|relation| relation.schema_name == schema && relation.name == name).map(Found::System)
    }

    /// The schemas that names without one are looked up in.
    fn path(&self) -> impl Iterator<Item = &str> {
        let named = self.search_path.iter().any(|schema| schema == PG_CATALOG);
        (!named).then_some(PG_CATALOG).into_iter().chain(self.search_path.iter().map(String::as_str))
    }

    /// The relation that a name without a schema means.
    pub(super) fn on_path(&self, name: &str) -> Option<Found<'_>> {
        self.path().find_map(|schema| self.in_schema(schema, name))
    }

    /// Whether the name alone means this relation.
    pub(super) fn is_visible(&self, found: &Found<'_>) -> bool {
        self.on_path(found.name()).is_some_and(|first| first.oid() == found.oid())
    }

    /// The relation's name, with its schema if it needs it.
    pub(super) fn shown(&self, found: &Found<'_>) -> String {
        if self.is_visible(found) {
            quote(found.name())
        } else {
            format!("{}.{}", quote(found.schema()), quote(found.name()))
        }
    }

    fn index_definition(&self, arguments: &[Value]) -> Option<String> {
        let Found::Index(schema, table, index) = self.by_oid(arguments.first()?.int()?)? else { return None };
        match arguments.get(1).and_then(Value::int) {
            None | Some(0) => Some(index_definition(&schema.name, table, index)),
            Some(position) => index_column(table, index, position),
        }
    }

    fn constraint_definition(&self, arguments: &[Value]) -> Option<String> {
        let wanted = arguments.first()?.int()?;
        let (_, table, index) = self.indexes().find(|(_, _, index)| constraint_oid(index.id) == wanted)?;
        constraint_definition(table, index)
    }

    fn view_definition(&self, arguments: &[Value]) -> SqlResult<Value> {
        let found = match arguments.first() {
            Some(Value::Text(name)) => Some(self.relation_named(name)?),
            Some(value) => value.int().and_then(|oid| self.by_oid(oid)),
            None => None,
        };
        Ok(match found {
            Some(Found::Relation(_, Relation::View(view))) => format!(" {};", view.query).into(),
            _ => Value::Null,
        })
    }

    fn table_sizes(&self, table: &TableDef) -> Sizes {
        let rows = self.database.view().table(table.id).map_or(0, |view| view.row_count());
        let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        const BYTES_PER_INDEX_ENTRY: u64 = 16;
        let entries = rows.saturating_mul(table.indexes.len() as u64);
        Sizes {
            own: bytes(statistics::table_bytes(table, rows)),
            indexes: bytes(entries.saturating_mul(BYTES_PER_INDEX_ENTRY)),
        }
    }

    fn size(&self, arguments: &[Value], of: fn(&Sizes) -> i64) -> SqlResult<Value> {
        let found = match arguments.first() {
            Some(Value::Text(name)) if name.parse::<i64>().is_err() => Some(self.relation_named(name)?),
            Some(value) => value.int().and_then(|oid| self.by_oid(oid)),
            None => return Err(SqlError::internal("a size of nothing")),
        };
        Ok(match found {
            None => Value::Null,
            Some(Found::Relation(_, Relation::Table(table))) => of(&self.table_sizes(table)).into(),
            Some(Found::Index(_, table, _)) => {
                let count = i64::try_from(table.indexes.len().max(1)).unwrap_or(1);
                (self.table_sizes(table).indexes / count).into()
            }
            Some(_) => Value::Int(0),
        })
    }
}
