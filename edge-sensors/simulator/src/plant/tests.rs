use super::*;
use crate::config::{TimeOfDay, TimestampUnit};
use crate::fault::TruthKind;
use crate::payload;
use crate::property::{Form, properties};

fn config() -> SimulatorConfig {
    SimulatorConfig { seed: 7, ..SimulatorConfig::default() }
}

fn plant() -> Plant {
    Plant::new(&config()).unwrap()
}

fn signal(plant: &mut Plant, device: &str, path: &str) -> f64 {
    plant.sample(device_index(device).unwrap()).unwrap().signal(path).unwrap()
}

/// Mean of a signal over ten minutes of ten-second samples.
fn mean(plant: &mut Plant, device: &str, path: &str) -> f64 {
    let values: Vec<f64> = (0..60)
        .map(|_| {
            plant.step(10.0);
            signal(plant, device, path)
        })
        .collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn state(plant: &mut Plant, device: &str) -> &'static str {
    match plant.sample(device_index(device).unwrap()).unwrap().get("process", "state") {
        Some(Value::Text(state)) => state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn names_and_indexes_agree() {
    for machine in 0..10_000 {
        assert_eq!(device_index(&device_name(machine)), Some(machine));
    }
    assert_eq!(device_name(3), "oven-001");
    assert_eq!(device_name(10), "oven-002");
    assert_eq!(device_name(PLANT_MACHINES + 3), "oven-003");
    assert_eq!(device_name(2 * PLANT_MACHINES - 1), "boiler-002");
    for wrong in ["oven", "oven-0", "oven-000", "oven-1", "oven-01", "press-001", "oven-99999999999", ""] {
        assert_eq!(device_index(wrong), None, "{wrong}");
    }
}

#[test]
fn the_same_seed_gives_the_same_plant_and_another_seed_another() {
    let run = |seed: u64| {
        let mut plant =
            Plant::new(&SimulatorConfig { seed, faults_per_machine_per_day: 40.0, ..config() }).unwrap();
        let mut payloads = Vec::new();
        for _ in 0..200 {
            plant.step(7.0);
            for machine in 0..plant.machines() {
                let sample = plant.sample(machine).unwrap();
                payloads.push(payload::telemetry("d", 0, TimestampUnit::Seconds, None, &sample));
            }
        }
        (payloads, plant.drain_truth())
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert!(first == again);
    assert!(!first.1.is_empty());
    assert!(first.0 != other.0 && first.1 != other.1);
}

#[test]
fn how_often_one_machine_is_read_does_not_change_the_truth_or_the_process() {
    let (mut quiet, mut busy) = (plant(), plant());
    for _ in 0..300 {
        quiet.step(1.0);
        busy.step(1.0);
        busy.sample(3);
        busy.sample(1);
    }
    assert_eq!(quiet.flow(0), busy.flow(0));
    for slot in [1, 3] {
        assert_eq!(quiet.blocks[0].machine(slot).amperes, busy.blocks[0].machine(slot).amperes);
    }
}

#[test]
fn production_starts_warm_and_with_product_in_every_station() {
    let mut plant = plant();
    plant.step(1.0);
    for line in ["001", "002"] {
        assert!(signal(&mut plant, &format!("oven-{line}"), "thermal/temperature_zones/3") > 150.0);
        assert!(signal(&mut plant, &format!("packer-{line}"), "production/packs_total") > 0.0);
    }
    assert_eq!(state(&mut plant, "chiller-001"), "running");
}

#[test]
fn every_value_of_a_day_stays_within_its_physical_bounds() {
    let mut plant = plant();
    for _ in 0..24 * 60 {
        plant.step(60.0);
        for machine in 0..plant.machines() {
            let sample = plant.sample(machine).unwrap();
            for (property, value) in properties(sample.kind).zip(&sample.values) {
                let (low, high) = match property.unit {
                    "°C" => (0.0, 300.0),
                    "%" => (0.0, 101.0),
                    "V" => (205.0, 245.0),
                    "A" => (0.0, 480.0),
                    "Hz" => (49.5, 50.5),
                    "mm/s" => (0.0, 4.5),
                    "bar" => (0.0, 17.0),
                    "" if property.name == "power_factor" => (0.0, 1.0),
                    _ => (0.0, 1e7),
                };
                for element in 0.. {
                    let Some(number) = value.number(element) else { break };
                    assert!((low..=high).contains(&number), "{machine} {} = {number}", property.name);
                    if matches!(property.form, Form::Number { .. }) {
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn a_day_of_production_follows_the_shift_plan() {
    let mut plant = plant();
    let mut seen = std::collections::BTreeMap::<&str, u32>::new();
    for _ in 0..24 * 12 {
        plant.step(300.0);
        *seen.entry(state(&mut plant, "oven-001")).or_default() += 1;
    }
    for expected in ["running", "idle", "cleaning", "preheating"] {
        assert!(seen.get(expected).is_some_and(|count| *count > 2), "{expected} in {seen:?}");
    }
}

#[test]
fn an_oven_at_rest_is_cold_and_takes_only_its_standby() {
    let mut plant =
        Plant::new(&SimulatorConfig { start_time_of_day: TimeOfDay::from_minutes(4 * 60), ..config() })
            .unwrap();
    plant.step(1.0);
    assert_eq!(state(&mut plant, "oven-001"), "idle");
    assert!(signal(&mut plant, "oven-001", "electrical/active_power_kw") < 1.0);
}

#[test]
fn zones_hold_the_setpoint_in_production() {
    let mut plant = plant();
    let mut deviation = 0.0;
    let mut count = 0.0;
    for _ in 0..720 {
        plant.step(10.0);
        let sample = plant.sample(3).unwrap();
        for zone in 0..6 {
            let read = |name: &str| sample.signal(&format!("thermal/{name}/{zone}")).unwrap();
            deviation += (read("temperature_zones") - read("setpoint_zones")).abs();
            count += 1.0;
        }
    }
    assert!(deviation / count < 6.0, "mean deviation {}", deviation / count);
}

#[test]
fn energy_is_the_integral_of_power() {
    let mut plant = plant();
    let before = signal(&mut plant, "oven-001", "electrical/energy_kwh");
    let mut integral = 0.0;
    for _ in 0..3600 {
        plant.step(1.0);
        integral += signal(&mut plant, "oven-001", "electrical/active_power_kw") / 3600.0;
    }
    let counted = signal(&mut plant, "oven-001", "electrical/energy_kwh") - before;
    assert!(counted > 50.0, "{counted}");
    assert!((counted - integral).abs() / counted < 0.01, "{counted} {integral}");
}

#[test]
fn power_is_voltage_times_current_times_power_factor() {
    let mut plant = plant();
    for _ in 0..100 {
        plant.step(5.0);
        for device in ["mixer-001", "oven-002", "compressor-001"] {
            let apparent: f64 = (1..=3)
                .map(|phase| {
                    signal(&mut plant, device, &format!("electrical/voltage_l{phase}"))
                        * signal(&mut plant, device, &format!("electrical/current_l{phase}"))
                })
                .sum::<f64>()
                / 1000.0;
            let power = signal(&mut plant, device, "electrical/active_power_kw");
            let factor = signal(&mut plant, device, "electrical/power_factor");
            assert!((apparent * factor - power).abs() < 0.04 * power + 0.02, "{device} {apparent} {power}");
        }
    }
}

#[test]
fn flour_and_pieces_are_conserved_through_a_day_with_failures() {
    let config = SimulatorConfig { faults_per_machine_per_day: 6.0, fault_develop_max_s: 3000.0, ..config() };
    let mut plant = Plant::new(&config).unwrap();
    let mut packed = [0; 2];
    for _ in 0..24 * 60 {
        plant.step(60.0);
        for (line, packed) in packed.iter_mut().enumerate() {
            let flow = plant.flow(line).unwrap();
            assert!((flow.dispensed_kg - flow.in_mixer_kg - flow.mixed_kg).abs() < 1e-3, "{flow:?}");
            assert_eq!(
                flow.pieces_formed,
                flow.pieces_in_line + flow.pieces_rejected + flow.pieces_packed,
                "{flow:?}"
            );
            assert!(flow.pieces_packed >= *packed);
            *packed = flow.pieces_packed;
        }
    }
    assert!(packed.iter().all(|pieces| *pieces > 10_000), "{packed:?}");
}

#[test]
fn a_machine_that_stands_holds_up_the_line_and_the_line_recovers() {
    let mut plant = plant();
    plant.inject("conveyor-001", FaultKind::BearingWear, 1.0, None).unwrap();
    plant.step(300.0);
    assert_eq!(state(&mut plant, "conveyor-001"), "fault");
    assert_eq!(state(&mut plant, "oven-001"), "blocked");
    plant.step(900.0);
    assert_eq!(state(&mut plant, "conveyor-001"), "maintenance");
    assert_eq!(plant.repair("conveyor-001"), Ok(1));
    plant.step(600.0);
    assert_eq!(state(&mut plant, "conveyor-001"), "running");
    assert_eq!(state(&mut plant, "oven-001"), "running");
}

/// Compares a plant with a fault to the same plant without it, in pairs of ten-minute means.
fn shift(device: &str, fault: FaultKind, element: usize, path: &str) -> (f64, f64) {
    let (mut sound, mut faulty) = (plant(), plant());
    let before = mean(&mut faulty, device, path) - mean(&mut sound, device, path);
    assert_eq!(before, 0.0, "{path} differs before the onset");
    faulty.inject(device, fault, 3600.0, Some(element)).unwrap();
    // Near the end of the development, before anything trips.
    sound.step(2700.0);
    faulty.step(2700.0);
    (mean(&mut sound, device, path), mean(&mut faulty, device, path))
}

#[test]
fn lost_heating_elements_raise_the_duty_and_lower_the_current_of_a_phase() {
    // The chamber in use does not matter to the comparison: both plants bake the same.
    let (sound, faulty) = shift("oven-002", FaultKind::HeaterElementLoss, 3, "thermal/heater_duty_zones/3");
    assert!(faulty > sound + 15.0, "{sound} {faulty}");
    let (sound, faulty) = shift("oven-002", FaultKind::HeaterElementLoss, 3, "electrical/current_l1");
    assert!(faulty < sound - 5.0, "{sound} {faulty}");
}

#[test]
fn a_worn_bearing_shakes_and_gets_hot() {
    let (sound, faulty) = shift("compressor-001", FaultKind::BearingWear, 0, "mechanical/vibration_rms_mm_s");
    assert!(faulty > sound + 2.0, "{sound} {faulty}");
    let (sound, faulty) =
        shift("compressor-001", FaultKind::BearingWear, 0, "thermal/bearing_temperature_celsius");
    assert!(faulty > sound + 5.0, "{sound} {faulty}");
}

#[test]
fn an_imbalance_lowers_one_voltage_and_parts_the_currents() {
    let (sound, faulty) = shift("chiller-001", FaultKind::PhaseImbalance, 1, "electrical/voltage_l2");
    assert!(faulty < sound - 6.0, "{sound} {faulty}");
    let (sound, faulty) = shift("chiller-001", FaultKind::PhaseImbalance, 1, "electrical/current_l2");
    assert!(faulty < sound * 0.93, "{sound} {faulty}");
}

#[test]
fn lost_capacitors_lower_the_power_factor_at_the_same_power() {
    let (sound, faulty) = shift("mixer-001", FaultKind::PowerFactorDrop, 0, "electrical/power_factor");
    assert!(faulty < sound - 0.08, "{sound} {faulty}");
    let (sound, faulty) = shift("mixer-001", FaultKind::PowerFactorDrop, 0, "electrical/active_power_kw");
    assert!((faulty - sound).abs() < 0.03 * sound, "{sound} {faulty}");
}

#[test]
fn a_drifting_sensor_is_wrong_and_the_process_is_not() {
    let (sound, faulty) = shift("oven-001", FaultKind::SensorDrift, 4, "thermal/temperature_zones/4");
    assert!(faulty > sound + 12.0, "{sound} {faulty}");
    let (sound, faulty) = shift("oven-001", FaultKind::SensorDrift, 4, "thermal/heater_duty_zones/4");
    assert_eq!(sound, faulty);
}

#[test]
fn a_stuck_sensor_repeats_one_value_until_repair() {
    let mut plant = plant();
    plant.inject("chiller-002", FaultKind::StuckSensor, 1000.0, None).unwrap();
    let mut values = std::collections::BTreeSet::new();
    for _ in 0..100 {
        plant.step(10.0);
        values.insert(signal(&mut plant, "chiller-002", "thermal/supply_temperature_celsius").to_bits());
    }
    assert_eq!(values.len(), 1);
    plant.repair("chiller-002").unwrap();
    let after = mean(&mut plant, "chiller-002", "thermal/supply_temperature_celsius");
    assert!(!values.contains(&after.to_bits()));
}

#[test]
fn lost_refrigerant_raises_superheat_and_lowers_suction_pressure() {
    let (sound, faulty) =
        shift("chiller-001", FaultKind::RefrigerantLoss, 0, "refrigeration/superheat_kelvin");
    assert!(faulty > sound + 8.0, "{sound} {faulty}");
    let (sound, faulty) =
        shift("chiller-001", FaultKind::RefrigerantLoss, 0, "refrigeration/suction_pressure_bar");
    assert!(faulty < sound - 0.8, "{sound} {faulty}");
}

#[test]
fn the_truth_tells_onset_detectable_failure_and_repair_in_order() {
    let fault = FaultConfig {
        machine: "mixer-002".to_owned(),
        kind: FaultKind::BearingWear,
        at_s: 120.0,
        develop_s: 1200.0,
        repair_s: Some(600.0),
        element: None,
    };
    let mut plant = Plant::new(&SimulatorConfig { faults: vec![fault], ..config() }).unwrap();
    plant.step(3600.0);
    let events = plant.drain_truth();
    let kinds: Vec<_> = events.iter().map(|event| event.event).collect();
    assert_eq!(kinds, [TruthKind::Onset, TruthKind::Detectable, TruthKind::Failure, TruthKind::Repaired]);
    assert!(events.iter().all(|event| event.device == "mixer-002" && event.episode == 1));
    assert!(events.iter().all(|event| event.signals[0] == "mechanical/vibration_rms_mm_s"));
    for (event, at_s) in [(&events[0], 120.0), (&events[2], 1320.0), (&events[3], 1920.0)] {
        assert!((event.elapsed_s - at_s).abs() <= 1.0, "{event:?}");
    }
    assert!(events[1].severity >= FaultKind::BearingWear.detectable_severity());
    assert!(plant.drain_truth().is_empty());
}

#[test]
fn faults_that_do_not_fit_are_refused_with_what_is_allowed() {
    let mut plant = plant();
    let mut refusal = |device: &str, kind, develop_s, element| {
        plant.inject(device, kind, develop_s, element).unwrap_err().to_string()
    };
    assert_eq!(
        refusal("oven-009", FaultKind::BearingWear, 60.0, None),
        "no device \"oven-009\" in this plant of 18 machines"
    );
    assert!(
        refusal("silo-001", FaultKind::RefrigerantLoss, 60.0, None).contains("possible are phase_imbalance")
    );
    assert!(refusal("oven-001", FaultKind::BearingWear, 0.0, None).contains("develop_s is 0"));
    assert!(refusal("oven-001", FaultKind::BearingWear, f64::NAN, None).contains("develop_s is NaN"));
    assert!(refusal("oven-001", FaultKind::HeaterElementLoss, 60.0, Some(6)).contains("allowed"));
    plant.inject("oven-001", FaultKind::BearingWear, 60.0, None).unwrap();
    let again = plant.inject("oven-001", FaultKind::BearingWear, 60.0, None);
    assert!(again.unwrap_err().to_string().contains("already has"));
}

#[test]
fn a_large_plant_has_unlike_blocks() {
    let mut plant = Plant::new(&SimulatorConfig { devices: 100, ..config() }).unwrap();
    assert_eq!(plant.machines(), 100);
    assert!(plant.sample(100).is_none());
    plant.step(1.0);
    let zones: std::collections::BTreeSet<_> = ["oven-001", "oven-003", "oven-005", "oven-007"]
        .map(|device| signal(&mut plant, device, "electrical/current_l1").to_bits())
        .into_iter()
        .collect();
    assert_eq!(zones.len(), 4);
}
