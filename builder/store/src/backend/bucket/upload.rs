//! One blob into the bucket: in one request where it is small, in parts where it is not.
//!
//! Neither shows anything before the server has all of it. The body of a request is signed with its SHA-256, which the
//! server compares; for a small blob that is its digest.

use super::{
    answer::{error_code, upload_id},
    client::{ANSWER_BYTES_MAX, Ask, Client, Payload},
    object::Object,
};
use crate::{Error, Result, backend::Content as _, backend::Staged};
use anneal_content::BlobHasher;
use std::{
    fs::File,
    io::{Read as _, Write as _},
    sync::Arc,
};
use ureq::http::Method;

/// The largest blob that is sent in one request, and the size of a part of a larger one.
const PART_BYTES: u64 = 16 << 20;
/// How many parts a server takes.
const PARTS_MAX: u64 = 10_000;
/// How much is read at a time where a blob is compared with what is there.
const READ_BYTES: usize = 1 << 20;

/// Puts a staged file under its key, if what is there is not the same already.
pub(super) fn put(client: &Arc<Client>, key: &str, staged: &Staged) -> Result<()> {
    if staged.size > PART_BYTES {
        return match client.stat(key)? {
            Some(found) if found.size == staged.size && is_right(client, key, staged)? => Ok(()),
            _ => put_in_parts(client, key, staged),
        };
    }
    // a condition, because to find out that it is there is cheaper than to send it for nothing
    if put_whole(client, key, staged, &[("if-none-match", "*")])? || is_right(client, key, staged)? {
        return Ok(());
    }
    put_whole(client, key, staged, &[]).map(drop)
}

/// Sends a file; says whether the server took it.
fn put_whole(client: &Client, key: &str, staged: &Staged, headers: &[(&'static str, &str)]) -> Result<bool> {
    let hex = staged.digest.hex();
    let payload = Payload::File(&staged.path, staged.size, &hex);
    let ask = Ask { headers, payload, ..Ask::new("write", Method::PUT, key) };
    let answer = client.must(&ask, if headers.is_empty() { &[200] } else { &[200, 412] })?;
    Ok(answer.status == 200)
}

/// Whether the object that is there has the blob's bytes. It may be left from a process that was killed, or have rotted.
fn is_right(client: &Arc<Client>, key: &str, staged: &Staged) -> Result<bool> {
    let Some(mut object) = Object::open(Arc::clone(client), key.to_owned(), 0..staged.size)? else { return Ok(false) };
    if object.size() != staged.size {
        return Ok(false);
    }
    let (mut hasher, mut buffer, mut at) = (BlobHasher::default(), Vec::new(), 0);
    while at < staged.size {
        let count = READ_BYTES.min(usize::try_from(staged.size - at).unwrap_or(READ_BYTES));
        if !object.read_at(at, count, &mut buffer)? {
            return Ok(false);
        }
        hasher.update(&buffer);
        at += count as u64;
    }
    Ok(hasher.finish().0 == staged.digest)
}

fn put_in_parts(client: &Client, key: &str, staged: &Staged) -> Result<()> {
    let query = [("uploads", "")];
    // not repeated: each begins another upload
    let ask = Ask { query: &query, repeats: false, ..Ask::new("begin to write", Method::POST, key) };
    let text = client.must(&ask, &[200])?.text(ANSWER_BYTES_MAX);
    let text = text.map_err(|e| client.senseless(&ask, &e.to_string()))?;
    let id = upload_id(&text).ok_or_else(|| client.senseless(&ask, "an answer without an upload's name"))?;
    let put = put_parts(client, key, staged, &id);
    if put.is_err() {
        let query = [("uploadId", id.as_str())];
        let ask = Ask { query: &query, ..Ask::new("end an unfinished upload of", Method::DELETE, key) };
        if let Err(error) = client.must(&ask, &[200, 204, 404]) {
            tracing::warn!(%error, "an unfinished upload stays until the next start");
        }
    }
    put
}

fn put_parts(client: &Client, key: &str, staged: &Staged, id: &str) -> Result<()> {
    let path = &staged.path;
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let part_bytes = PART_BYTES.max(staged.size.div_ceil(PARTS_MAX));
    let (mut number, mut part, mut tags) = (0u32, Vec::new(), Vec::new());
    loop {
        part.clear();
        (&mut file).take(part_bytes).read_to_end(&mut part).map_err(Error::io("read", path))?;
        if part.is_empty() {
            break;
        }
        number += 1;
        let text = number.to_string();
        let query = [("partNumber", text.as_str()), ("uploadId", id)];
        let payload = Payload::Bytes(&part);
        let ask = Ask { query: &query, payload, ..Ask::new("write a part of", Method::PUT, key) };
        let answer = client.must(&ask, &[200])?;
        let tag = answer.header("etag").ok_or_else(|| client.senseless(&ask, "an answer without an ETag"))?;
        tags.push(tag.trim_matches('"').to_owned());
    }
    complete(client, key, id, &tags)?;
    match client.stat(key)? {
        Some(found) if found.size == staged.size => Ok(()),
        found => {
            let size = found.map_or(0, |listed| listed.size);
            let ask = Ask::new("write", Method::PUT, key);
            Err(client.senseless(&ask, &format!("of {} bytes the server has {size}", staged.size)))
        }
    }
}

fn complete(client: &Client, key: &str, id: &str, tags: &[String]) -> Result<()> {
    let mut body = b"<CompleteMultipartUpload>".to_vec();
    for (number, tag) in (1..).zip(tags) {
        let tag = tag.replace(['<', '>', '&'], "");
        // writing to memory does not fail
        let _ = write!(body, "<Part><PartNumber>{number}</PartNumber><ETag>\"{tag}\"</ETag></Part>");
    }
    body.extend_from_slice(b"</CompleteMultipartUpload>");
    let query = [("uploadId", id)];
    let payload = Payload::Bytes(&body);
    // not repeated: after one that was done there is no such upload any more
    let ask = Ask { query: &query, payload, repeats: false, ..Ask::new("finish writing", Method::POST, key) };
    let text = client.must(&ask, &[200])?.text(ANSWER_BYTES_MAX);
    let text = text.map_err(|e| client.senseless(&ask, &e.to_string()))?;
    // the status comes before the work is done, so a failure may follow it
    match error_code(&text) {
        Some(code) => Err(client.refused_with(&ask, 200, &code)),
        None => Ok(()),
    }
}
