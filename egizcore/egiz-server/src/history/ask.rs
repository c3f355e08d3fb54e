//! What is asked for, read from parameters and checked: every refusal names the parameter, what it said and what is allowed.

use std::sync::Arc;

use axum::http::HeaderMap;
use egiz_api::{Code, Problem};
use egiz_historian::View;
use egiz_historian::series::{
    Aggregate, Buckets, BucketsError, Chart, Fill, Hold, MAX_CHART_WIDTH, Resolution, RollupLength, Span,
};
use egiz_model::Timestamp;
use jiff::tz::TimeZone;

use super::context::{Condition, Lookout};
use super::parquet;
use super::pieces::Fit;
use super::selection::Selection;
use crate::accept;
use crate::error::ApiError;
use crate::params::{Params, refused};

/// What `GET …/history` takes.
pub(super) const PARAMETERS: &[&str] = &[
    "from",
    "to",
    "feature",
    "property",
    "resolution",
    "agg",
    "fill",
    "hold",
    "tz",
    "width",
    "limit",
    "cursor",
    "where",
    "whereThing",
    "corrected",
];

/// The widest range: ten years.
pub(super) const RANGE_DAYS_MAX: i64 = 3_660;
/// The most buckets of one property.
pub(super) const BUCKETS_MAX: u64 = 20_000;
/// The most values of all buckets of an answer.
pub(super) const VALUES_MAX: u64 = 200_000;
/// The rows of a page where none are asked for.
const ROWS: u64 = 1_000;
/// The most rows of a page.
const ROWS_MAX: u64 = 10_000;
/// The most aggregates at once.
const AGGREGATES_MAX: usize = 16;

const DAY_MICROS: i64 = 86_400_000_000;
const HOUR_MICROS: i64 = 3_600_000_000;
/// Shorter ranges are answered from samples: they are read as quickly.
const ROLLUPS_FROM_MICROS: i64 = 2 * DAY_MICROS;

/// A question about one Thing.
pub(super) struct Ask {
    pub(super) thing: String,
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    /// The time of asking.
    pub(super) now: Timestamp,
    pub(super) selection: Selection,
    /// What must hold for anything to count.
    pub(super) conditions: Vec<Condition>,
    pub(super) view: View,
    pub(super) mode: Mode,
    pub(super) form: Form,
    /// What a cursor belongs to, beside the route.
    pub(super) question: Vec<String>,
}

/// What is made of the samples.
pub(super) enum Mode {
    Raw(RawPage),
    Buckets(Asked),
    Chart(Chart),
}

/// A page of samples.
pub(super) struct RawPage {
    /// None where CSV may be as long as it is.
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
}

/// Aggregates that are asked for.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) buckets: Buckets,
    pub(super) gathering: Gathering,
    pub(super) fill: Fill,
    pub(super) hold: Hold,
}

/// What is gathered in a bucket.
#[derive(Clone)]
pub(super) enum Gathering {
    Numbers(Vec<(String, Aggregate)>),
    Durations,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Json,
    Csv,
    Parquet,
}

impl Ask {
    /// Reads the parameters.
    ///
    /// # Errors
    /// `invalid-parameter`, `history-too-large`, `page-too-large`, `not-acceptable`.
    pub(super) fn of(
        params: &Params,
        headers: &HeaderMap,
        thing: String,
        sites: &[String],
        (now, principal): (Timestamp, Arc<str>),
    ) -> Result<Self, ApiError> {
        let (from, to) = range(params.get("from"), params.get("to"), now)?;
        let selection = Selection::of_parameters(params.get("feature"), params.get("property"))
            .map_err(|(name, reason)| refused(name, &reason))?;
        let conditions = Condition::of_parameters(params, sites)?;
        let is_original = params.is_there("corrected") && !params.flag("corrected")?;
        let view = if is_original { View::Original } else { View::Corrected };
        let forms =
            [("application/json", Form::Json), ("text/csv", Form::Csv), (parquet::MEDIA_TYPE, Form::Parquet)];
        let form = accept::form(headers, &forms)?;
        let mode = mode(params, form, (from, to), now)?;
        let said = |name| params.get(name).unwrap_or_default().to_owned();
        let question = vec![
            "history".to_owned(),
            thing.clone(),
            said("from"),
            said("to"),
            selection.text(),
            conditions.iter().map(Condition::text).collect(),
            if is_original { "original".to_owned() } else { String::new() },
            principal.to_string(),
        ];
        Ok(Self { thing, from, to, now, selection, conditions, view, mode, form, question })
    }

    /// Where the conditions are looked at.
    pub(super) fn lookout(&self) -> Lookout<'_> {
        Lookout { thing: &self.thing, range: (self.from, self.to), now: self.now }
    }
}

/// Decides between samples, aggregates and a chart; a parameter that belongs to another is refused.
fn mode(
    params: &Params,
    form: Form,
    (from, to): (Timestamp, Timestamp),
    now: Timestamp,
) -> Result<Mode, ApiError> {
    let not_with = |names: &[&'static str], reason: &str| {
        names.iter().find(|name| params.get(name).is_some()).map_or(Ok(()), |name| Err(refused(name, reason)))
    };
    if form == Form::Parquet {
        not_with(&["agg", "width"], "aggregates and charts come as JSON or CSV, samples as Parquet, too")?;
    }
    let hold = hold(params.get("hold"), now)?;
    let span = Span::new(from, to);
    if let Some(width) = params.number("width")? {
        not_with(&["resolution", "agg", "fill", "tz", "limit", "cursor"], "it does not go with `width`")?;
        let pixels = u32::try_from(width).unwrap_or(u32::MAX);
        let chart = Chart::new(span, pixels, hold.max_micros).map_err(|_| {
            refused("width", &format!("it is {width}; allowed are 1 to {MAX_CHART_WIDTH} pixels"))
        })?;
        return Ok(Mode::Chart(chart));
    }
    let Some(agg) = params.get("agg") else {
        not_with(&["resolution", "fill", "tz"], "it belongs to aggregates: say which in `agg`")?;
        not_with(&["hold"], "it belongs to aggregates and charts: say `agg` or `width`")?;
        if form != Form::Json {
            not_with(&["cursor"], "CSV and Parquet come whole, not in pages")?;
        }
        return Ok(Mode::Raw(RawPage {
            limit: rows(params.number("limit")?, form)?,
            cursor: params.get("cursor").map(str::to_owned),
        }));
    };
    not_with(&["limit", "cursor"], "it belongs to samples; aggregates come in one answer")?;
    let said =
        Said { resolution: params.get("resolution"), agg, fill: params.get("fill"), tz: params.get("tz") };
    Asked::read(&said, span, hold).map(Mode::Buckets).map_err(|fault| fault.in_parameter())
}

/// What was said about aggregates, in a URL or a body.
pub(super) struct Said<'a> {
    pub(super) resolution: Option<&'a str>,
    pub(super) agg: &'a str,
    pub(super) fill: Option<&'a str>,
    pub(super) tz: Option<&'a str>,
}

/// What is wrong with something that was said, not yet knowing whether in a URL or a body.
pub(crate) struct Fault {
    pub(super) code: Code,
    pub(super) name: &'static str,
    pub(super) reason: String,
    pub(super) limit: Option<u64>,
}

impl Fault {
    pub(crate) fn new(name: &'static str, reason: impl Into<String>) -> Self {
        Self { code: Code::InvalidParameter, name, reason: reason.into(), limit: None }
    }

    /// The bound that was passed.
    pub(super) fn too_large(name: &'static str, reason: impl Into<String>, limit: u64) -> Self {
        Self { code: Code::HistoryTooLarge, name, reason: reason.into(), limit: Some(limit) }
    }

    /// As the fault of a query parameter.
    pub(crate) fn in_parameter(self) -> ApiError {
        let problem = Problem::new(self.code, format!("parameter `{}`: {}", self.name, self.reason));
        with_limit(problem.in_parameter(self.name, self.reason), self.limit)
    }

    /// As the fault of a member of the body.
    pub(crate) fn in_member(self) -> ApiError {
        let code = if self.code == Code::InvalidParameter { Code::InvalidValue } else { self.code };
        let problem = Problem::new(code, format!("`{}`: {}", self.name, self.reason));
        with_limit(problem.at(format!("/{}", self.name), self.reason), self.limit)
    }
}

fn with_limit(problem: Problem, limit: Option<u64>) -> ApiError {
    match limit {
        Some(limit) => problem.limit(limit).into(),
        None => problem.into(),
    }
}

impl Asked {
    /// Reads what is said about aggregates of a range.
    ///
    /// # Errors
    /// The fault.
    pub(super) fn read(said: &Said<'_>, span: Span, hold: Hold) -> Result<Self, Fault> {
        let zone = zone(said.tz)?;
        let buckets = match said.resolution {
            None => Buckets::whole(span),
            Some(text) => {
                let resolution: Resolution =
                    text.parse().map_err(|error| Fault::new("resolution", format!("{error}")))?;
                Buckets::at_most(BUCKETS_MAX, span, resolution, zone)
            }
        };
        let buckets = buckets.map_err(|error| match error {
            BucketsError::TooMany { .. } => Fault::too_large("resolution", error.to_string(), BUCKETS_MAX),
            BucketsError::Empty { .. } => Fault::new("from", error.to_string()),
        })?;
        let gathering = gathering(said.agg)?;
        let fill = match said.fill {
            None => Fill::default(),
            Some(_) if matches!(gathering, Gathering::Durations) => {
                return Err(Fault::new(
                    "fill",
                    "durations have nothing to fill: what is not known is in `unknownS`",
                ));
            }
            Some(text) => text.parse().map_err(|error| Fault::new("fill", format!("{error}")))?,
        };
        Ok(Self { buckets, gathering, fill, hold })
    }

    /// How many values each property has.
    pub(super) fn values_of_property(&self) -> u64 {
        let each = match &self.gathering {
            Gathering::Numbers(aggregates) => aggregates.len() as u64,
            Gathering::Durations => 1,
        };
        self.buckets.count_at_most() * each
    }

    /// What rollups are good for in a range; nothing where every sample is needed.
    pub(super) fn rollups(&self, range: (Timestamp, Timestamp)) -> Option<Fit> {
        let Gathering::Numbers(aggregates) = &self.gathering else { return None };
        let has = |is_it: fn(&Aggregate) -> bool| aggregates.iter().any(|(_, aggregate)| is_it(aggregate));
        // Rollups hold values without a limit.
        let is_held = self.hold.max_micros.is_some() && has(|aggregate| aggregate.is_time_weighted());
        if is_held || has(|aggregate| matches!(aggregate, Aggregate::Percentile(_))) {
            return None;
        }
        let is_fit = |length: &RollupLength| self.buckets.fit_rollups_of(length.micros());
        let length = [RollupLength::Hour, RollupLength::Quarter].into_iter().find(is_fit)?;
        let is_rounded = has(|aggregate| {
            matches!(aggregate, Aggregate::Stddev | Aggregate::CounterRate | Aggregate::Derivative)
        });
        let prefers_samples = is_rounded || range.1.micros_since(range.0) < ROLLUPS_FROM_MICROS;
        Some(Fit { length, prefers_samples })
    }

    /// Whether values from before the range count.
    pub(super) fn looks_back(&self) -> bool {
        match &self.gathering {
            Gathering::Durations => true,
            Gathering::Numbers(aggregates) => {
                aggregates.iter().any(|(_, aggregate)| aggregate.is_time_weighted())
            }
        }
    }
}

fn gathering(text: &str) -> Result<Gathering, Fault> {
    if text == "duration" {
        return Ok(Gathering::Durations);
    }
    let mut aggregates: Vec<(String, Aggregate)> = Vec::new();
    for word in text.split(',') {
        if word == "duration" {
            return Err(Fault::new(
                "agg",
                "`duration` stands alone: it is about states, the others about numbers",
            ));
        }
        let aggregate: Aggregate = word
            .parse()
            .map_err(|error| Fault::new("agg", format!("{error}; or duration, alone, for states")))?;
        if aggregates.iter().any(|(known, _)| known == word) {
            return Err(Fault::new("agg", format!("`{word}` is there twice")));
        }
        aggregates.push((word.to_owned(), aggregate));
    }
    if aggregates.len() > AGGREGATES_MAX {
        let reason = format!("it names {}, and at most {AGGREGATES_MAX} are allowed", aggregates.len());
        return Err(Fault::too_large("agg", reason, AGGREGATES_MAX as u64));
    }
    Ok(Gathering::Numbers(aggregates))
}

fn zone(text: Option<&str>) -> Result<TimeZone, Fault> {
    let Some(text) = text else { return Ok(TimeZone::UTC) };
    TimeZone::get(text).map_err(|_| {
        let shown: String = text.chars().take(60).collect();
        let reason = format!("`{shown}` is no time zone of the IANA database, such as Europe/Berlin or UTC");
        Fault::new("tz", reason)
    })
}

/// How long values count.
///
/// # Errors
/// `invalid-parameter`.
fn hold(text: Option<&str>, now: Timestamp) -> Result<Hold, ApiError> {
    hold_of(text, now).map_err(Fault::in_parameter)
}

/// How long values count.
///
/// # Errors
/// The fault.
pub(super) fn hold_of(text: Option<&str>, now: Timestamp) -> Result<Hold, Fault> {
    let max_micros = match text {
        None => None,
        Some(text) => {
            let micros = text.parse::<Resolution>().ok().and_then(Resolution::fixed_micros);
            Some(micros.ok_or_else(|| {
                let shown: String = text.chars().take(40).collect();
                Fault::new(
                    "hold",
                    format!("`{shown}` is no length of time: write a number and ms, s, m or h"),
                )
            })?)
        }
    };
    Ok(Hold { max_micros, known_until: now })
}

/// The range of time that is asked for.
///
/// # Errors
/// `invalid-parameter`, `history-too-large`.
pub(super) fn range(
    from: Option<&str>,
    to: Option<&str>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), ApiError> {
    let read = |name, text: Option<&str>| text.map(|text| moment(name, text)).transpose();
    bounded(
        read("from", from).map_err(Fault::in_parameter)?,
        read("to", to).map_err(Fault::in_parameter)?,
        now,
    )
    .map_err(Fault::in_parameter)
}

/// The range between two moments; the end is now and the beginning an hour before where they are missing.
///
/// # Errors
/// The fault.
pub(super) fn bounded(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Fault> {
    let to = to.unwrap_or(now);
    let from = from.unwrap_or_else(|| to.plus_micros(-HOUR_MICROS));
    if from >= to {
        return Err(Fault::new("from", format!("{from} does not lie before `to`, which is {to}")));
    }
    if to.micros_since(from) > RANGE_DAYS_MAX * DAY_MICROS {
        let reason =
            format!("from {from} to {to} are more than {RANGE_DAYS_MAX} days; ask for a shorter range");
        return Err(Fault::too_large("from", reason, RANGE_DAYS_MAX.unsigned_abs()));
    }
    Ok((from, to))
}

/// A moment: RFC 3339, or a number of seconds or milliseconds since 1970, told apart by its size.
///
/// # Errors
/// The fault, of the parameter `name`.
pub(crate) fn moment(name: &'static str, text: &str) -> Result<Timestamp, Fault> {
    let fault = || {
        let shown: String = text.chars().take(60).collect();
        Fault::new(
            name,
            format!(
                "`{shown}` is no time: write RFC 3339 such as 2026-11-23T10:31:00Z, or seconds or milliseconds \
                 since 1970"
            ),
        )
    };
    if let Ok(number) = text.parse::<i64>() {
        return epoch(number).ok_or_else(fault);
    }
    if let Ok(seconds) = text.parse::<f64>()
        && seconds.abs() < EPOCH_SECONDS_MAX
    {
        #[expect(clippy::cast_possible_truncation, reason = "it is small enough")]
        return Ok(Timestamp::from_micros((seconds * 1e6).round() as i64));
    }
    // A `+` that the URL made a space.
    let offset_at = text.len().saturating_sub(6);
    let is_offset =
        text.as_bytes().get(offset_at) == Some(&b' ') && text.as_bytes().get(offset_at + 3) == Some(&b':');
    let mended = if is_offset && offset_at > 10 {
        format!("{}+{}", &text[..offset_at], &text[offset_at + 1..])
    } else {
        text.to_owned()
    };
    Timestamp::parse(&mended).map_err(|_| fault())
}

/// Numbers below this are seconds (until the year 5138), above it milliseconds (from 1973 on).
const EPOCH_SECONDS_MAX: f64 = 1e11;

/// The moment in a member of a body; nothing where it is missing or null.
///
/// # Errors
/// The fault, of the member `name`.
pub(crate) fn member_moment(
    value: &Option<serde_json::Value>,
    name: &'static str,
) -> Result<Option<Timestamp>, Fault> {
    use serde_json::Value;
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => moment(name, text).map(Some),
        Some(Value::Number(number)) => match number.as_i64().and_then(epoch) {
            Some(moment) => Ok(Some(moment)),
            None => moment(name, &number.to_string()).map(Some),
        },
        Some(_) => Err(Fault::new(name, "it must be a text or a number")),
    }
}

/// The moment that a number since 1970 means.
fn epoch(number: i64) -> Option<Timestamp> {
    match number.unsigned_abs() {
        0..100_000_000_000 => Some(Timestamp::from_seconds(number)),
        100_000_000_000..100_000_000_000_000 => Some(Timestamp::from_millis(number)),
        _ => None,
    }
}

/// A moment that has been.
///
/// # Errors
/// `invalid-parameter`.
pub(super) fn past_moment(name: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    let moment = moment(name, text).map_err(Fault::in_parameter)?;
    if moment > now {
        return Err(refused(name, &format!("{moment} lies in the future; it is {now} now")));
    }
    Ok(moment)
}

fn rows(asked: Option<u64>, form: Form) -> Result<Option<usize>, ApiError> {
    match (asked, form) {
        (Some(0), _) => Err(refused("limit", "it is 0; it must be at least 1")),
        (None, Form::Csv | Form::Parquet) => Ok(None),
        (Some(rows), Form::Csv | Form::Parquet) => Ok(Some(usize::try_from(rows).unwrap_or(usize::MAX))),
        (asked, Form::Json) => {
            let rows = asked.unwrap_or(ROWS);
            if rows > ROWS_MAX {
                let detail = format!(
                    "a page has at most {ROWS_MAX} rows and {rows} were asked for; go on with the cursor for more"
                );
                return Err(Problem::new(Code::PageTooLarge, detail)
                    .in_parameter("limit", format!("1 to {ROWS_MAX}"))
                    .limit(ROWS_MAX)
                    .into());
            }
            Ok(Some(usize::try_from(rows).unwrap_or(usize::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, seconds: Option<f64>) {
        let read = moment("from", text).ok();
        #[expect(clippy::cast_precision_loss, reason = "test times are small")]
        let read = read.map(|moment| moment.as_micros() as f64 / 1e6);
        assert_eq!(read, seconds, "{text}");
    }

    #[test]
    fn moments_are_texts_or_numbers() {
        check("2026-03-01T00:00:00Z", Some(1_772_323_200.0));
        check("2026-03-01T02:00:00+02:00", Some(1_772_323_200.0));
        check("2026-03-01T02:00:00 02:00", Some(1_772_323_200.0));
        check("1772323200", Some(1_772_323_200.0));
        check("1772323200000", Some(1_772_323_200.0));
        check("1772323200.25", Some(1_772_323_200.25));
        check("0", Some(0.0));
        for wrong in
            ["", "yesterday", "2026-03-01", "1e99", "nan", "9999999999999999", "2026-13-01T00:00:00Z"]
        {
            check(wrong, None);
        }
    }
}
