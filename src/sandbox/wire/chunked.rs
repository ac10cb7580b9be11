//! Bodies in chunks with trailing checksums (`aws-chunked`), as the SDKs send objects.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_util::bytes::{Bytes, BytesMut};

/// A body as it was meant, and the fields that came after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) body: Bytes,
    /// Names in lower case.
    pub(super) trailers: Vec<(String, String)>,
}

/// Takes a body out of its chunks. None if it is not in well-formed chunks to its end.
pub(super) fn decode(mut encoded: Bytes) -> Option<Decoded> {
    let mut body = BytesMut::new();
    loop {
        let head = line(&mut encoded)?;
        let size = head.split(';').next().and_then(|size| usize::from_str_radix(size.trim(), 16).ok())?;
        if size == 0 {
            break;
        }
        if encoded.len() < size {
            return None;
        }
        body.extend_from_slice(&encoded.split_to(size));
        line(&mut encoded).filter(String::is_empty)?;
    }
    let mut trailers = Vec::new();
    // Some SDKs leave out the empty line after the last trailer.
    while let Some(trailer) = line(&mut encoded).filter(|line| !line.is_empty()) {
        let (name, value) = trailer.split_once(':')?;
        trailers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
    Some(Decoded { body: body.freeze(), trailers })
}

/// The next line, without its end.
fn line(rest: &mut Bytes) -> Option<String> {
    if rest.is_empty() {
        return None;
    }
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let line = rest.split_to(end);
    if !rest.is_empty() {
        drop(rest.split_to(1));
    }
    let line = std::str::from_utf8(&line).ok()?;
    Some(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// The CRC-32 of a body as S3 writes it: big-endian, in base64.
pub(super) fn crc32(body: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(body);
    STANDARD.encode(crc.sum().to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(encoded: &'static str) -> Option<(String, Vec<(String, String)>)> {
        let decoded = decode(Bytes::from_static(encoded.as_bytes()))?;
        Some((String::from_utf8(decoded.body.to_vec()).unwrap(), decoded.trailers))
    }

    #[test]
    fn chunks_are_joined_and_trailers_kept() {
        let trailer = ("x-amz-checksum-crc32".to_owned(), "AAAAAA==".to_owned());
        assert_eq!(
            text(
                "3\r\nab\n\r\nA;chunk-signature=0f\r\n0123456789\r\n0\r\nX-Amz-Checksum-CRC32:AAAAAA==\r\n\r\n"
            ),
            Some(("ab\n0123456789".to_owned(), vec![trailer]))
        );
        assert_eq!(text("0\r\n\r\n"), Some((String::new(), Vec::new())));
    }

    #[test]
    fn a_body_that_ends_early_is_none() {
        for broken in
            ["", "5\r\nab", "2\r\nabc\r\n0\r\n\r\n", "zz\r\n", "3\r\nabc\r\n", "0\r\nno colon\r\n\r\n"]
        {
            assert_eq!(text(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn the_checksum_is_the_one_that_everybody_knows() {
        assert_eq!(crc32(b"123456789"), STANDARD.encode(0xcbf4_3926_u32.to_be_bytes()));
    }

    proptest::proptest! {
        #[test]
        fn no_body_is_too_strange(bytes: Vec<u8>) {
            let length = bytes.len();
            if let Some(decoded) = decode(Bytes::from(bytes)) {
                proptest::prop_assert!(decoded.body.len() < length);
            }
        }
    }
}
