//! The daemon's own keys, one a role, made at the first start: `<state>/keys/<role>.pem`, readable by the daemon alone.
//!
//! What a build gave is believed with the signature of the build key, or of an earlier one whose public half stands beside
//! it as `build-<anything>.pub` (`anneal key export build` writes it): to rotate the build key, put that file there, move
//! `build.pem` away and start again; when the earlier key is to count no more, remove its file.
//!
//! The log key signs where the journal ends, backups and restores. The release key signs only what a human approved, and
//! only then. An approver's key is never here.

use crate::error::{Error, Result, io};
use anneal_attest::{Keyring, PublicKey, Role, SecretKey};
use anneal_builder::ResultKeys;
use std::{
    io::Write as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
    sync::Arc,
};

/// The daemon's signing keys.
pub(crate) struct Keys {
    pub(crate) build: Arc<SecretKey>,
    pub(crate) test: SecretKey,
    pub(crate) release: SecretKey,
    pub(crate) log: SecretKey,
}

/// The roles of the daemon's own keys.
pub(crate) const ROLES: [Role; 4] = [Role::Build, Role::Test, Role::Release, Role::Log];

impl Keys {
    /// Reads the keys of a state directory, making those that are missing.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(io("create", dir))?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(dir, private).map_err(io("protect", dir))?;
        let key = |role: Role| {
            let path = dir.join(format!("{role}.pem"));
            if path.exists() { read_key(&path, role) } else { new_key(&path, role) }
        };
        Self::each(key)
    }

    /// Reads the keys of a directory; one that is missing is an error.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        Self::each(|role| read_key(&dir.join(format!("{role}.pem")), role))
    }

    fn each(mut key: impl FnMut(Role) -> Result<SecretKey>) -> Result<Self> {
        let (build, test) = (key(Role::Build)?, key(Role::Test)?);
        Ok(Self { build: Arc::new(build), test, release: key(Role::Release)?, log: key(Role::Log)? })
    }

    /// Writes the keys to a directory that only its owner reads; those that are there already must be the same.
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        std::fs::create_dir_all(dir).map_err(io("create", dir))?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(dir, private).map_err(io("protect", dir))?;
        for (role, key) in self.all() {
            let path = dir.join(format!("{role}.pem"));
            if !path.exists() {
                write_key(&path, key)?;
            } else if read_key(&path, role)?.public() != key.public() {
                let text = format!("{} is another key than the daemon's; move it away", path.display());
                return Err(Error::Input(text));
            }
        }
        Ok(())
    }

    /// All of them, with their roles.
    pub(crate) fn all(&self) -> [(Role, &SecretKey); 4] {
        let Self { build, test, release, log } = self;
        [(Role::Build, build), (Role::Test, test), (Role::Release, release), (Role::Log, log)]
    }

    /// The role of the key with this id, if it is one of these.
    pub(crate) fn role_of(&self, key_id: &str) -> Option<Role> {
        self.all().into_iter().find(|(_, key)| key.public().id().hex() == key_id).map(|(role, _)| role)
    }
}

/// Whether this is the public half of an earlier build key.
fn is_earlier(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("build-") && name.ends_with(".pub")
}

/// Copies the public halves of earlier build keys, where there are any.
pub(crate) fn copy_earlier(from: &Path, to: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(io("read", from))?.path();
        if let Some(name) = path.file_name().filter(|_| is_earlier(&path)) {
            std::fs::copy(&path, to.join(name)).map_err(io("copy", &path))?;
        }
    }
    Ok(())
}

/// What a builder over a state directory signs with and believes; nothing where the directory has no build key yet.
pub(crate) fn result_keys(dir: &Path) -> Result<ResultKeys> {
    let path = dir.join("build.pem");
    let signer = if path.exists() { Some(Arc::new(read_key(&path, Role::Build)?)) } else { None };
    let mut trusted = Keyring::new();
    if let Some(signer) = &signer {
        trusted.trust(Role::Build, signer.public().clone())?;
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(ResultKeys { signer, trusted }),
        Err(e) => return Err(io("read", dir)(e)),
    };
    for entry in entries {
        let path = entry.map_err(io("read", dir))?.path();
        if is_earlier(&path) {
            let pem = std::fs::read_to_string(&path).map_err(io("read", &path))?;
            let wrong = |e| Error::Input(format!("{}: {e}", path.display()));
            trusted.trust(Role::Build, PublicKey::from_pem(&pem).map_err(wrong)?).map_err(wrong)?;
        }
    }
    Ok(ResultKeys { signer, trusted })
}

/// Reads a secret key; a file that others can read is refused.
pub(crate) fn read_key(path: &Path, role: Role) -> Result<SecretKey> {
    let mode = std::fs::metadata(path).map_err(io("read", path))?.mode() & 0o077;
    if mode != 0 {
        return Err(Error::Input(format!(
            "{} can be read by others; a secret key must have mode 0600: chmod 600 {0}",
            path.display()
        )));
    }
    let pem = std::fs::read_to_string(path).map_err(io("read", path))?;
    SecretKey::from_pem(role, &pem).map_err(|e| Error::Input(format!("{}: {e}", path.display())))
}

/// Makes a key and writes it, readable by its owner alone; an existing file is never overwritten.
pub(crate) fn new_key(path: &Path, role: Role) -> Result<SecretKey> {
    let key = SecretKey::generate(role, &mut getrandom::SysRng)?;
    write_key(path, &key)?;
    Ok(key)
}

fn write_key(path: &Path, key: &SecretKey) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(io("create", path))?;
    file.write_all(key.to_pem()?.as_bytes()).map_err(io("write", path))?;
    file.sync_all().map_err(io("sync", path))?;
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))?;
    }
    Ok(())
}

/// Reads a public key that somebody trusts.
pub(crate) fn read_public(path: &Path) -> Result<PublicKey> {
    let pem = std::fs::read_to_string(path).map_err(io("read", path))?;
    PublicKey::from_pem(&pem).map_err(|e| Error::Input(format!("{}: {e}", path.display())))
}
