//! The bytes of an object, read in windows: a reader that pauses holds no connection for ever, and one that wants little
//! makes the server send little. A transfer that is cut is taken up again where it ended.

use super::client::{ATTEMPTS, Ask, Client, pause};
use crate::{Result, backend::Content};
use std::{io::Read as _, ops::Range, sync::Arc};
use ureq::{BodyReader, http::Method};

/// The most that one request asks for.
const WINDOW_BYTES: u64 = 16 << 20;

/// An object that is there.
pub(super) struct Object {
    client: Arc<Client>,
    key: String,
    size: u64,
    /// Where what was asked for ends.
    end: u64,
    /// The rest of a window, and where that begins.
    body: Option<(BodyReader<'static>, u64)>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Object").field("key", &self.key).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Object {
    /// Opens an object; `None` where it is not there.
    pub(super) fn open(client: Arc<Client>, key: String, range: Range<u64>) -> Result<Option<Self>> {
        let mut object = Self { client, key, size: 0, end: range.end, body: None };
        let is_there = if range.is_empty() { object.look()? } else { object.window(range.start)? };
        Ok(is_there.then_some(object))
    }

    /// Learns the size; says whether there is such an object.
    fn look(&mut self) -> Result<bool> {
        let found = self.client.stat(&self.key)?;
        self.size = found.as_ref().map_or(0, |listed| listed.size);
        Ok(found.is_some())
    }

    /// Asks for the next window; says whether there is such an object.
    fn window(&mut self, at: u64) -> Result<bool> {
        self.body = None;
        let last = self.end.min(at.saturating_add(WINDOW_BYTES)).saturating_sub(1).max(at);
        let range = format!("bytes={at}-{last}");
        let headers = [("range", range.as_str())];
        let ask = Ask { headers: &headers, ..Ask::new("read", Method::GET, &self.key) };
        let Some(answer) = self.client.find(&ask, &[206, 416])? else { return Ok(false) };
        if answer.status == 416 {
            // it ends before: the size tells
            drop(answer);
            return self.look();
        }
        match answer.range() {
            Some((first, until, size)) if first == at && until <= last => self.size = size,
            _ => return Err(self.client.senseless(&ask, "an answer with another range")),
        }
        self.body = Some((answer.into_reader(), at));
        Ok(true)
    }

    /// Fills the buffer from where the body is; gives how many bytes came before it ended or broke off.
    fn read_some(&mut self, at: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let Some((body, from)) = self.body.as_mut().filter(|(_, from)| *from == at) else { return Ok(0) };
        let count = body.read(buffer)?;
        *from += count as u64;
        Ok(count)
    }
}

impl Content for Object {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, count: usize, buffer: &mut Vec<u8>) -> Result<bool> {
        buffer.clear();
        buffer.resize(count, 0);
        self.end = self.end.max(offset + count as u64);
        let (mut filled, mut attempt) = (0, 1);
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let at = offset + filled as u64;
            if at >= self.size {
                return Ok(false);
            }
            let read = self.read_some(at, rest);
            match read {
                Ok(count @ 1..) => {
                    filled += count;
                    attempt = 1;
                    continue;
                }
                Err(error) if attempt == ATTEMPTS => {
                    let ask = Ask::new("read", Method::GET, &self.key);
                    return Err(self.client.senseless(&ask, &format!("the transfer broke off: {error}")));
                }
                Err(_) => {
                    pause(attempt);
                    attempt += 1;
                }
                Ok(0) => {}
            }
            let before = self.size;
            if !self.window(at)? || self.size != before {
                let ask = Ask::new("read", Method::GET, &self.key);
                return Err(self.client.senseless(&ask, "it changed or went while it was read"));
            }
        }
        Ok(true)
    }
}
