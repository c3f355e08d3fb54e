//! Chilled water, compressed air and steam: what the lines take, and the machines that keep up with it.

use super::line::{Demand, approach};
use super::machine::{Machine, State};
use crate::fault::FaultKind;
use crate::kind::MachineKind;

/// Setpoint of the chilled water, °C.
pub(crate) const CHILLED_WATER_CELSIUS: f64 = 6.0;
/// Cooling capacity of a sound chiller, kW.
const CHILLER_KW: f64 = 62.0;
/// Heat capacity of the water loop, kJ/K, and of the flow through one chiller, kW/K.
const LOOP_KJ_K: f64 = 4500.0;
const CHILLER_FLOW_KW_K: f64 = 12.0;
/// Receiver's volume at 1 bar, m³, and what leaks out of the net.
const RECEIVER_M3: f64 = 4.0;
const LEAK_M3_MIN: f64 = 0.5;
const COMPRESSOR_M3_MIN: f64 = 5.2;
/// The compressor loads below the first and unloads above the second pressure.
const LOAD_BAR: f64 = 6.8;
const UNLOAD_BAR: f64 = 7.5;
/// It stops after running unloaded for so long, s.
const UNLOADED_S: f64 = 600.0;
/// Setpoint of the boiler, bar, and its capacity, kg/h.
const STEAM_BAR: f64 = 8.0;
const BOILER_KG_H: f64 = 900.0;

/// One chiller beside its machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Chiller {
    pub(crate) supply_celsius: f64,
    pub(crate) suction_bar: f64,
    pub(crate) discharge_bar: f64,
    pub(crate) superheat_kelvin: f64,
}

/// The utilities of a block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Utilities {
    /// Two chillers, compressor, boiler.
    pub(crate) machines: [Machine; 4],
    pub(crate) chillers: [Chiller; 2],
    pub(crate) loop_celsius: f64,
    integral: f64,
    pub(crate) capacity: f64,

    pub(crate) air_bar: f64,
    pub(crate) air_m3_min: f64,
    pub(crate) oil_celsius: f64,
    is_loaded: bool,
    unloaded_s: f64,

    pub(crate) steam_bar: f64,
    pub(crate) steam_kg_h: f64,
    pub(crate) firing: f64,
    firing_integral: f64,
    pub(crate) water_percent: f64,
    is_feeding: bool,
    pub(crate) flue_celsius: f64,
}

impl Utilities {
    pub(crate) fn new(hall_celsius: f64) -> Self {
        let chiller = Chiller {
            supply_celsius: CHILLED_WATER_CELSIUS,
            suction_bar: 4.0,
            discharge_bar: 9.0,
            superheat_kelvin: 6.0,
        };
        let kinds =
            [MachineKind::Chiller, MachineKind::Chiller, MachineKind::Compressor, MachineKind::Boiler];
        Utilities {
            machines: kinds.map(Machine::new),
            chillers: [chiller; 2],
            loop_celsius: CHILLED_WATER_CELSIUS + 3.0,
            integral: 0.2,
            capacity: 0.2,
            air_bar: 7.0,
            air_m3_min: LEAK_M3_MIN,
            oil_celsius: hall_celsius,
            is_loaded: false,
            unloaded_s: 0.0,
            steam_bar: STEAM_BAR,
            steam_kg_h: 0.0,
            firing: 0.1,
            firing_integral: 0.1,
            water_percent: 60.0,
            is_feeding: false,
            flue_celsius: 120.0,
        }
    }

    /// Temperature of the water that the lines get: the mean of the running chillers', else the loop's.
    pub(crate) fn chilled_water_celsius(&self) -> f64 {
        (self.chillers[0].supply_celsius + self.chillers[1].supply_celsius) / 2.0
    }

    pub(crate) fn step(&mut self, dt_s: f64, hall_celsius: f64, demand: &Demand) {
        self.step_chillers(dt_s, hall_celsius, demand.cooling_kw);
        self.step_compressor(dt_s, hall_celsius, demand.air_m3_min);
        self.step_boiler(dt_s, hall_celsius, demand.steam_kg_h);
    }

    fn step_chillers(&mut self, dt_s: f64, hall_celsius: f64, cooling_kw: f64) {
        let error = self.chilled_water_celsius() - CHILLED_WATER_CELSIUS;
        self.integral = (self.integral + 0.12 * error * dt_s / 240.0).clamp(0.0, 1.0);
        self.capacity = (0.12 * error + self.integral).clamp(0.08, 1.0);
        let heat_kw = cooling_kw + 4.0 + 0.25 * (hall_celsius - self.loop_celsius);
        let mut cooled_kw = 0.0;
        for (chiller, machine) in self.chillers.iter_mut().zip(&mut self.machines) {
            let lost = machine.effects.severity(FaultKind::RefrigerantLoss);
            let running = f64::from(u8::from(machine.is_available()));
            // Below four degrees the frost guard takes power back.
            let guard = ((self.loop_celsius - 4.0) / 2.0).clamp(0.0, 1.0);
            let power_kw = CHILLER_KW * self.capacity * running * (1.0 - 0.75 * lost) * guard;
            cooled_kw += power_kw;
            approach(
                &mut chiller.supply_celsius,
                self.loop_celsius - power_kw / CHILLER_FLOW_KW_K,
                dt_s,
                40.0,
            );
            let suction = if running > 0.0 { 3.6 - 0.5 * self.capacity - 1.7 * lost } else { 4.6 };
            approach(&mut chiller.suction_bar, suction, dt_s, 20.0);
            let discharge = if running > 0.0 {
                11.5 + 0.3 * (hall_celsius - 20.0) + 2.5 * self.capacity - 2.4 * lost
            } else {
                6.0
            };
            approach(&mut chiller.discharge_bar, discharge, dt_s, 20.0);
            approach(&mut chiller.superheat_kelvin, 6.0 + 15.0 * lost, dt_s, 60.0);
            // Less refrigerant to move: the compressor turns as fast but pulls less.
            let load = (0.15 + 0.8 * self.capacity) * (1.0 - 0.25 * lost);
            machine.drive(State::Running, load, 0.5 + 0.5 * self.capacity);
        }
        self.loop_celsius += (heat_kw - cooled_kw) * dt_s / LOOP_KJ_K;
        // A dead loop warms no further than the hall: product heat then stays in the product.
        self.loop_celsius = self.loop_celsius.clamp(2.0, hall_celsius.max(12.0));
    }

    fn step_compressor(&mut self, dt_s: f64, hall_celsius: f64, used_m3_min: f64) {
        let machine = &mut self.machines[2];
        self.is_loaded = self.air_bar < LOAD_BAR || (self.is_loaded && self.air_bar < UNLOAD_BAR);
        self.unloaded_s = if self.is_loaded { 0.0 } else { self.unloaded_s + dt_s };
        let pressure = (self.air_bar / LOAD_BAR).clamp(0.0, 1.0);
        self.air_m3_min = (used_m3_min + LEAK_M3_MIN) * pressure;
        let made = if self.is_loaded && machine.is_available() { COMPRESSOR_M3_MIN } else { 0.0 };
        self.air_bar = (self.air_bar + (made - self.air_m3_min) * dt_s / 60.0 / RECEIVER_M3).max(0.0);
        match (self.is_loaded, self.unloaded_s < UNLOADED_S) {
            (true, _) => machine.drive(State::Running, 0.92, 1.0),
            (false, true) => machine.drive(State::Running, 0.33, 1.0),
            (false, false) => machine.drive(State::Waiting, 0.0, 0.0),
        }
        let target = match (machine.is_available() && machine.speed > 0.0, self.is_loaded) {
            (false, _) => hall_celsius,
            (true, true) => hall_celsius + 66.0,
            (true, false) => hall_celsius + 42.0,
        };
        approach(&mut self.oil_celsius, target, dt_s, 400.0);
    }

    /// What the compressor does, as published.
    pub(crate) fn compressor_mode(&self) -> &'static str {
        match (self.machines[2].speed > 0.0, self.is_loaded) {
            (false, _) => "stopped",
            (true, true) => "loaded",
            (true, false) => "unloaded",
        }
    }

    fn step_boiler(&mut self, dt_s: f64, hall_celsius: f64, used_kg_h: f64) {
        let machine = &mut self.machines[3];
        let error = STEAM_BAR - self.steam_bar;
        self.firing_integral = (self.firing_integral + 0.6 * error * dt_s / 120.0).clamp(0.0, 1.0);
        let wanted = (0.6 * error + self.firing_integral).clamp(0.0, 1.0);
        let firing = if machine.is_available() { wanted } else { 0.0 };
        approach(&mut self.firing, firing, dt_s, 8.0);
        let pressure = (self.steam_bar / STEAM_BAR).clamp(0.0, 1.2);
        approach(&mut self.steam_kg_h, used_kg_h * pressure.min(1.0), dt_s, 10.0);
        // Heat lost through the shell condenses some 25 kg/h.
        let balance_kg_h = BOILER_KG_H * self.firing - self.steam_kg_h - 25.0 * pressure;
        self.steam_bar = (self.steam_bar + balance_kg_h * dt_s / 3600.0 / 6.0).clamp(0.0, 10.5);
        self.is_feeding = self.water_percent < 55.0 || (self.is_feeding && self.water_percent < 65.0);
        let feeding = if self.is_feeding && machine.is_available() { 1500.0 } else { 0.0 };
        self.water_percent += (feeding - self.steam_kg_h - 25.0 * pressure) * dt_s / 3600.0 / 12.0;
        self.water_percent = self.water_percent.clamp(0.0, 100.0);
        let flue = if self.firing > 0.02 { 130.0 + 95.0 * self.firing } else { hall_celsius + 40.0 };
        approach(&mut self.flue_celsius, flue, dt_s, 120.0);
        let pump = if feeding > 0.0 { 0.25 } else { 0.0 };
        machine.drive(State::Running, 0.25 + 0.45 * self.firing + pump, 0.55 + 0.45 * self.firing);
    }
}
