//! Single use against a model (I2, I3, I4): any sequence of redemptions, rotations, revocations and sweeps, at any distance in time, on two
//! replicas that share the store, gives what the model gives.

mod assertion;
mod feed;
mod listing;
mod memories;

use std::collections::BTreeSet;
use std::time::Duration;

use deputy_protocol::access::Rules;
use deputy_protocol::claims::Memberships;
use deputy_protocol::client::DisplayName;
use deputy_protocol::family::{Generation, Grant, NewRefresh, Place, Policy, RefreshRecord};
use deputy_protocol::ids::{ClientId, GrantId, Issuer, TransactionId};
use deputy_protocol::mcp::rules::CallRules;
use deputy_protocol::params::Params;
use deputy_protocol::pkce::Verifier;
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::resource::{Catalog, ProtectedResource, ResourceUri};
use deputy_protocol::scope::Scopes;
use deputy_protocol::secret::{AuthorizationCode, ClientSecret, RefreshToken};
use deputy_protocol::{Reason, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;

use super::once::{self, Successor};
use super::{Completed, Postgres, Redemption, Revoke, Rotation, Sqlite, Step as Change, Store, Sweep};

const START: u64 = 1_800_000_000;
const CODE: u64 = 60;
const IDLE: u64 = 1000;
const GRANT: u64 = 5000;
const GRACE: u64 = 60;
const GRANTS: u8 = 2;

/// What somebody does.
#[derive(Clone, Debug)]
enum Act {
    /// Presents the code of a grant.
    Redeem(u8),
    /// Presents one of all refresh tokens that ever came out.
    Rotate(Index),
    /// Presents the newest, or one that came shortly before it.
    RotateNewest(usize),
    /// Ends a grant.
    Revoke(u8),
    /// The sweeper runs.
    Sweep,
}

#[derive(Clone, Debug)]
struct Step {
    later: u64,
    replica: usize,
    act: Act,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let act = prop_oneof![
        3 => (0..GRANTS).prop_map(Act::Redeem),
        4 => any::<Index>().prop_map(Act::Rotate),
        6 => (0_usize..3).prop_map(Act::RotateNewest),
        1 => (0..GRANTS).prop_map(Act::Revoke),
        1 => Just(Act::Sweep),
    ];
    let later = prop_oneof![6 => Just(0), 4 => Just(1), 3 => Just(59), 3 => Just(60), 2 => Just(61), 1 => Just(600), 1 => Just(1000), 1 => Just(4000)];
    let step = (later, 0_usize..2, act).prop_map(|(later, replica, act)| Step { later, replica, act });
    proptest::collection::vec(step, 1..30)
}

/// A refresh token in the model.
#[derive(Clone, Debug)]
struct Token {
    grant: u8,
    ends: u64,
    rotated: Option<(u64, usize)>,
}

/// What must be so, in plain variables.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    used: BTreeSet<u8>,
    codes_swept: bool,
    grants_swept: BTreeSet<u8>,
    revoked: BTreeSet<u8>,
    tokens: Vec<Token>,
}

/// What an operation says, without its baggage.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    First,
    Replay,
    Rotated,
    Replayed(usize),
    Reused,
    Expired,
    Revoked,
    Unknown,
}

impl Model {
    fn issue(&mut self, grant: u8) {
        assert!(self.living(grant).is_none(), "I3: a grant has one living refresh token at most");
        let ends = (self.now + IDLE).min(START + GRANT);
        self.tokens.push(Token { grant, ends, rotated: None });
    }

    fn living(&self, grant: u8) -> Option<&Token> {
        self.tokens.iter().find(|token| token.grant == grant && token.rotated.is_none())
    }

    /// How many of its family came before a token.
    fn generation(&self, at: usize) -> u32 {
        let before = self.tokens.iter().take(at).filter(|token| token.grant == self.tokens[at].grant);
        u32::try_from(before.count()).unwrap()
    }

    fn redeem(&mut self, grant: u8) -> Said {
        if self.codes_swept || self.grants_swept.contains(&grant) {
            return Said::Unknown;
        }
        if self.used.contains(&grant) {
            self.revoked.insert(grant);
            return Said::Replay;
        }
        if self.now >= START + CODE {
            return Said::Expired;
        }
        if self.revoked.contains(&grant) {
            return Said::Revoked;
        }
        self.used.insert(grant);
        self.issue(grant);
        Said::First
    }

    fn rotate(&mut self, at: usize) -> Said {
        let Token { grant, ends, rotated } = self.tokens[at].clone();
        if self.grants_swept.contains(&grant) {
            return Said::Unknown;
        }
        if self.revoked.contains(&grant) {
            return Said::Revoked;
        }
        match rotated {
            None if ends > self.now => {
                self.tokens[at].rotated = Some((self.now, self.tokens.len()));
                self.issue(grant);
                Said::Rotated
            }
            None => Said::Expired,
            Some(_) if self.now >= START + GRANT => Said::Expired,
            Some((then, successor)) if self.now - then <= GRACE => Said::Replayed(successor),
            Some(_) => {
                self.revoked.insert(grant);
                Said::Reused
            }
        }
    }

    fn sweep(&mut self) {
        let over = |grant: &u8| self.now >= START + GRANT || self.living(*grant).is_some_and(|token| token.ends <= self.now);
        let swept: Vec<u8> = (0..GRANTS).filter(over).collect();
        self.grants_swept.extend(swept);
        self.codes_swept |= self.now >= START + CODE + 600;
    }
}

fn code(grant: u8) -> AuthorizationCode {
    AuthorizationCode::new(&[grant; 32])
}

fn token(at: usize) -> RefreshToken {
    RefreshToken::of_bytes(&[u8::try_from(at).unwrap(); 32])
}

fn grant_id(grant: u8) -> GrantId {
    GrantId::new([grant; 16])
}

fn client() -> ClientId {
    ClientId::parse("c").unwrap()
}

fn deployment() -> (Rules, Catalog) {
    let resource = ProtectedResource {
        uri: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
        path: "/mcp".to_owned(),
        name: "Test".to_owned(),
        scopes: Scopes::parse("read").unwrap(),
        calls: CallRules::default(),
    };
    (Rules::parse(&["*"]).unwrap(), Catalog::new(vec![resource]))
}

fn completed(grant: u8) -> Completed {
    let start = Timestamp::from_seconds(START);
    Completed {
        transaction: TransactionId::new(start, [grant; 16]),
        transaction_ends: start.after(Duration::from_secs(600)),
        grant: Grant {
            id: grant_id(grant),
            subject: "u_1".to_owned(),
            idp: Issuer::parse("https://idp.test").unwrap(),
            idp_subject: "alice".to_owned(),
            email: None,
            name: None,
            said_email: None,
            memberships: Memberships::default(),
            client: client(),
            client_name: DisplayName::clean("Test"),
            resource: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
            scopes: Scopes::parse("read").unwrap(),
            granted_at: start,
            ends_at: start.after(Duration::from_secs(GRANT)),
        },
        idp_tokens: String::new(),
        renewable: true,
        code: code(grant).digest(),
        redirect_uri: RedirectUri::parse("https://app.test/cb").unwrap(),
        challenge: Verifier::new(&[grant; 32]).challenge(),
        refresh: true,
        code_ends: start.after(Duration::from_secs(CODE)),
        memory: None,
    }
}

/// Two replicas on one database.
type Replicas = [Box<dyn Store>; 2];

/// Each grant completed.
async fn complete(stores: &Replicas) {
    for grant in 0..GRANTS {
        assert!(stores[0].take(Change::Complete(Box::new(completed(grant)))).await.unwrap());
        assert!(!stores[1].take(Change::Complete(Box::new(completed(grant)))).await.unwrap());
    }
}

/// The successor in the model.
fn next(model: &Model) -> (usize, NewRefresh) {
    let (next, ends_at) = (model.tokens.len(), Timestamp::from_seconds((model.now + IDLE).min(START + GRANT)));
    (next, NewRefresh { digest: token(next).digest(), ends_at })
}

async fn redeem(store: &dyn Store, model: &Model, grant: u8) -> Said {
    let Some(held) = store.code(&code(grant).digest()).await.unwrap() else { return Said::Unknown };
    let form = format!("code_verifier={}", Verifier::new(&[grant; 32]).expose());
    let (rules, catalog) = deployment();
    let today = Policy { rules: &rules, catalog: &catalog };
    let checked = held.record.clone().check(&client(), &Params::parse(form.as_bytes()).unwrap(), today).unwrap();
    let first = Some(next(model).1);
    match once::redeem(store, held, checked, first, None, Timestamp::from_seconds(model.now)).await.unwrap() {
        Redemption::First(redeemed) => {
            assert_eq!(redeemed.into_parts().0.id, grant_id(grant));
            Said::First
        }
        Redemption::Replay(id) => {
            assert_eq!(id, grant_id(grant));
            Said::Replay
        }
        Redemption::Expired => Said::Expired,
        Redemption::Revoked => Said::Revoked,
        Redemption::Unknown => Said::Unknown,
        Redemption::AssertionUsed => panic!("there is no assertion"),
    }
}

/// The sealed successor is its number, so that a replay tells which one it gives.
async fn rotate(store: &dyn Store, model: &Model, at: usize) -> Said {
    let (grant, now) = (model.tokens[at].grant, Timestamp::from_seconds(model.now));
    let generation = Generation::from_number(model.generation(at));
    let place = Place { grant: grant_id(grant), generation, digest: token(at).digest() };
    let Some(held) = store.grant(&place.grant).await.unwrap() else { return Said::Unknown };
    let (rules, catalog) = deployment();
    let record = RefreshRecord { place, grant: held.grant.clone() };
    let checked = record.check(&client(), &Params::parse(b"").unwrap(), Policy { rules: &rules, catalog: &catalog }).unwrap();
    let (next, new) = next(model);
    let make = |_| Ok(Successor { new: new.clone(), sealed: next.to_string(), token: () });
    match once::rotate(store, held, checked, make, Duration::from_secs(GRACE), None, now).await.unwrap() {
        Rotation::Rotated(redeemed, ()) => {
            assert_eq!(redeemed.into_parts().0.id, grant_id(grant));
            Said::Rotated
        }
        Rotation::Replayed(_, sealed) => Said::Replayed(sealed.parse().unwrap()),
        Rotation::Reused(id) => {
            assert_eq!(id, grant_id(grant));
            Said::Reused
        }
        Rotation::Expired => Said::Expired,
        Rotation::Revoked => Said::Revoked,
        Rotation::Unknown => Said::Unknown,
        Rotation::AssertionUsed => panic!("there is no assertion"),
    }
}

async fn present(store: &dyn Store, model: &mut Model, at: usize) {
    let said = rotate(store, model, at).await;
    assert_eq!(said, model.rotate(at), "token {at} at +{}", model.now - START);
}

async fn act(store: &dyn Store, model: &mut Model, act: &Act) {
    match act {
        Act::Redeem(grant) => {
            let said = redeem(store, model, *grant).await;
            assert_eq!(said, model.redeem(*grant), "code of {grant} at +{}", model.now - START);
        }
        Act::Rotate(_) | Act::RotateNewest(_) if model.tokens.is_empty() => {}
        Act::Rotate(index) => present(store, model, index.index(model.tokens.len())).await,
        Act::RotateNewest(before) => present(store, model, model.tokens.len().saturating_sub(1 + before)).await,
        Act::Revoke(grant) => {
            let revoke =
                Revoke { grant: grant_id(*grant), why: Reason::RevokedByClient, now: Timestamp::from_seconds(model.now) };
            let alive = store.take(Change::Revoke(revoke)).await.unwrap();
            assert_eq!(alive, !model.grants_swept.contains(grant) && model.revoked.insert(*grant), "revocation of {grant}");
        }
        Act::Sweep => {
            sweep(store, Timestamp::from_seconds(model.now)).await;
            model.sweep();
        }
    }
}

async fn sweep(store: &dyn Store, now: Timestamp) {
    let newest = store.newest_sign_in().await.unwrap();
    let sweep = Sweep::at(now, newest, Duration::from_secs(1_000_000)).expect("a time to trust");
    while store.take(Change::Sweep(sweep)).await.unwrap() {}
    for grant in store.idle_grants(now).await.unwrap() {
        assert!(store.take(Change::ForgetIdle(grant, now)).await.unwrap());
    }
}

async fn run(stores: &Replicas, steps: Vec<Step>) {
    complete(stores).await;
    let mut model = Model { now: START, ..Model::default() };
    for step in steps {
        model.now += step.later;
        act(stores[step.replica].as_ref(), &mut model, &step.act).await;
        // I4: every replica learns of each revocation.
        let feed = stores[1 - step.replica].revocations_after(0).await.unwrap();
        let told: BTreeSet<GrantId> = feed.into_iter().map(|revocation| revocation.grant).collect();
        assert_eq!(told, model.revoked.iter().map(|grant| grant_id(*grant)).collect());
    }
}

#[expect(unreachable_pub, reason = "shared with the endpoint tests")]
#[path = "../../tests/support/postgres.rs"]
mod cluster;

async fn postgres() -> Replicas {
    let url = ClientSecret::from_text(cluster::database().await);
    let refused = Postgres::open(&url).await.unwrap_err().to_string();
    assert!(refused.contains("deputy migrate"), "{refused}");
    // Two at once, as a rolling upgrade has it.
    let (one, two) = tokio::join!(Postgres::migrate(&url), Postgres::migrate(&url));
    one.and(two).unwrap();
    [Box::new(Postgres::open(&url).await.unwrap()), Box::new(Postgres::open(&url).await.unwrap())]
}

async fn sqlite(path: &std::path::Path) -> Replicas {
    [Box::new(Sqlite::open(path).await.unwrap()), Box::new(Sqlite::open(path).await.unwrap())]
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i2_i3_i4_sqlite_does_what_the_model_does(steps in steps()) {
        let data = tempfile::tempdir().unwrap();
        block_on(async { run(&sqlite(&data.path().join("db")).await, steps).await });
    }

    #[test]
    fn i2_i3_i4_postgres_does_what_the_model_does(steps in steps()) {
        block_on(async { run(&postgres().await, steps).await });
    }
}
