//! Files of a mounted Secret; the flow's own ones go into the folder that the steps see.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::FetchError;

/// The link by which Kubernetes replaces all files of a mounted Secret at once.
const CURRENT: &str = "..data";

/// The regular files of a folder with their names, in the order of these. What Kubernetes adds to a mounted Secret, and
/// what leads out of the folder, is not among them.
pub(super) fn list(folder: &Path) -> Result<Vec<(OsString, PathBuf)>, FetchError> {
    let problem = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| FetchError::file(&path, &error)
    };
    // One snapshot: resolved once, the files cannot change in between.
    let current = folder.join(CURRENT);
    let source = if current.exists() { &current } else { folder };
    let source = source.canonicalize().map_err(problem(source))?;
    let mut files = Vec::new();
    for entry in fs::read_dir(&source).map_err(problem(&source))? {
        let name = entry.map_err(problem(&source))?.file_name();
        // Kubernetes' own entries begin with two dots, which no entry of a Secret may; one dot is a user's.
        if name.as_encoded_bytes().starts_with(b"..") {
            continue;
        }
        let path = source.join(&name);
        let real = path.canonicalize().map_err(problem(&path))?;
        if real.starts_with(&source) && real.is_file() {
            files.push((name, real));
        }
    }
    files.sort();
    Ok(files)
}

/// Copies the regular files of a folder beside the payload; one that bears the payload's name gives way to it.
pub(super) fn copy(folder: &Path, payload: &Path) -> Result<usize, FetchError> {
    let mut copied = 0;
    for (name, from) in list(folder)? {
        if Some(name.as_os_str()) == payload.file_name() {
            continue;
        }
        let to = payload.with_file_name(&name);
        let content = fs::read(&from).map_err(|error| FetchError::file(&from, &error))?;
        fs::write(&to, content).map_err(|error| FetchError::file(&to, &error))?;
        copied += 1;
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_mounted_secret_is_copied_file_by_file() {
        let (mounted, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = mounted.path().join("..2030_01_01");
        fs::create_dir(&data).unwrap();
        for (name, content) in [
            ("app.ini", "a=1"),
            (".npmrc", "b=2"),
            ("context", "the flow's own"),
        ] {
            fs::write(data.join(name), content).unwrap();
            symlink(format!("..data/{name}"), mounted.path().join(name)).unwrap();
        }
        fs::create_dir(data.join("folder")).unwrap();
        symlink("/etc/hostname", data.join("elsewhere")).unwrap();
        symlink("..2030_01_01", mounted.path().join("..data")).unwrap();

        assert_eq!(
            copy(mounted.path(), &target.path().join("context")).unwrap(),
            2
        );
        let mut names: Vec<_> = fs::read_dir(target.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, [".npmrc", "app.ini"]);
        assert_eq!(
            fs::read_to_string(target.path().join("app.ini")).unwrap(),
            "a=1"
        );
    }

    #[test]
    fn a_plain_folder_works_and_a_missing_one_is_named() {
        let (folder, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("a"), "1").unwrap();
        let payload = target.path().join("context");
        assert_eq!(copy(folder.path(), &payload).unwrap(), 1);
        // A second time, as when a step is started again.
        assert_eq!(copy(folder.path(), &payload).unwrap(), 1);
        let missing = folder.path().join("missing");
        assert!(
            copy(&missing, &payload)
                .unwrap_err()
                .to_string()
                .contains("missing")
        );
    }
}
