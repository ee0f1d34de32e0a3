//! Sealed boxes and client ids: raw text never opens, and a genuine box opens unaltered and for its purpose only.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use deputy_server::probes::{Boxes, PURPOSES};

use super::mutated;

struct Sealed {
    boxes: Boxes,
    genuine: Vec<String>,
}

/// A key of this process alone: the fuzzer sees genuine boxes when they are compared and keeps them, and those of an earlier run would open.
static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let part = RandomState::new().hash_one(7_u64).to_be_bytes();
    let key: [u8; 32] = std::array::from_fn(|at| part[at % part.len()]);
    let boxes = Boxes::new(&key).unwrap();
    let genuine = (0..PURPOSES).map(|purpose| boxes.seal(purpose, "what we know").unwrap()).collect();
    Sealed { boxes, genuine }
});

pub fn run(data: &[u8]) {
    let Some((&mode, rest)) = data.split_first() else { return };
    let genuine = &SEALED.genuine[usize::from(mode) % PURPOSES];
    let text = if mode < 128 { rest.to_vec() } else { mutated(genuine.as_bytes(), rest) };
    let Ok(text) = std::str::from_utf8(&text) else { return };
    for purpose in 0..PURPOSES {
        let opened = SEALED.boxes.open(purpose, text);
        assert_eq!(opened.is_some(), text == SEALED.genuine[purpose], "purpose {purpose}");
    }
    assert!(SEALED.boxes.resolve(text).is_err());
    assert!(SEALED.boxes.resolve(&format!("dc_{text}")).is_err(), "a client that never registered");
}
