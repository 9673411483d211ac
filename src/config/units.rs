//! Durations and sizes with their units.

use std::time::Duration;

/// An error of a duration or a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a duration.
    #[error(
        "not a duration: write a whole number with its unit, such as `500ms`, `30s`, `5m`, `1h`"
    )]
    Duration,
    /// A duration of nothing.
    #[error("a duration must be longer than zero")]
    NoTime,
    /// More than ten years.
    #[error("a duration of more than ten years")]
    Eternity,
    /// Not a size.
    #[error(
        "not a size: write bytes, or a whole number with its unit, such as `32MiB`, `4MB`, `512KiB`"
    )]
    Size,
    /// Not a rate.
    #[error("not a rate: write how much, `/` and a duration, such as `100/1m` or `10MiB/1m`")]
    Rate,
    /// A size of nothing.
    #[error("a size must be larger than zero")]
    Nothing,
}

const TEN_YEARS: Duration = Duration::from_secs(3650 * 86_400);

/// Parses `500ms`, `30s`, `5m`, `1h`, `2d`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return Err(UnitError::Duration);
    }
    while !rest.is_empty() {
        let (number, after) = number(rest).ok_or(UnitError::Duration)?;
        let end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let millis = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(UnitError::Duration),
        };
        let part = Duration::from_millis(number.saturating_mul(millis));
        sum = sum.saturating_add(part);
        rest = after;
    }
    if sum.is_zero() {
        return Err(UnitError::NoTime);
    }
    if sum > TEN_YEARS {
        return Err(UnitError::Eternity);
    }
    Ok(sum)
}

/// Parses `32MiB`, `4MB`, `1024` to bytes.
pub(super) fn size(text: &str) -> Result<usize, UnitError> {
    let (number, unit) = number(text.trim()).ok_or(UnitError::Size)?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(UnitError::Size),
    };
    let bytes = number.checked_mul(factor).ok_or(UnitError::Size)?;
    match usize::try_from(bytes) {
        Ok(0) => Err(UnitError::Nothing),
        Ok(bytes) => Ok(bytes),
        Err(_) => Err(UnitError::Size),
    }
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("2d"), Ok(Duration::from_secs(172_800)));
        for text in [
            "60",
            "",
            "s",
            "1.5s",
            "-1s",
            "1 fortnight",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(text), Err(UnitError::Duration), "{text}");
        }
        assert_eq!(duration("0s"), Err(UnitError::NoTime));
        assert_eq!(duration("99999999999d"), Err(UnitError::Eternity));
    }

    #[test]
    fn a_size_may_have_a_unit() {
        assert_eq!(size("1024"), Ok(1024));
        assert_eq!(size("32MiB"), Ok(32 << 20));
        assert_eq!(size("4 MB"), Ok(4_000_000));
        for text in ["", "MiB", "1.5MiB", "-1", "3 apples", "99999999999GiB"] {
            assert_eq!(size(text), Err(UnitError::Size), "{text}");
        }
        assert_eq!(size("0"), Err(UnitError::Nothing));
    }
}
