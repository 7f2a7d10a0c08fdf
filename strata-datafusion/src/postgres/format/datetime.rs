//! Dates and times as text, in ISO style.
//!
//! The calendar is the proleptic Gregorian one; years before 1 are printed with BC. The extreme values of a type stand
//! for infinity.

use bytes::BufMut;

use super::number::{write_padded, write_pair};
use crate::postgres::zone::Zone;

/// Microseconds of a day.
pub const DAY: i64 = 86_400_000_000;

/// Year (astronomical: 0 is 1 BC), month and day of a number of days since 1970-01-01.
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    // Hinnant's algorithm: years start in March, eras have 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

/// Days since 1970-01-01 of a date, which need not exist (day 31 of a shorter month runs over).
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = i64::from((month + 9) % 12);
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The days of a month.
pub fn days_of_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// A date.
pub fn write_date(days: i32, out: &mut impl BufMut) {
    match days {
        i32::MAX => out.put_slice(b"infinity"),
        i32::MIN => out.put_slice(b"-infinity"),
        _ => {
            let (year, month, day) = civil_from_days(i64::from(days));
            write_day(year, month, day, out);
            write_era(year, out);
        }
    }
}

fn write_day(year: i64, month: u32, day: u32, out: &mut impl BufMut) {
    let shown = if year > 0 { year } else { 1 - year };
    write_padded(shown.unsigned_abs(), 4, out);
    out.put_u8(b'-');
    write_pair(month, out);
    out.put_u8(b'-');
    write_pair(day, out);
}

fn write_era(year: i64, out: &mut impl BufMut) {
    if year <= 0 {
        out.put_slice(b" BC");
    }
}

/// A time of day, with the fraction's digits up to the last that is not zero.
pub fn write_time(micros: i64, out: &mut impl BufMut) {
    let seconds = micros.div_euclid(1_000_000);
    write_padded((seconds / 3600).unsigned_abs(), 2, out);
    out.put_u8(b':');
    write_pair((seconds / 60 % 60) as u32, out);
    out.put_u8(b':');
    write_pair((seconds % 60) as u32, out);
    write_fraction(micros.rem_euclid(1_000_000) as u32, out);
}

/// A point and up to six digits, nothing for zero.
pub(super) fn write_fraction(micros: u32, out: &mut impl BufMut) {
    if micros == 0 {
        return;
    }
    let (mut digits, mut count) = (micros, 6);
    while digits % 10 == 0 {
        digits /= 10;
        count -= 1;
    }
    out.put_u8(b'.');
    write_padded(u64::from(digits), count, out);
}

/// A timestamp without zone.
pub fn write_timestamp(micros: i64, out: &mut impl BufMut) {
    match micros {
        i64::MAX => out.put_slice(b"infinity"),
        i64::MIN => out.put_slice(b"-infinity"),
        _ => {
            let (year, month, day) = civil_from_days(micros.div_euclid(DAY));
            write_day(year, month, day, out);
            out.put_u8(b' ');
            write_time(micros.rem_euclid(DAY), out);
            write_era(year, out);
        }
    }
}

/// A timestamp in a zone, with its offset.
pub fn write_timestamptz(micros: i64, zone: &Zone, out: &mut impl BufMut) {
    if micros == i64::MAX || micros == i64::MIN {
        return write_timestamp(micros, out);
    }
    let offset = zone.offset_at(micros);
    let local = micros.saturating_add(i64::from(offset) * 1_000_000);
    let (year, month, day) = civil_from_days(local.div_euclid(DAY));
    write_day(year, month, day, out);
    out.put_u8(b' ');
    write_time(local.rem_euclid(DAY), out);
    write_offset(offset, out);
    write_era(year, out);
}

fn write_offset(offset: i32, out: &mut impl BufMut) {
    out.put_u8(if offset < 0 { b'-' } else { b'+' });
    let seconds = offset.unsigned_abs();
    write_pair(seconds / 3600, out);
    if !seconds.is_multiple_of(3600) {
        out.put_u8(b':');
        write_pair(seconds / 60 % 60, out);
        if !seconds.is_multiple_of(60) {
            out.put_u8(b':');
            write_pair(seconds % 60, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn days_and_dates_agree() {
        for days in (-2_000_000..2_000_000).step_by(997) {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!(day <= days_of_month(year, month));
        }
        assert_eq!(civil_from_days(0), (1970, 1, 1));
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
    }

    #[test]
    fn dates_and_timestamps_print_in_iso_style() {
        assert_eq!(text(|out| write_date(19_797, out)), "2024-03-15");
        assert_eq!(text(|out| write_date(-719_528, out)), "0001-01-01 BC");
        assert_eq!(text(|out| write_date(i32::MAX, out)), "infinity");
        assert_eq!(text(|out| write_timestamp(1_500_000, out)), "1970-01-01 00:00:01.5");
        assert_eq!(text(|out| write_timestamp(-1, out)), "1969-12-31 23:59:59.999999");
        assert_eq!(text(|out| write_time(86_399_000_001, out)), "23:59:59.000001");
        let zone = Zone::parse("Asia/Kolkata").unwrap();
        assert_eq!(text(|out| write_timestamptz(0, &zone, out)), "1970-01-01 05:30:00+05:30");
        assert_eq!(text(|out| write_timestamptz(0, &Zone::Utc, out)), "1970-01-01 00:00:00+00");
        assert_eq!(text(|out| write_timestamptz(0, &Zone::Fixed(-12_600), out)), "1969-12-31 20:30:00-03:30");
    }
}
