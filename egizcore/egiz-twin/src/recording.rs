//! Which samples of a property are worth keeping: what a template says, for who keeps every sample.
//!
//! The twin itself takes every sample; it only hands the rules on. Whether a sample is kept also depends on the one that was
//! kept before it, which is known where samples are kept: [`RecordingRule::keeps`] decides from both.

use std::collections::BTreeMap;
use std::sync::Arc;

use egiz_model::{Timestamp, Value, ValueRef};

use crate::judge::Trust;

/// What a template says about the samples of one property.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RecordingRule {
    /// A value is kept when it is further than this from the one kept before; with 0, when it is another. Every value where it
    /// is missing. In the unit of the property.
    pub deadband: Option<f64>,
    /// What is measured sooner than this after what was kept before is not kept, in microseconds.
    pub min_interval_micros: i64,
    /// What is measured later than this after what was kept before is kept, in microseconds.
    pub max_interval_micros: Option<i64>,
}

/// The rules of a template's properties that have any.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RecordingRules {
    by_feature: BTreeMap<Arc<str>, BTreeMap<Arc<str>, RecordingRule>>,
}

/// A sample that is kept, or may be.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedSample<V> {
    /// When it was measured.
    pub time: Timestamp,
    /// Its value.
    pub value: V,
    /// How far it can be trusted, and why.
    pub trust: Trust,
}

impl RecordingRules {
    /// Reads them from a template; nothing where no property has one.
    pub(crate) fn read(template: &serde_json::Value) -> Option<Arc<Self>> {
        let mut rules = Self::default();
        let features = template.get("features").and_then(serde_json::Value::as_object);
        for (feature, properties) in features.into_iter().flatten() {
            for (property, described) in properties.as_object().into_iter().flatten() {
                let Some(rule) = described.get("recording").map(RecordingRule::read) else { continue };
                if rule != RecordingRule::default() {
                    let of_feature = rules.by_feature.entry(feature.as_str().into()).or_default();
                    of_feature.insert(property.as_str().into(), rule);
                }
            }
        }
        (!rules.by_feature.is_empty()).then(|| Arc::new(rules))
    }

    /// The rule of a property, if it has one.
    pub fn of(&self, feature: &str, property: &str) -> Option<&RecordingRule> {
        self.by_feature.get(feature)?.get(property)
    }
}

impl RecordingRule {
    fn read(described: &serde_json::Value) -> Self {
        let number = |name: &str| {
            described.get(name).and_then(serde_json::Value::as_f64).filter(|number| *number >= 0.0)
        };
        #[expect(clippy::cast_possible_truncation, reason = "`as` holds the number within the range of i64")]
        let micros = |seconds: f64| (seconds * 1e6) as i64;
        Self {
            deadband: number("deadband"),
            min_interval_micros: number("min_interval_s").map_or(0, micros),
            max_interval_micros: number("max_interval_s").map(micros),
        }
    }

    /// Whether a sample is to be kept, the last kept one being `before`. The first one is, one that came late is, and so is one
    /// that can be trusted more or less than the one before.
    pub fn keeps(
        &self,
        sample: &RecordedSample<&ValueRef<'_>>,
        before: Option<&RecordedSample<Value>>,
    ) -> bool {
        let Some(before) = before else { return true };
        let after = sample.time.micros_since(before.time);
        if after <= 0 || sample.trust != before.trust {
            return true;
        }
        if self.max_interval_micros.is_some_and(|most| after >= most) {
            return true;
        }
        after >= self.min_interval_micros
            && self.deadband.is_none_or(|deadband| is_apart(sample.value, &before.value, deadband))
    }
}

/// Whether two values are further apart than a deadband. Lists are if any of their items are, and what is no number is if it is
/// another.
fn is_apart(value: &ValueRef<'_>, before: &Value, deadband: f64) -> bool {
    if let (Some(value), Some(before)) = (value.as_f64(), before.as_f64()) {
        return (value - before).abs() > deadband;
    }
    match (value, before) {
        (ValueRef::List(items), Value::List(before)) => {
            items.iter().count() != before.len()
                || items.iter().zip(before).any(|(item, before)| is_apart(&item, before, deadband))
        }
        _ => value.to_owned() != *before,
    }
}

#[cfg(test)]
mod tests {
    use egiz_model::record::format::{DEPTH_MAX, ItemReader};
    use egiz_model::{Quality, QualityReason};
    use serde_json::{Value as Json, json};

    use super::*;

    const GOOD: Trust = (Quality::Good, QualityReason::None);

    /// Which of these samples, a second and a value each, a rule keeps.
    fn kept(rule: &Json, samples: &[(f64, Json)]) -> Vec<f64> {
        let template = json!({"features": {"thermal": {"zone": {"recording": rule}}}});
        let rules = RecordingRules::read(&template);
        let rule =
            rules.as_deref().and_then(|rules| rules.of("thermal", "zone")).copied().unwrap_or_default();
        let mut before: Option<RecordedSample<Value>> = None;
        let mut kept = Vec::new();
        for (second, value) in samples {
            let value = Value::from_json(value);
            let mut bytes = Vec::new();
            value.encode(&mut bytes);
            let reference = ItemReader::new(&bytes).value(DEPTH_MAX).expect("just written");
            #[expect(clippy::cast_possible_truncation, reason = "small")]
            let time = Timestamp::from_micros((second * 1e6) as i64);
            let trust = if value == Value::Null { (Quality::Bad, QualityReason::NoValue) } else { GOOD };
            if rule.keeps(&RecordedSample { time, value: &reference, trust }, before.as_ref()) {
                kept.push(*second);
                if before.as_ref().is_none_or(|before| before.time < time) {
                    before = Some(RecordedSample { time, value, trust });
                }
            }
        }
        kept
    }

    fn numbers(values: &[(f64, f64)]) -> Vec<(f64, Json)> {
        values.iter().map(|(second, value)| (*second, json!(value))).collect()
    }

    #[test]
    fn without_a_rule_everything_is_kept() {
        let samples = numbers(&[(0.0, 1.0), (1.0, 1.0), (2.0, 1.0)]);
        assert_eq!(kept(&json!({}), &samples), [0.0, 1.0, 2.0]);
        assert_eq!(
            RecordingRules::read(&json!({"features": {"thermal": {"zone": {"recording": {}}}}})),
            None
        );
    }

    #[test]
    fn a_value_within_the_deadband_of_the_last_kept_one_is_not() {
        let samples =
            numbers(&[(0.0, 10.0), (1.0, 10.4), (2.0, 10.5), (3.0, 10.6), (4.0, 10.2), (5.0, 10.0)]);
        assert_eq!(kept(&json!({"deadband": 0.5}), &samples), [0.0, 3.0, 5.0]);
        let samples = numbers(&[(0.0, 1.0), (1.0, 1.0), (2.0, 1.1), (3.0, 1.1)]);
        assert_eq!(kept(&json!({"deadband": 0}), &samples), [0.0, 2.0]);
    }

    #[test]
    fn intervals_bound_how_often_and_how_seldom() {
        let steady: Vec<(f64, f64)> = (0..30).map(|second| (f64::from(second), 5.0)).collect();
        let rule = json!({"deadband": 1, "max_interval_s": 10});
        assert_eq!(kept(&rule, &numbers(&steady)), [0.0, 10.0, 20.0]);
        let busy: Vec<(f64, f64)> = (0..12).map(|second| (f64::from(second), f64::from(second))).collect();
        assert_eq!(kept(&json!({"min_interval_s": 5}), &numbers(&busy)), [0.0, 5.0, 10.0]);
        assert_eq!(kept(&json!({"deadband": 6, "min_interval_s": 5}), &numbers(&busy)), [0.0, 7.0]);
    }

    #[test]
    fn what_cannot_be_trusted_as_the_one_before_is_kept_and_so_is_what_came_late() {
        let samples = [
            (0.0, json!(1)),
            (1.0, json!(1)),
            (2.0, json!(null)),
            (3.0, json!(null)),
            (4.0, json!(1)),
            (2.5, json!(1)),
        ];
        assert_eq!(kept(&json!({"deadband": 5, "min_interval_s": 60}), &samples), [0.0, 2.0, 4.0, 2.5]);
    }

    #[test]
    fn words_and_lists_have_changes_too() {
        let words = [(0.0, json!("on")), (1.0, json!("on")), (2.0, json!("off")), (3.0, json!(7))];
        assert_eq!(kept(&json!({"deadband": 0}), &words), [0.0, 2.0, 3.0]);
        let lists = [
            (0.0, json!([1, 2])),
            (1.0, json!([1.5, 2])),
            (2.0, json!([1, 3.5])),
            (3.0, json!([1])),
            (4.0, json!([1])),
        ];
        assert_eq!(kept(&json!({"deadband": 1}), &lists), [0.0, 2.0, 3.0]);
    }

    #[test]
    fn what_makes_no_sense_in_a_template_is_no_rule() {
        let samples = numbers(&[(0.0, 1.0), (1.0, 1.0)]);
        for nonsense in [json!({"deadband": -1}), json!({"deadband": "wide"}), json!(7), json!(null)] {
            assert_eq!(kept(&nonsense, &samples), [0.0, 1.0], "{nonsense}");
        }
    }
}
