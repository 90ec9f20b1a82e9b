//! A document as people may read it: known fields, in the spelling in which the original answers, no secrets.

use serde_json::{Map, Value, json};

use super::{Document, File, Git, Input, Key, REDACTED, Secret, Step, Var, lower::without_login};

impl Document {
    /// The document without its secrets; unknown fields were dropped when it was read.
    pub fn redacted(&self) -> Value {
        let Self {
            name,
            description,
            labels,
            git_uri,
            git,
            app_icon,
            steps,
            input,
            use_runtimes,
        } = self;
        let mut object = Map::new();
        object.insert("Name".to_owned(), json!(name));
        object.insert("Description".to_owned(), json!(description));
        object.insert("labels".to_owned(), json!(labels));
        put(&mut object, "git_uri", &without_login(git_uri));
        if let Some(git) = git {
            object.insert("git".to_owned(), redact_git(git));
        }
        put(&mut object, "app_icon", app_icon);
        let steps = steps
            .as_ref()
            .map(|steps| steps.iter().map(redact_step).collect());
        object.insert("steps".to_owned(), steps.unwrap_or(Value::Null));
        put_input(&mut object, input.as_ref());
        if let Some(use_runtimes) = use_runtimes {
            object.insert("use_runtimes".to_owned(), json!(use_runtimes));
        }
        Value::Object(object)
    }
}

/// A text, left out where empty.
fn put(object: &mut Map<String, Value>, field: &str, text: &str) {
    if !text.is_empty() {
        object.insert(field.to_owned(), json!(text));
    }
}

fn put_input(object: &mut Map<String, Value>, input: Option<&Input>) {
    if let Some(input) = input {
        object.insert("input".to_owned(), redact_input(input));
    }
}

/// Hides a value; an empty one hides nothing, and that it is empty helps whoever looks for a mistake.
fn hidden(value: &str) -> &str {
    if value.is_empty() { value } else { REDACTED }
}

fn redact_git(
    Git {
        git_uri,
        git_branch,
        git_login,
        git_password,
    }: &Git,
) -> Value {
    let mut object = Map::new();
    put(&mut object, "git_uri", &without_login(git_uri));
    put(&mut object, "git_branch", git_branch);
    put(&mut object, "git_login", git_login);
    put(&mut object, "git_password", hidden(git_password));
    Value::Object(object)
}

fn redact_step(step: &Step) -> Value {
    let Step {
        name,
        description,
        runtime,
        runtime_manifest,
        function,
        package,
        source,
        input,
        privileged,
    } = step;
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(name));
    let texts = [
        ("description", description),
        ("runtime", runtime),
        ("runtime_manifest", runtime_manifest),
        ("function", function),
        ("package", package),
        ("source", source),
    ];
    for (field, text) in texts {
        put(&mut object, field, text);
    }
    put_input(&mut object, input.as_ref());
    object.insert("privileged".to_owned(), json!(privileged));
    Value::Object(object)
}

fn redact_input(
    Input {
        var,
        secret,
        key,
        file,
    }: &Input,
) -> Value {
    let mut object = Map::new();
    let lists = [
        (
            "var",
            var.as_ref().map(|list| list.iter().map(show_var).collect()),
        ),
        (
            "secret",
            secret
                .as_ref()
                .map(|list| list.iter().map(redact_secret).collect()),
        ),
        (
            "key",
            key.as_ref()
                .map(|list| list.iter().map(redact_key).collect()),
        ),
        (
            "file",
            file.as_ref()
                .map(|list| list.iter().map(show_file).collect()),
        ),
    ];
    for (field, list) in lists {
        if let Some(list) = list {
            object.insert(field.to_owned(), Value::Array(list));
        }
    }
    Value::Object(object)
}

fn show_var(
    Var {
        name,
        description,
        required,
        r#type,
        value,
        default,
    }: &Var,
) -> Value {
    json!({
        "name": name, "description": description, "required": required, "type": r#type, "value": value, "default": default,
    })
}

fn redact_secret(
    Secret {
        name,
        description,
        required,
        value,
    }: &Secret,
) -> Value {
    json!({"name": name, "description": description, "required": required, "value": hidden(value)})
}

fn redact_key(key: &Key) -> Value {
    let Key {
        name,
        description,
        private,
        package_group,
        package_name,
        aggregate,
        value,
        path,
    } = key;
    json!({
        "Name": name, "Description": description, "Private": private, "package_group": package_group,
        "package_name": package_name, "aggregate": aggregate, "value": hidden(value), "path": path,
    })
}

fn show_file(
    File {
        name,
        description,
        path,
        content,
    }: &File,
) -> Value {
    json!({"Name": name, "Description": description, "Path": path, "Content": content})
}
