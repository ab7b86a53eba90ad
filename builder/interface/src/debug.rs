//! What ties a library to its debug information: the build id that both carry.

use object::{Object as _, ObjectSection as _};

/// The build id of a file, in hex.
///
/// # Errors
/// Whatever is no ELF file.
pub fn build_id(bytes: &[u8]) -> Result<Option<String>, String> {
    let file = object::File::parse(bytes).map_err(|e| format!("it cannot be read: {e}"))?;
    let id = file.build_id().map_err(|e| format!("its build id cannot be read: {e}"))?;
    Ok(id.map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()))
}

/// Whether a file describes the types of its code.
///
/// # Errors
/// Whatever is no ELF file.
pub fn has_debug_information(bytes: &[u8]) -> Result<bool, String> {
    let file = object::File::parse(bytes).map_err(|e| format!("it cannot be read: {e}"))?;
    Ok(file.section_by_name(".debug_info").is_some_and(|section| section.size() > 0))
}
