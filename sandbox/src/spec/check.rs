//! What a spec must keep to before anything is tried.

use std::path::{Component, Path};

use crate::{Error, MountSource, Result, Spec, Staging};

/// Places that are made by the sandbox, or never there.
const RESERVED: &[&str] = &["/dev", "/proc", "/sys"];
/// The kernel's limit of a host name.
const HOSTNAME_LIMIT: usize = 64;
/// More processors than any machine this runs on.
const CPU_LIMIT: u32 = 4096;
/// The kernel's limits of a path and of a name in it, each with its zero byte.
const PATH_LIMIT: usize = 4095;
const NAME_LIMIT: usize = 255;
/// The kernel's limit of one argument or variable.
const TEXT_LIMIT: usize = 131_071;
/// What making the sandbox takes beside what a program begins with.
const OPEN_FILES_LEAST: u64 = 16;
const LAST_SIGNAL: i32 = 64;
/// Every permission bit.
const UMASK_LIMIT: u32 = 0o777;

/// A spec of as many trees as can be mounted is far smaller.
const JSON_BYTES_MAX: usize = 4 << 20;
/// More of a wrong value says nothing more; the reader of JSON tells the place last, behind all that it expected.
const SHOWN_CHARS: usize = 600;

fn wrong<T>(field: impl AsRef<str>, found: impl ToString, expected: &'static str) -> Result<T> {
    Err(Error::Spec { field: shown(field.as_ref()), found: shown(&found.to_string()), expected })
}

/// Text of a spec for an error: a spec may come from anyone, and errors go to terminals.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARS) {
        if c.is_control() { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    if text.chars().nth(SHOWN_CHARS).is_some() {
        shown.push_str("...");
    }
    shown
}

impl Spec {
    /// Reads a spec that somebody wrote, and checks it.
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > JSON_BYTES_MAX {
            return Err(Error::Json { reason: format!("it has {} bytes, at most {JSON_BYTES_MAX}", bytes.len()) });
        }
        let spec: Self =
            serde_json::from_slice(bytes).map_err(|error| Error::Json { reason: shown(&error.to_string()) })?;
        spec.check()?;
        Ok(spec)
    }

    /// Whether every field can be used; says nothing about the host.
    pub fn check(&self) -> Result<()> {
        self.check_mounts()?;
        self.check_staging()?;
        self.check_payload()?;
        self.check_limits()?;
        self.check_probe()
    }

    fn check_mounts(&self) -> Result<()> {
        if self.root.is_empty() {
            return wrong("root", "[]", "at least one directory");
        }
        for (index, path) in self.root.iter().enumerate() {
            host_path(&format!("root[{index}]"), path)?;
        }
        for (index, mount) in self.mounts.iter().enumerate() {
            let field = format!("mounts[{index}]");
            place(&format!("{field}.at"), &mount.at)?;
            if self.mounts.iter().take(index).any(|other| other.at == mount.at) {
                return wrong(format!("{field}.at"), mount.at.display(), "a place that nothing else is mounted on");
            }
            match &mount.source {
                MountSource::Trees(paths) => {
                    for (layer, path) in paths.iter().enumerate() {
                        host_path(&format!("{field}.source[{layer}]"), path)?;
                    }
                }
                MountSource::File(path) | MountSource::Output(path) => host_path(&format!("{field}.source"), path)?,
                MountSource::Scratch { bytes, inodes } => {
                    size(&format!("{field}.source.bytes"), *bytes)?;
                    size(&format!("{field}.source.inodes"), *inodes)?;
                }
            }
        }
        Ok(())
    }

    fn check_staging(&self) -> Result<()> {
        let Staging::Copied { bytes, inodes, .. } = self.staging else { return Ok(()) };
        size("staging.bytes", bytes)?;
        size("staging.inodes", inodes)
    }

    fn check_payload(&self) -> Result<()> {
        match self.argv.first() {
            None => return wrong("argv", "[]", "a program and its arguments"),
            Some(program) if program.is_empty() => return wrong("argv[0]", "", "a program"),
            Some(_) => {}
        }
        if let Some((index, text)) = self.argv.iter().enumerate().find(|(_, text)| text.contains('\0')) {
            return wrong(format!("argv[{index}]"), text.escape_debug(), "text without a zero byte");
        }
        if let Some((index, text)) = self.argv.iter().enumerate().find(|(_, text)| text.len() > TEXT_LIMIT) {
            return wrong(format!("argv[{index}]"), format!("{} bytes", text.len()), "at most 131071 bytes");
        }
        for (name, value) in &self.env {
            if name.len().saturating_add(value.len()) >= TEXT_LIMIT {
                return wrong(format!("env.{name}"), format!("{} bytes", value.len()), "at most 131070 with its name");
            }
            if name.is_empty() || name.contains(['=', '\0']) {
                return wrong("env", name.escape_debug(), "names without `=` and zero bytes");
            }
            if value.contains('\0') {
                return wrong(format!("env.{name}"), value.escape_debug(), "text without a zero byte");
            }
        }
        if !self.cwd.is_absolute() {
            return wrong("cwd", self.cwd.display(), "an absolute path in the sandbox");
        }
        for (field, id) in [("uid", self.uid), ("gid", self.gid)] {
            if id == u32::MAX {
                return wrong(field, id, "an id that is not the kernel's word for none");
            }
        }
        if self.umask > UMASK_LIMIT {
            return wrong("umask", format!("{:#o}", self.umask), "permission bits, at most 0o777");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if self.hostname.is_empty() || self.hostname.len() > HOSTNAME_LIMIT || !self.hostname.chars().all(plain) {
            return wrong("hostname", &self.hostname, "1 to 64 letters, digits, dots and dashes");
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<()> {
        let limits = &self.limits;
        for (field, time) in [("limits.wall_ms", limits.wall), ("limits.silence_ms", limits.silence)] {
            if time.is_zero() {
                return wrong(field, 0, "a time above zero");
            }
        }
        for (field, value) in [
            ("limits.memory_bytes", limits.memory_bytes),
            ("limits.pids", limits.pids),
            ("limits.log_bytes", limits.log_bytes),
            ("limits.open_files", limits.open_files),
            ("limits.cpus", limits.cpus.into()),
            ("limits.output_bytes", limits.output_bytes),
            ("limits.output_inodes", limits.output_inodes),
            ("limits.log_bytes_per_second", limits.log_bytes_per_second),
        ] {
            positive(field, value)?;
        }
        if limits.open_files < OPEN_FILES_LEAST {
            return wrong("limits.open_files", limits.open_files, "at least 16");
        }
        if limits.cpus > CPU_LIMIT {
            return wrong("limits.cpus", limits.cpus, "at most 4096");
        }
        Ok(())
    }

    fn check_probe(&self) -> Result<()> {
        let Some(probe) = &self.probe else { return Ok(()) };
        if probe.port == 0 {
            return wrong("probe.port", 0, "a port above zero");
        }
        if !probe.path.starts_with('/') || !probe.path.chars().all(|c| c.is_ascii_graphic()) {
            return wrong("probe.path", probe.path.escape_debug(), "a path that starts with `/`, without spaces");
        }
        if probe.ready_within.is_zero() {
            return wrong("probe.ready_within_ms", 0, "a time above zero");
        }
        if !(1..=LAST_SIGNAL).contains(&probe.stop_signal) {
            return wrong("probe.stop_signal", probe.stop_signal, "a signal number from 1 to 64");
        }
        Ok(())
    }
}

fn positive(field: &str, value: u64) -> Result<()> {
    if value == 0 { wrong(field, 0, "a number above zero") } else { Ok(()) }
}

/// A size of a file system in memory.
fn size(field: &str, value: u64) -> Result<()> {
    positive(field, value)?;
    if i64::try_from(value).is_err() { wrong(field, value, "at most 9223372036854775807") } else { Ok(()) }
}

fn host_path(field: &str, path: &Path) -> Result<()> {
    if path.is_absolute() { Ok(()) } else { wrong(field, path.display(), "an absolute path on the host") }
}

/// A mount point: absolute, plain, and not one the sandbox makes itself.
fn place(field: &str, at: &Path) -> Result<()> {
    let mut parts = at.components();
    let plain = parts.next() == Some(Component::RootDir) && parts.all(|part| matches!(part, Component::Normal(_)));
    // Components pass over `//`, `/./` and a slash at the end, so the text must be what they amount to.
    if !plain || at.components().collect::<std::path::PathBuf>().as_os_str() != at.as_os_str() {
        return wrong(field, at.display(), "an absolute path without `.`, `..` and double slashes");
    }
    let longest = at.iter().map(|part| part.len()).max().unwrap_or(0);
    if longest > NAME_LIMIT || at.as_os_str().len() > PATH_LIMIT {
        return wrong(field, at.display(), "at most 255 bytes between slashes and 4095 in all");
    }
    if at == Path::new("/") {
        return wrong(field, "/", "a place beneath `/`; directories for `/` itself go into `root`");
    }
    if RESERVED.iter().any(|reserved| at.starts_with(reserved)) {
        return wrong(field, at.display(), "a place outside /dev, /proc and /sys, which are the sandbox's own");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
