//! Server-sent events, out of the pieces that a connection delivers. Bounded: whatever the other end sends, no more than
//! one event is held.

/// The longest event that is taken: rows are at most 256 KiB, an object may be larger.
const MAX_EVENT: usize = 64 * 1024 * 1024;

/// Why a stream is no event stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event of the service is longer than {} MiB", MAX_EVENT / 1024 / 1024)]
pub struct TooLong;

/// Takes pieces, gives the data of whole events.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Vec<u8>,
    /// Where the unread part of `held` begins.
    read: usize,
    /// Up to where `held` was searched for the end of a line.
    searched: usize,
    /// The data of the event that has begun.
    data: Vec<u8>,
    has_data: bool,
}

impl Decoder {
    /// Takes the next piece.
    ///
    /// # Errors
    /// When an event is longer than any event may be.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        if self.read > 0 && (self.read == self.held.len() || self.read > 256 * 1024) {
            self.held.drain(..self.read);
            self.searched = self.searched.saturating_sub(self.read);
            self.read = 0;
        }
        if self.held.len() + self.data.len() + piece.len() > MAX_EVENT {
            return Err(TooLong);
        }
        self.held.extend_from_slice(piece);
        Ok(())
    }

    /// The data of the next whole event; `None` until more was pushed. An event without data (a keep-alive) is left out.
    pub fn next_event(&mut self) -> Option<Vec<u8>> {
        loop {
            let from = self.searched.max(self.read);
            let Some(length) = self.held.get(from..)?.iter().position(|&byte| byte == b'\n') else {
                self.searched = self.held.len();
                return None;
            };
            let end = from + length;
            let line = self.held.get(self.read..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.searched = end + 1;
            if line.is_empty() {
                self.read = end + 1;
                if std::mem::take(&mut self.has_data) {
                    return Some(std::mem::take(&mut self.data));
                }
            } else {
                if let Some(data) = line.strip_prefix(b"data:") {
                    if self.has_data {
                        self.data.push(b'\n');
                    }
                    self.data.extend_from_slice(data.strip_prefix(b" ").unwrap_or(data));
                    self.has_data = true;
                }
                self.read = end + 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(pieces: &[&[u8]]) -> Vec<String> {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece).unwrap();
            while let Some(event) = decoder.next_event() {
                events.push(String::from_utf8(event).unwrap());
            }
        }
        events
    }

    #[test]
    fn events_come_out_whole() {
        assert_eq!(decode(&[b"id: 1\ndata: {\"n\":1}\n\nid: 2\nda", b"ta: x\n", b"\n"]), ["{\"n\":1}", "x"]);
        assert_eq!(decode(&[b": keep-alive\n\n", b"data:a\r\ndata: b\r\n\r\n"]), ["a\nb"]);
        assert_eq!(decode(&[b"event: odd\nretry: 3\n\n"]), Vec::<String>::new());
        assert_eq!(decode(&[b"data: half"]), Vec::<String>::new());
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = Decoder::default();
        let piece = vec![b'x'; MAX_EVENT / 2 + 1];
        assert_eq!(decoder.push(&piece), Ok(()));
        assert_eq!(decoder.push(&piece), Err(TooLong));
    }

    proptest! {
        #[test]
        fn where_the_pieces_are_cut_makes_no_difference(
            events in prop::collection::vec("[a-z{}:\"]{1,40}", 0..20),
            cuts in prop::collection::vec(1usize..30, 1..50),
        ) {
            let mut wire = String::new();
            for (n, data) in events.iter().enumerate() {
                wire.push_str(&format!("id: {n}\ndata: {data}\n\n"));
            }
            let mut rest = wire.as_bytes();
            let mut pieces = Vec::new();
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            prop_assert_eq!(decode(&pieces), events);
        }
    }
}
