//! Packets byte by byte, so that a test can also send what no client library would.

pub(crate) const V3: u8 = 4;
pub(crate) const V5: u8 = 5;
pub(crate) const PING: &[u8] = &[0xC0, 0];
pub(crate) const PONG: &[u8] = &[0xD0, 0];
pub(crate) const RETAIN: u8 = 1;
pub(crate) const QOS_1: u8 = 2;
pub(crate) const QOS_2: u8 = 4;
pub(crate) const AGAIN: u8 = 8;

/// A packet with its fixed header.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut rest = body.len();
    loop {
        let octet = u8::try_from(rest % 128).expect("less than 128");
        rest /= 128;
        out.push(if rest > 0 { octet | 0x80 } else { octet });
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

/// Bytes with their length before them, as strings and binary data are sent.
pub(crate) fn counted(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    let length = u16::try_from(bytes.len()).expect("short");
    [&length.to_be_bytes()[..], bytes].concat()
}

/// A property section; nothing at all in 3.1.1.
fn properties(version: u8, bytes: &[u8]) -> Vec<u8> {
    if version == V3 { Vec::new() } else { [&[u8::try_from(bytes.len()).expect("short")], bytes].concat() }
}

/// What a CONNECT says; the rest is left out.
pub(crate) struct Connect<'a> {
    pub(crate) version: u8,
    pub(crate) flags: u8,
    pub(crate) keep_alive_s: u16,
    pub(crate) properties: &'a [u8],
    /// Client id, will, user name, password: each as it is sent.
    pub(crate) payload: Vec<u8>,
}

impl Connect<'_> {
    pub(crate) fn of(version: u8, client_id: &str) -> Self {
        Self { version, flags: 2, keep_alive_s: 0, properties: &[], payload: counted(client_id) }
    }

    /// With a will of QoS 1.
    pub(crate) fn will(mut self, topic: &str, payload: &str, retain: bool) -> Self {
        self.flags |= if retain { 0x2C } else { 0x0C };
        self.payload.extend(properties(self.version, &[]));
        self.payload.extend(counted(topic));
        self.payload.extend(counted(payload));
        self
    }

    /// With a user name and a password.
    pub(crate) fn login(mut self, username: &str, password: &str) -> Self {
        self.flags |= 0xC0;
        self.payload.extend(counted(username));
        self.payload.extend(counted(password));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut body = counted("MQTT");
        body.extend([self.version, self.flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        body.extend(properties(self.version, self.properties));
        body.extend_from_slice(&self.payload);
        packet(0x10, &body)
    }
}

/// PUBLISH with the flags of its first byte; the packet id is sent with QoS 1 and 2.
pub(crate) fn publish_with(
    version: u8,
    flags: u8,
    topic: &str,
    id: u16,
    props: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = counted(topic);
    if flags & 6 != 0 {
        body.extend(id.to_be_bytes());
    }
    body.extend(properties(version, props));
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}

pub(crate) fn publish(version: u8, flags: u8, topic: &str, id: u16, payload: &str) -> Vec<u8> {
    publish_with(version, flags, topic, id, &[], payload.as_bytes())
}

pub(crate) fn subscribe_with(version: u8, id: u16, props: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(properties(version, props));
    for (filter, options) in filters {
        body.extend(counted(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

pub(crate) fn subscribe(version: u8, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    subscribe_with(version, id, &[], filters)
}

/// SUBACK as the server sends it.
pub(crate) fn granted(version: u8, id: u16, codes: &[u8]) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    body.extend(properties(version, &[]));
    body.extend_from_slice(codes);
    packet(0x90, &body)
}

/// A successful PUBREC, PUBREL or PUBCOMP.
pub(crate) fn step(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

/// A successful PUBACK.
pub(crate) fn acknowledged(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

/// A PUBACK of 5.0 with a reason.
pub(crate) fn refused(id: u16, code: u8) -> Vec<u8> {
    packet(0x40, &[&id.to_be_bytes()[..], &[code]].concat())
}

/// A DISCONNECT of 5.0.
pub(crate) fn disconnect(code: u8) -> Vec<u8> {
    packet(0xE0, &[code])
}
