//! Looking for objects: by listing, never by HEAD, whose 404 does not say whether the object or the bucket is missing.

use super::{
    answer::{Answer, Listed, error_code, page},
    client::{ANSWER_BYTES_MAX, Ask, Client},
};
use crate::Result;
use ureq::http::Method;

impl Client {
    /// Objects whose keys begin with `prefix` and come after `after`, in order, and whether there are more.
    pub(super) fn list(&self, prefix: &str, after: &str, count: &str) -> Result<(Vec<Listed>, bool)> {
        let all = [("list-type", "2"), ("max-keys", count), ("prefix", prefix), ("start-after", after)];
        let query = if after.is_empty() { all.get(..3).unwrap_or_default() } else { &all };
        let ask = Ask { query, ..Ask::new("list objects", Method::GET, "") };
        let text = self.must(&ask, &[200])?.text(ANSWER_BYTES_MAX);
        let text = text.map_err(|e| self.senseless(&ask, &e.to_string()))?;
        page(&text).ok_or_else(|| self.senseless(&ask, "an answer that is no list"))
    }

    /// An object as a listing shows it; `None` where it is not there.
    pub(super) fn stat(&self, key: &str) -> Result<Option<Listed>> {
        let (listed, _) = self.list(key, "", "1")?;
        Ok(listed.into_iter().find(|listed| listed.key == key))
    }

    /// Sends a request about an object; `None` where the server says that it is the object that is missing.
    pub(super) fn find(&self, ask: &Ask<'_>, expected: &[u16]) -> Result<Option<Answer>> {
        let answer = self.ask(ask)?;
        if expected.contains(&answer.status) {
            return Ok(Some(answer));
        }
        if answer.status != 404 {
            return Err(self.refused(ask, answer));
        }
        let code = answer.text(ANSWER_BYTES_MAX).ok().and_then(|text| error_code(&text)).unwrap_or_default();
        if code == "NoSuchKey" { Ok(None) } else { Err(self.refused_with(ask, 404, &code)) }
    }
}
