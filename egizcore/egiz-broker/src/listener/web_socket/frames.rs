//! WebSocket frames as a stream of bytes (RFC 6455 section 5), the server's side.
//!
//! MQTT packets need not keep to frames: one frame may hold several, and one packet may lie across frames and fragments
//! (MQTT-6.0.0-2). So nothing is put together here: the payload is unmasked where it was read into, and headers are cut
//! out; a connection costs no buffer beside the caller's. What is written at once becomes one binary frame. A ping is
//! answered, of several that wait only the last (section 5.5.3); anything but binary data ends the connection
//! (MQTT-6.0.0-1) with the close code that says why.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const NORMAL_CLOSURE: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;

const HEADER_BYTES_MAX: usize = 14;
const CONTROL_BYTES_MAX: u8 = 125;

/// A stream of bytes in frames.
pub(in crate::listener) struct Frames<S> {
    inner: S,
    reading: Reading,
    writing: Writing,
}

/// What is known of the frames read so far.
#[derive(Default)]
struct Reading {
    /// A header that has come in part.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// The frame under way, once its header is whole.
    frame: Option<Frame>,
    /// A fragmented message is under way.
    in_message: bool,
    /// What has come of a control frame.
    control: Vec<u8>,
    /// The client has closed, or is gone.
    ended: bool,
    /// The client broke a rule; what came before is read first.
    fault: Option<u16>,
}

struct Frame {
    opcode: u8,
    left: u64,
    /// Turned so that its first byte is for the next one.
    mask: [u8; 4],
}

/// What is to be written beside the caller's bytes.
#[derive(Default)]
struct Writing {
    /// A header or a control frame, from `out_at` on not written yet.
    out: Vec<u8>,
    out_at: usize,
    /// Payload that was announced and not written yet: nothing else may come between.
    frame_left: usize,
    /// What waits for its turn.
    pong: Option<Vec<u8>>,
    close: Option<u16>,
    close_sent: bool,
    /// A control frame was queued by the reader and is not known to be on its way.
    is_due: bool,
    /// The writing task waits for the socket: it writes what is due, and its waker must stay registered.
    is_waiting: bool,
}

impl<S> Frames<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, reading: Reading::default(), writing: Writing::default() }
    }
}

impl Reading {
    /// Takes headers and control frames out, moves unmasked data to the front, and returns how much there is. A ping's
    /// payload and the wish to close go to `writing`.
    fn take(&mut self, bytes: &mut [u8], writing: &mut Writing) -> usize {
        let (mut at, mut kept) = (0, 0);
        while at < bytes.len() && self.fault.is_none() && !self.ended {
            let Some(frame) = &mut self.frame else {
                self.header[self.header_len] = bytes[at];
                self.header_len += 1;
                at += 1;
                if let Err(code) = self.take_header() {
                    self.fault = Some(code);
                }
                self.finish_frame(writing);
                continue;
            };
            let left = usize::try_from(frame.left).unwrap_or(usize::MAX);
            let end = at + left.min(bytes.len() - at);
            unmask(&mut bytes[at..end], &mut frame.mask);
            frame.left -= (end - at) as u64;
            if frame.opcode >= CLOSE {
                self.control.extend_from_slice(&bytes[at..end]);
            } else {
                bytes.copy_within(at..end, kept);
                kept += end - at;
            }
            at = end;
            self.finish_frame(writing);
        }
        kept
    }

    /// Makes a frame of the header once it is whole.
    fn take_header(&mut self) -> Result<(), u16> {
        let header = &self.header[..self.header_len];
        let [first, second, rest @ ..] = header else { return Ok(()) };
        let opcode = first & 0x0f;
        let is_final = first & 0x80 != 0;
        let short = second & 0x7f;
        // Reserved bits belong to extensions, of which there are none; clients mask (sections 5.2 and 5.1).
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(PROTOCOL_ERROR);
        }
        let fits = match opcode {
            CONTINUATION => self.in_message,
            BINARY => !self.in_message,
            TEXT => return Err(UNSUPPORTED_DATA),
            CLOSE | PING | PONG => is_final && short <= CONTROL_BYTES_MAX,
            _ => false,
        };
        if !fits {
            return Err(PROTOCOL_ERROR);
        }
        let (left, mask) = match (short, rest) {
            (126, &[a, b, ref mask @ ..]) => (u64::from(u16::from_be_bytes([a, b])), mask),
            (127, &[a, b, c, d, e, f, g, h, ref mask @ ..]) => {
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), mask)
            }
            (126 | 127, _) => return Ok(()),
            (short, mask) => (u64::from(short), mask),
        };
        if left >> 63 != 0 {
            return Err(PROTOCOL_ERROR);
        }
        let Ok(mask) = mask.try_into() else { return Ok(()) };
        if opcode < CLOSE {
            self.in_message = !is_final;
        }
        self.frame = Some(Frame { opcode, left, mask });
        self.header_len = 0;
        Ok(())
    }

    /// Does what a frame asks for once it is whole.
    fn finish_frame(&mut self, writing: &mut Writing) {
        let Some(Frame { opcode, left: 0, .. }) = self.frame else { return };
        self.frame = None;
        let payload = std::mem::take(&mut self.control);
        match opcode {
            CLOSE => {
                self.ended = true;
                writing.close(NORMAL_CLOSURE);
            }
            PING => {
                writing.pong = Some(payload);
                writing.is_due = true;
            }
            _ => {}
        }
    }
}

/// Unmasks in place and turns the mask by the bytes done.
fn unmask(bytes: &mut [u8], mask: &mut [u8; 4]) {
    let mut chunks = bytes.chunks_exact_mut(4);
    for chunk in &mut chunks {
        for (byte, mask) in chunk.iter_mut().zip(*mask) {
            *byte ^= mask;
        }
    }
    let rest = chunks.into_remainder();
    for (byte, mask) in rest.iter_mut().zip(*mask) {
        *byte ^= mask;
    }
    mask.rotate_left(rest.len());
}

impl Writing {
    fn close(&mut self, code: u16) {
        if self.close.is_none() && !self.close_sent {
            self.close = Some(code);
            self.is_due = true;
        }
    }

    /// Puts the next control frame out, where its turn has come.
    fn next_control(&mut self) -> bool {
        if self.frame_left > 0 || self.close_sent {
            return false;
        }
        if let Some(payload) = self.pong.take() {
            self.begin(PONG, payload.len());
            self.out.extend_from_slice(&payload);
        } else if let Some(code) = self.close.take() {
            self.begin(CLOSE, 2);
            self.out.extend_from_slice(&code.to_be_bytes());
            self.close_sent = true;
        } else {
            return false;
        }
        true
    }

    /// Puts a frame's header out; servers do not mask.
    fn begin(&mut self, opcode: u8, payload: usize) {
        self.out.clear();
        self.out_at = 0;
        self.out.push(0x80 | opcode);
        match payload {
            0..=125 => self.out.push(payload as u8),
            126..=0xffff => {
                self.out.push(126);
                self.out.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                self.out.push(127);
                self.out.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Writes what is out and every control frame whose turn has come.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.writing.out_at < self.writing.out.len() {
                let rest = &self.writing.out[self.writing.out_at..];
                let count = ready!(Pin::new(&mut self.inner).poll_write(cx, rest))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.writing.out_at += count;
            }
            if !self.writing.next_control() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_out_and_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        self.writing.is_due = false;
        Poll::Ready(Ok(()))
    }

    fn poll_payload(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.writing.frame_left == 0 {
            ready!(self.poll_out(cx))?;
            if self.writing.close_sent {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            self.writing.begin(BINARY, bytes.len());
            self.writing.frame_left = bytes.len();
        }
        // What was announced is a number of bytes; which, the caller may still decide.
        let bytes = &bytes[..bytes.len().min(self.writing.frame_left)];
        loop {
            let header = &self.writing.out[self.writing.out_at..];
            let slices = [IoSlice::new(header), IoSlice::new(bytes)];
            let count = ready!(Pin::new(&mut self.inner).poll_write_vectored(cx, &slices))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_header = count.min(header.len());
            self.writing.out_at += of_header;
            if count > of_header {
                self.writing.frame_left -= count - of_header;
                return Poll::Ready(Ok(count - of_header));
            }
        }
    }

    fn note_waiting<T>(&mut self, poll: Poll<T>) -> Poll<T> {
        self.writing.is_waiting = poll.is_pending();
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(code) = this.reading.fault {
                this.writing.close(code);
            }
            if this.writing.is_due
                && !this.writing.is_waiting
                && let Poll::Ready(Err(error)) = this.poll_out_and_flush(cx)
            {
                return Poll::Ready(Err(error));
            }
            if this.reading.fault.is_some() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
            if this.reading.ended || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
            if buffer.filled().len() == before {
                this.reading.ended = true;
                return Poll::Ready(Ok(()));
            }
            let kept = this.reading.take(&mut buffer.filled_mut()[before..], &mut this.writing);
            buffer.set_filled(before + kept);
            if kept > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = this.poll_payload(cx, bytes);
        this.note_waiting(poll)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = this.poll_out_and_flush(cx);
        this.note_waiting(poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.writing.close(NORMAL_CLOSURE);
        let poll = match this.poll_out(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut this.inner).poll_shutdown(cx),
            other => other,
        };
        this.note_waiting(poll)
    }
}

#[cfg(test)]
mod tests;
