//! When an alarm begins and ends.

use egiz_ml::episode::{Change, EpisodeRule, Episodes};

/// Scores a second apart; `R` where an episode began, `C` where it ended.
fn check(rule: EpisodeRule, scores: &[Option<f64>], expected: &str) {
    let mut episodes = Episodes::new(rule).unwrap();
    let found: String = scores
        .iter()
        .enumerate()
        .map(|(at, score)| match episodes.push(at as i64 * 1000, *score) {
            Some(Change::Raised(_)) => 'R',
            Some(Change::Cleared(_)) => 'C',
            None => '.',
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn three_of_five_raise_and_a_while_below_the_hysteresis_clears() {
    let rule = EpisodeRule { hold_seconds: 2.0, ..EpisodeRule::default() };
    let scores = |text: &str| -> Vec<Option<f64>> {
        let score = |mark| match mark {
            'h' => Some(1.5),
            'm' => Some(0.8),
            'l' => Some(0.2),
            'n' => Some(f64::NAN),
            _ => None,
        };
        text.chars().map(score).collect()
    };
    check(rule, &scores("lhlhlhl"), ".....R.");
    check(rule, &scores("hllhllh"), ".......");
    check(rule, &scores("hhhmmmmmm"), "..R......");
    check(rule, &scores("hhhlllhhh"), "..R..C..R");
    check(rule, &scores("hhhllmlllh"), "..R.....C.");
    // Nothing scored neither raises nor clears; nor does what is not a number.
    check(rule, &scores("hh---nnh"), ".......R");
    check(rule, &scores("hhh-----l-ll"), "..R.......C.");
}

#[test]
fn the_peak_is_kept() {
    let rule = EpisodeRule { hold_seconds: 0.0, raise_count: 1, raise_of: 1, clear_below: 0.5 };
    let mut episodes = Episodes::new(rule).unwrap();
    episodes.push(1, Some(2.0));
    episodes.push(2, Some(7.0));
    assert_eq!(episodes.open().unwrap().peak_ms, 2);
    let Some(Change::Cleared(episode)) = episodes.push(3, Some(0.1)) else { panic!("it is over") };
    assert_eq!((episode.raised_ms, episode.cleared_ms), (1, Some(3)));
    assert_eq!((episode.peak, episode.peak_ms), (7.0, 2));
    assert_eq!(episodes.open(), None);
}

#[test]
fn a_rule_out_of_range_is_refused() {
    let good = EpisodeRule::default();
    for rule in [
        EpisodeRule { raise_count: 0, ..good },
        EpisodeRule { raise_count: 6, ..good },
        EpisodeRule { raise_of: 1001, ..good },
        EpisodeRule { clear_below: 1.1, ..good },
        EpisodeRule { hold_seconds: f64::NAN, ..good },
    ] {
        assert!(Episodes::new(rule).is_err(), "{rule:?}");
    }
}
