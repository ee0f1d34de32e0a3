use super::super::{CLIENT_ID, Manners, people};
use super::tokens::{access_claims, groups, id_claims};
use super::*;
use deputy_protocol::secret::ClientSecret;
use std::time::Instant;

const REDIRECT: &str = "http://localhost:8000/callback";
const HERE: &str = "/7d3f2c1a-0f64-4a8e-9c55-de0c0de0c0de/oauth2/v2.0/token";

fn idp() -> Idp {
    let secret = ClientSecret::from_text("secret".to_owned());
    Idp::with("http://127.0.0.1:8001", REDIRECT.to_owned(), CLIENT_ID.to_owned(), secret, Manners::Entra(Box::default()))
        .expect("a provider")
}

fn issued(person: &str, scope: &str) -> Issued {
    Issued {
        person: people::find(person).expect("a person"),
        nonce: Some("n".to_owned()),
        challenge: URL_SAFE_NO_PAD.encode(sha256(b"verifier")),
        redirect_uri: REDIRECT.to_owned(),
        scope: scope.to_owned(),
        stepped_up: false,
        offline: false,
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

fn with(registration: Registration) -> Idp {
    let secret = ClientSecret::from_text("secret".to_owned());
    let manners = Manners::Entra(Box::new(registration));
    Idp::with("http://127.0.0.1:8001", REDIRECT.to_owned(), CLIENT_ID.to_owned(), secret, manners).expect("a provider")
}

/// An RSA key with a certificate of its own, and the certificate in a file.
pub(in super::super) fn certified() -> (rcgen::KeyPair, String, tempfile::NamedTempFile) {
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
    let der: aws_lc_rs::encoding::Pkcs8V1Der<'static> = aws_lc_rs::encoding::AsDer::as_der(&pair).expect("its form");
    let encoded = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n");
    let pair = rcgen::KeyPair::from_pem_and_sign_algo(&pem, &rcgen::PKCS_RSA_SHA256).expect("a pair");
    let certificate =
        rcgen::CertificateParams::new(vec!["deputy".to_owned()]).expect("names").self_signed(&pair).expect("signed");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), certificate.pem()).expect("written");
    (pair, URL_SAFE_NO_PAD.encode(sha256(certificate.der())), file)
}

fn asserting(idp: &Idp, header: &jsonwebtoken::Header, claims: &Value, key: &rcgen::KeyPair) -> Option<(&'static str, u32)> {
    let key = jsonwebtoken::EncodingKey::from_rsa_pem(key.serialize_pem().as_bytes()).expect("a key");
    proving(idp, &jsonwebtoken::encode(header, claims, &key).expect("signed"))
}

/// What becomes of a code that comes with this assertion in place of a secret.
fn proving(idp: &Idp, assertion: &str) -> Option<(&'static str, u32)> {
    let code = lock(&idp.codes).keep(issued("alice", "openid")).expect("kept");
    let pairs = [
        ("client_id", CLIENT_ID),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", assertion),
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", REDIRECT),
        ("code_verifier", "verifier"),
    ];
    let form = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into_iter().collect();
    code_of(exchange(idp, &HERE.parse().expect("a path"), &HeaderMap::new(), &form))
}

#[test]
fn a_certificate_stands_for_a_secret() {
    let (key, thumbprint, file) = certified();
    let (other, ..) = certified();
    let idp = with(Registration { certificate: Some(Certificate::read(file.path()).expect("read")), ..Registration::default() });
    let ends = SystemClock.now().seconds() + 60;
    let good = json!({ "iss": CLIENT_ID, "sub": CLIENT_ID, "aud": format!("http://127.0.0.1:8001{HERE}"), "exp": ends });
    let named = |thumbprint: &str, algorithm| jsonwebtoken::Header {
        x5t_s256: Some(thumbprint.to_owned()),
        ..jsonwebtoken::Header::new(algorithm)
    };
    for algorithm in [jsonwebtoken::Algorithm::PS256, jsonwebtoken::Algorithm::RS256] {
        assert_eq!(asserting(&idp, &named(&thumbprint, algorithm), &good, &key), None);
    }
    let header = named(&thumbprint, jsonwebtoken::Algorithm::PS256);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let refused = |code| Some(("invalid_client", code));
    assert_eq!(asserting(&idp, &header, &good, &other), refused(700_027));
    assert_eq!(asserting(&idp, &named("other", jsonwebtoken::Algorithm::PS256), &good, &key), refused(700_027));
    assert_eq!(asserting(&idp, &header, &with("aud", json!("http://127.0.0.1:8001")), &key), refused(700_023));
    assert_eq!(asserting(&idp, &header, &with("sub", json!("other")), &key), refused(700_021));
    assert_eq!(asserting(&idp, &header, &with("exp", json!(ends - 61)), &key), refused(700_024));
    assert_eq!(asserting(&self::idp(), &header, &good, &key), refused(700_027), "nothing was uploaded");
}

#[test]
fn a_federated_credential_is_one_of_an_issuer_and_subject_that_are_trusted() {
    let idp = idp();
    assert_eq!(proving(&idp, &credential::of_the_workload(&idp).expect("a token")), None);
    let of_the_identity = |audience: &str| credential::of_the_identity(&idp, audience).expect("a token").0;
    assert_eq!(proving(&idp, &of_the_identity("api://AzureADTokenExchange")), None);
    assert_eq!(proving(&idp, &of_the_identity("api://other")), Some(("invalid_client", 700_212)));
    let signed = |issuer: &str, subject: &str| {
        let claims = json!({ "iss": issuer, "sub": subject, "aud": "api://AzureADTokenExchange", "exp": SystemClock.now().seconds() + 60 });
        idp.key.sign(&claims).expect("signed")
    };
    let cluster = "http://127.0.0.1:8001/cluster";
    assert_eq!(proving(&idp, &signed(cluster, "system:serviceaccount:default:other")), Some(("invalid_client", 700_213)));
    assert_eq!(proving(&idp, &signed("http://other", "system:serviceaccount:default:deputy")), Some(("invalid_client", 700_211)));
    assert_eq!(proving(&idp, "x"), Some(("invalid_request", 50_027)));
}

fn own_token(idp: &Idp, person: &str, stepped_up: bool) -> String {
    let scope = format!("{CLIENT_ID}/.default");
    let issued = Issued { stepped_up, ..issued(person, &scope) };
    idp.key.sign(&access_claims(idp, &issued, CLIENT_ID)).expect("signed")
}

fn on_behalf(idp: &Idp, assertion: &str, scope: &str) -> Result<Value, Refusal> {
    ask(
        idp,
        HERE,
        &[("grant_type", on_behalf::GRANT), ("requested_token_use", "on_behalf_of"), ("assertion", assertion), ("scope", scope)],
    )
}

#[test]
fn a_person_s_token_of_either_version_is_exchanged_for_one_for_an_api() {
    for (version, ver, audience) in
        [(AccessTokens::V1, "1.0", format!("api://{CLIENT_ID}")), (AccessTokens::V2, "2.0", CLIENT_ID.to_owned())]
    {
        let idp = with(Registration { access_tokens: version, ..Registration::default() });
        let own = own_token(&idp, "alice", false);
        let claims = idp.key.read(&own).expect("claims");
        assert_eq!((&claims["ver"], &claims["aud"], &claims["scp"]), (&json!(ver), &json!(audience), &json!("access_as_user")));
        let answer = on_behalf(&idp, &own, "api://backend/Tools.Call").expect("a token");
        let claims = idp.key.read(answer["access_token"].as_str().expect("a token")).expect("claims");
        assert_eq!((&claims["aud"], &claims["scp"]), (&json!("backend"), &json!("Tools.Call")));
        assert_eq!((&claims["azp"], &claims["oid"]), (&json!(CLIENT_ID), &json!("a11ce000-0000-4000-8000-000000000001")));
        // Such a token is for the API, and nobody's to exchange again here.
        let again = on_behalf(&idp, answer["access_token"].as_str().expect("a token"), "api://other/x");
        assert_eq!(code_of(again), Some(("invalid_grant", 500_131)));
    }
}

#[test]
fn an_exchange_is_refused_for_its_reasons() {
    let idp = idp();
    let refused = |person, stepped_up| code_of(on_behalf(&idp, &own_token(&idp, person, stepped_up), "api://backend/x"));
    assert_eq!(refused("step", false), Some(("interaction_required", 50_076)));
    assert_eq!(refused("step", true), None);
    assert_eq!(refused("nobody", false), Some(("invalid_grant", 65_001)));
    assert_eq!(refused("disabled", false), Some(("invalid_grant", 50_057)));
    let own = own_token(&idp, "alice", false);
    assert_eq!(code_of(on_behalf(&idp, "x.y.z", "api://backend/x")), Some(("invalid_grant", 50_013)));
    assert_eq!(code_of(on_behalf(&idp, &own, "api://a/x api://b/x")), Some(("invalid_scope", 70_011)));
    let without = ask(&idp, HERE, &[("grant_type", on_behalf::GRANT), ("assertion", &own), ("scope", "api://backend/x")]);
    assert_eq!(code_of(without), Some(("invalid_request", 900_144)));
}
