//! TLS: who is let in, what is resumed, and renewing certificates while connections go on.

use std::sync::Arc;
use std::time::Duration;

use egiz_broker::{BrokerConfig, ListenerOptions, Reload, Tls, TlsFiles};
use rustls::HandshakeKind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::certificates::{Authority, Files};
use crate::harness::{PATIENCE, server, server_with, until};
use crate::listening::{ask, expect_end, is_let_in, options, over_tls, with_tls};
use crate::packets::{Connect, PING, PONG, QOS_1, V5, acknowledged, granted, publish, refused, subscribe};

#[tokio::test]
async fn packets_of_any_size_go_both_ways() {
    let server = server().await;
    let authority = Authority::new("plant");
    let files = Files::new(&authority.identity("broker"));
    let address = server.listen(with_tls(files.options())).await;
    let mut client = over_tls(address, authority.client()).await.expect("it is trusted");
    assert!(is_let_in(&mut client, "c").await);
    ask(&mut client, PING, PONG).await;
    ask(&mut client, &subscribe(V5, 1, &[("big", 0)]), &granted(V5, 1, &[0])).await;
    // More than a TLS record and than the socket's buffers: parts of it wait inside TLS until they are flushed.
    let payload = "x".repeat(900_000);
    let message = publish(V5, 0, "big", 0, &payload);
    let (mut reader, mut writer) = tokio::io::split(client);
    let write = async {
        writer.write_all(&message).await.expect("it is read");
        writer.flush().await.expect("it is read");
    };
    let read = async {
        let mut got = vec![0; message.len()];
        reader.read_exact(&mut got).await.expect("it comes back");
        assert!(got == message);
    };
    timeout(PATIENCE, async { tokio::join!(write, read) }).await.expect("it goes through");
}

#[tokio::test]
async fn version_1_2_is_spoken_only_where_it_is_asked_for() {
    let server = server().await;
    let authority = Authority::new("plant");
    let files = Files::new(&authority.identity("broker"));
    let address = server.listen(with_tls(files.options())).await;
    assert!(over_tls(address, authority.old_client()).await.is_err());
    until("it to be counted", || server.refused("tls-incompatible") == 1).await;

    let address = server.listen(with_tls(TlsFiles { tls_1_2: true, ..files.options() })).await;
    let mut client = over_tls(address, authority.old_client()).await.expect("1.2 is allowed here");
    assert!(is_let_in(&mut client, "old").await);
}

#[tokio::test]
async fn a_handshake_that_fails_is_counted_by_its_reason() {
    let server = server().await;
    let authority = Authority::new("plant");
    let files = Files::new(&authority.identity("broker"));
    let address = server.listen(with_tls(files.options())).await;

    assert!(over_tls(address, Authority::new("another").client()).await.is_err(), "wrong authority");
    until("it to be counted", || server.refused("tls-refused-by-client") == 1).await;

    let mut plain = TcpStream::connect(address).await.expect("it listens");
    plain.write_all(&Connect::of(V5, "c").bytes()).await.expect("it is read");
    expect_end(&mut plain).await;
    until("it to be counted", || server.refused("tls-malformed") == 1).await;

    drop(TcpStream::connect(address).await.expect("it listens"));
    until("it to be counted", || server.refused("tls-broken-off") == 1).await;
}

#[tokio::test]
async fn a_client_that_dawdles_in_the_handshake_is_closed() {
    let server = server().await;
    let authority = Authority::new("plant");
    let files = Files::new(&authority.identity("broker"));
    let connect_timeout = Duration::from_millis(300);
    let address = server.listen(ListenerOptions { connect_timeout, ..with_tls(files.options()) }).await;
    let mut silent = TcpStream::connect(address).await.expect("it listens");
    expect_end(&mut silent).await;
    let mut slow = TcpStream::connect(address).await.expect("it listens");
    // The beginning of a handshake record.
    slow.write_all(&[0x16, 3, 1, 0, 200, 1]).await.expect("it is read");
    expect_end(&mut slow).await;
    until("both to be counted", || server.refused("handshake-timeout") == 2).await;
    // The handshake does not buy time for the login.
    let mut mute = over_tls(address, authority.client()).await.expect("it is trusted");
    expect_end(&mut mute).await;
    until("it to be counted", || server.refused("connect-timeout") == 1).await;
}

#[tokio::test]
async fn a_listener_that_asks_for_certificates_lets_nobody_in_without_a_good_one() {
    let server = server().await;
    let (authority, clients) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.identity("broker"));
    let address = server.listen(with_tls(files.options_for_clients_of(&clients))).await;

    // With TLS 1.3 the client believes itself let in until it is told otherwise.
    if let Ok(mut client) = over_tls(address, authority.client()).await {
        assert!(!is_let_in(&mut client, "c").await, "no certificate");
    }
    until("it to be counted", || server.refused("tls-no-client-certificate") == 1).await;
    let stranger = authority.client_with(&Authority::new("devices").identity("factory/oven-001"));
    if let Ok(mut client) = over_tls(address, stranger).await {
        assert!(!is_let_in(&mut client, "c").await, "the authority's name only");
    }
    until("it to be counted", || server.refused("tls-client-certificate") == 1).await;

    // The gatekeeper is told whom it names: here a device with its own topics only.
    let oven = authority.client_with(&clients.identity("factory/oven-001"));
    let mut client = over_tls(address, oven).await.expect("it is trusted");
    assert!(is_let_in(&mut client, "c").await);
    let own = publish(V5, QOS_1, "sensors/factory/oven-001/telemetry", 1, "{}");
    ask(&mut client, &own, &acknowledged(1)).await;
    let other = publish(V5, QOS_1, "sensors/factory/oven-002/telemetry", 2, "{}");
    ask(&mut client, &other, &refused(2, 0x87)).await;
}

#[tokio::test]
async fn a_certificate_may_be_optional_and_is_verified_all_the_same() {
    let server = server().await;
    let (authority, clients) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.identity("broker"));
    let optional = TlsFiles { client_certificate_optional: true, ..files.options_for_clients_of(&clients) };
    let address = server.listen(with_tls(optional)).await;
    let mut client = over_tls(address, authority.client()).await.expect("it is trusted");
    assert!(is_let_in(&mut client, "c").await);
    let stranger = authority.client_with(&authority.identity("factory/oven-001"));
    if let Ok(mut client) = over_tls(address, stranger).await {
        assert!(!is_let_in(&mut client, "c").await);
    }
}

#[tokio::test]
async fn sessions_are_resumed_unless_clients_show_certificates() {
    let server = server().await;
    let (authority, clients) = (Authority::new("plant"), Authority::new("devices"));
    let files = Files::new(&authority.identity("broker"));
    let plain = server.listen(with_tls(files.options())).await;
    let mutual = server.listen(with_tls(files.options_for_clients_of(&clients))).await;
    let device = authority.client_with(&clients.identity("factory/oven-001"));
    for (address, config, second) in
        [(plain, authority.client(), HandshakeKind::Resumed), (mutual, device, HandshakeKind::Full)]
    {
        for kind in [HandshakeKind::Full, second] {
            let mut client = over_tls(address, config.clone()).await.expect("it is trusted");
            assert!(is_let_in(&mut client, "c").await);
            assert_eq!(client.get_ref().1.handshake_kind(), Some(kind));
        }
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_for_new_connections_and_a_broken_one_is_not() {
    let server = server().await;
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let files = Files::new(&old.identity("broker"));
    let tls = Arc::new(Tls::load(files.options()).expect("the files are good"));
    let address = server.listen(ListenerOptions { tls: Some(Arc::clone(&tls)), ..options() }).await;
    let mut first = over_tls(address, old.client()).await.expect("it is trusted");
    assert!(is_let_in(&mut first, "first").await);
    assert_eq!(tls.reload().expect("the files are good"), Reload::Unchanged);

    files.write("server.pem", "-----BEGIN CERTIFICATE-----\nbroken");
    let error = tls.reload().expect_err("it is no certificate").to_string();
    assert!(error.contains("server.pem holds no usable certificate"), "{error}");
    files.write("server.pem", &new.identity("broker").pem());
    let error = tls.reload().expect_err("the key is another's").to_string();
    assert!(error.contains("server.key cannot be used: it is not the key of"), "{error}");
    over_tls(address, old.client()).await.expect("the old one is in use");

    files.put(&new.identity("broker"));
    assert_eq!(tls.reload().expect("the files are good"), Reload::Renewed);
    assert!(over_tls(address, old.client()).await.is_err());
    let mut second = over_tls(address, new.client()).await.expect("it is trusted");
    assert!(is_let_in(&mut second, "second").await);
    ask(&mut first, PING, PONG).await;
}

#[tokio::test]
async fn authorities_of_clients_are_renewed_too() {
    let server = server().await;
    let (authority, old, new) = (Authority::new("plant"), Authority::new("old"), Authority::new("new"));
    let files = Files::new(&authority.identity("broker"));
    let tls = Arc::new(Tls::load(files.options_for_clients_of(&old)).expect("the files are good"));
    let address = server.listen(ListenerOptions { tls: Some(Arc::clone(&tls)), ..options() }).await;
    let device = authority.client_with(&old.identity("factory/oven-001"));
    let mut client = over_tls(address, device.clone()).await.expect("it is trusted");
    assert!(is_let_in(&mut client, "c").await);
    files.options_for_clients_of(&new);
    assert_eq!(tls.reload().expect("the files are good"), Reload::Renewed);
    // The same client, with all that it remembers of its session.
    if let Ok(mut client) = over_tls(address, device).await {
        assert!(!is_let_in(&mut client, "c").await);
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new("plant");
    let files = Files::new(&authority.identity("broker"));
    let load = |options| Tls::load(options).map(|_| ()).expect_err("it cannot be used").to_string();
    let missing = TlsFiles { key: "none/server.key".into(), ..files.options() };
    assert!(load(missing).starts_with("none/server.key cannot be read: No such file"));
    files.write("server.key", &authority.pem());
    assert!(load(files.options()).contains("server.key holds no usable private key that is not encrypted"));
    files.put(&authority.identity("broker"));
    let mut options = files.options_for_clients_of(&authority);
    files.write("clients.pem", "");
    assert!(load(options.clone()).contains("clients.pem holds no usable certificate"));
    options.client_authorities = None;
    let tls = Tls::load(options).expect("the files are good");
    assert!(tls.expires_s() > 1_700_000_000);
}

#[tokio::test]
async fn each_listener_has_its_own_bounds_within_the_brokers() {
    let server = server_with(BrokerConfig { connections_max: 3, ..BrokerConfig::default() }).await;
    let one = server.listen(ListenerOptions { connections_per_address_max: 1, ..options() }).await;
    let other = server.listen(ListenerOptions { connections_max: 5, ..options() }).await;
    let dial = async |address, id| {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        is_let_in(&mut stream, id).await.then_some(stream)
    };
    let first = dial(one, "1").await.expect("there is room");
    assert!(dial(one, "2").await.is_none());
    assert_eq!(server.refused("too-many-from-address"), 1);
    let _second = dial(other, "3").await.expect("there is room");
    let _third = dial(other, "4").await.expect("there is room");
    assert!(dial(other, "5").await.is_none(), "the broker's own bound");
    assert_eq!(server.refused("too-many-connections"), 1);
    let small = server.listen(ListenerOptions { connect_bytes_max: 60, ..options() }).await;
    drop(first);
    until("the place to be given back", || server.broker.status().clients == 2).await;
    assert!(dial(small, &"x".repeat(100)).await.is_none());
    until("it to be counted", || server.refused("packet-too-large") == 1).await;
}
