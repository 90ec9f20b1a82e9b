//! The examples of Hooks, `examples/hooks`: each passes its own cases, is admitted and ready on the real API server, and
//! is told of where people look for it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use control_plane::Cluster;
use http::Request;
use providers::{PROVIDERS, Provider};
use serde_json::Value;

use super::scene::{Scene, condition};
use crate::{
    case::Case,
    cases,
    function::{executable, repository},
    support::objects::{name, named, names},
};

/// What the cases of an example show at least.
const OUTCOMES: [&str; 3] = ["Created", "Filtered", "Refused"];

pub(super) fn cases() -> Vec<Case> {
    cases![
        examples_pass_their_own_cases_of_each_kind,
        examples_are_admitted_and_ready,
        examples_start_the_runs_that_their_cases_tell_of,
        examples_give_pipelines_what_they_declare,
        examples_keep_parameters_out_of_scripts,
        examples_are_told_of_by_the_pages_of_their_providers,
    ]
}

/// The providers with an example.
fn shown() -> impl Iterator<Item = &'static Provider> {
    PROVIDERS
        .iter()
        .filter(|provider| provider.example.is_some())
}

fn folder(provider: &Provider) -> PathBuf {
    repository().join("examples/hooks").join(provider.name)
}

/// The documents of a file.
fn documents(path: PathBuf) -> Result<Vec<Value>> {
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_saphyr::from_multiple(&text).with_context(|| path.display().to_string())
}

/// The Hook of an example, and the Pipelines that follow it.
fn example(provider: &Provider) -> Result<(Value, Vec<Value>)> {
    let mut hook = documents(folder(provider).join("hook.yaml"))?;
    let pipelines = hook.split_off(1);
    let hook = hook.pop().context("a Hook")?;
    ensure!(
        hook["kind"] == "Hook" && hook["spec"]["provider"] == provider.name,
        "{}: {hook:#}",
        provider.name
    );
    Ok((hook, pipelines))
}

/// The cases of an example, with their files.
fn written(provider: &Provider) -> Result<Vec<(PathBuf, Value)>> {
    let folder = folder(provider);
    let mut cases = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let is_yaml = path.extension().is_some_and(|end| end == "yaml");
        if is_yaml && !path.ends_with("hook.yaml") {
            cases.push((path.clone(), documents(path)?.remove(0)));
        }
    }
    Ok(cases)
}

fn rules(hook: &Value) -> &[Value] {
    let rules = hook["spec"]["rules"].as_array();
    rules.map(Vec::as_slice).unwrap_or_default()
}

async fn examples_pass_their_own_cases_of_each_kind(_: Arc<Cluster>) -> Result<()> {
    for provider in shown() {
        let cases = written(provider)?;
        let seen: BTreeSet<&str> = cases
            .iter()
            .filter_map(|(_, case)| case["expect"]["outcome"].as_str())
            .collect();
        let lacks: Vec<_> = OUTCOMES
            .iter()
            .filter(|kind| !seen.contains(**kind))
            .collect();
        ensure!(lacks.is_empty(), "{}: no case of {lacks:?}", provider.name);
        let mut command = Command::new(executable());
        command
            .env_clear()
            .args(["hooks", "test", "-o", "json"])
            .arg(folder(provider));
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "{}: {output:?}", provider.name);
        let tested: Vec<Value> = serde_json::from_str(&text)?;
        ensure!(tested.len() == cases.len(), "{}: {text}", provider.name);
    }
    Ok(())
}

/// An example on the API server: its Hook, in a namespace of its own.
async fn installed(cluster: &Arc<Cluster>, provider: &Provider) -> Result<(Scene, Value)> {
    let (hook, pipelines) = example(provider)?;
    let scene = Scene::new(cluster).await?;
    for reference in hook["spec"]["verification"]["secretRefs"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let secret = reference["name"].as_str().context("a name")?;
        scene.secret(secret, "only-for-this-test").await?;
    }
    for object in pipelines.iter().chain([&hook]) {
        let (group, plural) = match object["kind"].as_str() {
            Some("Hook") => ("hookrun.dev/v1alpha1", "hooks"),
            _ => ("tekton.dev/v1", "pipelines"),
        };
        let namespace = &scene.namespace;
        // Strict: a misspelt field is an error.
        let uri = format!("/apis/{group}/namespaces/{namespace}/{plural}?fieldValidation=Strict");
        let request = Request::post(uri)
            .header("content-type", "application/json")
            .body(object.to_string().into_bytes())?;
        let created = cluster.admin().request::<Value>(request).await;
        created.with_context(|| format!("{}: {object:#}", provider.name))?;
    }
    Ok((scene, hook))
}

async fn examples_are_admitted_and_ready(cluster: Arc<Cluster>) -> Result<()> {
    for provider in shown() {
        let (scene, hook) = installed(&cluster, provider).await?;
        // The sweep is who looks at Pipelines and rights.
        scene.sweep(Duration::from_secs(30)).await?;
        let hook = scene.objects.get("Hook", name(&hook)).await?;
        let ready = condition(&hook, "Ready");
        ensure!(ready["status"] == "True", "{}: {ready:#}", provider.name);
    }
    Ok(())
}

/// Sends the request of a case, signed, and gives the answer.
async fn sent(scene: &Scene, hook: &str, url: &str, path: &Path, case: &Value) -> Result<Value> {
    let request = &case["request"];
    let body = match (&request["body"], request["bodyFile"].as_str()) {
        (_, Some(file)) => fs::read(path.with_file_name(file))?,
        (Value::String(text), None) => text.clone().into_bytes(),
        (json, None) => json.to_string().into_bytes(),
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("body");
    fs::write(&file, body)?;
    let mut command = Command::new(executable());
    let kubeconfig = scene.cluster.folder().join("admin.kubeconfig");
    command
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .env("HOOKRUN_NAMESPACE", &scene.namespace)
        .args(["hooks", "send", hook, "-o", "json", "--url", url, "--body"])
        .arg(file);
    for (name, value) in request["headers"].as_object().context("headers")? {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        command.arg("--header").arg(format!("{name}: {value}"));
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let answers: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(answers[0].clone())
}

async fn examples_start_the_runs_that_their_cases_tell_of(cluster: Arc<Cluster>) -> Result<()> {
    for provider in shown() {
        let (scene, hook) = installed(&cluster, provider).await?;
        let function = scene.function().await?;
        let (mut started, mut known) = (0, BTreeSet::new());
        for (path, case) in written(provider)? {
            let place = path.display().to_string();
            let expected = &case["expect"];
            if case["sign"] != true || expected["outcome"] == "Handshake" {
                continue;
            }
            let answer = sent(&scene, name(&hook), &function.url(), &path, &case).await?;
            ensure!(answer["status"] == 202, "{place}: {answer:#}");
            // A CloudEvent is answered without a body; the record is the same for all.
            let mut deliveries = scene.deliveries(name(&hook)).await?;
            deliveries.retain(|delivery| known.insert(name(delivery).to_owned()));
            ensure!(
                deliveries.len() == 1 && deliveries[0]["outcome"] == expected["outcome"],
                "{place}: {deliveries:#?}"
            );
            let runs = scene.runs(name(&hook)).await?;
            let rules = expected["rules"].as_array().into_iter().flatten();
            for rule in rules.filter(|rule| rule["outcome"] == "Created") {
                started += 1;
                let run = runs.iter().find(|run| gives(run, rule));
                run.with_context(|| format!("{place}: no run of {rule:#} in {runs:#?}"))?;
            }
            ensure!(runs.len() == started, "{place}: {} runs", runs.len());
        }
        ensure!(started > 0, "{}: no run", provider.name);
    }
    Ok(())
}

/// Whether a run is of this rule, and has the parameters that are expected of it.
fn gives(run: &Value, rule: &Value) -> bool {
    let params = rule["params"].as_object();
    run["metadata"]["annotations"]["hookrun.dev/rule"] == rule["name"]
        && params
            .into_iter()
            .flatten()
            .all(|(param, value)| named(&run["spec"]["params"], param)["value"] == *value)
}

/// What a rule starts: the spec of a Pipeline.
fn started<'a>(rule: &'a Value, pipelines: &'a [Value]) -> Result<&'a Value> {
    if let Some(run) = rule.get("pipelineRun") {
        return Ok(&run["spec"]["pipelineSpec"]);
    }
    let mut pipelines = pipelines.iter();
    let found = pipelines.find(|one| one["metadata"]["name"] == rule["pipelineRef"]["name"]);
    Ok(&found.with_context(|| format!("no Pipeline for {rule:#}"))?["spec"])
}

async fn examples_give_pipelines_what_they_declare(_: Arc<Cluster>) -> Result<()> {
    for provider in shown() {
        let (hook, pipelines) = example(provider)?;
        ensure!(!rules(&hook).is_empty(), "{}: no rules", provider.name);
        for rule in rules(&hook) {
            let spec = started(rule, &pipelines)?;
            let given = names(&rule["params"]);
            let declared = names(&spec["params"]);
            let strange: Vec<_> = given
                .iter()
                .filter(|name| !declared.contains(name))
                .collect();
            let missing: Vec<_> = declared
                .iter()
                .filter(|name| {
                    !given.contains(name) && named(&spec["params"], name)["default"].is_null()
                })
                .collect();
            let place = format!("{}, rule {}", provider.name, rule["name"]);
            ensure!(strange.is_empty(), "{place}: nothing declares {strange:?}");
            ensure!(missing.is_empty(), "{place}: nothing gives {missing:?}");
            if let Some(workspace) = rule["payload"]["workspace"].as_str() {
                ensure!(
                    names(&spec["workspaces"]) == [workspace],
                    "{place}: workspace {workspace}"
                );
            }
        }
    }
    Ok(())
}

/// Every script in a value, wherever it stands.
fn scripts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("script").and_then(Value::as_str));
            map.values().for_each(|value| scripts(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| scripts(value, found)),
        _ => {}
    }
}

/// Stands before a block that shows what not to do.
const NEVER: &str = "<!-- never -->\n```yaml\n";

/// The pages of a folder and of those in it.
fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            pages.extend(self::pages(&path)?);
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    Ok(pages)
}

/// The YAML that a page shows: blocks of their own, and what a command is given.
fn written_out(page: &str) -> impl Iterator<Item = &str> {
    let kinds = [("```yaml\n", "```"), ("<<'YAML'\n", "\nYAML\n")];
    kinds.into_iter().flat_map(|(begin, end)| {
        let blocks = page.split(begin).skip(1);
        blocks.filter_map(move |rest| rest.split(end).next())
    })
}

/// What Tekton inserts into a script is read by a shell: docs/hooks.md says why none of ours does that.
async fn examples_keep_parameters_out_of_scripts(_: Arc<Cluster>) -> Result<()> {
    let mut all = Vec::new();
    for provider in shown() {
        all.extend(documents(folder(provider).join("hook.yaml"))?);
    }
    let mut never = 0;
    let mut pages = pages(&repository().join("docs"))?;
    pages.push(repository().join("README.md"));
    for page in pages {
        let text = fs::read_to_string(&page)?;
        never += text.matches(NEVER).count();
        for block in written_out(&text.replace(NEVER, "")) {
            let documents = serde_saphyr::from_multiple::<Value>(block);
            all.extend(documents.with_context(|| format!("{}:\n{block}", page.display()))?);
        }
    }
    ensure!(never == 1, "{never} scripts that are not safe");
    let mut found = Vec::new();
    all.iter()
        .for_each(|document| scripts(document, &mut found));
    ensure!(found.len() > 5, "{} scripts", found.len());
    for script in found {
        for inserted in ["$(params", "$(tasks", "$(context"] {
            ensure!(!script.contains(inserted), "{inserted} in\n{script}");
        }
    }
    Ok(())
}

async fn examples_are_told_of_by_the_pages_of_their_providers(_: Arc<Cluster>) -> Result<()> {
    let examples = repository().join("examples/hooks");
    let mut folders = BTreeSet::new();
    for entry in fs::read_dir(&examples)? {
        folders.insert(entry?.file_name().to_string_lossy().into_owned());
    }
    let expected: BTreeSet<_> = shown().map(|provider| provider.name.to_owned()).collect();
    ensure!(
        folders == expected && folders.len() >= 10,
        "examples/hooks holds {folders:?}, the table knows {expected:?}"
    );
    let list = fs::read_to_string(repository().join("examples/README.md"))?;
    for provider in shown() {
        let name = provider.name;
        let page = fs::read_to_string(repository().join(format!("docs/providers/{name}.md")))?;
        ensure!(
            page.contains(&format!("(../../examples/hooks/{name}/hook.yaml)")),
            "docs/providers/{name}.md does not name its example: `cargo xtask generate` writes it"
        );
        for link in [
            format!("(hooks/{name}/hook.yaml)"),
            format!("(../docs/providers/{name}.md)"),
        ] {
            ensure!(
                list.contains(&link),
                "examples/README.md does not link {link}"
            );
        }
        let hook = fs::read_to_string(folder(provider).join("hook.yaml"))?;
        ensure!(
            hook.contains(&format!("docs/providers/{name}.md")),
            "examples/hooks/{name}/hook.yaml does not name its page"
        );
    }
    Ok(())
}
