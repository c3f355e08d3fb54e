//! The kinds of machine in the simulated plant: their names, their templates and the faults each can suffer.
//!
//! What a kind measures is in `property`; how it behaves is in `plant`.

use serde::{Deserialize, Serialize};

use crate::fault::FaultKind;

/// A kind of machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineKind {
    /// Flour silo with a discharge auger.
    Silo,
    /// Spiral mixer with a chilled jacket.
    Mixer,
    /// Proofing chamber heated by elements and humidified by steam.
    Proofer,
    /// Electric tunnel oven with six zones.
    Oven,
    /// Cooling conveyor behind the oven.
    Conveyor,
    /// Metal detector with a reject arm.
    MetalDetector,
    /// Flow packer with a sealing jaw.
    Packer,
    /// Water chiller.
    Chiller,
    /// Screw air compressor with a receiver.
    Compressor,
    /// Gas-fired steam boiler.
    Boiler,
}

impl MachineKind {
    /// Every kind, in the order of the line, utilities last.
    pub const ALL: [MachineKind; 10] = [
        MachineKind::Silo,
        MachineKind::Mixer,
        MachineKind::Proofer,
        MachineKind::Oven,
        MachineKind::Conveyor,
        MachineKind::MetalDetector,
        MachineKind::Packer,
        MachineKind::Chiller,
        MachineKind::Compressor,
        MachineKind::Boiler,
    ];

    /// Returns the first part of a device's name, which is also the Thing's attribute `type`.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            MachineKind::Silo => "silo",
            MachineKind::Mixer => "mixer",
            MachineKind::Proofer => "proofer",
            MachineKind::Oven => "oven",
            MachineKind::Conveyor => "conveyor",
            MachineKind::MetalDetector => "metal-detector",
            MachineKind::Packer => "packer",
            MachineKind::Chiller => "chiller",
            MachineKind::Compressor => "compressor",
            MachineKind::Boiler => "boiler",
        }
    }

    /// Returns the name of the template in `configs/thing-templates.json`.
    #[must_use]
    pub fn template_name(self) -> &'static str {
        match self {
            MachineKind::Silo => "silo",
            MachineKind::Mixer => "spiral-mixer",
            MachineKind::Proofer => "proofer",
            MachineKind::Oven => "tunnel-oven",
            MachineKind::Conveyor => "cooling-conveyor",
            MachineKind::MetalDetector => "metal-detector",
            MachineKind::Packer => "packer",
            MachineKind::Chiller => "chiller",
            MachineKind::Compressor => "air-compressor",
            MachineKind::Boiler => "steam-boiler",
        }
    }

    /// Returns the definition that a Thing made from the template carries.
    #[must_use]
    pub fn definition(self) -> String {
        format!("openegiz:{}:1.0.0", self.template_name())
    }

    /// Returns the faults that a machine of this kind can suffer.
    #[must_use]
    pub fn faults(self) -> &'static [FaultKind] {
        use FaultKind::{
            BearingWear, HeaterElementLoss, PhaseImbalance, PowerFactorDrop, RefrigerantLoss, SensorDrift,
            StuckSensor,
        };
        match self {
            MachineKind::Oven => {
                &[HeaterElementLoss, BearingWear, PhaseImbalance, PowerFactorDrop, SensorDrift, StuckSensor]
            }
            MachineKind::Proofer => {
                &[HeaterElementLoss, PhaseImbalance, PowerFactorDrop, SensorDrift, StuckSensor]
            }
            MachineKind::Chiller => {
                &[RefrigerantLoss, BearingWear, PhaseImbalance, PowerFactorDrop, SensorDrift, StuckSensor]
            }
            MachineKind::Silo | MachineKind::MetalDetector => {
                &[PhaseImbalance, PowerFactorDrop, SensorDrift, StuckSensor]
            }
            MachineKind::Mixer
            | MachineKind::Conveyor
            | MachineKind::Packer
            | MachineKind::Compressor
            | MachineKind::Boiler => {
                &[BearingWear, PhaseImbalance, PowerFactorDrop, SensorDrift, StuckSensor]
            }
        }
    }
}
