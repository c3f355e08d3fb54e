//! Writing lines: the other way round from [`crate::line`], for who sends them to an InfluxDB.
//!
//! ```text
//!  begin(key) ─► field ─► field ─► end(time)      a line; with no field it is as if it had not begun
//! ```
//!
//! What is written here is read back by [`crate::line::parse`], and by InfluxDB, as it was. What the protocol has no form for
//! (a control character in a name, a backslash before a separator) stands as `%` and two hexadecimal digits, as in the names of
//! features. Numbers are floats, whole or not: a field whose numbers happened to be whole at first would otherwise refuse all
//! others for ever.

use std::fmt::Write as _;
use std::ops::Range;

use crate::line::{self, FieldValue, LineLimits, Point};

/// Lines, one after another, as a request's body has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LineBuffer {
    text: String,
    /// Where each line ends, its line end included.
    ends: Vec<usize>,
    /// Fields of the lines that were ended.
    fields: usize,
    /// Fields of the line under way.
    begun: usize,
}

impl LineBuffer {
    /// Lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Fields of all lines.
    #[must_use]
    pub fn fields(&self) -> usize {
        self.fields
    }

    /// Bytes of all lines.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Some of the lines, by their places.
    ///
    /// # Panics
    /// Where there are fewer.
    #[must_use]
    pub fn text(&self, lines: Range<usize>) -> &str {
        &self.text[self.start(lines.start)..self.start(lines.end)]
    }

    fn start(&self, line: usize) -> usize {
        line.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// Begins a line with the key of its series, as [`series_key`] writes it.
    pub fn begin(&mut self, key: &str) {
        self.text.truncate(self.start(self.ends.len()));
        self.text.push_str(key);
        self.begun = 0;
    }

    /// Adds a field to the line.
    pub fn field(&mut self, name: &str, value: &FieldValue<'_>) {
        self.text.push(if self.begun == 0 { ' ' } else { ',' });
        self.begun += 1;
        write_field(&mut self.text, name, value);
    }

    /// Ends the line; `time` counts in the unit of the request. One without fields is taken back.
    pub fn end(&mut self, time: i64) {
        if self.begun == 0 {
            self.text.truncate(self.start(self.ends.len()));
            return;
        }
        // Writing to a text cannot fail.
        let _ = writeln!(self.text, " {time}");
        self.fields += std::mem::take(&mut self.begun);
        self.ends.push(self.text.len());
    }
}

/// Writes the key of a series: the measurement with its tags, which are given in the order of their names. A tag without a
/// value is as one that is not there, and is passed over.
pub fn series_key<'t>(
    out: &mut String,
    measurement: &str,
    tags: impl IntoIterator<Item = (&'t str, &'t str)>,
) {
    let begin = out.len();
    escape(out, measurement, ", ");
    if out[begin..].starts_with('#') {
        // It would be taken for a comment.
        out.replace_range(begin..=begin, "%23");
    }
    for (name, value) in tags.into_iter().filter(|(name, value)| !name.is_empty() && !value.is_empty()) {
        out.push(',');
        escape(out, name, ",= ");
        out.push('=');
        escape(out, value, ",= ");
    }
}

/// Splits a line into one for each of its fields. One that cannot be read, or has one field only, is given back as it is.
#[must_use]
pub fn split_fields(line: &str) -> LineBuffer {
    let mut lines = LineBuffer::default();
    let limits = LineLimits { line_bytes_max: usize::MAX, tags_max: usize::MAX, fields_max: usize::MAX };
    if let Ok(Point { measurement, tags, fields, time: Some(time) }) =
        line::parse(line.trim_end_matches('\n').as_bytes(), limits)
    {
        let mut key = String::new();
        series_key(&mut key, &measurement, tags.iter().map(|(name, value)| (&**name, &**value)));
        for (name, value) in &fields {
            lines.begin(&key);
            lines.field(name, value);
            lines.end(time);
        }
    } else {
        lines.text.push_str(line);
        lines.ends.push(line.len());
        lines.fields = 1;
    }
    lines
}

fn write_field(out: &mut String, name: &str, value: &FieldValue<'_>) {
    escape(out, name, ",= ");
    out.push('=');
    // Writing to a text cannot fail.
    let _ = match value {
        // With an exponent where the digits would be many.
        FieldValue::Float(number) => write!(out, "{number:?}"),
        FieldValue::Integer(number) => write!(out, "{number}i"),
        FieldValue::Unsigned(number) => write!(out, "{number}u"),
        FieldValue::Boolean(truth) => write!(out, "{truth}"),
        FieldValue::Text(text) => {
            out.push('"');
            for character in text.chars() {
                if matches!(character, '"' | '\\') {
                    out.push('\\');
                }
                out.push(character);
            }
            out.push('"');
            Ok(())
        }
    };
}

fn escape(out: &mut String, text: &str, special: &str) {
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek();
        let is_ambiguous = character.is_control()
            || (character == '\\' && next.is_none_or(|next| ",= \\\"".contains(*next) || next.is_control()));
        if is_ambiguous {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(out, "%{byte:02X}");
            }
            continue;
        }
        if special.contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(key: (&str, &[(&str, &str)]), fields: &[(&str, FieldValue<'_>)], time: i64) -> String {
        let mut text = String::new();
        series_key(&mut text, key.0, key.1.iter().copied());
        let mut lines = LineBuffer::default();
        lines.begin(&text);
        for (name, value) in fields {
            lines.field(name, value);
        }
        lines.end(time);
        lines.text(0..lines.len()).to_owned()
    }

    #[test]
    fn a_line_is_written_as_the_protocol_has_it() {
        use FieldValue::{Boolean, Float, Text};
        for (expected, written) in [
            ("m v=1.0 7\n", line(("m", &[]), &[("v", Float(1.0))], 7)),
            ("m v=1e300,z=-0.0 7\n", line(("m", &[]), &[("v", Float(1e300)), ("z", Float(-0.0))], 7)),
            (
                "a\\ b,k\\=\\,=v\\ w f\\ g=true -5\n",
                line(("a b", &[("k=,", "v w"), ("none", "")]), &[("f g", Boolean(true))], -5),
            ),
            (
                "m,p=C:\\dir%5C s=\"say \\\"hi\\\" \\\\ \n\" 1\n",
                line(("m", &[("p", "C:\\dir\\")]), &[("s", Text("say \"hi\" \\ \n".into()))], 1),
            ),
            ("%23m,t=a%0Ab v=1i 1\n", line(("#m", &[("t", "a\nb")]), &[("v", FieldValue::Integer(1))], 1)),
            ("", line(("m", &[]), &[], 1)),
        ] {
            assert_eq!(written, expected);
        }
    }

    #[test]
    fn a_line_that_has_no_field_leaves_nothing_behind() {
        let mut lines = LineBuffer::default();
        lines.begin("a");
        lines.end(1);
        lines.begin("left");
        lines.field("v", &FieldValue::Boolean(true));
        lines.begin("b");
        lines.field("v", &FieldValue::Boolean(false));
        lines.field("w", &FieldValue::Boolean(false));
        lines.end(2);
        assert_eq!((lines.text(0..1), lines.len(), lines.fields()), ("b v=false,w=false 2\n", 1, 2));
    }

    #[test]
    fn a_line_is_split_into_its_fields() {
        let split = split_fields("m,a=b\\ c x=1.0,y=\"a,b c\",z=true 9\n");
        let lines: Vec<&str> = (0..split.len()).map(|at| split.text(at..at + 1)).collect();
        assert_eq!(lines, ["m,a=b\\ c x=1.0 9\n", "m,a=b\\ c y=\"a,b c\" 9\n", "m,a=b\\ c z=true 9\n"]);
        assert_eq!(split_fields("nonsense\n").text(0..1), "nonsense\n");
    }

    fn value() -> impl Strategy<Value = FieldValue<'static>> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(FieldValue::Float),
            any::<i64>().prop_map(FieldValue::Integer),
            any::<bool>().prop_map(FieldValue::Boolean),
            "[ -~\\n\\\\\"é]{0,20}".prop_map(|text| FieldValue::Text(text.into())),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            measurement in "[a-z ,=\\\\#é\"]{1,8}",
            tags in prop::collection::btree_map("[a-z ,=\\\\é\"]{1,5}", "[a-z ,=\\\\é\"]{1,5}", 0..3),
            fields in prop::collection::btree_map("[a-z ,=\\\\é]{1,5}", value(), 1..4),
            time in any::<i64>(),
        ) {
            let tags: Vec<(&str, &str)> = tags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let given: Vec<(&str, FieldValue<'_>)> =
                fields.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
            let text = line((&measurement, &tags), &given, time);
            let mut found = line::lines(text.as_bytes());
            let raw = found.next().expect("a line");
            prop_assert!(found.next().is_none(), "{text}");
            let point = line::parse(raw.bytes, LineLimits::default());
            let point = point.unwrap_or_else(|error| panic!("{text}: {error}"));
            prop_assert_eq!(point.time, Some(time));
            // What has no form in the protocol stands as its code.
            let is_plain = |text: &str| !text.contains('\\') && !text.contains('#');
            if is_plain(&measurement) && tags.iter().all(|(name, value)| is_plain(name) && is_plain(value)) {
                prop_assert_eq!(&point.measurement, &measurement);
                let read: Vec<(&str, &str)> = point.tags.iter().map(|(name, value)| (&**name, &**value)).collect();
                prop_assert_eq!(read, tags);
            }
            prop_assert_eq!(point.fields.len(), given.len());
            for ((_, read), (_, written)) in point.fields.iter().zip(&given) {
                prop_assert_eq!(read, written);
            }
            let split = split_fields(&text);
            prop_assert_eq!(split.len(), given.len());
        }
    }
}
