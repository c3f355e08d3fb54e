//! The book of faults: which are planned, which are active, and what happened to each.
//!
//! Times are simulated seconds since the start. A fault that is due on a machine which already has one of the
//! same kind is left out (a random one is drawn again).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::InjectError;
use super::block::{BLOCK_MACHINES, Block, place};
use crate::fault::{FaultKind, TruthEvent, TruthKind};
use crate::noise::Noise;
use crate::plant::device_name;

/// Events kept until they are drained; the oldest are dropped beyond, and counted.
const EVENTS: usize = 65_536;

/// How random faults are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RandomFaults {
    pub(crate) per_machine_per_day: f64,
    pub(crate) develop_min_s: f64,
    pub(crate) develop_max_s: f64,
    pub(crate) repair_s: f64,
}

/// A fault to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PlannedFault {
    pub(crate) machine: usize,
    pub(crate) kind: FaultKind,
    pub(crate) element: usize,
    pub(crate) develop_s: f64,
    pub(crate) repair_s: f64,
}

#[derive(Debug, Clone, PartialEq)]
enum Due {
    Planned(PlannedFault),
    /// Draws what happens when its time has come.
    Random {
        machine: usize,
        noise: Noise,
    },
}

/// Ordered by time alone; `order` keeps equal times in the order of planning.
#[derive(Debug, Clone)]
struct Entry {
    at_ms: u64,
    order: u64,
    due: Due,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.order) == (other.at_ms, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.order).cmp(&(other.at_ms, other.order))
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Episode {
    number: u64,
    fault: PlannedFault,
    onset_s: f64,
    is_detected: bool,
    has_failed: bool,
}

/// The book.
#[derive(Debug, Clone)]
pub(crate) struct FaultBook {
    random: RandomFaults,
    planned: BinaryHeap<Reverse<Entry>>,
    active: Vec<Episode>,
    events: VecDeque<TruthEvent>,
    events_dropped: u64,
    last_number: u64,
    last_order: u64,
}

impl FaultBook {
    pub(crate) fn new(seed: u64, machines: usize, random: RandomFaults) -> Self {
        let mut book = FaultBook {
            random,
            planned: BinaryHeap::new(),
            active: Vec::new(),
            events: VecDeque::new(),
            events_dropped: 0,
            last_number: 0,
            last_order: 0,
        };
        if random.per_machine_per_day > 0.0 {
            for machine in 0..machines {
                // A stream of its own per machine: the plan does not depend on how often anybody samples.
                book.plan_random(machine, Noise::new(seed ^ 0xFA_0175, machine as u64), 0.0);
            }
        }
        book
    }

    pub(crate) fn plan(&mut self, at_s: f64, fault: PlannedFault) {
        self.push(at_s, Due::Planned(fault));
    }

    fn push(&mut self, at_s: f64, due: Due) {
        self.last_order += 1;
        self.planned.push(Reverse(Entry { at_ms: (at_s * 1000.0) as u64, order: self.last_order, due }));
    }

    fn plan_random(&mut self, machine: usize, mut noise: Noise, after_s: f64) {
        let at_s = after_s + noise.waiting_time(86_400.0 / self.random.per_machine_per_day);
        self.push(at_s, Due::Random { machine, noise });
    }

    pub(crate) fn drain(&mut self) -> Vec<TruthEvent> {
        self.events.drain(..).collect()
    }

    pub(crate) fn events_dropped(&self) -> u64 {
        self.events_dropped
    }

    /// Starts a fault now.
    pub(crate) fn start(&mut self, now_s: f64, fault: PlannedFault) -> Result<u64, InjectError> {
        if self.is_active(fault.machine, fault.kind) {
            let device = device_name(fault.machine);
            return Err(InjectError::AlreadyActive { device, fault: fault.kind.name() });
        }
        self.last_number += 1;
        let episode = Episode {
            number: self.last_number,
            fault,
            onset_s: now_s,
            is_detected: false,
            has_failed: false,
        };
        self.report(now_s, &episode, TruthKind::Onset, 0.0);
        self.active.push(episode);
        Ok(self.last_number)
    }

    fn is_active(&self, machine: usize, kind: FaultKind) -> bool {
        self.active.iter().any(|episode| episode.fault.machine == machine && episode.fault.kind == kind)
    }

    /// Ends all faults of a machine now and returns their number.
    pub(crate) fn repair(&mut self, now_s: f64, machine: usize, blocks: &mut [Block]) -> usize {
        clear(blocks, machine);
        let (ended, active): (Vec<_>, Vec<_>) =
            self.active.drain(..).partition(|episode| episode.fault.machine == machine);
        self.active = active;
        for episode in &ended {
            self.report(now_s, episode, TruthKind::Repaired, 0.0);
        }
        ended.len()
    }

    fn report(&mut self, now_s: f64, episode: &Episode, event: TruthKind, severity: f64) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
            self.events_dropped += 1;
        }
        let PlannedFault { machine, kind, element, .. } = episode.fault;
        self.events.push_back(TruthEvent {
            elapsed_s: now_s,
            episode: episode.number,
            machine,
            device: device_name(machine),
            fault: kind,
            event,
            severity,
            signals: kind.signals(place(machine).0, element),
        });
    }

    /// Starts what is due, develops what is active, ends what is repaired, and writes the effects into the
    /// machines.
    pub(crate) fn update(&mut self, now_s: f64, blocks: &mut [Block]) {
        while self.planned.peek().is_some_and(|Reverse(entry)| entry.at_ms as f64 <= now_s * 1000.0) {
            let Some(Reverse(entry)) = self.planned.pop() else { break };
            match entry.due {
                Due::Planned(fault) if !self.is_active(fault.machine, fault.kind) => {
                    // Can't be refused: just checked.
                    let _ = self.start(now_s, fault);
                }
                Due::Planned(_) => {}
                Due::Random { machine, noise } => self.start_random(now_s, machine, noise),
            }
        }
        if self.active.is_empty() {
            return;
        }
        for episode in &self.active {
            clear(blocks, episode.fault.machine);
        }
        let mut active = std::mem::take(&mut self.active);
        active.retain_mut(|episode| self.develop(now_s, episode, blocks));
        self.active = active;
    }

    fn start_random(&mut self, now_s: f64, machine: usize, mut noise: Noise) {
        let kind = place(machine).0;
        let faults = kind.faults();
        let fault = faults[noise.index(faults.len())];
        let (low, high) = (self.random.develop_min_s.ln(), self.random.develop_max_s.ln());
        let planned = PlannedFault {
            machine,
            kind: fault,
            element: noise.index(fault.elements(kind)),
            develop_s: noise.range(low, high).exp(),
            repair_s: self.random.repair_s * noise.range(0.5, 1.5),
        };
        // A kind that is active already, by plan or by hand, is left out this time.
        let _ = self.start(now_s, planned);
        self.plan_random(machine, noise, now_s + planned.develop_s + planned.repair_s);
    }

    /// Returns whether the episode goes on.
    fn develop(&mut self, now_s: f64, episode: &mut Episode, blocks: &mut [Block]) -> bool {
        let PlannedFault { machine, kind, element, develop_s, repair_s } = episode.fault;
        let passed_s = now_s - episode.onset_s;
        if passed_s >= develop_s + repair_s {
            self.report(now_s, episode, TruthKind::Repaired, 0.0);
            return false;
        }
        let progress = passed_s / develop_s;
        let severity = kind.severity(progress);
        let state = blocks[machine / BLOCK_MACHINES].machine_mut(machine % BLOCK_MACHINES);
        let is_visible = match kind {
            // One repeated value looks like a quiet machine until it has been repeated for a while.
            FaultKind::StuckSensor => progress >= 0.1,
            _ => severity >= kind.detectable_severity(),
        };
        if !episode.is_detected && is_visible && state.is_working() {
            episode.is_detected = true;
            self.report(now_s, episode, TruthKind::Detectable, severity);
        }
        if !episode.has_failed && progress >= 1.0 {
            episode.has_failed = true;
            self.report(now_s, episode, TruthKind::Failure, severity);
        }
        state.effects.set(kind, severity, element);
        if episode.has_failed && kind.trips() {
            state.effects.is_down = true;
            state.effects.in_repair |= passed_s >= develop_s + 0.3 * repair_s;
        }
        true
    }
}

fn clear(blocks: &mut [Block], machine: usize) {
    blocks[machine / BLOCK_MACHINES].machine_mut(machine % BLOCK_MACHINES).effects = Default::default();
}
