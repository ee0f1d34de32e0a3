//! What stands behind the numbers of the token world. The parts that are the same in every state are made once.

use std::sync::LazyLock;
use std::time::Duration;

use deputy_protocol::access::Rules;
use deputy_protocol::access_token::AccessTokenClaims;
use deputy_protocol::claims::Memberships;
use deputy_protocol::client::DisplayName;
use deputy_protocol::family::{Grant, Lifetimes, Word};
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::params::Params;
use deputy_protocol::pkce::Verifier;
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::resource::{Catalog, ProtectedResource, ResourceUri};
use deputy_protocol::scope::Scopes;
use deputy_protocol::{ClientId, GrantId, Issuer, Reason, Timestamp};

use super::{ATTACKERS, MIDDLE, Twist, VICTIMS};
use crate::people::{App, Person};

/// When the codes left.
pub(super) const START: u64 = 1_800_000_000;

/// Everything that never changes in this world.
struct Fixed {
    everybody: Rules,
    nobody: Rules,
    catalog: Catalog,
    resources: [ResourceUri; 2],
    redirect: RedirectUri,
    grants: [Grant; 3],
    issuer: Issuer,
}

static FIXED: LazyLock<Option<Fixed>> = LazyLock::new(|| fixed().ok());

fn fixed() -> Result<Fixed, Reason> {
    let resources = [ResourceUri::parse("https://mcp.test/mcp")?, ResourceUri::parse("https://mcp.test/other")?];
    let protected = resources.iter().zip(["/mcp", "/other"]).map(|(uri, path)| {
        let scopes = Scopes::parse("read write")?;
        Ok(ProtectedResource {
            uri: uri.clone(),
            path: path.to_owned(),
            name: "Tools".to_owned(),
            scopes,
            calls: CallRules::default(),
        })
    });
    let [ours, _] = &resources;
    let rules = |rule: &str| Rules::parse(&[rule]).map_err(|_| Reason::Internal);
    Ok(Fixed {
        everybody: rules("*")?,
        nobody: rules("subject:somebody-else")?,
        catalog: Catalog::new(protected.collect::<Result<_, Reason>>()?),
        grants: [
            made(VICTIMS, Person::Victim, ours)?,
            made(ATTACKERS, Person::Attacker, ours)?,
            made(MIDDLE, Person::Victim, ours)?,
        ],
        redirect: RedirectUri::parse(App::Honest.redirect())?,
        issuer: Issuer::parse("https://mcp.test")?,
        resources,
    })
}

fn made(number: usize, account: Person, resource: &ResourceUri) -> Result<Grant, Reason> {
    let granted_at = Timestamp::from_seconds(START);
    Ok(Grant {
        id: GrantId::new(code_bytes(number)),
        subject: account.sub().to_owned(),
        idp: Issuer::parse("https://idp.test")?,
        idp_subject: account.sub().to_owned(),
        email: None,
        name: None,
        said_email: None,
        memberships: Memberships::default(),
        client: client(App::Honest),
        client_name: DisplayName::clean(App::Honest.name()),
        resource: resource.clone(),
        scopes: Scopes::parse("read")?,
        granted_at,
        ends_at: lifetimes().grant_ends(granted_at, true),
    })
}

#[expect(clippy::expect_used, reason = "constants of this file; without them there is no world to search")]
fn all() -> &'static Fixed {
    FIXED.as_ref().expect("the constants are well formed")
}

/// Shorter than the defaults, in the same order, so that few waits pass them all.
pub(super) fn lifetimes() -> Lifetimes {
    Lifetimes { refresh_idle: Duration::from_secs(600), refresh_absolute: Duration::from_secs(1200), ..Lifetimes::default() }
}

pub(super) fn code_bytes<const N: usize>(number: usize) -> [u8; N] {
    [u8::try_from(number).unwrap_or(u8::MAX); N]
}

#[expect(clippy::expect_used, reason = "constants of this file")]
pub(super) fn client(app: App) -> ClientId {
    let id = match app {
        App::Honest => "honest",
        App::Evil | App::Native => "evil",
    };
    ClientId::parse(id).expect("a client id")
}

pub(super) fn verifier(person: Person) -> Verifier {
    Verifier::new(&code_bytes(match person {
        Person::Victim => 1,
        Person::Attacker => 2,
    }))
}

pub(super) fn grant(number: usize) -> Grant {
    let [victims, attackers, middle] = &all().grants;
    let grant = match number {
        ATTACKERS => attackers,
        MIDDLE => middle,
        _ => victims,
    };
    grant.clone()
}

pub(super) fn redirect() -> RedirectUri {
    all().redirect.clone()
}

pub(super) fn issuer() -> Issuer {
    all().issuer.clone()
}

pub(super) fn resource(elsewhere: bool) -> &'static ResourceUri {
    let [ours, other] = &all().resources;
    if elsewhere { other } else { ours }
}

pub(super) fn policy(removed: bool) -> (&'static Rules, &'static Catalog) {
    let fixed = all();
    (if removed { &fixed.nobody } else { &fixed.everybody }, &fixed.catalog)
}

/// The form of a token request: with somebody's verifier for a code.
pub(super) fn form(verifier_of: Option<Person>, twist: Twist) -> Result<Params, Reason> {
    let mut form = verifier_of.map_or_else(String::new, |person| format!("code_verifier={}&", verifier(person).expose()));
    form.push_str(match twist {
        Twist::Straight => "",
        Twist::Redirect => "redirect_uri=https%3A%2F%2Fapp.test%2Fother",
        Twist::Resource => "resource=https%3A%2F%2Fmcp.test%2Fother",
        Twist::Scope => "scope=read+write",
    });
    Params::parse(form.as_bytes())
}

/// What an access token says that was issued this many seconds after the start.
pub(super) fn claims(of: usize, issued: u64) -> AccessTokenClaims {
    let grant = grant(of);
    let scopes = grant.scopes.clone();
    let now = Timestamp::from_seconds(START + issued);
    // The provider has just vouched for the person.
    let word = Word { heard_at: now, renewable: true, asking_since: None };
    grant.access_token(&all().issuer, scopes, &word, &lifetimes(), now, "jti".to_owned())
}
