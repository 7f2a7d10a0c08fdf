//! The rows: ten columns, about a hundred bytes, made from an id and a version.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const CITIES: [&str; 12] = [
    "Amsterdam",
    "Berlin",
    "Cairo",
    "Dakar",
    "Edinburgh",
    "Florence",
    "Geneva",
    "Havana",
    "Istanbul",
    "Jakarta",
    "Kyoto",
    "Lisbon",
];
const STATES: [&str; 4] = ["new", "paid", "shipped", "closed"];
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz      ";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub id: i64,
    pub customer: i64,
    pub product: i64,
    pub price: i64,
    pub discount: i64,
    pub quantity: i32,
    pub day: i32,
    pub state: String,
    pub city: String,
    /// Hard to compress.
    pub note: String,
}

impl Row {
    /// The row of this key as version `version` of it is.
    pub fn new(id: i64, version: u64) -> Self {
        let mut random = StdRng::seed_from_u64(id as u64 ^ version << 40);
        let note = (0..36).map(|_| char::from(LETTERS[random.random_range(0..32)])).collect();
        Self {
            id,
            customer: random.random_range(0..100_000),
            product: random.random_range(0..10_000),
            price: random.random_range(100..100_000),
            discount: random.random_range(0..50),
            quantity: random.random_range(1..100),
            day: 18_000 + (id / 1_000 % 3_000) as i32,
            state: STATES[random.random_range(0..4)].to_owned(),
            city: CITIES[random.random_range(0..12)].to_owned(),
            note,
        }
    }

    /// The key as stores of bytes order it.
    pub fn key(id: i64) -> [u8; 8] {
        (id as u64 ^ 1 << 63).to_be_bytes()
    }

    /// The row as stores of bytes hold it, without its key.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(100);
        for value in [self.customer, self.product, self.price, self.discount] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [self.quantity, self.day] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for text in [&self.state, &self.city, &self.note] {
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
        out
    }

    /// What [`encode`](Self::encode) made.
    pub fn decode(id: i64, bytes: &[u8]) -> Self {
        let mut texts = &bytes[40..];
        let mut text = || {
            let (length, rest) = texts.split_first().expect("three texts");
            let (text, rest) = rest.split_at(usize::from(*length));
            texts = rest;
            std::str::from_utf8(text).expect("was text").to_owned()
        };
        Self {
            id,
            customer: wide(bytes, 0),
            product: wide(bytes, 8),
            price: wide(bytes, 16),
            discount: wide(bytes, 24),
            quantity: narrow(bytes, 32),
            day: narrow(bytes, 36),
            state: text(),
            city: text(),
            note: text(),
        }
    }

    /// The two columns that a full scan adds up, of an encoded row.
    pub fn scanned(bytes: &[u8]) -> (i64, i64) {
        (wide(bytes, 16), i64::from(narrow(bytes, 32)))
    }
}

fn wide(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

fn narrow(bytes: &[u8], at: usize) -> i32 {
    i32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}
