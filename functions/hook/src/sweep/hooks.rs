//! Looking at every Hook, so that its status says whether it is ready.

use cluster::{Cluster, Fault, Kind, Listing, Page};
use deliveries::{
    resource::{HOOKS, PIPELINES},
    rights,
};
use futures_util::future::join_all;
use hooks::{Hook, Rule, hook::PipelineRef};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{AT_ONCE, Sweep};
use crate::{
    known::{Known, Place},
    service::Service,
    status, warning,
};

/// Hooks on one page, which shows them whole.
const HOOKS_PAGE: usize = 100;

/// Hooks that are looked at by every sweep; of more, each in its minute of the hour.
const ALWAYS: usize = 200;

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

impl Sweep<'_> {
    /// Looks at all Hooks, page by page.
    pub(super) async fn hooks(&mut self, namespace: Option<&str>) -> Result<(), Fault> {
        let mut from = String::new();
        loop {
            let listing = Listing {
                namespace,
                limit: HOOKS_PAGE,
                from: &from,
                ..Listing::default()
            };
            let whole = self.service.patience.event;
            let Page { items, next } = self.page::<Value>(whole, HOOKS, listing).await?;
            for group in items.chunks(AT_ONCE) {
                let always = self.swept.hooks < ALWAYS;
                let looked = join_all(group.iter().map(|hook| self.hook(hook, always))).await;
                for (result, object) in looked.into_iter().zip(group) {
                    self.swept.hooks += 1;
                    self.remember(object);
                    if let Err(fault) = result {
                        self.note(fault.to_string());
                    }
                }
            }
            match next {
                Some(next) if self.goes_on() => from = next,
                _ => return Ok(()),
            }
        }
    }

    fn remember(&mut self, object: &Value) {
        let retention = serde_json::from_value(object["spec"]["retention"].clone());
        let text = |field: &str| {
            object["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let key = (text("namespace"), text("name"));
        self.retentions.insert(key, retention.unwrap_or_default());
    }

    /// Brings the status of one Hook up to date, where it may be out of date.
    async fn hook(&self, object: &Value, always: bool) -> Result<(), Fault> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let Ok(namespace) = text("namespace").parse() else {
            return Ok(());
        };
        let place = Place {
            namespace,
            name: text("name").to_owned(),
        };
        if !always && !is_due(object, &place, self.now) {
            return Ok(());
        }
        let cluster = self.cluster();
        let known = Known::of(&cluster, &place, object.clone(), None).await?;
        let around = around(&cluster, self.service, &place, &known.hook).await?;
        let address = self.service.registry.address(&place);
        let (status, news) = status::settled(&address, &known, Some(&around), self.now);
        if news {
            // Over the edition that was listed: an event may have told of a refusal meanwhile.
            let edition = &known.hook.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": edition}, "status": status});
            match status::write(&cluster, &place, &patch).await {
                Err(fault) if fault.kind == Kind::Conflict => return Ok(()),
                written => written?,
            }
            let uid = &known.hook.metadata.uid;
            warning::tell_of_hook(self.service, place, uid, &status, self.now).await;
        }
        Ok(())
    }
}

/// Whether the status of a Hook may be out of date: it is about another edition, it says that something is wrong, or it is
/// this Hook's minute of the hour.
fn is_due(object: &Value, place: &Place, now: Timestamp) -> bool {
    let status = &object["status"];
    let conditions = status["conditions"].as_array();
    let ready = conditions.is_some_and(|conditions| {
        let mut conditions = conditions.iter();
        conditions.any(|one| one["type"] == "Ready" && one["status"] == "True")
    });
    let minute = now.as_millisecond().div_euclid(MINUTE).rem_euclid(60);
    let own: i64 = place.name.bytes().map(i64::from).sum::<i64>() % 60;
    !ready || status["observedGeneration"] != object["metadata"]["generation"] || minute == own
}

/// What is wrong around a Hook: Pipelines that do not exist or do not take the payload, rights that are lacking.
async fn around(
    cluster: &Cluster,
    service: &Service,
    place: &Place,
    hook: &Hook,
) -> Result<Vec<String>, Fault> {
    let namespace = place.namespace.as_str();
    let mut wrong = Vec::new();
    let account = &hook.spec.service_account_name;
    if !hook.spec.rules.is_empty()
        && !service
            .deliveries
            .rights
            .may_start(cluster, namespace, account)
            .await?
    {
        let lacking = rights::lacking(namespace, account);
        wrong.push(format!("spec.serviceAccountName: {lacking}"));
    }
    for (at, rule) in hook.spec.rules.iter().enumerate() {
        let here = format!("spec.rules[{at}]");
        let spec = match executes(rule) {
            Executes::Pipeline { name, field } => {
                let found: Option<Value> = cluster.find(PIPELINES, namespace, name).await?;
                let Some(pipeline) = found else {
                    wrong.push(format!(
                        "{here}.{field}: there is no Pipeline {name:?} in namespace {namespace:?}; create it"
                    ));
                    continue;
                };
                pipeline["spec"].clone()
            }
            Executes::Spec(spec) => spec.clone(),
            Executes::Elsewhere => continue,
        };
        let workspaces = spec["workspaces"].as_array();
        let declared = |workspace: &str| {
            workspaces.is_some_and(|declared| declared.iter().any(|one| one["name"] == workspace))
        };
        if let Some(target) = rule
            .payload
            .as_ref()
            .filter(|target| !declared(&target.workspace))
        {
            wrong.push(format!(
                "{here}.payload.workspace: the Pipeline does not declare the workspace {:?}; declare it there",
                target.workspace
            ));
        }
    }
    Ok(wrong)
}

/// What the run of a rule executes.
enum Executes<'a> {
    /// A Pipeline of the namespace, named by this field of the rule.
    Pipeline { name: &'a str, field: &'static str },
    /// What the template says itself.
    Spec(&'a Value),
    /// A flow, or what a resolver finds.
    Elsewhere,
}

fn executes(rule: &Rule) -> Executes<'_> {
    if let Some(PipelineRef { name }) = &rule.pipeline_ref {
        return Executes::Pipeline {
            name,
            field: "pipelineRef",
        };
    }
    let Some(spec) = rule.pipeline_run.as_ref().map(|template| &template["spec"]) else {
        return Executes::Elsewhere;
    };
    match (&spec["pipelineSpec"], spec["pipelineRef"]["name"].as_str()) {
        (written @ Value::Object(_), _) => Executes::Spec(written),
        (_, Some(name)) => Executes::Pipeline {
            name,
            field: "pipelineRun.spec.pipelineRef",
        },
        (_, None) => Executes::Elsewhere,
    }
}
