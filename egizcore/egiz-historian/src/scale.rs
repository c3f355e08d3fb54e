//! Numbers as whole multiples of one over a power of ten or of two, where that is exact to the last bit.
//!
//! Machines measure in steps: 0.1 V, 0.01 A, a sixteenth of a degree. As whole numbers of steps, what a sensor says takes
//! about half a byte a sample; as doubles it takes two. A [`Scale`] grows with the numbers that it sees and says at the end
//! which divisor gives back each of them, or that none does.
//!
//! The smallest divisor wins, so a sixteenth stays a sixteenth (as ten-thousandths it would be steps of 625). When numbers
//! of both kinds meet, the power of ten with the larger exponent holds both, since 1/2^k is a multiple of 1/10^k.

/// The largest exponent of ten that is tried.
const TENS_MAX: u8 = 6;
/// The largest exponent of two that is tried.
const TWOS_MAX: u8 = 10;
/// Whole numbers up to here are exact in a double, so that dividing them is rounded once.
const STEPS_MAX: f64 = 9_007_199_254_740_992.0;

const POWERS_OF_TEN: [f64; 7] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];

/// Which divisor the numbers seen so far need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Scale {
    divisor: Divisor,
    /// The largest magnitude seen, rounded up.
    magnitude: u64,
    /// Some number is no multiple of any step.
    is_hopeless: bool,
    has_minus_zero: bool,
    seen: bool,
}

/// One over the size of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Divisor {
    /// Two to this power; 0 for whole numbers.
    Two(u8),
    /// Ten to this power.
    Ten(u8),
}

impl Default for Divisor {
    fn default() -> Self {
        Self::Two(0)
    }
}

impl Divisor {
    /// The divisor itself, 1 to 1,000,000.
    pub(crate) fn number(self) -> f64 {
        match self {
            Self::Two(exponent) => f64::from(1_u32 << exponent),
            Self::Ten(exponent) => POWERS_OF_TEN[usize::from(exponent)],
        }
    }

    /// The divisor with this number, if it is one.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        if number.is_power_of_two() && number <= 1 << TWOS_MAX {
            return u8::try_from(number.trailing_zeros()).ok().map(Self::Two);
        }
        (1..=TENS_MAX).map(Self::Ten).find(|divisor| divisor.number() == f64::from(number))
    }

    /// How many steps a number is, if it is a whole number of them and comes back to the bit.
    pub(crate) fn steps(self, number: f64) -> Option<i64> {
        let divisor = self.number();
        let steps = (number * divisor).round();
        if is_minus_zero(steps) {
            return None;
        }
        if steps.abs() > STEPS_MAX || (steps / divisor).to_bits() != number.to_bits() {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and within 2^53")]
        Some(steps as i64)
    }

    /// The number that is this many steps.
    pub(crate) fn value(self, steps: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "steps are within 2^53 except in damaged files")]
        let steps = steps as f64;
        steps / self.number()
    }

    fn smallest(number: f64) -> Option<Self> {
        let twos = (0..=TWOS_MAX).map(Self::Two);
        let tens = (1..=TENS_MAX).map(Self::Ten);
        let exact = |divisor: &Self| divisor.steps(number).is_some();
        let (two, ten) = (twos.into_iter().find(exact), tens.into_iter().find(exact));
        match (two, ten) {
            (Some(two), Some(ten)) => Some(if two.number() <= ten.number() { two } else { ten }),
            (two, ten) => two.or(ten),
        }
    }

    /// The smallest divisor of ours that holds what either holds.
    fn with(self, other: Self) -> Option<Self> {
        let ten = |exponent: u8| (exponent <= TENS_MAX).then_some(Self::Ten(exponent));
        match (self, other) {
            (Self::Two(a), Self::Two(b)) => Some(Self::Two(a.max(b))),
            (Self::Ten(a), Self::Ten(b)) | (Self::Two(a), Self::Ten(b)) | (Self::Ten(a), Self::Two(b)) => {
                ten(a.max(b))
            }
        }
    }
}

/// Minus zero, which no whole number is. Sensors that print a rounded number say it often, so it must not spoil the scale of
/// the others; it has a column of its own beside theirs.
pub(crate) fn is_minus_zero(number: f64) -> bool {
    number == 0.0 && number.is_sign_negative()
}

impl Scale {
    /// Takes a number into account.
    #[inline]
    pub(crate) fn see(&mut self, number: f64) {
        if is_minus_zero(number) {
            self.has_minus_zero = true;
            return;
        }
        self.seen = true;
        if self.is_hopeless || self.divisor.steps(number).is_some() {
            self.grow(number);
            return;
        }
        self.grow(number);
        match Divisor::smallest(number).and_then(|divisor| divisor.with(self.divisor)) {
            Some(divisor) => self.divisor = divisor,
            None => self.is_hopeless = true,
        }
    }

    #[inline]
    fn grow(&mut self, number: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` holds it within the range, and it is no less than zero"
        )]
        let magnitude = number.abs().ceil() as u64;
        self.magnitude = self.magnitude.max(magnitude);
    }

    /// The divisor that gives back every number seen; nothing where none does, or where there was none.
    pub(crate) fn divisor(&self) -> Option<Divisor> {
        #[expect(clippy::cast_precision_loss, reason = "a bound needs no last digit")]
        let largest = self.magnitude as f64 * self.divisor.number();
        (self.seen && !self.is_hopeless && largest <= STEPS_MAX).then_some(self.divisor)
    }

    /// Whether any number but minus zero was seen.
    pub(crate) fn has_numbers(&self) -> bool {
        self.seen
    }

    /// Whether minus zero was seen.
    pub(crate) fn has_minus_zero(&self) -> bool {
        self.has_minus_zero
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(numbers: &[f64], expected: Option<u32>) {
        let mut scale = Scale::default();
        numbers.iter().for_each(|number| scale.see(*number));
        let expected = expected.map(|number| Divisor::from_number(number).expect("one of ours"));
        assert_eq!(scale.divisor(), expected, "{numbers:?}");
    }

    #[test]
    fn the_smallest_divisor_that_is_exact_is_found() {
        check(&[], None);
        check(&[1.0, -7.0, 195.0], Some(1));
        check(&[230.1, 229.9], Some(10));
        check(&[0.0625, 180.5], Some(16));
        check(&[190.5], Some(2));
        check(&[190.5, 190.1], Some(10));
        check(&[0.0625, 0.1], Some(10_000));
        check(&[0.000_001], Some(1_000_000));
        check(&[0.000_000_1], None);
        check(&[std::f64::consts::PI], None);
        check(&[-0.0], None);
        check(&[-0.0, 0.5], Some(2));
        check(&[1e15, 0.001], None);
        check(&[1e300], None);
    }

    proptest! {
        #[test]
        fn every_number_comes_back_to_the_bit(
            steps in prop::collection::vec(-1_000_000_000_i64..1_000_000_000, 1..50),
            others in prop::collection::vec((-100_000_i64..100_000, 0_usize..10), 0..5),
            divisor in prop::sample::select(vec![1_u32, 2, 4, 10, 16, 100, 1000, 1024, 10_000]),
        ) {
            let divisor = Divisor::from_number(divisor).expect("one of ours");
            let mut numbers: Vec<f64> = steps.iter().map(|steps| divisor.value(*steps)).collect();
            let some = [1.0, 2.0, 8.0, 10.0, 16.0, 100.0, 1000.0, 1e6, 3.0, 7.0];
            #[expect(clippy::cast_precision_loss, reason = "small")]
            numbers.extend(others.iter().map(|(steps, index)| *steps as f64 / some[*index]));
            let mut scale = Scale::default();
            numbers.iter().for_each(|number| scale.see(*number));
            if let Some(found) = scale.divisor() {
                for number in numbers {
                    let steps = found.steps(number).expect("it was seen");
                    prop_assert_eq!(found.value(steps).to_bits(), number.to_bits());
                }
            }
        }
    }
}
