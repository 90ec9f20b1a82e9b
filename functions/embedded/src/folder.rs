//! The folder of objects: one YAML file each, `<group or core>/<resource>/<namespace>/<name>.yaml`.
//!
//! People read these files and put their own beside them; so a file that cannot be read is reported and left alone,
//! and never keeps the others from being served. Files appear at once or not at all (written beside, then renamed).
//! There is no `fsync`: this is for trying out, and a crash of the machine may cost the last second.

use crate::{
    object,
    resource::{self, Resource, Scope},
    store::Key,
    validate,
};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Where objects are kept. Only one process at a time has it.
pub(crate) struct Folder {
    root: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

/// A file that could not be read as an object; it is left as it is, and the object cannot be written.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// What lay in the folder.
#[derive(Default)]
pub(crate) struct Contents {
    pub(crate) objects: Vec<(Key, Value)>,
    /// With the object that the file stands for, where its place says so.
    pub(crate) unreadable: Vec<(Option<Key>, Unreadable)>,
}

const LOCK: &str = ".lock";
const REVISION: &str = ".revision";
/// Longer names of files do not fit a file system's 255 bytes.
const LONGEST: usize = 200;

impl Folder {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        create_folder(root)?;
        let lock = options().truncate(false).open(root.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                root: root.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("{} is in use by another process", root.display()),
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Writes an object and tells how many bytes it takes.
    pub(crate) fn write(&self, key: &Key, value: &Value) -> io::Result<usize> {
        let yaml = serde_saphyr::to_string(value).map_err(io::Error::other)?;
        let path = self.path(key);
        if let Some(folder) = path.parent() {
            create_folder(folder)?;
        }
        replace(&path, yaml.as_bytes())?;
        Ok(yaml.len())
    }

    /// Removes an object, and the folders that are empty without it.
    pub(crate) fn remove(&self, key: &Key) -> io::Result<()> {
        let path = self.path(key);
        fs::remove_file(&path)?;
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|f| *f != self.root) {
            if fs::remove_dir(empty).is_err() {
                break;
            }
            folder = empty.parent();
        }
        Ok(())
    }

    /// The revision up to which resource versions may have been given out.
    pub(crate) fn read_revision(&self) -> u64 {
        fs::read_to_string(self.root.join(REVISION))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    }

    pub(crate) fn write_revision(&self, revision: u64) -> io::Result<()> {
        replace(
            &self.root.join(REVISION),
            format!("{revision}\n").as_bytes(),
        )
    }

    /// Reads everything. Files that begin with a dot are ours, or nobody's.
    pub(crate) fn load(&self) -> io::Result<Contents> {
        let mut contents = Contents::default();
        for resource in resource::RESOURCES.iter().filter(|r| r.review.is_none()) {
            let folder = self.resource_folder(resource);
            match resource.scope {
                Scope::Cluster => self.load_folder(resource, "", &folder, &mut contents)?,
                Scope::Namespaced => {
                    for path in sorted(&folder)?.into_iter().filter(|p| p.is_dir()) {
                        let namespace =
                            path.file_name().and_then(OsStr::to_str).unwrap_or_default();
                        self.load_folder(resource, namespace, &path, &mut contents)?;
                    }
                }
            }
        }
        Ok(contents)
    }

    fn load_folder(
        &self,
        resource: &'static Resource,
        namespace: &str,
        folder: &Path,
        contents: &mut Contents,
    ) -> io::Result<()> {
        for path in sorted(folder)? {
            let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if let Some(stem) = file.strip_suffix(".yaml") {
                let by_place = Key {
                    resource,
                    namespace: namespace.to_owned(),
                    name: stem.to_owned(),
                };
                match self.read(resource, namespace, &path) {
                    Ok((key, value)) => contents.objects.push((key, value)),
                    Err(reason) => {
                        let unreadable = Unreadable { path, reason };
                        contents.unreadable.push((Some(by_place), unreadable));
                    }
                }
            }
        }
        Ok(())
    }

    fn read(
        &self,
        resource: &'static Resource,
        namespace: &str,
        path: &Path,
    ) -> Result<(Key, Value), String> {
        let text = fs::read_to_string(path).map_err(|e| e.to_string())?;
        let mut value: Value = serde_saphyr::from_str(&text).map_err(|e| first_line(&e))?;
        let (api_version, kind) = (resource.api_version(), resource.kind);
        if value["apiVersion"] != *api_version || value["kind"] != kind {
            return Err(format!(
                "an object here has apiVersion {api_version} and kind {kind}"
            ));
        }
        if !value["metadata"].is_object() {
            return Err("it has no metadata".to_owned());
        }
        match object::meta(&value, "namespace") {
            "" if !namespace.is_empty() => object::set_meta(&mut value, "namespace", namespace),
            own if own != namespace => {
                return Err(format!(
                    "it says that its namespace is {own:?}, and lies elsewhere"
                ));
            }
            _ => {}
        }
        let key = Key::of(resource, &value);
        validate::subdomain(&key.name)
            .map_err(|why| format!("its name is {:?}, but {why}", key.name))?;
        if self.path(&key) != path {
            return Err(format!(
                "it says that its name is {:?}, and lies elsewhere",
                key.name
            ));
        }
        Ok((key, value))
    }

    fn resource_folder(&self, resource: &Resource) -> PathBuf {
        let group = match resource.group {
            "" => "core",
            group => group,
        };
        self.root.join(group).join(resource.plural)
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.resource_folder(key.resource)
            .join(&key.namespace)
            .join(file_name(&key.name))
    }
}

/// Names longer than a file's may be are cut, and told apart by a hash; the whole name is in the file.
fn file_name(name: &str) -> String {
    if name.len() <= LONGEST {
        return format!("{name}.yaml");
    }
    let hash: String = Sha256::digest(name.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    // A `~` is in no name.
    format!("{}~{hash}.yaml", &name[..name.floor_char_boundary(LONGEST)])
}

/// What is wrong and where, without the excerpt of the file that may follow.
pub(crate) fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => {
            let text = format!("{}: {error}", folder.display());
            return Err(io::Error::new(error.kind(), text));
        }
    };
    let mut paths = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    let hidden = |p: &PathBuf| {
        p.file_name()
            .is_some_and(|n| n.as_encoded_bytes().starts_with(b"."))
    };
    paths.retain(|p| !hidden(p));
    paths.sort();
    Ok(paths)
}

/// Replaces a file at once: readers see the old or the new text, never half of it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    // The leading dot may be one byte too much for the longest names; those are cut well below the limit.
    let beside = path.with_file_name(name);
    let mut file = options().truncate(true).open(&beside)?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(&beside, path)
}

/// Secrets lie here in the clear: nobody else reads them.
fn options() -> fs::OpenOptions {
    let mut options = File::options();
    options.create(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn key(name: &str) -> Key {
        Key {
            resource: resource::by_kind("v1", "ConfigMap").expect("a kind we keep"),
            namespace: "default".to_owned(),
            name: name.to_owned(),
        }
    }

    fn config_map(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
    }

    #[test]
    fn what_is_written_is_read_again_and_the_rest_is_reported() -> io::Result<()> {
        let home = tempfile::tempdir()?;
        let folder = Folder::open(home.path())?;
        let long = "a.".repeat(120) + "z";
        for name in ["a", "b.c", &long] {
            folder.write(&key(name), &config_map(name))?;
        }
        let place = home.path().join("core/configmaps/default");
        fs::write(place.join("broken.yaml"), "a: [")?;
        fs::write(place.join("other.yaml"), "apiVersion: v1\nkind: Secret\n")?;
        fs::write(place.join("moved.yaml"), fs::read(place.join("a.yaml"))?)?;
        fs::write(place.join("notes.txt"), "mine")?;

        let contents = folder.load()?;
        let mut names: Vec<&str> = contents.objects.iter().map(|(k, _)| &*k.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", &long, "b.c"]);
        let files: Vec<&OsStr> = contents
            .unreadable
            .iter()
            .filter_map(|(_, u)| u.path.file_name())
            .collect();
        assert_eq!(files, ["broken.yaml", "moved.yaml", "other.yaml"]);
        Ok(())
    }

    #[test]
    fn nobody_else_gets_the_folder_meanwhile() -> io::Result<()> {
        let home = tempfile::tempdir()?;
        let first = Folder::open(home.path())?;
        let second = Folder::open(home.path()).map(drop).map_err(|e| e.kind());
        assert_eq!(second, Err(io::ErrorKind::ResourceBusy));
        drop(first);
        Folder::open(home.path()).map(drop)
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            "[ -~\\n\\t]{0,40}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[ -~]{0,8}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_is_lost_on_its_way_through_a_file(value in any_json()) {
            let home = tempfile::tempdir()?;
            let folder = Folder::open(home.path())?;
            let mut object = config_map("a");
            object["data"] = value;
            folder.write(&key("a"), &object)?;
            let read = folder.load()?.objects;
            prop_assert_eq!(&read[0].1, &object);
        }
    }
}
