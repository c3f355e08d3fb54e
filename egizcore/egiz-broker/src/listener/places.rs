//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// The places that connections take.
pub(crate) struct Places {
    in_all_max: usize,
    per_address_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    in_all: usize,
    per_address: HashMap<IpAddr, usize>,
}

/// A place; given back when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Places {
    pub(crate) fn new(in_all_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { in_all_max, per_address_max, taken: Mutex::default() })
    }

    /// Takes a place for a connection from `address`, or says which bound is reached.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Result<Place, &'static str> {
        // An IPv4 client is the same one on a socket that takes both.
        let address = address.to_canonical();
        let mut taken = self.taken.lock();
        if taken.in_all >= self.in_all_max {
            return Err("too-many-connections");
        }
        let from_address = taken.per_address.entry(address).or_default();
        if *from_address >= self.per_address_max {
            return Err("too-many-from-address");
        }
        *from_address += 1;
        taken.in_all += 1;
        Ok(Place { places: Arc::clone(self), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock();
        taken.in_all -= 1;
        if let Some(count) = taken.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.per_address.remove(&self.address);
            }
        }
    }
}
