//! Reading JSON from outside: bounded in bytes and depth, and no key twice in one object.
//!
//! Two parsers that resolve a repeated key differently would verify one statement and act on another.

use crate::{Error, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// The most bytes of a bundle; an inventory of some 50 000 files fits.
pub(crate) const BUNDLE_BYTES_MAX: usize = 64 << 20;
/// The most bytes of a statement.
pub(crate) const STATEMENT_BYTES_MAX: usize = 48 << 20;
/// The most bytes of a simple-signing payload.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 64 << 10;
/// How deep objects and arrays may nest.
pub(crate) const DEPTH_MAX: usize = 32;
/// The most values in one document.
const VALUES_MAX: usize = 4_000_000;

/// Parses a document that came from outside.
pub(crate) fn parse(what: &'static str, bytes: &[u8], limit: usize) -> Result<Value> {
    if bytes.len() > limit {
        return Err(Error::TooLarge { what, limit, unit: "bytes", found: bytes.len() });
    }
    let wrong = |e: serde_json::Error| Error::Json { what, reason: e.to_string() };
    let mut values = 0;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0, values: &mut values }.deserialize(&mut reader).map_err(wrong)?;
    reader.end().map_err(wrong)?;
    Ok(value)
}

/// Turns a parsed document into a type.
pub(crate) fn typed<T: serde::de::DeserializeOwned>(what: &'static str, value: Value) -> Result<T> {
    serde_json::from_value(value).map_err(|e| Error::Json { what, reason: e.to_string() })
}

/// The fields of an object, which must all be among `allowed`.
pub(crate) fn only_fields(what: &'static str, value: &Value, allowed: &[&str]) -> Result<()> {
    let object = value.as_object().ok_or_else(|| Error::Json { what, reason: "expected an object".to_owned() })?;
    match object.keys().find(|key| !allowed.contains(&key.as_str())) {
        Some(key) => Err(Error::field(what, shown(key), format!("unknown; expected {}", allowed.join(", ")))),
        None => Ok(()),
    }
}

/// Text from outside for an error message: at most 120 characters, control characters escaped.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}

/// Reads `null` as the default: SLSA demands that unset, null and empty mean the same.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(deserializer)?.unwrap_or_default())
}

struct Strict<'a> {
    depth: usize,
    values: &'a mut usize,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(&mut self) -> std::result::Result<Strict<'_>, E> {
        *self.values += 1;
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX}")));
        }
        if *self.values > VALUES_MAX {
            return Err(E::custom(format!("more than {VALUES_MAX} values")));
        }
        Ok(Strict { depth: self.depth + 1, values: self.values })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> std::result::Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> std::result::Result<Value, E> {
        Ok(value.into())
    }
    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> std::result::Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.deeper()?)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> std::result::Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = fields.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(serde::de::Error::custom(format!("field `{}` stands twice", shown(&key))));
            }
            let value = fields.next_value_seed(self.deeper()?)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Vec<u8> {
        [b"[".repeat(depth), b"]".repeat(depth)].concat()
    }

    #[test]
    fn a_repeated_field_is_refused_at_any_depth() {
        let error = parse("bundle", br#"{"a":[{"b":1,"b":2}]}"#, 100).unwrap_err();
        assert!(error.to_string().contains("field `b` stands twice"), "{error}");
    }

    #[test]
    fn nesting_is_read_up_to_the_limit_and_no_further() {
        assert!(parse("bundle", &nested(DEPTH_MAX), 1000).is_ok());
        let error = parse("bundle", &nested(DEPTH_MAX + 2), 1000).unwrap_err();
        assert!(error.to_string().contains("nested deeper"), "{error}");
    }

    #[test]
    fn bytes_are_read_up_to_the_limit_and_no_further() {
        assert!(parse("bundle", b"\"ab\"", 4).is_ok());
        assert!(matches!(parse("bundle", b"\"abc\"", 4), Err(Error::TooLarge { limit: 4, found: 5, .. })));
    }

    #[test]
    fn text_after_the_document_is_refused() {
        assert!(parse("bundle", b"{} {}", 100).is_err());
    }
}
