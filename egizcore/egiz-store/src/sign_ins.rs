//! Who signed in with which device's credential, so that a change of it ends what it had opened. One entry for each device
//! that has signed in, whatever it opened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::device::DeviceKey;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SignIns(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Counts changes of credentials, so that a check that ran beside one can be told.
    changes: u64,
    by_device: HashMap<DeviceKey, CancellationToken>,
}

impl SignIns {
    /// To be taken before a credential is read.
    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// The device signs in with what was read when there had been so many changes; `None` where there was one since.
    pub(crate) fn sign_in(&self, key: &DeviceKey, changes: u64) -> Option<CancellationToken> {
        let mut known = self.lock();
        (known.changes == changes).then(|| known.by_device.entry(key.clone()).or_default().clone())
    }

    /// What the device's credential opened ends when the returned value is dropped, also where the change's caller went away.
    pub(crate) fn end_with(self: &Arc<Self>, key: &DeviceKey) -> Ending {
        Ending { sign_ins: Arc::clone(self), key: key.clone() }
    }

    fn end(&self, key: &DeviceKey) {
        let mut known = self.lock();
        known.changes += 1;
        if let Some(token) = known.by_device.remove(key) {
            token.cancel();
        }
    }

    // Nothing panics while the lock is held; if it ever did, the table would still be whole.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a device's sign-ins when it is dropped.
pub(crate) struct Ending {
    sign_ins: Arc<SignIns>,
    key: DeviceKey,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.sign_ins.end(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_ends_what_was_opened_before_it_and_nothing_else() {
        let sign_ins = Arc::new(SignIns::default());
        let (oven, mixer) = (DeviceKey::new("s", "oven"), DeviceKey::new("s", "mixer"));
        let before = sign_ins.changes();
        let first = sign_ins.sign_in(&oven, before).expect("nothing changed");
        let other = sign_ins.sign_in(&mixer, before).expect("nothing changed");
        drop(sign_ins.end_with(&oven));
        assert!(first.is_cancelled() && !other.is_cancelled());
        assert!(sign_ins.sign_in(&oven, before).is_none(), "it was read before the change");
        let second = sign_ins.sign_in(&oven, sign_ins.changes()).expect("nothing changed since");
        assert!(!second.is_cancelled());
    }
}
