//! What stands behind the numbers, made by production's own functions.

use deputy_protocol::authorization::{Refused, begin};
use deputy_protocol::claims::{Authority, ExpectedIdToken, IdTokenClaims, SignedClaims, VerifiedIdentity, check_id_token};
use deputy_protocol::client::document::{self, DocumentUrl};
use deputy_protocol::client::{Client, Proof, RawMetadata};
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::params::Params;
use deputy_protocol::pkce::Verifier;
use deputy_protocol::resource::{Catalog, ProtectedResource, ResourceUri};
use deputy_protocol::scope::Scopes;
use deputy_protocol::secret::{BrowserKey, IdpState, Nonce};
use deputy_protocol::transaction::{IdpRequest, Pending};
use deputy_protocol::{ClientId, IdpName, Issuer, Reason, Timestamp};
use serde_json::json;

use super::{Link, Opened, Place};
use crate::people::{App, Person};

const IDP: &str = "https://idp.test";
const OUR_ID: &str = "deputy";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const START: u64 = 1000;
/// How long the one wait of the model is: longer than a transaction may take.
const WAIT: u64 = 700;

pub(super) const fn time(late: bool) -> Timestamp {
    Timestamp::from_seconds(if late { START + WAIT } else { START })
}

fn bytes<const N: usize>(number: usize) -> [u8; N] {
    [u8::try_from(number).unwrap_or(u8::MAX); N]
}

pub(super) fn browser_key(transaction: usize) -> BrowserKey {
    BrowserKey::new(&bytes(transaction))
}

/// The key that a browser's remembered decisions hang on.
pub(super) fn memory_key(browser: Person) -> BrowserKey {
    BrowserKey::new(&bytes(match browser {
        Person::Victim => 200,
        Person::Attacker => 201,
    }))
}

pub(super) fn state(approval: usize) -> IdpState {
    IdpState::new(&bytes(approval))
}

/// What the only provider is called.
pub(super) fn idp() -> Result<IdpName, Reason> {
    IdpName::parse("idp").ok_or(Reason::Internal)
}

pub(super) fn request(approval: usize) -> Result<IdpRequest, Reason> {
    Ok(IdpRequest {
        state: state(approval),
        nonce: Nonce::new(&bytes(approval)),
        verifier: Verifier::new(&bytes(approval)),
        idp: idp()?,
    })
}

pub(super) fn form(fields: &str) -> Result<Params, Reason> {
    Params::parse(fields.as_bytes())
}

/// What the provider says about an account that signed in for the request of one approval, as the request of another checks it.
pub(super) fn identity(account: Person, made_for: usize, checked_for: usize, now: Timestamp) -> Result<VerifiedIdentity, Reason> {
    let asked = request(checked_for)?;
    let claims = json!({
        "iss": IDP, "sub": account.sub(), "aud": OUR_ID, "nonce": request(made_for)?.nonce.expose(),
        "iat": now.seconds(), "exp": now.seconds() + 60,
    });
    let claims: IdTokenClaims = serde_json::from_value(claims).map_err(|_| Reason::Internal)?;
    let authority = Authority::from(Issuer::parse(IDP)?);
    let expected = ExpectedIdToken { authority: &authority, client_id: OUR_ID, nonce: &asked.nonce, now };
    check_id_token(SignedClaims::assume_verified(claims), expected)
}

fn client(app: App, place: Place, now: Timestamp) -> Result<Client, Reason> {
    if place == Place::Remembers {
        let url = DocumentUrl::parse(app.document())?;
        let document = json!({ "client_id": app.document(), "client_name": app.name(), "redirect_uris": [app.redirect()] });
        return document::read(&url, document.to_string().as_bytes(), now).map(|found| found.client);
    }
    let metadata = json!({"client_name": app.name(), "redirect_uris": [app.redirect()], "token_endpoint_auth_method": "none"});
    let registration = RawMetadata::parse(metadata.to_string().as_bytes())?.check(now)?;
    Ok(Client { id: ClientId::parse(&format!("dc_{app:?}"))?, registration, proof: Proof::None })
}

/// The one server that there is.
pub(super) fn catalog(origin: &str) -> Result<Catalog, Reason> {
    Ok(Catalog::new(vec![ProtectedResource {
        uri: ResourceUri::parse(&format!("{origin}/mcp"))?,
        path: "/mcp".to_owned(),
        name: "Tools".to_owned(),
        scopes: Scopes::parse("read write")?,
        calls: CallRules::default(),
    }]))
}

/// `GET /authorize`, with a link as anybody can write one.
pub(super) fn authorize(origin: &str, place: Place, opened: &Opened, number: usize) -> Result<Pending, Reason> {
    let (issuer, resource, catalog) = (Issuer::parse(origin)?, format!("{origin}/mcp"), catalog(origin)?);
    let Link { app, redirect, more, foreign, .. } = opened.link;
    let asked = if foreign { "https://elsewhere.test/mcp" } else { &resource };
    let now = time(opened.late);
    let client = client(app, place, now)?;
    let query = format!(
        "response_type=code&client_id={}&redirect_uri={}&code_challenge={CHALLENGE}&code_challenge_method=S256&resource={asked}&state=s&scope={}",
        client.id,
        redirect.redirect(),
        if more { "read+write" } else { "read" },
    );
    begin(&Params::parse(query.as_bytes())?, &client, &issuer, &catalog, now, bytes(number)).map_err(|refused| match refused {
        Refused::Untrusted(reason) | Refused::Undecided(_, reason) => reason,
    })
}
