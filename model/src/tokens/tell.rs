//! Steps as sentences.

use super::{ATTACKERS, MIDDLE, Step, Twist};
use crate::people::Person;

fn twisted(twist: Twist) -> &'static str {
    match twist {
        Twist::Straight => "",
        Twist::Redirect => ", naming another redirect URI",
        Twist::Resource => ", naming another resource",
        Twist::Scope => ", asking for more scopes",
    }
}

fn who(by: Person) -> &'static str {
    match by {
        Person::Victim => "the victim's client",
        Person::Attacker => "the attacker",
    }
}

fn whose(grant: usize) -> &'static str {
    match grant {
        ATTACKERS => "the attacker's",
        MIDDLE => "the victim's (with the attacker's challenge)",
        _ => "the victim's",
    }
}

/// Tells a step.
pub(super) fn tell(step: Step) -> String {
    match step {
        Step::Redeem { by, app, code, twist, replica, dies } => format!(
            "{} redeems {} code at replica {replica} as {}{}{}",
            who(by),
            whose(code),
            app.name(),
            twisted(twist),
            dies.told()
        ),
        Step::Refresh { by, app, token, twist, replica, dies } => format!(
            "{} presents refresh token {token} at replica {replica} as {}{}{}",
            who(by),
            app.name(),
            twisted(twist),
            dies.told()
        ),
        Step::Revoke { by, app, token, replica, dies } => {
            format!("{} revokes refresh token {token} at replica {replica} as {}{}", who(by), app.name(), dies.told())
        }
        Step::Call { grant, issued, elsewhere, replica } => format!(
            "a call to {} through replica {replica} brings {} access token of second {issued}",
            if elsewhere { "another server" } else { "the server" },
            whose(grant)
        ),
        Step::Steal => "the attacker copies the newest refresh token of the victim's client".to_owned(),
        Step::Remove => "the operator takes the victim out of the rules".to_owned(),
        Step::CatchUp { replica } => format!("replica {replica} reads the feed of revocations"),
        Step::Wait { seconds } => format!("{seconds} seconds pass"),
    }
}
