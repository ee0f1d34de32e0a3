use super::super::{CLIENT_ID, people};
use super::*;
use deputy_protocol::secret::ClientSecret;
use std::time::Instant;

const REDIRECT: &str = "http://localhost:8000/callback";
const HERE: &str = "/7d3f2c1a-0f64-4a8e-9c55-de0c0de0c0de/oauth2/v2.0/token";

fn idp() -> Idp {
    let secret = ClientSecret::from_text("secret".to_owned());
    Idp::with("http://127.0.0.1:8001", REDIRECT.to_owned(), CLIENT_ID.to_owned(), secret, true).expect("a provider")
}

fn issued(person: &str, scope: &str) -> Issued {
    Issued {
        person: people::find(person).expect("a person"),
        nonce: Some("n".to_owned()),
        challenge: URL_SAFE_NO_PAD.encode(sha256(b"verifier")),
        redirect_uri: REDIRECT.to_owned(),
        scope: scope.to_owned(),
        stepped_up: false,
        at: Instant::now(),
    }
}

fn ask(idp: &Idp, at: &str, pairs: &[(&str, &str)]) -> Result<Value, Refusal> {
    let known =
        [("client_id", CLIENT_ID), ("client_secret", "secret"), ("redirect_uri", REDIRECT), ("code_verifier", "verifier")];
    let form = known.iter().chain(pairs).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    exchange(idp, &at.parse().expect("a path"), &HeaderMap::new(), &form)
}

fn redeem(idp: &Idp, at: &str, issued: Issued, more: &[(&str, &str)]) -> Result<Value, Refusal> {
    let code = lock(&idp.codes).keep(issued).expect("kept");
    let pairs: Vec<_> = [("grant_type", "authorization_code"), ("code", &code)].into_iter().chain(more.iter().copied()).collect();
    ask(idp, at, &pairs)
}

fn code_of(answer: Result<Value, Refusal>) -> Option<(&'static str, u32)> {
    answer.err().map(|refusal| (refusal.error, refusal.code))
}

#[test]
fn a_refresh_token_is_given_for_offline_access_alone_and_stays_valid() {
    let idp = idp();
    assert!(redeem(&idp, HERE, issued("alice", "openid"), &[]).expect("tokens").get("refresh_token").is_none());
    let tokens = redeem(&idp, HERE, issued("alice", "openid offline_access"), &[]).expect("tokens");
    let refresh = tokens["refresh_token"].as_str().expect("a refresh token");
    for _ in 0..2 {
        assert!(ask(&idp, HERE, &[("grant_type", "refresh_token"), ("refresh_token", refresh)]).is_ok());
    }
}

#[test]
fn refusals_carry_entras_numbers() {
    let idp = idp();
    let alice = || issued("alice", "openid");
    assert_eq!(code_of(redeem(&idp, HERE, alice(), &[("resource", "x")])), Some(("invalid_request", 901_002)));
    assert_eq!(code_of(redeem(&idp, HERE, alice(), &[("client_secret", "x")])), Some(("invalid_client", 7_000_215)));
    assert_eq!(code_of(redeem(&idp, HERE, alice(), &[("code_verifier", "x")])), Some(("invalid_grant", 501_481)));
    assert_eq!(code_of(redeem(&idp, HERE, issued("alice", "api://a/x api://b/y"), &[])), Some(("invalid_scope", 70_011)));
}

#[test]
fn who_is_disabled_is_refused_at_the_next_refresh() {
    let idp = idp();
    let tokens = redeem(&idp, HERE, issued("disabled", "openid offline_access"), &[]).expect("tokens");
    let refresh = tokens["refresh_token"].as_str().expect("a refresh token");
    let answer = ask(&idp, HERE, &[("grant_type", "refresh_token"), ("refresh_token", refresh)]);
    assert_eq!(code_of(answer), Some(("invalid_grant", 50_057)));
}

#[test]
fn a_second_factor_is_asked_for_until_the_claims_come_back() {
    let idp = idp();
    let refusal = redeem(&idp, HERE, issued("mfa", "openid"), &[]).expect_err("a challenge");
    assert_eq!((refusal.error, refusal.code), ("interaction_required", 50_076));
    assert!(refusal.claims.is_some_and(|claims| serde_json::from_str::<Value>(claims).is_ok()));
    assert!(redeem(&idp, HERE, Issued { stepped_up: true, ..issued("mfa", "openid") }, &[]).is_ok());
}

#[test]
fn the_other_tenant_comes_in_by_organizations_only_and_has_its_own_issuer() {
    let idp = idp();
    assert_eq!(code_of(redeem(&idp, HERE, issued("other", "openid"), &[])), Some(("invalid_grant", 50_020)));
    assert!(redeem(&idp, "/organizations/oauth2/v2.0/token", issued("other", "openid"), &[]).is_ok());
    let claims = id_claims(&idp, &issued("other", "openid"));
    assert_eq!((claims["tid"].as_str(), claims.get("email")), (Some(OTHER_TENANT), None));
    assert_eq!(claims["iss"], format!("http://127.0.0.1:8001/{OTHER_TENANT}/v2.0"));
}

#[test]
fn too_many_groups_are_an_overage_and_few_are_ids() {
    let idp = idp();
    let many = id_claims(&idp, &issued("many", "openid"));
    assert!(many.get("groups").is_none() && many["_claim_names"]["groups"] == "src1");
    assert_eq!(groups(people::find("many").expect("many")).len(), 250);
    let admin = id_claims(&idp, &issued("admin", "openid email"));
    assert_eq!((admin["groups"][0].as_str().map(str::len), &admin["roles"][0]), (Some(36), &json!("mcp.admin")));
}
