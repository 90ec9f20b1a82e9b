//! A file that is there whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use super::FetchError;

/// A file that vanishes unless it is given its final name.
pub(super) struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    /// An empty one in the folder of what it is to become.
    pub(super) fn beside(target: &Path) -> Result<Self, FetchError> {
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".part");
        let path = target.with_file_name(name);
        let file = File::create(&path).map_err(|error| FetchError::file(&path, &error))?;
        Ok(Self { path, file })
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file
            .write_all(bytes)
            .map_err(|error| FetchError::file(&self.path, &error))
    }

    /// Gives it its final name, in place of a file that has it.
    pub(super) fn rename(self, target: &Path) -> Result<(), FetchError> {
        fs::rename(&self.path, target).map_err(|error| FetchError::file(target, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After the rename there is nothing under this name; before it, the folder goes with the Pod.
        let _ = fs::remove_file(&self.path);
    }
}
