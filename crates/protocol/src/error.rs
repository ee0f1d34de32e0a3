//! What can go wrong, in two closed sets: the standard's error codes for the wire, and our reasons for people and logs.

use std::fmt;

/// An error code that OAuth defines (RFC 6749 §4.1.2.1 and §5.2, RFC 7591 §3.2.2, RFC 8707 §2, RFC 9101 §7, OIDC Core §3.1.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OAuthError {
    /// The request is malformed.
    InvalidRequest,
    /// Client authentication failed, or there is no such client.
    InvalidClient,
    /// The bearer token of a request is missing or not good (RFC 6750 §3.1).
    InvalidToken,
    /// The code or refresh token is not (or no longer) good, or belongs to another client.
    InvalidGrant,
    /// The client may not use this grant type.
    UnauthorizedClient,
    /// The grant type does not exist here.
    UnsupportedGrantType,
    /// The scope is malformed, unknown, or more than was granted.
    InvalidScope,
    /// The `resource` is unknown or was not granted.
    InvalidTarget,
    /// The person or the access rules said no.
    AccessDenied,
    /// The response type does not exist here.
    UnsupportedResponseType,
    /// A prompt was needed and forbidden by the request.
    ConsentRequired,
    /// `request` is not supported.
    RequestNotSupported,
    /// `request_uri` is not supported.
    RequestUriNotSupported,
    /// A redirect URI cannot be registered.
    InvalidRedirectUri,
    /// The client's metadata cannot be registered.
    InvalidClientMetadata,
    /// We failed.
    ServerError,
    /// Somebody that we depend on is away; try again.
    TemporarilyUnavailable,
}

impl OAuthError {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidToken => "invalid_token",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidClientMetadata => "invalid_client_metadata",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }

    /// The HTTP status when it is answered directly (RFC 6749 §5.2; 503 so that clients retry instead of signing in anew, OC-11).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::AccessDenied => 403,
            Self::ServerError => 500,
            Self::TemporarilyUnavailable => 503,
            Self::InvalidRequest
            | Self::InvalidGrant
            | Self::UnauthorizedClient
            | Self::UnsupportedGrantType
            | Self::InvalidScope
            | Self::InvalidTarget
            | Self::UnsupportedResponseType
            | Self::ConsentRequired
            | Self::RequestNotSupported
            | Self::RequestUriNotSupported
            | Self::InvalidRedirectUri
            | Self::InvalidClientMetadata => 400,
        }
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// Declares [`Reason`] as one table: variant, stable code, OAuth error, what to tell a person.
macro_rules! reasons {
    ($($variant:ident, $code:literal, $oauth:ident, $message:literal;)+) => {
        /// Why something was refused: one variant per situation, with a stable code for logs, audit events and metrics.
        ///
        /// The message may be shown to anyone: it contains nothing of the request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Reason {
            $(#[doc = $message] $variant,)+
        }

        impl Reason {
            /// Every reason there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)+ }
            }

            /// The reason with this code.
            #[must_use]
            pub fn named(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.code() == code)
            }

            /// The OAuth error that this is on the wire, where an OAuth error is due.
            #[must_use]
            pub const fn oauth(self) -> OAuthError {
                match self { $(Self::$variant => OAuthError::$oauth,)+ }
            }

            /// What happened and what to do, in plain words.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)+ }
            }
        }
    };
}

reasons! {
    // Reading a request
    ParameterRepeated, "parameter_repeated", InvalidRequest, "A parameter was sent more than once.";
    ParametersMalformed, "parameters_malformed", InvalidRequest, "The parameters are not valid form encoding in UTF-8.";
    ParameterMissing, "parameter_missing", InvalidRequest, "A required parameter is missing.";
    HeaderRepeated, "header_repeated", InvalidRequest, "A header was sent more than once that may stand only once.";
    RequestTooLarge, "request_too_large", InvalidRequest, "The request is larger than this server accepts.";
    SourceTooFast, "source_too_fast", TemporarilyUnavailable, "Too many requests come from your network address. Wait some seconds, then try again.";
    TooManyRequests, "too_many_requests", TemporarilyUnavailable, "Too many requests of yours are open at once. Try again when some have ended.";
    RequestTooSlow, "request_too_slow", InvalidRequest, "The request did not arrive in time.";
    MediaTypeUnsupported, "media_type_unsupported", InvalidRequest, "This endpoint takes another media type: application/json for registration, application/x-www-form-urlencoded elsewhere.";
    MethodNotAllowed, "method_not_allowed", InvalidRequest, "This endpoint does not take that HTTP method.";
    NotFound, "not_found", InvalidRequest, "There is nothing at this address.";
    HostForeign, "host_foreign", InvalidRequest, "The Host header does not name this server. Behind a reverse proxy, pass the original Host on.";
    OriginForeign, "origin_foreign", InvalidRequest, "Requests from this web origin are not allowed here.";
    UrlInvalid, "url_invalid", InvalidRequest, "Not an https URL (http is accepted for loopback hosts only).";

    // Clients
    ClientUnknown, "client_unknown", InvalidClient, "This client is not registered here. Register it again, then retry.";
    ClientSecretWrong, "client_secret_wrong", InvalidClient, "Client authentication failed.";
    ClientAuthMethod, "client_auth_method", InvalidClient, "The client did not authenticate in the way it registered.";
    ClientAuthAmbiguous, "client_auth_ambiguous", InvalidRequest, "The client authenticated in more than one way at once.";
    ClientBlocked, "client_blocked", InvalidClient, "The operator of this server keeps this client out.";
    ClientNotAdmitted, "client_not_admitted", InvalidClient, "This server takes only clients that its operator knows. Ask the operator for a client_id.";
    AssertionMalformed, "assertion_malformed", InvalidClient, "The client assertion is not a JWT with iss, sub, one aud, exp and jti, of the type jwt-bearer.";
    AssertionSignature, "assertion_signature", InvalidClient, "The client assertion was not signed with a key of this client.";
    AssertionOtherClient, "assertion_other_client", InvalidClient, "The client assertion is from another client, or about one.";
    AssertionAudience, "assertion_audience", InvalidClient, "The client assertion is not for this authorization server.";
    AssertionTime, "assertion_time", InvalidClient, "The client assertion has expired, is not valid yet, or lives longer than ten minutes.";
    AssertionReplayed, "assertion_replayed", InvalidClient, "The client assertion was used before.";
    CredentialsInUrl, "credentials_in_url", InvalidRequest, "Credentials do not belong in the URL.";
    RegistrationMalformed, "registration_malformed", InvalidClientMetadata, "The client metadata is not a JSON object with members of the right types.";
    RegistrationRedirects, "registration_redirects", InvalidRedirectUri, "redirect_uris must be a list of 1 to 20 URIs: https, or http on localhost or a loopback address, written in canonical form, without fragment, user name or wildcard.";
    RegistrationRedirectScheme, "registration_redirect_scheme", InvalidRedirectUri, "A redirect URI uses a scheme that is not allowed here.";
    RegistrationRedirectNotForWeb, "registration_redirect_not_for_web", InvalidRedirectUri, "A client with application_type web cannot use a loopback redirect URI.";
    RegistrationAuthMethod, "registration_auth_method", InvalidClientMetadata, "token_endpoint_auth_method must be none, client_secret_basic or client_secret_post.";
    RegistrationGrantTypes, "registration_grant_types", InvalidClientMetadata, "grant_types must contain authorization_code and response_types must contain code.";
    RegistrationUri, "registration_uri", InvalidClientMetadata, "A URI in the client metadata is not an http or https URL.";
    RegistrationOff, "registration_off", AccessDenied, "Clients cannot register themselves here. Ask the operator of this server for a client_id.";
    InvitationMissing, "invitation_missing", InvalidToken, "Only clients with an initial access token may register here. Ask the operator of this server for one.";
    InvitationInvalid, "invitation_invalid", InvalidToken, "The initial access token is not one of this server's, or has expired. Ask the operator of this server for another.";
    RedirectNotAllowed, "redirect_not_allowed", InvalidRedirectUri, "The operator of this server does not let answers go to this redirect URI.";
    RegistrationTooLarge, "registration_too_large", InvalidClientMetadata, "The client metadata is too large. Register fewer or shorter redirect URIs.";
    DocumentUrl, "document_url", InvalidClient, "A client_id that is a URL must be https, with a path, in canonical form, without fragment and user name.";
    DocumentMalformed, "document_malformed", InvalidClient, "The client's metadata document is not a JSON object of at most 5 KB with client_id, client_name and redirect_uris.";
    DocumentOtherClient, "document_other_client", InvalidClient, "The client's metadata document names another client_id than its own URL.";
    DocumentSecret, "document_secret", InvalidClient, "The client's metadata document contains a secret, or asks for an authentication method that needs one.";
    DocumentAuthMethod, "document_auth_method", InvalidClient, "The client's metadata document allows no authentication method that is supported here: none or private_key_jwt.";
    DocumentKeys, "document_keys", InvalidClient, "The client's keys are not one public key set, with an RSA, P-256 or Ed25519 key, in the jwks of its metadata document or at the https URL in its jwks_uri.";
    DocumentMissing, "document_missing", InvalidClient, "There is no metadata document at the client_id: its URL must answer 200, without a redirect.";
    DocumentUnreachable, "document_unreachable", TemporarilyUnavailable, "The client's metadata document cannot be fetched at the moment. Try again in a minute.";

    // The authorization request
    RedirectMissing, "redirect_missing", InvalidRequest, "redirect_uri is missing.";
    RedirectNotRegistered, "redirect_not_registered", InvalidRequest, "The redirect_uri is not one that this client registered.";
    ResponseTypeUnsupported, "response_type_unsupported", UnsupportedResponseType, "Only response_type=code is supported.";
    ResponseModeUnsupported, "response_mode_unsupported", InvalidRequest, "Only response_mode=query is supported.";
    RequestObject, "request_object", RequestNotSupported, "Request objects are not supported.";
    RequestUri, "request_uri", RequestUriNotSupported, "request_uri is not supported.";
    PkceMissing, "pkce_missing", InvalidRequest, "PKCE is required: send code_challenge and code_challenge_method=S256.";
    PkceMethod, "pkce_method", InvalidRequest, "PKCE is required with code_challenge_method=S256.";
    PkceChallengeMalformed, "pkce_challenge_malformed", InvalidRequest, "code_challenge must be 43 base64url characters.";
    ScopeMalformed, "scope_malformed", InvalidScope, "The scope parameter is malformed.";
    ScopeUnknown, "scope_unknown", InvalidScope, "None of the requested scopes exist here.";
    ResourceInvalid, "resource_invalid", InvalidTarget, "resource must be one absolute URI without fragment.";
    ResourceUnknown, "resource_unknown", InvalidTarget, "There is no such resource here.";
    ResourceAmbiguous, "resource_ambiguous", InvalidTarget, "Several resources live here: name exactly one with the resource parameter.";
    StateTooLong, "state_too_long", InvalidRequest, "The state parameter is too long.";
    PromptForbidden, "prompt_forbidden", ConsentRequired, "Consent is asked each time, so prompt=none cannot be answered.";

    // The consent page
    TicketInvalid, "ticket_invalid", InvalidRequest, "This page was not made by this server, or it was altered.";
    ConsentNotOurPage, "consent_not_our_page", InvalidRequest, "The decision was not sent from this server's own page.";
    ConsentOtherBrowser, "consent_other_browser", AccessDenied, "This browser was not shown this request, or has decided it already.";
    DecisionMissing, "decision_missing", InvalidRequest, "The form did not say approve or deny.";
    ConsentDenied, "consent_denied", AccessDenied, "The person denied the request.";
    TransactionExpired, "transaction_expired", AccessDenied, "This sign-in took too long. Start again from your application.";

    // The identity provider's answer
    IdpStateMissing, "idp_state_missing", InvalidRequest, "The identity provider's answer carries no state.";
    CallbackOtherBrowser, "callback_other_browser", AccessDenied, "This browser did not approve this sign-in, or has finished it already.";
    TransactionUsed, "transaction_used", AccessDenied, "This sign-in was already completed.";
    IdpIssuerMismatch, "idp_issuer_mismatch", ServerError, "The answer does not come from the configured identity provider.";
    IdpDenied, "idp_denied", AccessDenied, "The identity provider did not sign you in.";
    IdpError, "idp_error", ServerError, "The identity provider reported a problem.";
    IdpAnswerMalformed, "idp_answer_malformed", ServerError, "The identity provider's answer could not be understood.";
    IdpUnavailable, "idp_unavailable", TemporarilyUnavailable, "The identity provider cannot be reached at the moment. Try again in a minute.";
    IdpGrantEnded, "idp_grant_ended", InvalidGrant, "The identity provider has ended this sign-in. Sign in again.";
    IdpWordTooOld, "idp_word_too_old", InvalidGrant, "It is too long ago that the identity provider vouched for you, and it cannot be asked again. Sign in again.";
    IdpGone, "idp_gone", InvalidGrant, "The identity provider that vouched for you is no longer one of this server's. Sign in again.";
    IdpOtherSubject, "idp_other_subject", InvalidGrant, "The identity provider answered about somebody else. Sign in again.";
    IdpRegistrationRefused, "idp_registration_refused", TemporarilyUnavailable, "The identity provider refuses this server itself. Its operator finds the details in the log.";
    IdTokenInvalid, "id_token_invalid", ServerError, "The identity provider's ID token was refused.";
    IdTokenSignature, "id_token_signature", ServerError, "The identity provider's ID token has no valid signature.";
    IdTokenIssuer, "id_token_issuer", ServerError, "The ID token names another issuer.";
    IdTokenAudience, "id_token_audience", ServerError, "The ID token was made for another client.";
    IdTokenExpired, "id_token_expired", ServerError, "The ID token is outside its time. Check the clocks of both machines.";
    IdTokenNonce, "id_token_nonce", ServerError, "The ID token belongs to another sign-in.";
    IdTokenSubject, "id_token_subject", ServerError, "The ID token names no subject.";
    TenantNotAllowed, "tenant_not_allowed", AccessDenied, "Your account belongs to an organisation that may not use this server. Sign in with another account, or ask the operator of this server.";
    UserinfoMismatch, "userinfo_mismatch", ServerError, "The identity provider's userinfo is about somebody else.";
    SubjectNotAllowed, "subject_not_allowed", AccessDenied, "Your account is not allowed to use this server. Ask its operator for access.";
    GroupsElsewhere, "groups_elsewhere", AccessDenied, "Access to this server depends on a group, and the identity provider does not tell which groups your account is in: they are too many. Ask the operator of this server.";
    BackendTokenRefused, "backend_token_refused", AccessDenied, "The identity provider gives you no access to the service behind this server. An administrator there may have to agree to it first.";
    ScopesNotAllowed, "scopes_not_allowed", AccessDenied, "Your account may not have any of the rights that the application asks for. Ask the operator of this server.";

    // The token endpoint
    GrantTypeUnsupported, "grant_type_unsupported", UnsupportedGrantType, "Only authorization_code and refresh_token are supported.";
    CodeUnknown, "code_unknown", InvalidGrant, "The authorization code is unknown or no longer valid.";
    CodeExpired, "code_expired", InvalidGrant, "The authorization code has expired.";
    CodeReplayed, "code_replayed", InvalidGrant, "The authorization code was used before; everything issued for it was revoked.";
    CodeOtherClient, "code_other_client", InvalidGrant, "The authorization code was issued to another client.";
    CodeRedirectDiffers, "code_redirect_differs", InvalidGrant, "redirect_uri differs from the one in the authorization request.";
    VerifierMissing, "verifier_missing", InvalidGrant, "code_verifier is missing.";
    VerifierMismatch, "verifier_mismatch", InvalidGrant, "code_verifier does not match the code_challenge.";
    ResourceNotGranted, "resource_not_granted", InvalidTarget, "The resource is not the one that was granted.";
    ScopeNotGranted, "scope_not_granted", InvalidScope, "More scope was asked than was granted.";
    RefreshNotAllowed, "refresh_not_allowed", UnauthorizedClient, "This client did not register for refresh tokens.";
    RefreshUnknown, "refresh_unknown", InvalidGrant, "The refresh token is unknown or no longer valid.";
    RefreshOtherClient, "refresh_other_client", InvalidGrant, "The refresh token was issued to another client.";
    RefreshReused, "refresh_reused", InvalidGrant, "The refresh token was used before; the sign-in was ended to be safe.";
    RefreshExpired, "refresh_expired", InvalidGrant, "The sign-in has expired. Sign in again.";
    AccessEnded, "access_ended", InvalidGrant, "This account may no longer use this server. Ask its operator for access.";
    GrantRevoked, "grant_revoked", InvalidGrant, "Access was revoked. Sign in again.";
    RevokedByClient, "revoked_by_client", InvalidGrant, "The client gave up its access.";
    RevokedByOperator, "revoked_by_operator", InvalidGrant, "The operator of this server ended the access. Sign in again.";

    // The protected resource
    TokenMissing, "token_missing", InvalidRequest, "No access token was sent.";
    AuthorizationMalformed, "authorization_malformed", InvalidRequest, "The Authorization header is malformed or repeated.";
    TokenMalformed, "token_malformed", InvalidRequest, "The access token is not one of this server's.";
    TokenSignature, "token_signature", InvalidRequest, "The access token was not signed by this server.";
    TokenIssuer, "token_issuer", InvalidRequest, "The access token was issued by somebody else.";
    TokenExpired, "token_expired", InvalidRequest, "The access token has expired.";
    TokenNotYetValid, "token_not_yet_valid", InvalidRequest, "The access token is not valid yet. Check the clocks of the servers.";
    TokenAudience, "token_audience", InvalidRequest, "The access token is for another resource.";
    TokenRevoked, "token_revoked", InvalidRequest, "The access token was revoked.";
    ScopeInsufficient, "scope_insufficient", InvalidScope, "The access token lacks a scope that this needs.";
    MessageMalformed, "message_malformed", InvalidRequest, "The body is not a JSON-RPC 2.0 message in UTF-8.";
    MessageAmbiguous, "message_ambiguous", InvalidRequest, "A member of the JSON-RPC message stands twice, or is spelled like another.";
    HeadersDisagree, "headers_disagree", InvalidRequest, "MCP-Protocol-Version, Mcp-Method and Mcp-Name must say what the body says.";
    BatchRefused, "batch_refused", InvalidRequest, "Batches are of version 2025-03-26 alone. Send one message.";
    CallDenied, "call_denied", AccessDenied, "The operator of this server does not let this account call that.";
    BodyNeeded, "body_needed", InvalidRequest, "This server is called in ways that only the gateway can judge. Send the request through it.";
    SessionUnknown, "session_unknown", InvalidRequest, "There is no such MCP session. Initialize a new one.";
    BackendUnreachable, "backend_unreachable", TemporarilyUnavailable, "The MCP server behind this gateway cannot be reached.";
    BackendUnauthorized, "backend_unauthorized", ServerError, "The MCP server behind this gateway refused the gateway.";
    BackendResponseType, "backend_response_type", ServerError, "The MCP server behind this gateway answered with something that is not MCP.";

    // Ourselves
    StoreUnavailable, "store_unavailable", TemporarilyUnavailable, "The server cannot reach its storage at the moment. Try again in a minute.";
    Internal, "internal", ServerError, "Something went wrong in this server. Its operator finds the details in the log.";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Reason {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_messages_are_safe_in_a_challenge() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            // RFC 6749 §5.2: error_description excludes '"' and '\'; RS-19: naive parsers look for "scope=".
            let text = reason.message();
            assert!(text.bytes().all(|b| matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\'), "{text}");
            assert!(!text.contains("scope="), "{text}");
        }
    }
}
