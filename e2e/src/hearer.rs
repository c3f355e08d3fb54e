//! A subscriber that does nothing but take messages, as fast as they come: how many, how old, and whether any came twice.
//! It acknowledges a whole read at once, so that it costs the machine as little as a subscriber can.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
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
    task: JoinHandle<Heard>,
}

/// What it heard.
#[derive(Debug, Default)]
pub struct Heard {
    /// Messages.
    pub count: u64,
    /// Of them, those that are no newer than one before on their topic, so that they came twice or out of order.
    pub again: u64,
    /// From writing a message to taking it.
    pub latencies: Latencies,
    /// From subscribing to the end of the connection.
    pub connected: Duration,
    /// The newest message of each topic.
    newest: HashMap<Box<[u8]>, i64>,
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
            let begun = Instant::now();
            let mut heard = Heard::default();
            let mut buffer = Vec::with_capacity(256 * 1024);
            let mut acknowledgements = Vec::new();
            // An end is an end: a broker that stops with something unread resets the connection.
            while let Ok(1..) = reader.read_buf(&mut buffer).await {
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
            heard.connected = begun.elapsed();
            heard
        });
        Ok(Self { count, task })
    }

    /// Whether the broker has ended the connection.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Messages so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until so many messages have come, none has for `patience`, or none can come any more.
    pub async fn wait(&self, messages: u64, patience: Duration) {
        let (mut seen, mut since) = (self.count(), Instant::now());
        while seen < messages && since.elapsed() < patience && !self.is_over() {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = self.count();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    /// Waits until the broker has ended the connection, and no longer than `patience` for that.
    ///
    /// # Errors
    /// Where it does not end it.
    pub async fn finish(self, patience: Duration) -> anyhow::Result<Heard> {
        let heard = tokio::time::timeout(patience, self.task).await;
        Ok(heard.context("the broker leaves the subscriber's connection open")??)
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
            let behind_topic = 2 + usize::from(u16::from_be_bytes([packet[0], packet[1]]));
            if first & 6 != 0 {
                let answer = if first & 6 == 2 { 0x40 } else { 0x50 };
                acknowledgements.extend([answer, 2, packet[behind_topic], packet[behind_topic + 1]]);
            }
            if let Some(sent) = moment(packet) {
                self.note(&packet[2..behind_topic], sent);
                self.latencies.add(Duration::from_micros(u64::try_from(now - sent).unwrap_or(0)));
            }
        }
        buffer.drain(..at);
    }

    /// Counts a message that comes again: each topic has one publisher, which takes longer than a microsecond for each.
    fn note(&mut self, topic: &[u8], sent: i64) {
        match self.newest.get_mut(topic) {
            Some(newest) if sent <= *newest => self.again += 1,
            Some(newest) => *newest = sent,
            None => {
                self.newest.insert(topic.into(), sent);
            }
        }
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

    #[tokio::test]
    async fn what_came_before_the_connection_broke_counts() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it has one").port();
        let broker = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("it comes");
            let mut read = [0; 1024];
            for answer in [&[0x20, 2, 0, 0][..], &[0x90, 3, 0, 1, 1]] {
                let _request = stream.read(&mut read).await;
                stream.write_all(answer).await.expect("it is there");
            }
            let mut message = Vec::new();
            mqtt::push_publish(&mut message, "a", 1, b"hi");
            stream.write_all(&message).await.expect("it is there");
            // Its acknowledgement stays unread, so that closing resets the connection.
            stream.readable().await.expect("it is acknowledged");
        });
        let hearer = Hearer::start(port, "#", 1, Duration::ZERO).await.expect("it is let in");
        broker.await.expect("it does not panic");
        let heard = hearer.finish(Duration::from_secs(20)).await.expect("the connection is over");
        assert_eq!(heard.count, 1);
    }

    #[test]
    fn a_message_that_comes_twice_is_known_by_its_topic_and_its_moment() {
        let mut heard = Heard::default();
        for (topic, sent) in [("a", 1), ("a", 2), ("b", 2), ("a", 2), ("a", 1), ("a", 3)] {
            heard.note(topic.as_bytes(), sent);
        }
        assert_eq!(heard.again, 2);
    }
}
