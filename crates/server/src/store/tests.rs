//! Single use against a model (I2, I3, I4): any sequence of redemptions, rotations, revocations and sweeps, at any distance in time, on two
//! replicas that share the store, gives what the model gives.

use std::collections::BTreeSet;
use std::time::Duration;

use deputy_protocol::access::Rules;
use deputy_protocol::client::DisplayName;
use deputy_protocol::family::{Grant, Policy};
use deputy_protocol::ids::{ClientId, GrantId, Issuer, TransactionId};
use deputy_protocol::params::Params;
use deputy_protocol::pkce::Verifier;
use deputy_protocol::redirect::RedirectUri;
use deputy_protocol::resource::{Catalog, ProtectedResource, ResourceUri};
use deputy_protocol::scope::Scopes;
use deputy_protocol::secret::{AuthorizationCode, RefreshToken};
use deputy_protocol::{Reason, Timestamp};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Completed, Completion, NewRefresh, Redemption, Rotation, Sqlite, Store as _};

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
    swept: bool,
}

/// What must be so, in plain variables.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    used: BTreeSet<u8>,
    codes_swept: bool,
    grants_swept: bool,
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
        let ends = (self.now + IDLE).min(START + GRANT);
        self.tokens.push(Token { grant, ends, rotated: None, swept: false });
    }

    fn redeem(&mut self, grant: u8) -> Said {
        if self.codes_swept {
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
        let Token { grant, ends, rotated, swept } = self.tokens[at].clone();
        if swept {
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
        self.grants_swept |= self.now >= START + GRANT;
        self.codes_swept |= self.grants_swept || self.now >= START + CODE + 600;
        for token in self.tokens.iter_mut().filter(|token| self.grants_swept || token.ends <= self.now) {
            token.swept = true;
        }
    }

    /// I3: a family has one living refresh token at most.
    fn alive(&self, grant: u8) -> usize {
        let live = |token: &&Token| token.grant == grant && token.rotated.is_none() && token.ends > self.now && !token.swept;
        self.tokens.iter().filter(live).count()
    }
}

fn code(grant: u8) -> AuthorizationCode {
    AuthorizationCode::new(&[grant; 32])
}

fn token(at: usize) -> RefreshToken {
    RefreshToken::new(&[u8::try_from(at).unwrap(); 32])
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
            groups: Vec::new(),
            client: client(),
            client_name: DisplayName::clean("Test"),
            resource: ResourceUri::parse("https://mcp.test/mcp").unwrap(),
            scopes: Scopes::parse("read").unwrap(),
            granted_at: start,
            ends_at: start.after(Duration::from_secs(GRANT)),
        },
        idp_tokens: String::new(),
        code: code(grant).digest(),
        redirect_uri: RedirectUri::parse("https://app.test/cb").unwrap(),
        challenge: Verifier::new(&[grant; 32]).challenge(),
        refresh: true,
        code_ends: start.after(Duration::from_secs(CODE)),
    }
}

/// Two replicas on one file, each grant completed.
async fn replicas(path: &std::path::Path) -> [Sqlite; 2] {
    let stores = [Sqlite::open(path).await.unwrap(), Sqlite::open(path).await.unwrap()];
    for grant in 0..GRANTS {
        assert_eq!(stores[0].complete(&completed(grant)).await.unwrap(), Completion::First);
        assert_eq!(stores[1].complete(&completed(grant)).await.unwrap(), Completion::Replay);
    }
    stores
}

async fn redeem(store: &Sqlite, model: &Model, grant: u8) -> Said {
    let next = model.tokens.len();
    let ends_at = Timestamp::from_seconds((model.now + IDLE).min(START + GRANT));
    let first = NewRefresh { digest: token(next).digest(), ends_at };
    let Some(record) = store.code(&code(grant).digest()).await.unwrap() else { return Said::Unknown };
    let form = format!("code_verifier={}", Verifier::new(&[grant; 32]).expose());
    let (rules, catalog) = deployment();
    let today = Policy { rules: &rules, catalog: &catalog };
    let checked = record.check(&client(), &Params::parse(form.as_bytes()).unwrap(), today).unwrap();
    match store.redeem_code(&checked, Some(&first), Timestamp::from_seconds(model.now)).await.unwrap() {
        Redemption::First(redeemed) => {
            assert_eq!(redeemed.into_grant().id, grant_id(grant));
            Said::First
        }
        Redemption::Replay(id) => {
            assert_eq!(id, grant_id(grant));
            Said::Replay
        }
        Redemption::Expired => Said::Expired,
        Redemption::Revoked => Said::Revoked,
        Redemption::Unknown => Said::Unknown,
    }
}

/// The sealed successor is its number, so that a replay tells which one it gives.
async fn rotate(store: &Sqlite, model: &Model, at: usize) -> Said {
    let next = model.tokens.len();
    let ends_at = Timestamp::from_seconds((model.now + IDLE).min(START + GRANT));
    let successor = NewRefresh { digest: token(next).digest(), ends_at };
    let (sealed, grace) = ([u8::try_from(next).unwrap()], Duration::from_secs(GRACE));
    let now = Timestamp::from_seconds(model.now);
    let Some(record) = store.refresh(&token(at).digest()).await.unwrap() else { return Said::Unknown };
    let (rules, catalog) = deployment();
    let checked = record.check(&client(), &Params::parse(b"").unwrap(), Policy { rules: &rules, catalog: &catalog }).unwrap();
    match store.rotate(&checked, &successor, &sealed, grace, now).await.unwrap() {
        Rotation::Rotated(redeemed) => {
            assert_eq!(redeemed.into_grant().id, grant_id(model.tokens[at].grant));
            Said::Rotated
        }
        Rotation::Replayed(_, sealed) => Said::Replayed(usize::from(sealed[0])),
        Rotation::Reused(id) => {
            assert_eq!(id, grant_id(model.tokens[at].grant));
            Said::Reused
        }
        Rotation::Expired => Said::Expired,
        Rotation::Revoked => Said::Revoked,
        Rotation::Unknown => Said::Unknown,
    }
}

async fn present(store: &Sqlite, model: &mut Model, at: usize) {
    let said = rotate(store, model, at).await;
    assert_eq!(said, model.rotate(at), "token {at} at +{}", model.now - START);
}

async fn act(store: &Sqlite, model: &mut Model, act: &Act) {
    match act {
        Act::Redeem(grant) => {
            let said = redeem(store, model, *grant).await;
            assert_eq!(said, model.redeem(*grant), "code of {grant} at +{}", model.now - START);
        }
        Act::Rotate(_) | Act::RotateNewest(_) if model.tokens.is_empty() => {}
        Act::Rotate(index) => present(store, model, index.index(model.tokens.len())).await,
        Act::RotateNewest(before) => present(store, model, model.tokens.len().saturating_sub(1 + before)).await,
        Act::Revoke(grant) => {
            let alive =
                store.revoke(&grant_id(*grant), Reason::RevokedByClient, Timestamp::from_seconds(model.now)).await.unwrap();
            assert_eq!(alive, !model.grants_swept && model.revoked.insert(*grant), "revocation of {grant}");
        }
        Act::Sweep => {
            store.sweep(Timestamp::from_seconds(model.now), Duration::from_secs(1_000_000)).await.unwrap();
            model.sweep();
        }
    }
}

async fn run(steps: Vec<Step>) {
    let data = tempfile::tempdir().unwrap();
    let stores = replicas(&data.path().join("db")).await;
    let mut model = Model { now: START, ..Model::default() };
    for step in steps {
        model.now += step.later;
        act(&stores[step.replica], &mut model, &step.act).await;
        for grant in 0..GRANTS {
            assert!(model.alive(grant) <= 1, "I3: {grant} has two lives");
        }
        // I4: every replica learns of each revocation.
        let feed = stores[1 - step.replica].revocations_after(0).await.unwrap();
        let told: BTreeSet<GrantId> = feed.into_iter().map(|revocation| revocation.grant).collect();
        assert_eq!(told, model.revoked.iter().map(|grant| grant_id(*grant)).collect());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i2_i3_i4_the_store_does_what_the_model_does(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
