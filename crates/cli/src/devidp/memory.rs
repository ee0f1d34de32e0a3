//! What the provider remembers: little, and not for long.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deputy_server::random;

/// Codes and sessions that are remembered at most; the oldest go first.
const MEMORY: usize = 1000;

/// Things by random key, bounded.
pub(super) struct Memory<T>(VecDeque<(String, T)>);

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Memory<T> {
    pub(super) fn keep(&mut self, value: T) -> Option<String> {
        let key = URL_SAFE_NO_PAD.encode(random::bytes::<24>().ok()?);
        if self.0.len() >= MEMORY {
            self.0.pop_front();
        }
        self.0.push_back((key.clone(), value));
        Some(key)
    }

    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.0.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    pub(super) fn take(&mut self, key: &str) -> Option<T> {
        let at = self.0.iter().position(|(known, _)| known == key)?;
        self.0.remove(at).map(|(_, value)| value)
    }
}

/// What is behind a lock, also after a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
