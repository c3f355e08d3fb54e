//! An MQTT 3.1.1 client whose session outlives its connections, kept by the letter: it sends again what was not answered,
//! and takes a message of QoS 2 once. What it knows of its session it keeps when the connection breaks, as a device with
//! flash does, so that a test can hold the broker to "exactly once".

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::mqtt::{push_length, push_text, whole};

/// How far a message of our own is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Sent,
    Released,
}

#[derive(Debug, Clone)]
struct Own {
    topic: String,
    payload: String,
    qos: u8,
    retain: bool,
    stage: Stage,
}

/// What is to be published should the client be lost.
#[derive(Debug, Clone)]
pub struct Will {
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: String,
    /// Quality of service, 0 to 2.
    pub qos: u8,
    /// Whether it is retained.
    pub retain: bool,
}

/// The client.
#[derive(Debug)]
pub struct Careful {
    id: String,
    will: Option<Will>,
    keep_alive_s: u16,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    own: BTreeMap<u16, Own>,
    next_id: u16,
    received: HashSet<u16>,
    /// Quality of service and payload of every message taken, in order.
    pub heard: Vec<(u8, String)>,
    /// Payloads of our own that the broker has acknowledged: with PUBACK, or with PUBREC.
    pub acknowledged: Vec<String>,
}

impl Careful {
    /// A client that has never been connected.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            will: None,
            keep_alive_s: 0,
            stream: None,
            buffer: Vec::new(),
            own: BTreeMap::new(),
            next_id: 1,
            received: HashSet::new(),
            heard: Vec::new(),
            acknowledged: Vec::new(),
        }
    }

    /// The client with a will and a keep-alive; it sends no pings, so it must not be silent for longer.
    #[must_use]
    pub fn with_will(self, will: Will, keep_alive_s: u16) -> Self {
        Self { will: Some(will), keep_alive_s, ..self }
    }

    /// Connects, and sends again what was not answered. Whether the broker knew the session.
    ///
    /// # Errors
    /// Where the broker is not there or refuses.
    pub async fn connect(&mut self, port: u16) -> io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut body = vec![0, 4];
        body.extend_from_slice(b"MQTT\x04");
        let flags = |will: &Will| 4 | (will.qos << 3) | (u8::from(will.retain) << 5);
        body.push(self.will.as_ref().map_or(0, flags));
        body.extend_from_slice(&self.keep_alive_s.to_be_bytes());
        push_text(&mut body, &self.id);
        if let Some(will) = &self.will {
            push_text(&mut body, &will.topic);
            push_text(&mut body, &will.payload);
        }
        stream.write_all(&packet(0x10, &body)).await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await?;
        if answer[0] != 0x20 || answer[3] != 0 {
            return Err(io::Error::other(format!("the broker refused: {answer:?}")));
        }
        self.stream = Some(stream);
        self.buffer.clear();
        let mut again = Vec::new();
        for (id, own) in &self.own {
            match own.stage {
                Stage::Sent => again.extend(publish(*id, own, true)),
                Stage::Released => again.extend(packet(0x62, &id.to_be_bytes())),
            }
        }
        self.write(&again).await?;
        Ok(answer[2] == 1)
    }

    /// Subscribes and waits for the SUBACK.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> io::Result<()> {
        let mut body = vec![0xFF, 0xFF];
        push_text(&mut body, filter);
        body.push(qos);
        self.write(&packet(0x82, &body)).await?;
        while self.take().await? != 0x90 {}
        Ok(())
    }

    /// Sends a message of QoS 1 or 2; the answer is taken later.
    ///
    /// # Errors
    /// Where the connection breaks; the message is sent again by the next one.
    pub async fn publish(&mut self, topic: &str, payload: &str, qos: u8, retain: bool) -> io::Result<()> {
        while self.own.contains_key(&self.next_id) {
            self.next_id = self.next_id % 60_000 + 1;
        }
        let id = self.next_id;
        self.next_id = self.next_id % 60_000 + 1;
        let own =
            Own { topic: topic.to_owned(), payload: payload.to_owned(), qos, retain, stage: Stage::Sent };
        let bytes = publish(id, &own, false);
        self.own.insert(id, own);
        self.write(&bytes).await
    }

    /// Messages of our own that are not done with.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.own.len()
    }

    /// Takes what comes until nothing has for `quiet`, or the connection breaks.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn take_until_quiet(&mut self, quiet: Duration) -> io::Result<()> {
        while let Ok(taken) = timeout(quiet, self.take()).await {
            taken?;
        }
        Ok(())
    }

    /// Takes what comes until `done`.
    ///
    /// # Errors
    /// Where the connection breaks, or after `patience`.
    pub async fn take_until(
        &mut self,
        patience: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> io::Result<()> {
        let end = Instant::now() + patience;
        while !done(self) {
            tokio::time::timeout_at(end, self.take()).await??;
        }
        Ok(())
    }

    /// Says good-bye: no will is published.
    ///
    /// # Errors
    /// Where the connection breaks.
    pub async fn say_good_bye(&mut self) -> io::Result<()> {
        self.write(&packet(0xE0, &[])).await?;
        self.stream = None;
        Ok(())
    }

    /// Breaks the connection off.
    pub fn drop_connection(&mut self) {
        self.stream = None;
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        stream.write_all(bytes).await
    }

    /// Takes one packet and does what it asks for; the packet's first byte.
    async fn take(&mut self) -> io::Result<u8> {
        loop {
            if let Some((first, body, length)) = whole(&self.buffer) {
                let (body, end) = (self.buffer[body..length].to_vec(), length);
                self.buffer.drain(..end);
                self.handle(first, &body).await?;
                return Ok(first);
            }
            let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn handle(&mut self, first: u8, body: &[u8]) -> io::Result<()> {
        let id = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
        match first {
            0x40 => {
                self.acknowledged.extend(self.own.remove(&id(0)).map(|own| own.payload));
            }
            0x50 => {
                if let Some(own) = self.own.get_mut(&id(0))
                    && own.stage == Stage::Sent
                {
                    own.stage = Stage::Released;
                    self.acknowledged.push(own.payload.clone());
                }
                self.write(&packet(0x62, &id(0).to_be_bytes())).await?;
            }
            0x70 => {
                self.own.remove(&id(0));
            }
            0x62 => {
                self.received.remove(&id(0));
                self.write(&packet(0x70, &id(0).to_be_bytes())).await?;
            }
            _ if first & 0xF0 == 0x30 => {
                let behind_topic = 2 + usize::from(id(0));
                let qos = (first >> 1) & 3;
                let payload = &body[behind_topic + if qos > 0 { 2 } else { 0 }..];
                let payload = String::from_utf8_lossy(payload).into_owned();
                if qos == 0 {
                    self.heard.push((qos, payload));
                    return Ok(());
                }
                let id = id(behind_topic);
                if qos == 1 || self.received.insert(id) {
                    self.heard.push((qos, payload));
                }
                self.write(&packet(if qos == 1 { 0x40 } else { 0x50 }, &id.to_be_bytes())).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    push_length(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

fn publish(id: u16, own: &Own, again: bool) -> Vec<u8> {
    let mut body = Vec::new();
    push_text(&mut body, &own.topic);
    body.extend_from_slice(&id.to_be_bytes());
    body.extend_from_slice(own.payload.as_bytes());
    packet(0x30 | (u8::from(again) << 3) | (own.qos << 1) | u8::from(own.retain), &body)
}
