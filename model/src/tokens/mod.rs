//! The world of the tokens: from codes that left to calls, over two replicas that share a store.
//!
//! Two grants exist: the victim's, made at the honest client, and the attacker's own, made there too, so that he can try to hand its code
//! to the victim's client. The attacker saw every code. In one world the honest client is public. In the other it has a secret, and there
//! is a third grant, of the victim's too: an authorization server in the middle had put the attacker's challenge into her request.
//!
//! Of the server only the table of rows is modelled, and what each process remembers; what a request means is judged by
//! [`deputy_protocol::family`] and [`deputy_protocol::access_token`].

mod judge;
mod steps;
mod tell;
mod things;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use deputy_protocol::family::{
    CodeRecord, CodeState, CodeUse, Generation, Line, LineUse, NewRefresh, Place, RefreshRecord, Standing, may_revoke,
};
use deputy_protocol::secret::{AuthorizationCode, Digest, RefreshToken};
use deputy_protocol::{Reason, Timestamp};
use serde::Serialize;

use crate::people::{App, Person};
use things::{START, client, code_bytes, form, grant, lifetimes, policy, resource};

/// The victim's grant.
const VICTIMS: usize = 0;
/// The attacker's own grant, made at the same client.
const ATTACKERS: usize = 1;
/// A grant of the victim's to a request with the attacker's challenge.
const MIDDLE: usize = 2;

/// Whose account a grant is for.
const fn is_victims(grant: usize) -> bool {
    grant != ATTACKERS
}

/// How far the search goes, and what the honest client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    /// Whether the honest client has a secret.
    pub(crate) confidential: bool,
    /// Most refresh tokens.
    pub(crate) tokens: usize,
    /// Most waits.
    pub(crate) waits: usize,
}

/// A refresh token that was issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Issued {
    grant: usize,
    ends: u64,
    /// When it was replaced, and by which.
    replaced: Option<(u64, usize)>,
}

/// What somebody twisted in a request of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Twist {
    /// Nothing.
    Straight,
    /// Another redirect URI.
    Redirect,
    /// Another resource.
    Resource,
    /// More scopes.
    Scope,
}

/// When the process that serves a request dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dies {
    /// It does not.
    Lives,
    /// Before the store's write.
    BeforeTheWrite,
    /// After it, before the answer.
    BeforeTheAnswer,
}

/// One step. Tokens and grants are named by the order in which they came to be, access tokens by grant and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Somebody redeems a code at a replica, as a client, with the verifier that is his.
    Redeem { by: Person, app: App, code: usize, twist: Twist, replica: usize, dies: Dies },
    /// Somebody refreshes.
    Refresh { by: Person, app: App, token: usize, twist: Twist, replica: usize, dies: Dies },
    /// Somebody revokes a refresh token.
    Revoke { by: Person, app: App, token: usize, replica: usize, dies: Dies },
    /// Somebody calls a server with an access token that he has.
    Call { grant: usize, issued: u64, elsewhere: bool, replica: usize },
    /// The attacker copies the victim's refresh token.
    Steal,
    /// The operator takes the victim out of the rules.
    Remove,
    /// A replica reads the feed of revocations.
    CatchUp { replica: usize },
    /// Time passes.
    Wait { seconds: u64 },
}

/// The world of the tokens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tokens {
    bounds: Bounds,
    /// Seconds since the codes left.
    now: u64,
    waits: usize,
    /// The store: which codes were used, which refresh tokens there are, which grants were revoked.
    used: BTreeSet<usize>,
    lines: BTreeMap<usize, Line>,
    /// Every refresh token that ever was, which the store has forgotten in part.
    refresh: Vec<Issued>,
    revoked: BTreeSet<usize>,
    /// The revoked grants that each replica has in memory.
    known: [BTreeSet<usize>; 2],
    /// The access tokens that came out, by grant and time.
    access: BTreeSet<(usize, u64)>,
    /// The refresh tokens that the victim's client received, newest last.
    held: Vec<usize>,
    /// The refresh tokens that the attacker has.
    his: BTreeSet<usize>,
    stolen: bool,
    removed: bool,
}

/// The digest of a refresh token.
fn digest(token: usize) -> Digest<RefreshToken> {
    RefreshToken::of_bytes(&code_bytes::<32>(token)).digest()
}

/// What an answer of the token endpoint gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Given {
    grant: usize,
    refresh: usize,
}

impl Tokens {
    /// Both codes have just left.
    #[must_use]
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            now: 0,
            waits: 0,
            used: BTreeSet::new(),
            lines: BTreeMap::new(),
            refresh: Vec::new(),
            revoked: BTreeSet::new(),
            known: [BTreeSet::new(), BTreeSet::new()],
            access: BTreeSet::new(),
            held: Vec::new(),
            his: BTreeSet::new(),
            stolen: false,
            removed: false,
        }
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_seconds(START + self.now)
    }

    /// The codes that are under way.
    fn codes(&self) -> &'static [usize] {
        if self.bounds.confidential { &[VICTIMS, ATTACKERS, MIDDLE] } else { &[VICTIMS, ATTACKERS] }
    }

    /// Whose verifier fits a code's challenge.
    const fn challenged(code: usize) -> Person {
        if code == VICTIMS { Person::Victim } else { Person::Attacker }
    }

    fn remember(&mut self, replica: usize, grant: usize) {
        if let Some(known) = self.known.get_mut(replica) {
            known.insert(grant);
        }
    }

    fn revoke_grant(&mut self, grant: usize, replica: usize) {
        self.revoked.insert(grant);
        self.remember(replica, grant);
    }

    /// A process starts anew: it reads the whole feed before it serves.
    fn restart(&mut self, replica: usize) {
        let all = self.revoked.clone();
        if let Some(known) = self.known.get_mut(replica) {
            *known = all;
        }
    }

    fn issue(&mut self, grant: usize) -> (usize, NewRefresh) {
        let ends_at = lifetimes().refresh_ends(Timestamp::from_seconds(START), self.time());
        let new = NewRefresh { digest: digest(self.refresh.len()), ends_at };
        self.refresh.push(Issued { grant, ends: ends_at.seconds().saturating_sub(START), replaced: None });
        (self.refresh.len().saturating_sub(1), new)
    }

    /// What a refresh token says of itself.
    fn place(&self, token: usize, of: usize) -> Place {
        let before = self.refresh.iter().take(token).filter(|row| row.grant == of).count();
        let generation = Generation::from_number(u32::try_from(before).unwrap_or(u32::MAX));
        Place { grant: grant(of).id, generation, digest: digest(token) }
    }

    /// `POST /token` with a code.
    fn redeem(&mut self, by: Person, app: App, code: usize, twist: Twist, replica: usize) -> Result<Given, Reason> {
        let record = CodeRecord {
            digest: AuthorizationCode::new(&code_bytes(code)).digest(),
            grant: grant(code),
            redirect_uri: things::redirect(),
            challenge: things::verifier(Self::challenged(code)).challenge(),
            refresh: true,
        };
        let (rules, catalog) = policy(self.removed && is_victims(code));
        let today = deputy_protocol::family::Policy { rules, catalog };
        record.check(&client(app), &form(Some(by), twist)?, today)?;
        let ends_at = Timestamp::from_seconds(START).after(lifetimes().code);
        let state = CodeState { used: self.used.contains(&code), ends_at, revoked: self.revoked.contains(&code) };
        match state.judge(self.time()) {
            CodeUse::First => {
                self.used.insert(code);
                let (refresh, new) = self.issue(code);
                self.lines.insert(code, Line::first(new));
                Ok(Given { grant: code, refresh })
            }
            CodeUse::Replay => {
                self.revoke_grant(code, replica);
                Err(Reason::CodeReplayed)
            }
            CodeUse::Expired => Err(Reason::CodeExpired),
            CodeUse::Revoked => Err(Reason::GrantRevoked),
        }
    }

    /// `POST /token` with a refresh token.
    fn rotate(&mut self, app: App, token: usize, twist: Twist, replica: usize) -> Result<Given, Reason> {
        let row = *self.refresh.get(token).ok_or(Reason::RefreshUnknown)?;
        let place = self.place(token, row.grant);
        let record = RefreshRecord { place: place.clone(), grant: grant(row.grant) };
        let (rules, catalog) = policy(self.removed && is_victims(row.grant));
        let today = deputy_protocol::family::Policy { rules, catalog };
        record.check(&client(app), &form(None, twist)?, today)?;
        let line = self.lines.get(&row.grant).cloned().ok_or(Reason::RefreshUnknown)?;
        let standing = Standing { ends_at: grant(row.grant).ends_at, revoked: self.revoked.contains(&row.grant) };
        let (grace, now) = (lifetimes().refresh_grace, self.time());
        match line.judge(&place, standing, grace, now) {
            LineUse::Rotate => {
                let (next, new) = self.issue(row.grant);
                self.lines.insert(row.grant, line.replaced_by(&place, new, next.to_string(), grace, now));
                if let Some(row) = self.refresh.get_mut(token) {
                    row.replaced = Some((self.now, next));
                }
                Ok(Given { grant: row.grant, refresh: next })
            }
            LineUse::Replay(successor) => {
                Ok(Given { grant: row.grant, refresh: successor.parse().map_err(|_| Reason::Internal)? })
            }
            LineUse::Reuse => {
                self.revoke_grant(row.grant, replica);
                Err(Reason::RefreshReused)
            }
            LineUse::Expired => Err(Reason::RefreshExpired),
            LineUse::Revoked => Err(Reason::GrantRevoked),
        }
    }

    /// `POST /revoke` with a refresh token.
    fn revoke(&mut self, app: App, token: usize, replica: usize) -> Result<(), Reason> {
        let row = *self.refresh.get(token).ok_or(Reason::RefreshUnknown)?;
        if may_revoke(&client(app), &grant(row.grant).client) {
            self.revoke_grant(row.grant, replica);
        }
        Ok(())
    }

    /// A call with an access token, as the guard in front of a backend judges it.
    fn call(&self, of: usize, issued: u64, elsewhere: bool, replica: usize) -> Result<(), Reason> {
        let claims = things::claims(of, issued);
        let issuer = things::issuer();
        let expected =
            deputy_protocol::access_token::Expected { issuer: &issuer, resource: resource(elsewhere), now: self.time() };
        let token =
            deputy_protocol::access_token::check(deputy_protocol::claims::SignedClaims::assume_verified(claims), expected)?;
        token.not_revoked(self.known.get(replica).is_some_and(|known| known.contains(&of)))
    }

    /// Hands out what an answer gave, unless the answer was lost.
    fn receive(&mut self, by: Person, given: Given) {
        self.access.insert((given.grant, self.now));
        match by {
            Person::Victim => {
                self.held.retain(|held| *held != given.refresh);
                self.held.push(given.refresh);
                // Another process of the client may have the one before still, not an older one.
                let older = self.held.len().saturating_sub(2);
                self.held.drain(..older);
            }
            Person::Attacker => {
                self.his.insert(given.refresh);
            }
        }
    }
}

/// How long the waits are: past a code and the grace window, past an access token, past a refresh token that nobody used.
const WAITS: [Duration; 3] = [Duration::from_secs(61), Duration::from_secs(301), Duration::from_secs(601)];
