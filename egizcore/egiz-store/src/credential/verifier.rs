//! Checks of presented passwords, with their cost bounded.
//!
//! Argon2 takes a core and 19 MiB for some 20 ms, so at most `concurrent` runs go on at once, at most `waiting`
//! callers wait for one, and any more are told [`CredentialError::Busy`]. A password that was right is remembered as
//! a salted digest in memory, bound to the stored hash it was checked against, so that a thousand devices that
//! reconnect do not cost a thousand runs; a changed or removed credential misses the cache by itself. Wrong
//! passwords are never remembered.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use super::{CredentialError, CredentialHash, SALT_BYTES, check_password, is_generated_form};
use super::{hash_password, new_salt, verify_password, verify_secret};
use crate::metrics::StoreMetrics;
use crate::store::RandomSource;

/// Bounds on the cost of password checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifierLimits {
    /// Argon2 runs at the same time; each takes a core and 19 MiB.
    pub concurrent: usize,
    /// Callers that may wait for a run; more are refused.
    pub waiting: usize,
    /// Right passwords remembered, 64 bytes each; the oldest goes first. 0 remembers none.
    pub remembered: usize,
}

impl Default for VerifierLimits {
    fn default() -> VerifierLimits {
        VerifierLimits { concurrent: 2, waiting: 256, remembered: 10_000 }
    }
}

/// Checks passwords for all parts of the program.
pub(crate) struct Verifier {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    known: Mutex<Known>,
    salt: [u8; SALT_BYTES],
    metrics: StoreMetrics,
}

impl Verifier {
    pub(crate) fn new(limits: VerifierLimits, metrics: StoreMetrics, random: &RandomSource) -> Verifier {
        let concurrent = limits.concurrent.max(1);
        Verifier {
            running: Arc::new(Semaphore::new(concurrent)),
            admitted: Arc::new(Semaphore::new(concurrent + limits.waiting)),
            known: Mutex::new(Known::with_capacity(limits.remembered)),
            salt: new_salt(random),
            metrics,
        }
    }

    /// Checks a presented secret or password against what is stored, if anything is.
    pub(crate) async fn verify(
        &self,
        presented: &str,
        stored: Option<&str>,
    ) -> Result<bool, CredentialError> {
        if is_generated_form(presented) {
            return Ok(verify_secret(presented, stored));
        }
        if check_password(presented).is_err() {
            // Such a password cannot have been set, whoever the owner is, so an early answer tells nothing.
            return Ok(false);
        }
        let fingerprint = self.fingerprint(presented, stored);
        if stored.is_some() && self.known().contains(&fingerprint) {
            self.metrics.passwords_remembered.inc();
            return Ok(true);
        }
        let (password, hash) = (presented.to_owned(), stored.map(str::to_owned));
        let right = self.slowly(move || verify_password(&password, hash.as_deref())).await??;
        if right {
            self.known().insert(fingerprint);
        }
        Ok(right)
    }

    /// Hashes a chosen password.
    pub(crate) async fn hash(
        &self,
        password: &str,
        random: &RandomSource,
    ) -> Result<CredentialHash, CredentialError> {
        check_password(password)?;
        let (password, salt) = (password.to_owned(), new_salt(random));
        self.slowly(move || hash_password(&password, salt)).await?
    }

    async fn slowly<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CredentialError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| {
            self.metrics.password_checks_refused.inc();
            CredentialError::Busy
        })?;
        let running =
            Arc::clone(&self.running).acquire_owned().await.map_err(|_| CredentialError::Hashing)?;
        self.metrics.password_hashings.inc();
        // The run holds its permits itself: it goes on when the caller is dropped, and still counts then.
        let run = move || {
            let _permits = (admitted, running);
            work()
        };
        tokio::task::spawn_blocking(run).await.map_err(|_| CredentialError::Hashing)
    }

    fn fingerprint(&self, presented: &str, stored: Option<&str>) -> [u8; 32] {
        let stored = stored.unwrap_or_default();
        Sha256::new()
            .chain_update(self.salt)
            .chain_update((stored.len() as u64).to_le_bytes())
            .chain_update(stored)
            .chain_update(presented)
            .finalize()
            .into()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // Nothing panics while the lock is held; if it ever did, the set would still be whole.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A bounded set that forgets its oldest entry.
pub(super) struct Known {
    capacity: usize,
    set: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl Known {
    pub(super) fn with_capacity(capacity: usize) -> Known {
        Known { capacity, set: HashSet::new(), order: VecDeque::new() }
    }

    pub(super) fn contains(&self, fingerprint: &[u8; 32]) -> bool {
        self.set.contains(fingerprint)
    }

    pub(super) fn insert(&mut self, fingerprint: [u8; 32]) {
        if self.capacity == 0 || !self.set.insert(fingerprint) {
            return;
        }
        self.order.push_back(fingerprint);
        while self.order.len() > self.capacity {
            if let Some(oldest) = self.order.pop_front() {
                self.set.remove(&oldest);
            }
        }
    }
}
