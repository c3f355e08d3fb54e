//! Finding the lines that an InfluxDB does not take, among many: halves, halves of halves, single lines, single fields.
//!
//! ```text
//!  whole ──refused──► two halves ──refused──► … ──► one line ──refused──► its fields ──refused──► rejected, with the reason
//!        └─taken────► done
//! ```
//!
//! To send a line again changes nothing in InfluxDB, so a half whose good lines were stored already may be sent once more. It
//! refuses to send anything itself: it says what is next, and is told what came of it.

use std::ops::Range;

use crate::answer::Verdict;
use crate::write::{LineBuffer, split_fields};

/// Lines on their way, as far as they are not taken yet.
#[derive(Debug)]
pub struct Delivery {
    lines: LineBuffer,
    /// What is still to be sent, the next last.
    todo: Vec<Piece>,
    /// What was refused for good.
    rejected: Vec<Rejected>,
    rejected_fields: usize,
    /// Whether anything was taken.
    has_taken: bool,
}

/// What is sent at once.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Lines(Range<usize>),
    /// One line with one field.
    Field(String),
}

/// A field that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The line with this field alone.
    pub line: String,
    /// In the server's words.
    pub reason: String,
}

/// The most rejected fields that are kept with their reasons; all are counted.
const REASONS_MAX: usize = 20;

/// What became of what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on at once, or is done.
    GoesOn,
    /// The same is to be sent again later.
    Waits {
        /// Why.
        reason: String,
        /// Whether a person has to do something.
        is_refused: bool,
    },
}

impl Delivery {
    /// Lines to deliver, at most `lines_max` of them at once.
    #[must_use]
    pub fn new(lines: LineBuffer, lines_max: usize) -> Self {
        let mut todo: Vec<Piece> = (0..lines.len())
            .step_by(lines_max.max(1))
            .map(|from| Piece::Lines(from..(from + lines_max.max(1)).min(lines.len())))
            .collect();
        todo.reverse();
        Self { lines, todo, rejected: Vec::new(), rejected_fields: 0, has_taken: false }
    }

    /// What is to be sent next; nothing when all is done.
    #[must_use]
    pub fn next(&self) -> Option<&str> {
        Some(match self.todo.last()? {
            Piece::Lines(lines) => self.lines.text(lines.clone()),
            Piece::Field(line) => line,
        })
    }

    /// Makes what is next at most so many lines, to see whether the server takes anything at all.
    pub fn shorten_next(&mut self, lines_max: usize) {
        if let Some(Piece::Lines(lines)) = self.todo.last_mut()
            && lines.len() > lines_max.max(1)
        {
            let rest = lines.start + lines_max.max(1)..lines.end;
            lines.end = rest.start;
            let at = self.todo.len() - 1;
            self.todo.insert(at, Piece::Lines(rest));
        }
    }

    /// Takes in what the server said of what was next.
    pub fn answered(&mut self, verdict: Verdict) -> Outcome {
        let waits = |reason, is_refused| Outcome::Waits { reason, is_refused };
        match verdict {
            Verdict::Taken => {
                self.has_taken = true;
                self.todo.pop();
                Outcome::GoesOn
            }
            Verdict::Unavailable(reason) => waits(reason, false),
            Verdict::Refused(reason) => waits(reason, true),
            Verdict::TooLarge => self.divide("it is too large for the server".to_owned(), true),
            Verdict::LinesAtFault { reason, names_lines } => self.divide(reason, names_lines),
        }
    }

    fn divide(&mut self, reason: String, names_lines: bool) -> Outcome {
        match self.todo.pop() {
            Some(Piece::Lines(lines)) if lines.len() > 1 => {
                let middle = lines.start + lines.len() / 2;
                self.todo.push(Piece::Lines(middle..lines.end));
                self.todo.push(Piece::Lines(lines.start..middle));
                Outcome::GoesOn
            }
            Some(Piece::Lines(lines)) => {
                let line = self.lines.text(lines.clone());
                let fields = split_fields(line);
                if fields.len() > 1 {
                    let split = (0..fields.len()).rev().map(|at| fields.text(at..at + 1).to_owned());
                    self.todo.extend(split.map(Piece::Field));
                    return Outcome::GoesOn;
                }
                let line = line.to_owned();
                self.reject(line, reason, names_lines, Piece::Lines(lines))
            }
            Some(Piece::Field(line)) => self.reject(line.clone(), reason, names_lines, Piece::Field(line)),
            None => Outcome::GoesOn,
        }
    }

    /// A field alone is refused. If the server takes nothing at all and does not speak of lines, it is not the field's fault.
    fn reject(&mut self, line: String, reason: String, names_lines: bool, piece: Piece) -> Outcome {
        if !names_lines && !self.has_taken {
            self.todo.push(piece);
            return Outcome::Waits { reason, is_refused: true };
        }
        self.rejected_fields += 1;
        if self.rejected.len() < REASONS_MAX {
            self.rejected.push(Rejected { line, reason });
        }
        Outcome::GoesOn
    }

    /// Lines that were given.
    #[must_use]
    pub fn lines(&self) -> &LineBuffer {
        &self.lines
    }

    /// The first fields that were rejected.
    #[must_use]
    pub fn rejected(&self) -> &[Rejected] {
        &self.rejected
    }

    /// Fields that were neither taken nor rejected yet.
    #[must_use]
    pub fn remaining_fields(&self) -> usize {
        let of_piece = |piece: &Piece| match piece {
            Piece::Lines(lines) => {
                lines.clone().map(|line| split_fields(self.lines.text(line..line + 1)).len()).sum()
            }
            Piece::Field(_) => 1,
        };
        self.todo.iter().map(of_piece).sum()
    }

    /// How many fields were rejected.
    #[must_use]
    pub fn rejected_fields(&self) -> usize {
        self.rejected_fields
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::line::FieldValue;
    use proptest::prelude::*;

    /// Lines with two fields each, `a` and `b`, at the times 0, 1, 2 and so on.
    fn lines(count: usize) -> LineBuffer {
        let mut lines = LineBuffer::default();
        for time in 0..count {
            lines.begin("m");
            lines.field("a", &FieldValue::Float(1.0));
            lines.field("b", &FieldValue::Float(2.0));
            lines.end(time as i64);
        }
        lines
    }

    /// A server that stores what it does not refuse, as InfluxDB does: the fields by name and time.
    fn store(text: &str, bad: &BTreeSet<(u8, usize)>, stored: &mut BTreeSet<(u8, usize)>) -> Verdict {
        let mut refused = 0;
        for line in text.lines() {
            let (fields, time) = line[2..].rsplit_once(' ').expect("a line");
            let time: usize = time.parse().expect("a time");
            let found: Vec<(u8, usize)> =
                fields.split(',').map(|field| (field.as_bytes()[0], time)).collect();
            if found.iter().any(|field| bad.contains(field)) {
                refused += 1;
            } else {
                stored.extend(found);
            }
        }
        if refused == 0 {
            return Verdict::Taken;
        }
        Verdict::LinesAtFault { reason: format!("partial write dropped={refused}"), names_lines: true }
    }

    #[test]
    fn one_bad_field_is_found_and_nothing_else_is_lost() {
        let bad = BTreeSet::from([(b'b', 700)]);
        let mut delivery = Delivery::new(lines(1000), 400);
        let mut stored = BTreeSet::new();
        let mut requests = 0;
        while let Some(text) = delivery.next() {
            let verdict = store(text, &bad, &mut stored);
            assert_eq!(delivery.answered(verdict), Outcome::GoesOn);
            requests += 1;
        }
        assert_eq!(stored.len(), 1999);
        let reason = "partial write dropped=1".to_owned();
        assert_eq!(delivery.rejected(), [Rejected { line: "m b=2.0 700\n".to_owned(), reason }]);
        assert!(requests < 30, "{requests}");
    }

    #[test]
    fn a_server_that_takes_nothing_is_waited_for() {
        let mut delivery = Delivery::new(lines(4), 100);
        let no = || Verdict::LinesAtFault { reason: "database is required".to_owned(), names_lines: false };
        let outcome = loop {
            match delivery.answered(no()) {
                Outcome::GoesOn => {}
                waits => break waits,
            }
        };
        assert_eq!(outcome, Outcome::Waits { reason: "database is required".to_owned(), is_refused: true });
        // When it does, everything goes there.
        let mut stored = BTreeSet::new();
        while let Some(text) = delivery.next() {
            let verdict = store(text, &BTreeSet::new(), &mut stored);
            delivery.answered(verdict);
        }
        assert_eq!((stored.len(), delivery.rejected_fields()), (8, 0));
    }

    #[test]
    fn what_is_refused_or_away_stays_next() {
        let mut delivery = Delivery::new(lines(3), 100);
        for (verdict, is_refused) in
            [(Verdict::Unavailable("down".to_owned()), false), (Verdict::Refused("down".to_owned()), true)]
        {
            let whole = delivery.next().map(str::to_owned);
            assert_eq!(delivery.answered(verdict), Outcome::Waits { reason: "down".to_owned(), is_refused });
            assert_eq!(delivery.next().map(str::to_owned), whole);
        }
        delivery.shorten_next(1);
        assert_eq!(delivery.next(), Some("m a=1.0,b=2.0 0\n"));
        assert_eq!(delivery.answered(Verdict::Taken), Outcome::GoesOn);
        assert_eq!(delivery.next(), Some("m a=1.0,b=2.0 1\nm a=1.0,b=2.0 2\n"));
    }

    proptest! {
        #[test]
        fn exactly_the_bad_fields_are_rejected(
            count in 0usize..60,
            bad in prop::collection::btree_set((prop_oneof![Just(b'a'), Just(b'b')], 0usize..60), 0..12),
            at_once in 1usize..70,
            too_large in 1usize..40,
        ) {
            let bad: BTreeSet<(u8, usize)> = bad.into_iter().filter(|(_, time)| *time < count).collect();
            let mut delivery = Delivery::new(lines(count), at_once);
            let mut stored = BTreeSet::new();
            while let Some(text) = delivery.next() {
                let verdict = if text.lines().count() > too_large {
                    Verdict::TooLarge
                } else {
                    store(text, &bad, &mut stored)
                };
                prop_assert_eq!(delivery.answered(verdict), Outcome::GoesOn);
            }
            let all = (0..count).flat_map(|time| [(b'a', time), (b'b', time)]);
            let expected: BTreeSet<(u8, usize)> = all.filter(|field| !bad.contains(field)).collect();
            prop_assert_eq!(stored, expected);
            prop_assert_eq!(delivery.rejected_fields(), bad.len());
        }
    }
}
