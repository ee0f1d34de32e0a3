//! Durations as people write them: `60s`, `5m`, `12h`, `30d`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Problem;
use super::place::Located;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
pub(super) const DAY: u64 = 24 * HOUR;

/// Reads one duration.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number = text.strip_suffix(unit)?;
    let seconds = match unit {
        's' => 1,
        'm' => MINUTE,
        'h' => HOUR,
        'd' => DAY,
        _ => return None,
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let count: u64 = plain.then(|| number.parse().ok()).flatten()?;
    count.checked_mul(seconds).map(Duration::from_secs)
}

/// Reads the duration of `key`, or gives the default; both ends of `bounds` (in seconds) are allowed.
pub(super) fn bounded(
    key: &str,
    raw: Option<&Located<String>>,
    default: Duration,
    bounds: RangeInclusive<u64>,
    why: &str,
) -> Result<Duration, Problem> {
    let Some(raw) = raw else { return Ok(default) };
    let value = parse(&raw.value).ok_or_else(|| {
        Problem::new(
            &raw.place,
            format!("{key} is no duration. Write a whole number with s, m, h or d: \"60s\", \"5m\", \"30d\"."),
        )
    })?;
    if bounds.contains(&value.as_secs()) {
        return Ok(value);
    }
    let (least, most) = (show(Duration::from_secs(*bounds.start())), show(Duration::from_secs(*bounds.end())));
    Err(Problem::new(&raw.place, format!("{key} must be between {least} and {most}. {why}")))
}

/// The shortest exact form.
pub(crate) fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "m")];
    let whole = units.iter().find(|(size, _)| seconds > 0 && seconds.is_multiple_of(*size));
    whole.map_or_else(|| format!("{seconds}s"), |(size, unit)| format!("{}{unit}", seconds / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_show() {
        for (text, seconds) in [("60s", 60), ("5m", 300), ("12h", 43_200), ("30d", 2_592_000), ("0s", 0)] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "60", "-5s", "+5s", "1.5h", "5 m", "5w", "5é", "99999999999999999999d", "999999999999999999d"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(show(Duration::from_secs(300)), "5m");
        assert_eq!(show(Duration::from_secs(90)), "90s");
        assert_eq!(show(Duration::from_secs(30 * DAY)), "30d");
        assert_eq!(show(Duration::ZERO), "0s");
    }
}
