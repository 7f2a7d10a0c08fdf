//! `x op ANY (array)` and `x op ALL (array)`.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, UInt32Array};
use datafusion::arrow::compute::kernels::cmp;
use datafusion::arrow::compute::{cast as arrow_cast, take};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    lit,
};

use super::compare::{comparable, unify};
use super::{Operand, like_arguments, no_operator};
use crate::error::{SqlError, SqlResult};
use crate::postgres::types::{PgType, oid};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// The comparison of a value with the elements of an array.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantified {
    symbol: &'static str,
    comparison: Comparison,
    all: bool,
    signature: Signature,
}

static FUNCTIONS: LazyLock<Vec<Arc<ScalarUDF>>> = LazyLock::new(|| {
    use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    [
        ("= ANY", Equal, false),
        ("<> ANY", NotEqual, false),
        ("< ANY", Less, false),
        ("<= ANY", LessOrEqual, false),
        ("> ANY", Greater, false),
        (">= ANY", GreaterOrEqual, false),
        ("= ALL", Equal, true),
        ("<> ALL", NotEqual, true),
        ("< ALL", Less, true),
        ("<= ALL", LessOrEqual, true),
        ("> ALL", Greater, true),
        (">= ALL", GreaterOrEqual, true),
    ]
    .into_iter()
    .map(|(symbol, comparison, all)| {
        let signature = Signature::any(2, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Quantified { symbol, comparison, all, signature }))
    })
    .collect()
});

/// The expression of an operator that is called `op ANY` or `op ALL`.
pub(super) fn plan(
    symbol: &str,
    (left, right): (Expr, Expr),
    sides: (Operand, Operand),
    schema: &DFSchema,
) -> SqlResult<Expr> {
    let function = FUNCTIONS
        .iter()
        .find(|function| function.name() == symbol)
        .ok_or_else(|| SqlError::unsupported(format!("{symbol} of an array is not supported")))?;
    let array = match sides.1 {
        Operand::Typed(found) if found.element().is_some() => found,
        Operand::Typed(_) => match right.get_type(schema).map_err(SqlError::from)? {
            // What the catalogs call a vector.
            list @ DataType::List(_) => PgType::natural(&list),
            _ => return Err(SqlError::new("42809", "op ANY/ALL (array) requires array on right side")),
        },
        _ => {
            let element = sides.0.known().unwrap_or(PgType::new(oid::TEXT));
            element.array().ok_or_else(|| {
                SqlError::unsupported(format!("arrays of {} are not supported", element.sql_name()))
            })?
        }
    };
    let element = array.element().unwrap_or(PgType::new(oid::TEXT));
    let right = sides.1.settle(right, array)?;
    let left_type = sides.0.known().unwrap_or(element);
    let left = sides.0.settle(left, element)?;
    let common = comparable(left_type, element).ok_or_else(|| {
        let plain = symbol.split(' ').next().unwrap_or(symbol);
        no_operator(sides.0.shown(), plain, element)
    })?;
    if common.oid == oid::INTERVAL || common.element().is_some() {
        return Err(SqlError::unsupported(format!("{symbol} of {} is not supported", array.sql_name())));
    }
    let left = unify(left, left_type, common);
    let right = match common.array() {
        Some(wanted) => unify(right, array, wanted),
        None => right,
    };
    Ok(function.call(vec![left, right]))
}

impl Quantified {
    fn compare(&self, left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray> {
        Ok(match self.comparison {
            Comparison::Equal => cmp::eq(left, right),
            Comparison::NotEqual => cmp::neq(left, right),
            Comparison::Less => cmp::lt(left, right),
            Comparison::LessOrEqual => cmp::lt_eq(left, right),
            Comparison::Greater => cmp::gt(left, right),
            Comparison::GreaterOrEqual => cmp::gt_eq(left, right),
        }?)
    }

    /// One answer for each row.
    fn answers(&self, left: &ArrayRef, lists: &ArrayRef) -> Result<BooleanArray> {
        let rows = lists.len();
        if lists.data_type() == &DataType::Null {
            return Ok(BooleanArray::new_null(rows));
        }
        let lists = lists
            .as_list_opt::<i32>()
            .ok_or_else(|| SqlError::unsupported(format!("{} of {}", self.symbol, lists.data_type())))?;
        let length = |row: usize| if lists.is_null(row) { 0 } else { lists.value_length(row).unsigned_abs() };
        let total: u32 = (0..rows).map(length).sum();
        let (mut of_left, mut of_values) = (Vec::new(), Vec::new());
        of_left.reserve(total as usize);
        of_values.reserve(total as usize);
        for row in 0..rows {
            let first = lists.value_offsets()[row].unsigned_abs();
            for place in 0..length(row) {
                of_left.push(u32::try_from(row).unwrap_or(u32::MAX));
                of_values.push(first + place);
            }
        }
        let left = take(left, &UInt32Array::from(of_left), None)?;
        let values = take(lists.values(), &UInt32Array::from(of_values), None)?;
        let common = comparison_coercion(left.data_type(), values.data_type())
            .ok_or_else(|| SqlError::unsupported(format!("{} of {}", self.symbol, values.data_type())))?;
        let compared = self.compare(&arrow_cast(&left, &common)?, &arrow_cast(&values, &common)?)?;
        let mut answers = BooleanBuilder::with_capacity(rows);
        let mut next = 0;
        for row in 0..rows {
            let end = next + length(row) as usize;
            let (mut decided, mut unknown) = (false, false);
            for place in next..end {
                unknown |= compared.is_null(place);
                decided |= compared.is_valid(place) && compared.value(place) != self.all;
            }
            next = end;
            match () {
                () if lists.is_null(row) => answers.append_null(),
                () if decided => answers.append_value(!self.all),
                () if unknown => answers.append_null(),
                () => answers.append_value(self.all),
            }
        }
        Ok(answers.finish())
    }

    /// `= ANY` and `<> ALL` of known elements: what indexes and zone maps see through.
    fn as_list(&self, left: &Expr, array: &ScalarValue, info: &SimplifyContext) -> Result<Option<Expr>> {
        let is_list = match self.comparison {
            Comparison::Equal => !self.all,
            Comparison::NotEqual => self.all,
            _ => false,
        };
        let ScalarValue::List(list) = array else { return Ok(None) };
        if !is_list || list.len() != 1 || list.is_null(0) {
            return Ok(None);
        }
        let wanted = info.get_data_type(left)?;
        let values = list.value(0);
        let mut items = Vec::with_capacity(values.len());
        for place in 0..values.len() {
            let item = ScalarValue::try_from_array(&values, place)?;
            // The list is compared as the left side's type: an element that this has not is for the slow way.
            let same = item.cast_to(&wanted).ok().filter(|same| {
                item.data_type() == wanted || same.cast_to(&item.data_type()).is_ok_and(|back| back == item)
            });
            let Some(same) = same else { return Ok(None) };
            items.push(lit(same));
        }
        if items.is_empty() {
            return Ok(Some(lit(self.all)));
        }
        Ok(Some(Expr::InList(InList::new(Box::new(left.clone()), items, self.all))))
    }
}

impl ScalarUDFImpl for Quantified {
    fn name(&self) -> &str {
        self.symbol
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, lists] = &ColumnarValue::values_to_arrays(&args.args)?[..] else {
            return Err(SqlError::internal("a comparison needs a value and an array").into());
        };
        like_arguments(&args.args, Arc::new(self.answers(left, lists)?))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let [left, Expr::Literal(array, _)] = args.as_slice()
            && let Some(list) = self.as_list(left, array, info)?
        {
            return Ok(ExprSimplifyResult::Simplified(list));
        }
        Ok(ExprSimplifyResult::Original(args))
    }
}
