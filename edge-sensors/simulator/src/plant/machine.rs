//! What every machine has: a state, a motor, a three-phase meter, bearings, and the effects of its faults.
//!
//! Not here: what drives load and speed (`line`, `utilities`), and what the sensors make of it (`reading`).

use crate::fault::FaultKind;
use crate::kind::MachineKind;
use crate::noise::Noise;

/// Rated mains voltage between a phase and neutral, V.
pub(crate) const RATED_VOLTS: f64 = 230.0;

/// The state published in `process.state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Idle,
    Preheating,
    Running,
    Waiting,
    Blocked,
    Cleaning,
    Fault,
    Maintenance,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Preheating => "preheating",
            State::Running => "running",
            State::Waiting => "waiting",
            State::Blocked => "blocked",
            State::Cleaning => "cleaning",
            State::Fault => "fault",
            State::Maintenance => "maintenance",
        }
    }
}

/// The mains at an instant, the same for all machines of a site.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Supply {
    pub(crate) volts: [f64; 3],
    pub(crate) frequency_hz: f64,
}

/// What the active faults do to a machine; all zero for a sound one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Effects {
    severity: [f64; FaultKind::ALL.len()],
    element: [usize; FaultKind::ALL.len()],
    /// A failure has stopped the machine.
    pub(crate) is_down: bool,
    /// The mechanic is there.
    pub(crate) in_repair: bool,
}

impl Effects {
    pub(crate) fn severity(&self, kind: FaultKind) -> f64 {
        self.severity[kind as usize]
    }

    pub(crate) fn element(&self, kind: FaultKind) -> usize {
        self.element[kind as usize]
    }

    pub(crate) fn set(&mut self, kind: FaultKind, severity: f64, element: usize) {
        self.severity[kind as usize] = severity;
        self.element[kind as usize] = element;
    }

    /// Returns how far the elements of a heating zone are lost, 0 to 1; `zone` counts from 0.
    pub(crate) fn heater_lost(&self, zone: usize) -> f64 {
        if self.element(FaultKind::HeaterElementLoss) == zone {
            self.severity(FaultKind::HeaterElementLoss)
        } else {
            0.0
        }
    }
}

/// Fixed properties of a kind's motor and meter.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rating {
    motor_kw: f64,
    standby_kw: f64,
    vibration_mm_s: f64,
}

impl Rating {
    fn of(kind: MachineKind) -> Self {
        let (motor_kw, standby_kw, vibration_mm_s) = match kind {
            MachineKind::Silo => (3.0, 0.08, 0.9),
            MachineKind::Mixer => (24.0, 0.20, 1.9),
            MachineKind::Proofer => (1.5, 0.15, 0.5),
            MachineKind::Oven => (7.5, 0.35, 1.1),
            MachineKind::Conveyor => (4.0, 0.12, 1.2),
            MachineKind::MetalDetector => (0.4, 0.18, 0.4),
            MachineKind::Packer => (5.0, 0.30, 1.5),
            MachineKind::Chiller => (18.0, 0.25, 1.6),
            MachineKind::Compressor => (30.0, 0.20, 2.1),
            MachineKind::Boiler => (4.0, 0.30, 1.3),
        };
        Rating { motor_kw, standby_kw, vibration_mm_s }
    }
}

/// The part that all machines share.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Machine {
    pub(crate) kind: MachineKind,
    /// Random stream of the process; reading sensors does not touch it.
    noise: Noise,
    /// Random stream of the sensors.
    pub(crate) sensor_noise: Noise,
    /// What differs between two machines of a kind, near 1.
    tolerance: f64,
    phase_share: [f64; 3],
    pub(crate) effects: Effects,
    /// Value at which a stuck sensor stays.
    pub(crate) held: Option<f64>,

    pub(crate) state: State,
    /// Motor load, share of rated power.
    load: f64,
    /// Motor speed, share of rated speed.
    pub(crate) speed: f64,
    /// Heating power on each phase at rated voltage, kW.
    pub(crate) heating_kw: [f64; 3],

    pub(crate) volts: [f64; 3],
    pub(crate) amperes: [f64; 3],
    pub(crate) power_factor: f64,
    pub(crate) power_kw: f64,
    pub(crate) energy_kwh: f64,
    pub(crate) frequency_hz: f64,
    pub(crate) vibration_mm_s: f64,
    pub(crate) bearing_celsius: f64,
    flicker: f64,
}

impl Machine {
    pub(crate) fn new(kind: MachineKind) -> Self {
        Machine {
            kind,
            noise: Noise::new(0, kind as u64),
            sensor_noise: Noise::new(0, 0),
            tolerance: 1.0,
            phase_share: [1.0; 3],
            effects: Effects::default(),
            held: None,
            state: State::Idle,
            load: 0.0,
            speed: 0.0,
            heating_kw: [0.0; 3],
            volts: [RATED_VOLTS; 3],
            amperes: [0.0; 3],
            power_factor: 0.6,
            power_kw: 0.0,
            energy_kwh: 0.0,
            frequency_hz: 50.0,
            vibration_mm_s: 0.0,
            bearing_celsius: 22.0,
            flicker: 0.0,
        }
    }

    /// Gives the machine its own random stream and its own small differences.
    pub(crate) fn individualise(&mut self, seed: u64, stream: u64) {
        self.noise = Noise::new(seed, stream);
        self.sensor_noise = Noise::new(seed ^ 0x5E_0505, stream);
        self.tolerance = self.noise.range(0.96, 1.04);
        let shares = [0; 3].map(|_| self.noise.range(0.985, 1.015));
        let mean = shares.iter().sum::<f64>() / 3.0;
        self.phase_share = shares.map(|share| share / mean);
        self.energy_kwh = self.noise.range(500.0, 9000.0).round();
    }

    pub(crate) fn is_available(&self) -> bool {
        !self.effects.is_down
    }

    /// Reports whether a fault can show: the machine is energised beyond its standby.
    pub(crate) fn is_working(&self) -> bool {
        self.speed > 0.0 || self.heating_kw.iter().any(|power| *power > 0.0)
    }

    /// Sets state, load and speed in one go.
    pub(crate) fn drive(&mut self, state: State, load: f64, speed: f64) {
        self.state = state;
        self.load = load;
        self.speed = speed;
    }

    /// Ends a step: a failed machine stands still; then the meter, the bearings and the vibration follow.
    pub(crate) fn settle(&mut self, dt_s: f64, supply: &Supply, hall_celsius: f64) {
        if self.effects.is_down {
            self.state = if self.effects.in_repair { State::Maintenance } else { State::Fault };
            self.load = 0.0;
            self.speed = 0.0;
            self.heating_kw = [0.0; 3];
        }
        self.noise.wander(&mut self.flicker, dt_s, 8.0, 0.015);
        self.meter(dt_s, supply);
        self.bearings(dt_s, hall_celsius);
    }

    fn meter(&mut self, dt_s: f64, supply: &Supply) {
        let rating = Rating::of(self.kind);
        let wear = self.effects.severity(FaultKind::BearingWear);
        let imbalance = self.effects.severity(FaultKind::PhaseImbalance);
        let weak = self.effects.element(FaultKind::PhaseImbalance);
        let capacitors_lost = self.effects.severity(FaultKind::PowerFactorDrop);

        let (motor_kw, motor_kvar) = if self.speed > 0.0 {
            let load = (self.load * self.tolerance * (1.0 + 0.08 * wear)).max(0.02);
            let power = rating.motor_kw * load / 0.92 * (1.0 + self.flicker);
            // An induction motor's power factor falls with its load (typical curve of a four-pole motor).
            let factor = 0.88 * (1.0 - (-3.2 * (load + 0.08)).exp()) * (1.0 - 0.05 * imbalance);
            (power, power * (1.0 / (factor * factor) - 1.0).sqrt())
        } else {
            (0.0, 0.0)
        };

        let mut total_kva = 0.0;
        self.power_kw = 0.0;
        for phase in 0..3 {
            let is_weak = phase == weak;
            let drop = if is_weak { 0.07 * RATED_VOLTS * imbalance } else { 0.0 };
            // The cable's own drop follows the current of the step before.
            let volts = supply.volts[phase] - drop - 0.02 * self.amperes[phase].min(300.0);
            let heating = self.heating_kw[phase] * (volts / RATED_VOLTS).powi(2);
            // The winding on the weak phase takes less, the others carry its part: the currents part several
            // times more than the voltages (NEMA MG 1, 14.36).
            let skew = if is_weak { 1.0 - 0.30 * imbalance } else { 1.0 + 0.15 * imbalance };
            let share = self.phase_share[phase] * skew / 3.0;
            let active = motor_kw * share + rating.standby_kw / 3.0 + heating;
            let reactive =
                motor_kvar * share + rating.standby_kw / 3.0 * 1.1 + 0.75 * capacitors_lost * active;
            let apparent = active.hypot(reactive);
            self.volts[phase] = volts;
            self.amperes[phase] = 1000.0 * apparent / volts;
            self.power_kw += active;
            total_kva += apparent;
        }
        self.power_factor = if total_kva > 0.0 { (self.power_kw / total_kva).clamp(0.0, 1.0) } else { 0.0 };
        self.energy_kwh += self.power_kw * dt_s / 3600.0;
        self.frequency_hz = supply.frequency_hz;
    }

    fn bearings(&mut self, dt_s: f64, hall_celsius: f64) {
        let rating = Rating::of(self.kind);
        let wear = self.effects.severity(FaultKind::BearingWear);
        let imbalance = self.effects.severity(FaultKind::PhaseImbalance);
        let turning = f64::from(u8::from(self.speed > 0.0));
        let vibration = 0.04
            + rating.vibration_mm_s * self.tolerance * self.speed * self.speed * (0.75 + 0.35 * self.load)
            + turning * wear * 7.5 * (0.25 + 0.75 * self.speed)
            + turning * imbalance * 0.5;
        self.vibration_mm_s += (vibration - self.vibration_mm_s) * (1.0 - (-dt_s / 3.0).exp());
        let bearing = hall_celsius + turning * (10.0 + 12.0 * self.load + 38.0 * wear);
        self.bearing_celsius += (bearing - self.bearing_celsius) * (1.0 - (-dt_s / 900.0).exp());
    }
}
