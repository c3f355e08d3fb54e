use proptest::prelude::*;

use super::Window;

proptest! {
    /// Against taking each mean anew from all rows.
    #[test]
    fn means_are_those_of_the_rows_in_the_span(
        rows in prop::collection::vec((1i64..3000, prop_oneof![9 => -10.0..10.0f64, 1 => Just(1e12)]), 1..300),
        seconds in 1u8..30,
    ) {
        let mut window = Window::new(f64::from(seconds), 2);
        let mut all: Vec<(i64, f64)> = Vec::new();
        let mut time_ms = 0;
        for (step, value) in rows {
            time_ms += step;
            all.push((time_ms, value));
            window.push(time_ms, &[value, -value]);
            let inside: Vec<f64> = all
                .iter()
                .filter(|(at, _)| time_ms - at < i64::from(seconds) * 1000)
                .map(|(_, value)| *value)
                .collect();
            prop_assert_eq!(window.len(), inside.len());
            let expected = inside.iter().sum::<f64>() / inside.len() as f64;
            let mut found = [0.0; 2];
            window.mean(&mut found);
            prop_assert!((found[0] - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found:?} {expected}");
            prop_assert_eq!(found[0], -found[1]);
        }
    }
}

#[test]
fn coverage_is_by_time() {
    let mut window = Window::new(10.0, 1);
    assert_eq!(window.coverage(1000.0), 0.0);
    for at in 0..20 {
        window.push(at * 1000, &[1.0]);
    }
    assert_eq!(window.coverage(1000.0), 1.0);
    // Rows rarer than the window is long: one is enough.
    assert_eq!(window.coverage(60_000.0), 10.0);
    window.push(1_000_000, &[1.0]);
    assert_eq!(window.coverage(1000.0), 0.1);
}
