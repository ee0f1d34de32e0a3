//! Microsoft Entra ID: whose people they are, and which keys speak for them.

use std::sync::Arc;

use deputy_protocol::Issuer;
use deputy_protocol::claims::{TenantId, Tenants};
use deputy_server::config::Entra;
use deputy_server::{Config, IdpConfig, StartError};
use serde_json::{Value, json};

use crate::providers::{name, secret};
use crate::support::clock::TestClock;
use crate::support::http::{Browser, claims};
use crate::support::idp::{CLIENT_ID, Faults, Idp};
use crate::support::{HONEST, World};

pub(crate) const T1: &str = "11111111-aaaa-4bbb-8ccc-000000000001";
const T2: &str = "22222222-aaaa-4bbb-8ccc-000000000002";
const T3: &str = "33333333-aaaa-4bbb-8ccc-000000000003";

/// Entra as we are configured towards it: the provider of the tests, which writes its issuers as this says.
fn entra(idp: &Idp, tenants: &[&str]) -> Entra {
    let origin = Issuer::parse(&idp.issuer).unwrap();
    let allowed = tenants.iter().map(|tenant| TenantId::parse(tenant).unwrap()).collect();
    let tenants = Tenants::new(&format!("{origin}/{{tenantid}}/v2.0"), allowed).unwrap();
    Entra { tenants, graph: Some(origin.clone()), origin, on_behalf: false }
}

/// How Entra says who signed in: the tenant `tid`, in a token whose issuer names `named`.
pub(crate) fn says(idp: &Idp, metadata: &str, tid: Value, named: &str) -> Faults {
    let (discovered, issuer) = (format!("{}/{metadata}/v2.0", idp.issuer), format!("{}/{named}/v2.0", idp.issuer));
    Faults {
        discovery: Some(Arc::new(move |document| document["issuer"] = json!(discovered))),
        claims: Some(Arc::new(move |claims: &mut Value| {
            let object = claims.as_object_mut().unwrap();
            object.insert("iss".to_owned(), json!(issuer));
            object.insert("oid".to_owned(), json!(format!("oid-of-{}", object["sub"].as_str().unwrap())));
            object.insert("sub".to_owned(), json!("pairwise"));
            object.insert("tid".to_owned(), tid.clone());
        })),
        ..Faults::default()
    }
}

pub(crate) async fn with_entra(tenants: &[&str], metadata: &str, edit: impl FnOnce(&mut Config)) -> World {
    try_with_entra(tenants, metadata, edit).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn try_with_entra(
    tenants: &[&str],
    metadata: &str,
    edit: impl FnOnce(&mut Config),
) -> Result<World, StartError> {
    let clock = Arc::new(TestClock::new());
    let idp = Idp::start(Arc::clone(&clock)).await;
    idp.misbehave(says(&idp, metadata, json!(T1), T1));
    let config = IdpConfig::entra(name("entra"), entra(&idp, tenants), CLIENT_ID.to_owned(), secret());
    let started = World::with_idp(idp, clock, |all| {
        all.idps = vec![config];
        edit(all);
    });
    started.await
}

#[tokio::test]
async fn a_139_entra_people_are_the_oid_in_an_allowed_tenant() {
    for (tenants, metadata) in [(&[T1][..], T1), (&[T1, T2][..], "{tenantid}")] {
        let world = with_entra(tenants, metadata, |_| ()).await;
        let client = world.register(HONEST).await;
        let tokens = world.redeem(&client, &world.code(&client).await).await.json();
        let said = claims(tokens["access_token"].as_str().unwrap());
        assert_eq!((&said["idp_sub"], &said["idp"]), (&json!("oid-of-alice"), &json!(format!("{}/{T1}/v2.0", world.idp.issuer))));
        // Asked where it answers for these tenants, with nothing of the client's (OC-12).
        let asked = world.idp.asked.lock().unwrap().last().cloned().unwrap();
        assert!(
            !asked.contains_key("resource") && asked["scope"] == "openid profile email offline_access User.Read",
            "{asked:?}"
        );
        world.clock.advance(400);
        assert_eq!(world.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await.status, 200, "and again at a refresh");
    }
}

#[tokio::test]
async fn a_139_tokens_of_other_tenants_give_no_code() {
    let world = with_entra(&[T1, T2], "{tenantid}", |_| ()).await;
    let client = world.register(HONEST).await;
    for (tid, named, reason) in [
        (json!(T3), T3, "tenant_not_allowed"),
        (json!(T2), T1, "id_token_issuer"),
        (json!(T1), T2, "id_token_issuer"),
        (json!(T1), T3, "id_token_issuer"),
        (json!(T1), "{tenantid}", "id_token_issuer"),
        (json!(null), T1, "id_token_issuer"),
        (json!("organizations"), "organizations", "id_token_issuer"),
    ] {
        world.idp.misbehave(says(&world.idp, "{tenantid}", tid.clone(), named));
        let answer = world.approve(&mut Browser::default(), &client).await;
        assert!(answer.location().is_none() && answer.text().contains(reason), "{tid} {named}: {}", answer.text());
    }
    world.idp.misbehave(says(&world.idp, "{tenantid}", json!(T2), T2));
    assert!(world.approve(&mut Browser::default(), &client).await.sent("code").is_some());
}

/// Among the keys for all tenants are such for one issuer alone.
#[tokio::test]
async fn a_139_a_key_of_another_issuer_signs_for_nobody_here() {
    for (tenants, metadata, issuer, good) in [
        (&[T1][..], T1, "{tenantid}", true),
        (&[T1][..], T1, T1, true),
        (&[T1][..], T1, T2, false),
        (&[T1, T2][..], "{tenantid}", "{tenantid}", true),
        (&[T1, T2][..], "{tenantid}", T3, false),
    ] {
        let world = with_entra(tenants, metadata, |_| ()).await;
        let named = format!("{}/{issuer}/v2.0", world.idp.issuer);
        let faults = Faults {
            keys: Some(Arc::new(move |document: &mut Value| document["keys"][0]["issuer"] = json!(named))),
            ..says(&world.idp, metadata, json!(T1), T1)
        };
        world.idp.misbehave(faults);
        let client = world.register(HONEST).await;
        let answer = world.approve(&mut Browser::default(), &client).await;
        assert_eq!(answer.sent("code").is_some(), good, "{metadata} {issuer}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_125_entra_metadata_must_name_the_tenant_that_was_asked() {
    let clock = Arc::new(TestClock::new());
    let idp = Idp::start(Arc::clone(&clock)).await;
    for metadata in [T2, "{tenantid}", "common"] {
        idp.misbehave(says(&idp, metadata, json!(T1), T1));
        let config = IdpConfig::entra(name("entra"), entra(&idp, &[T1]), CLIENT_ID.to_owned(), secret());
        let started = World::with_idp(Arc::clone(&idp), Arc::clone(&clock), |all| all.idps = vec![config]).await;
        assert!(matches!(started.map(drop), Err(StartError::Idp(_))), "{metadata}");
    }
}
