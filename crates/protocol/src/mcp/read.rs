//! Reading a body member by member, keeping only what is judged.
//!
//! Skipped values are still parsed in full: numbers that fit, whole escapes, at most serde_json's 128 levels. A more lenient skip would
//! let a body through that the next reader takes differently, or cannot read.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::{BATCH_MAX, Body, Id, Kind, Message, NamedBy, named_by};
use crate::error::Reason;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// Reads a whole body.
pub(super) fn body(text: &str) -> Result<Body<'_>, Reason> {
    let reason = Cell::new(Reason::MessageMalformed);
    let mut json = serde_json::Deserializer::from_str(text);
    let body = json.deserialize_any(BodyVisitor(&reason)).map_err(|_| reason.get())?;
    json.end().map_err(|_| Reason::MessageMalformed)?;
    Ok(body)
}

/// Refuses for a reason that serde's error cannot carry.
fn refuse<E: serde::de::Error>(slot: &Cell<Reason>, reason: Reason) -> E {
    slot.set(reason);
    E::custom(reason.code())
}

struct BodyVisitor<'r>(&'r Cell<Reason>);

impl<'de> Visitor<'de> for BodyVisitor<'_> {
    type Value = Body<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message or a batch")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        MessageSeed(self.0).visit_map(map).map(Body::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::new();
        while let Some(message) = seq.next_element_seed(MessageSeed(self.0))? {
            messages.push(message);
            if messages.len() > BATCH_MAX {
                return Err(A::Error::custom("too many messages"));
            }
        }
        if messages.is_empty() { Err(A::Error::custom("an empty batch")) } else { Ok(Body::Batch(messages)) }
    }
}

/// A member that is judged, by its place in the list that knows it.
struct Judged<'l> {
    list: &'l [&'static str],
    reason: &'l Cell<Reason>,
}

impl<'de> DeserializeSeed<'de> for Judged<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Judged<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let found = self.list.iter().position(|known| *known == name);
        if found.is_none() && self.list.iter().any(|known| folded(known).eq(folded(name))) {
            return Err(refuse(self.reason, Reason::MessageAmbiguous));
        }
        Ok(found)
    }
}

/// Letters without case, as lenient readers compare them; the Kelvin sign is a `k` and the long s an `s`.
fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}

/// Reads an object: judged members once each, into `take`; the rest is skipped.
fn members<'de, A: MapAccess<'de>>(
    mut map: A,
    list: &[&'static str],
    reason: &Cell<Reason>,
    mut take: impl FnMut(usize, &mut A) -> Result<(), A::Error>,
) -> Result<u32, A::Error> {
    let mut seen = 0_u32;
    while let Some(judged) = map.next_key_seed(Judged { list, reason })? {
        let Some(index) = judged else {
            map.next_value::<Skipped>()?;
            continue;
        };
        let bit = 1_u32 << index;
        if seen & bit != 0 {
            return Err(refuse(reason, Reason::MessageAmbiguous));
        }
        seen |= bit;
        take(index, &mut map)?;
    }
    Ok(seen)
}

/// The judged members of a message; the numbers below are places in it.
const MESSAGE: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];
const ID: u32 = 1 << 1;
const RESULT: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

#[derive(Clone, Copy)]
struct MessageSeed<'r>(&'r Cell<Reason>);

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = Message<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON-RPC message")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let (mut version, mut id, mut method, mut params) = (Scalar::Absent, Scalar::Absent, Scalar::Absent, Params::default());
        let seen = members(map, &MESSAGE, self.0, |index, map| {
            match index {
                0 => version = map.next_value()?,
                1 => id = map.next_value()?,
                2 => method = map.next_value()?,
                3 => params = map.next_value_seed(ParamsSeed(self.0))?,
                _ => {
                    map.next_value::<Skipped>()?;
                }
            }
            Ok(())
        })?;
        if !matches!(&version, Scalar::Text(text) if text == "2.0") {
            return Err(A::Error::custom("not JSON-RPC 2.0"));
        }
        let kind = kind(seen, &id, &method).ok_or_else(|| A::Error::custom("neither request, notification nor response"))?;
        message(kind, id, method, params).ok_or_else(|| A::Error::custom("a name or version that is no text"))
    }
}

/// What a message is, by the members it has. `None` when it is several things at once, or nothing.
fn kind(seen: u32, id: &Scalar<'_>, method: &Scalar<'_>) -> Option<Kind> {
    let answers = (seen & RESULT != 0, seen & ERROR != 0);
    match (method, id, answers) {
        (Scalar::Text(_), Scalar::Text(_) | Scalar::Number(_), (false, false)) => Some(Kind::Request),
        // `"id": null` is a request to some readers and a notification to others.
        (Scalar::Text(_), Scalar::Absent, (false, false)) if seen & ID == 0 => Some(Kind::Notification),
        (Scalar::Absent, Scalar::Text(_) | Scalar::Number(_), (true, false) | (false, true)) => Some(Kind::Response),
        (Scalar::Absent, Scalar::Null, (false, true)) => Some(Kind::Response),
        _ => None,
    }
}

/// Puts together what is judged. `None` when what would be judged is no text.
fn message<'a>(kind: Kind, id: Scalar<'a>, method: Scalar<'a>, params: Params<'a>) -> Option<Message<'a>> {
    let method = method.text()?;
    let name = match method.as_deref().and_then(named_by) {
        Some(NamedBy::Name) => params.name.text()?,
        Some(NamedBy::Uri) => params.uri.text()?,
        Some(NamedBy::Task) => params.task.text()?,
        None => None,
    };
    Some(Message { kind, id: id.id(), method, name, version: params.version.text()? })
}

/// A value of which only text is kept.
#[derive(Default)]
enum Scalar<'a> {
    #[default]
    Absent,
    Null,
    Number(Number),
    Text(Cow<'a, str>),
    Other,
}

impl<'a> Scalar<'a> {
    /// The text, if there is one; `None` when there is something else.
    fn text(self) -> Option<Option<Cow<'a, str>>> {
        match self {
            Self::Absent => Some(None),
            Self::Text(text) => Some(Some(text)),
            Self::Null | Self::Number(_) | Self::Other => None,
        }
    }

    fn id(self) -> Option<Id<'a>> {
        match self {
            Self::Text(text) => Some(Id::Text(text)),
            Self::Number(number) => Some(Id::Number(number)),
            Self::Absent | Self::Null | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Null)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(number).map_or(Scalar::Other, Scalar::Number))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Skipped::visit_map(Skipped, map).map(|_| Scalar::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        Skipped::visit_seq(Skipped, seq).map(|_| Scalar::Other)
    }
}

/// What is judged of `params`.
#[derive(Default)]
struct Params<'a> {
    name: Scalar<'a>,
    uri: Scalar<'a>,
    task: Scalar<'a>,
    version: Scalar<'a>,
}

/// The judged members of `params`.
const PARAMS: [&str; 4] = ["name", "uri", "taskId", "_meta"];

struct ParamsSeed<'r>(&'r Cell<Reason>);

impl<'de> DeserializeSeed<'de> for ParamsSeed<'_> {
    type Value = Params<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ParamsSeed<'_> {
    type Value = Params<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// Some clients write what they leave out as null.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Params::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut params = Params::default();
        members(map, &PARAMS, self.0, |index, map| {
            match index {
                0 => params.name = map.next_value()?,
                1 => params.uri = map.next_value()?,
                2 => params.task = map.next_value()?,
                _ => params.version = map.next_value_seed(MetaSeed(self.0))?,
            }
            Ok(())
        })?;
        Ok(params)
    }
}

/// The one judged member of `_meta`.
struct MetaSeed<'r>(&'r Cell<Reason>);

impl<'de> DeserializeSeed<'de> for MetaSeed<'_> {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MetaSeed<'_> {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Absent)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let mut version = Scalar::Absent;
        members(map, &[VERSION], self.0, |_, map| {
            version = map.next_value()?;
            Ok(())
        })?;
        Ok(version)
    }
}

/// Any value, parsed and forgotten. `IgnoredAny` would let `serde_json` skip it without limits.
struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<Self, Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<Self>()?.is_some() {}
        Ok(self)
    }
}
