//! The arithmetic of ALP: floats as decimals, and back.

/// Powers of ten that a pair may name; all are exact as `f64`.
const POWERS: [f64; 19] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18];
/// Their inverses, each the nearest `f64`.
const INVERSES: [f64; 19] = [
    1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13, 1e-14, 1e-15,
    1e-16, 1e-17, 1e-18,
];
/// Integers above this are not all exact as `f64`; the encoder makes none.
const LARGEST: f64 = (1_u64 << 53) as f64;

/// An exponent and a factor: the integer `d` stands for `(d * 10^factor) * 10^-exponent`, both products rounded to `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Pair {
    exponent: u8,
    factor: u8,
}

impl Pair {
    /// The pair of these numbers, if it is one: the factor no larger than the exponent, that at most 18.
    pub fn new(exponent: u8, factor: u8) -> Option<Self> {
        (factor <= exponent && usize::from(exponent) < POWERS.len()).then_some(Self { exponent, factor })
    }

    /// All pairs of exponents up to `largest`.
    pub fn all(largest: u8) -> impl Iterator<Item = Self> {
        (0..=largest)
            .flat_map(|exponent| (0..=exponent).filter_map(move |factor| Self::new(exponent, factor)))
    }

    /// Exponent and factor.
    pub fn numbers(self) -> [u8; 2] {
        [self.exponent, self.factor]
    }

    /// What an integer is multiplied with: first and second.
    pub fn multipliers(self) -> (f64, f64) {
        let at = |table: &[f64; 19], place: u8| table.get(usize::from(place)).copied().unwrap_or(1.0);
        (at(&POWERS, self.factor), at(&INVERSES, self.exponent))
    }

    /// The value that an integer stands for. It never falls as the integer grows.
    pub fn decode(self, integer: i64) -> f64 {
        let (up, down) = self.multipliers();
        integer as f64 * up * down
    }

    /// The integer that stands for exactly this value, if there is one.
    pub fn encode<F: Float>(self, value: F) -> Option<i64> {
        let at = |table: &[f64; 19], place: u8| table.get(usize::from(place)).copied().unwrap_or(1.0);
        let scaled = value.widen() * at(&POWERS, self.exponent) * at(&INVERSES, self.factor);
        let rounded = scaled.round_ties_even();
        if !(-LARGEST..=LARGEST).contains(&rounded) {
            return None;
        }
        let integer = rounded as i64;
        (F::narrow(self.decode(integer)).bits() == value.bits()).then_some(integer)
    }
}

/// `f32` and `f64`. Arithmetic is done in `f64`; bits are kept as they are, for a NaN's payload does not survive a conversion.
pub(in super::super) trait Float: Copy {
    /// Bytes of a value.
    const BYTES: usize;
    /// The largest exponent that is tried.
    const LARGEST_EXPONENT: u8;
    /// As `f64`.
    fn widen(self) -> f64;
    /// The nearest value.
    fn narrow(value: f64) -> Self;
    /// Its bits.
    fn bits(self) -> u64;
    /// The value of these bits.
    fn of_bits(bits: u64) -> Self;
}

impl Float for f32 {
    const BYTES: usize = 4;
    const LARGEST_EXPONENT: u8 = 10;

    fn widen(self) -> f64 {
        f64::from(self)
    }

    fn narrow(value: f64) -> Self {
        value as f32
    }

    fn bits(self) -> u64 {
        u64::from(self.to_bits())
    }

    fn of_bits(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }
}

impl Float for f64 {
    const BYTES: usize = 8;
    const LARGEST_EXPONENT: u8 = 18;

    fn widen(self) -> f64 {
        self
    }

    fn narrow(value: f64) -> Self {
        value
    }

    fn bits(self) -> u64 {
        self.to_bits()
    }

    fn of_bits(bits: u64) -> Self {
        f64::from_bits(bits)
    }
}
