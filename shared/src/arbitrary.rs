//! Generators of documents, for property tests here and for those that send documents to real parts.
//!
//! [`artisan`] gives documents that are accepted by construction, with texts that try to break out of wherever they
//! end up: YAML, shell, Tekton's variables, the kubelet's. [`json()`] gives any JSON, of which nearly nothing is a flow.
//!
//! Not part of the product: the feature `arbitrary` is off unless a test turns it on.

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use serde_json::{Map, Value, json};

/// Documents of the Artisan format that are accepted: all ways of using sources, names and texts.
///
/// They ask for the namespace given.
pub fn artisan(namespace: &'static str) -> impl Strategy<Value = Value> {
    let plain = (flow_name(), inputs(), any::<bool>());
    (
        plain,
        prop_oneof![git(), transient(), persistent(), script()],
    )
        .prop_map(move |((name, input, loud), (extra, steps))| {
            let mut document = Map::new();
            document.insert("name".to_owned(), json!(name));
            document.insert(
                "description".to_owned(),
                json!("what it is for: $(params.none)"),
            );
            document.insert(
                "labels".to_owned(),
                json!({"namespace": namespace, "tier": "lab"}),
            );
            document.extend(extra);
            document.insert("steps".to_owned(), Value::Array(steps));
            document.insert("input".to_owned(), input);
            let document = Value::Object(document);
            if loud { shout(document) } else { document }
        })
}

type Parts = (Map<String, Value>, Vec<Value>);

/// Any JSON that a stack can hold.
pub fn json() -> impl Strategy<Value = Value> {
    let field = prop_oneof![
        select(vec![
            "name",
            "Name",
            "labels",
            "namespace",
            "steps",
            "input",
            "var",
            "secret",
            "key",
            "file",
            "value",
            "path",
            "git",
            "git_uri",
            "git_branch",
            "source",
            "package",
            "function",
            "runtime",
            "privileged",
            "spec",
            "tasks",
            "taskRef",
            "params",
            "workspaces",
            "metadata",
            "default",
            "taskSpec",
        ])
        .prop_map(str::to_owned),
        ".{0,8}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((field.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Texts that mean something to YAML, shells, Tekton or the kubelet; none holds NUL.
fn text() -> impl Strategy<Value = String> {
    let tricky = select(vec![
        "",
        " ",
        "yes",
        "0x1F",
        "1e3",
        "~",
        "null",
        "- a",
        "a: b",
        "#",
        "$HOME",
        "$$",
        "$$(PATH)",
        "$(PATH)",
        "$(params.deployment-name)",
        "$(params.none)",
        "$(tasks.a.results.b)",
        "$(steps.a.results.b)",
        "$(steps.a.outputs.b)",
        "$(context.taskRun.name)",
        "$(workspaces.a.path)",
        "$(results.a.path)",
        "$(",
        "$()",
        "`id`",
        "';id;'",
        "\"",
        "\\",
        "\n",
        "line\nbreak\n",
        "\r\n",
        "\t",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "ä🦀",
        "--help",
        "{{a}}",
        "%s",
    ])
    .prop_map(str::to_owned);
    prop_oneof![3 => tricky.clone(), 1 => "[^\u{0}]{0,40}", 1 => (tricky, "[ -~]{0,9}").prop_map(|(a, b)| a + &b)]
}

fn flow_name() -> impl Strategy<Value = String> {
    let any = "[^\u{0}]{1,60}".prop_filter("accepted", |name: &String| {
        !name.contains("$(") && !name.trim().is_empty()
    });
    prop_oneof![
        "[A-Za-z][A-Za-z ]{0,28}[a-z]",
        any,
        Just("x".repeat(1024)),
        Just("---".to_owned())
    ]
}

/// Step names of one flow: different, also from what we would like to call our own steps.
fn step_names(count: usize) -> impl Strategy<Value = Vec<String>> {
    let name = prop_oneof![
        "[a-z]([a-z0-9-]{0,20}[a-z0-9])?",
        select(vec!["clone", "fetch", "clone-2"]).prop_map(str::to_owned),
        Just("s".repeat(57)),
    ];
    vec(name, count).prop_map(|names| {
        let mut seen = std::collections::BTreeSet::new();
        let mut free = |name: String| {
            let mut free = name.clone();
            let mut count = 0;
            while !seen.insert(free.clone()) {
                count += 1;
                free = format!(
                    "{}{count}",
                    name.get(..name.len().min(50)).unwrap_or_default()
                );
            }
            free
        };
        names.into_iter().map(&mut free).collect()
    })
}

fn image() -> impl Strategy<Value = String> {
    select(vec![
        "i",
        "java",
        "images.example.org/tools/buildah:5",
        "localhost:5000/a/b_c:V1.2_x",
    ])
    .prop_map(str::to_owned)
}

fn variable() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z_-][A-Za-z0-9_.-]{0,20}"
            .prop_filter("reserved", |name: &String| !name.starts_with("OXART_")),
        select(vec![
            "HOME",
            "PATH",
            "A_B_OXART_REG_USER",
            "A_B_OXART_REG_PWD"
        ])
        .prop_map(str::to_owned),
        Just(format!("V{}", "x".repeat(250))),
    ]
}

fn entry() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-][A-Za-z0-9_.-]{0,20}",
        select(vec!["context", ".hidden"]).prop_map(str::to_owned)
    ]
}

fn inputs() -> impl Strategy<Value = Value> {
    let var = (variable(), text())
        .prop_map(|(name, value)| json!({"name": name, "value": value}))
        .boxed();
    let key = (variable(), text(), any::<bool>(), "[a-z]{0,4}", "[a-z]{0,4}").prop_map(
        |(name, value, private, group, package)| {
            json!({"Name": name, "value": value, "Private": private, "package_group": group, "package_name": package,
                   "path": format!("/{group}/$({package})")})
        },
    );
    let file =
        (entry(), text()).prop_map(|(path, content)| json!({"Path": path, "Content": content}));
    let list = |element: BoxedStrategy<Value>| option::of(vec(element, 0..4));
    let lists = (
        list(var.clone()),
        list(var),
        list(key.boxed()),
        list(file.boxed()),
    );
    lists.prop_map(
        |(var, secret, key, file)| json!({"var": var, "secret": secret, "key": key, "file": file}),
    )
}

/// Steps that share what makes them belong to one way of using sources.
fn steps(uses: Vec<Value>) -> impl Strategy<Value = Vec<Value>> {
    let count = uses.len();
    let rest = vec((image(), option::of(inputs()), any::<bool>()), count);
    (step_names(count), rest).prop_map(move |(names, rest)| {
        let steps = names.into_iter().zip(rest).zip(uses.clone());
        steps
            .map(|((name, (image, input, privileged)), mut step)| {
                if let Some(fields) = step.as_object_mut() {
                    fields.insert("name".to_owned(), json!(name));
                    fields.insert("runtime".to_owned(), json!(image));
                    fields.insert("input".to_owned(), json!(input));
                    fields.insert("privileged".to_owned(), json!(privileged));
                }
                step
            })
            .collect()
    })
}

fn word() -> impl Strategy<Value = String> {
    text().prop_filter("there", |text| !text.is_empty())
}

fn git() -> BoxedStrategy<Parts> {
    let url = select(vec![
        "https://git.example.org/team/parts.git",
        "https://robot:p$$(w)@git.example.org/parts",
        "http://git.example.org:3000/$(params.none)",
    ]);
    let inner = (url.clone(), option::of("[a-z][a-z0-9/]{0,5}[a-z]"), option::of(word()), option::of(word())).prop_map(
        |(url, branch, login, password)| {
            let branch = branch.filter(|branch| !branch.contains("//"));
            json!({"git": {"git_uri": url, "git_branch": branch, "git_login": login, "git_password": password}})
        },
    );
    let outer = prop_oneof![
        url.prop_map(|url| json!({"git_uri": url})),
        inner,
        Just(json!({"git_uri": "ssh://git@git.example.org/x"})),
        Just(
            json!({"git": {"git_uri": "git@git.example.org:team/parts.git", "git_branch": "v1.2"}})
        ),
    ];
    let uses = vec(
        word().prop_map(|function| json!({"function": function})),
        1..5,
    );
    let steps = uses.prop_flat_map(steps);
    (outer, steps)
        .prop_map(|(outer, steps)| (outer.as_object().cloned().unwrap_or_default(), steps))
        .boxed()
}

fn transient() -> BoxedStrategy<Parts> {
    let step = (word(), word())
        .prop_map(|(package, function)| json!({"package": package, "function": function}));
    without_extra(vec(step, 1..5).prop_flat_map(steps))
}

fn persistent() -> BoxedStrategy<Parts> {
    let rest = prop_oneof![
        (word(), word()).prop_map(|(p, f)| json!({"package": p, "function": f, "source": "read"})),
        word().prop_map(|p| json!({"package": p, "source": "merge"})),
        (word(), word())
            .prop_map(|(p, f)| json!({"package": p, "function": f, "source": "create"})),
    ];
    let uses = (word(), vec(rest, 0..4)).prop_map(|(package, mut rest)| {
        rest.insert(
            0,
            json!({"package": package, "function": "f", "source": "create"}),
        );
        rest
    });
    without_extra(uses.prop_flat_map(steps))
}

fn script() -> BoxedStrategy<Parts> {
    without_extra(vec(Just(json!({})), 1..4).prop_flat_map(steps))
}

fn without_extra(steps: impl Strategy<Value = Vec<Value>> + 'static) -> BoxedStrategy<Parts> {
    let extra = btree_map("[a-f]{9}", any::<bool>().prop_map(Value::from), 0..2);
    (extra, steps)
        .prop_map(|(extra, steps)| (extra.into_iter().collect(), steps))
        .boxed()
}

/// The same document with field names in capitals, but for labels, whose names are the user's.
fn shout(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let loud = fields.into_iter().map(|(name, value)| {
                let value = if name == "labels" {
                    value
                } else {
                    shout(value)
                };
                (name.to_uppercase(), value)
            });
            Value::Object(loud.collect())
        }
        Value::Array(elements) => elements.into_iter().map(shout).collect(),
        plain => plain,
    }
}
