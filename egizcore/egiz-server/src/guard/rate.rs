//! A token bucket a client. Time comes in; a clock that jumps back fills nothing, one that jumps ahead fills a bucket.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

use crate::settings::RateLimit;

/// The most clients that have a bucket of their own. Beyond it full buckets are dropped, and where none is full the
/// newcomers share one.
const CLIENTS_MAX: usize = 10_000;

/// Whose bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Token(Arc<str>),
    Address(IpAddr),
    /// Newcomers while all places are taken.
    Crowd,
}

impl Key {
    /// The client at this address; of IPv6 the network of 64 bits counts, for a host has them all.
    pub(crate) fn address(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => {
                let mut octets = address.octets();
                octets[8..].fill(0);
                IpAddr::from(octets)
            }
            address => address,
        })
    }
}

/// The buckets.
pub(crate) struct Limiter {
    limit: RateLimit,
    buckets: Mutex<HashMap<Key, Bucket>>,
}

/// Millionths of a request, so that whole numbers do.
struct Bucket {
    micro_requests: u64,
    filled_micros: i64,
}

/// How a client stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    limit: RateLimit,
    remaining: u32,
    /// In so many seconds the next request is let in; `None` if this one was.
    pub(crate) retry_after_s: Option<u32>,
}

impl Limiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        let limit = RateLimit { per_second: limit.per_second.max(1), burst: limit.burst.max(1) };
        Self { limit, buckets: Mutex::new(HashMap::new()) }
    }

    /// Takes one request out of the client's bucket, if there is one.
    pub(crate) fn take(&self, key: Key, now_micros: i64) -> Standing {
        let full = u64::from(self.limit.burst) * 1_000_000;
        let mut buckets = self.buckets.lock();
        let mut key = key;
        if buckets.len() >= CLIENTS_MAX && !buckets.contains_key(&key) {
            let per_second = u64::from(self.limit.per_second);
            buckets.retain(|_, bucket| bucket.level(per_second, full, now_micros) < full);
            if buckets.len() >= CLIENTS_MAX {
                key = Key::Crowd;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { micro_requests: full, filled_micros: now_micros });
        bucket.micro_requests = bucket.level(u64::from(self.limit.per_second), full, now_micros);
        bucket.filled_micros = now_micros;
        let retry_after_s = if bucket.micro_requests >= 1_000_000 {
            bucket.micro_requests -= 1_000_000;
            None
        } else {
            let missing = 1_000_000 - bucket.micro_requests;
            let micros = missing.div_ceil(u64::from(self.limit.per_second));
            Some(u32::try_from(micros.div_ceil(1_000_000)).unwrap_or(u32::MAX).max(1))
        };
        let remaining = u32::try_from(bucket.micro_requests / 1_000_000).unwrap_or(u32::MAX);
        Standing { limit: self.limit, remaining, retry_after_s }
    }
}

impl Bucket {
    fn level(&self, per_second: u64, full: u64, now_micros: i64) -> u64 {
        let passed = u64::try_from(now_micros.saturating_sub(self.filled_micros)).unwrap_or(0);
        self.micro_requests.saturating_add(passed.saturating_mul(per_second)).min(full)
    }
}

impl Standing {
    /// Writes `RateLimit-Policy` and `RateLimit` (IETF draft-ietf-httpapi-ratelimit-headers).
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let window_s = self.limit.burst.div_ceil(self.limit.per_second);
        let policy = format!("\"client\";q={};w={window_s}", self.limit.burst);
        let missing = self.limit.burst - self.remaining.min(self.limit.burst);
        let standing =
            format!("\"client\";r={};t={}", self.remaining, missing.div_ceil(self.limit.per_second));
        for (name, text) in [("ratelimit-policy", policy), ("ratelimit", standing)] {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u32) -> Key {
        Key::address(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let limiter = Limiter::new(RateLimit { per_second: 10, burst: 3 });
        for left in [2, 1, 0] {
            let standing = limiter.take(client(1), 0);
            assert_eq!((standing.remaining, standing.retry_after_s), (left, None));
        }
        assert_eq!(limiter.take(client(1), 0).retry_after_s, Some(1));
        assert_eq!(limiter.take(client(2), 0).retry_after_s, None, "another client has its own");
        assert_eq!(limiter.take(client(1), 100_000).retry_after_s, None, "a tenth of a second fills one");
        assert_eq!(limiter.take(client(1), 100_000).retry_after_s, Some(1));
        assert_eq!(limiter.take(client(1), -5_000_000).retry_after_s, Some(1), "a clock that jumps back");
        assert_eq!(limiter.take(client(1), 60_000_000).remaining, 2, "never more than the burst");
    }

    #[test]
    fn the_number_of_buckets_is_bounded() {
        let limiter = Limiter::new(RateLimit { per_second: 1, burst: 2 });
        for number in 0..20_000 {
            limiter.take(client(number), 0);
        }
        assert!(limiter.buckets.lock().len() <= CLIENTS_MAX + 1);
        assert_eq!(limiter.take(client(90_000), 0).retry_after_s, Some(1), "the crowd's bucket is empty");
        assert_eq!(limiter.take(client(90_000), 10_000_000).retry_after_s, None, "the others have filled up");
    }

    #[test]
    fn an_ipv6_host_has_one_bucket() {
        let (a, b): (IpAddr, IpAddr) =
            ("2001:db8::1".parse().expect("an address"), "2001:db8::2".parse().expect("an address"));
        assert_eq!(Key::address(a), Key::address(b));
        assert_eq!(
            Key::address("::ffff:10.0.0.1".parse().expect("an address")),
            Key::address([10, 0, 0, 1].into())
        );
    }
}
