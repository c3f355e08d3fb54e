//! The last moments of a connection that the broker ends: everything is said, and the client may still be sending.
//!
//! A socket that is closed with something unread, or is sent to later, is reset, and with that the client may lose what it has
//! not read yet: the reason why it has to go. So what still comes is read and thrown away until the client has closed its
//! side, for a while.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::listener::Reader;

/// How long a client may take to hear that it was told to go.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the client has closed its side, at most for so long, or until `stop`.
pub(super) async fn until_heard(reader: &mut Reader, patience: Duration, stop: &CancellationToken) {
    let mut unread = [0; 4096];
    let read_on = async { while matches!(reader.read(&mut unread).await, Ok(1..)) {} };
    tokio::select! {
        _ = timeout(patience, read_on) => {}
        () = stop.cancelled() => {}
    }
}
