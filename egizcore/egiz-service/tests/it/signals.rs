//! The process is sent signals for real.

use egiz_service::shutdown::{StopSignal, StopSignals};

#[tokio::test]
async fn sigterm_and_sigint_are_requests_to_stop() {
    let mut signals = StopSignals::listen().unwrap();
    for (name, expected) in [("TERM", StopSignal::Terminate), ("INT", StopSignal::Interrupt)] {
        let id = std::process::id().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &id]).status().unwrap();
        assert!(sent.success());
        assert_eq!(signals.next().await, expected);
    }
}
