//! A food factory of simulated sensor nodes with physics-like signals and developing faults.
//!
//! [`Plant`] is the pure part: machines stepped in simulated time, sampled at will. [`run`] puts one MQTT
//! connection per machine around it and publishes as an ESP32 node would. Reads no environment, parses no
//! command line and chooses no clock: the program passes them in.

pub mod config;
pub mod credentials;
mod device;
pub mod fault;
pub mod kind;
mod link;
mod noise;
mod outbox;
pub mod payload;
pub mod plant;
pub mod property;
pub mod recipe;
mod shift;
mod simulator;
mod truth;

pub use crate::config::{ConfigError, FaultConfig, SimulatorConfig};
pub use crate::device::LedgerEntry;
pub use crate::fault::{FaultKind, TruthEvent, TruthKind};
pub use crate::kind::MachineKind;
pub use crate::plant::{Flow, InjectError, Plant, Sample, Value};
pub use crate::simulator::{
    DeviceInfo, LiveCounts, Report, Simulator, SimulatorError, SimulatorHandle, WallClock, devices, run,
};
pub use crate::truth::TruthRecord;
