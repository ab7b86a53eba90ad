//! A spec of a sandbox, written by a person or a program.

use crate::{
    error::{Error, Result, io},
    output::printable,
};
use anneal_sandbox::Spec;
use std::{fs::File, io::Read, path::Path};

/// What is read of a file that is perhaps no spec at all; the parser has a limit of its own.
const BYTES: u64 = 8 << 20;

/// Reads a spec, bounded. The error names the field and the line.
pub(super) fn read(path: &Path) -> Result<Spec> {
    let name = path.display().to_string();
    let failed = |error| io("read the spec", path)(error);
    let mut bytes = Vec::new();
    if name == "-" {
        std::io::stdin().take(BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        File::open(path).and_then(|file| file.take(BYTES + 1).read_to_end(&mut bytes)).map_err(failed)?;
    }
    if bytes.len() as u64 > BYTES {
        return Err(Error::Input(format!("{name}: more than {BYTES} bytes, which no spec has; is it the right file?")));
    }
    parse(&name, &bytes)
}

fn parse(name: &str, bytes: &[u8]) -> Result<Spec> {
    Spec::from_json(bytes).map_err(|error| {
        // The parser names missing and unknown fields, but not the one whose value is of a wrong kind.
        let misread = serde_json::from_slice::<Spec>(bytes).err();
        let field = misread.and_then(|error| field_before(bytes, error.line(), error.column()));
        let field = field.map(|field| format!(" (in or after `{}`)", printable(&field))).unwrap_or_default();
        // What is said of bad JSON names it already.
        let hint = match &error {
            anneal_sandbox::Error::Json { .. } => "",
            _ => "; docs/sandbox-spec.schema.json has every field",
        };
        Error::Input(format!("{}: {error}{field}{hint}", printable(name)))
    })
}

/// The last name of a field before a place.
fn field_before(bytes: &[u8], line: usize, column: usize) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut before: String = text.split_inclusive('\n').take(line.saturating_sub(1)).collect();
    before.extend(text.lines().nth(line.saturating_sub(1)).unwrap_or_default().chars().take(column));
    let mut words = before.split('"').collect::<Vec<_>>();
    // A name is what stands in quotes before a colon.
    while let Some(after) = words.pop() {
        if after.trim_start().starts_with(':') {
            return words.last().map(|name| (*name).to_owned()).filter(|name| name.len() < 64);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_is_told_with_its_field_and_line() {
        let spec = "{\n \"kind\": \"build\",\n \"uid\": \"me\"\n}";
        let error = parse("a.json", spec.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("`uid`"), "{error}");
        assert_eq!(error.matches("sandbox-spec.schema.json").count(), 1, "{error}");
        let error = parse("a.json", b"{ \"kind\": \"oven\" }").unwrap_err().to_string();
        assert!(error.contains("`oven`") && error.contains("`kind`"), "{error}");
        let error = parse("a.json", b"{ \"oven\": 1 }").unwrap_err().to_string();
        assert!(error.contains("unknown field `oven`"), "{error}");
        let error = parse("a.json", b"{}").unwrap_err().to_string();
        assert!(error.contains("missing field `kind`"), "{error}");
    }
}
