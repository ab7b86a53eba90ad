//! A bucket is one store's, and the server must do what it is told: both are found out before the first blob.
//!
//! ```text
//! PREFIX/STORE    anneal blobs 1
//!                 store 3f0c…          the name that the store's directory has, too
//! ```
//!
//! The mark is written only where there is none (`If-None-Match: *`), so that of two stores one is refused. Then it is
//! written once more in the same way, which must be answered with 412: a server that answers 200 has overwritten what
//! it was told not to, and would do so to two stores that claim one bucket at the same time.

use super::{
    answer::uploads,
    client::{ANSWER_BYTES_MAX, Ask, Client, Payload},
    fault::{BucketFault, Unfit},
};
use crate::{Error, Result};
use ureq::http::Method;

const MARK: &str = "STORE";
const FORMAT: &str = "anneal blobs 1";
/// The longest mark that is read.
const MARK_BYTES_MAX: u64 = 1024;

/// Makes sure that the bucket is this store's, and that the server honours conditions and ranges. Only a store without
/// blobs may be the first in a bucket.
pub(super) fn claim(client: &Client, store: &str, may_be_first: bool) -> Result<()> {
    let mark = format!("{FORMAT}\nstore {store}\n");
    let mut found = read(client)?;
    if found.is_none() && may_be_first {
        write(client, &mark)?;
        found = read(client)?;
    }
    match found {
        Some(found) if found == mark => {}
        Some(found) if found.starts_with(FORMAT) => {
            let wrong = "another store keeps its blobs there".to_owned();
            return Err(unfit(client, wrong, "name another bucket or prefix; each store has its own"));
        }
        Some(_) => {
            let wrong = format!("its object {} is not what this program writes", client.address.key(MARK));
            return Err(unfit(client, wrong, "use the program that wrote it, or name another bucket or prefix"));
        }
        None => {
            let wrong = "this store's blobs are not there".to_owned();
            return Err(unfit(client, wrong, "name the bucket and prefix that they are in"));
        }
    }
    if write(client, &mark)? {
        let wrong = "the server overwrites what it is told to leave alone (If-None-Match: * has no effect)".to_owned();
        return Err(unfit(client, wrong, "use a server that honours conditional writes"));
    }
    Ok(())
}

fn unfit(client: &Client, wrong: String, next: &'static str) -> Error {
    BucketFault::unfit(client.place(), Unfit { wrong, next })
}

/// Writes the mark where there is none; says whether the server did.
fn write(client: &Client, mark: &str) -> Result<bool> {
    let key = client.address.key(MARK);
    let headers = [("if-none-match", "*")];
    let payload = Payload::Bytes(mark.as_bytes());
    let ask = Ask { headers: &headers, payload, ..Ask::new("claim", Method::PUT, &key) };
    Ok(client.must(&ask, &[200, 412])?.status == 200)
}

fn read(client: &Client) -> Result<Option<String>> {
    let key = client.address.key(MARK);
    let range = format!("bytes=0-{}", MARK_BYTES_MAX - 1);
    let headers = [("range", range.as_str())];
    let ask = Ask { headers: &headers, ..Ask::new("read", Method::GET, &key) };
    let Some(answer) = client.find(&ask, &[200, 206])? else { return Ok(None) };
    if answer.status == 200 || answer.range().is_none() {
        let wrong = "the server does not answer ranges".to_owned();
        return Err(unfit(client, wrong, "use a server that honours Range"));
    }
    answer.text(MARK_BYTES_MAX).map(Some).map_err(|e| client.senseless(&ask, &e.to_string()))
}

/// Ends uploads in parts that a killed process left, which nobody sees and somebody pays for.
pub(super) fn end_old_uploads(client: &Client) -> Result<()> {
    let prefix = client.address.key("");
    let query = [("uploads", ""), ("prefix", prefix.as_str())];
    let ask = Ask { query: &query, ..Ask::new("list unfinished uploads", Method::GET, "") };
    let answer = client.must(&ask, &[200])?;
    let text = answer.text(ANSWER_BYTES_MAX).map_err(|e| client.senseless(&ask, &e.to_string()))?;
    let uploads = uploads(&text).ok_or_else(|| client.senseless(&ask, "an answer that is no list"))?;
    for (key, id) in uploads.iter().filter(|(key, _)| key.starts_with(&prefix)) {
        let query = [("uploadId", id.as_str())];
        let ask = Ask { query: &query, ..Ask::new("end an unfinished upload of", Method::DELETE, key) };
        client.must(&ask, &[200, 204, 404])?;
    }
    Ok(())
}
