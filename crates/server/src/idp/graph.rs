//! Microsoft Graph, asked about people in more groups than an ID token lists (learn.microsoft.com, "Groups overage claim").
//!
//! What this module guarantees:
//! - Asked is where the configuration says, never the address in the token's `_claim_sources`.
//! - Asked is only for the groups that rules name; the rest of what somebody is in stays there.
//! - No answer counts as "in no group".

use deputy_fetch::{Client as FetchClient, Credentials, Endpoint};
use deputy_protocol::claims::{Groups, TenantId as ObjectId, VerifiedIdentity};
use deputy_protocol::secret::ClientSecret;
use deputy_protocol::{Issuer, Reason, Timestamp};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::metadata::status_failure;
use super::{IdpFailure, Provider};
use crate::config::{Entra, IdpKind};

/// Most groups that one question may name.
const AT_ONCE: usize = 20;

#[derive(Deserialize)]
struct Member {
    value: Vec<String>,
}

impl Provider {
    /// Asks for the groups that the ID token does not list, where there is somebody to ask.
    pub(super) async fn with_unlisted_groups(
        &self,
        identity: VerifiedIdentity,
        token: &ClientSecret,
        now: Timestamp,
    ) -> Result<VerifiedIdentity, IdpFailure> {
        match &self.config.kind {
            IdpKind::Entra(Entra { graph: Some(graph), on_behalf, .. }) if identity.memberships().groups == Groups::Elsewhere => {
                // A token is for one API: that one is for us, so Graph's has to be asked for.
                let exchanged = match on_behalf {
                    true => Some(self.exchange(token, &format!("{graph}/User.Read"), now).await?.token),
                    false => None,
                };
                let token = exchanged.as_ref().unwrap_or(token);
                Ok(identity.with_groups(groups(&self.fetch, graph, token, &self.groups).await?))
            }
            IdpKind::OpenId { .. } | IdpKind::Entra(_) | IdpKind::GitHub(_) | IdpKind::OAuth(_) => Ok(identity),
        }
    }
}

/// Which of `named`, by their ids, the person of this token is in, directly or through other groups. `User.Read` is all that this takes.
/// <https://learn.microsoft.com/graph/api/user-checkmembergroups>
async fn groups(fetch: &FetchClient, graph: &Issuer, token: &ClientSecret, named: &[String]) -> Result<Groups, IdpFailure> {
    let endpoint = Endpoint::parse(&format!("{graph}/v1.0/me/checkMemberGroups"));
    let endpoint = endpoint.map_err(|error| IdpFailure::refused(Reason::Internal, format!("{graph}: {error}")))?;
    if let Some(name) = named.iter().find(|group| ObjectId::parse(group).is_none()) {
        tracing::warn!(
            target: "deputy::idp", group = %name,
            "Microsoft Graph knows groups by their object ids: nobody with too many groups comes in until the rule names the group by its id"
        );
        return Ok(Groups::Elsewhere);
    }
    let mut found = Vec::new();
    for some in named.chunks(AT_ONCE) {
        let bearer = Credentials::Header(ClientSecret::from_text(format!("Bearer {}", token.expose())));
        let answer = fetch.post_json(&endpoint, bearer, json!({ "groupIds": some }).to_string()).await;
        let answer = answer.map_err(|error| IdpFailure::outage(error.to_string()))?;
        match answer.status {
            StatusCode::OK => {}
            later if later.is_server_error() || later == StatusCode::TOO_MANY_REQUESTS => {
                return Err(status_failure("Microsoft Graph", later));
            }
            status => {
                tracing::warn!(
                    target: "deputy::idp", %status,
                    "Microsoft Graph does not tell which groups somebody is in. Does the registration have the delegated permission User.Read?"
                );
                return Ok(Groups::Elsewhere);
            }
        }
        let member: Member = answer
            .json()
            .map_err(|error| IdpFailure::refused(Reason::IdpAnswerMalformed, format!("Microsoft Graph: {error}")))?;
        // Ids are the same in either case; the rules compare to the letter.
        let is_in = |group: &&String| member.value.iter().any(|id| id.eq_ignore_ascii_case(group));
        found.extend(some.iter().filter(is_in).cloned());
    }
    Ok(Groups::Listed(found))
}
