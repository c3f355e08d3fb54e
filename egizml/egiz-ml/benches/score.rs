//! What judging costs. Promised for twelve signals: a sample through gate, windows and all four detectors in about 10 µs, and an
//! explanation of the fused score, exact over all 4096 sets of signals, in under 10 ms.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use egiz_ml::options::network;
use egiz_ml::random::Random;
use egiz_ml::{Detector, Model, Options, Row, Scorer, Series};

const SIGNALS: usize = 12;

fn series(seed: u64, rows: usize) -> Series {
    let mut random = Random::new(seed);
    let names = (0..SIGNALS).map(|at| format!("signal_{at:02}")).collect();
    let mut series = Series::new(names).expect("names differ");
    for row in 0..rows {
        let load = random.normal();
        let values: Vec<f64> = (0..SIGNALS).map(|at| at as f64 + load * 0.5 + random.normal()).collect();
        let row = Row { time_ms: row as i64 * 1000, values: &values, regime: "" };
        series.push(row).expect("time goes on");
    }
    series
}

fn score(criterion: &mut Criterion) {
    let options = Options { autoencoder: Some(network(SIGNALS)), ..Options::default() };
    let training = series(1, 5000);
    let model = Arc::new(Model::fit(&training, &options).expect("there is enough to learn from"));
    let fresh = series(2, 10_000);
    let mut scorer = Scorer::new(model, fresh.signals());
    let mut at = 0;
    let mut time_ms = 0;
    criterion.bench_function("score one sample, all detectors, 12 signals", |bencher| {
        bencher.iter(|| {
            at = (at + 1) % fresh.len();
            time_ms += 1000;
            black_box(scorer.push(Row { time_ms, ..fresh.row(at) }))
        });
    });
    criterion.bench_function("explain the fused score, 12 signals", |bencher| {
        bencher.iter(|| black_box(scorer.explain(None)));
    });
    criterion.bench_function("explain the forest, 12 signals", |bencher| {
        bencher.iter(|| black_box(scorer.explain(Some(Detector::Forest))));
    });
    criterion.bench_function("explain the autoencoder, 12 signals", |bencher| {
        bencher.iter(|| black_box(scorer.explain(Some(Detector::Autoencoder))));
    });
}

fn fit(criterion: &mut Criterion) {
    let options = Options { autoencoder: Some(network(SIGNALS)), ..Options::default() };
    // 30 days at one row a minute.
    let training = series(1, 43_200);
    let mut group = criterion.benchmark_group("fit");
    group.sample_size(10);
    group.bench_function("30 days of a row a minute, 12 signals", |bencher| {
        bencher.iter(|| black_box(Model::fit(&training, &options)));
    });
    group.finish();
}

criterion_group!(benches, score, fit);
criterion_main!(benches);
