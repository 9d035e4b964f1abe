//! Durations as people write them: `90s`, `15m`, `2h`, `1d`.

use std::time::Duration;

/// The longest duration that a configuration may name.
pub const DURATION_MAX: Duration = Duration::from_hours(10 * 366 * 24);

/// Reads a whole number with one unit of `s`, `m`, `h` or `d`. `None` for anything else, or past [`DURATION_MAX`].
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let (index, unit) = text.char_indices().next_back()?;
    let digits = text.get(..index)?;
    if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let length = Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(seconds)?);
    (length <= DURATION_MAX).then_some(length)
}

/// A duration as people read it, in the largest unit that divides it.
#[must_use]
pub fn show(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => "0s".into(),
        s if s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s.is_multiple_of(3600) => format!("{}h", s / 3600),
        s if s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them_and_nothing_else_does() {
        let table = [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("0s", 0)];

        for (text, seconds) in table {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "15", "15 m", "-1s", "1.5h", "1w", "15M", "99999999999s", "4000d", "1분"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(
            ["90s", "15m", "2h", "1d", "0s"].map(|text| show(parse(text).unwrap())),
            ["90s", "15m", "2h", "1d", "0s"]
        );
    }
}
