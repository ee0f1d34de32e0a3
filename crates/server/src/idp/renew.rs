//! Asking the provider again: whether a person is still there, and for tokens that replace the old ones (RFC 6749 §6, OIDC Core §12).
//!
//! What this module guarantees:
//! - One call sends the refresh token at most once, and its outcome says whether it can be sent again (I9, A-113).
//! - Only a provider that answers and says so ends a grant: no outage does (A-112), and no trouble with our own registration.

use deputy_fetch::{Answer, FetchError};
use deputy_protocol::claims::{
    ExpectedRenewal, Subject, VerifiedIdentity, check_renewed_id_token, check_renewed_profile, check_renewed_userinfo,
};
use deputy_protocol::secret::ClientSecret;
use deputy_protocol::{Reason, Timestamp};
use http::StatusCode;

use super::breaker::Turn;
use super::metadata::{Metadata, status_failure};
use super::tokens::{TokenAnswer, error_code, error_detail, passes_by_itself};
use super::{IdpFailure, IdpTokens, Provider, turn, unfit};

/// What came of asking again.
#[derive(Debug)]
#[must_use]
pub enum Renewal {
    /// The person is still there.
    Renewed {
        /// What the provider says about the person today, if it says more than that.
        identity: Option<VerifiedIdentity>,
        /// What replaces the old tokens.
        tokens: IdpTokens,
    },
    /// The tokens were renewed; what the provider says about the person was not understood and does not count.
    Kept {
        /// What replaces the old tokens.
        tokens: IdpTokens,
        /// What was not understood.
        why: IdpFailure,
    },
    /// The provider will not: the person or the grant is gone (OC-11, A-111), or it speaks of somebody else.
    Ended(IdpFailure),
    /// The refresh token was not used and can be sent again, later (A-112).
    Unused(IdpFailure),
    /// The refresh token may have been used and the answer is lost: it must not be sent again (I9, A-113).
    Unknown(IdpFailure),
}

impl Provider {
    /// Renews the tokens of the person who signed in as `subject`.
    pub async fn renew(&self, tokens: &IdpTokens, subject: &Subject, now: Timestamp) -> Renewal {
        if let Some(token) = tokens.lasting() {
            return self.ask_again(token, tokens, subject).await;
        }
        let Some(refresh_token) = tokens.refresh_token() else {
            return Renewal::Unused(IdpFailure::refused(Reason::IdpError, "there is no refresh token to send"));
        };
        let _turn = match turn(&self.renewing).await {
            Ok(turn) => turn,
            Err(busy) => return Renewal::Unused(busy),
        };
        let _trial = match self.breaker.turn(now) {
            Turn::Send => None,
            Turn::Wait => return Renewal::Unused(IdpFailure::outage("the provider was away a moment ago")),
            Turn::Try(trial) => match self.directory.probe().await {
                Ok(()) => Some(trial),
                Err(away) => return Renewal::Unused(away),
            },
        };
        let metadata = match self.directory.metadata().await {
            Ok(metadata) => metadata,
            Err(failure) => return Renewal::Unused(failure),
        };
        let answer = match self.send(&metadata, refresh_token, now).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        match self.who(&metadata, &answer, subject, now).await {
            Ok(identity) => Renewal::Renewed { identity, tokens: answer.into_renewed(tokens, now) },
            Err(failure) if failure.reason == Reason::IdpOtherSubject => Renewal::Ended(failure),
            Err(why) => Renewal::Kept { tokens: answer.into_renewed(tokens, now), why },
        }
    }

    /// Asks with an access token that has no end: who the person is today. That uses nothing up, so an answer that is lost is asked for again.
    async fn ask_again(&self, token: &ClientSecret, tokens: &IdpTokens, subject: &Subject) -> Renewal {
        let _turn = match turn(&self.renewing).await {
            Ok(turn) => turn,
            Err(busy) => return Renewal::Unused(busy),
        };
        let profile = match self.profile(token).await {
            Ok(Some(profile)) => profile,
            Ok(None) => return Renewal::Unused(IdpFailure::refused(Reason::IdpError, "there is nothing to ask with")),
            Err(ended) if ended.reason == Reason::IdpGrantEnded => return Renewal::Ended(ended),
            Err(failure) => return Renewal::Unused(failure),
        };
        match check_renewed_profile(profile, subject) {
            Ok(identity) => Renewal::Renewed { identity: Some(identity), tokens: tokens.again() },
            Err(reason) => Renewal::Ended(IdpFailure::refused(reason, "the provider's interface speaks of somebody else")),
        }
    }

    /// The one request that carries the refresh token. It names no scope: the person's consent at the provider stays what it was.
    async fn send(&self, metadata: &Metadata, refresh_token: &ClientSecret, now: Timestamp) -> Result<TokenAnswer, Renewal> {
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose())];
        let (credentials, form) = self.token_form(metadata, &form, now).await.map_err(Renewal::Unused)?;
        let answer = self.token_request(metadata, credentials, form).await.map_err(|error| {
            self.breaker.away();
            unanswered(&error)
        })?;
        if answer.status.is_server_error() {
            self.breaker.away()
        } else {
            self.breaker.there()
        }
        if let Some(refused) = refusal(&answer) {
            return Err(refused);
        }
        // A success that cannot be read: the old token is as good as used, and the new one is not ours.
        TokenAnswer::read(&answer).map_err(Renewal::Unknown)
    }

    /// Who the renewed tokens are about, if the provider says so.
    async fn who(
        &self,
        metadata: &Metadata,
        answer: &TokenAnswer,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Option<VerifiedIdentity>, IdpFailure> {
        if let Some(profile) = self.profile(&answer.access_token).await? {
            let today = check_renewed_profile(profile, subject);
            return today
                .map(Some)
                .map_err(|reason| IdpFailure::refused(reason, "the provider's interface speaks of somebody else"));
        }
        let other = |reason| IdpFailure::refused(reason, "userinfo names another subject than the one that signed in");
        let Some(id_token) = &answer.id_token else {
            let Some(userinfo) = self.userinfo(metadata, answer).await? else { return Ok(None) };
            return check_renewed_userinfo(userinfo, subject).map(Some).map_err(other);
        };
        let signed = self.signed_claims(id_token).await?;
        let expected = ExpectedRenewal { authority: &self.authority, client_id: &self.config.client_id, subject, now };
        let identity = check_renewed_id_token(signed, expected).map_err(unfit)?;
        let identity = match self.userinfo(metadata, answer).await? {
            Some(userinfo) => identity.with_userinfo(userinfo).map_err(|_| other(Reason::IdpOtherSubject))?,
            None => identity,
        };
        self.with_unlisted_groups(identity, &answer.access_token, now).await.map(Some)
    }
}

fn unanswered(error: &FetchError) -> Renewal {
    let failure = IdpFailure::outage(error.to_string());
    if error.was_sent() { Renewal::Unknown(failure) } else { Renewal::Unused(failure) }
}

/// What an answer means that brings no tokens. Only the codes that are about the person's grant end it.
fn refusal(answer: &Answer) -> Option<Renewal> {
    let (status, code) = (answer.status, error_code(answer));
    let code = code.as_deref();
    if code.is_none() && status.is_success() {
        return None;
    }
    let detail = code.map_or_else(|| status_failure("the token endpoint", status).detail, |code| error_detail(answer, code));
    // What stands in front of the provider says these when it lost the provider's answer: the token may have been used (I9).
    let lost = code.is_none() && matches!(status, StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT);
    Some(match code {
        _ if lost => Renewal::Unknown(IdpFailure::outage(detail)),
        _ if passes_by_itself(status, code) => Renewal::Unused(IdpFailure::outage(detail)),
        // The last three are what Entra says when the person has to come in person; OIDC Core §3.1.2.6 defines them.
        Some("invalid_grant" | "interaction_required" | "login_required" | "consent_required") => {
            Renewal::Ended(IdpFailure::refused(Reason::IdpGrantEnded, detail))
        }
        _ => {
            tracing::warn!(target: "deputy::idp", detail,
                "the identity provider refuses this server, not the person: check client_id and client_secret, whether the secret has \
                 expired, and whether the registration may use refresh tokens; nobody is signed out for this");
            Renewal::Unused(IdpFailure::refused(Reason::IdpRegistrationRefused, detail))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, body: &str) -> (&'static str, Option<Reason>) {
        let status = StatusCode::from_u16(status).expect("a status");
        match refusal(&Answer { status, media_type: String::new(), date: None, body: body.to_owned().into() }) {
            None => ("granted", None),
            Some(Renewal::Ended(failure)) => ("ended", Some(failure.reason)),
            Some(Renewal::Unused(failure)) => ("unused", Some(failure.reason)),
            Some(Renewal::Unknown(failure)) => ("unknown", Some(failure.reason)),
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_111_a_112_oc_11_only_the_provider_ends_a_grant() {
        let ended = ("ended", Some(Reason::IdpGrantEnded));
        let later = ("unused", Some(Reason::IdpUnavailable));
        let lost = ("unknown", Some(Reason::IdpUnavailable));
        let ours = ("unused", Some(Reason::IdpRegistrationRefused));
        for (status, body, expected) in [
            (400, r#"{"error":"invalid_grant","error_description":"<b>"}"#, ended),
            (401, r#"{"error":"invalid_grant"}"#, ended),
            (200, r#"{"error":"invalid_grant"}"#, ended),
            (400, r#"{"error":"interaction_required"}"#, ended),
            (429, r#"{"error":"invalid_grant"}"#, later),
            (400, r#"{"error":"temporarily_unavailable"}"#, later),
            (500, r#"{"error":"server_error"}"#, later),
            (502, "<html>", lost),
            (504, "", lost),
            (502, r#"{"error":"temporarily_unavailable"}"#, later),
            (503, "", later),
            (401, r#"{"error":"invalid_client"}"#, ours),
            (400, r#"{"error":"unauthorized_client"}"#, ours),
            (400, r#"{"error":"invalid_request"}"#, ours),
            (400, r#"{"error":"Invalid_Grant"}"#, ours),
            (403, "<html>", ours),
            (302, "", ours),
            (200, "{}", ("granted", None)),
        ] {
            assert_eq!(outcome(status, body), expected, "{status} {body}");
        }
    }

    #[test]
    fn oc_18_what_the_provider_says_in_words_is_not_kept() {
        let body = r#"{"error":"<b>say\nthis</b>","error_description":"and that"}"#.to_owned();
        let refused =
            refusal(&Answer { status: StatusCode::BAD_REQUEST, media_type: String::new(), date: None, body: body.into() });
        assert!(matches!(refused, Some(Renewal::Unused(failure)) if failure.detail.ends_with("(unreadable)")));
    }
}
