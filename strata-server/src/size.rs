//! Sizes as people write them: `2GiB`, `512 MB`, `65536`.

/// The bytes of a size: a number, with or without a fraction, and a unit. `K`, `KiB` and so on are powers of 1,024, `kB`, `MB` and so
/// on of 1,000.
pub fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        other => return Err(format!("\"{other}\" is no unit of size: use KiB, MiB, GiB or TiB")),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let parse = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u64>().ok() };
    let bytes = || {
        let whole = parse(whole)?.checked_mul(factor)?;
        let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = u128::from(parse(fraction)?) * u128::from(factor) / u128::from(scale);
        usize::try_from(whole.checked_add(u64::try_from(part).ok()?)?).ok()
    };
    if number.chars().all(|c| c == '.') {
        return Err(format!("\"{text}\" is no size: write 2GiB or 512MiB"));
    }
    bytes().ok_or_else(|| format!("\"{text}\" is no size that this machine can address"))
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn units() {
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size(" 512 mb "), Ok(512_000_000));
        assert_eq!(parse_size("65536"), Ok(65_536));
        assert_eq!(parse_size("1.5g"), Ok(3 << 29));
        assert_eq!(parse_size(".5KiB"), Ok(512));
    }

    #[test]
    fn nonsense() {
        for text in ["", ".", "GiB", "2XiB", "-1", "1.2.3", "99999999999TiB", "1e9"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
