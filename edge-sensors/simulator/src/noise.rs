//! The plant's random source: SplitMix64, one small stream per machine.
//!
//! Our own thirty lines instead of a crate's generator, because a seed must give the same plant after every
//! upgrade of a dependency and on every platform: evaluation sets are named by their seed.
//! Not for anything that must be unpredictable.
//!
//! Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

/// A stream of pseudo-random numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noise {
    state: u64,
}

impl Noise {
    /// Makes the stream number `stream` of `seed`; different streams are independent of each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut noise = Noise { state: seed };
        let mixed = noise.next_u64() ^ stream.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let mut noise = Noise { state: mixed };
        noise.next_u64();
        noise
    }

    /// Returns the next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns a number in `low..high`.
    pub(crate) fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Returns an index in `0..length`; `length` is at least 1.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        (self.next_u64() % length.max(1) as u64) as usize
    }

    /// Returns a nearly normal number with mean 0 and deviation 1, bounded to ±3.5 (sum of four uniforms):
    /// a sensor's noise has no long tail, and bounded noise keeps the tests' bounds exact.
    pub(crate) fn normal(&mut self) -> f64 {
        let bits = self.next_u64();
        let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xFFFF).sum();
        (sum as f64 / 65535.0 - 2.0) * 3.0_f64.sqrt()
    }

    /// Returns an exponentially distributed waiting time with the given mean.
    pub(crate) fn waiting_time(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Moves `value` as a mean-reverting walk with correlation time `tau_s` and deviation `sigma`.
    pub(crate) fn wander(&mut self, value: &mut f64, dt_s: f64, tau_s: f64, sigma: f64) {
        let keep = 1.0 - (dt_s / tau_s).min(1.0);
        *value = *value * keep + sigma * (1.0 - keep * keep).sqrt() * self.normal();
    }
}

#[cfg(test)]
mod tests {
    use super::Noise;

    #[test]
    fn the_generator_gives_the_published_values() {
        let mut noise = Noise { state: 1_234_567 };
        let first = [0; 3].map(|_| noise.next_u64());
        assert_eq!(first, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut noise = Noise::new(42, 7);
        let first = [0; 3].map(|_| noise.next_u64());
        assert_eq!(
            first,
            [11_495_198_872_868_574_484, 12_372_560_257_355_005_607, 2_562_018_068_242_485_521]
        );
    }

    #[test]
    fn normal_has_mean_zero_and_deviation_one() {
        let mut noise = Noise::new(1, 1);
        let values: Vec<f64> = (0..20_000).map(|_| noise.normal()).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
        assert!(values.iter().all(|value| value.abs() <= 3.5));
    }
}
