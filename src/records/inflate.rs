//! From a file's bytes to text: gzip of any number of members, zstd of any number of frames, or plain, told by
//! their first bytes.

use std::io::{ErrorKind, Read};

use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::Problem;

/// How much of the file is held before it is decompressed.
const CHUNK: usize = 64 * 1024;

/// The largest zstd window that is held. The command line's own levels up to 19 need 8 MiB.
const WINDOW: u64 = 32 * 1024 * 1024;

/// How many bytes may come out for each that goes in. Of CloudTrail's logs some 10 to 40 do, since every record has
/// two random ids; of bombs up to 1,032 with gzip, and more with zstd.
const RATIO: u64 = 200;

/// So many bytes may come out whatever went in: no harm is done by then, and small files may be very much alike.
const ALIKE: u64 = 64 << 20;

/// The window of every gzip file.
const GZIP_WINDOW_BITS: u8 = 15;

/// The file's bytes, and which of them are still to be taken.
struct Source<R> {
    input: R,
    chunk: Vec<u8>,
    start: usize,
    end: usize,
    /// How many bytes were taken.
    taken: u64,
    ended: bool,
    failure: Option<String>,
}

impl<R: Read> Source<R> {
    fn new(input: R) -> Self {
        Self { input, chunk: vec![0; CHUNK], start: 0, end: 0, taken: 0, ended: false, failure: None }
    }

    fn held(&self) -> &[u8] {
        self.chunk.get(self.start..self.end).unwrap_or_default()
    }

    fn pass(&mut self, count: usize) {
        self.start += count;
        self.taken += count as u64;
    }

    /// What is at hand, after reading if that is nothing; empty at the end.
    fn some(&mut self) -> &[u8] {
        if self.start == self.end {
            self.more();
        }
        self.held()
    }

    /// Reads on behind what is held; false at the end.
    fn more(&mut self) -> bool {
        if self.start > 0 {
            self.chunk.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while !self.ended {
            match self.input.read(self.chunk.get_mut(self.end..).unwrap_or_default()) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.end += count;
                    return true;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failure = Some(error.to_string());
                    self.ended = true;
                }
            }
        }
        false
    }

    /// Why there is nothing more, where more was needed.
    fn shortage(&mut self) -> Problem {
        self.failure.take().map_or(Problem::Truncated, Problem::Read)
    }

    /// Whether all is read; an error of the input counts as the end, and is kept.
    fn is_at_end(&mut self) -> bool {
        self.some().is_empty()
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = self.some().read(out)?;
        self.pass(count);
        Ok(count)
    }
}

enum Form {
    Unknown,
    Plain,
    Gzip(Box<Decompress>),
    /// Between two members.
    GzipMember,
    Zstd(Box<FrameDecoder>),
    /// Between two frames.
    ZstdFrame(Box<FrameDecoder>),
    Ended(Option<Problem>),
}

/// The text of a file, decompressed as far as it is asked for.
pub(super) struct Inflated<R> {
    source: Source<R>,
    form: Form,
    produced: u64,
    max: u64,
}

impl<R: Read> Inflated<R> {
    /// Decompresses up to `max` bytes.
    pub(super) fn new(input: R, max: u64) -> Self {
        Self { source: Source::new(input), form: Form::Unknown, produced: 0, max }
    }

    /// How many bytes came out so far.
    pub(super) fn produced(&self) -> u64 {
        self.produced
    }

    /// What ended the text too early, once.
    pub(super) fn take_problem(&mut self) -> Option<Problem> {
        match &mut self.form {
            Form::Ended(problem) => problem.take(),
            _ => None,
        }
    }

    /// Writes text to the beginning of `out`, and tells how much; nothing at the end.
    ///
    /// What was decompressed before something turned out to be wrong is given first.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> usize {
        let left = self.max - self.produced;
        // One more than is left tells a file that is exactly as large as allowed from one that goes on.
        let room = usize::try_from(left.saturating_add(1)).unwrap_or(usize::MAX).min(out.len());
        let out = out.get_mut(..room).unwrap_or_default();
        let mut count = 0;
        while count == 0 && !out.is_empty() && !matches!(self.form, Form::Ended(_)) {
            count = self.step(out);
        }
        let allowed = usize::try_from(left).unwrap_or(usize::MAX);
        if count > allowed {
            count = allowed;
            self.form = Form::Ended(Some(Problem::Bomb { limit: self.max }));
        }
        self.produced += count as u64;
        if self.produced > ALIKE.max(self.source.taken.saturating_mul(RATIO)) {
            self.form = Form::Ended(Some(Problem::Dense { ratio: RATIO }));
        }
        count
    }

    fn step(&mut self, out: &mut [u8]) -> usize {
        let form = std::mem::replace(&mut self.form, Form::Ended(None));
        let (count, form) = match form {
            Form::Unknown => (0, self.sniff()),
            Form::Plain => self.plain(out),
            Form::Gzip(decoder) => self.gzip(decoder, out),
            Form::GzipMember => (0, self.gzip_member()),
            Form::Zstd(decoder) => self.zstd(decoder, out),
            Form::ZstdFrame(decoder) => (0, self.zstd_frame(decoder)),
            ended @ Form::Ended(_) => (0, ended),
        };
        self.form = form;
        count
    }

    fn sniff(&mut self) -> Form {
        while self.source.held().len() < 4 && self.source.more() {}
        match self.source.held() {
            [0x1f, 0x8b, ..] => Form::Gzip(Box::new(Decompress::new_gzip(GZIP_WINDOW_BITS))),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let mut decoder = FrameDecoder::new();
                decoder.set_max_window_size(WINDOW);
                Form::ZstdFrame(Box::new(decoder))
            }
            _ => Form::Plain,
        }
    }

    fn plain(&mut self, out: &mut [u8]) -> (usize, Form) {
        let held = self.source.some();
        let count = held.len().min(out.len());
        if let (Some(out), Some(held)) = (out.get_mut(..count), held.get(..count)) {
            out.copy_from_slice(held);
        }
        self.source.pass(count);
        match count {
            0 => (0, Form::Ended(self.source.failure.take().map(Problem::Read))),
            _ => (count, Form::Plain),
        }
    }

    fn gzip(&mut self, mut decoder: Box<Decompress>, out: &mut [u8]) -> (usize, Form) {
        let is_at_end = self.source.is_at_end();
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let outcome = decoder.decompress(self.source.held(), out, FlushDecompress::None);
        let took = |now: u64, before: u64| usize::try_from(now - before).unwrap_or_default();
        self.source.pass(took(decoder.total_in(), read));
        let count = took(decoder.total_out(), written);
        let form = match outcome {
            Ok(Status::StreamEnd) => Form::GzipMember,
            // Nothing comes of nothing: what was still to be given out was given out.
            Ok(_) if is_at_end && count == 0 => Form::Ended(Some(self.source.shortage())),
            Ok(_) if count == 0 && decoder.total_in() == read => Form::Ended(Some(Problem::Damaged)),
            Ok(_) => Form::Gzip(decoder),
            Err(error) => {
                let is_check = error.message().is_some_and(|text| {
                    text.contains("incorrect data check") || text.contains("incorrect length check")
                });
                Form::Ended(Some(if is_check { Problem::Checksum } else { Problem::Damaged }))
            }
        };
        (count, form)
    }

    /// Behind a member: another one, padding with zeros, or the end.
    fn gzip_member(&mut self) -> Form {
        loop {
            let zeros = self.source.some().iter().take_while(|byte| **byte == 0).count();
            self.source.pass(zeros);
            if zeros == 0 {
                break;
            }
        }
        while self.source.held().len() < 2 && self.source.more() {}
        match self.source.held() {
            [] => Form::Ended(self.source.failure.take().map(Problem::Read)),
            [0x1f, 0x8b, ..] => Form::Gzip(Box::new(Decompress::new_gzip(GZIP_WINDOW_BITS))),
            _ => Form::Ended(Some(Problem::Trailing)),
        }
    }

    fn zstd(&mut self, mut decoder: Box<FrameDecoder>, out: &mut [u8]) -> (usize, Form) {
        while decoder.can_collect() == 0 && !decoder.is_finished() {
            if decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1)).is_err() {
                return (0, Form::Ended(Some(self.zstd_problem())));
            }
        }
        match decoder.read(out) {
            Ok(0) if decoder.is_finished() => {
                let written = decoder.get_checksum_from_data();
                if written.is_some() && written != decoder.get_calculated_checksum() {
                    return (0, Form::Ended(Some(Problem::Checksum)));
                }
                (0, Form::ZstdFrame(decoder))
            }
            Ok(count) => (count, Form::Zstd(decoder)),
            Err(_) => (0, Form::Ended(Some(Problem::Damaged))),
        }
    }

    fn zstd_frame(&mut self, mut decoder: Box<FrameDecoder>) -> Form {
        if self.source.is_at_end() {
            return Form::Ended(self.source.failure.take().map(Problem::Read));
        }
        match decoder.reset(&mut self.source) {
            Ok(()) => Form::Zstd(decoder),
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length, ..
            })) => {
                let frame = &mut Read::take(&mut self.source, length.into());
                let skipped = std::io::copy(frame, &mut std::io::sink());
                match skipped {
                    Ok(count) if count == u64::from(length) => Form::ZstdFrame(decoder),
                    _ => Form::Ended(Some(self.source.shortage())),
                }
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::BadMagicNumber(_))) => {
                Form::Ended(Some(Problem::Trailing))
            }
            Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
                Form::Ended(Some(Problem::Window { limit: WINDOW }))
            }
            Err(_) => Form::Ended(Some(self.zstd_problem())),
        }
    }

    /// Why zstd cannot go on: with nothing more to read it was cut off.
    fn zstd_problem(&mut self) -> Problem {
        if self.source.is_at_end() { self.source.shortage() } else { Problem::Damaged }
    }
}
