//! Dates, times and intervals as PostgreSQL prints them (DateStyle ISO, IntervalStyle postgres).

const DAY_MICROS: i64 = 86_400_000_000;
/// From 0000-03-01, where the cycle of 400 years starts, to 2000-01-01, where PostgreSQL counts from.
const EPOCH_DAYS: i64 = 730_425;

/// Days from 2000-01-01.
pub fn date_text(days: i32) -> String {
    match days {
        i32::MAX => "infinity".to_owned(),
        i32::MIN => "-infinity".to_owned(),
        days => with_era(i64::from(days), ""),
    }
}

/// Microseconds from 2000-01-01, and what follows the time.
pub fn timestamp_text(micros: i64, zone: &str) -> String {
    match micros {
        i64::MAX => "infinity".to_owned(),
        i64::MIN => "-infinity".to_owned(),
        micros => {
            let rest = format!(" {}{zone}", time_text(micros.rem_euclid(DAY_MICROS)));
            with_era(micros.div_euclid(DAY_MICROS), &rest)
        }
    }
}

/// Microseconds from midnight.
pub fn time_text(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    format!("{:02}:{:02}:{}", seconds / 3600, seconds / 60 % 60, seconds_text(micros % 60_000_000))
}

/// Months, days and microseconds, each with its own sign.
pub fn interval_text(months: i32, days: i32, micros: i64) -> String {
    let mut text = String::new();
    let mut after_negative = false;
    for (value, unit) in [(months / 12, "year"), (months % 12, "mon"), (days, "day")] {
        if value == 0 {
            continue;
        }
        if !text.is_empty() {
            text.push(' ');
        }
        if after_negative && value > 0 {
            text.push('+');
        }
        text.push_str(&format!("{value} {unit}{}", if value == 1 { "" } else { "s" }));
        after_negative = value < 0;
    }
    if text.is_empty() || micros != 0 {
        let sign = match (micros < 0, after_negative) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        let space = if text.is_empty() { "" } else { " " };
        let micros = micros.unsigned_abs();
        let (hours, minutes) = (micros / 3_600_000_000, micros / 60_000_000 % 60);
        let seconds = seconds_text(i64::try_from(micros % 60_000_000).unwrap_or(0));
        text.push_str(&format!("{space}{sign}{hours:02}:{minutes:02}:{seconds}"));
    }
    text
}

fn seconds_text(micros: i64) -> String {
    let text = format!("{:02}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The date, the rest, and BC behind it where it belongs. From "chrono-Compatible Low-Level Date Algorithms" (Hinnant).
fn with_era(days: i64, rest: &str) -> String {
    let days = days + EPOCH_DAYS;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    // There is no year 0: the one before 1 is 1 BC.
    let (year, suffix) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{day:02}{rest}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_around_the_epoch_and_the_era() {
        assert_eq!(date_text(0), "2000-01-01");
        assert_eq!(date_text(-1), "1999-12-31");
        assert_eq!(date_text(59), "2000-02-29");
        assert_eq!(date_text(-730_119), "0001-01-01");
        assert_eq!(date_text(-730_120), "0001-12-31 BC");
        assert_eq!(date_text(i32::MAX), "infinity");
    }

    #[test]
    fn timestamps_drop_trailing_zeros() {
        assert_eq!(timestamp_text(-1, ""), "1999-12-31 23:59:59.999999");
        assert_eq!(timestamp_text(1_500_000, "+00"), "2000-01-01 00:00:01.5+00");
    }

    #[test]
    fn intervals_carry_signs_by_part() {
        assert_eq!(interval_text(0, 0, 0), "00:00:00");
        assert_eq!(interval_text(14, 3, 14_706_500_000), "1 year 2 mons 3 days 04:05:06.5");
        assert_eq!(interval_text(-1, 1, -1_000_000), "-1 mons +1 day -00:00:01");
        assert_eq!(interval_text(0, -2, 1_000_000), "-2 days +00:00:01");
    }
}
