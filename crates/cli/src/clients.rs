//! `deputy clients`: invitations to register.

use std::time::Duration;

use deputy_protocol::client::policy::RegistrationPolicy;
use deputy_server::clock::{Clock as _, SystemClock};

use crate::config::{Settings, show_duration};
use crate::keys::moment;
use crate::output;

/// Makes an invitation: the token is the result, what to do with it is told beside it.
pub(crate) fn invite(settings: &Settings, lifetime: Duration) -> Result<String, String> {
    let config = &settings.server;
    let now = SystemClock.now();
    let token = deputy_server::invite(&config.data_dir, lifetime, now).map_err(|error| error.to_string())?;
    let needed = match config.client_policy.registration {
        RegistrationPolicy::Invited => "",
        RegistrationPolicy::Open => " Nobody needs it while [clients] registration is \"open\".",
        RegistrationPolicy::Off => " It counts for nothing while [clients] registration is \"off\".",
    };
    output::tell(&format!(
        "Clients that send this as their initial access token to {}/register may register, any number of times, for {} (until {}).{needed}",
        config.public_url,
        show_duration(lifetime),
        moment(now.after(lifetime))
    ));
    Ok(token.expose().to_owned())
}
