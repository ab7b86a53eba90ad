//! How a container of the image runs: user, entry point, environment, ports.

use crate::catalogue::{Check, Look, Report, check};
use crate::observe::secrets_in;
use crate::root::{Led, Lost, NodeKind};
use crate::subject::Run;
use crate::verdict::Severity::{Block, Warn};
use crate::view::{OpenImage, View};
use std::collections::BTreeMap;

pub(crate) const CHECKS: &[Check] = &[
    check("OCI-02", Block, "the user is a number and not root", Look::Image(user)),
    check("OCI-03", Block, "the program that is run exists and is executable", Look::Image(entry_point)),
    check("OCI-04", Block, "no secrets in environment, labels, annotations or history", Look::Image(no_secrets)),
    check("OCI-10", Warn, "ports are above 1023", Look::Image(ports)),
    check("OCI-11", Warn, "a service names its stop signal, and no health check is baked in", Look::Image(signals)),
];

fn user(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    report.saw();
    let written = image.config.config.user.as_str();
    let mut ids = written.split(':').map(|id| id.parse::<u32>().ok());
    let good = match (ids.next(), ids.next(), ids.next()) {
        (Some(Some(user)), None, None) => user != 0,
        (Some(Some(user)), Some(Some(group)), None) => user != 0 && group != 0,
        _ => false,
    };
    if !good {
        report.fail(
            view.part("config.User"),
            "a numeric user other than 0, such as 65532:65532",
            format!("{written:?}"),
            "set `user` in the image recipe; a name cannot be checked, and root is too much",
        );
    }
}

fn entry_point(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    let process = &image.config.config;
    let Some(program) = process.argv().first().copied() else {
        return report.nothing("the image has no entry point and no command");
    };
    report.saw();
    for (part, why) in view.unread_layers() {
        report.fail(view.part(&part), "a layer that can be read", why, "assemble the image again");
    }
    let part =
        if process.entrypoint.as_ref().is_some_and(|e| !e.is_empty()) { "config.Entrypoint" } else { "config.Cmd" };
    let paths: Vec<String> = if program.starts_with('/') {
        vec![program.to_owned()]
    } else if program.contains('/') {
        vec![format!("{}/{program}", process.working_dir)]
    } else {
        let path = process.env.iter().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("/usr/bin:/bin:/usr/sbin:/sbin");
        path.split(':').map(|dir| format!("{dir}/{program}")).collect()
    };
    let mut found = None;
    for path in &paths {
        let wrong = match view.root.resolve(path) {
            Err(Lost::Missing(_)) => continue,
            Err(lost) => lost.to_string(),
            Ok(Led::Runtime) => format!("{path} is in a directory that the runtime fills"),
            Ok(Led::To(real)) => match view.root.nodes.get(&real) {
                Some(node) if matches!(node.kind, NodeKind::File { .. }) && node.mode & 0o001 != 0 => return,
                Some(node) if matches!(node.kind, NodeKind::File { .. }) => {
                    format!("/{real} has mode {:04o}: others may not execute it", node.mode)
                }
                _ => format!("/{real} is not a file"),
            },
        };
        found.get_or_insert(wrong);
    }
    let found = found.unwrap_or_else(|| format!("none of {} exists", paths.join(", ")));
    report.fail(
        view.part(part),
        format!("{program:?} is an executable file of the image"),
        found,
        "add the package that has it, or correct `entrypoint` in the image recipe",
    );
}

/// Words in a variable's name that promise a secret.
const SECRET_WORDS: &[&str] =
    &["PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "CREDENTIAL"];
/// How long a value must be before its entropy says anything.
const ENTROPY_LENGTH_MIN: usize = 32;
/// Bits per character above which a value looks random: hex never reaches it, base64 of random bytes does.
const ENTROPY_BITS: f64 = 4.3;

fn no_secrets(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    let process = &image.config.config;
    let mut values: Vec<(String, String, &str)> = Vec::new();
    for variable in &process.env {
        let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
        values.push((format!("config.Env[{name}]"), name.to_owned(), value));
    }
    for (name, value) in process.labels.iter().flatten() {
        values.push((format!("config.Labels[{name}]"), name.clone(), value));
    }
    for (name, value) in &image.manifest.annotations {
        values.push((format!("manifest.annotations[{name}]"), name.clone(), value));
    }
    for (number, step) in image.config.history.iter().enumerate() {
        for text in [&step.created_by, &step.comment].into_iter().flatten() {
            values.push((format!("config.history[{number}]"), String::new(), text));
        }
    }
    report.saw();
    for (part, name, value) in values {
        report.saw();
        let upper = name.to_ascii_uppercase();
        let found = if let Some(secret) = secrets_in(value).into_iter().next() {
            secret.form
        } else if let Some(word) = SECRET_WORDS.iter().find(|word| upper.contains(*word) && !value.is_empty()) {
            format!("a value, and the name says {word}")
        } else if looks_random(value) {
            format!("{} characters that look random", value.len())
        } else {
            continue;
        };
        report.fail(
            view.part(&part),
            "nothing secret: everyone who pulls the image can read it",
            found,
            "give it to the container when it is run, and revoke it if it was real",
        );
    }
}

fn looks_random(value: &str) -> bool {
    let token = value.len() >= ENTROPY_LENGTH_MIN
        && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=_-".contains(&b))
        && value.bytes().any(|b| b.is_ascii_digit())
        && value.bytes().any(|b| b.is_ascii_uppercase());
    token && entropy(value.as_bytes()) > ENTROPY_BITS
}

fn entropy(bytes: &[u8]) -> f64 {
    let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
    bytes.iter().for_each(|b| *counts.entry(*b).or_default() += 1);
    let total = bytes.len().max(1) as f64;
    counts.values().map(|n| f64::from(*n) / total).map(|p| -p * p.log2()).sum()
}

fn ports(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    for written in image.config.config.exposed_ports.keys() {
        report.saw();
        let (number, protocol) = written.split_once('/').unwrap_or((written, "tcp"));
        let high = number.parse::<u16>().is_ok_and(|n| n > 1023) && ["tcp", "udp", "sctp"].contains(&protocol);
        if !high {
            report.fail(
                view.part(&format!("config.ExposedPorts[{written}]")),
                "a port from 1024 to 65535 with tcp, udp or sctp",
                written.clone(),
                "a user other than root cannot bind lower ports everywhere: listen on a high one",
            );
        }
    }
}

fn signals(view: &View<'_>, image: &OpenImage<'_>, report: &mut Report) {
    let process = &image.config.config;
    report.saw();
    if process.healthcheck.is_some() {
        let advice = "leave health checks to whoever runs the container";
        report.fail(view.part("config.Healthcheck"), "none", "one", advice);
    }
    let is_service = matches!(&image.image.run, Run::Ran(facts) if facts.stopped_cleanly.is_some());
    let valid = |signal: &str| signal.parse::<u8>().is_ok() || (signal.starts_with("SIG") && signal.len() > 4);
    match process.stop_signal.as_deref() {
        Some(signal) if valid(signal) => {}
        None if !is_service => {}
        found => report.fail(
            view.part("config.StopSignal"),
            "a signal's name or number",
            found.map_or("none".to_owned(), |signal| format!("{signal:?}")),
            "set `stop-signal` in the image recipe to what the service shuts down on",
        ),
    }
}
