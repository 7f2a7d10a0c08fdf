//! The bytes of a column's type: tag, precision, scale, and 1 for an array of that type.

use crate::codec::{Cursor, Damage, Decoded};
use crate::row::ColumnType;

const TYPES: [(u8, ColumnType); 14] = [
    (1, ColumnType::Bool),
    (2, ColumnType::Int16),
    (3, ColumnType::Int32),
    (4, ColumnType::Int64),
    (5, ColumnType::Float32),
    (6, ColumnType::Float64),
    (8, ColumnType::Text),
    (9, ColumnType::Bytes),
    (10, ColumnType::Date),
    (11, ColumnType::Time),
    (12, ColumnType::Timestamp),
    (13, ColumnType::TimestampTz),
    (14, ColumnType::Interval),
    (15, ColumnType::Uuid),
];
const DECIMAL: u8 = 7;

/// The bytes of a type.
pub(super) fn encode_type(column_type: &ColumnType) -> [u8; 4] {
    match column_type {
        ColumnType::Decimal { precision, scale } => [DECIMAL, *precision, *scale, 0],
        ColumnType::Array(element_type) => {
            let [tag, precision, scale, _] = encode_type(element_type);
            [tag, precision, scale, 1]
        }
        simple => {
            let known = TYPES.iter().find(|(_, known)| known == simple);
            [known.map_or(0, |(tag, _)| *tag), 0, 0, 0]
        }
    }
}

/// The type of the next four bytes.
pub(super) fn decode_type(cursor: &mut Cursor<'_>) -> Decoded<ColumnType> {
    let offset = cursor.offset();
    let [tag, precision, scale, array] = cursor.array::<4>()?;
    let unknown = || Damage::at(offset, format!("unknown column type {tag} {precision} {scale} {array}"));
    let element_type = match tag {
        DECIMAL if (1..=38).contains(&precision) && scale <= precision => {
            ColumnType::Decimal { precision, scale }
        }
        _ if precision != 0 || scale != 0 => return Err(unknown()),
        _ => TYPES
            .iter()
            .find(|(known, _)| *known == tag)
            .map(|(_, known)| known.clone())
            .ok_or_else(unknown)?,
    };
    match array {
        0 => Ok(element_type),
        1 => Ok(ColumnType::Array(Box::new(element_type))),
        _ => Err(unknown()),
    }
}
