//! What a client asks of a playback, read strictly: each fault names the member, and what is allowed.

use std::time::Duration;

use egiz_model::Timestamp;
use egiz_twin::interest::Target;
use serde_json::{Map, Value};

use crate::error::ApiError;
use crate::history;
use crate::live::request::{features, number, numbered, refused, target_of, text, truth};

/// How fast a playback may go: seconds of the plant in a second.
pub(super) const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=3600.0;
/// How often a client may be told, in milliseconds.
const TICKS_MS: std::ops::RangeInclusive<u64> = 50..=5000;
/// The longest step, in seconds: a year.
const STEP_S_MAX: f64 = 31_536_000.0;

/// What a client asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Play(Box<Play>),
    Pause(u32),
    Resume(u32),
    Speed(u32, f64),
    Seek(u32, Timestamp),
    Step(u32, Step),
    Stop(u32),
}

/// A playback as asked for.
#[derive(Debug)]
pub(crate) struct Play {
    pub(super) target: Target,
    pub(super) features: Option<Vec<String>>,
    pub(super) at: Timestamp,
    pub(super) until: Option<Timestamp>,
    pub(super) speed: f64,
    pub(super) tick: Duration,
    pub(super) is_paused: bool,
}

/// A step from where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// To the next time at which something was measured.
    Next,
    /// To the last time before at which something was measured.
    Previous,
    /// By so many microseconds; back where they are fewer than none.
    By(i64),
}

/// The members that an action of a playback takes; nothing where it is none.
pub(crate) fn members_of(action: &str) -> Option<&'static [&'static str]> {
    Some(match action {
        "play" => &["at", "until", "speed", "tickMs", "paused", "thingId", "thingIds", "filter", "fields"],
        "pause" | "resume" | "stop" => &["playback"],
        "speed" => &["playback", "speed"],
        "seek" => &["playback", "at"],
        "step" => &["playback", "by"],
        _ => return None,
    })
}

/// Reads a command whose action [`members_of`] knows.
///
/// # Errors
/// `malformed-request`, and those of Things and filters.
pub(crate) fn read(
    action: &str,
    members: &Map<String, Value>,
    sites: &[String],
) -> Result<Command, ApiError> {
    if action == "play" {
        return Ok(Command::Play(Box::new(play(members, sites)?)));
    }
    let playback = numbered(members, "playback")?;
    Ok(match action {
        "pause" => Command::Pause(playback),
        "resume" => Command::Resume(playback),
        "speed" => {
            Command::Speed(playback, speed(members)?.ok_or_else(|| refused("speed", "it is missing"))?)
        }
        "seek" => Command::Seek(playback, at(members)?),
        "step" => Command::Step(playback, step(members)?),
        _ => Command::Stop(playback),
    })
}

fn play(members: &Map<String, Value>, sites: &[String]) -> Result<Play, ApiError> {
    let at = at(members)?;
    let until = moment(members, "until")?;
    if until.is_some_and(|until| until <= at) {
        return Err(refused("until", "it is not after `at`; allowed is any later time"));
    }
    let tick_ms = number(members, "tickMs")?.unwrap_or(100);
    if !TICKS_MS.contains(&tick_ms) {
        return Err(refused("tickMs", &format!("{tick_ms} is out of range; allowed are 50 to 5000")));
    }
    Ok(Play {
        target: target_of(members, sites)?,
        features: features(text(members, "fields")?),
        at,
        until,
        speed: speed(members)?.unwrap_or(1.0),
        tick: Duration::from_millis(tick_ms),
        is_paused: truth(members, "paused")?.unwrap_or(false),
    })
}

fn at(members: &Map<String, Value>) -> Result<Timestamp, ApiError> {
    moment(members, "at")?.ok_or_else(|| refused("at", "it is missing: say from which time on"))
}

fn moment(members: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => history::moment_in(name, value).map(Some).map_err(|reason| refused(name, &reason)),
    }
}

fn speed(members: &Map<String, Value>) -> Result<Option<f64>, ApiError> {
    let Some(value) = members.get("speed").filter(|value| !value.is_null()) else { return Ok(None) };
    let speed = value.as_f64().ok_or_else(|| refused("speed", "it is no number"))?;
    if !SPEEDS.contains(&speed) {
        let reason =
            format!("{value} is out of range; allowed are 0.1 to 3600, and `seek` and `step` go back");
        return Err(refused("speed", &reason));
    }
    Ok(Some(speed))
}

fn step(members: &Map<String, Value>) -> Result<Step, ApiError> {
    const ALLOWED: &str =
        "allowed are `next`, `previous`, and a number of seconds other than 0, less than 0 for back";
    match members.get("by") {
        None => Err(refused("by", &format!("it is missing; {ALLOWED}"))),
        Some(Value::String(text)) if text == "next" => Ok(Step::Next),
        Some(Value::String(text)) if text == "previous" => Ok(Step::Previous),
        Some(value) => {
            let seconds = value.as_f64().filter(|seconds| seconds.abs() <= STEP_S_MAX);
            #[expect(clippy::cast_possible_truncation, reason = "it is at most a year")]
            let micros = seconds.map(|seconds| (seconds * 1e6).round() as i64).filter(|micros| *micros != 0);
            micros
                .map(Step::By)
                .ok_or_else(|| refused("by", &format!("`{value}` is no step; {ALLOWED}, a year at most")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &str) {
        let Ok(Value::Object(members)) = serde_json::from_str(json) else { panic!("{json}") };
        let action = members["action"].as_str().expect("an action");
        assert!(members_of(action).is_some());
        let shown = match read(action, &members, &["factory".to_owned()]) {
            Ok(command) => format!("{command:?}"),
            Err(error) => error.0.detail.clone(),
        };
        assert!(shown.contains(expected), "{json}: {shown}");
    }

    #[test]
    fn commands_are_read_strictly() {
        check(r#"{"action":"play","at":1772323200}"#, "speed: 1.0");
        check(r#"{"action":"play","at":"2026-03-01T00:00:00Z","speed":0.1,"tickMs":50}"#, "tick: 50ms");
        check(r#"{"action":"play","at":1,"thingId":"oven-001"}"#, "Things([\"factory:oven-001\"])");
        check(r#"{"action":"play","at":1,"fields":"thermal, level"}"#, "Some([\"thermal\", \"level\"])");
        check(r#"{"action":"speed","playback":3,"speed":3600}"#, "Speed(3, 3600.0)");
        check(r#"{"action":"seek","playback":3,"at":1}"#, "Seek(3");
        check(r#"{"action":"step","playback":3,"by":"next"}"#, "Step(3, Next)");
        check(r#"{"action":"step","playback":3,"by":"previous"}"#, "Step(3, Previous)");
        check(r#"{"action":"step","playback":3,"by":-0.5}"#, "Step(3, By(-500000))");
        check(r#"{"action":"stop","playback":3}"#, "Stop(3)");
    }

    #[test]
    fn what_is_wrong_names_the_member_and_what_is_allowed() {
        check(r#"{"action":"play"}"#, "`at`: it is missing");
        check(r#"{"action":"play","at":"yesterday"}"#, "`at`: `yesterday` is no time: write RFC 3339");
        check(r#"{"action":"play","at":true}"#, "`at`: it must be a text or a number");
        check(r#"{"action":"play","at":10,"until":10}"#, "`until`: it is not after `at`");
        check(
            r#"{"action":"play","at":1,"speed":-1}"#,
            "`speed`: -1 is out of range; allowed are 0.1 to 3600",
        );
        check(r#"{"action":"play","at":1,"speed":3601}"#, "allowed are 0.1 to 3600");
        check(r#"{"action":"play","at":1,"speed":"fast"}"#, "`speed`: it is no number");
        check(
            r#"{"action":"play","at":1,"tickMs":49}"#,
            "`tickMs`: 49 is out of range; allowed are 50 to 5000",
        );
        check(r#"{"action":"play","at":1,"paused":1}"#, "`paused`: it is no truth value");
        check(r#"{"action":"pause"}"#, "`playback`: it is missing");
        check(r#"{"action":"speed","playback":1}"#, "`speed`: it is missing");
        check(r#"{"action":"step","playback":1}"#, "`by`: it is missing; allowed are `next`, `previous`");
        check(r#"{"action":"step","playback":1,"by":0}"#, "`by`: `0` is no step");
        check(r#"{"action":"step","playback":1,"by":1e9}"#, "a year at most");
    }
}
