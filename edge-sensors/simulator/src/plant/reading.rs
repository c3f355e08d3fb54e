//! What the sensors make of the plant's state: noise, resolution, drift, and sensors that are stuck.

use super::block::{BLOCK_MACHINES, Block, LINE_MACHINES};
use super::line::Line;
use super::machine::State;
use super::utilities::{CHILLED_WATER_CELSIUS, Utilities};
use crate::fault::FaultKind;
use crate::kind::MachineKind;
use crate::property::{Form, OVEN_ZONES, Property, leading_sensor, position, properties};

/// A measured value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// One number, a multiple of the property's step.
    Number(f64),
    /// One number per zone.
    Zones([f64; OVEN_ZONES]),
    /// A word.
    Text(&'static str),
}

impl Value {
    /// Returns the number, or the zone's number; `None` for a text and for a zone that does not exist.
    #[must_use]
    pub fn number(&self, element: usize) -> Option<f64> {
        match self {
            Value::Number(value) => Some(*value),
            Value::Zones(values) => values.get(element).copied(),
            Value::Text(_) => None,
        }
    }
}

/// What one machine's sensors read at one instant, in the order of [`properties`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Kind of the machine.
    pub kind: MachineKind,
    /// One value per property.
    pub values: Vec<Value>,
}

impl Sample {
    /// Returns a value by the names of feature and property.
    #[must_use]
    pub fn get(&self, feature: &str, name: &str) -> Option<Value> {
        self.values.get(position(self.kind, feature, name)?).copied()
    }

    /// Returns a number by its signal path, `feature/property` or `feature/property/index`.
    #[must_use]
    pub fn signal(&self, path: &str) -> Option<f64> {
        let mut parts = path.split('/');
        let value = self.get(parts.next()?, parts.next()?)?;
        value.number(parts.next().map_or(Some(0), |index| index.parse().ok())?)
    }
}

/// Reads the sensors of one machine.
pub(crate) fn read(block: &mut Block, slot: usize) -> Sample {
    debug_assert!(slot < BLOCK_MACHINES);
    let kind = block.machine(slot).kind;
    let mut values = Vec::with_capacity(24);
    match slot.checked_sub(2 * LINE_MACHINES) {
        Some(utility) => push_utility(&block.utilities, utility, &mut values),
        None => push_station(&block.lines[slot / LINE_MACHINES], slot % LINE_MACHINES, &mut values),
    }
    let machine = block.machine(slot);
    for value in machine.volts.into_iter().chain(machine.amperes) {
        values.push(Value::Number(value));
    }
    for value in [machine.power_factor, machine.power_kw, machine.energy_kwh, machine.frequency_hz] {
        values.push(Value::Number(value));
    }
    debug_assert_eq!(values.len(), properties(kind).count(), "{kind:?}");
    disturb(block, slot, kind, &mut values);
    Sample { kind, values }
}

/// Adds noise and sensor faults, then rounds to the sensor's step.
fn disturb(block: &mut Block, slot: usize, kind: MachineKind, values: &mut [Value]) {
    let (feature, name) = leading_sensor(kind);
    let leading = position(kind, feature, name);
    let machine = block.machine_mut(slot);
    let drift = machine.effects.severity(FaultKind::SensorDrift);
    let drifting = machine.effects.element(FaultKind::SensorDrift);
    let is_stuck = machine.effects.severity(FaultKind::StuckSensor) > 0.0;
    let stuck = machine.effects.element(FaultKind::StuckSensor);
    if !is_stuck {
        machine.held = None;
    }
    for (index, (property, value)) in properties(kind).zip(values.iter_mut()).enumerate() {
        let is_leading = leading == Some(index);
        let noise = &mut machine.sensor_noise;
        let held = &mut machine.held;
        let mut measure = |element: usize, number: &mut f64, step: f64| {
            *number += deviation(property, *number) * noise.normal();
            if is_leading && drift > 0.0 && element == drifting {
                *number += drift * drift_span(kind);
            }
            if property.unit != "°C" {
                *number = number.max(0.0);
            }
            if property.name == "power_factor" {
                *number = number.min(1.0);
            }
            *number = (*number / step).round() * step;
            if is_leading && is_stuck && element == stuck {
                *number = *held.get_or_insert(*number);
            }
        };
        match (value, property.form) {
            (Value::Number(number), Form::Number { step }) => measure(0, number, step),
            (Value::Zones(numbers), Form::Zones { step }) => {
                for (element, number) in numbers.iter_mut().enumerate() {
                    measure(element, number, step);
                }
            }
            (Value::Text(_), Form::Text) => {}
            (value, form) => debug_assert!(false, "{} is {value:?}, not {form:?}", property.name),
        }
    }
}

/// How far a drifting sensor is off at the end.
fn drift_span(kind: MachineKind) -> f64 {
    match kind {
        MachineKind::Oven => 25.0,
        MachineKind::MetalDetector => 30.0,
        MachineKind::Boiler => 1.5,
        MachineKind::Packer => 15.0,
        _ => 8.0,
    }
}

/// Standard deviation of a sensor's noise. Counters, setpoints and what a controller reports have none.
fn deviation(property: &Property, value: f64) -> f64 {
    let name = property.name;
    if name.starts_with("setpoint") || name.starts_with("heater_duty") || name.contains("_total") {
        return 0.0;
    }
    match (property.unit, name) {
        ("°C", _) => match property.form {
            Form::Number { step } | Form::Zones { step } if step == 0.25 => 0.3,
            _ => 0.05,
        },
        ("mm/s", _) => 0.02 + 0.035 * value,
        ("V", _) => 0.25,
        ("A" | "rpm", _) => 0.003 * value,
        ("kW" | "m/min", _) => 0.002 * value,
        ("m³/min" | "kg/h", _) => 0.01 * value,
        ("bar", _) => 0.008,
        ("K", _) => 0.2,
        ("Hz", _) => 0.01,
        ("%", "humidity_percent") => 0.4,
        ("%", "signal_percent") => 1.1,
        ("%", "level_percent" | "water_level_percent") => 0.05,
        (_, "power_factor") => 0.003,
        _ => 0.0,
    }
}

fn push_station(line: &Line, station: usize, values: &mut Vec<Value>) {
    let machine = &line.machines[station];
    let (batch, recipe) = line.batch_at(station);
    let state = Value::Text(machine.state.name());
    let recipe = Value::Text(recipe);
    let number = Value::Number;
    let (batch, bearing, vibration) =
        (number(batch), number(machine.bearing_celsius), number(machine.vibration_mm_s));
    let (oven_belt, cooling_belt) = line.belt_m_min();
    match machine.kind {
        MachineKind::Silo => values.extend([
            number(100.0 * line.flour_kg / super::line::SILO_KG),
            number(line.flour_kg),
            number(line.flour_celsius),
            number(48.0 * machine.speed),
            state,
            recipe,
            number(line.dispensed_kg),
        ]),
        MachineKind::Mixer => values.extend([
            number(line.dough_celsius),
            bearing,
            vibration,
            number(200.0 * machine.speed),
            state,
            recipe,
            batch,
            number(line.mixing_percent()),
            number(f64::from(line.batches_total)),
            number(line.dough_kg_total),
        ]),
        MachineKind::Proofer => values.extend([
            number(line.proofer_zone.celsius),
            number(if machine.state == State::Idle { 0.0 } else { line.proofer_recipe().proof_celsius }),
            number(line.humidity_percent),
            number(100.0 * line.proofer_zone.duty),
            state,
            recipe,
            batch,
            number(line.batches_in_proofer() as f64),
        ]),
        MachineKind::Oven => values.extend([
            Value::Zones(line.zones.map(|zone| zone.celsius)),
            Value::Zones(if is_heated(machine.state) {
                line.oven_recipe().oven_celsius
            } else {
                [0.0; OVEN_ZONES]
            }),
            Value::Zones(line.zones.map(|zone| 100.0 * zone.duty)),
            number(line.core_celsius),
            bearing,
            vibration,
            number(if machine.state == State::Running { oven_belt } else { 0.0 }),
            state,
            recipe,
            batch,
            number(line.baked_total as f64),
            number(line.per_minute[0]),
        ]),
        MachineKind::Conveyor => values.extend([
            number(line.outlet_celsius),
            number(line.air_celsius),
            bearing,
            vibration,
            number(1440.0 * machine.speed),
            number(cooling_belt * machine.speed),
            state,
            recipe,
            batch,
            number(line.per_minute[1]),
        ]),
        MachineKind::MetalDetector => values.extend([
            number(line.signal_percent),
            state,
            recipe,
            batch,
            number(line.detected_total as f64),
            number(line.rejects_total as f64),
            number(line.per_minute[2]),
        ]),
        _ => values.extend([
            number(line.seal_zone.celsius),
            bearing,
            vibration,
            number(1440.0 * machine.speed),
            number(line.air_bar),
            number(line.film_percent),
            state,
            recipe,
            batch,
            number(line.packs_total as f64),
            number(line.per_minute[3]),
        ]),
    }
}

fn is_heated(state: State) -> bool {
    matches!(state, State::Running | State::Blocked | State::Preheating | State::Waiting)
}

fn push_utility(utilities: &Utilities, index: usize, values: &mut Vec<Value>) {
    let machine = &utilities.machines[index];
    let state = Value::Text(machine.state.name());
    let number = Value::Number;
    let (bearing, vibration, speed) =
        (number(machine.bearing_celsius), number(machine.vibration_mm_s), number(2940.0 * machine.speed));
    match machine.kind {
        MachineKind::Chiller => {
            let chiller = utilities.chillers[index];
            values.extend([
                number(chiller.supply_celsius),
                number(utilities.loop_celsius),
                number(CHILLED_WATER_CELSIUS),
                bearing,
                number(chiller.suction_bar),
                number(chiller.discharge_bar),
                number(chiller.superheat_kelvin),
                vibration,
                speed,
                state,
                number(100.0 * utilities.capacity),
            ]);
        }
        MachineKind::Compressor => values.extend([
            number(utilities.air_bar),
            number(utilities.air_m3_min),
            number(utilities.oil_celsius),
            bearing,
            vibration,
            speed,
            state,
            Value::Text(utilities.compressor_mode()),
        ]),
        _ => values.extend([
            number(utilities.steam_bar),
            number(utilities.steam_kg_h),
            number(utilities.water_percent),
            number(utilities.flue_celsius),
            bearing,
            vibration,
            speed,
            state,
            number(100.0 * utilities.firing),
        ]),
    }
}
