//! The recipes that the lines bake.
//!
//! Times and temperatures are typical of industrial bread, rounded; they are no baker's instruction.

use crate::property::OVEN_ZONES;

/// What a batch is made of and how it is treated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recipe {
    /// Name as published in `process.recipe`.
    pub name: &'static str,
    /// Flour per batch, kg.
    pub flour_kg: f64,
    /// Dough per kg of flour, kg.
    pub dough_per_flour: f64,
    /// Mixing time, s.
    pub mix_s: f64,
    /// Load of the mixer's motor when the dough has developed, share of rated power.
    pub mix_load: f64,
    /// Proofing time, s.
    pub proof_s: f64,
    /// Proofer's setpoint, °C.
    pub proof_celsius: f64,
    /// Proofer's humidity, %.
    pub proof_humidity_percent: f64,
    /// Oven's setpoints, °C.
    pub oven_celsius: [f64; OVEN_ZONES],
    /// Time in the oven, s.
    pub bake_s: f64,
    /// Weight of a dough piece, kg.
    pub piece_kg: f64,
    /// Time over which a batch is fed into the oven, s.
    pub feed_s: f64,
    /// Pieces in a pack.
    pub pack_size: u32,
}

/// Every recipe.
pub const RECIPES: [Recipe; 4] = [
    Recipe {
        name: "white-bread",
        flour_kg: 160.0,
        dough_per_flour: 1.65,
        mix_s: 540.0,
        mix_load: 0.72,
        proof_s: 3000.0,
        proof_celsius: 36.0,
        proof_humidity_percent: 80.0,
        oven_celsius: [205.0, 215.0, 220.0, 220.0, 210.0, 195.0],
        bake_s: 1500.0,
        piece_kg: 0.55,
        feed_s: 700.0,
        pack_size: 1,
    },
    Recipe {
        name: "rye-bread",
        flour_kg: 170.0,
        dough_per_flour: 1.72,
        mix_s: 660.0,
        mix_load: 0.86,
        proof_s: 2700.0,
        proof_celsius: 33.0,
        proof_humidity_percent: 75.0,
        oven_celsius: [235.0, 240.0, 230.0, 220.0, 210.0, 200.0],
        bake_s: 1800.0,
        piece_kg: 0.85,
        feed_s: 800.0,
        pack_size: 1,
    },
    Recipe {
        name: "burger-bun",
        flour_kg: 140.0,
        dough_per_flour: 1.62,
        mix_s: 600.0,
        mix_load: 0.66,
        proof_s: 3300.0,
        proof_celsius: 38.0,
        proof_humidity_percent: 84.0,
        oven_celsius: [195.0, 205.0, 215.0, 215.0, 205.0, 190.0],
        bake_s: 720.0,
        piece_kg: 0.085,
        feed_s: 740.0,
        pack_size: 6,
    },
    Recipe {
        name: "brioche",
        flour_kg: 120.0,
        dough_per_flour: 1.95,
        mix_s: 780.0,
        mix_load: 0.58,
        proof_s: 3600.0,
        proof_celsius: 30.0,
        proof_humidity_percent: 78.0,
        oven_celsius: [170.0, 180.0, 185.0, 185.0, 175.0, 165.0],
        bake_s: 1080.0,
        piece_kg: 0.4,
        feed_s: 820.0,
        pack_size: 2,
    },
];
