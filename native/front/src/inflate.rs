//! Compressed messages, unpacked on a thread of their own and never beyond the limit of messages.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{MultiGzDecoder, ZlibDecoder};

use crate::body::Encoding;
use crate::refusal::Refusal;

/// Unpack, or say that it is too large or no such thing.
pub fn inflate(packed: &[u8], encoding: Encoding, limit: usize, too_large: Refusal) -> Result<Bytes, Refusal> {
    let mut message = Vec::new();
    let room = limit as u64 + 1;
    let read = match encoding {
        Encoding::Gzip => MultiGzDecoder::new(packed).take(room).read_to_end(&mut message),
        _ => ZlibDecoder::new(packed).take(room).read_to_end(&mut message),
    };
    match read {
        Err(_) => Err(Refusal::plain(13, "the message is not compressed as grpc-encoding says")),
        Ok(length) if length > limit => Err(too_large),
        Ok(_) => Ok(Bytes::from(message)),
    }
}
