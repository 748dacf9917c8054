//! Lets in clients whose `:authority` is no host: h2 ends a call whose authority it cannot read, and nobody here reads it.
//!
//! gRPC's own clients send a whole list of addresses there (target `ipv4:10.0.0.1:8001,10.0.0.2:8001`), in every call, and plain, not
//! Huffman-coded. So the first block of headers of a connection is looked at on its way to h2; an authority that h2 would refuse is
//! overwritten in place by one of the same length, which leaves every other byte, and the table of headers, as the client means them.
//! A connection whose first authority can be read is looked at no more.

use http::uri::Authority;

const PREFACE_BYTES: usize = 24;
const FRAME_HEAD_BYTES: usize = 9;
const LONGEST_BLOCK: usize = 64 << 10;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// Place of `:authority` in the table of headers that both sides begin with (RFC 7541, appendix A).
const AUTHORITY: usize = 1;

/// Splits what arrives into frames, as long as it has to.
pub struct Greeting {
    /// The beginning of a frame whose rest has not arrived.
    held: Vec<u8>,
    /// Bytes that pass unseen before the next frame begins.
    unseen: usize,
    is_done: bool,
}

impl Greeting {
    pub fn new() -> Self {
        Self { held: Vec::new(), unseen: PREFACE_BYTES, is_done: false }
    }

    /// Whether everything may pass from now on.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// Take what arrived and append what may go on to `passed`.
    pub fn pass(&mut self, mut arrived: &[u8], passed: &mut Vec<u8>) {
        while !arrived.is_empty() && !self.is_done {
            if self.unseen > 0 {
                let (now, later) = arrived.split_at(self.unseen.min(arrived.len()));
                passed.extend_from_slice(now);
                self.unseen -= now.len();
                arrived = later;
                continue;
            }
            let wanted = self.frame_bytes().unwrap_or(FRAME_HEAD_BYTES) - self.held.len();
            let (now, later) = arrived.split_at(wanted.min(arrived.len()));
            self.held.extend_from_slice(now);
            arrived = later;
            self.judge(passed);
        }
        passed.extend_from_slice(arrived);
    }

    /// Length of the frame that is held, once its head is there.
    fn frame_bytes(&self) -> Option<usize> {
        let head = self.held.get(..FRAME_HEAD_BYTES)?;
        Some(FRAME_HEAD_BYTES + (usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])))
    }

    fn judge(&mut self, passed: &mut Vec<u8>) {
        let Some(whole) = self.frame_bytes() else { return };
        if self.held[3] != HEADERS || whole > LONGEST_BLOCK {
            self.unseen = whole - self.held.len();
        } else if self.held.len() < whole {
            return;
        } else {
            let flags = self.held[4];
            let skipped = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
            let block = self.held.get_mut(FRAME_HEAD_BYTES + skipped..).unwrap_or_default();
            self.is_done = !mend(block);
        }
        passed.append(&mut self.held);
    }
}

/// Overwrite an authority that is no host; return whether there was one.
fn mend(block: &mut [u8]) -> bool {
    let mut at = 0;
    while let Some(&first) = block.get(at) {
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let Some(index) = integer(block, &mut at, bits) else { return false };
        if bits == 7 || bits == 5 {
            continue;
        }
        let name = if index == 0 { text(block, &mut at) } else { None };
        let Some((start, end, is_plain)) = text(block, &mut at) else { return false };
        let is_authority = index == AUTHORITY || name.is_some_and(|(start, end, _)| &block[start..end] == b":authority");
        if is_authority && is_plain {
            let is_refused = Authority::try_from(&block[start..end]).is_err();
            if is_refused {
                block[start..end].fill(b'a');
            }
            return is_refused;
        }
    }
    false
}

/// Read an integer of RFC 7541, 5.1.
fn integer(block: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let full = (1usize << bits) - 1;
    let mut value = usize::from(*block.get(*at)?) & full;
    *at += 1;
    if value < full {
        return Some(value);
    }
    for shift in [0, 7, 14] {
        let byte = *block.get(*at)?;
        *at += 1;
        value += usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Find a string: where it begins, where it ends, and whether it is as it reads.
fn text(block: &[u8], at: &mut usize) -> Option<(usize, usize, bool)> {
    let is_plain = block.get(*at)? & 0x80 == 0;
    let length = integer(block, at, 7)?;
    let start = *at;
    *at = start + length;
    (*at <= block.len()).then_some((start, *at, is_plain))
}
