//! A production line: batches move from the silo through mixer and proofer, pieces on belts from the oven to
//! the packer. A station that stands makes those before it wait and those behind it run empty.
//!
//! Everything is conserved: flour dispensed equals flour in batches; pieces formed equal pieces on belts,
//! packed, rejected and on the packer's table (see [`Flow`]).
//!
//! Longer than most files because it is one idea: what one station does depends on its neighbours' state.

use super::belt::{Belt, Pieces};
use super::machine::{Machine, State};
use super::zone::{Zone, ZoneDesign, ZoneInput};
use crate::kind::MachineKind;
use crate::noise::Noise;
use crate::property::OVEN_ZONES;
use crate::recipe::{RECIPES, Recipe};
use crate::shift::Mode;

/// Flour that a full silo holds, kg.
pub(crate) const SILO_KG: f64 = 20_000.0;
/// Batches that the proofer holds.
const PROOFER_BATCHES: usize = 8;
/// Time to tip the bowl, s.
const DISCHARGE_S: f64 = 120.0;
/// Time on the cooling conveyor and through the detector, s.
const COOLING_S: f64 = 1500.0;
const DETECTION_S: f64 = 30.0;
/// Length of the oven's belt and of the cooling conveyor's (several tiers), m.
const OVEN_M: f64 = 14.0;
const COOLING_M: f64 = 90.0;
/// One piece in so many carries metal, or is thrown out by mistake.
const PIECES_PER_REJECT: f64 = 4000.0;
/// The table before the packer holds this much feed, s; then the belts before it stop.
const TABLE_S: f64 = 360.0;
/// Packs on a roll of film, and the time to change it, s.
const FILM_PACKS: f64 = 2600.0;
const FILM_CHANGE_S: f64 = 110.0;
/// The oven takes a new recipe when its zones are this near, or after this wait, s.
const READY_KELVIN: f64 = 12.0;
const READY_WAIT_S: f64 = 900.0;

const OVEN_ZONE: ZoneDesign =
    ZoneDesign { heater_kw: 45.0, kelvin_per_kw: 18.0, tau_s: 3600.0, gain: 0.05, integral_s: 600.0 };
const PROOFER_ZONE: ZoneDesign =
    ZoneDesign { heater_kw: 12.0, kelvin_per_kw: 4.0, tau_s: 1200.0, gain: 0.25, integral_s: 400.0 };
const SEAL_ZONE: ZoneDesign =
    ZoneDesign { heater_kw: 1.4, kelvin_per_kw: 200.0, tau_s: 400.0, gain: 0.04, integral_s: 120.0 };

/// What the line needs to know of its surroundings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings {
    pub(crate) mode: Mode,
    pub(crate) tanker_may_come: bool,
    pub(crate) hall_celsius: f64,
    pub(crate) chilled_water_celsius: f64,
    pub(crate) steam_bar: f64,
    pub(crate) air_bar: f64,
}

/// What the line takes from the utilities.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Demand {
    pub(crate) cooling_kw: f64,
    pub(crate) steam_kg_h: f64,
    pub(crate) air_m3_min: f64,
}

/// Where flour and pieces of a line are; shows that nothing is lost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Flow {
    /// Flour that left the silo, kg.
    pub dispensed_kg: f64,
    /// Flour in the mixer's bowl, kg.
    pub in_mixer_kg: f64,
    /// Flour of the batches that left the mixer, kg.
    pub mixed_kg: f64,
    /// Pieces cut from batches at the oven's entry, including those not yet fed.
    pub pieces_formed: u64,
    /// Pieces waiting to be fed, on the belts and on the packer's table.
    pub pieces_in_line: u64,
    /// Pieces thrown out by the metal detector.
    pub pieces_rejected: u64,
    /// Pieces in finished packs.
    pub pieces_packed: u64,
}

/// A batch of dough.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Batch {
    number: u32,
    recipe: usize,
    flour_kg: f64,
}

impl Batch {
    fn recipe(&self) -> &'static Recipe {
        &RECIPES[self.recipe]
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Mixing {
    Empty,
    Dosing { batch: Batch },
    Turning { batch: Batch, done_s: f64 },
    Tipping { batch: Batch, left_s: f64 },
}

impl Mixing {
    fn batch(&self) -> Option<&Batch> {
        match self {
            Mixing::Empty => None,
            Mixing::Dosing { batch } | Mixing::Turning { batch, .. } | Mixing::Tipping { batch, .. } => {
                Some(batch)
            }
        }
    }
}

/// A batch in front of the oven, cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Feed {
    left: u32,
    batch: Batch,
    carry: f64,
}

/// A line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// The stations in the order of the flow, as `MachineKind::ALL` begins.
    pub(crate) machines: [Machine; 7],
    /// Decides recipes and rejects.
    pub(crate) chance: Noise,
    /// Added to batch numbers, so that a plant's batches differ between lines.
    pub(crate) batch_base: u32,

    pub(crate) flour_kg: f64,
    is_refilling: bool,
    pub(crate) flour_celsius: f64,
    pub(crate) dispensed_kg: f64,

    next_recipe: usize,
    batches_left: u32,
    last_batch: u32,
    mixing: Mixing,
    pub(crate) dough_celsius: f64,
    pub(crate) batches_total: u32,
    pub(crate) dough_kg_total: f64,
    mixed_kg: f64,

    proofing: Vec<(Batch, f64)>,
    pub(crate) proofer_zone: Zone,
    pub(crate) humidity_percent: f64,

    feed: Option<Feed>,
    oven_recipe: usize,
    oven_wait_s: f64,
    pub(crate) zones: [Zone; OVEN_ZONES],
    oven_belt: Belt,
    pub(crate) core_celsius: f64,
    pub(crate) baked_total: u64,
    formed: u64,

    cooling_belt: Belt,
    pub(crate) outlet_celsius: f64,
    pub(crate) air_celsius: f64,

    detection_belt: Belt,
    pub(crate) signal_percent: f64,
    pub(crate) rejects_total: u64,
    pub(crate) detected_total: u64,

    table: Pieces,
    is_packing: bool,
    pack_carry: f64,
    film_change_s: f64,
    pub(crate) film_percent: f64,
    pub(crate) seal_zone: Zone,
    pub(crate) packs_total: u64,
    packed_pieces: u64,

    /// Smoothed pieces (packs at the packer) per minute at oven, cooling, detector and packer.
    pub(crate) per_minute: [f64; 4],
    pub(crate) air_bar: f64,
}

/// Positions in [`Line::machines`].
const SILO: usize = 0;
const MIXER: usize = 1;
const PROOFER: usize = 2;
const OVEN: usize = 3;
const COOLER: usize = 4;
const DETECTOR: usize = 5;
const PACKER: usize = 6;

impl Line {
    pub(crate) fn new(hall_celsius: f64) -> Self {
        Line {
            machines: std::array::from_fn(|index| Machine::new(MachineKind::ALL[index])),
            chance: Noise::new(0, 0),
            batch_base: 0,
            flour_kg: 0.6 * SILO_KG,
            is_refilling: false,
            flour_celsius: hall_celsius,
            dispensed_kg: 0.0,
            next_recipe: 0,
            batches_left: 0,
            last_batch: 0,
            mixing: Mixing::Empty,
            dough_celsius: hall_celsius,
            batches_total: 0,
            dough_kg_total: 0.0,
            mixed_kg: 0.0,
            proofing: Vec::with_capacity(PROOFER_BATCHES),
            proofer_zone: Zone::new(hall_celsius),
            humidity_percent: 45.0,
            feed: None,
            oven_recipe: 0,
            oven_wait_s: 0.0,
            zones: [Zone::new(hall_celsius); OVEN_ZONES],
            oven_belt: Belt::new(48),
            core_celsius: hall_celsius,
            baked_total: 0,
            formed: 0,
            cooling_belt: Belt::new(48),
            outlet_celsius: hall_celsius,
            air_celsius: hall_celsius,
            detection_belt: Belt::new(6),
            signal_percent: 3.0,
            rejects_total: 0,
            detected_total: 0,
            table: Pieces::default(),
            is_packing: false,
            pack_carry: 0.0,
            film_change_s: 0.0,
            film_percent: 80.0,
            seal_zone: Zone::new(hall_celsius),
            packs_total: 0,
            packed_pieces: 0,
            per_minute: [0.0; 4],
            air_bar: 7.0,
        }
    }

    pub(crate) fn flow(&self) -> Flow {
        Flow {
            dispensed_kg: self.dispensed_kg,
            in_mixer_kg: self.mixing.batch().map_or(0.0, |batch| batch.flour_kg),
            mixed_kg: self.mixed_kg,
            pieces_formed: self.formed,
            pieces_in_line: u64::from(self.feed.map_or(0, |feed| feed.left))
                + u64::from(self.oven_belt.total())
                + u64::from(self.cooling_belt.total())
                + u64::from(self.detection_belt.total())
                + u64::from(self.table.count),
            pieces_rejected: self.rejects_total,
            pieces_packed: self.packed_pieces,
        }
    }

    fn holds_product(&self) -> bool {
        self.bakes_or_will()
            || self.cooling_belt.total() + self.detection_belt.total() > 0
            || self.table.count >= RECIPES[self.table.recipe].pack_size
    }

    fn bakes_or_will(&self) -> bool {
        self.mixing != Mixing::Empty
            || !self.proofing.is_empty()
            || self.feed.is_some()
            || self.oven_belt.total() > 0
    }

    /// Advances by `dt_s`, at most about two seconds.
    pub(crate) fn step(&mut self, dt_s: f64, around: &Surroundings) -> Demand {
        // A line that still holds product finishes it, whatever the plan says.
        let mode = match around.mode {
            Mode::Cleaning | Mode::Idle if self.holds_product() => Mode::RunOut,
            mode => mode,
        };
        let around = Surroundings { mode, ..*around };
        // From the end to the start: who may move depends on who is behind.
        let table_limit = (TABLE_S * pieces_per_second(&RECIPES[self.table.recipe])).max(200.0);
        let detector_moves =
            self.machines[DETECTOR].is_available() && f64::from(self.table.count) < table_limit;
        let cooler_moves = self.machines[COOLER].is_available() && detector_moves;
        let oven_moves = self.machines[OVEN].is_available() && cooler_moves;

        let mut demand = Demand::default();
        self.step_packer(dt_s, &around, &mut demand);
        self.step_detector(dt_s, &around, detector_moves);
        self.step_cooler(dt_s, &around, cooler_moves, &mut demand);
        self.step_oven(dt_s, &around, oven_moves, &mut demand);
        self.step_proofer(dt_s, &around, &mut demand);
        self.step_mixer(dt_s, &around, &mut demand);
        self.step_silo(dt_s, &around, &mut demand);
        if mode == Mode::Cleaning {
            demand.steam_kg_h += 160.0;
        }
        demand
    }

    fn step_silo(&mut self, dt_s: f64, around: &Surroundings, demand: &mut Demand) {
        if self.is_refilling {
            self.flour_kg += 6.0 * dt_s;
            demand.air_m3_min += 0.8;
            self.is_refilling = self.flour_kg < 0.95 * SILO_KG;
            approach(&mut self.flour_celsius, 24.0, dt_s, 3600.0);
        } else {
            self.is_refilling = self.flour_kg < 0.2 * SILO_KG && around.tanker_may_come;
        }
        approach(&mut self.flour_celsius, around.hall_celsius - 1.5, dt_s, 36_000.0);

        let machine = &mut self.machines[SILO];
        if let Mixing::Dosing { batch } = &mut self.mixing {
            let wanted = (batch.recipe().flour_kg - batch.flour_kg).max(0.0);
            let given = if machine.is_available() { wanted.min(1.6 * dt_s).min(self.flour_kg) } else { 0.0 };
            self.flour_kg -= given;
            batch.flour_kg += given;
            self.dispensed_kg += given;
            machine.drive(State::Running, 0.65, 1.0);
        } else {
            machine.drive(rest_state(around.mode), 0.0, 0.0);
        }
    }

    fn start_batch(&mut self) -> Batch {
        if self.batches_left == 0 {
            self.batches_left = 8 + self.chance.index(7) as u32;
            let step = 1 + self.chance.index(RECIPES.len() - 1);
            self.next_recipe = (self.next_recipe + step) % RECIPES.len();
        }
        self.batches_left -= 1;
        self.last_batch += 1;
        Batch { number: self.last_batch, recipe: self.next_recipe, flour_kg: 0.0 }
    }

    fn step_mixer(&mut self, dt_s: f64, around: &Surroundings, demand: &mut Demand) {
        let proofer_has_room = self.proofing.len() < PROOFER_BATCHES && self.machines[PROOFER].is_available();
        if !self.machines[MIXER].is_available() {
            return;
        }
        if self.mixing == Mixing::Empty && around.mode == Mode::Production {
            self.mixing = Mixing::Dosing { batch: self.start_batch() };
        }
        let machine = &mut self.machines[MIXER];
        match &mut self.mixing {
            Mixing::Empty => rest(machine, around.mode),
            Mixing::Dosing { batch } => {
                machine.drive(State::Waiting, 0.0, 0.0);
                if batch.flour_kg >= batch.recipe().flour_kg - 1e-9 {
                    // Flour and chilled water set the dough's first temperature.
                    self.dough_celsius =
                        0.55 * self.flour_celsius + 0.45 * (around.chilled_water_celsius + 4.0);
                    self.mixing = Mixing::Turning { batch: *batch, done_s: 0.0 };
                }
            }
            Mixing::Turning { batch, done_s } => {
                let recipe = batch.recipe();
                let progress = *done_s / recipe.mix_s;
                // Slow at first, to wet the flour; then fast, and heavier as the gluten develops.
                let (speed, load) = if progress < 0.25 {
                    (0.5, 0.32 + 0.2 * progress)
                } else {
                    (1.0, recipe.mix_load * (0.7 + 0.3 * ((progress - 0.25) / 0.6).min(1.0)))
                };
                machine.drive(State::Running, load, speed);
                let dough_kg = recipe.flour_kg * recipe.dough_per_flour;
                let jacket_kw = (0.45 * (self.dough_celsius - around.chilled_water_celsius)).max(0.0) * speed;
                demand.cooling_kw += jacket_kw;
                self.dough_celsius += (24.0 * load * 0.95 - jacket_kw) * dt_s / (dough_kg * 2.9);
                *done_s += dt_s;
                if *done_s >= recipe.mix_s {
                    self.mixing = Mixing::Tipping { batch: *batch, left_s: DISCHARGE_S };
                }
            }
            Mixing::Tipping { .. } if !proofer_has_room => machine.drive(State::Blocked, 0.0, 0.0),
            Mixing::Tipping { batch, left_s } => {
                machine.drive(State::Running, 0.15, 0.15);
                *left_s -= dt_s;
                if *left_s <= 0.0 {
                    self.proofing.push((*batch, batch.recipe().proof_s));
                    self.batches_total += 1;
                    self.mixed_kg += batch.flour_kg;
                    self.dough_kg_total += batch.flour_kg * batch.recipe().dough_per_flour;
                    self.mixing = Mixing::Empty;
                }
            }
        }
    }

    fn first_proofed(&self) -> Option<&Batch> {
        self.proofing.first().filter(|(_, left_s)| *left_s <= 0.0).map(|(batch, _)| batch)
    }

    fn step_proofer(&mut self, dt_s: f64, around: &Surroundings, demand: &mut Demand) {
        for (_, left_s) in &mut self.proofing {
            *left_s -= dt_s;
        }
        let is_warm = self.machines[PROOFER].is_available()
            && match around.mode {
                Mode::Preheat | Mode::Production => true,
                Mode::RunOut => !self.proofing.is_empty(),
                Mode::Idle | Mode::Cleaning => false,
            };
        let recipe = self.proofer_recipe();
        let lost = self.machines[PROOFER].effects.heater_lost(0);
        let input = ZoneInput {
            setpoint: is_warm.then_some(recipe.proof_celsius),
            surroundings: around.hall_celsius,
            available: heater_available(lost),
            // Cold dough takes heat from the chamber.
            loss_kw: 0.35 * self.proofing.len() as f64,
        };
        let power_kw = self.proofer_zone.step(&PROOFER_ZONE, dt_s, input);
        let steam = (around.steam_bar / 7.0).clamp(0.0, 1.0);
        let humidity = if is_warm { recipe.proof_humidity_percent * steam } else { 45.0 };
        approach(&mut self.humidity_percent, humidity, dt_s, 300.0);

        let is_stuck = self.first_proofed().is_some() && self.proofing.len() >= PROOFER_BATCHES;
        let is_empty = self.proofing.is_empty();
        let machine = &mut self.machines[PROOFER];
        machine.heating_kw = spread(power_kw, 0, lost);
        if is_warm {
            demand.steam_kg_h += 45.0;
            let state = match (is_empty, is_stuck) {
                (true, _) if around.mode == Mode::Preheat => State::Preheating,
                (true, _) => State::Waiting,
                (false, true) => State::Blocked,
                (false, false) => State::Running,
            };
            machine.drive(state, 0.6, 1.0);
        } else {
            rest(machine, around.mode);
        }
    }

    fn step_oven(&mut self, dt_s: f64, around: &Surroundings, moves: bool, demand: &mut Demand) {
        let is_hot = self.machines[OVEN].is_available()
            && match around.mode {
                Mode::Preheat | Mode::Production => true,
                Mode::RunOut => self.bakes_or_will(),
                Mode::Idle | Mode::Cleaning => false,
            };
        let is_empty = self.oven_belt.total() == 0 && self.feed.is_none();
        if is_empty {
            // The next recipe sets the oven as soon as nothing of the last is inside.
            self.oven_recipe = self.proofing.first().map_or(self.next_recipe, |(batch, _)| batch.recipe);
        }
        let recipe = &RECIPES[self.oven_recipe];
        self.heat_oven(dt_s, around, is_hot.then_some(recipe), moves);
        let is_ready = self.oven_is_ready(dt_s, recipe, is_hot && is_empty);
        if moves && is_hot && (!is_empty || is_ready) && self.machines[PROOFER].is_available() {
            self.take_batch();
        }

        let mut out = Pieces::default();
        if moves && is_hot {
            self.feed_oven(dt_s);
            out = self.oven_belt.advance(dt_s / recipe.bake_s);
        }
        self.baked_total += u64::from(out.count);
        average(&mut self.per_minute[0], out.count, dt_s);
        if out.count > 0 {
            let surplus = self.zones.iter().map(|zone| zone.celsius).sum::<f64>()
                - recipe.oven_celsius.iter().sum::<f64>();
            self.core_celsius += (96.5 + 0.1 * surplus / OVEN_ZONES as f64 - self.core_celsius) * 0.4;
            self.cooling_belt.load(out);
        } else {
            let is_leaving = self.oven_belt.section(OVEN_ZONES - 1, OVEN_ZONES) > 0;
            let target = if is_leaving { 94.0 } else { around.hall_celsius + 12.0 };
            approach(&mut self.core_celsius, target, dt_s, 240.0);
        }

        let has_product = self.oven_belt.total() > 0;
        if has_product {
            demand.steam_kg_h += 70.0;
        }
        let machine = &mut self.machines[OVEN];
        if is_hot {
            let state = match (has_product, moves) {
                (true, true) => State::Running,
                (true, false) => State::Blocked,
                (false, _) if around.mode == Mode::Preheat || !is_ready => State::Preheating,
                (false, _) => State::Waiting,
            };
            machine.drive(state, if has_product { 0.7 } else { 0.55 }, 1.0);
        } else {
            rest(machine, around.mode);
        }
    }

    fn oven_is_ready(&mut self, dt_s: f64, recipe: &Recipe, may_wait: bool) -> bool {
        let deviation = self
            .zones
            .iter()
            .zip(recipe.oven_celsius)
            .map(|(zone, setpoint)| (zone.celsius - setpoint).abs())
            .fold(0.0, f64::max);
        let is_waiting = may_wait && self.first_proofed().is_some();
        self.oven_wait_s = if is_waiting { self.oven_wait_s + dt_s } else { 0.0 };
        deviation < READY_KELVIN || self.oven_wait_s > READY_WAIT_S
    }

    /// Moves the first proofed batch before the oven, when the oven bakes its recipe and nothing is before it.
    fn take_batch(&mut self) {
        let Some(batch) = self.first_proofed().copied() else { return };
        if self.feed.is_some() || batch.recipe != self.oven_recipe {
            return;
        }
        self.proofing.remove(0);
        let recipe = batch.recipe();
        let pieces = (batch.flour_kg * recipe.dough_per_flour / recipe.piece_kg + 1e-6).floor() as u32;
        self.formed += u64::from(pieces);
        self.feed = Some(Feed { left: pieces, batch, carry: 0.0 });
    }

    fn feed_oven(&mut self, dt_s: f64) {
        let Some(feed) = &mut self.feed else { return };
        feed.carry += pieces_per_second(feed.batch.recipe()) * dt_s;
        let count = (feed.carry.floor() as u32).min(feed.left);
        feed.carry -= f64::from(count);
        feed.left -= count;
        self.oven_belt.load(Pieces { count, batch: feed.batch.number, recipe: feed.batch.recipe });
        if feed.left == 0 {
            self.feed = None;
        }
    }

    fn heat_oven(&mut self, dt_s: f64, around: &Surroundings, recipe: Option<&Recipe>, moves: bool) {
        let machine = &mut self.machines[OVEN];
        let celsius = self.zones.map(|zone| zone.celsius);
        machine.heating_kw = [0.0; 3];
        for (index, zone) in self.zones.iter_mut().enumerate() {
            let lost = machine.effects.heater_lost(index);
            let pieces = f64::from(self.oven_belt.section(index, OVEN_ZONES));
            // Dough takes up about 280 kJ per kg over the oven, most of it early.
            let product_kw = recipe.filter(|_| moves).map_or(0.0, |recipe| {
                let share = [1.3, 1.25, 1.1, 0.95, 0.8, 0.6][index];
                pieces * recipe.piece_kg * 280.0 * share / recipe.bake_s
            });
            let neighbours_kw: f64 = [index.checked_sub(1), Some(index + 1)]
                .into_iter()
                .flatten()
                .filter_map(|other| celsius.get(other))
                .map(|other| 0.02 * (celsius[index] - other))
                .sum();
            let input = ZoneInput {
                setpoint: recipe.map(|recipe| recipe.oven_celsius[index]),
                surroundings: around.hall_celsius,
                available: heater_available(lost),
                loss_kw: product_kw + neighbours_kw,
            };
            let power_kw = zone.step(&OVEN_ZONE, dt_s, input);
            for (total, power_kw) in machine.heating_kw.iter_mut().zip(spread(power_kw, index % 3, lost)) {
                *total += power_kw;
            }
        }
    }

    fn step_cooler(&mut self, dt_s: f64, around: &Surroundings, moves: bool, demand: &mut Demand) {
        let pieces = self.cooling_belt.total();
        let is_on = pieces > 0 || around.mode == Mode::Production;
        let is_cooling = is_on && self.machines[COOLER].is_available();
        let out = if moves { self.cooling_belt.advance(dt_s / COOLING_S) } else { Pieces::default() };
        average(&mut self.per_minute[1], out.count, dt_s);
        self.detection_belt.load(out);

        let target = if is_cooling { around.chilled_water_celsius + 8.0 } else { around.hall_celsius };
        approach(&mut self.air_celsius, target, dt_s, 300.0);
        let kg: f64 =
            self.cooling_belt.cells().map(|cell| f64::from(cell.count) * RECIPES[cell.recipe].piece_kg).sum();
        if is_cooling {
            // About half of the heat goes into the chilled water, the rest leaves with the steam.
            demand.cooling_kw += 3.0 + 0.55 * kg * 2.6 * 68.0 / COOLING_S;
        }
        let rest_of_heat = if pieces > 0 { 80.0 * (-1.85_f64).exp() } else { 4.0 };
        approach(&mut self.outlet_celsius, self.air_celsius + rest_of_heat, dt_s, 180.0);

        let machine = &mut self.machines[COOLER];
        match (is_on, pieces > 0, moves) {
            (true, true, true) => machine.drive(State::Running, 0.45 + kg / 4000.0, 1.0),
            (true, true, false) => machine.drive(State::Blocked, 0.0, 0.0),
            (true, false, _) => machine.drive(State::Waiting, 0.35, 1.0),
            (false, ..) => rest(machine, around.mode),
        }
    }

    fn step_detector(&mut self, dt_s: f64, around: &Surroundings, moves: bool) {
        let pieces = self.detection_belt.total();
        let mut out = if moves { self.detection_belt.advance(dt_s / DETECTION_S) } else { Pieces::default() };
        self.detected_total += u64::from(out.count);
        average(&mut self.per_minute[2], out.count, dt_s);
        approach(&mut self.signal_percent, if pieces > 0 { 18.0 } else { 3.0 }, dt_s, 2.0);
        if out.count > 0 && self.chance.unit() < f64::from(out.count) / PIECES_PER_REJECT {
            out.count -= 1;
            self.rejects_total += 1;
            self.signal_percent = 92.0;
        }
        self.table.add(out);
        let machine = &mut self.machines[DETECTOR];
        match (pieces > 0, moves) {
            (true, true) => machine.drive(State::Running, 0.6, 1.0),
            (true, false) => machine.drive(State::Blocked, 0.0, 0.0),
            (false, _) => rest(machine, around.mode),
        }
    }

    fn step_packer(&mut self, dt_s: f64, around: &Surroundings, demand: &mut Demand) {
        approach(&mut self.air_bar, around.air_bar - 0.25, dt_s, 5.0);
        let is_on = matches!(around.mode, Mode::Preheat | Mode::Production | Mode::RunOut);
        let is_available = self.machines[PACKER].is_available();
        let input = ZoneInput {
            setpoint: (is_on && is_available).then_some(150.0),
            surroundings: around.hall_celsius,
            available: 1.0,
            loss_kw: 0.0,
        };
        let power_kw = self.seal_zone.step(&SEAL_ZONE, dt_s, input);
        self.film_change_s = (self.film_change_s - dt_s).max(0.0);
        let can_pack =
            is_available && self.film_change_s == 0.0 && self.seal_zone.celsius > 135.0 && self.air_bar > 4.5;

        let recipe = &RECIPES[self.table.recipe];
        let rate = pieces_per_second(recipe);
        let has_pack = self.table.count >= recipe.pack_size;
        // Starts with a minute of product on the table, stops when it is used up: fewer, longer runs.
        let is_last = self.detection_belt.total() + self.cooling_belt.total() == 0;
        self.is_packing =
            has_pack && (self.is_packing || is_last || f64::from(self.table.count) >= 60.0 * rate);
        let mut packs = 0;
        if self.is_packing && can_pack {
            self.pack_carry = (self.pack_carry + 1.35 * rate / f64::from(recipe.pack_size) * dt_s).min(50.0);
            packs = (self.pack_carry.floor() as u32).min(self.table.count / recipe.pack_size);
            self.pack_carry -= f64::from(packs);
            self.table.count -= packs * recipe.pack_size;
            self.packs_total += u64::from(packs);
            self.packed_pieces += u64::from(packs * recipe.pack_size);
            self.film_percent -= f64::from(packs) * 100.0 / FILM_PACKS;
            demand.air_m3_min += 1.1;
        } else {
            self.pack_carry = 0.0;
        }
        if self.film_percent <= 0.0 {
            self.film_percent = 100.0;
            self.film_change_s = FILM_CHANGE_S;
        }
        average(&mut self.per_minute[3], packs, dt_s);
        let machine = &mut self.machines[PACKER];
        machine.heating_kw = [power_kw / 3.0; 3];
        match (self.is_packing, can_pack) {
            (true, true) => machine.drive(State::Running, 0.62, 1.0),
            (true, false) => machine.drive(State::Waiting, 0.0, 0.0),
            (false, _) => rest(machine, around.mode),
        }
    }

    /// Returns the published batch number (0 for none) and the recipe's name at a station of the line.
    pub(crate) fn batch_at(&self, station: usize) -> (f64, &'static str) {
        let of_pieces = |pieces: Pieces| (pieces.batch, pieces.recipe);
        let of_batch = |batch: &Batch| (batch.number, batch.recipe);
        let found = match station {
            SILO | MIXER => self.mixing.batch().map(of_batch),
            PROOFER => self.proofing.first().map(|(batch, _)| of_batch(batch)),
            OVEN => self
                .oven_belt
                .leading()
                .map(of_pieces)
                .or(self.feed.as_ref().map(|feed| of_batch(&feed.batch))),
            COOLER => self.cooling_belt.leading().map(of_pieces),
            DETECTOR => self.detection_belt.leading().map(of_pieces),
            _ => (self.table.count > 0).then(|| of_pieces(self.table)),
        };
        found.map_or((0.0, "none"), |(number, recipe)| {
            (f64::from(self.batch_base + number), RECIPES[recipe].name)
        })
    }

    /// Mixer's progress, %.
    pub(crate) fn mixing_percent(&self) -> f64 {
        match &self.mixing {
            Mixing::Empty | Mixing::Dosing { .. } => 0.0,
            Mixing::Turning { batch, done_s } => 100.0 * (done_s / batch.recipe().mix_s).min(1.0),
            Mixing::Tipping { .. } => 100.0,
        }
    }

    pub(crate) fn batches_in_proofer(&self) -> usize {
        self.proofing.len()
    }

    /// Recipe that the proofer is set to.
    pub(crate) fn proofer_recipe(&self) -> &'static Recipe {
        self.proofing.first().map_or(&RECIPES[self.next_recipe], |(batch, _)| batch.recipe())
    }

    /// Recipe that the oven is set to.
    pub(crate) fn oven_recipe(&self) -> &'static Recipe {
        &RECIPES[self.oven_recipe]
    }

    /// Speed of the oven's belt and of the cooling conveyor's while they run, m/min.
    pub(crate) fn belt_m_min(&self) -> (f64, f64) {
        (OVEN_M / self.oven_recipe().bake_s * 60.0, COOLING_M / COOLING_S * 60.0)
    }
}

/// Moves `value` towards `target` as a first-order lag.
pub(crate) fn approach(value: &mut f64, target: f64, dt_s: f64, tau_s: f64) {
    *value += (target - *value) * (1.0 - (-dt_s / tau_s).exp());
}

/// Pieces per second that a recipe brings to the oven.
fn pieces_per_second(recipe: &Recipe) -> f64 {
    recipe.flour_kg * recipe.dough_per_flour / recipe.piece_kg / recipe.feed_s
}

fn average(rate_per_min: &mut f64, count: u32, dt_s: f64) {
    *rate_per_min += (f64::from(count) / dt_s * 60.0 - *rate_per_min) * (dt_s / 60.0).min(1.0);
}

pub(crate) fn rest_state(mode: Mode) -> State {
    match mode {
        Mode::Idle => State::Idle,
        Mode::Preheat | Mode::Production | Mode::RunOut => State::Waiting,
        Mode::Cleaning => State::Cleaning,
    }
}

/// A machine that has nothing to do stands, or turns slowly while it is washed.
fn rest(machine: &mut Machine, mode: Mode) {
    let speed = if mode == Mode::Cleaning { 0.35 } else { 0.0 };
    machine.drive(rest_state(mode), 0.2, speed);
}

/// At full loss two of a heater's three elements are gone.
fn heater_available(lost: f64) -> f64 {
    1.0 - 2.0 / 3.0 * lost
}

/// Splits a heater's power over the phases: one element on each. Lost elements are missing from the phase
/// `first`, then from the next.
fn spread(power_kw: f64, first: usize, lost: f64) -> [f64; 3] {
    let mut shares = [1.0; 3];
    shares[first] -= (2.0 * lost).min(1.0);
    shares[(first + 1) % 3] -= (2.0 * lost - 1.0).max(0.0);
    let sum: f64 = shares.iter().sum();
    shares.map(|share| power_kw * share / sum)
}
