//! The targets. Each asserts what must hold of every accepted input, by a reading of its own where there is one.

mod authorize;
mod claims;
mod cookies;
mod document;
mod headers;
mod jws;
mod metadata;
mod redirect;
mod register;
mod rpc;
mod sealed;
mod token;

use deputy_protocol::Timestamp;

/// A target.
pub type Run = fn(&[u8]);

/// Every target, by name.
pub const ALL: &[(&str, Run)] = &[
    ("authorize", authorize::run),
    ("token", token::run),
    ("register", register::run),
    ("metadata", metadata::run),
    ("document", document::run),
    ("redirect", redirect::run),
    ("jws", jws::run),
    ("claims", claims::run),
    ("cookies", cookies::run),
    ("sealed", sealed::run),
    ("headers", headers::run),
    ("rpc", rpc::run),
];

/// When all targets run.
const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

/// An accepted document as a second reader has it. `None` when that reader stops at a member that ours skips: too deep, too large a number,
/// half a surrogate pair.
fn second_reading(json: &[u8]) -> Option<serde_json::Value> {
    let error = match serde_json::from_slice(json) {
        Ok(value) => return Some(value),
        Err(error) => error.to_string(),
    };
    let skipped = ["recursion limit", "number out of range", "hex escape"].iter().any(|known| error.contains(known));
    assert!(skipped, "{error}");
    None
}

/// Applies edits to a text: triples of position (two bytes) and byte, after a first byte that may cut or lengthen it.
fn mutated(genuine: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut text = genuine.to_vec();
    let Some((&how, edits)) = edits.split_first() else { return text };
    match how {
        0..=15 => text.truncate(text.len().saturating_sub(usize::from(how))),
        16..=31 => text.extend(std::iter::repeat_n(b'A', usize::from(how - 15))),
        _ => {}
    }
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % text.len().max(1);
        if let Some(byte) = text.get_mut(at) {
            *byte = edit[2];
        }
    }
    text
}
