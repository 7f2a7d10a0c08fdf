//! Intervals as text, in the style `postgres`: `1 year 2 mons 3 days 04:05:06.789`.

use bytes::BufMut;

use super::datetime::write_fraction;
use super::number::{write_integer, write_padded, write_pair};

/// An interval of months, days and nanoseconds; what is below a microsecond is not shown.
pub fn write_interval(months: i32, days: i32, nanoseconds: i64, out: &mut impl BufMut) {
    let mut units = Units { first: true, negative: false };
    units.write(i64::from(months / 12), "year", out);
    units.write(i64::from(months % 12), "mon", out);
    units.write(i64::from(days), "day", out);
    let micros = nanoseconds / 1_000;
    if micros == 0 && !units.first {
        return;
    }
    if !units.first {
        out.put_u8(b' ');
    }
    if micros < 0 {
        out.put_u8(b'-');
    } else if units.negative {
        out.put_u8(b'+');
    }
    let micros = micros.unsigned_abs();
    let seconds = micros / 1_000_000;
    write_padded(seconds / 3600, 2, out);
    out.put_u8(b':');
    write_pair((seconds / 60 % 60) as u32, out);
    out.put_u8(b':');
    write_pair((seconds % 60) as u32, out);
    write_fraction((micros % 1_000_000) as u32, out);
}

/// What has been written so far: a part after a negative one shows its plus.
struct Units {
    first: bool,
    negative: bool,
}

impl Units {
    fn write(&mut self, value: i64, unit: &str, out: &mut impl BufMut) {
        if value == 0 {
            return;
        }
        if !self.first {
            out.put_u8(b' ');
        }
        if self.negative && value > 0 {
            out.put_u8(b'+');
        }
        write_integer(value, out);
        out.put_u8(b' ');
        out.put_slice(unit.as_bytes());
        if value != 1 {
            out.put_u8(b's');
        }
        self.first = false;
        self.negative = value < 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_print_as_postgres_does() {
        for (months, days, nanoseconds, expected) in [
            (14, 3, 14_706_789_000_000, "1 year 2 mons 3 days 04:05:06.789"),
            (0, 0, 0, "00:00:00"),
            (0, 1, 0, "1 day"),
            (-1, 1, -1_000_000_000, "-1 mons +1 day -00:00:01"),
            (0, -1, 3_600_000_000_000, "-1 days +01:00:00"),
            (12, 0, 0, "1 year"),
            (0, 0, 360_000_000_000_000, "100:00:00"),
        ] {
            let mut out = Vec::new();
            write_interval(months, days, nanoseconds, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
