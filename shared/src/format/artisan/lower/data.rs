//! The Secrets that inputs become: credentials, keys and files of the whole flow.
//!
//! Entries of one name overwrite each other, the later one wins: that is the format's rule.

use std::collections::BTreeMap;

use super::super::{File, Key, Secret};
use super::{CREDS, FILES, FILES_FOLDER, KEYS, KEYS_FOLDER, Notes, at, label};
use crate::{
    flow::{DATA_MAX, DataSet, EnvValue, GitSource, Operand, expands},
    name::{Label, is_entry_name},
    problem::{Kind, Path, shortened},
};

type Entries = BTreeMap<String, Vec<u8>>;

/// The sets while they are gathered; one is there once something asked for it, be it empty.
pub(super) struct Sets<'a> {
    notes: &'a Notes,
    creds: Option<Entries>,
    /// Whether a step lists secrets, or the set is there for other reasons.
    steps_list_secrets: bool,
    keys: Option<Entries>,
    files: Option<Entries>,
    /// Bytes of texts that travel with the credentials since they would be expanded otherwise.
    carried: usize,
}

impl<'a> Sets<'a> {
    pub(super) fn new(notes: &'a Notes) -> Self {
        Self {
            notes,
            creds: None,
            steps_list_secrets: false,
            keys: None,
            files: None,
            carried: 0,
        }
    }

    /// A step lists secrets, maybe none.
    pub(super) fn open_creds(&mut self) {
        self.steps_list_secrets = true;
        self.creds.get_or_insert_default();
    }

    /// A step lists keys, maybe none.
    pub(super) fn open_keys(&mut self) {
        self.keys.get_or_insert_default();
    }

    /// A step lists files, maybe none.
    pub(super) fn open_files(&mut self) {
        self.files.get_or_insert_default();
    }

    /// A secret value; the entry's name has been checked.
    pub(super) fn add_secret(&mut self, name: &str, value: String) -> EnvValue {
        self.creds
            .get_or_insert_default()
            .insert(name.to_owned(), value.into_bytes());
        EnvValue::Data {
            set: label(CREDS),
            entry: name.to_owned(),
        }
    }

    /// A key.
    pub(super) fn add_key(&mut self, key: &Key, value: String, here: impl FnOnce() -> Path) {
        let prefix = match (key.package_group.as_str(), key.package_name.as_str()) {
            ("", "") => "root".to_owned(),
            (group, "") => group.to_owned(),
            (group, name) => format!("{group}_{name}"),
        };
        let entry = format!(
            "{prefix}_rsa_{}.pgp",
            if key.private { "key" } else { "pub" }
        );
        self.check(&entry, here);
        self.keys
            .get_or_insert_default()
            .insert(entry, value.into_bytes());
    }

    /// A file.
    pub(super) fn add_file(
        &mut self,
        File {
            path,
            content,
            name: _,
            description: _,
        }: File,
        here: impl FnOnce() -> Path,
    ) {
        self.check(&path, here);
        self.files
            .get_or_insert_default()
            .insert(path, content.into_bytes());
    }

    /// A literal value of a step.
    pub(super) fn literal(&mut self, text: &str) {
        if expands(text) {
            self.carried += text.len();
        }
    }

    /// What of a repository travels with the credentials.
    pub(super) fn login(
        &mut self,
        GitSource {
            url, credentials, ..
        }: &GitSource,
    ) {
        let login = credentials
            .iter()
            .flat_map(|login| [&login.username, &login.password]);
        let texts = login.map(|value| match value {
            EnvValue::Operand(Operand::Text(text)) => text.len(),
            EnvValue::Operand(_) | EnvValue::Data { .. } | EnvValue::Secret(_) => 0,
        });
        self.carried += url.len() + texts.sum::<usize>();
    }

    /// The secrets of the flow itself: kept, and injected nowhere; dropped where no step lists secrets.
    pub(super) fn add_shared(&mut self, secrets: Vec<Secret>) {
        for (
            index,
            Secret {
                name,
                value,
                description: _,
                required: _,
            },
        ) in secrets.into_iter().enumerate()
        {
            let here = || at("input").field("secret").index(index).field("name");
            if name.is_empty() {
                self.notes
                    .add(here, || Kind::MissingInputName { what: "a secret" });
                continue;
            }
            self.check(&name, here);
            if self.steps_list_secrets {
                self.add_secret(&name, value);
            }
        }
    }

    /// What an entry may be called.
    pub(super) fn check(&self, entry: &str, here: impl FnOnce() -> Path) {
        if !is_entry_name(entry) {
            self.notes.add(here, || Kind::IllegalEntryName {
                entry: shortened(entry),
            });
        }
    }

    /// The sets, in the order in which they are written.
    pub(super) fn finish(self) -> Vec<DataSet> {
        let sets = [
            (CREDS, "secrets", self.creds, None, self.carried),
            (KEYS, "keys", self.keys, Some(KEYS_FOLDER), 0),
            (FILES, "files", self.files, Some(FILES_FOLDER), 0),
        ];
        let mut data = Vec::new();
        for (name, what, entries, folder, carried) in sets {
            let size = carried
                + entries
                    .iter()
                    .flatten()
                    .map(|(_, value)| value.len())
                    .sum::<usize>();
            if size > DATA_MAX {
                let kind = || Kind::DataTooLarge {
                    set: what.to_owned(),
                    size,
                    limit: DATA_MAX,
                };
                self.notes.add(Path::root, kind);
            }
            if let Some(entries) = entries {
                data.push(DataSet {
                    name: label(name),
                    entries,
                    folder: folder.map(str::to_owned),
                });
            }
        }
        data
    }
}

/// The set of keys.
pub(super) fn keys() -> Label {
    label(KEYS)
}

/// The set of files.
pub(super) fn files() -> Label {
    label(FILES)
}
