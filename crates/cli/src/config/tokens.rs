//! `[tokens]`: how long things live, each within bounds.

use std::time::Duration;

use deputy_protocol::family::{Hearing, Lifetimes};

use super::Problem;
use super::duration::{DAY, bounded};
use super::file::Tokens;
use super::place::{Located, Place};

/// Reads them; what is not said has its default.
pub(super) fn tokens(raw: &Tokens) -> Result<Lifetimes, Problem> {
    let default = Lifetimes::default();
    let access_token = bounded(
        "access_token_lifetime",
        raw.access_token_lifetime.as_ref(),
        default.access_token,
        10..=3600,
        "A short life bounds what a stolen token is worth; clients refresh by themselves.",
    )?;
    let refresh_absolute = bounded(
        "refresh_absolute_lifetime",
        raw.refresh_absolute_lifetime.as_ref(),
        default.refresh_absolute,
        60..=400 * DAY,
        "After it, people sign in again.",
    )?;
    // A shorter absolute lifetime alone shortens the idle one too, as nothing outlives its grant.
    let idle_default = default.refresh_idle.min(refresh_absolute);
    let refresh_idle = bounded("refresh_idle_lifetime", raw.refresh_idle_lifetime.as_ref(), idle_default, 60..=400 * DAY, "")?;
    let lifetimes = Lifetimes {
        code: bounded("code_lifetime", raw.code_lifetime.as_ref(), default.code, 1..=60, "A code is redeemed at once.")?,
        access_token,
        refresh_idle,
        refresh_absolute,
        refresh_grace: bounded(
            "refresh_grace",
            raw.refresh_grace.as_ref(),
            default.refresh_grace,
            0..=300,
            "It forgives lost responses and clients that refresh twice at once.",
        )?,
        hearing: hearing(raw, access_token, refresh_absolute)?,
    };
    ordered(raw, &lifetimes)?;
    Ok(lifetimes)
}

/// How often the provider is asked again. A token never outlives its word by more than a lifetime, so an old word makes short tokens.
fn hearing(raw: &Tokens, access_token: Duration, absolute: Duration) -> Result<Hearing, Problem> {
    let default = Hearing::default();
    let (most, longest) = (access_token / 2, default.silence.min(absolute));
    Ok(Hearing {
        age: bounded(
            "recheck_after",
            raw.recheck_after.as_ref(),
            default.age.min(most),
            0..=most.as_secs(),
            "At most half of access_token_lifetime: a refresh asks the provider whether the person may still sign in.",
        )?,
        silence: bounded(
            "without_recheck",
            raw.without_recheck.as_ref(),
            longest,
            60..=absolute.as_secs(),
            "After it, people sign in again about whom the provider cannot be asked; it gave no refresh token.",
        )?,
        ..default
    })
}

fn ordered(raw: &Tokens, lifetimes: &Lifetimes) -> Result<(), Problem> {
    let place = |raw: &Option<Located<String>>| raw.as_ref().map_or(Place::File, |raw| raw.place.clone());
    let check = |fine: bool, place: Place, text: &str| if fine { Ok(()) } else { Err(Problem::new(&place, text)) };
    let longest: Duration = lifetimes.refresh_absolute;
    check(
        lifetimes.refresh_idle <= longest,
        place(&raw.refresh_idle_lifetime),
        "refresh_idle_lifetime must not be longer than refresh_absolute_lifetime.",
    )?;
    check(
        lifetimes.access_token <= lifetimes.refresh_idle,
        place(&raw.refresh_idle_lifetime),
        "refresh_idle_lifetime must not be shorter than access_token_lifetime.",
    )
}
