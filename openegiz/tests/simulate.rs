//! `openegiz simulate` as somebody who runs it sees it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

#[test]
fn it_says_that_it_runs_and_that_there_is_no_broker() {
    let mut simulator = Command::new(env!("CARGO_BIN_EXE_openegiz"))
        // Port 1 is nobody's.
        .args(["simulate", "--broker", "127.0.0.1:1", "--devices", "1"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(simulator.stderr.take().expect("a pipe")).lines();
    let said: Vec<String> = lines.map_while(Result::ok).take(2).collect();
    simulator.kill().expect("it runs still");
    simulator.wait().expect("it ended");
    assert!(said[0].contains("simulating") && said[0].contains("127.0.0.1:1"), "{said:?}");
    assert!(said[1].contains("connection to the broker failed"), "{said:?}");
}
