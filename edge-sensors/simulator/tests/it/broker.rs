//! A minimal MQTT acceptor for tests: accepts everyone, acknowledges QoS 1 publishes, keeps what it got, and
//! can hang up after some publishes without acknowledging the last one. No sessions, no routing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) client_id: String,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) is_retained: bool,
    pub(crate) is_acknowledged: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) received: Vec<Received>,
    /// CONNECT packets by client id.
    pub(crate) connects: HashMap<String, Vec<Vec<u8>>>,
    pub(crate) clean_disconnects: usize,
}

pub(crate) struct Broker {
    pub(crate) port: u16,
    pub(crate) log: Arc<Mutex<Log>>,
}

impl Broker {
    /// Starts; with `hang_up_after`, each connection ends at that many publishes, the last unacknowledged.
    pub(crate) async fn start(hang_up_after: Option<usize>) -> Broker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = Arc::new(Mutex::new(Log::default()));
        let shared = log.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that hangs up ends its task with an error that nobody needs.
                tokio::spawn(serve(stream, shared.clone(), hang_up_after));
            }
        });
        Broker { port, log }
    }
}

async fn packet(stream: &mut TcpStream) -> std::io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let (mut length, mut shift) = (0usize, 0);
    loop {
        let byte = stream.read_u8().await?;
        length |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}

fn text(body: &[u8], at: usize) -> (String, usize) {
    let length = usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    (String::from_utf8(body[at + 2..at + 2 + length].to_vec()).unwrap(), at + 2 + length)
}

async fn serve(
    mut stream: TcpStream,
    log: Arc<Mutex<Log>>,
    hang_up_after: Option<usize>,
) -> std::io::Result<()> {
    let (_, connect) = packet(&mut stream).await?;
    let is_v5 = connect[6] == 5;
    // Protocol name 6, level 1, flags 1, keep-alive 2; version 5 adds properties (shorter than 128 here).
    let at = if is_v5 { 11 + usize::from(connect[10]) } else { 10 };
    let (client_id, _) = text(&connect, at);
    log.lock().unwrap().connects.entry(client_id.clone()).or_default().push(connect);
    stream.write_all(if is_v5 { &[0x20, 3, 0, 0, 0] } else { &[0x20, 2, 0, 0] }).await?;
    let mut publishes = 0;
    loop {
        let (first, body) = packet(&mut stream).await?;
        match first >> 4 {
            3 => {
                assert_eq!((first >> 1) & 3, 1, "QoS 1 expected");
                let (topic, at) = text(&body, 0);
                let packet_id = [body[at], body[at + 1]];
                let payload_at = at + 2 + if is_v5 { 1 + usize::from(body[at + 2]) } else { 0 };
                publishes += 1;
                let is_acknowledged = hang_up_after != Some(publishes);
                log.lock().unwrap().received.push(Received {
                    client_id: client_id.clone(),
                    topic,
                    payload: body[payload_at..].to_vec(),
                    is_retained: first & 1 == 1,
                    is_acknowledged,
                });
                if !is_acknowledged {
                    // Takes what is on its way, unseen, so that the close is no reset which would also destroy
                    // the acknowledgements that the device has not read yet.
                    let mut unseen = Vec::new();
                    let drain = stream.read_to_end(&mut unseen);
                    let _ = tokio::time::timeout(Duration::from_millis(100), drain).await;
                    return Ok(());
                }
                stream.write_all(&[0x40, 2, packet_id[0], packet_id[1]]).await?;
            }
            12 => stream.write_all(&[0xD0, 0]).await?,
            14 => {
                log.lock().unwrap().clean_disconnects += 1;
                return Ok(());
            }
            other => panic!("unexpected packet type {other}"),
        }
    }
}
