//! Sealed boxes and client ids: raw text never opens, and a genuine box opens unaltered and for its purpose only.

use std::sync::LazyLock;

use deputy_server::probes::{Boxes, PURPOSES};

use super::mutated;

struct Sealed {
    boxes: Boxes,
    genuine: Vec<String>,
}

/// The same key in every run, so that an input means the same again.
static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let boxes = Boxes::new(&[7; 32]).unwrap();
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
