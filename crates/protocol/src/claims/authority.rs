//! From whom an ID token may come, and what names the person in it.

use super::{IdTokenClaims, SUBJECT_MAX, Subject};
use crate::error::Reason;
use crate::ids::Issuer;

/// Whose ID tokens count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authority {
    /// One issuer, to the letter. The person is its `sub` (OIDC Core §5.7).
    Issuer(Issuer),
    /// Tenants of Microsoft Entra ID. The person is the `oid` in the tenant: `sub` is another for each application, and an e-mail address or
    /// user name may be anybody's.
    Tenants(Tenants),
}

/// A tenant of Microsoft Entra ID, by its id: a UUID in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(String);

/// The tenants whose people may sign in, and how their issuer is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenants {
    template: String,
    allowed: Vec<TenantId>,
}

/// Where a tenant's id stands in the issuer of several tenants, as the provider's metadata writes it.
const PLACEHOLDER: &str = "{tenantid}";

impl TenantId {
    /// Reads a UUID.
    #[must_use]
    pub fn parse(raw: &str) -> Option<Self> {
        let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
        let fits = |(at, b): (usize, u8)| if dash(at) { b == b'-' } else { b.is_ascii_hexdigit() };
        (raw.len() == 36 && raw.bytes().enumerate().all(fits)).then(|| Self(raw.to_ascii_lowercase()))
    }

    /// The UUID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tenants {
    /// The tenants `allowed`, whose issuers are `template` with the tenant's id in place of `{tenantid}`.
    ///
    /// `None` when no tenant is allowed, or when the template has no such place or makes no issuers.
    #[must_use]
    pub fn new(template: &str, allowed: Vec<TenantId>) -> Option<Self> {
        let tenants = Self { template: template.to_owned(), allowed };
        let whole = template.contains(PLACEHOLDER) && tenants.issuers().next().is_some();
        (whole && tenants.allowed.iter().all(|tenant| tenants.issuer(tenant).is_some())).then_some(tenants)
    }

    /// The issuer of one tenant.
    #[must_use]
    pub fn issuer(&self, tenant: &TenantId) -> Option<Issuer> {
        Issuer::parse(&self.template.replace(PLACEHOLDER, tenant.as_str())).ok()
    }

    /// How the issuer of several tenants is written.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The tenants.
    #[must_use]
    pub fn allowed(&self) -> &[TenantId] {
        &self.allowed
    }

    fn issuers(&self) -> impl Iterator<Item = Issuer> {
        self.allowed.iter().filter_map(|tenant| self.issuer(tenant))
    }

    /// The issuer is made from the tenant that the token names, which must be one of ours: neither is believed alone.
    fn judge(&self, claims: &IdTokenClaims) -> Result<Issuer, Reason> {
        let tenant = claims.tid.as_deref().and_then(TenantId::parse).ok_or(Reason::IdTokenIssuer)?;
        let issuer = self.issuer(&tenant).filter(|issuer| issuer.as_str() == claims.iss).ok_or(Reason::IdTokenIssuer)?;
        if self.allowed.contains(&tenant) { Ok(issuer) } else { Err(Reason::TenantNotAllowed) }
    }
}

impl Authority {
    /// The issuers of the people for whom it vouches.
    #[must_use]
    pub fn issuers(&self) -> Vec<Issuer> {
        match self {
            Self::Issuer(own) => vec![own.clone()],
            Self::Tenants(tenants) => tenants.issuers().collect(),
        }
    }

    /// Whether it is the one that vouches for people of this issuer.
    #[must_use]
    pub fn vouches_for(&self, issuer: &Issuer) -> bool {
        match self {
            Self::Issuer(own) => own == issuer,
            Self::Tenants(tenants) => tenants.issuers().any(|own| own == *issuer),
        }
    }

    /// The issuer of this tenant's people, if they may sign in here.
    #[must_use]
    pub fn issuer_of(&self, tenant: &TenantId) -> Option<Issuer> {
        match self {
            Self::Issuer(_) => None,
            Self::Tenants(tenants) => tenants.issuer(tenant).filter(|_| tenants.allowed.contains(tenant)),
        }
    }

    /// Whom the claims are about, if they come from here.
    pub(super) fn subject_of(&self, claims: &IdTokenClaims) -> Result<Subject, Reason> {
        let (issuer, name) = match self {
            Self::Issuer(issuer) if claims.iss == issuer.as_str() => (issuer.clone(), Some(&claims.sub)),
            Self::Issuer(_) => return Err(Reason::IdTokenIssuer),
            Self::Tenants(tenants) => (tenants.judge(claims)?, claims.oid.as_ref()),
        };
        let sub = name.filter(|name| !name.trim().is_empty() && name.len() <= SUBJECT_MAX).ok_or(Reason::IdTokenSubject)?;
        Ok(Subject { idp: issuer, sub: sub.clone() })
    }
}

impl From<Issuer> for Authority {
    fn from(issuer: Issuer) -> Self {
        Self::Issuer(issuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const T1: &str = "11111111-aaaa-4bbb-8ccc-000000000001";
    const T2: &str = "22222222-aaaa-4bbb-8ccc-000000000002";
    const GLOBAL: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

    fn tenants(allowed: &[&str]) -> Option<Tenants> {
        Tenants::new(GLOBAL, allowed.iter().map(|raw| TenantId::parse(raw).unwrap()).collect())
    }

    fn judged(tid: serde_json::Value, iss: &str, oid: serde_json::Value) -> Result<Subject, Reason> {
        let claims = json!({ "iss": iss, "sub": "pairwise", "aud": "us", "exp": 1, "iat": 1, "tid": tid, "oid": oid });
        Authority::Tenants(tenants(&[T1]).unwrap()).subject_of(&serde_json::from_value(claims).unwrap())
    }

    fn issuer(tenant: &str) -> String {
        GLOBAL.replace(PLACEHOLDER, tenant)
    }

    #[test]
    fn a_139_the_issuer_is_the_template_filled_with_an_allowed_tid() {
        let subject = judged(json!(T1), &issuer(T1), json!("o-1")).unwrap();
        assert_eq!((subject.idp().as_str(), subject.sub()), (issuer(T1).as_str(), "o-1"));
        assert_eq!(judged(json!(T1.to_uppercase()), &issuer(T1), json!("o-1")).unwrap(), subject);
        for (tid, iss, reason) in [
            (json!(T2), issuer(T2), Reason::TenantNotAllowed),
            (json!(T2), issuer(T1), Reason::IdTokenIssuer),
            (json!(T1), issuer(T2), Reason::IdTokenIssuer),
            (json!(T1), GLOBAL.to_owned(), Reason::IdTokenIssuer),
            (json!("{tenantid}"), GLOBAL.to_owned(), Reason::IdTokenIssuer),
            (json!(null), issuer(T1), Reason::IdTokenIssuer),
            (json!(""), issuer(""), Reason::IdTokenIssuer),
            (json!(T1), issuer(&T1.to_uppercase()), Reason::IdTokenIssuer),
            (json!(T1), format!("https://sts.windows.net/{T1}/"), Reason::IdTokenIssuer),
        ] {
            assert_eq!(judged(tid.clone(), &iss, json!("o-1")), Err(reason), "{tid} {iss}");
        }
    }

    #[test]
    fn a_138_a_person_is_the_oid_in_the_tenant() {
        for oid in [json!(null), json!(""), json!(" "), json!("x".repeat(256))] {
            assert_eq!(judged(json!(T1), &issuer(T1), oid.clone()), Err(Reason::IdTokenSubject), "{oid}");
        }
        let both = Authority::Tenants(tenants(&[T1, T2]).unwrap());
        let claims = |tenant: &str| {
            let claims = json!({ "iss": issuer(tenant), "sub": "s", "aud": "us", "exp": 1, "iat": 1, "tid": tenant, "oid": "same",
                "email": "a@corp.test" });
            both.subject_of(&serde_json::from_value(claims).unwrap()).unwrap().id()
        };
        assert_ne!(claims(T1), claims(T2));
    }

    #[test]
    fn tenants_are_uuids_and_there_is_one() {
        assert!(tenants(&[]).is_none());
        assert!(Tenants::new("https://login.test/v2.0", vec![TenantId::parse(T1).unwrap()]).is_none());
        assert!(Tenants::new("http://login.test/{tenantid}", vec![TenantId::parse(T1).unwrap()]).is_none());
        for raw in ["", "common", "organizations", "contoso.onmicrosoft.com", &T1[1..], &T1.replace('-', "0"), &format!("{T1}0")]
        {
            assert_eq!(TenantId::parse(raw), None, "{raw}");
        }
        let external = Tenants::new("https://{tenantid}.ciamlogin.com/{tenantid}/v2.0", vec![TenantId::parse(T1).unwrap()]);
        let external = Authority::Tenants(external.unwrap());
        assert!(external.vouches_for(&Issuer::parse(&format!("https://{T1}.ciamlogin.com/{T1}/v2.0")).unwrap()));
        assert!(!external.vouches_for(&Issuer::parse(&issuer(T1)).unwrap()));
    }
}
