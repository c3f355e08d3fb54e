//! A subscriber that does nothing but take messages, as fast as they come: how many, how old, and whether any came twice.
//! It acknowledges a whole read at once, so that it costs the machine as little as a subscriber can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::load::now_micros;
use crate::measure::Latencies;
use crate::mqtt;

/// What ends the payloads of `load`: the moment of writing, in microseconds since 1970.
const SENT: &[u8] = b"\"sent_micros\":";
const PUBLISH: u8 = 0x30;

/// A subscriber with one filter.
#[derive(Debug)]
pub struct Hearer {
    count: Arc<AtomicU64>,
    task: JoinHandle<std::io::Result<Heard>>,
}

/// What it heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// Messages.
    pub count: u64,
    /// Of them, those that the broker marked as sent before.
    pub again: u64,
    /// From writing a message to taking it.
    pub latencies: Latencies,
}

impl Hearer {
    /// Subscribes. After each read it waits for `pause`, which makes it slow.
    ///
    /// # Errors
    /// Where the broker is not there or refuses.
    pub async fn start(port: u16, filter: &str, qos: u8, pause: Duration) -> std::io::Result<Self> {
        let (mut reader, mut writer) = mqtt::connect(port, "hearer").await?;
        let mut packet = vec![0x82];
        mqtt::push_length(&mut packet, 2 + 2 + filter.len() + 1);
        packet.extend_from_slice(&[0, 1]);
        mqtt::push_text(&mut packet, filter);
        packet.push(qos);
        writer.write_all(&packet).await?;
        let mut answer = [0; 5];
        reader.read_exact(&mut answer).await?;
        if answer != [0x90, 3, 0, 1, qos] {
            return Err(std::io::Error::other(format!("the broker answered {answer:?}")));
        }
        let count = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&count);
        let task = tokio::spawn(async move {
            let mut heard = Heard::default();
            let mut buffer = Vec::with_capacity(256 * 1024);
            let mut acknowledgements = Vec::new();
            while reader.read_buf(&mut buffer).await? > 0 {
                acknowledgements.clear();
                heard.take(&mut buffer, &mut acknowledgements);
                shown.store(heard.count, Ordering::Release);
                if writer.write_all(&acknowledgements).await.is_err() {
                    break;
                }
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            Ok(heard)
        });
        Ok(Self { count, task })
    }

    /// Messages so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until so many messages have come, or none has for `patience`.
    pub async fn wait(&self, messages: u64, patience: Duration) {
        let (mut seen, mut since) = (self.count(), Instant::now());
        while seen < messages && since.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = self.count();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// Waits until the broker has closed the connection.
    ///
    /// # Errors
    /// Where reading failed.
    pub async fn finish(self) -> anyhow::Result<Heard> {
        match self.task.await? {
            // A broker that was killed resets the connection; what came before counts.
            Err(error) => Err(error.into()),
            Ok(heard) => Ok(heard),
        }
    }
}

impl Heard {
    /// Takes whole packets off the front.
    fn take(&mut self, buffer: &mut Vec<u8>, acknowledgements: &mut Vec<u8>) {
        let (mut at, now) = (0, now_micros());
        while let Some((first, body, end)) = mqtt::whole(&buffer[at..]) {
            let packet = &buffer[at + body..at + end];
            at += end;
            if first & 0xF0 != PUBLISH {
                continue;
            }
            self.count += 1;
            self.again += u64::from(first & 8 != 0);
            if first & 6 != 0 {
                let behind_topic = 2 + usize::from(u16::from_be_bytes([packet[0], packet[1]]));
                let answer = if first & 6 == 2 { 0x40 } else { 0x50 };
                acknowledgements.extend([answer, 2, packet[behind_topic], packet[behind_topic + 1]]);
            }
            if let Some(sent) = moment(packet) {
                self.latencies.add(Duration::from_micros(u64::try_from(now - sent).unwrap_or(0)));
            }
        }
        buffer.drain(..at);
    }
}

/// When a payload of `load` was written.
fn moment(payload: &[u8]) -> Option<i64> {
    let from = payload.len().checked_sub(40)?;
    let at = payload[from..].windows(SENT.len()).position(|window| window == SENT)?;
    let digits = &payload[from + at + SENT.len()..];
    let end = digits.iter().position(|octet| !octet.is_ascii_digit())?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_packets_are_counted_and_answered_and_the_rest_waits() {
        let mut payload = Vec::new();
        crate::load::write_payload(&mut payload, "dev-00001", 7);
        let mut buffer = Vec::new();
        mqtt::push_publish(&mut buffer, "a/b", 258, &payload);
        let length = buffer.len();
        mqtt::push_publish(&mut buffer, "a/b", 259, &payload);
        buffer.truncate(length + 9);
        let (mut heard, mut answers) = (Heard::default(), Vec::new());
        heard.take(&mut buffer, &mut answers);
        assert_eq!((heard.count, heard.again, heard.latencies.count()), (1, 0, 1));
        assert_eq!((answers, buffer.len()), (vec![0x40, 2, 1, 2], 9));
    }
}
