//! Which fields each object of the format has, and what belongs in them.

use serde::de::{IgnoredAny, MapAccess};

use super::super::{Document, File, Git, Input, Key, Secret, Step, Var};
use super::{Flag, Hidden, List, Object, Optional, Place, Text, Texts};

/// An object with known fields.
pub(super) trait Fields: Default {
    /// Their names, in lower case.
    const NAMES: &'static [&'static str];

    /// Reads the value of one of [`Self::NAMES`].
    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        field: &'static str,
        place: &Place<'_>,
        map: &mut A,
    ) -> Result<(), A::Error>;
}

/// One line per field: its name in JSON, its place in the type, its shape.
macro_rules! fields {
    ($type:ty { $($name:literal => $field:ident: $shape:ty $(, or $default:expr)?;)* }) => {
        impl Fields for $type {
            const NAMES: &'static [&'static str] = &[$($name),*];

            fn take<'de, A: MapAccess<'de>>(
                &mut self,
                field: &'static str,
                place: &Place<'_>,
                map: &mut A,
            ) -> Result<(), A::Error> {
                match field {
                    $($name => self.$field = place.value::<$shape, A>(map)?$(.unwrap_or($default))?,)*
                    _ => {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(())
            }
        }
    };
}

fields!(Document {
    "name" => name: Text;
    "description" => description: Text;
    "labels" => labels: Texts;
    "git_uri" => git_uri: Text;
    "git" => git: Optional<Git>;
    "app_icon" => app_icon: Text;
    "steps" => steps: List<Object<Step>>;
    "input" => input: Optional<Input>;
    "use_runtimes" => use_runtimes: Flag;
});

fields!(Git {
    "git_uri" => git_uri: Text;
    "git_branch" => git_branch: Text;
    "git_login" => git_login: Text;
    "git_password" => git_password: Hidden;
});

fields!(Step {
    "name" => name: Text;
    "description" => description: Text;
    "runtime" => runtime: Text;
    "runtime_manifest" => runtime_manifest: Text;
    "function" => function: Text;
    "package" => package: Text;
    "source" => source: Text;
    "input" => input: Optional<Input>;
    "privileged" => privileged: Flag, or false;
});

fields!(Input {
    "var" => var: List<Object<Var>>;
    "secret" => secret: List<Object<Secret>>;
    "key" => key: List<Object<Key>>;
    "file" => file: List<Object<File>>;
});

fields!(Var {
    "name" => name: Text;
    "description" => description: Text;
    "required" => required: Flag, or false;
    "type" => r#type: Text;
    "value" => value: Text;
    "default" => default: Text;
});

fields!(Secret {
    "name" => name: Text;
    "description" => description: Text;
    "required" => required: Flag, or false;
    "value" => value: Hidden;
});

fields!(Key {
    "name" => name: Text;
    "description" => description: Text;
    "private" => private: Flag, or false;
    "package_group" => package_group: Text;
    "package_name" => package_name: Text;
    "aggregate" => aggregate: Flag, or false;
    "value" => value: Hidden;
    "path" => path: Text;
});

fields!(File {
    "name" => name: Text;
    "description" => description: Text;
    "path" => path: Text;
    "content" => content: Hidden;
});
