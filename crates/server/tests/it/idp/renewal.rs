//! Asking the provider again, against one that answers in every way: OC-11, A-111…A-115.

use std::collections::HashSet;

use deputy_protocol::claims::VerifiedIdentity;
use deputy_server::idp::{IdpTokens, Renewal};

use super::*;
use crate::support::idp::OnRefresh;

/// Somebody who signed in, and the tokens.
async fn signed_in(limits: Limits, edit: impl FnOnce(&mut IdpConfig)) -> (Arc<Idp>, Arc<TestClock>, Provider, IdpTokens) {
    let clock = Arc::new(TestClock::new());
    let idp = Idp::start(Arc::clone(&clock)).await;
    let mut config = config(&idp.issuer);
    edit(&mut config);
    let provider = provider(config, &clock, limits);
    let tokens = Box::pin(sign_in(&provider, &clock)).await.unwrap().tokens;
    (idp, clock, provider, tokens)
}

/// Tokens that came out of a box.
fn unsealed(refresh_token: &str) -> IdpTokens {
    serde_json::from_value(json!({ "access_token": "a", "refresh_token": refresh_token, "expires_at": 1_800_000_000 })).unwrap()
}

fn refresh_token(tokens: &IdpTokens) -> String {
    serde_json::to_value(tokens).unwrap()["refresh_token"].as_str().unwrap().to_owned()
}

#[track_caller]
fn renewed(renewal: Renewal) -> (Option<VerifiedIdentity>, IdpTokens) {
    let Renewal::Renewed { identity, tokens } = renewal else { panic!("{renewal:?}") };
    (identity, tokens)
}

/// What came of it, in words that can be compared.
fn outcome(renewal: &Renewal) -> (&'static str, Option<Reason>) {
    match renewal {
        Renewal::Renewed { .. } => ("renewed", None),
        Renewal::Kept { why, .. } => ("kept", Some(why.reason)),
        Renewal::Ended(failure) => ("ended", Some(failure.reason)),
        Renewal::Unused(failure) => ("unused", Some(failure.reason)),
        Renewal::Unknown(failure) => ("unknown", Some(failure.reason)),
    }
}

const LATER: (&str, Option<Reason>) = ("unused", Some(Reason::IdpUnavailable));
const LOST: (&str, Option<Reason>) = ("unknown", Some(Reason::IdpUnavailable));

fn on_refresh(how: OnRefresh) -> Faults {
    Faults { refresh: Some(how), ..Faults::default() }
}

fn claims(edit: Value) -> Faults {
    let edit: Edit<Value> =
        Arc::new(move |claims: &mut Value| claims.as_object_mut().unwrap().extend(edit.as_object().unwrap().clone()));
    Faults { claims: Some(edit), ..Faults::default() }
}

#[tokio::test]
async fn the_provider_says_who_it_is_today_and_the_new_tokens_replace_the_old() {
    let (idp, clock, provider, mut tokens) = signed_in(Limits::default(), |_| ()).await;
    let mut seen = HashSet::from([refresh_token(&tokens)]);
    for group in ["MCP Users", "Others"] {
        idp.misbehave(claims(json!({ "groups": [group] })));
        let (identity, new) = renewed(provider.renew(&tokens, &alice(&idp), clock.now()).await);
        let identity = identity.unwrap();
        assert_eq!((identity.subject().sub(), identity.memberships().groups.listed()), ("alice", [group.to_owned()].as_slice()));
        assert!(seen.insert(refresh_token(&new)), "another token");
        tokens = new;
    }
    assert_eq!(idp.exchanges(), 1);
    assert!(idp.refreshes().values().all(|times| *times == 1), "{:?}", idp.refreshes());
}

#[tokio::test]
async fn oc_12_a_refresh_asks_for_nothing_more() {
    for (methods, names) in [
        (json!(["client_secret_basic"]), vec!["grant_type", "refresh_token"]),
        (json!(["client_secret_post"]), vec!["client_id", "client_secret", "grant_type", "refresh_token"]),
    ] {
        let scripted = Scripted::start().await;
        let mut document = scripted.document();
        document["token_endpoint_auth_methods_supported"] = methods;
        scripted.reply(DISCOVERY, Reply::Json(document));
        let clock = Arc::new(TestClock::new());
        let provider = provider(config(&scripted.origin), &clock, Limits::default());
        let _ = provider.renew(&unsealed("the token"), &somebody("alice"), clock.now()).await;
        let sent = scripted.requests("/token");
        let [sent] = sent.as_slice() else { panic!("{} requests", sent.len()) };
        let mut given: Vec<_> = sent.form.keys().map(String::as_str).collect();
        given.sort_unstable();
        assert_eq!(given, names);
        assert_eq!((sent.form["grant_type"].as_str(), sent.form["refresh_token"].as_str()), ("refresh_token", "the token"));
        assert_eq!(sent.authorization.is_some(), names.len() == 2, "one way to authenticate at a time");
    }
}

#[tokio::test]
async fn a_111_oc_11_a_person_who_is_gone_is_asked_about_once() {
    let (idp, clock, provider, tokens) = signed_in(Limits::default(), |_| ()).await;
    idp.disable("alice");
    let renewal = provider.renew(&tokens, &alice(&idp), clock.now()).await;
    assert_eq!(outcome(&renewal), ("ended", Some(Reason::IdpGrantEnded)));
    assert_eq!(idp.refreshes(), [(refresh_token(&tokens), 1)].into());
}

#[tokio::test]
async fn a_112_a_provider_that_says_later_keeps_the_token_good() {
    let (idp, clock, provider, mut tokens) = signed_in(Limits::default(), |_| ()).await;
    for status in [429, 500, 503] {
        idp.misbehave(on_refresh(OnRefresh::Status(status)));
        assert_eq!(outcome(&provider.renew(&tokens, &alice(&idp), clock.now()).await), LATER, "{status}");
        idp.misbehave(Faults::default());
        clock.advance(1);
        (_, tokens) = renewed(provider.renew(&tokens, &alice(&idp), clock.now()).await);
    }
}

#[tokio::test]
async fn a_112_a_token_that_never_left_can_be_sent_later() {
    let (idp, clock, provider, tokens) = signed_in(Limits::default(), |_| ()).await;
    let good = format!("{}/token", idp.issuer);
    for (endpoint, expected) in [("http://127.0.0.1:1/token".to_owned(), LATER), (good, ("renewed", None))] {
        idp.misbehave(discovery(move |document| document["token_endpoint"] = json!(endpoint)));
        clock.advance(3601);
        assert_eq!(outcome(&provider.renew(&tokens, &alice(&idp), clock.now()).await), expected);
    }
    assert_eq!(idp.refreshes(), [(refresh_token(&tokens), 1)].into());
}

#[tokio::test]
async fn a_113_a_token_whose_answer_is_lost_was_sent_once() {
    let unread = ("unknown", Some(Reason::IdpAnswerMalformed));
    let token = |body: &str| Faults { token: Some((200, body.to_owned())), ..Faults::default() };
    for (faults, expected) in [
        (on_refresh(OnRefresh::Hang), LOST),
        (on_refresh(OnRefresh::Cut), LOST),
        (token("{\"access_token\":\"a\",\"refresh_tok"), unread),
        (token("<html>"), unread),
        (token("{}"), unread),
        (token(&"x".repeat(SHORT.body + 1)), LOST),
    ] {
        let (idp, clock, provider, tokens) = signed_in(SHORT, |_| ()).await;
        idp.misbehave(faults);
        assert_eq!(outcome(&provider.renew(&tokens, &alice(&idp), clock.now()).await), expected);
        assert_eq!(idp.refreshes(), [(refresh_token(&tokens), 1)].into());
    }
}

#[tokio::test]
async fn a_113_a_token_that_was_given_up_is_not_sent() {
    let (idp, clock, provider, tokens) = signed_in(Limits::default(), |_| ()).await;
    let spent = tokens.without_refresh();
    assert!(!spent.can_be_renewed());
    assert_eq!(outcome(&provider.renew(&spent, &alice(&idp), clock.now()).await).0, "unused");
    assert_eq!(idp.refreshes().len(), 0);
}

#[tokio::test]
async fn a_115_a_provider_that_does_not_rotate_is_asked_with_the_same_token() {
    let (idp, clock, provider, mut tokens) = signed_in(Limits::default(), |_| ()).await;
    let first = refresh_token(&tokens);
    idp.misbehave(on_refresh(OnRefresh::NoRotation));
    for _ in 0..2 {
        (_, tokens) = renewed(provider.renew(&tokens, &alice(&idp), clock.now()).await);
    }
    assert_eq!(idp.refreshes(), [(first, 2)].into());
}

#[tokio::test]
async fn an_answer_about_somebody_else_ends_it() {
    let (idp, clock, provider, tokens) = signed_in(Limits::default(), |_| ()).await;
    idp.misbehave(claims(json!({ "sub": "mallory" })));
    let renewal = provider.renew(&tokens, &alice(&idp), clock.now()).await;
    assert_eq!(outcome(&renewal), ("ended", Some(Reason::IdpOtherSubject)));
}

#[tokio::test]
async fn a_119_an_id_token_that_does_not_hold_renews_the_tokens_and_nothing_else() {
    let (idp, clock, provider, mut tokens) = signed_in(Limits::default(), |_| ()).await;
    let stranger = resigned(json!({ "alg": "ES256", "kid": "first" }));
    let now = clock.seconds();
    for (faults, reason) in [
        (Faults { id_token: Some(stranger), ..Faults::default() }, Reason::IdTokenSignature),
        (claims(json!({ "iss": "https://evil.test" })), Reason::IdTokenIssuer),
        (claims(json!({ "aud": "other" })), Reason::IdTokenAudience),
        (claims(json!({ "exp": now - 60 })), Reason::IdTokenExpired),
    ] {
        idp.misbehave(faults);
        let Renewal::Kept { tokens: new, why } = provider.renew(&tokens, &alice(&idp), clock.now()).await else {
            panic!("{reason:?}")
        };
        assert_eq!(why.reason, reason);
        tokens = new;
    }
    idp.misbehave(Faults::default());
    assert!(renewed(provider.renew(&tokens, &alice(&idp), clock.now()).await).0.is_some());
}

#[tokio::test]
async fn a_112_keys_that_cannot_be_had_renew_the_tokens_and_nothing_else() {
    let (idp, clock, provider, tokens) = signed_in(Limits::default(), |_| ()).await;
    idp.misbehave(discovery(|document| document["jwks_uri"] = json!("http://127.0.0.1:1/keys")));
    clock.advance(25 * 3600);
    let renewal = provider.renew(&tokens, &alice(&idp), clock.now()).await;
    assert_eq!(outcome(&renewal), ("kept", Some(Reason::IdpUnavailable)));
    let Renewal::Kept { tokens, .. } = renewal else { panic!() };
    idp.misbehave(Faults::default());
    clock.advance(3601);
    assert!(renewed(provider.renew(&tokens, &alice(&idp), clock.now()).await).0.is_some());
}

#[tokio::test]
async fn a_115_without_an_id_token_success_is_the_providers_word_and_userinfo_says_more() {
    let (idp, clock, provider, mut tokens) = signed_in(Limits::default(), |config| config.userinfo = true).await;
    idp.misbehave(on_refresh(OnRefresh::NoIdToken));
    let (identity, new) = renewed(provider.renew(&tokens, &alice(&idp), clock.now()).await);
    assert!(identity.is_none(), "its metadata names no userinfo endpoint");
    tokens = new;
    let scripted = Scripted::start().await;
    let endpoint = format!("{}/userinfo", scripted.origin);
    idp.misbehave(Faults {
        refresh: Some(OnRefresh::NoIdToken),
        ..discovery(move |document| document["userinfo_endpoint"] = json!(endpoint))
    });
    clock.advance(3601);
    for (reply, expected) in [
        (Reply::Status(503), ("kept", Some(Reason::IdpUnavailable))),
        (Reply::Status(401), ("kept", Some(Reason::IdpAnswerMalformed))),
        (Reply::Json(json!({ "sub": "alice", "groups": ["MCP Users"] })), ("renewed", None)),
        (Reply::Json(json!({ "sub": "mallory" })), ("ended", Some(Reason::IdpOtherSubject))),
    ] {
        scripted.reply("/userinfo", reply);
        let renewal = provider.renew(&tokens, &alice(&idp), clock.now()).await;
        assert_eq!(outcome(&renewal), expected);
        match renewal {
            Renewal::Renewed { identity, tokens: new } => {
                assert_eq!(identity.unwrap().memberships().groups.listed(), ["MCP Users"]);
                tokens = new;
            }
            Renewal::Kept { tokens: new, .. } => tokens = new,
            Renewal::Ended(_) | Renewal::Unused(_) | Renewal::Unknown(_) => (),
        }
    }
    let bearer = "Bearer IDP-ACCESS-CANARY-RENEWED";
    assert!(scripted.requests("/userinfo").iter().all(|sent| sent.authorization.as_deref() == Some(bearer)));
}

#[tokio::test]
async fn oc_11_a_wrong_secret_of_ours_ends_nobodys_grant() {
    let (idp, clock, provider_now, tokens) = signed_in(Limits::default(), |_| ()).await;
    let mut rotated = config(&idp.issuer);
    rotated.credential = Credential::Secret(ClientSecret::from_text("the secret of last year".to_owned()));
    let refused = provider(rotated, &clock, Limits::default()).renew(&tokens, &alice(&idp), clock.now()).await;
    assert_eq!(outcome(&refused), ("unused", Some(Reason::IdpRegistrationRefused)));
    assert_eq!(outcome(&provider_now.renew(&tokens, &alice(&idp), clock.now()).await), ("renewed", None));
}

#[tokio::test]
async fn a_112_a_provider_that_hangs_is_sent_one_token_and_then_asked_something_harmless() {
    let scripted = Scripted::start().await;
    let clock = Arc::new(TestClock::new());
    let provider = provider(config(&scripted.origin), &clock, SHORT);
    scripted.reply("/token", Reply::Silent);
    assert_eq!(outcome(&provider.renew(&unsealed("first"), &somebody("alice"), clock.now()).await), LOST);
    scripted.reply(DISCOVERY, Reply::Silent);
    for _ in 0..5 {
        assert_eq!(outcome(&provider.renew(&unsealed("second"), &somebody("bob"), clock.now()).await), LATER);
    }
    assert_eq!((scripted.requests("/token").len(), scripted.requests(DISCOVERY).len()), (1, 2));
    clock.advance(1);
    scripted.reply(DISCOVERY, Reply::Status(502));
    assert_eq!(outcome(&provider.renew(&unsealed("second"), &somebody("bob"), clock.now()).await), LATER);
    assert_eq!((scripted.requests("/token").len(), scripted.requests(DISCOVERY).len()), (1, 3));
    clock.advance(1);
    scripted.reply(DISCOVERY, Reply::Json(scripted.document()));
    scripted.reply("/token", Reply::Json(json!({ "access_token": "a", "token_type": "Bearer" })));
    for name in ["second", "third", "fourth"] {
        assert_eq!(
            outcome(&provider.renew(&unsealed(name), &somebody("bob"), clock.now()).await),
            ("renewed", None),
            "I12: {name}"
        );
    }
    assert_eq!(scripted.requests(DISCOVERY).len(), 4, "one trial is enough");
}

#[tokio::test]
async fn a_112_while_one_finds_out_the_others_do_not_wait() {
    let scripted = Scripted::start().await;
    let clock = Arc::new(TestClock::new());
    let provider = Arc::new(provider(config(&scripted.origin), &clock, Limits::default()));
    scripted.reply("/token", Reply::Status(503));
    assert_eq!(outcome(&provider.renew(&unsealed("first"), &somebody("alice"), clock.now()).await), LATER);
    // It is there again, and its token endpoint hangs: the one who found out is alone with it.
    scripted.reply("/token", Reply::Silent);
    let finding_out = tokio::spawn({
        let (provider, now) = (Arc::clone(&provider), clock.now());
        async move { outcome(&provider.renew(&unsealed("second"), &somebody("bob"), now).await) }
    });
    scripted.wait_for("/token", 2).await;
    clock.advance(1);
    for _ in 0..5 {
        assert_eq!(outcome(&provider.renew(&unsealed("third"), &somebody("carol"), clock.now()).await), LATER);
    }
    assert!(!finding_out.is_finished(), "nobody waited");
    assert_eq!((scripted.requests("/token").len(), scripted.requests(DISCOVERY).len()), (2, 2));
    // Whoever gives up makes room for the next.
    finding_out.abort();
    assert!(finding_out.await.unwrap_err().is_cancelled());
    scripted.reply("/token", Reply::Json(json!({ "access_token": "a", "token_type": "Bearer" })));
    assert_eq!(outcome(&provider.renew(&unsealed("third"), &somebody("carol"), clock.now()).await), ("renewed", None));
}
