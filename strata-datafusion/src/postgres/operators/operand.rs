//! What is known of an operand's type.

use std::sync::Arc;

use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, ExprSchemable, lit};

use crate::error::SqlResult;
use crate::postgres::cast::cast_call;
use crate::postgres::types::{PgType, oid};

/// What is known of an operand's type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operand {
    /// A literal in quotes: of any type that can read it.
    Literal,
    /// NULL.
    Null,
    /// A parameter without a type.
    Parameter,
    /// Anything else.
    Typed(PgType),
}

impl Operand {
    pub(crate) fn of(expr: &Expr, schema: &DFSchema) -> datafusion::common::Result<Self> {
        Ok(match expr {
            Expr::Literal(ScalarValue::Utf8(Some(_)) | ScalarValue::Utf8View(Some(_)), None) => Self::Literal,
            Expr::Literal(ScalarValue::Null, _) => Self::Null,
            Expr::Placeholder(Placeholder { field: None, .. }) => Self::Parameter,
            other => Self::Typed(PgType::of_field(other.to_field(schema)?.1.as_ref())),
        })
    }

    /// The type, if there is one.
    pub(crate) fn known(self) -> Option<PgType> {
        match self {
            Self::Typed(found) => Some(found),
            _ => None,
        }
    }

    /// The type that errors name.
    pub(crate) fn shown(self) -> PgType {
        self.known().unwrap_or(PgType::new(oid::UNKNOWN))
    }

    /// The expression as one of type `wanted`, if its type was open.
    pub(crate) fn settle(self, expr: Expr, wanted: PgType) -> SqlResult<Expr> {
        // A literal is read as the type, not as its modifier: no comparison cuts text.
        let wanted = PgType { modifier: -1, ..wanted };
        Ok(match (self, expr) {
            (Self::Literal, expr) => match wanted.oid {
                oid::TEXT | oid::VARCHAR | oid::NAME | oid::UNKNOWN => expr,
                _ => cast_call(expr, wanted),
            },
            (Self::Null, _) => lit(ScalarValue::try_from(&wanted.arrow()?)?),
            (Self::Parameter, Expr::Placeholder(Placeholder { id, .. })) => {
                let field = Arc::new(wanted.field("", true)?);
                Expr::Placeholder(Placeholder::new_with_field(id, Some(field)))
            }
            (_, expr) => expr,
        })
    }
}

/// A whole number literal that 32 bits hold is int4.
pub(crate) fn narrow(expr: Expr) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => Expr::Literal(ScalarValue::Int32(Some(value)), metadata),
            Err(_) => Expr::Literal(ScalarValue::Int64(Some(value)), metadata),
        },
        other => other,
    }
}
