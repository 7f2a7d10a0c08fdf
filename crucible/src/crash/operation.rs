//! The transactions that clients run.

use super::doing::Doing;
use super::model::ClientModel;
use crate::random::Random;

/// Rows of one tag are numbered from the tag times this.
pub(super) const PAIR_IDS: u64 = 100;
/// The same for rows of the bulk table.
pub(super) const BULK_IDS: u64 = 1_000_000;
/// Pairs that a client keeps at most.
const PAIRS_MAX: usize = 400;
/// Bulk loads that a client keeps at most.
const BULK_MAX: usize = 4;

/// A transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// So many rows into each table of pairs.
    Insert { tag: u64, rows: u64 },
    /// The next version of a tag's rows in both.
    Update { tag: u64 },
    /// A tag's rows out of both.
    Delete { tag: u64 },
    /// The counter, and the log of its steps.
    Step,
    /// INSERT … SELECT of so many rows, and a row that tells of them.
    Bulk { tag: u64, rows: u64 },
    /// The same through COPY.
    Copy { tag: u64, rows: u64 },
    /// A bulk load's rows out again.
    BulkDelete { tag: u64 },
}

impl Operation {
    /// What it counts as among those that a kill hit.
    pub(super) fn doing(self) -> Doing {
        match self {
            Self::Insert { .. } => Doing::Insert,
            Self::Update { .. } => Doing::Update,
            Self::Delete { .. } | Self::BulkDelete { .. } => Doing::Delete,
            Self::Step => Doing::HotRow,
            Self::Bulk { .. } => Doing::BulkInsert,
            Self::Copy { .. } => Doing::Copy,
        }
    }

    /// What the client does next.
    pub(super) fn choose(model: &mut ClientModel, random: &mut Random, bulk_rows: u64) -> Self {
        let some_pair = |model: &ClientModel, random: &mut Random| {
            let count = u64::try_from(model.pairs.len()).unwrap_or(u64::MAX);
            let index = usize::try_from(random.within(0..count.max(1))).unwrap_or(0);
            model.pairs.keys().nth(index).copied()
        };
        match random.within(0..100) {
            0..30 if model.pairs.len() < PAIRS_MAX => {
                Self::Insert { tag: model.new_tag(), rows: random.within(1..20) }
            }
            30..50 => match some_pair(model, random) {
                Some(tag) => Self::Update { tag },
                None => Self::Step,
            },
            50..62 => match some_pair(model, random) {
                Some(tag) => Self::Delete { tag },
                None => Self::Step,
            },
            62..70 => match model.bulk.keys().next().copied() {
                Some(tag) if model.bulk.len() >= BULK_MAX => Self::BulkDelete { tag },
                _ => {
                    // Mostly small, now and then as large as may be.
                    let rows =
                        if random.chance(1, 8) { bulk_rows } else { random.within(1..bulk_rows.min(2000)) };
                    let tag = model.new_tag();
                    if random.chance(1, 2) { Self::Bulk { tag, rows } } else { Self::Copy { tag, rows } }
                }
            },
            _ => Self::Step,
        }
    }

    /// Its statements, without BEGIN, COPY and COMMIT.
    pub(super) fn statements(self, model: &ClientModel) -> Vec<String> {
        match self {
            Self::Insert { tag, rows } => {
                let values = |last: &dyn Fn(u64) -> String| {
                    let rows =
                        (1..=rows).map(|row| format!("({}, {tag}, 0, {})", tag * PAIR_IDS + row, last(row)));
                    rows.collect::<Vec<_>>().join(", ")
                };
                let left =
                    values(&|row| format!("'{}'", "payload ".repeat(usize::try_from(row * 3).unwrap_or(1))));
                let right = values(&|row| format!("{row}.25"));
                vec![
                    format!("INSERT INTO left_pairs VALUES {left}"),
                    format!("INSERT INTO right_pairs VALUES {right}"),
                ]
            }
            Self::Update { tag } => vec![
                format!("UPDATE left_pairs SET version = version + 1 WHERE tag = {tag}"),
                format!(
                    "UPDATE right_pairs SET version = version + 1, amount = amount + 1 WHERE tag = {tag}"
                ),
            ],
            Self::Delete { tag } => vec![
                format!("DELETE FROM right_pairs WHERE tag = {tag}"),
                format!("DELETE FROM left_pairs WHERE tag = {tag}"),
            ],
            Self::Step => vec![
                "UPDATE counter SET value = value + 1 WHERE id = 1".to_owned(),
                format!("INSERT INTO steps VALUES ({}, {})", model.client, model.steps + 1),
            ],
            Self::Bulk { tag, rows } => {
                let first = tag * BULK_IDS;
                vec![
                    format!(
                        "INSERT INTO bulk SELECT value, {tag}, 'bulk' FROM generate_series({}, {}) AS series(value)",
                        first + 1,
                        first + rows
                    ),
                    format!("INSERT INTO bulk_tags VALUES ({tag}, {rows})"),
                ]
            }
            Self::Copy { tag, rows } => vec![format!("INSERT INTO bulk_tags VALUES ({tag}, {rows})")],
            Self::BulkDelete { tag } => vec![
                format!("DELETE FROM bulk WHERE tag = {tag}"),
                format!("DELETE FROM bulk_tags WHERE tag = {tag}"),
            ],
        }
    }
}
