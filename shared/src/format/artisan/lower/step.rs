//! One step: its container, its environment, its folders.

use std::collections::HashMap;

use super::super::{Input, Secret, Step, Var};
use super::{Notes, at_step, data, label};
use crate::{
    flow::{self, Env, EnvValue, Operand, Privilege},
    format::Lowering,
    image::is_image,
    name::{is_label, is_variable_name},
    problem::{Kind, Path, shortened},
};

/// What Tekton leaves of a container's name: it puts `step-` before it.
const NAME_MAX: usize = 58;

/// Linux takes no longer `NAME=value` for a process.
const VARIABLE_MAX: usize = 128 * 1024 - 1;

/// The environment variables by which the runtime image knows what to do.
const FUNCTION: &str = "OXART_FX_NAME";
const PACKAGE: &str = "OXART_PACKAGE_NAME";
const SOURCE: &str = "OXART_PACKAGE_SOURCE";
const REGISTRY: [&str; 2] = ["OXART_REG_USER", "OXART_REG_PWD"];

/// What inputs of users may not begin with.
const RESERVED: &str = "OXART_";

/// Checks what step names must be together.
pub(super) fn check_names(steps: &[Step], notes: &Notes) {
    let mut seen = HashMap::with_capacity(steps.len());
    for (index, Step { name, .. }) in steps.iter().enumerate() {
        let here = || at_step(index, "name");
        if name.is_empty() {
            notes.add(here, || Kind::MissingStepName);
        } else if !is_label(name) || name.len() > NAME_MAX {
            notes.add(here, || Kind::IllegalStepName {
                name: shortened(name),
            });
        } else if let Some(first) = seen.insert(name.as_str(), index) {
            seen.insert(name.as_str(), first);
            notes.add(here, || Kind::DuplicateStepName {
                name: shortened(name),
                first,
            });
        }
    }
}

/// A step, its inputs added to the flow's data.
pub(super) fn lower(
    index: usize,
    step: Step,
    options: &Lowering,
    data: &mut data::Sets<'_>,
    notes: &Notes,
) -> flow::Step {
    let Step {
        name,
        description: _,
        runtime,
        runtime_manifest: _,
        function,
        package,
        source,
        input,
        privileged,
    } = step;
    let mut environment = Environment {
        env: Vec::new(),
        notes,
    };
    let mut mounts = Vec::new();
    let Input {
        var,
        secret,
        key,
        file,
    } = input.unwrap_or_default();
    let here = |list: &'static str, at: usize, field: &'static str| {
        move || at_step(index, "input").field(list).index(at).field(field)
    };

    for (
        at,
        Var {
            name,
            value,
            description: _,
            required: _,
            r#type: _,
            default: _,
        },
    ) in var.into_iter().flatten().enumerate()
    {
        environment.check_name("a variable", &name, true, here("var", at, "name"));
        environment.add_text(name, value, data, here("var", at, "value"));
    }
    if let Some(secrets) = secret {
        data.open_creds();
        for (
            at,
            Secret {
                name,
                value,
                description: _,
                required: _,
            },
        ) in secrets.into_iter().enumerate()
        {
            let registry = REGISTRY.into_iter().find(|known| name.ends_with(known));
            match registry {
                // The variable has a name of its own; the secret's only has to fit a Secret.
                Some(_) if is_registry_login(&name) => {
                    data.check(&name, here("secret", at, "name"))
                }
                Some(_) | None => {
                    environment.check_name("a secret", &name, true, here("secret", at, "name"))
                }
            }
            let variable = registry.map_or_else(|| name.clone(), str::to_owned);
            environment.check_value(&variable, &value, here("secret", at, "value"));
            let value = data.add_secret(&name, value);
            environment.add(variable, value);
        }
    }
    if let Some(keys) = key {
        data.open_keys();
        if !keys.is_empty() {
            mounts.push(data::keys());
        }
        for (at, mut key) in keys.into_iter().enumerate() {
            environment.check_name("a key", &key.name, false, here("key", at, "name"));
            let value = std::mem::take(&mut key.value);
            data.add_key(&key, value, here("key", at, "package_group"));
            environment.add_text(key.name, key.path, data, here("key", at, "path"));
        }
    }
    if let Some(files) = file {
        data.open_files();
        if !files.is_empty() {
            mounts.push(data::files());
        }
        for (at, file) in files.into_iter().enumerate() {
            data.add_file(file, here("file", at, "path"));
        }
    }
    // The runtime looks at the source only together with a package.
    let source = if package.is_empty() {
        String::new()
    } else {
        source
    };
    for (variable, field, value) in [
        (FUNCTION, "function", function),
        (PACKAGE, "package", package),
        (SOURCE, "source", source),
    ] {
        if !value.is_empty() {
            environment.add_text(variable.to_owned(), value, data, || at_step(index, field));
        }
    }

    flow::Step {
        name: name.parse().unwrap_or_else(|_| label("illegal")), // a problem by now
        image: image(index, runtime, options, notes),
        command: Vec::new(),
        args: Vec::new(),
        env: environment.finish(),
        mounts,
        privilege: if privileged {
            Privilege::Root
        } else {
            Privilege::None
        },
        timeout: None,
    }
}

/// The names that the Artisan CLI gives to the logins of registries, whatever the flow is called.
fn is_registry_login(name: &str) -> bool {
    REGISTRY.iter().any(|known| {
        name.strip_suffix(known)
            .is_some_and(|rest| rest.len() > 1 && rest.ends_with('_'))
    })
}

/// The step's image: short names get the configured prefix, as the CLI does when it fills a flow.
fn image(index: usize, runtime: String, options: &Lowering, notes: &Notes) -> String {
    let here = || at_step(index, "runtime");
    if runtime.trim().is_empty() {
        notes.add(here, || Kind::MissingRuntime);
        return runtime;
    }
    let image = match &options.runtime_prefix {
        Some(prefix) if !runtime.contains('/') => {
            format!(
                "{}/{}",
                prefix.trim_end_matches('/'),
                runtime.to_lowercase()
            )
        }
        Some(_) | None => runtime,
    };
    if !is_image(&image) {
        notes.add(here, || Kind::IllegalImage {
            image: shortened(&image),
        });
    }
    image
}

/// A step's variables in the order of the document. Of several with one name the last counts, as in a container.
struct Environment<'a> {
    env: Vec<Env>,
    notes: &'a Notes,
}

impl Environment<'_> {
    /// What an input may be called; `free` inputs may not take the runtime's own names.
    fn check_name(&self, what: &'static str, name: &str, free: bool, here: impl FnOnce() -> Path) {
        let kind = if name.is_empty() {
            Kind::MissingInputName { what }
        } else if free && name.starts_with(RESERVED) {
            Kind::ReservedName {
                name: shortened(name),
            }
        } else if !is_variable_name(name) || name.len() > 253 {
            Kind::IllegalVariableName {
                name: shortened(name),
            }
        } else {
            return;
        };
        self.notes.add(here, || kind);
    }

    /// What an environment variable can hold.
    fn check_value(&self, name: &str, value: &str, here: impl FnOnce() -> Path) {
        let limit = VARIABLE_MAX.saturating_sub(name.len() + 1);
        if value.len() > limit {
            self.notes.add(here, || Kind::ValueTooLong {
                length: value.len(),
                limit,
            });
        } else if value.contains('\0') {
            self.notes.add(here, || Kind::NulInValue);
        }
    }

    fn add_text(
        &mut self,
        name: String,
        value: String,
        data: &mut data::Sets<'_>,
        here: impl FnOnce() -> Path,
    ) {
        self.check_value(&name, &value, here);
        data.literal(&value);
        self.add(name, EnvValue::Operand(Operand::Text(value)));
    }

    fn add(&mut self, name: String, value: EnvValue) {
        self.env.push(Env { name, value });
    }

    /// Keeps the last of each name, in one pass.
    fn finish(self) -> Vec<Env> {
        let last: HashMap<String, usize> = self
            .env
            .iter()
            .enumerate()
            .map(|(index, env)| (env.name.clone(), index))
            .collect();
        if last.len() == self.env.len() {
            return self.env;
        }
        let kept = |(index, env): &(usize, Env)| last.get(&env.name) == Some(index);
        self.env
            .into_iter()
            .enumerate()
            .filter(kept)
            .map(|(_, env)| env)
            .collect()
    }
}
