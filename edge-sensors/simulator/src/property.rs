//! What each kind of machine measures: features, properties, units and the resolution of the sensor.
//!
//! One table per kind; telemetry, the `meta` message, sensor faults and the check of the templates all read it,
//! so that a property exists in one place. A kind's own properties come first, the electrical meter's last.
//!
//! Source of the resolutions: Maxim DS18B20 datasheet (12 bit: 0.0625 °C, to 125 °C); MAX31855 datasheet
//! (thermocouple: 0.25 °C) where it is hotter; PZEM-004T v3 register table (0.1 V, 0.001 A, 0.1 W, 1 Wh,
//! 0.01 power factor, 0.1 Hz).

use crate::kind::MachineKind;

/// Number of zones of the oven.
pub const OVEN_ZONES: usize = 6;

/// One property of a feature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Property {
    /// Name of the feature: the top-level object in the payload.
    pub feature: &'static str,
    /// Name of the property inside the feature.
    pub name: &'static str,
    /// Unit, empty for texts and counts.
    pub unit: &'static str,
    /// Shape and resolution of the value.
    pub form: Form,
}

/// Shape of a property's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// One number in multiples of `step`.
    Number {
        /// Resolution of the sensor, in the property's unit.
        step: f64,
    },
    /// An array of [`OVEN_ZONES`] numbers in multiples of `step`.
    Zones {
        /// Resolution of the sensor, in the property's unit.
        step: f64,
    },
    /// A word from a small vocabulary.
    Text,
}

const fn number(feature: &'static str, name: &'static str, unit: &'static str, step: f64) -> Property {
    Property { feature, name, unit, form: Form::Number { step } }
}

const fn zones(feature: &'static str, name: &'static str, unit: &'static str, step: f64) -> Property {
    Property { feature, name, unit, form: Form::Zones { step } }
}

const fn text(feature: &'static str, name: &'static str) -> Property {
    Property { feature, name, unit: "", form: Form::Text }
}

/// Resolution of a DS18B20 at 12 bit, °C.
const DS18B20: f64 = 0.0625;
/// Resolution of a thermocouple behind a MAX31855, °C.
const THERMOCOUPLE: f64 = 0.25;

/// The electrical meter that every machine carries.
pub const ELECTRICAL: [Property; 10] = [
    number("electrical", "voltage_l1", "V", 0.1),
    number("electrical", "voltage_l2", "V", 0.1),
    number("electrical", "voltage_l3", "V", 0.1),
    number("electrical", "current_l1", "A", 0.001),
    number("electrical", "current_l2", "A", 0.001),
    number("electrical", "current_l3", "A", 0.001),
    number("electrical", "power_factor", "", 0.01),
    number("electrical", "active_power_kw", "kW", 0.0001),
    number("electrical", "energy_kwh", "kWh", 0.001),
    number("electrical", "frequency_hz", "Hz", 0.1),
];

const SILO: [Property; 7] = [
    number("level", "level_percent", "%", 0.1),
    number("level", "mass_kg", "kg", 1.0),
    number("thermal", "flour_temperature_celsius", "°C", DS18B20),
    number("mechanical", "auger_speed_rpm", "rpm", 1.0),
    text("process", "state"),
    text("process", "recipe"),
    number("production", "dispensed_kg_total", "kg", 0.1),
];

const MIXER: [Property; 10] = [
    number("thermal", "dough_temperature_celsius", "°C", DS18B20),
    number("thermal", "bearing_temperature_celsius", "°C", DS18B20),
    number("mechanical", "vibration_rms_mm_s", "mm/s", 0.01),
    number("mechanical", "speed_rpm", "rpm", 1.0),
    text("process", "state"),
    text("process", "recipe"),
    number("process", "batch", "", 1.0),
    number("process", "progress_percent", "%", 0.1),
    number("production", "batches_total", "", 1.0),
    number("production", "dough_kg_total", "kg", 0.1),
];

const PROOFER: [Property; 8] = [
    number("thermal", "chamber_temperature_celsius", "°C", DS18B20),
    number("thermal", "setpoint_celsius", "°C", 0.5),
    number("thermal", "humidity_percent", "%", 0.1),
    number("thermal", "heater_duty_percent", "%", 0.1),
    text("process", "state"),
    text("process", "recipe"),
    number("process", "batch", "", 1.0),
    number("process", "batches_inside", "", 1.0),
];

const OVEN: [Property; 12] = [
    zones("thermal", "temperature_zones", "°C", THERMOCOUPLE),
    zones("thermal", "setpoint_zones", "°C", 1.0),
    zones("thermal", "heater_duty_zones", "%", 0.1),
    number("thermal", "product_temperature_celsius", "°C", DS18B20),
    number("thermal", "bearing_temperature_celsius", "°C", DS18B20),
    number("mechanical", "vibration_rms_mm_s", "mm/s", 0.01),
    number("mechanical", "belt_speed_m_min", "m/min", 0.001),
    text("process", "state"),
    text("process", "recipe"),
    number("process", "batch", "", 1.0),
    number("production", "pieces_total", "", 1.0),
    number("production", "pieces_per_min", "1/min", 1.0),
];

const CONVEYOR: [Property; 10] = [
    number("thermal", "outlet_product_celsius", "°C", DS18B20),
    number("thermal", "air_temperature_celsius", "°C", DS18B20),
    number("thermal", "bearing_temperature_celsius", "°C", DS18B20),
    number("mechanical", "vibration_rms_mm_s", "mm/s", 0.01),
    number("mechanical", "speed_rpm", "rpm", 1.0),
    number("mechanical", "belt_speed_m_min", "m/min", 0.001),
    text("process", "state"),
    text("process", "recipe"),
    number("process", "batch", "", 1.0),
    number("production", "pieces_per_min", "1/min", 1.0),
];

const METAL_DETECTOR: [Property; 7] = [
    number("detection", "signal_percent", "%", 0.1),
    text("process", "state"),
    text("process", "recipe"),
    number("process", "batch", "", 1.0),
    number("production", "pieces_total", "", 1.0),
    number("production", "rejects_total", "", 1.0),
    number("production", "pieces_per_min", "1/min", 1.0),
];

const PACKER: [Property; 11] = [
    number("thermal", "seal_temperature_celsius", "°C", THERMOCOUPLE),
    number("thermal", "bearing_temperature_celsius", "°C", DS18B20),
    number("mechanical", "vibration_rms_mm_s", "mm/s", 0.01),
    number("mechanical", "speed_rpm", "rpm", 1.0),
    number("pneumatic", "air_pressure_bar", "bar", 0.01),
    number("material", "film_remaining_percent", "%", 0.1),
    text("process", "state"),
    text("process", "recipe"),
    number("process", "batch", "", 1.0),
    number("production", "packs_total", "", 1.0),
    number("production", "packs_per_min", "1/min", 1.0),
];

const CHILLER: [Property; 11] = [
    number("thermal", "supply_temperature_celsius", "°C", DS18B20),
    number("thermal", "return_temperature_celsius", "°C", DS18B20),
    number("thermal", "setpoint_celsius", "°C", 0.5),
    number("thermal", "bearing_temperature_celsius", "°C", DS18B20),
    number("refrigeration", "suction_pressure_bar", "bar", 0.01),
    number("refrigeration", "discharge_pressure_bar", "bar", 0.01),
    number("refrigeration", "superheat_kelvin", "K", 0.1),
    number("mechanical", "vibration_rms_mm_s", "mm/s", 0.01),
    number("mechanical", "speed_rpm", "rpm", 1.0),
    text("process", "state"),
    number("process", "capacity_percent", "%", 0.1),
];

const COMPRESSOR: [Property; 8] = [
    number("pneumatic", "pressure_bar", "bar", 0.01),
    number("pneumatic", "flow_m3_min", "m³/min", 0.01),
    number("thermal", "oil_temperature_celsius", "°C", DS18B20),
    number("thermal", "bearing_temperature_celsius", "°C", DS18B20),
    number("mechanical", "vibration_rms_mm_s", "mm/s", 0.01),
    number("mechanical", "speed_rpm", "rpm", 1.0),
    text("process", "state"),
    text("process", "mode"),
];

const BOILER: [Property; 9] = [
    number("steam", "pressure_bar", "bar", 0.01),
    number("steam", "flow_kg_h", "kg/h", 1.0),
    number("steam", "water_level_percent", "%", 0.1),
    number("thermal", "flue_gas_temperature_celsius", "°C", THERMOCOUPLE),
    number("thermal", "bearing_temperature_celsius", "°C", DS18B20),
    number("mechanical", "vibration_rms_mm_s", "mm/s", 0.01),
    number("mechanical", "speed_rpm", "rpm", 1.0),
    text("process", "state"),
    number("process", "firing_percent", "%", 0.1),
];

/// Returns the properties that a kind has beside the electrical meter's.
#[must_use]
pub fn own_properties(kind: MachineKind) -> &'static [Property] {
    match kind {
        MachineKind::Silo => &SILO,
        MachineKind::Mixer => &MIXER,
        MachineKind::Proofer => &PROOFER,
        MachineKind::Oven => &OVEN,
        MachineKind::Conveyor => &CONVEYOR,
        MachineKind::MetalDetector => &METAL_DETECTOR,
        MachineKind::Packer => &PACKER,
        MachineKind::Chiller => &CHILLER,
        MachineKind::Compressor => &COMPRESSOR,
        MachineKind::Boiler => &BOILER,
    }
}

/// Returns all properties of a kind in the order of a [`crate::Sample`]'s values.
pub fn properties(kind: MachineKind) -> impl Iterator<Item = &'static Property> {
    own_properties(kind).iter().chain(ELECTRICAL.iter())
}

/// Returns the position of a property among [`properties`].
#[must_use]
pub fn position(kind: MachineKind, feature: &str, name: &str) -> Option<usize> {
    properties(kind).position(|property| property.feature == feature && property.name == name)
}

/// Returns the property that a drifting or stuck sensor of this kind shows: its leading process value.
#[must_use]
pub fn leading_sensor(kind: MachineKind) -> (&'static str, &'static str) {
    match kind {
        MachineKind::Silo => ("thermal", "flour_temperature_celsius"),
        MachineKind::Mixer => ("thermal", "bearing_temperature_celsius"),
        MachineKind::Proofer => ("thermal", "chamber_temperature_celsius"),
        MachineKind::Oven => ("thermal", "temperature_zones"),
        MachineKind::Conveyor => ("thermal", "outlet_product_celsius"),
        MachineKind::MetalDetector => ("detection", "signal_percent"),
        MachineKind::Packer => ("thermal", "seal_temperature_celsius"),
        MachineKind::Chiller => ("thermal", "supply_temperature_celsius"),
        MachineKind::Compressor => ("thermal", "oil_temperature_celsius"),
        MachineKind::Boiler => ("steam", "pressure_bar"),
    }
}
