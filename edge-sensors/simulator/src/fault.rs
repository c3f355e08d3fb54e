//! Faults: their kinds, how they develop, what they show, and the record of the truth.
//!
//! ```text
//!  scheduled ──onset──► developing ──detectable──► developing ──failure──► failed ──repaired──► gone
//! ```
//!
//! A fault's severity goes from 0 at the onset to 1 at the failure, along a curve that is typical of its kind.
//! What a severity does to a machine's physics is in `plant`.

use serde::{Deserialize, Serialize};

use crate::kind::MachineKind;
use crate::property::{OVEN_ZONES, leading_sensor};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Heating elements of one zone burn out: duty rises, one phase's current falls, then the zone cools.
    HeaterElementLoss,
    /// A bearing wears: vibration and bearing temperature rise, a little more current; at last the machine trips.
    BearingWear,
    /// A corroded contact: one phase's voltage falls and the currents part; at last the machine trips.
    PhaseImbalance,
    /// Compensation capacitors drop out one after the other: power factor falls, currents rise, power stays.
    PowerFactorDrop,
    /// A sensor reads more and more too high.
    SensorDrift,
    /// A sensor repeats one value.
    StuckSensor,
    /// A chiller loses refrigerant: suction pressure falls, superheat and supply temperature rise; at last it trips.
    RefrigerantLoss,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [FaultKind; 7] = [
        FaultKind::HeaterElementLoss,
        FaultKind::BearingWear,
        FaultKind::PhaseImbalance,
        FaultKind::PowerFactorDrop,
        FaultKind::SensorDrift,
        FaultKind::StuckSensor,
        FaultKind::RefrigerantLoss,
    ];

    /// Returns the name used in configuration and in the truth.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::HeaterElementLoss => "heater_element_loss",
            FaultKind::BearingWear => "bearing_wear",
            FaultKind::PhaseImbalance => "phase_imbalance",
            FaultKind::PowerFactorDrop => "power_factor_drop",
            FaultKind::SensorDrift => "sensor_drift",
            FaultKind::StuckSensor => "stuck_sensor",
            FaultKind::RefrigerantLoss => "refrigerant_loss",
        }
    }

    /// Returns the severity, `0.0..=1.0`, when the share `progress` of the development time has passed.
    #[must_use]
    pub fn severity(self, progress: f64) -> f64 {
        let x = progress.clamp(0.0, 1.0);
        match self {
            // Wear feeds on itself: little for long, then fast.
            FaultKind::BearingWear => ((4.0 * x).exp() - 1.0) / (4.0_f64.exp() - 1.0),
            FaultKind::PhaseImbalance => x * x,
            // Four capacitors, one at a time, the first at the onset.
            FaultKind::PowerFactorDrop => (((x * 4.0).floor() + 1.0) / 4.0).min(1.0),
            FaultKind::StuckSensor => 1.0,
            FaultKind::HeaterElementLoss | FaultKind::SensorDrift | FaultKind::RefrigerantLoss => x,
        }
    }

    /// Returns the severity from which the fault stands out of the noise of a running machine.
    #[must_use]
    pub fn detectable_severity(self) -> f64 {
        match self {
            FaultKind::BearingWear | FaultKind::PhaseImbalance => 0.15,
            FaultKind::HeaterElementLoss | FaultKind::SensorDrift | FaultKind::RefrigerantLoss => 0.2,
            FaultKind::PowerFactorDrop => 0.25,
            FaultKind::StuckSensor => 1.0,
        }
    }

    /// Reports whether the failure stops the machine until it is repaired.
    #[must_use]
    pub fn trips(self) -> bool {
        matches!(self, FaultKind::BearingWear | FaultKind::PhaseImbalance | FaultKind::RefrigerantLoss)
    }

    /// Returns how many places of a machine the fault can strike: zones, phases, or one.
    #[must_use]
    pub fn elements(self, kind: MachineKind) -> usize {
        match self {
            FaultKind::PhaseImbalance => 3,
            FaultKind::HeaterElementLoss | FaultKind::SensorDrift | FaultKind::StuckSensor
                if kind == MachineKind::Oven =>
            {
                OVEN_ZONES
            }
            _ => 1,
        }
    }

    /// Returns the signals in which the fault shows first, the strongest first, as `feature/property` or
    /// `feature/property/index`. `element` is the zone or the phase, counted from 0.
    #[must_use]
    pub fn signals(self, kind: MachineKind, element: usize) -> Vec<String> {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        match self {
            FaultKind::HeaterElementLoss if kind == MachineKind::Oven => vec![
                format!("thermal/heater_duty_zones/{element}"),
                format!("thermal/temperature_zones/{element}"),
                format!("electrical/current_l{}", element % 3 + 1),
            ],
            FaultKind::HeaterElementLoss => texts(&[
                "thermal/heater_duty_percent",
                "thermal/chamber_temperature_celsius",
                "electrical/current_l1",
            ]),
            FaultKind::BearingWear => {
                texts(&["mechanical/vibration_rms_mm_s", "thermal/bearing_temperature_celsius"])
            }
            FaultKind::PhaseImbalance => {
                let phase = element % 3 + 1;
                vec![format!("electrical/voltage_l{phase}"), format!("electrical/current_l{phase}")]
            }
            FaultKind::PowerFactorDrop => texts(&[
                "electrical/power_factor",
                "electrical/current_l1",
                "electrical/current_l2",
                "electrical/current_l3",
            ]),
            FaultKind::SensorDrift | FaultKind::StuckSensor => {
                let (feature, property) = leading_sensor(kind);
                if kind == MachineKind::Oven {
                    vec![format!("{feature}/{property}/{element}")]
                } else {
                    vec![format!("{feature}/{property}")]
                }
            }
            FaultKind::RefrigerantLoss => texts(&[
                "refrigeration/superheat_kelvin",
                "refrigeration/suction_pressure_bar",
                "thermal/supply_temperature_celsius",
            ]),
        }
    }
}

/// What happened to a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TruthKind {
    /// The fault began; nothing can be seen yet.
    Onset,
    /// The fault stands out of the noise while the machine runs.
    Detectable,
    /// The fault is complete.
    Failure,
    /// The fault is gone.
    Repaired,
}

/// One line of the truth about the faults, without a wall clock.
#[derive(Debug, Clone, PartialEq)]
pub struct TruthEvent {
    /// Simulated seconds since the start.
    pub elapsed_s: f64,
    /// Number of the fault since the start, from 1; the events of one fault share it.
    pub episode: u64,
    /// Index of the machine in the plant.
    pub machine: usize,
    /// Name of the device.
    pub device: String,
    /// Kind of the fault.
    pub fault: FaultKind,
    /// What happened.
    pub event: TruthKind,
    /// Severity at that time, `0.0..=1.0`.
    pub severity: f64,
    /// Signals that show the fault, the strongest first.
    pub signals: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::FaultKind;
    use crate::kind::MachineKind;
    use crate::property::position;

    #[test]
    fn severity_never_falls_and_ends_at_one() {
        for kind in FaultKind::ALL {
            let curve: Vec<f64> = (0..=100).map(|step| kind.severity(f64::from(step) / 100.0)).collect();
            assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]), "{}", kind.name());
            assert!((curve[100] - 1.0).abs() < 1e-9, "{}", kind.name());
        }
    }

    #[test]
    fn every_named_signal_is_a_property_of_the_machine() {
        for machine in MachineKind::ALL {
            for fault in machine.faults() {
                for element in 0..fault.elements(machine) {
                    for signal in fault.signals(machine, element) {
                        let mut parts = signal.split('/');
                        let (feature, property) = (parts.next().unwrap(), parts.next().unwrap());
                        assert!(position(machine, feature, property).is_some(), "{machine:?} {signal}");
                    }
                }
            }
        }
    }
}
