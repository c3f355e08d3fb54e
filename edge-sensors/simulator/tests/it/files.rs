//! `configs/factory-layout.json` and `configs/thing-templates.json` describe exactly the simulated machines.

use std::collections::{BTreeMap, BTreeSet};

use egiz_simulator::property::{Form, properties};
use egiz_simulator::{MachineKind, Plant, SimulatorConfig};
use serde_json::Value;

fn read(name: &str) -> Value {
    let path = format!("{}/../../configs/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap()
}

#[test]
fn the_layout_has_every_machine_once_and_on_the_floor() {
    let layout = read("factory-layout.json");
    assert_eq!((&layout["version"], &layout["units"]), (&Value::from(1), &Value::from("m")));
    let site = layout["site"].as_str().unwrap();
    let expected: BTreeMap<String, String> = egiz_simulator::devices(&SimulatorConfig::default())
        .unwrap()
        .into_iter()
        .map(|info| (format!("{site}:{}", info.device), info.kind.template_name().to_owned()))
        .collect();
    let equipment = layout["equipment"].as_array().unwrap();
    let found: BTreeMap<String, String> = equipment
        .iter()
        .map(|item| (item["thingId"].as_str().unwrap().to_owned(), item["kind"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(equipment.len(), found.len());
    assert_eq!(found, expected);

    let areas: BTreeSet<_> =
        layout["areas"].as_array().unwrap().iter().map(|area| area["id"].as_str().unwrap()).collect();
    let number = |value: &Value| value.as_f64().unwrap();
    let mut boxes = Vec::new();
    for item in equipment {
        assert!(areas.contains(item["area"].as_str().unwrap()), "{item}");
        let (x, z) = (number(&item["position"]["x"]), number(&item["position"]["z"]));
        let half = (number(&item["size"]["length"]) / 2.0, number(&item["size"]["width"]) / 2.0);
        assert_eq!(number(&item["rotation_degrees"]), 0.0, "the boxes below know no rotation");
        assert!(x - half.0 >= 0.0 && x + half.0 <= number(&layout["floor"]["length"]), "{item}");
        assert!(z - half.1 >= 0.0 && z + half.1 <= number(&layout["floor"]["width"]), "{item}");
        boxes.push((x - half.0, x + half.0, z - half.1, z + half.1));
    }
    for (index, a) in boxes.iter().enumerate() {
        for b in &boxes[index + 1..] {
            assert!(a.1 <= b.0 || b.1 <= a.0 || a.3 <= b.2 || b.3 <= a.2, "machines overlap: {a:?} {b:?}");
        }
    }
    let conveyors = layout["conveyors"].as_array().unwrap();
    assert_eq!(conveyors.len(), 12);
    for conveyor in conveyors {
        for end in ["from", "to"] {
            assert!(found.contains_key(conveyor[end].as_str().unwrap()), "{conveyor}");
        }
    }
    assert!(!layout["cameras"].as_array().unwrap().is_empty());
}

#[test]
fn the_templates_have_every_property_with_its_unit_and_shape() {
    let file = read("thing-templates.json");
    let templates: BTreeMap<&str, &Value> = file["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| (template["name"].as_str().unwrap(), template))
        .collect();
    assert!(templates["generic"]["features"].as_object().unwrap().is_empty());
    assert_eq!(templates.len(), MachineKind::ALL.len() + 1);
    for kind in MachineKind::ALL {
        let template = templates[kind.template_name()];
        assert_eq!(template["definition"], kind.definition());
        assert_eq!(template["attributes"]["type"], kind.type_name());
        assert_eq!(template["devices"][0], format!("{}-*", kind.type_name()));
        let mut described: usize = 0;
        for (name, feature) in template["features"].as_object().unwrap() {
            described += feature.as_object().unwrap().len();
            assert!(properties(kind).any(|property| property.feature == name), "{kind:?} {name}");
        }
        assert_eq!(described, properties(kind).count(), "{kind:?}");
        for property in properties(kind) {
            let entry = &template["features"][property.feature][property.name];
            let expected = match property.form {
                Form::Number { .. } => "number",
                Form::Zones { .. } => "array",
                Form::Text => "text",
            };
            assert_eq!(entry["type"], expected, "{kind:?} {}", property.name);
            assert_eq!(entry["unit"].as_str().unwrap_or(""), property.unit, "{kind:?} {}", property.name);
            assert!(entry["title"].is_string());
        }
    }
}

/// A demo in which sound machines are yellow teaches to ignore yellow.
#[test]
fn a_sound_plant_stays_within_the_templates_limits() {
    let file = read("thing-templates.json");
    let templates = file["templates"].as_array().unwrap();
    let config = SimulatorConfig::default();
    let mut plant = Plant::new(&config).unwrap();
    let mut outside: BTreeMap<String, usize> = BTreeMap::new();
    let samples = 360;
    for _ in 0..samples {
        plant.step(20.0);
        for (machine, info) in egiz_simulator::devices(&config).unwrap().iter().enumerate() {
            let template =
                templates.iter().find(|template| template["name"] == info.kind.template_name()).unwrap();
            let sample = plant.sample(machine).unwrap();
            for (property, value) in properties(info.kind).zip(&sample.values) {
                let entry = &template["features"][property.feature][property.name];
                let limit = |level: &str, end: &str| entry[format!("{level}_{end}")].as_f64();
                for number in (0..6).filter_map(|element| value.number(element)) {
                    let name = format!("{} {}", info.device, property.name);
                    let below = |low: Option<f64>| low.is_some_and(|low| number < low);
                    let above = |high: Option<f64>| high.is_some_and(|high| number > high);
                    assert!(
                        !below(entry["min"].as_f64()) && !above(entry["max"].as_f64()),
                        "{name} {number}"
                    );
                    if below(limit("warning", "low")) || above(limit("warning", "high")) {
                        *outside.entry(name).or_default() += 1;
                    }
                }
            }
        }
    }
    // Warm-up of a changed recipe, film at its end and a metal reject may cross a warning, shortly.
    let often: Vec<_> = outside.iter().filter(|(_, count)| **count > samples / 12).collect();
    assert!(often.is_empty(), "{often:?}");
}
