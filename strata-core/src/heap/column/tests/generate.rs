//! Values of every type, spread in different ways.

use super::Random;
use crate::row::{ColumnType, Datum};

/// Types of all forms.
pub fn types() -> Vec<ColumnType> {
    vec![
        ColumnType::Bool,
        ColumnType::Int16,
        ColumnType::Int32,
        ColumnType::Int64,
        ColumnType::Float32,
        ColumnType::Float64,
        ColumnType::Decimal { precision: 15, scale: 2 },
        ColumnType::Decimal { precision: 38, scale: 10 },
        ColumnType::Text,
        ColumnType::Bytes,
        ColumnType::Date,
        ColumnType::Time,
        ColumnType::Timestamp,
        ColumnType::TimestampTz,
        ColumnType::Interval,
        ColumnType::Uuid,
        ColumnType::Array(Box::new(ColumnType::Int32)),
        ColumnType::Array(Box::new(ColumnType::Text)),
    ]
}

/// How the values of a column are spread.
#[derive(Clone, Copy, Debug)]
pub enum Profile {
    Constant,
    Few,
    Growing,
    Random,
    Extreme,
    Clustered,
}

pub const PROFILES: [Profile; 6] = [
    Profile::Constant,
    Profile::Few,
    Profile::Growing,
    Profile::Random,
    Profile::Extreme,
    Profile::Clustered,
];

/// A number that follows the profile, to make a value of any type from.
fn number(profile: Profile, at: usize, random: &mut Random) -> i64 {
    match profile {
        Profile::Constant => 42,
        Profile::Few => (random.below(9) as i64 - 4) * 1_000_003,
        Profile::Growing => at as i64 * 40 + random.below(50) as i64,
        Profile::Random => random.next() as i64,
        Profile::Clustered => at as i64 / 90 * 7919 % 5003,
        Profile::Extreme => [i64::MIN, i64::MAX, 0, -1, 1][random.below(5) as usize],
    }
}

const WORDS: [&str; 8] =
    ["carefully", "final deposits", "sleep", "", "among", "ünïcödé \u{10FFFF}", "quickly ironic", "\0"];

fn words(number: i64, random: &mut Random, profile: Profile) -> String {
    let count = match profile {
        Profile::Constant | Profile::Few | Profile::Clustered => number.unsigned_abs() % 3,
        Profile::Extreme => random.below(40),
        _ => random.below(6),
    };
    let mut text = format!("{number} ");
    for _ in 0..count {
        let word = match profile {
            Profile::Constant | Profile::Few | Profile::Clustered => 1,
            _ => random.below(8) as usize,
        };
        text += WORDS[word];
    }
    if matches!(profile, Profile::Extreme) && number == 1 { String::new() } else { text }
}

fn value(column_type: &ColumnType, profile: Profile, at: usize, random: &mut Random) -> Datum {
    let number = number(profile, at, random);
    match column_type {
        ColumnType::Bool => Datum::Bool(number & 1 == 1),
        ColumnType::Int16 => Datum::Int16(number as i16),
        ColumnType::Int32 => Datum::Int32(number as i32),
        ColumnType::Int64 => Datum::Int64(number),
        ColumnType::Date => Datum::Date(number as i32),
        ColumnType::Time => Datum::Time(number.rem_euclid(86_400_000_000)),
        ColumnType::Timestamp => Datum::Timestamp(number.wrapping_mul(1_000_000)),
        ColumnType::TimestampTz => Datum::TimestampTz(number),
        ColumnType::Float32 => Datum::Float32(if number == 0 { f32::NAN } else { number as f32 / 8.0 }),
        ColumnType::Float64 => Datum::Float64(match number {
            0 => f64::NAN,
            1 => -0.0,
            -1 => f64::NEG_INFINITY,
            number => number as f64 / 100.0,
        }),
        ColumnType::Decimal { precision: 38, .. } => {
            let limit = 10_i128.pow(38) - 1;
            Datum::Decimal((i128::from(number) * 5_000_000_000_000_000_000).clamp(-limit, limit))
        }
        ColumnType::Decimal { .. } => Datum::Decimal(i128::from(number % 1_000_000_000_000_000)),
        ColumnType::Interval => Datum::Interval {
            months: (number % 100) as i32,
            days: number as i32,
            nanoseconds: number.rotate_left(7),
        },
        ColumnType::Uuid => {
            let mut bytes = [7; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            Datum::Uuid(bytes)
        }
        ColumnType::Text => Datum::Text(words(number, random, profile)),
        ColumnType::Bytes => {
            let mut bytes = words(number, random, profile).into_bytes();
            bytes.extend([0xFF, 0]);
            Datum::Bytes(bytes)
        }
        ColumnType::Array(element_type) => {
            let count = number.unsigned_abs() % 4;
            let element = |place: u64| match place {
                2 => Datum::Null,
                _ => value(element_type, profile, at, random),
            };
            Datum::Array((0..count).map(element).collect())
        }
    }
}

/// Values of a column: seeded, so that they come again.
pub fn values(
    column_type: &ColumnType,
    profile: Profile,
    rows: usize,
    null_percent: u64,
    seed: u64,
) -> Vec<Datum> {
    let mut random = Random::new(seed);
    (0..rows)
        .map(|at| match random.below(100) < null_percent {
            true => Datum::Null,
            false => value(column_type, profile, at, &mut random),
        })
        .collect()
}
