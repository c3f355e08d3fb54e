//! The plant: machines, coupled by product, air, steam, water and mains, stepped in simulated time.
//!
//! Pure: no clock, socket, file or thread. The same configuration and the same sequence of calls give the same
//! values, bit for bit. Faults are planned from the seed, by configuration, or started by a call.

mod belt;
mod block;
mod faults;
mod line;
mod machine;
mod reading;
mod utilities;
mod zone;

pub use self::line::Flow;
pub use self::reading::{Sample, Value};

use self::block::{BLOCK_MACHINES, Block, place};
use self::faults::{FaultBook, PlannedFault, RandomFaults};
use self::machine::Supply;
use crate::config::{ConfigError, FaultConfig, SimulatorConfig};
use crate::fault::{FaultKind, TruthEvent};
use crate::kind::MachineKind;
use crate::noise::Noise;
use crate::shift::{DAY_S, ShiftPlan, ambient_celsius};

/// Machines of the plant as `configs/factory-layout.json` draws it.
pub const PLANT_MACHINES: usize = BLOCK_MACHINES;
/// A block runs this long before the start, so that a plant in production starts warm and full.
const WARM_UP_S: f64 = 4.0 * 3600.0;
const WARM_UP_STEP_S: f64 = 2.0;
/// Longest step of the physics; a longer call is cut into several.
const LONGEST_STEP_S: f64 = 1.0;
/// Further blocks start from states of the first one, so many and so far apart: they are not in step.
const SNAPSHOTS: usize = 16;
const SNAPSHOT_S: f64 = 94.0;

/// Why a fault was not injected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// The plant has no such device.
    #[error("no device {device:?} in this plant of {machines} machines")]
    UnknownDevice {
        /// Name that was given.
        device: String,
        /// Size of the plant.
        machines: usize,
    },
    /// The machine has no part that could fail in this way.
    #[error("fault {fault:?} is not possible on {device:?}; possible are {possible}")]
    NotPossible {
        /// Name of the device.
        device: String,
        /// Name of the fault.
        fault: &'static str,
        /// Names of the faults that are possible.
        possible: String,
    },
    /// The machine has this fault already.
    #[error("{device:?} already has the fault {fault:?}")]
    AlreadyActive {
        /// Name of the device.
        device: String,
        /// Name of the fault.
        fault: &'static str,
    },
    /// The time is not a positive number of seconds.
    #[error("develop_s is {develop_s}; allowed is a number above 0, to 31536000")]
    DevelopTime {
        /// What was given.
        develop_s: String,
    },
    /// The machine has fewer zones or phases.
    #[error("element is {element}; allowed on {device:?} is 0 to {highest}")]
    Element {
        /// Name of the device.
        device: String,
        /// What was given.
        element: usize,
        /// Highest index allowed.
        highest: usize,
    },
}

/// The simulated plant.
#[derive(Debug, Clone)]
pub struct Plant {
    blocks: Vec<Block>,
    machines: usize,
    plan: ShiftPlan,
    start_s: f64,
    elapsed_s: f64,
    faults: FaultBook,
    default_repair_s: f64,
    mains: Noise,
    mains_volts: [f64; 3],
    mains_hertz: f64,
}

impl Plant {
    /// Builds the plant and lets it run warm.
    ///
    /// # Errors
    /// Returns what is wrong with the configuration.
    pub fn new(config: &SimulatorConfig) -> Result<Plant, ConfigError> {
        config.validate()?;
        let plan =
            ShiftPlan { from_s: config.production_from.seconds(), to_s: config.production_to.seconds() };
        let start_s = config.start_time_of_day.seconds();
        let random = RandomFaults {
            per_machine_per_day: config.faults_per_machine_per_day,
            develop_min_s: config.fault_develop_min_s,
            develop_max_s: config.fault_develop_max_s,
            repair_s: config.fault_repair_s,
        };
        let mut plant = Plant {
            blocks: warm_blocks(config.seed, config.devices.div_ceil(BLOCK_MACHINES), start_s, plan),
            machines: config.devices,
            plan,
            start_s,
            elapsed_s: 0.0,
            faults: FaultBook::new(config.seed, config.devices, random),
            default_repair_s: config.fault_repair_s,
            mains: Noise::new(config.seed ^ 0x3A115, 0),
            mains_volts: [0.0; 3],
            mains_hertz: 0.0,
        };
        for (index, fault) in config.faults.iter().enumerate() {
            let planned =
                plant.planned(fault).map_err(|error| ConfigError::Fault { index, source: error })?;
            plant.faults.plan(fault.at_s, planned);
        }
        Ok(plant)
    }

    /// Returns the number of machines.
    #[must_use]
    pub fn machines(&self) -> usize {
        self.machines
    }

    /// Returns the simulated seconds since the start.
    #[must_use]
    pub fn elapsed_s(&self) -> f64 {
        self.elapsed_s
    }

    /// Returns the simulated time of day, seconds since midnight.
    #[must_use]
    pub fn time_of_day_s(&self) -> f64 {
        (self.start_s + self.elapsed_s).rem_euclid(DAY_S)
    }

    /// Advances the plant by `dt_s` simulated seconds. A time that is not above 0 changes nothing.
    pub fn step(&mut self, dt_s: f64) {
        if !dt_s.is_finite() || dt_s <= 0.0 {
            return;
        }
        let steps = (dt_s / LONGEST_STEP_S).ceil();
        let step_s = dt_s / steps;
        for _ in 0..steps as u64 {
            self.elapsed_s += step_s;
            self.faults.update(self.elapsed_s, &mut self.blocks);
            let supply = self.supply(step_s);
            let time_of_day_s = self.time_of_day_s();
            for block in &mut self.blocks {
                block.step(step_s, time_of_day_s, self.plan, &supply);
            }
        }
    }

    /// Reads the sensors of a machine now; `None` beyond the last machine.
    pub fn sample(&mut self, machine: usize) -> Option<Sample> {
        if machine >= self.machines {
            return None;
        }
        Some(reading::read(&mut self.blocks[machine / BLOCK_MACHINES], machine % BLOCK_MACHINES))
    }

    /// Returns where flour and pieces of a line are; lines count from 0, two per eighteen machines.
    #[must_use]
    pub fn flow(&self, line: usize) -> Option<Flow> {
        Some(self.blocks.get(line / 2)?.lines[line % 2].flow())
    }

    /// Starts a fault now. `element` is the zone or the phase, from 0; the first if not given.
    ///
    /// # Errors
    /// Returns why the fault is refused; the plant is then unchanged.
    pub fn inject(
        &mut self,
        device: &str,
        kind: FaultKind,
        develop_s: f64,
        element: Option<usize>,
    ) -> Result<u64, InjectError> {
        let fault = FaultConfig {
            machine: device.to_owned(),
            kind,
            at_s: self.elapsed_s,
            develop_s,
            repair_s: None,
            element,
        };
        let planned = self.planned(&fault)?;
        self.faults.start(self.elapsed_s, planned)
    }

    /// Repairs all faults of a device now and returns how many there were.
    ///
    /// # Errors
    /// Returns [`InjectError::UnknownDevice`].
    pub fn repair(&mut self, device: &str) -> Result<usize, InjectError> {
        let machine = self.find(device)?;
        Ok(self.faults.repair(self.elapsed_s, machine, &mut self.blocks))
    }

    /// Takes the events of faults since the last call, oldest first. At most 65,536 wait; then the oldest are
    /// dropped (see [`Plant::truth_dropped`]).
    pub fn drain_truth(&mut self) -> Vec<TruthEvent> {
        self.faults.drain()
    }

    /// Returns how many events of faults were dropped because nobody took them.
    #[must_use]
    pub fn truth_dropped(&self) -> u64 {
        self.faults.events_dropped()
    }

    fn find(&self, device: &str) -> Result<usize, InjectError> {
        device_index(device)
            .filter(|machine| *machine < self.machines)
            .ok_or_else(|| InjectError::UnknownDevice { device: device.to_owned(), machines: self.machines })
    }

    fn planned(&self, fault: &FaultConfig) -> Result<PlannedFault, InjectError> {
        let machine = self.find(&fault.machine)?;
        let kind = place(machine).0;
        if !kind.faults().contains(&fault.kind) {
            let possible: Vec<_> = kind.faults().iter().map(|fault| fault.name()).collect();
            return Err(InjectError::NotPossible {
                device: fault.machine.clone(),
                fault: fault.kind.name(),
                possible: possible.join(", "),
            });
        }
        if !(fault.develop_s > 0.0 && fault.develop_s <= 31_536_000.0) {
            return Err(InjectError::DevelopTime { develop_s: fault.develop_s.to_string() });
        }
        let (element, elements) = (fault.element.unwrap_or(0), fault.kind.elements(kind));
        if element >= elements {
            let device = fault.machine.clone();
            return Err(InjectError::Element { device, element, highest: elements - 1 });
        }
        let repair_s = fault.repair_s.unwrap_or(self.default_repair_s);
        Ok(PlannedFault { machine, kind: fault.kind, element, develop_s: fault.develop_s, repair_s })
    }

    fn supply(&mut self, dt_s: f64) -> Supply {
        for volts in &mut self.mains_volts {
            self.mains.wander(volts, dt_s, 45.0, 0.9);
        }
        self.mains.wander(&mut self.mains_hertz, dt_s, 30.0, 0.02);
        nominal_supply(self.time_of_day_s(), self.mains_volts, self.mains_hertz)
    }
}

/// The mains are a few volts lower by day, when the neighbourhood works.
fn nominal_supply(time_of_day_s: f64, wander_volts: [f64; 3], wander_hertz: f64) -> Supply {
    let by_day = (ambient_celsius(time_of_day_s) - 21.0) / 4.0;
    Supply {
        volts: wander_volts.map(|wander| 231.5 - 1.8 * by_day + wander),
        frequency_hz: 50.0 + wander_hertz,
    }
}

fn warm_blocks(seed: u64, count: usize, start_s: f64, plan: ShiftPlan) -> Vec<Block> {
    let mut first = Block::new(ambient_celsius(start_s - WARM_UP_S));
    first.individualise(seed, 0);
    let mut snapshots = Vec::new();
    let mut left_s = WARM_UP_S;
    let mut next_snapshot_s = SNAPSHOTS as f64 * SNAPSHOT_S;
    while left_s > 0.0 {
        if count > 1 && left_s <= next_snapshot_s {
            snapshots.push(first.clone());
            next_snapshot_s -= SNAPSHOT_S;
        }
        let time_of_day_s = (start_s - left_s).rem_euclid(DAY_S);
        first.step(WARM_UP_STEP_S, time_of_day_s, plan, &nominal_supply(time_of_day_s, [0.0; 3], 0.0));
        left_s -= WARM_UP_STEP_S;
    }
    let mut blocks = vec![first];
    for block in 1..count {
        let mut further = snapshots[block * 7 % snapshots.len()].clone();
        further.individualise(seed, block);
        blocks.push(further);
    }
    blocks
}

/// Returns the name of the machine with this index: `oven-001`, `chiller-002`.
#[must_use]
pub fn device_name(machine: usize) -> String {
    let (kind, number) = place(machine);
    format!("{}-{number:03}", kind.type_name())
}

/// Returns the kind of the machine with this index.
#[must_use]
pub fn kind_of(machine: usize) -> MachineKind {
    place(machine).0
}

/// Returns the index of the machine with this name in a plant of any size.
#[must_use]
pub fn device_index(device: &str) -> Option<usize> {
    let (type_name, number) = device.rsplit_once('-')?;
    let number: usize = number.parse().ok().filter(|number| (1..=1_000_000).contains(number))?;
    let blocks = [number - 1, (number - 1) / 2];
    let found = blocks
        .into_iter()
        .flat_map(|block| block * BLOCK_MACHINES..(block + 1) * BLOCK_MACHINES)
        .find(|machine| place(*machine).1 == number && place(*machine).0.type_name() == type_name)?;
    (device_name(found) == device).then_some(found)
}

#[cfg(test)]
mod tests;
