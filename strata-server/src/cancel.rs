//! Who may cancel what: each session has a process id and a secret, and a CancelRequest on another connection must name both.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_datafusion::session::CancelHandle;
use uuid::Uuid;

/// The sessions that can be cancelled. The lock is held for a look-up, never while waiting.
#[derive(Default)]
pub struct CancelRegistry {
    sessions: Mutex<HashMap<i32, Entry>>,
}

struct Entry {
    secret: Bytes,
    handle: CancelHandle,
}

/// A session's place in the registry, given up when dropped.
pub struct Registration {
    registry: Arc<CancelRegistry>,
    /// The process id, as pg_backend_pid() shows it.
    pub pid: i32,
    /// What a cancel request must know.
    pub secret: Bytes,
}

/// How long the secret is: protocol 3.0 has room for 4 bytes, 3.2 for up to 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretSize {
    /// Four bytes.
    Short,
    /// Thirty-two bytes.
    Long,
}

impl CancelRegistry {
    /// Enters a session under its process id with a fresh secret.
    pub fn register(self: &Arc<Self>, pid: i32, size: SecretSize, handle: CancelHandle) -> Registration {
        // Version 4 ids come from the system's random source; six of their bits are fixed, none of them in the first four bytes.
        let random = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        let secret = match size {
            SecretSize::Short => Bytes::copy_from_slice(random.get(..4).unwrap_or_default()),
            SecretSize::Long => Bytes::from(random),
        };
        self.sessions.lock().insert(pid, Entry { secret: secret.clone(), handle });
        Registration { registry: Arc::clone(self), pid, secret }
    }

    /// Cancels what the session runs; whether there was one of that secret.
    pub fn cancel(&self, pid: i32, secret: &[u8]) -> bool {
        let handle = match self.sessions.lock().get(&pid) {
            Some(entry) if same(&entry.secret, secret) => entry.handle.clone(),
            _ => return false,
        };
        handle.cancel();
        true
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut sessions = self.registry.sessions.lock();
        // After four thousand million sessions the number may be another's.
        if sessions.get(&self.pid).is_some_and(|entry| entry.secret == self.secret) {
            sessions.remove(&self.pid);
        }
    }
}

/// Compares without telling by the time taken how much of a guess was right.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_cancels_and_only_while_the_session_lives() {
        let registry = Arc::new(CancelRegistry::default());
        let handle = CancelHandle::default();
        let registration = registry.register(7, SecretSize::Long, handle.clone());
        let mut guess = registration.secret.to_vec();
        guess[31] ^= 1;
        assert!(!registry.cancel(7, &guess));
        assert!(!registry.cancel(7, &registration.secret[..4]));
        assert!(!registry.cancel(8, &registration.secret));
        assert!(!handle.is_cancelled());
        assert!(registry.cancel(7, &registration.secret.clone()));
        assert!(handle.is_cancelled());
        let secret = registration.secret.clone();
        drop(registration);
        assert!(!registry.cancel(7, &secret));
    }

    #[test]
    fn short_secrets_have_four_bytes() {
        let registry = Arc::new(CancelRegistry::default());
        assert_eq!(registry.register(1, SecretSize::Short, CancelHandle::default()).secret.len(), 4);
    }
}
