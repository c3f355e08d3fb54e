//! What a layout must hold so that EgizVision can draw it: a floor, areas, equipment with places, conveyors with points.
//!
//! Members that are not named here are left alone: viewers to come may know more.

use egiz_model::ThingId;
use serde_json::Value;

/// The most places at fault that are named; the detail counts the rest.
const FAULTS_MAX: usize = 20;
/// The most machines, areas or conveyors of one layout.
const ENTRIES_MAX: usize = 10_000;
/// No factory is longer; in metres.
const METRES_MAX: f64 = 100_000.0;

/// What is wrong with a layout.
#[derive(Debug, Clone, PartialEq, Eq, Default, thiserror::Error)]
#[error("{}", self.in_one_line())]
pub struct LayoutError {
    /// JSON pointers (RFC 6901) and what must be there; at most 20.
    pub found: Vec<(String, String)>,
    /// How many faults there are besides.
    pub more: usize,
}

impl LayoutError {
    fn in_one_line(&self) -> String {
        let (pointer, reason) = self.found.first().cloned().unwrap_or_default();
        match self.found.len().saturating_sub(1) + self.more {
            0 => format!("{pointer} {reason}"),
            others => format!("{pointer} {reason}; and {others} more"),
        }
    }
}

/// Checks a layout; lengths are in metres.
///
/// # Errors
/// The places at fault.
pub fn check_layout(layout: &Value) -> Result<(), LayoutError> {
    let mut faults = LayoutError::default();
    if layout.is_object() {
        faults.floor(&layout["floor"]);
        for (name, rule) in RULES {
            faults.list(layout, name, rule);
        }
    } else {
        faults.add("", "an object with floor, areas, equipment and conveyors");
    }
    if faults.found.is_empty() { Ok(()) } else { Err(faults) }
}

type Rule = fn(&mut LayoutError, &str, &Value);

const RULES: [(&str, Rule); 3] =
    [("areas", LayoutError::area), ("equipment", LayoutError::machine), ("conveyors", LayoutError::conveyor)];

impl LayoutError {
    fn add(&mut self, pointer: impl Into<String>, wanted: &str) {
        if self.found.len() < FAULTS_MAX {
            self.found.push((pointer.into(), format!("must be {wanted}")));
        } else {
            self.more += 1;
        }
    }

    fn list(&mut self, layout: &Value, name: &str, rule: Rule) {
        match &layout[name] {
            Value::Null => {}
            Value::Array(entries) if entries.len() > ENTRIES_MAX => {
                self.add(format!("/{name}"), "a list of at most 10,000");
            }
            Value::Array(entries) => {
                for (index, entry) in entries.iter().enumerate() {
                    rule(self, &format!("/{name}/{index}"), entry);
                }
            }
            _ => self.add(format!("/{name}"), "a list"),
        }
    }

    fn floor(&mut self, floor: &Value) {
        if !floor.is_null() {
            self.lengths("/floor", floor, &["length", "width"]);
        }
    }

    fn area(&mut self, at: &str, area: &Value) {
        self.text(at, area, "id");
        self.coordinates(at, area);
        self.lengths(at, area, &["length", "width"]);
    }

    fn machine(&mut self, at: &str, machine: &Value) {
        if machine["thingId"].as_str().is_none_or(|id| ThingId::check(id).is_err()) {
            self.add(format!("{at}/thingId"), "a Thing id such as factory:oven-001");
        }
        self.coordinates(&format!("{at}/position"), &machine["position"]);
        if !machine["size"].is_null() {
            self.lengths(&format!("{at}/size"), &machine["size"], &["length", "width", "height"]);
        }
        let rotation = &machine["rotation_degrees"];
        if !rotation.is_null() && !rotation.as_f64().is_some_and(|degrees| degrees.abs() <= 360.0) {
            self.add(format!("{at}/rotation_degrees"), "a number from -360 to 360");
        }
    }

    fn conveyor(&mut self, at: &str, conveyor: &Value) {
        match conveyor["points"].as_array() {
            Some(points) if (2..=1000).contains(&points.len()) => {
                for (index, point) in points.iter().enumerate() {
                    self.coordinates(&format!("{at}/points/{index}"), point);
                }
            }
            _ => self.add(format!("{at}/points"), "a list of 2 to 1,000 points"),
        }
    }

    fn text(&mut self, at: &str, holder: &Value, name: &str) {
        if !holder[name].as_str().is_some_and(|text| (1..=256).contains(&text.len())) {
            self.add(format!("{at}/{name}"), "a text of 1 to 256 bytes");
        }
    }

    fn coordinates(&mut self, at: &str, holder: &Value) {
        for name in ["x", "z"] {
            if !holder[name].as_f64().is_some_and(|metres| metres.abs() <= METRES_MAX) {
                self.add(format!("{at}/{name}"), "a number of metres");
            }
        }
    }

    fn lengths(&mut self, at: &str, holder: &Value, names: &[&str]) {
        for name in names {
            if !holder[name].as_f64().is_some_and(|metres| metres > 0.0 && metres <= METRES_MAX) {
                self.add(format!("{at}/{name}"), "a number of metres above 0");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn places(layout: Value) -> Vec<String> {
        match check_layout(&layout) {
            Ok(()) => Vec::new(),
            Err(error) => error.found.into_iter().map(|(pointer, _)| pointer).collect(),
        }
    }

    #[test]
    fn the_layout_of_the_demonstration_is_sound() {
        let text = include_str!("../../../../configs/factory-layout.json");
        assert_eq!(places(serde_json::from_str(text).expect("JSON")), Vec::<String>::new());
        assert_eq!(places(json!({})), Vec::<String>::new());
    }

    #[test]
    fn each_place_at_fault_is_named() {
        let layout = json!({
            "floor": {"length": 0, "width": 20},
            "areas": [{"id": "a", "x": 0, "z": 0, "length": 1, "width": "2"}],
            "equipment": [
                {"thingId": "f:a", "position": {"x": 1, "z": 2}, "rotation_degrees": 90, "colour": "red"},
                {"thingId": "no id", "position": {"x": 1}, "size": {"length": 1, "width": 1, "height": -1}},
            ],
            "conveyors": {},
        });
        assert_eq!(
            places(layout),
            [
                "/floor/length",
                "/areas/0/width",
                "/equipment/1/thingId",
                "/equipment/1/position/z",
                "/equipment/1/size/height",
                "/conveyors"
            ]
        );
        assert_eq!(places(json!([])), [""]);
    }

    #[test]
    fn the_list_of_faults_is_bounded() {
        let error = check_layout(&json!({"equipment": vec![json!({}); 100]})).expect_err("faults");
        assert_eq!((error.found.len(), error.more), (FAULTS_MAX, 280));
        assert!(error.to_string().ends_with("; and 299 more"), "{error}");
    }
}
