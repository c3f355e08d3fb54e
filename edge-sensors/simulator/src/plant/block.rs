//! A block: two lines and their utilities, eighteen machines. Larger plants are more blocks.

use super::line::{Demand, Line, SILO_KG, Surroundings};
use super::machine::{Machine, Supply};
use super::utilities::Utilities;
use crate::kind::MachineKind;
use crate::noise::Noise;
use crate::shift::{ShiftPlan, ambient_celsius};

/// Machines in one line.
pub(crate) const LINE_MACHINES: usize = 7;
/// Machines in a block.
pub(crate) const BLOCK_MACHINES: usize = 2 * LINE_MACHINES + 4;

/// Two lines and their utilities.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Block {
    pub(crate) lines: [Line; 2],
    pub(crate) utilities: Utilities,
}

impl Block {
    /// Makes a cold block.
    pub(crate) fn new(hall_celsius: f64) -> Self {
        Block {
            lines: [Line::new(hall_celsius), Line::new(hall_celsius)],
            utilities: Utilities::new(hall_celsius),
        }
    }

    /// Gives block number `block` its own random streams, small differences, stocks and batch numbers.
    pub(crate) fn individualise(&mut self, seed: u64, block: usize) {
        let first_stream = (block * (BLOCK_MACHINES + 2)) as u64;
        for slot in 0..BLOCK_MACHINES {
            self.machine_mut(slot).individualise(seed, first_stream + slot as u64);
        }
        for (index, line) in self.lines.iter_mut().enumerate() {
            line.chance = Noise::new(seed, first_stream + (BLOCK_MACHINES + index) as u64);
            line.flour_kg = SILO_KG * line.chance.range(0.35, 0.9);
            line.film_percent = line.chance.range(20.0, 100.0);
            line.batch_base = (2 * block + index + 1) as u32 * 100_000;
        }
    }

    /// Advances by `dt_s`, at most about two seconds.
    pub(crate) fn step(&mut self, dt_s: f64, time_of_day_s: f64, plan: ShiftPlan, supply: &Supply) {
        let hall_celsius = ambient_celsius(time_of_day_s);
        let around = Surroundings {
            mode: plan.mode(time_of_day_s),
            tanker_may_come: (7.0 * 3600.0..18.0 * 3600.0).contains(&time_of_day_s),
            hall_celsius,
            chilled_water_celsius: self.utilities.chilled_water_celsius(),
            steam_bar: self.utilities.steam_bar,
            air_bar: self.utilities.air_bar,
        };
        let mut demand = Demand::default();
        for line in &mut self.lines {
            let of_line = line.step(dt_s, &around);
            demand.cooling_kw += of_line.cooling_kw;
            demand.steam_kg_h += of_line.steam_kg_h;
            demand.air_m3_min += of_line.air_m3_min;
        }
        self.utilities.step(dt_s, hall_celsius, &demand);
        for line in &mut self.lines {
            for machine in &mut line.machines {
                machine.settle(dt_s, supply, hall_celsius);
            }
        }
        for machine in &mut self.utilities.machines {
            machine.settle(dt_s, supply, hall_celsius);
        }
    }

    pub(crate) fn machine(&self, slot: usize) -> &Machine {
        match slot.checked_sub(2 * LINE_MACHINES) {
            Some(utility) => &self.utilities.machines[utility],
            None => &self.lines[slot / LINE_MACHINES].machines[slot % LINE_MACHINES],
        }
    }

    pub(crate) fn machine_mut(&mut self, slot: usize) -> &mut Machine {
        match slot.checked_sub(2 * LINE_MACHINES) {
            Some(utility) => &mut self.utilities.machines[utility],
            None => &mut self.lines[slot / LINE_MACHINES].machines[slot % LINE_MACHINES],
        }
    }
}

/// Returns the kind of the machine with this index in the plant, and its number among its kind, from 1.
pub(crate) fn place(index: usize) -> (MachineKind, usize) {
    let (block, slot) = (index / BLOCK_MACHINES, index % BLOCK_MACHINES);
    match slot.checked_sub(2 * LINE_MACHINES) {
        None => (MachineKind::ALL[slot % LINE_MACHINES], 2 * block + slot / LINE_MACHINES + 1),
        Some(utility @ (0 | 1)) => (MachineKind::Chiller, 2 * block + utility + 1),
        Some(2) => (MachineKind::Compressor, block + 1),
        Some(_) => (MachineKind::Boiler, block + 1),
    }
}
