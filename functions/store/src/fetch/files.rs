//! The flow's own files: from a mounted Secret into the folder that the steps see.

use std::{fs, path::Path};

use super::FetchError;

/// The link by which Kubernetes replaces all files of a mounted Secret at once.
const CURRENT: &str = "..data";

/// Copies the regular files of a folder beside the payload; one that bears the payload's name gives way to it.
pub(crate) fn copy(folder: &Path, payload: &Path) -> Result<usize, FetchError> {
    let problem = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| FetchError::file(&path, &error)
    };
    // One snapshot: resolved once, the files cannot change in between.
    let current = folder.join(CURRENT);
    let source = if current.exists() { &current } else { folder };
    let source = source.canonicalize().map_err(problem(source))?;
    let mut names = Vec::new();
    for entry in fs::read_dir(&source).map_err(problem(&source))? {
        names.push(entry.map_err(problem(&source))?.file_name());
    }
    names.sort();

    let mut copied = 0;
    for name in names {
        // Kubernetes' own entries begin with two dots, which no entry of a Secret may; one dot is a user's.
        if name.as_encoded_bytes().starts_with(b"..")
            || Some(name.as_os_str()) == payload.file_name()
        {
            continue;
        }
        let from = source.join(&name);
        let real = from.canonicalize().map_err(problem(&from))?;
        if !real.starts_with(&source) || !real.is_file() {
            continue;
        }
        let to = payload.with_file_name(&name);
        let content = fs::read(&real).map_err(problem(&from))?;
        fs::write(&to, content).map_err(problem(&to))?;
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
