//! The reference workload: what a thousand machines say in a day, with the steps, noise and habits of real sensors.
//!
//! Each device reports every 5 s: three voltages in tenths of a volt, three currents in hundredths of an ampere, a power
//! factor in thousandths, three to five temperatures in sixteenths of a degree, a state of six, and a batch that its line of
//! ten devices works on for one to five hours. A fifth of the devices keep their period to the millisecond, the others
//! stray by 4 to 24 ms; two messages in a thousand are lost, and one in a thousand comes up to two minutes late.
//!
//! The same seed gives the same bytes. Noise decides what a store can reach: the differences from one sample to the next
//! hold about 3.3 bits for a voltage, 6.2 for a current, 3.6 for a power factor and 1.7 for a temperature.

/// Seconds between two messages of a device.
pub(crate) const PERIOD_S: i64 = 5;
/// Messages that a device would send in a day.
pub(crate) const STEPS_A_DAY: usize = 86_400 / PERIOD_S as usize;
/// 2026-03-01T00:00:00Z.
pub(crate) const BEGIN_MS: i64 = 1_772_323_200_000;

/// The states of a machine.
pub(crate) const STATES: [&str; 6] = ["idle", "heating", "running", "holding", "cooling", "cleaning"];

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// When it was measured, in milliseconds since 1970.
    pub(crate) source_ms: i64,
    /// When it arrives.
    pub(crate) received_ms: i64,
    /// Voltages, currents, power factor, then temperatures.
    pub(crate) numbers: [f64; 12],
    /// How many of them there are, 10 to 12.
    pub(crate) count: usize,
    /// Number of the state.
    pub(crate) state: usize,
    /// Number of the batch.
    pub(crate) batch: u32,
}

/// A device, asked for one message after another.
pub(crate) struct Device {
    random: Random,
    line: Walk,
    grid: Walk,
    number: usize,
    stray_ms: f64,
    load: f64,
    temperatures: [f64; 5],
    zones: usize,
    batch: Batches,
    step: i64,
}

/// SplitMix64 and the sum of uniform numbers: enough for noise, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal, with mean 0 and deviation 1: four 16-bit uniform numbers added up.
    fn normal(&mut self) -> f64 {
        let bits = self.next();
        let sum: f64 = (0..4).map(|part| (bits >> (16 * part) & 0xffff) as f64 / 65_536.0).sum();
        (sum - 2.0) * 3.0_f64.sqrt()
    }
}

/// A value that wanders and comes back.
struct Walk {
    random: Random,
    value: f64,
    pull: f64,
    noise: f64,
}

impl Walk {
    fn new(seed: u64, pull: f64, noise: f64) -> Self {
        Self { random: Random(seed), value: 0.0, pull, noise }
    }

    fn step(&mut self) -> f64 {
        self.value += self.random.normal() * self.noise - self.value * self.pull;
        self.value
    }
}

/// What the ten devices of a line work on.
struct Batches {
    random: Random,
    number: u32,
    until: i64,
}

impl Device {
    /// The device with this number.
    pub(crate) fn new(number: usize, seed: u64) -> Self {
        let line = (number / 10) as u64;
        let mut random = Random(seed ^ (number as u64 + 1).wrapping_mul(0xA24B_AED4_963E_E407));
        let stray_ms = if number.is_multiple_of(5) { 0.0 } else { 4.0 + 20.0 * random.uniform() };
        let zones = 3 + number % 3;
        Self {
            line: Walk::new(seed ^ (line + 7777), 0.002, 0.05),
            grid: Walk::new(seed ^ 0x617, 0.001, 0.08),
            number,
            stray_ms,
            load: 0.5,
            temperatures: [180.0, 185.0, 190.0, 175.0, 170.0],
            zones,
            batch: Batches { random: Random(seed ^ (line + 99)), number: line as u32 * 1000, until: 0 },
            random,
            step: 0,
        }
    }

    /// Its next message; nothing where that one is lost.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let second = self.step * PERIOD_S;
        self.step += 1;
        if second >= self.batch.until {
            self.batch.number += 1;
            self.batch.until = second + 3600 + (self.batch.random.uniform() * 14_400.0) as i64;
        }
        let phase = (second + 37 * (self.number as i64 / 10)) % 7200;
        let state = match phase {
            0..300 => 0,
            300..1200 => 1,
            1200..6000 => 2,
            6000..6600 => 3,
            6600..7000 => 4,
            _ => 5,
        };
        let target = [0.08, 1.0, 0.7, 0.45, 0.15, 0.3][state];
        self.load += (target - self.load) * 0.05 + self.random.normal() * 0.002;
        let (grid, line) = (self.grid.step(), self.line.step());
        let mut numbers = [0.0; 12];
        for voltage in &mut numbers[0..3] {
            *voltage = steps(230.0 + grid + line - 2.0 * self.load + self.random.normal() * 0.16, 10.0);
        }
        for (phase, current) in numbers[3..6].iter_mut().enumerate() {
            let mean = 25.0 * self.load * [1.0, 0.97, 1.02][phase];
            *current = steps((mean + self.random.normal() * 0.12).max(0.0), 100.0);
        }
        numbers[6] = steps((0.86 + 0.08 * self.load + self.random.normal() * 0.002).min(1.0), 1000.0);
        for zone in 0..self.zones {
            let aim = 60.0 + 160.0 * self.load + 4.0 * zone as f64;
            let temperature = &mut self.temperatures[zone];
            *temperature += (aim - *temperature) * 0.002;
            numbers[7 + zone] = steps(*temperature + self.random.normal() * 0.03, 16.0);
        }
        let phase_ms = (self.number as i64 * 4999) % 5000;
        let stray = (self.random.normal() * self.stray_ms) as i64;
        let source_ms = BEGIN_MS + second * 1000 + phase_ms + stray.clamp(-100, 100);
        let fate = self.random.uniform();
        if fate < 0.002 {
            return None;
        }
        let late = if fate < 0.003 { (self.random.uniform() * 120_000.0) as i64 } else { 0 };
        let received_ms = source_ms + 3 + late;
        let count = 7 + self.zones;
        Some(Message { source_ms, received_ms, numbers, count, state, batch: self.batch.number })
    }
}

/// The number rounded to whole steps of one over `divisor`.
fn steps(number: f64, divisor: f64) -> f64 {
    (number * divisor).round() / divisor
}
