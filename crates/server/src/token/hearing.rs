//! The provider's word before a refresh (OC-10, OC-11; A-111…A-116; decision 7): asked again when it is old, by one process of all replicas,
//! after a durable note that it is about to be asked.
//!
//! What becomes of a refresh token of the provider's that was sent is known, or it is never sent again (I9). Only the provider's own word
//! ends a grant: every outage is a 503, and the grant waits for its end.

use std::sync::Arc;
use std::time::Duration;

use deputy_protocol::claims::VerifiedIdentity;
use deputy_protocol::family::WordUse;
use deputy_protocol::{GrantId, Reason, Timestamp};
use tokio::time::{Instant, sleep};

use crate::error::Failure;
use crate::gateway::Shared;
use crate::idp::{IdpFailure, IdpTokens, Renewal};
use crate::seal::Purpose;
use crate::store::{Ask, AttemptId, Heard, HeldGrant, Person, Revoke, Step};

/// How long a refresh waits for somebody else's question to be answered. A question takes ten seconds at most.
const WAIT: Duration = Duration::from_secs(12);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(50);
/// How long an answer of the provider is kept in hand while the store is away.
const KEEP: Duration = Duration::from_secs(60);
/// How often it is offered to the store again.
const OFFER: Duration = Duration::from_millis(200);

/// The grant under a word of the provider that counts now.
pub(super) async fn heard(gateway: &Arc<Shared>, mut held: HeldGrant) -> Result<HeldGrant, Failure> {
    let began = Instant::now();
    loop {
        let id = held.grant.id.clone();
        match held.word.judge(gateway.lifetimes.hearing, gateway.clock.now()) {
            WordUse::Holds => return Ok(held),
            WordUse::TooOld => return Err(Reason::IdpWordTooOld.into()),
            WordUse::Ask => ask(gateway, &held).await?,
            WordUse::Lost => give_up(gateway, &held).await?,
            WordUse::Wait if began.elapsed() < WAIT => sleep(LOOK).await,
            WordUse::Wait => return Err(Failure::detailed(Reason::IdpUnavailable, "somebody has been asking it for too long")),
        }
        held = gateway.store.grant(&id).await?.ok_or(Reason::RefreshUnknown)?;
        if held.revoked_at.is_some() {
            return Err(Reason::GrantRevoked.into());
        }
    }
}

/// Notes that the provider is about to be asked, and asks it. Once the note is written, nothing that becomes of the client's request stops
/// the question or its answer.
async fn ask(gateway: &Arc<Shared>, held: &HeldGrant) -> Result<(), Failure> {
    let grant = held.grant.id.clone();
    let attempt = AttemptId::new(gateway.random()?);
    let now = gateway.clock.now();
    let (sealed, tokens) = tokens(gateway, &grant).await?;
    let note = Ask { grant: grant.clone(), judged_heard_at: held.word.heard_at, tokens: sealed, attempt: attempt.clone(), now };
    match gateway.store.take(Step::Ask(note)).await {
        Ok(true) => {}
        // Somebody else was first.
        Ok(false) => return Ok(()),
        Err(error) => {
            // Whether the note was written is unknown; that nothing was sent is not. So it is taken back, should it be there.
            let (gateway, question) = (Arc::clone(gateway), Question { grant, attempt, now });
            let asked = Arc::clone(&gateway);
            gateway.questions.spawn(async move { write(&asked, question.answered()).await });
            return Err(error.into());
        }
    }
    let (gateway, account) = (Arc::clone(gateway), held.grant.account());
    let here = Arc::clone(&gateway);
    let asked = here.questions.spawn(async move {
        let renewal = match gateway.idps.of(account.idp()) {
            Some(idp) => Box::pin(idp.renew(&tokens, &account, now)).await,
            None => Renewal::Unused(IdpFailure::gone()),
        };
        conclude(&gateway, Question { grant, attempt, now }, tokens, renewal).await
    });
    asked.await.unwrap_or_else(|_| Err(Failure::internal("a question to the provider ended without an answer")))
}

/// What was asked.
struct Question {
    grant: GrantId,
    attempt: AttemptId,
    now: Timestamp,
}

impl Question {
    /// The answer that changes nothing but that nobody is asking any more.
    fn answered(self) -> Heard {
        Heard {
            grant: self.grant,
            attempt: self.attempt,
            tokens: None,
            renewable: true,
            heard_at: None,
            person: None,
            still_asking: false,
        }
    }
}

/// Writes what came of asking.
async fn conclude(gateway: &Shared, question: Question, old: IdpTokens, renewal: Renewal) -> Result<(), Failure> {
    let (grant, now) = (question.grant.clone(), question.now);
    let sealed = |tokens: &IdpTokens| gateway.seal.seal(Purpose::AtRest, tokens).map(Some);
    match renewal {
        Renewal::Renewed { identity, tokens } => {
            tracing::info!(target: "deputy::event", event = "idp_renewed", %grant);
            let (tokens, renewable, person) = (sealed(&tokens)?, tokens.can_be_renewed(), identity.as_ref().map(person));
            write(gateway, Heard { tokens, renewable, heard_at: Some(now), person, ..question.answered() }).await
        }
        Renewal::Kept { tokens, why } => {
            let (tokens, renewable) = (sealed(&tokens)?, tokens.can_be_renewed());
            write(gateway, Heard { tokens, renewable, ..question.answered() }).await?;
            Err(unavailable(why))
        }
        Renewal::Unused(why) => {
            // What was not used is written back: somebody whose clock is ahead may have given it up meanwhile.
            let (tokens, renewable) = (sealed(&old)?, old.can_be_renewed());
            write(gateway, Heard { tokens, renewable, ..question.answered() }).await?;
            Err(unavailable(why))
        }
        Renewal::Unknown(why) => {
            tracing::warn!(target: "deputy::idp", %grant, detail = why.detail, "the provider's answer is lost; it is not asked again about this grant");
            let tokens = sealed(&old.without_refresh())?;
            write(gateway, Heard { tokens, renewable: false, ..question.answered() }).await
        }
        Renewal::Ended(why) => {
            tracing::info!(target: "deputy::event", event = "idp_ended", %grant, reason = why.reason.code());
            // At once here, whatever becomes of the store: a word that ended a grant must not be lost as an answer can be.
            gateway.revoked.add(grant.clone());
            offer(gateway, Step::Revoke(Revoke { grant, why: why.reason, now })).await?;
            Err(why.into())
        }
    }
}

/// Nobody heard the answer to the last question: a process died, or its store was away for too long. What was sent is not sent again. The
/// note stays, so that an answer which comes late after all still counts.
async fn give_up(gateway: &Shared, held: &HeldGrant) -> Result<(), Failure> {
    let (grant, Some(attempt)) = (held.grant.id.clone(), held.asking.clone()) else {
        return Err(Failure::internal("somebody is asking the provider, and nobody knows who"));
    };
    let (_, tokens) = tokens(gateway, &grant).await?;
    if tokens.lasting().is_some() {
        // What was asked with is not used up: it may be asked again.
        let question = Question { grant, attempt, now: gateway.clock.now() };
        gateway.store.take(Step::Hear(Box::new(question.answered()))).await?;
        return Ok(());
    }
    tracing::warn!(target: "deputy::idp", %grant, "nobody heard what the provider answered; it is not asked again about this grant");
    let tokens = gateway.seal.seal(Purpose::AtRest, &tokens.without_refresh())?;
    let question = Question { grant, attempt, now: gateway.clock.now() };
    let heard = Heard { tokens: Some(tokens), renewable: false, still_asking: true, ..question.answered() };
    gateway.store.take(Step::Hear(Box::new(heard))).await?;
    Ok(())
}

/// Writes an answer: it is in no other place.
async fn write(gateway: &Shared, heard: Heard) -> Result<(), Failure> {
    offer(gateway, Step::Hear(Box::new(heard))).await
}

/// Offers a step to the store until it takes it, or for a minute.
async fn offer(gateway: &Shared, step: Step) -> Result<(), Failure> {
    let began = Instant::now();
    loop {
        match gateway.store.take(step.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > KEEP => return Err(error.into()),
            Err(error) => {
                tracing::warn!(target: "deputy::store", %error, "cannot write what the provider answered; trying again")
            }
        }
        sleep(OFFER).await;
    }
}

/// The provider's tokens, sealed and not.
async fn tokens(gateway: &Shared, grant: &GrantId) -> Result<(String, IdpTokens), Failure> {
    let sealed = gateway.store.idp_tokens(grant).await?.ok_or(Reason::RefreshUnknown)?;
    let opened = gateway.seal.open(Purpose::AtRest, &sealed);
    opened
        .map(|tokens| (sealed, tokens))
        .ok_or_else(|| Failure::internal("the provider's tokens do not open with this master key; was master.key replaced?"))
}

/// What the provider says today. What it says nothing about stays as it was, but for memberships: who is in no group any more is not told
/// about.
fn person(identity: &VerifiedIdentity) -> Person {
    Person {
        email: identity.verified_email().map(str::to_owned),
        said_email: identity.said_email().map(str::to_owned),
        name: identity.name().map(str::to_owned),
        memberships: identity.memberships().clone(),
    }
}

/// Whatever it is, it is the provider's or ours, and passes.
fn unavailable(why: IdpFailure) -> Failure {
    let named = matches!(why.reason, Reason::IdpRegistrationRefused | Reason::IdpGone);
    let reason = if named { why.reason } else { Reason::IdpUnavailable };
    Failure::detailed(reason, why.detail)
}
