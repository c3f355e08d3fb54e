//! What the operating system says about the process, read from `/proc` at each scrape. Where `/proc` is missing or
//! reads differently the metric is left out.
//!
//! Source: proc(5).

use std::fmt;
use std::fs;
use std::path::PathBuf;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Ticks a second in `/proc/*/stat`: `USER_HZ`, 100 on every architecture that Linux offers it to programs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads one process's files below `/proc`.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    proc: PathBuf,
}

impl ProcessCollector {
    pub(super) fn new(proc: PathBuf) -> ProcessCollector {
        ProcessCollector { proc }
    }

    fn read(&self) -> Readings {
        let text = |path: &str| fs::read_to_string(self.proc.join(path)).unwrap_or_default();
        let stat = text("self/stat");
        // The second field is the program's name in parentheses and may hold spaces; the third follows the last one.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        // Fields are numbered from 1 in proc(5), and the first here is number 3.
        let ticks = |number: usize| fields.get(number - 3).and_then(|field| field.parse::<f64>().ok());
        let status = text("self/status");
        let of_status = |name: &str| word_after(&status, name);
        let boot = word_after(&text("stat"), "btime");
        Readings {
            cpu_seconds: Option::zip(ticks(14), ticks(15))
                .map(|(user, system)| (user + system) / TICKS_PER_SECOND),
            start_seconds: Option::zip(boot, ticks(22)).map(|(boot, start)| boot + start / TICKS_PER_SECOND),
            resident_bytes: of_status("VmRSS:").map(|kib| kib * 1024.0),
            threads: of_status("Threads:"),
            open_fds: fs::read_dir(self.proc.join("self/fd")).ok().map(|entries| entries.count() as f64),
            max_fds: word_after(&text("self/limits"), "Max open files"),
        }
    }
}

#[derive(Debug, PartialEq)]
struct Readings {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    threads: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let readings = self.read();
        if let Some(seconds) = readings.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            let help = "Time on a processor, of the program and of the kernel for it";
            counter.encode(encoder.encode_descriptor(
                "process_cpu_seconds",
                help,
                None,
                counter.metric_type(),
            )?)?;
        }
        for (name, help, reading) in [
            ("process_resident_memory_bytes", "Memory in RAM", readings.resident_bytes),
            ("process_open_fds", "Open files and sockets", readings.open_fds),
            ("process_max_fds", "Most files and sockets that may be open", readings.max_fds),
            ("process_threads", "Threads", readings.threads),
            ("process_start_time_seconds", "Start, in seconds since the epoch", readings.start_seconds),
        ] {
            if let Some(value) = reading {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
            }
        }
        Ok(())
    }
}

/// Reads the number after a name at the start of a line.
fn word_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read_as_proc_5_describes_them() {
        let proc = tempfile::tempdir().unwrap();
        let me = proc.path().join("self");
        fs::create_dir_all(me.join("fd")).unwrap();
        for fd in 0..5 {
            fs::write(me.join("fd").join(fd.to_string()), "").unwrap();
        }
        let stat = "7 (a name) with)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 9 0 4200 1000000 500 18446744073709551615";
        fs::write(me.join("stat"), stat).unwrap();
        fs::write(me.join("status"), "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t9\n").unwrap();
        fs::write(
            me.join("limits"),
            "Limit  Soft  Hard\nMax open files            1024                 4096  files\n",
        )
        .unwrap();
        fs::write(proc.path().join("stat"), "cpu  1 2 3\nbtime 1700000000\n").unwrap();
        assert_eq!(
            ProcessCollector::new(proc.path().to_owned()).read(),
            Readings {
                cpu_seconds: Some(3.0),
                start_seconds: Some(1_700_000_042.0),
                resident_bytes: Some(2_097_152.0),
                threads: Some(9.0),
                open_fds: Some(5.0),
                max_fds: Some(1024.0),
            }
        );
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let empty = tempfile::tempdir().unwrap();
        let none = Readings {
            cpu_seconds: None,
            start_seconds: None,
            resident_bytes: None,
            threads: None,
            open_fds: None,
            max_fds: None,
        };
        assert_eq!(ProcessCollector::new(empty.path().to_owned()).read(), none);
    }
}
