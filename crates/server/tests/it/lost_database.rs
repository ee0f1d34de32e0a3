//! The database is lost and the keys are not: clients keep their ids, and people sign in once more (decision 8).

use serde_json::json;

use crate::support::http::{Browser, post_form};
use crate::support::{Client, HONEST, World};

async fn refreshed(world: &World, client: &Client, token: &str) -> (u16, String) {
    let mut form = vec![("grant_type", "refresh_token"), ("client_id", client.id.as_str()), ("refresh_token", token)];
    form.extend(client.secret.as_deref().map(|secret| ("client_secret", secret)));
    let answer = world.token(&form).await;
    (answer.status.as_u16(), answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn i8_whoever_was_signed_in_signs_in_again_and_no_client_registers_anew() {
    let world = World::new().await;
    let (public, access, refresh) = world.signed_in().await;
    let code = world.code(&public).await;
    let secret = json!({"redirect_uris": [HONEST], "token_endpoint_auth_method": "client_secret_post"});
    let confidential = world.register_with(secret).await;
    // Somebody is reading the consent page.
    let mut browser = Browser::default();
    let page = browser.open(&world.authorize_url(&public, &[]), HONEST).await.ticket();

    let world = world.without_database().await;
    assert_eq!(refreshed(&world, &public, &refresh).await, (400, "invalid_grant".to_owned()));
    assert_eq!(refreshed(&world, &confidential, &refresh).await, (400, "invalid_grant".to_owned()), "its secret is still good");
    let wrong = Client { secret: Some("wrong".to_owned()), ..confidential };
    assert_eq!(refreshed(&world, &wrong, &refresh).await, (401, "invalid_client".to_owned()));
    let redeemed = world.redeem(&public, &code).await;
    assert_eq!((redeemed.status.as_u16(), redeemed.json()["error"].as_str()), (400, Some("invalid_grant")));
    for token in [&refresh, &access] {
        let form = [("client_id", public.id.as_str()), ("token", token)];
        assert_eq!(post_form(&world.at("/revoke"), &form).await.status, 200);
    }
    // The signing keys were in the database: what they signed ends with it, and says so in the way that makes a client refresh.
    let refused = world.call(&access).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""), "{}", refused.header("www-authenticate"));
    assert!(world.rows().await.iter().all(|(table, rows)| *table == "signing_keys" || *rows == 0), "{:?}", world.rows().await);

    // The page that was open leads to the end, with the same client.
    let sent = browser.decide(&world.origin, &page, "approve").await;
    assert_eq!(sent.status, 303, "{}", sent.text());
    let end = browser.open(sent.location().unwrap().as_str(), HONEST).await;
    let tokens = world.redeem(&public, &end.sent("code").unwrap()).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let text = |name: &str| tokens.json()[name].as_str().unwrap().to_owned();
    assert_eq!(world.call(&text("access_token")).await.status, 200);
    assert_eq!(refreshed(&world, &public, &text("refresh_token")).await.0, 200);
    assert_eq!(refreshed(&world, &public, &refresh).await, (400, "invalid_grant".to_owned()), "the new sign-in revives nothing");
}
