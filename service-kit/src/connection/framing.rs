//! Detects, from the bytes a client sends, which protocol it speaks and whether it stopped inside a
//! frame or header block. hyper parses both protocols, but does not expose its state.

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// RFC 9113 section 4.1.
const FRAME_HEADER: usize = 9;
/// RFC 9113 section 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The protocol of a connection, as far as known.
#[derive(Debug)]
pub(crate) enum Framing {
    /// So far, this many bytes of the HTTP/2 preface.
    Preface(usize),
    Http1,
    Http2(Frames),
}

/// What the received bytes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// The protocol is not known yet.
    Preface,
    Http1,
    Http2(Frame),
}

/// The position of the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Frame {
    /// At the end of a frame, or inside DATA, which the timer of the request body covers.
    Whole,
    /// Inside a frame or header block that began with these bytes.
    NewPart,
    /// Inside a frame or header block that began earlier.
    OldPart,
}

impl Framing {
    pub(crate) fn new() -> Self {
        Self::Preface(0)
    }

    pub(crate) fn is_http1(&self) -> bool {
        matches!(self, Self::Http1)
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Received {
        match self {
            Self::Http1 => Received::Http1,
            Self::Http2(frames) => Received::Http2(frames.receive(bytes)),
            Self::Preface(seen) => {
                let wanted = &PREFACE[*seen..];
                let count = wanted.len().min(bytes.len());
                if wanted[..count] != bytes[..count] {
                    *self = Self::Http1;
                    return Received::Http1;
                }
                *seen += count;
                if *seen < PREFACE.len() {
                    return Received::Preface;
                }
                let mut frames = Frames::default();
                let received = frames.receive(&bytes[count..]);
                *self = Self::Http2(frames);
                Received::Http2(received)
            }
        }
    }
}

/// Follows the frames of one direction of an HTTP/2 connection.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; FRAME_HEADER],
    /// Bytes of the header that have come.
    filled: usize,
    /// Bytes of the payload still to come.
    payload: usize,
    is_in_header_block: bool,
}

impl Frames {
    fn receive(&mut self, mut bytes: &[u8]) -> Frame {
        let mut is_new = self.is_at_boundary();
        while !bytes.is_empty() {
            let count = self.consume(bytes);
            bytes = &bytes[count..];
            is_new |= self.is_at_boundary();
        }
        match (self.is_at_boundary() || self.is_in_data(), is_new) {
            (true, _) => Frame::Whole,
            (false, true) => Frame::NewPart,
            (false, false) => Frame::OldPart,
        }
    }

    fn consume(&mut self, bytes: &[u8]) -> usize {
        if self.filled < FRAME_HEADER {
            let count = (FRAME_HEADER - self.filled).min(bytes.len());
            self.header[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            if self.filled == FRAME_HEADER {
                self.begin();
            }
            return count;
        }
        let count = self.payload.min(bytes.len());
        self.payload -= count;
        self.end_if_whole();
        count
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if matches!(kind, HEADERS | CONTINUATION) {
            self.is_in_header_block = flags & END_HEADERS == 0;
        }
        self.end_if_whole();
    }

    fn end_if_whole(&mut self) {
        if self.payload == 0 {
            self.filled = 0;
        }
    }

    fn is_at_boundary(&self) -> bool {
        self.filled == 0 && !self.is_in_header_block
    }

    fn is_in_data(&self) -> bool {
        self.filled == FRAME_HEADER && self.header[3] == DATA && !self.is_in_header_block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u8, kind: u8, flags: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER + usize::from(length), 0);
        frame
    }

    /// A connection whose preface has come.
    fn http2() -> Framing {
        let mut framing = Framing::new();
        assert_eq!(framing.receive(PREFACE), Received::Http2(Frame::Whole));
        framing
    }

    #[test]
    fn half_a_preface_is_no_protocol_yet_and_any_other_byte_is_http1() {
        let mut framing = Framing::new();
        assert_eq!(framing.receive(b"PRI * HT"), Received::Preface);
        assert_eq!(framing.receive(b"TP/2.0\r\n\r\nSM\r\n\r\n"), Received::Http2(Frame::Whole));
        assert_eq!(Framing::new().receive(b"GET / HTTP/1.1"), Received::Http1);
        let mut framing = Framing::new();
        assert_eq!(framing.receive(b"P"), Received::Preface);
        assert_eq!(framing.receive(b"OST / HTTP/1.1"), Received::Http1);
    }

    #[test]
    fn a_frame_is_followed_byte_by_byte() {
        let mut framing = http2();
        let settings = frame(6, 4, 0);
        for (at, byte) in settings.iter().enumerate() {
            let wanted = match at {
                0 => Frame::NewPart,
                _ if at + 1 == settings.len() => Frame::Whole,
                _ => Frame::OldPart,
            };
            assert_eq!(framing.receive(&[*byte]), Received::Http2(wanted), "byte {at}");
        }
    }

    #[test]
    fn a_header_block_ends_with_the_frame_that_says_so() {
        let mut framing = http2();
        assert_eq!(framing.receive(&frame(3, HEADERS, 0)), Received::Http2(Frame::NewPart));
        assert_eq!(framing.receive(&frame(3, CONTINUATION, 0)), Received::Http2(Frame::OldPart));
        let last = frame(3, CONTINUATION, END_HEADERS);
        assert_eq!(framing.receive(&last), Received::Http2(Frame::Whole));
    }

    #[test]
    fn a_frame_that_begins_after_a_whole_one_is_new_and_data_is_left_to_the_body() {
        let mut framing = http2();
        let mut bytes = frame(3, HEADERS, END_HEADERS);
        bytes.extend([0, 0, 9]);
        assert_eq!(framing.receive(&bytes), Received::Http2(Frame::NewPart));
        assert_eq!(framing.receive(&[DATA, 0, 0, 0, 0, 1]), Received::Http2(Frame::Whole));
        assert_eq!(framing.receive(&[1, 2, 3]), Received::Http2(Frame::Whole));
    }
}
