//! What the fixture of version 1 holds. Once that is released, no value here may change.

use std::collections::BTreeMap;

use strata_core::row::Datum;

/// The rows of each table, in the order of their first column as text.
pub type Tables = BTreeMap<String, Vec<Vec<Datum>>>;

pub const VIEW: (&str, [&str; 2]) = ("SELECT id, words FROM everything", ["id", "words"]);
pub const INDEXES: [&str; 3] = ["everything_pkey", "everything_words", "everything_few"];

/// Rows of `everything` that one load brings: a segment of this many, and a short one.
pub const ROWS: i64 = 1_400;
pub const SEGMENT_ROWS: i64 = 1_100;

const WORDS: [&str; 12] = [
    "amber", "birch", "cobalt", "damask", "ember", "fern", "garnet", "hazel", "indigo", "jade", "kelp",
    "lilac",
];

/// A number that looks like any other (splitmix64).
fn mixed(seed: i64) -> u64 {
    let mut z = (seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn word(seed: u64) -> &'static str {
    WORDS[(seed % WORDS.len() as u64) as usize]
}

/// The columns of a row of `everything` as it is inserted, in order: each is there for an encoding, or for a type.
pub fn everything(id: i64) -> Vec<Datum> {
    let random = mixed(id);
    let null = |every: i64, value: Datum| if id % every == 0 { Datum::Null } else { value };
    let words = format!("{} and {} of {}", word(random), word(random >> 8), word(random >> 16));
    vec![
        Datum::Int64(id),
        Datum::Text(words),
        Datum::Text(word(random >> 24).into()),
        Datum::Int32(7),
        Datum::Int64((random % 5_000) as i64 - 900),
        Datum::Text(format!("{:016x}{:08x}", mixed(-id), random as u32)),
        Datum::Float64((random % 100_000) as f64 / 100.0),
        Datum::Float64(f64::from_bits(random)),
        Datum::Int64(mixed(id / 12) as i64),
        Datum::Text(format!("run {}", word(mixed(id / 130)))),
        null(3, Datum::Bool(random.is_multiple_of(2))),
        null(7, Datum::Decimal(i128::from(random % 1_000_000) - 500_000)),
        null(5, Datum::Bytes(random.to_le_bytes()[..(random % 8) as usize].to_vec())),
        Datum::Date((id * 3) as i32),
        Datum::TimestampTz(id * 1_000_003),
        null(11, Datum::Uuid((u128::from(random) << 64 | u128::from(mixed(-id))).to_le_bytes())),
        Datum::Interval { months: (id % 12) as i32, days: 2, nanoseconds: id },
        null(4, Datum::Array(vec![Datum::Int32(id as i32), Datum::Null, Datum::Int32(-1)])),
        Datum::Text("dropped".into()),
    ]
}

/// Rows of `runs`, which has no index.
pub const RUNS: i64 = 4_100;

/// A row of `runs`: clustered values, of which those of the last column recur.
pub fn run(id: i64) -> Vec<Datum> {
    let number = mixed(id / 5) % 30_000;
    vec![Datum::Int64(id), Datum::Int64(number as i64), Datum::Text(word(mixed(id / 128)).into())]
}

/// The place of the column that is dropped.
pub const DROPPED: usize = 18;

/// A row of `everything` as it reads after the ALTER TABLE: with `added` in the place of what was dropped.
pub fn altered(id: i64, added: Option<i64>) -> Vec<Datum> {
    let mut values = everything(id);
    values[DROPPED] = added.map_or(Datum::Null, Datum::Int64);
    values
}

/// Which rows of the first segment were deleted before it was rewritten, and of both later.
pub fn is_deleted(id: i64) -> bool {
    (id < SEGMENT_ROWS && id % 11 == 3) || (1_300..1_320).contains(&id)
}

pub fn note(id: i64, text: &str) -> Vec<Datum> {
    vec![Datum::Int64(id), Datum::Text(text.into())]
}

pub fn long(id: i64) -> String {
    format!("{id} ").repeat(10_500)
}

pub fn sorted(mut rows: Vec<Vec<Datum>>) -> Vec<Vec<Datum>> {
    rows.sort_by_key(|row| format!("{:?}", row[0]));
    rows
}

/// What the fixture answers.
pub fn expected() -> Tables {
    let mut rows: Vec<_> = (0..ROWS).filter(|id| !is_deleted(*id)).map(|id| altered(id, Some(42))).collect();
    // Updated while frozen, inserted since, and loaded by the last commits.
    for row in &mut rows {
        if row[0] == Datum::Int64(1_150) {
            *row = altered(1_150, Some(-1));
        }
    }
    rows.extend((5_000..5_010).map(|id| altered(id, (id % 2 == 0).then_some(id))));
    rows.extend((6_000..6_100).map(|id| altered(id, Some(6))));
    let mut notes: Vec<_> = (0..40).filter(|id| *id != 7 && *id != 33).map(|id| note(id, "a note")).collect();
    notes[3] = note(3, "changed");
    notes.push(note(100, &long(100)));
    notes.push(note(200, "of the tail"));
    Tables::from([
        ("public.everything".into(), sorted(rows)),
        ("public.notes".into(), sorted(notes)),
        ("public.runs".into(), sorted((0..RUNS).map(run).collect())),
        ("public.emptied".into(), vec![note(1, "after")]),
        ("public.late".into(), vec![note(1, "made in the tail")]),
        ("extra.small".into(), vec![note(1, "one"), vec![Datum::Int64(2), Datum::Null]]),
    ])
}

/// What it answers once `write::go_on` has gone on with it.
pub fn expected_after() -> Tables {
    let mut tables = expected();
    let rows = tables.get_mut("public.everything").expect("is there");
    rows.retain(|row| !matches!(row[0], Datum::Int64(1_200..1_250)));
    rows.extend((7_000..7_100).map(|id| altered(id, Some(7))));
    let rows = std::mem::take(rows);
    tables.insert("public.everything".into(), sorted(rows));
    let notes = tables.get_mut("public.notes").expect("is there");
    notes.push(note(300, "written since"));
    let notes = std::mem::take(notes);
    tables.insert("public.notes".into(), sorted(notes));
    tables
}
