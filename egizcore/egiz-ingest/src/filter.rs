//! Topic filters of brokers elsewhere.

use std::str::FromStr;

/// A topic filter: levels by `/`, `+` for one, `#` at the end for any number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter(String);

/// The text is no topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(&'static str);

impl FilterError {
    /// What is allowed, in words.
    pub const ALLOWED: &'static str = "topic filters as in \"sensors/#\" or \"+/line-1/+/telemetry\"; shared ones by group instead of $share";
}

const FILTER_BYTES_MAX: usize = 1024;

impl FromStr for TopicFilter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        if text.is_empty() || text.len() > FILTER_BYTES_MAX || text.chars().any(char::is_control) {
            return Err(FilterError("is empty, too long, or holds control characters"));
        }
        if text.starts_with("$share/") {
            return Err(FilterError("is a shared filter"));
        }
        let levels = text.split('/').count();
        for (index, level) in text.split('/').enumerate() {
            let wild = level.contains(['+', '#']);
            if wild && (level.len() > 1 || (level == "#" && index + 1 < levels)) {
                return Err(FilterError(
                    "has a wildcard that is not a level of its own, or # before the end",
                ));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl TopicFilter {
    /// The filter as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The filter that every member of `group` shares, or the filter itself.
    #[must_use]
    pub fn shared(&self, group: Option<&str>) -> String {
        group.map_or_else(|| self.0.clone(), |group| format!("$share/{group}/{}", self.0))
    }

    /// Whether a topic name belongs to it. Wildcards at the beginning do not match `$` topics.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && !self.0.starts_with('$') {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            match (wanted, levels.next()) {
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                _ => return false,
            }
        }
        levels.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filter: &str, topic: &str, expected: bool) {
        let filter: TopicFilter = filter.parse().expect("the filter is allowed");
        assert_eq!(filter.matches(topic), expected, "{filter:?} {topic}");
    }

    #[test]
    fn filters_match_as_the_specification_says() {
        check("sensors/#", "sensors/factory/oven/telemetry", true);
        check("sensors/#", "sensors", true);
        check("sensors/#", "sensor", false);
        check("#", "a/b", true);
        check("#", "$SYS/uptime", false);
        check("+/b", "$SYS/b", false);
        check("$SYS/#", "$SYS/uptime", true);
        check("a/+/c", "a/b/c", true);
        check("a/+/c", "a//c", true);
        check("a/+", "a", false);
        check("a/+", "a/b/c", false);
        check("a/b", "a/b/", false);
        check("/+", "/a", true);
    }

    #[test]
    fn other_texts_are_no_filters() {
        for text in ["", "a/#/b", "a+", "#a", "$share/g/a", "a\0"] {
            assert!(text.parse::<TopicFilter>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_group_shares_a_filter() {
        let filter: TopicFilter = "sensors/#".parse().expect("it is allowed");
        assert_eq!(filter.shared(Some("twins")), "$share/twins/sensors/#");
        assert_eq!(filter.shared(None), "sensors/#");
    }
}
