//! What is said to people while something goes on, and about backups.

use std::time::{Duration, Instant};

use egiz_backup::{Progress, ProgressNow};

/// How often it is said how far it is.
const EVERY: Duration = Duration::from_secs(2);

/// Waits for the work, and says on standard error how far it is.
pub(super) async fn told<T>(what: &str, progress: &Progress, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let telling = async {
        loop {
            tokio::time::sleep(EVERY).await;
            say(&format!("{what}: {}, {} s", line(progress.now()), begun.elapsed().as_secs()));
        }
    };
    tokio::select! {
        done = work => done,
        never = telling => never,
    }
}

/// How far it is, in one line.
pub(super) fn line(now: ProgressNow) -> String {
    let ProgressNow { files, files_done, bytes, bytes_done, bytes_sent } = now;
    format!(
        "{files_done} of {files} files, {} of {}, {} over the wire",
        size(bytes_done),
        size(bytes),
        size(bytes_sent)
    )
}

/// A number of bytes for people: three digits and a unit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut number = bytes as f64;
    let mut unit = 0;
    while number >= 999.5 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    if unit == 0 || number >= 99.95 {
        format!("{number:.0} {}", UNITS[unit])
    } else {
        format!("{number:.1} {}", UNITS[unit])
    }
}

#[expect(clippy::print_stderr, reason = "who waits wants to know for how long")]
pub(super) fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (99_949, "99.9 kB"),
            (123_456, "123 kB"),
            (999_600, "1.0 MB"),
            (5_400_000_000, "5.4 GB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(size(bytes), expected);
        }
    }
}
