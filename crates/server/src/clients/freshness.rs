//! How long a metadata document may be kept (RFC 9111; AS-29, A-165): what its host says, within bounds of our own.

use std::time::{Duration, UNIX_EPOCH};

use deputy_protocol::Timestamp;
use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, HeaderName};

/// Shortest time, unless the host says that it is not to be kept: a sign-in takes that long, and a host that says nothing sensible is not
/// asked at every step of it.
const SHORTEST: Duration = Duration::from_secs(60);
/// Longest time, whatever the host says.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// The time when the host says nothing.
const UNSAID: Duration = Duration::from_secs(60 * 60);

/// How long a document may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Not at all.
    NotKept,
    /// It counts for so long without asking again; for no time at all if the host wants to be asked each time.
    For(Duration),
}

/// Reads the headers of an answer that came `now`.
pub(super) fn freshness(headers: &HeaderMap, now: Timestamp) -> Freshness {
    let control = Control::read(headers);
    if control.no_store {
        return Freshness::NotKept;
    }
    if control.no_cache {
        return Freshness::For(Duration::ZERO);
    }
    let said = control.max_age.or_else(|| expires(headers, now));
    let lifetime = said.map_or(UNSAID, |said| said.saturating_sub(age(headers)));
    Freshness::For(lifetime.clamp(SHORTEST, LONGEST))
}

/// What we heed of `Cache-Control`. `must-revalidate` changes nothing: what is kept beyond its time only spares people a sign-in while the
/// host is away, and is never shown to anybody.
#[derive(Default)]
struct Control {
    no_store: bool,
    no_cache: bool,
    max_age: Option<Duration>,
}

impl Control {
    fn read(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
        for directive in lines.flat_map(|line| line.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => control.no_store = true,
                "no-cache" => control.no_cache = true,
                "max-age" => {
                    // Where it is said twice the shorter counts; what is no number is no time at all (RFC 9111 §4.2.1).
                    let said = seconds(value).unwrap_or_default();
                    control.max_age = Some(control.max_age.map_or(said, |before| before.min(said)));
                }
                _ => {}
            }
        }
        control
    }
}

/// Seconds, with or without quotes. A number that is too large is very long (RFC 9111 §1.2.2).
fn seconds(raw: &str) -> Option<Duration> {
    let digits = raw.trim().trim_matches('"');
    let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    number.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

/// How long the document lay in caches before it came.
fn age(headers: &HeaderMap) -> Duration {
    headers.get(AGE).and_then(|value| value.to_str().ok()).and_then(seconds).unwrap_or_default()
}

/// The time from `Date` to `Expires`; none if `Expires` is no date, which means that it is over.
fn expires(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    headers.get(EXPIRES)?;
    let start = date(headers, &DATE).unwrap_or(now);
    Some(date(headers, &EXPIRES).map_or(Duration::ZERO, |end| end.since(start)))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    date.duration_since(UNIX_EPOCH).ok().map(|since| Timestamp::from_seconds(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// 2027-01-15T08:00:00Z.
    const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn of(headers: &[(HeaderName, &'static str)]) -> Freshness {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        freshness(&map, NOW)
    }

    fn seconds(seconds: u64) -> Freshness {
        Freshness::For(Duration::from_secs(seconds))
    }

    #[test]
    fn as_29_a_165_the_host_says_how_long_within_bounds() {
        for (control, expected) in [
            ("max-age=600", seconds(600)),
            ("public, Max-Age=\"600\", must-revalidate", seconds(600)),
            ("max-age=600, max-age=900", seconds(600)),
            ("s-maxage=5, max-age=600", seconds(600)),
            ("max-age=0", seconds(60)),
            ("max-age=59", seconds(60)),
            ("max-age=-5", seconds(60)),
            ("max-age=soon", seconds(60)),
            ("max-age=", seconds(60)),
            ("max-age=315360000", seconds(86400)),
            ("max-age=99999999999999999999999999", seconds(86400)),
            ("no-cache", seconds(0)),
            ("max-age=600, no-cache", seconds(0)),
            ("No-Store", Freshness::NotKept),
            ("max-age=600,no-store", Freshness::NotKept),
            ("public", seconds(3600)),
            ("x-no-store", seconds(3600)),
        ] {
            assert_eq!(of(&[(CACHE_CONTROL, control)]), expected, "{control}");
        }
        assert_eq!(of(&[]), seconds(3600));
        assert_eq!(of(&[(CACHE_CONTROL, "max-age=600"), (CACHE_CONTROL, "no-store")]), Freshness::NotKept);
    }

    #[test]
    fn as_29_a_165_the_time_in_other_caches_counts() {
        assert_eq!(of(&[(CACHE_CONTROL, "max-age=600"), (AGE, "100")]), seconds(500));
        assert_eq!(of(&[(CACHE_CONTROL, "max-age=600"), (AGE, "9999")]), seconds(60));
        assert_eq!(of(&[(CACHE_CONTROL, "max-age=600"), (AGE, "x")]), seconds(600));
    }

    #[test]
    fn as_29_a_165_expires_counts_where_max_age_is_missing() {
        let at = |expires| of(&[(DATE, "Fri, 15 Jan 2027 07:00:00 GMT"), (EXPIRES, expires)]);
        assert_eq!(at("Fri, 15 Jan 2027 07:10:00 GMT"), seconds(600));
        assert_eq!(at("Fri, 15 Jan 2027 06:00:00 GMT"), seconds(60));
        assert_eq!(at("Thu, 15 Jan 2037 06:00:00 GMT"), seconds(86400));
        assert_eq!(at("0"), seconds(60));
        assert_eq!(of(&[(EXPIRES, "Fri, 15 Jan 2027 08:10:00 GMT")]), seconds(600), "against our clock");
        assert_eq!(of(&[(EXPIRES, "Fri, 15 Jan 2027 08:10:00 GMT"), (CACHE_CONTROL, "max-age=90")]), seconds(90));
    }
}
