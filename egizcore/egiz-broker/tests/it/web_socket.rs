//! MQTT over WebSocket, with a real WebSocket client.

use std::net::SocketAddr;
use std::time::Duration;

use egiz_broker::{ListenerOptions, Origins, Transport};
use futures::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderValue, Response, StatusCode};
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::certificates::{Authority, Files};
use crate::harness::{PATIENCE, server, until};
use crate::listening::{expect_end, options, over_tls, with_tls};
use crate::packets::{Connect, PING, PONG, QOS_1, V3, V5, acknowledged, granted, publish, subscribe};

fn web_socket(options: ListenerOptions) -> ListenerOptions {
    let origins = Origins { allowed: vec!["https://scada.example".to_owned()] };
    ListenerOptions { transport: Transport::WebSocket(origins), ..options }
}

type Opened<S> = (WebSocketStream<S>, Response<Option<Vec<u8>>>);

/// Opens a WebSocket with these headers beside the usual ones.
async fn open_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    headers: &[(&'static str, &str)],
) -> Result<Opened<S>, tungstenite::Error> {
    let mut request = "ws://localhost/mqtt".into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().append(*name, HeaderValue::from_str(value).expect("printable"));
    }
    timeout(PATIENCE, client_async(request, stream)).await.expect("an answer")
}

const MQTT: (&str, &str) = ("Sec-WebSocket-Protocol", "mqtt");

async fn open(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (socket, response) = open_over(stream, &[MQTT]).await.expect("it is accepted");
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "mqtt");
    socket
}

async fn send<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, bytes: &[u8]) {
    socket.send(Message::binary(bytes.to_vec())).await.expect("it is read");
}

/// Reads binary frames until they hold these bytes, and no more.
async fn expect<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>, bytes: &[u8]) {
    let mut got = Vec::new();
    while got.len() < bytes.len() {
        match timeout(PATIENCE, socket.next())
            .await
            .expect("a frame")
            .expect("not the end")
            .expect("a good one")
        {
            Message::Binary(payload) => got.extend_from_slice(&payload),
            other => panic!("{other:?}"),
        }
    }
    assert!(got == bytes, "{:02x?}", &got[..got.len().min(80)]);
}

const LET_IN_V3: [u8; 4] = [0x20, 2, 0, 0];

#[tokio::test]
async fn mqtt_6_0_0_2_packets_need_not_keep_to_frames() {
    let server = server().await;
    let mut socket = open(server.listen(web_socket(options())).await).await;
    // Byte by byte.
    for byte in Connect::of(V3, "c").bytes() {
        send(&mut socket, &[byte]).await;
    }
    expect(&mut socket, &LET_IN_V3).await;
    // Several in one frame.
    let subscribe = subscribe(V3, 1, &[("a", 0)]);
    send(&mut socket, &[&subscribe[..], PING, &publish(V3, QOS_1, "a", 2, "x")].concat()).await;
    let answers = [&granted(V3, 1, &[0])[..], PONG, &publish(V3, 0, "a", 0, "x"), &acknowledged(2)].concat();
    // The acknowledgement and the delivery may change places.
    let mut got = Vec::new();
    while got.len() < answers.len() {
        let frame = timeout(PATIENCE, socket.next()).await.expect("a frame").expect("not the end");
        got.extend_from_slice(&frame.expect("a good one").into_data());
    }
    let sorted = |mut bytes: Vec<u8>| {
        bytes.sort_unstable();
        bytes
    };
    assert_eq!(sorted(got), sorted(answers));
    // In fragments, with an empty one and a ping between.
    let fragment = |payload: &[u8], opcode, is_final| {
        Message::Frame(Frame::message(payload.to_vec(), OpCode::Data(opcode), is_final))
    };
    socket.feed(fragment(&PING[..1], Data::Binary, false)).await.expect("it is read");
    socket.feed(fragment(&[], Data::Continue, false)).await.expect("it is read");
    socket.feed(Message::Ping("there?".into())).await.expect("it is read");
    socket.feed(fragment(&PING[1..], Data::Continue, true)).await.expect("it is read");
    socket.flush().await.expect("it is read");
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let frame = timeout(PATIENCE, socket.next()).await.expect("a frame").expect("not the end");
        answers.push(frame.expect("a good one"));
    }
    assert!(answers.contains(&Message::Pong("there?".into())) && answers.contains(&Message::binary(PONG)));
}

#[tokio::test]
async fn over_tls_too_and_with_large_messages() {
    let server = server().await;
    let authority = Authority::new("plant");
    let files = Files::new(&authority.identity("broker"));
    let address = server.listen(web_socket(with_tls(files.options()))).await;
    let stream = over_tls(address, authority.client()).await.expect("it is trusted");
    // What a browser says of a page of the same server.
    let headers = [MQTT, ("Origin", "https://localhost")];
    let (mut socket, _) = open_over(stream, &headers).await.expect("it is accepted");
    send(&mut socket, &Connect::of(V3, "c").bytes()).await;
    expect(&mut socket, &LET_IN_V3).await;
    send(&mut socket, &subscribe(V3, 1, &[("big", 0)])).await;
    expect(&mut socket, &granted(V3, 1, &[0])).await;
    let payload = "x".repeat(900_000);
    let message = publish(V3, 0, "big", 0, &payload);
    send(&mut socket, &message).await;
    expect(&mut socket, &message).await;
}

#[tokio::test]
async fn mqtt_6_0_0_1_a_text_frame_ends_the_connection() {
    let server = server().await;
    let mut socket = open(server.listen(web_socket(options())).await).await;
    send(&mut socket, &Connect::of(V5, "c").will("gone", "abruptly", true).bytes()).await;
    until("it to be let in", || server.broker.status().clients == 1).await;
    socket.send(Message::text("hello")).await.expect("it is read");
    let close = loop {
        match timeout(PATIENCE, socket.next()).await.expect("a frame") {
            Some(Ok(Message::Close(close))) => break close,
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(close.map(|close| close.code), Some(CloseCode::Unsupported));
    until("its will", || server.broker.status().retained == 1).await;
}

#[tokio::test]
async fn closing_the_socket_without_a_goodbye_publishes_the_will() {
    let server = server().await;
    let mut socket = open(server.listen(web_socket(options())).await).await;
    send(&mut socket, &Connect::of(V5, "c").will("gone", "abruptly", true).bytes()).await;
    until("it to be let in", || server.broker.status().clients == 1).await;
    let close = CloseFrame { code: CloseCode::Away, reason: "".into() };
    socket.close(Some(close)).await.expect("it is read");
    timeout(PATIENCE, async { while let Some(Ok(_)) = socket.next().await {} })
        .await
        .expect("it is answered");
    until("its will", || server.broker.status().retained == 1).await;
}

#[tokio::test]
async fn mqtt_6_0_0_3_without_the_subprotocol_or_from_a_strange_page_it_is_refused() {
    let server = server().await;
    let address = server.listen(web_socket(options())).await;
    let attempt = async |headers: &[(&'static str, &str)]| {
        let stream = TcpStream::connect(address).await.expect("it listens");
        match open_over(stream, headers).await {
            Ok(_) => StatusCode::SWITCHING_PROTOCOLS,
            Err(tungstenite::Error::Http(response)) => response.status(),
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(attempt(&[]).await, StatusCode::BAD_REQUEST);
    assert_eq!(attempt(&[("Sec-WebSocket-Protocol", "mqttv3.1")]).await, StatusCode::BAD_REQUEST);
    assert_eq!(attempt(&[MQTT, ("Origin", "https://evil.example")]).await, StatusCode::FORBIDDEN);
    assert_eq!(attempt(&[MQTT, ("Origin", "https://scada.example")]).await, StatusCode::SWITCHING_PROTOCOLS);
    until("they to be counted", || server.refused("websocket-subprotocol") == 2).await;
    until("it to be counted", || server.refused("websocket-origin") == 1).await;
}

#[tokio::test]
async fn a_client_that_dawdles_or_speaks_no_http_is_closed() {
    let server = server().await;
    let connect_timeout = Duration::from_millis(300);
    let address = server.listen(ListenerOptions { connect_timeout, ..web_socket(options()) }).await;
    let mut slow = TcpStream::connect(address).await.expect("it listens");
    slow.write_all(b"GET /mqtt HTTP/1.1\r\nHost: ").await.expect("it is read");
    expect_end(&mut slow).await;
    until("it to be counted", || server.refused("handshake-timeout") == 1).await;
    let mut mute = open(address).await;
    assert!(!matches!(timeout(PATIENCE, mute.next()).await.expect("the end"), Some(Ok(Message::Binary(_)))));
    until("it to be counted", || server.refused("connect-timeout") == 1).await;

    let address = server.listen(web_socket(options())).await;
    let mut plain = TcpStream::connect(address).await.expect("it listens");
    plain.write_all(&Connect::of(V5, "c").bytes()).await.expect("it is read");
    expect_end(&mut plain).await;
    until("it to be counted", || server.refused("websocket-malformed") == 1).await;
    let mut endless = TcpStream::connect(address).await.expect("it listens");
    let header = [b'x'; 1000];
    let mut sent = 0;
    while endless.write_all(b"A: ").await.is_ok() && endless.write_all(&header).await.is_ok() {
        sent += header.len();
        assert!(sent < 16 << 20, "a request without end is not kept");
    }
    let _ = endless.read(&mut [0]).await;
}
