//! Topic names and topic filters, by section 4.7 of the specification.
//!
//! | rule | valid | invalid |
//! |---|---|---|
//! | at least one character, at most 65,535 bytes, no NUL | `a`, `/`, `a//b` | ``, `a\0` |
//! | a name has no wildcard | `a/b` | `a/+`, `#` |
//! | `+` and `#` fill a whole level | `+/b`, `a/#` | `a+`, `a#` |
//! | `#` is the last level | `a/#` | `#/a` |
//! | a wildcard at the front does not match `$…` | | `#` against `$SYS/x` |

/// The most levels that are handled; deeper topics and filters are refused, so that no work goes by the tens of thousands of
/// levels that 65,535 bytes have room for. The specification knows no bound but the bytes (4.7.3); this is the one that clients
/// know from Mosquitto, 200 separators.
pub const LEVELS_MAX: usize = 201;

/// Whether this is a topic name by the specification; one may be published to unless it [is too deep](is_too_deep).
#[must_use]
pub fn is_name(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= usize::from(u16::MAX) && !topic.contains(['+', '#', '\0'])
}

/// Whether a topic has more levels than are handled.
#[must_use]
pub fn is_too_deep(topic: &str) -> bool {
    topic.split('/').nth(LEVELS_MAX).is_some()
}

/// Whether somebody may subscribe to this filter.
#[must_use]
pub fn is_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > usize::from(u16::MAX) || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    let mut count = 0;
    while let Some(level) = levels.next() {
        count += 1;
        let wrong = match level {
            "#" => levels.peek().is_some(),
            "+" => false,
            other => other.contains(['+', '#']),
        };
        if wrong || count > LEVELS_MAX {
            return false;
        }
    }
    true
}

/// Whether a filter asks for a shared subscription.
#[must_use]
pub fn is_shared(filter: &str) -> bool {
    filter == "$share" || filter.starts_with("$share/")
}

/// The group and the filter of a shared subscription; no group where it is none or its form is wrong.
#[must_use]
pub fn split_shared(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        Some((group, filter)) => (Some(group), filter),
        None => (None, filter),
    }
}

/// Whether a filter that [`is_shared`] has a group without wildcards and a valid filter (MQTT-4.8.2-1, -2).
#[must_use]
pub fn is_shared_filter(filter: &str) -> bool {
    match split_shared(filter) {
        (Some(group), filter) => !group.is_empty() && !group.contains(['+', '#']) && is_filter(filter),
        (None, _) => false,
    }
}

/// Whether a filter matches a name. Both are valid.
#[must_use]
pub fn matches(filter: &str, name: &str) -> bool {
    if name.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        match (level, names.next()) {
            // `a/#` matches `a` itself, too.
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (wanted, Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mqtt_4_7_1_wildcards_fill_whole_levels() {
        for valid in ["a", "/", "a//b", "+", "#", "+/+", "a/+/b", "a/#", "/#", "$SYS/#", " "] {
            assert!(is_filter(valid), "{valid}");
        }
        for invalid in
            ["", "a+", "+a", "a/b#", "#/a", "a/#/b", "a\0", &"x".repeat(65_536), &"/".repeat(LEVELS_MAX)]
        {
            assert!(!is_filter(invalid), "{invalid}");
        }
        for invalid in ["", "a/+", "#", "a\0b"] {
            assert!(!is_name(invalid), "{invalid}");
        }
        assert!(is_name("sensors/factory/oven-001/telemetry"));
        assert!(is_name(&"/".repeat(65_535)));
        assert!(is_too_deep(&"/".repeat(65_535)) && is_too_deep(&"/".repeat(LEVELS_MAX)));
        assert!(!is_too_deep(&"/".repeat(LEVELS_MAX - 1)) && is_filter(&"/".repeat(LEVELS_MAX - 1)));
    }

    #[test]
    fn mqtt_4_7_2_a_leading_wildcard_does_not_match_dollar() {
        assert!(!matches("#", "$SYS/x"));
        assert!(!matches("+/x", "$SYS/x"));
        assert!(matches("$SYS/#", "$SYS/x"));
        assert!(matches("$SYS/+", "$SYS/x"));
    }

    #[test]
    fn mqtt_4_7_3_filters_match_level_by_level() {
        let check = |filter: &str, yes: &[&str], no: &[&str]| {
            yes.iter().for_each(|name| assert!(matches(filter, name), "{filter} {name}"));
            no.iter().for_each(|name| assert!(!matches(filter, name), "{filter} {name}"));
        };
        check("a/#", &["a", "a/", "a/b", "a/b/c"], &["b", "ab"]);
        check("a/+", &["a/b", "a/"], &["a", "a/b/c"]);
        check("+", &["a", ""], &["a/b", "/a"]);
        check("/+", &["/a"], &["a", "a/b"]);
        check("+/+", &["/a", "a/b"], &["a"]);
        check("a/b", &["a/b"], &["A/b", "a/b/"]);
    }
}
