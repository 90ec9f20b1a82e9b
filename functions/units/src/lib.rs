//! Times and sizes as people write them, for every flag and variable that takes one.
//!
//! One notation for the whole executable. A package of its own, since the packages that take such flags know nothing of
//! each other. Whole numbers with a unit only: what is written is what applies.

use std::time::Duration;

/// Reads `250ms`, `10s`, `2m` or `1h`; more than none, at most a year.
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(units::duration("2m"), Ok(Duration::from_secs(120)));
/// assert!(units::duration("120").is_err(), "of what?");
/// ```
///
/// # Errors
/// Says what a time looks like.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time; write it like 250ms, 10s, 2m or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let milliseconds = match unit {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    // Beyond a year a clock would overflow somewhere, and nobody means it.
    const YEAR: u64 = 366 * 24 * 3_600_000;
    milliseconds
        .filter(|ms| (1..=YEAR).contains(ms))
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// Reads `65536`, `64KiB`, `10MiB` or `1GiB`; more than none.
///
/// # Errors
/// Says what a size looks like.
pub fn size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is not a size; write it like 65536, 64KiB, 10MiB or 1GiB");
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| wrong())?;
    let factor: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(factor)
        .filter(|size| *size > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in [
            "",
            "10",
            "s",
            "1d",
            "-1s",
            "0s",
            "99999999999999999999s",
            "9999999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(size("10MiB"), Ok(10 << 20));
        assert_eq!(size("1000"), Ok(1000));
        for wrong in ["", "0", "MiB", "1 MiB", "10MB", "99999999999GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
