//! One task: its steps in a pod, the folders they see, the values they are given.

use std::collections::{BTreeMap, HashSet};

use super::{
    CONTEXT, Payload, Place, clone,
    data::{Part, Slot},
    pipeline::{duration, param_type, result_of},
};
use crate::{
    flow::{self, Env, EnvValue, Flow, Operand, PayloadFile, Privilege, SecretKey, Task},
    name::Label,
    tekton::{
        EnvVar, EnvVarSource, Param, ParamSpec, ParamType, ParamValue, Projection, SecretKeyRef,
        SecretProjection, SecurityContext, Step, TaskResult, TaskSpec, Volume, VolumeMount,
        VolumeSource,
    },
};

/// The folder that all steps of a task share and start in.
pub(super) const SOURCE_FOLDER: &str = "/workspace/source";

/// The start command of our own image.
const HOOKRUN: &str = "/hookrun";

/// Where the fetch step finds the flow's own files, to lay them beside the payload.
const OWN_FILES: &str = "/flow-files";

/// A task as it is written, and what that takes.
pub(super) struct Written {
    /// The task.
    pub(super) spec: TaskSpec,
    /// What its pipeline must give it.
    pub(super) params: Vec<Param>,
}

/// Writes a task; the sets that it uses are added to `used`.
pub(super) fn write(
    task: &Task,
    flow: &Flow,
    base: &Label,
    place: &Place<'_>,
    used: &mut HashSet<String>,
) -> Written {
    let mut writer = Writer {
        flow,
        base,
        place,
        used,
        needs: BTreeMap::new(),
    };
    let mut steps = Vec::with_capacity(task.steps.len() + 2);
    if let Some((file, url_secret)) = place.remote(flow) {
        steps.push(fetch(task, file, url_secret, place, writer.used));
    }
    if let Some(source) = &task.source {
        steps.push(clone::step(task, source, place, &mut writer));
    }
    steps.extend(task.steps.iter().map(|step| writer.step(step, task)));
    let needs = writer.needs;
    let (params, values) = needs.into_values().unzip();
    let results = task
        .results
        .iter()
        .map(|flow::TaskResult { name, description }| TaskResult {
            name: name.clone(),
            description: description.clone(),
        });
    let spec = TaskSpec {
        params,
        results: results.collect(),
        volumes: volumes(flow, place, &steps),
        steps,
    };
    Written {
        spec,
        params: values,
    }
}

/// Writes steps and notes what they use.
pub(super) struct Writer<'a> {
    flow: &'a Flow,
    base: &'a Label,
    place: &'a Place<'a>,
    used: &'a mut HashSet<String>,
    /// Parameters of the task by name, with the value that its pipeline gives.
    needs: BTreeMap<String, (ParamSpec, Param)>,
}

impl Writer<'_> {
    fn step(&mut self, step: &flow::Step, task: &Task) -> Step {
        let flow::Step {
            name,
            image,
            command,
            args,
            env,
            mounts,
            privilege,
            timeout,
        } = step;
        let slot = |part| Slot {
            task: task.name.as_str(),
            step: name.as_str(),
            part,
        };
        let mut variables: Vec<_> = env
            .iter()
            .map(|Env { name, value }| self.env_var(name, value, &slot(Part::Env(name))))
            .collect();
        let mut words =
            |operands: &[Operand], part: fn(usize) -> Part<'static>, prefix: &str| -> Vec<String> {
                let word = |(at, operand)| match self.carried(&slot(part(at))) {
                    // The kubelet replaces this by the variable's value, and looks no further.
                    Some(source) => {
                        let name = format!("HOOKRUN_{prefix}_{at}");
                        let word = format!("$({name})");
                        variables.push(EnvVar {
                            name,
                            value: None,
                            value_from: Some(source),
                        });
                        word
                    }
                    None => self.word(operand),
                };
                operands.iter().enumerate().map(word).collect()
            };
        let command = words(command, Part::Command, "COMMAND");
        let args = words(args, Part::Arg, "ARG");
        Step {
            name: name.clone(),
            image: image.clone(),
            command,
            args,
            env: variables,
            script: None,
            working_dir: SOURCE_FOLDER,
            security_context: match privilege {
                Privilege::None => None,
                Privilege::Root => Some(SecurityContext {
                    privileged: true,
                    run_as_non_root: false,
                    run_as_user: 0,
                }),
            },
            volume_mounts: self.mounts(mounts),
            timeout: timeout.map(duration),
        }
    }

    /// A variable; a text that must not stand here comes from where it travels.
    pub(super) fn env_var(&mut self, name: &str, value: &EnvValue, slot: &Slot<'_>) -> EnvVar {
        let name = name.to_owned();
        let from = |source| EnvVar {
            name: name.clone(),
            value: None,
            value_from: Some(source),
        };
        if let Some(source) = self.carried(slot) {
            return from(source);
        }
        match value {
            EnvValue::Operand(operand) => {
                let word = self.word(operand);
                EnvVar {
                    name,
                    value: (!word.is_empty()).then_some(word),
                    value_from: None,
                }
            }
            EnvValue::Data { set, entry } => from(self.entry(set.as_str(), entry)),
            EnvValue::Secret(SecretKey { name, key }) => from(EnvVarSource {
                secret_key_ref: SecretKeyRef {
                    name: name.clone(),
                    key: key.clone(),
                },
            }),
        }
    }

    fn carried(&mut self, slot: &Slot<'_>) -> Option<EnvVarSource> {
        let (set, entry) = self.place.data.carried(slot)?;
        Some(self.entry(set, &entry))
    }

    fn entry(&mut self, set: &str, entry: &str) -> EnvVarSource {
        self.used.insert(set.to_owned());
        EnvVarSource {
            secret_key_ref: SecretKeyRef {
                name: self.place.secrets.name(set),
                key: entry.to_owned(),
            },
        }
    }

    /// A text, or what Tekton puts in its place.
    fn word(&mut self, operand: &Operand) -> String {
        match operand {
            Operand::Text(text) => text.clone(),
            Operand::Parameter(name) => {
                let declared = self
                    .flow
                    .parameters
                    .iter()
                    .find(|parameter| parameter.name == *name);
                let r#type = declared.map_or(ParamType::String, param_type);
                let all = if r#type == ParamType::String {
                    ""
                } else {
                    "[*]"
                };
                let word = format!("$(params.{name}{all})");
                self.need(name.clone(), r#type, declared, word.clone());
                word
            }
            // A dot keeps these apart from the flow's own parameters, whose names have none.
            Operand::Result { task, result } => {
                let name = format!("result.{task}.{result}");
                let word = format!("$(params[\"{name}\"])");
                self.need(
                    name,
                    ParamType::String,
                    None,
                    result_of(self.base, task, result),
                );
                word
            }
            Operand::ResultPath(result) => format!("$(results.{result}.path)"),
        }
    }

    fn need(
        &mut self,
        name: String,
        r#type: ParamType,
        declared: Option<&flow::Parameter>,
        value: String,
    ) {
        let value = match r#type {
            ParamType::Array => ParamValue::Array(vec![value]),
            ParamType::String | ParamType::Object => ParamValue::String(value),
        };
        let spec = ParamSpec {
            name: name.clone(),
            r#type,
            description: String::new(),
            properties: declared
                .map(super::pipeline::properties)
                .unwrap_or_default(),
            default: None,
        };
        self.needs
            .entry(name.clone())
            .or_insert((spec, Param { name, value }));
    }

    /// The folders that a step sees; with a payload, the payload's among them.
    fn mounts(&mut self, mounts: &[Label]) -> Vec<VolumeMount> {
        let payload = self.place.payload_file(self.flow);
        let mut seen: Vec<VolumeMount> = Vec::new();
        for set in mounts {
            let folder = self.place.data.set(set.as_str()).and_then(|set| set.folder);
            if let Some(folder) = folder {
                self.used.insert(set.to_string());
                seen.push(VolumeMount {
                    name: volume_name(set.as_str()),
                    mount_path: folder.to_owned(),
                });
            }
        }
        if let Some(PayloadFile {
            set,
            folder,
            entry: _,
        }) = payload
        {
            let name = volume_name(set.as_str());
            if !seen.iter().any(|mount| mount.name == name) {
                seen.push(VolumeMount {
                    name,
                    mount_path: folder.clone(),
                });
            }
            self.used.insert(set.to_string());
        }
        seen
    }
}

/// The step that fetches a remote payload, checks it, and lays the flow's own files beside it.
fn fetch(
    task: &Task,
    file: &PayloadFile,
    secret: String,
    place: &Place<'_>,
    used: &mut HashSet<String>,
) -> Step {
    let PayloadFile { set, folder, entry } = file;
    let variable = |name: &str, key: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            secret_key_ref: SecretKeyRef {
                name: secret.clone(),
                key: key.to_owned(),
            },
        }),
    };
    let mut args = vec![
        "fetch".to_owned(),
        "--to".to_owned(),
        format!("{folder}/{entry}"),
    ];
    let mut volume_mounts = vec![VolumeMount {
        name: volume_name(set.as_str()),
        mount_path: folder.clone(),
    }];
    if place.data.set(set.as_str()).is_some() {
        used.insert(set.to_string());
        args.extend(["--files".to_owned(), OWN_FILES.to_owned()]);
        volume_mounts.push(VolumeMount {
            name: own_volume(set),
            mount_path: OWN_FILES.to_owned(),
        });
    }
    Step {
        name: clone::free_name("fetch", task),
        image: place.settings.fetch_image.clone(),
        command: vec![HOOKRUN.to_owned()],
        args,
        env: vec![
            variable("HOOKRUN_FETCH_URL", super::run::URL),
            variable("HOOKRUN_FETCH_DIGEST", super::run::DIGEST),
            variable("HOOKRUN_FETCH_SIZE", super::run::SIZE),
        ],
        script: None,
        working_dir: SOURCE_FOLDER,
        security_context: None,
        volume_mounts,
        timeout: None,
    }
}

fn volume_name(set: &str) -> String {
    format!("{set}-volume")
}

/// The volume of a flow's own files where another one shows them together with the payload.
fn own_volume(set: &Label) -> String {
    format!("{set}-own-volume")
}

/// The task's folders: all of the flow's where people read it, those that are mounted where it runs.
fn volumes(flow: &Flow, place: &Place<'_>, steps: &[Step]) -> Vec<Volume> {
    let mounted: HashSet<&str> = steps
        .iter()
        .flat_map(|step| &step.volume_mounts)
        .map(|mount| mount.name.as_str())
        .collect();
    let payload = place.payload_file(flow);
    let of_set = |name: &str| VolumeSource::Secret {
        secret_name: place.secrets.name(name),
    };
    let mut volumes = Vec::new();
    for set in place.data.sets().filter(|set| set.folder.is_some()) {
        let name = volume_name(set.name);
        let shows_payload = payload.is_some_and(|file| file.set.as_str() == set.name);
        if !shows_payload && (place.secrets.are_latest() || mounted.contains(name.as_str())) {
            volumes.push(Volume {
                name,
                source: of_set(set.name),
            });
        }
    }
    let Some(PayloadFile { set, .. }) = payload else {
        return volumes;
    };
    let own = place
        .data
        .set(set.as_str())
        .map(|set| place.secrets.name(set.name));
    let name = volume_name(set.as_str());
    if place.is_remote() {
        volumes.push(Volume {
            name,
            source: VolumeSource::EmptyDir {},
        });
        volumes.extend(own.map(|_| Volume {
            name: own_volume(set),
            source: of_set(set.as_str()),
        }));
    } else {
        let names = own.into_iter().chain([place.secrets.name(CONTEXT)]);
        let sources = names
            .map(|name| Projection {
                secret: SecretProjection { name },
            })
            .collect();
        volumes.push(Volume {
            name,
            source: VolumeSource::Projected { sources },
        });
    }
    volumes
}

impl<'a> Place<'a> {
    fn is_remote(&self) -> bool {
        matches!(self.payload, Some(Payload::Remote { .. }))
    }

    /// The file that holds the payload, where there is one.
    fn payload_file<'f>(&self, flow: &'f Flow) -> Option<&'f PayloadFile> {
        self.payload.and(flow.payload.as_ref())
    }

    /// The payload's file and the Secret that says where it lies, where it lies elsewhere.
    fn remote<'f>(&self, flow: &'f Flow) -> Option<(&'f PayloadFile, String)> {
        let file = self.payload_file(flow)?;
        self.is_remote().then(|| (file, self.secrets.name(CONTEXT)))
    }
}
