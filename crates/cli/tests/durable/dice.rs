//! What a run can be repeated from: its settings and its seed.

use std::cell::Cell;

/// A number from the environment.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The run's seed: `DEPUTY_TEST_SEED`, or a fresh one.
pub fn seed() -> u64 {
    let seed = setting("DEPUTY_TEST_SEED", u64::from_be_bytes(deputy_server::random::bytes().unwrap()));
    println!("seed: {seed}");
    seed
}

/// A small generator (splitmix64), so that a run can be repeated from its seed.
#[derive(Debug)]
pub struct Dice(Cell<u64>);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    /// Evenly from nought up to, and without, `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.0.set(self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = self.0.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
