//! A small raw MQTT 3.1.1 publisher: enough to load a broker harder than a comfortable client can, and to know exactly
//! which packet ids were acknowledged. Real clients are used where behaviour is tested; this one is for rate and ledger.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Connects and waits for CONNACK.
///
/// # Errors
/// Where the broker is not there or refuses.
pub async fn connect(port: u16, client_id: &str) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    log_in(&mut stream, client_id, 60).await?;
    Ok(stream.into_split())
}

/// Sends CONNECT and waits for CONNACK.
///
/// # Errors
/// Where the broker ends the connection or refuses.
pub async fn log_in<S>(stream: &mut S, client_id: &str, keep_alive_s: u16) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mut body = vec![0, 4];
    body.extend_from_slice(b"MQTT");
    body.extend_from_slice(&[4, 2]);
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    push_text(&mut body, client_id);
    let mut packet = vec![0x10];
    push_length(&mut packet, body.len());
    packet.extend_from_slice(&body);
    stream.write_all(&packet).await?;
    stream.flush().await?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await?;
    if answer[0] != 0x20 || answer[3] != 0 {
        return Err(io::Error::other(format!("the broker refused: {answer:?}")));
    }
    Ok(())
}

/// Appends a PUBLISH with QoS 1.
pub fn push_publish(out: &mut Vec<u8>, topic: &str, packet_id: u16, payload: &[u8]) {
    out.push(0x32);
    push_length(out, 2 + topic.len() + 2 + payload.len());
    push_text(out, topic);
    out.extend_from_slice(&packet_id.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Appends a PUBLISH with QoS 0, which nobody acknowledges.
pub fn push_unacknowledged(out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
    out.push(0x30);
    push_length(out, 2 + topic.len() + payload.len());
    push_text(out, topic);
    out.extend_from_slice(payload);
}

/// Takes whole PUBACKs off the front of `buffer`, calling `acknowledged` for each packet id. Other packets that a
/// publisher gets (PINGRESP) are skipped.
///
/// # Errors
/// For a packet that no broker sends a publisher.
pub fn take_acknowledgements(buffer: &mut Vec<u8>, mut acknowledged: impl FnMut(u16)) -> io::Result<()> {
    let mut at = 0;
    while let Some(&kind) = buffer.get(at) {
        let Some(&length) = buffer.get(at + 1) else { break };
        let end = at + 2 + usize::from(length);
        if buffer.len() < end {
            break;
        }
        match (kind, length) {
            (0x40, 2..) => acknowledged(u16::from_be_bytes([buffer[at + 2], buffer[at + 3]])),
            (0xD0, 0) => {}
            _ => return Err(io::Error::other(format!("unexpected packet {kind:#x}"))),
        }
        at = end;
    }
    buffer.drain(..at);
    Ok(())
}

pub(crate) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).expect("topics are short").to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn push_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let octet = (length % 128) as u8;
        length /= 128;
        out.push(if length > 0 { octet | 0x80 } else { octet });
        if length == 0 {
            return;
        }
    }
}

/// The first byte of the packet at the front, where its body begins and where it ends; `None` until it is whole.
pub(crate) fn whole(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let mut length = 0;
    for (index, octet) in buffer.get(1..)?.iter().take(4).enumerate() {
        length |= usize::from(octet & 0x7F) << (7 * index);
        if octet & 0x80 == 0 {
            let body = index + 2;
            return (buffer.len() >= body + length).then_some((buffer[0], body, body + length));
        }
    }
    None
}
