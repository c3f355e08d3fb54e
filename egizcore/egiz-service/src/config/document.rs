//! Texts made from the table of keys: the example file, the reference page, the list of variables, the report. The
//! committed files are compared with these in a test; `cargo run -p egiz-service --example write_config_docs` writes
//! them.

use std::fmt::Write;

use super::items::{LISTS, List};
use super::schema::{Config, KEYS, Key, SECTIONS, Section};
use super::setting::Kind;
use super::{Notice, Origins, origin_of};

const WIDTH: usize = 110;

/// The example file: every key with its default, range and meaning.
pub fn example_toml() -> String {
    let mut text = String::from(
        "# OpenEgiz configuration: every key with its default. A file may leave any of them out; unknown keys are\n\
         # refused. Each key can also be set by the environment variable EGIZ__SECTION__KEY, which wins over the file.\n\
         # `openegiz config check` shows the effective values and where they come from. Relative paths are taken from\n\
         # the directory that the program is started in.\n",
    );
    for (section, keys) in sections() {
        text.push('\n');
        comment(&mut text, "# ", section.doc);
        let _ = writeln!(text, "[{}]", section.name);
        for key in keys {
            text.push('\n');
            comment(&mut text, "# ", key.doc);
            comment(&mut text, "# ", &[&format!("Allowed: {}.", key.kind.allowed())]);
            let _ = writeln!(text, "{} = {}", key.name, (key.show)(&Config::default()));
        }
        for list in lists(section) {
            text.push('\n');
            comment(&mut text, "# ", list.doc);
            let _ = writeln!(text, "# [[{}]]", list.path);
            for key in list.keys {
                text.push_str("#\n");
                comment(&mut text, "# # ", key.doc);
                let needed = if key.required { " Required." } else { "" };
                comment(&mut text, "# # ", &[&format!("Allowed: {}.{needed}", key.kind.allowed())]);
                let _ = writeln!(text, "# {} = {}", key.name, (key.show)(&Config::default(), 0));
            }
        }
    }
    text
}

/// The reference page.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         Values come from three layers, each over the one before: the defaults below, a TOML file\n\
         (`openegiz up --config openegiz.toml`; `configs/openegiz.example.toml` shows every key), and environment\n\
         variables named `EGIZ__SECTION__KEY`. Unknown keys and unknown `EGIZ__` variables are refused, and all faults\n\
         are reported at once, each with the key, the value, what is allowed and where it came from.\n\
         `openegiz config check` prints the effective values with their origin.\n\n\
         Secrets are given by file (`…_file`, `EGIZ__…_FILE`), never by value, and appear in no log and no report.\n\n\
         `MQTT_BROKER` is the known name of an external broker: it adds an `[[mqtt.external]]` named `env` with that url.\n\
         `INFLUXDB_URL` is that of an external InfluxDB, which this version does not use; when it is set, the program\n\
         starts and says so in a warning.\n\n\
         This page is made from the table of keys in `egiz-service`; `cargo run -p egiz-service --example\n\
         write_config_docs` renews it, `configs/openegiz.example.toml` and `configs/env.example`.\n",
    );
    for (section, keys) in sections() {
        let _ = write!(text, "\n## [{}]\n\n{}\n\n", section.name, joined(section.doc));
        text.push_str("| key | default | allowed | meaning |\n|---|---|---|---|\n");
        for key in keys {
            let default = (key.show)(&Config::default());
            let (allowed, meaning) = (cell(&key.kind.allowed()), cell(&joined(key.doc)));
            let _ = writeln!(text, "| `{}` | `{default}` | {allowed} | {meaning} |", key.name);
        }
        for list in lists(section) {
            let _ = write!(
                text,
                "\n## [[{}]]\n\n{} May be given several times, and has no environment variables.\n\n",
                list.path,
                joined(list.doc)
            );
            text.push_str("| key | default | allowed | meaning |\n|---|---|---|---|\n");
            for key in list.keys {
                let default = match key.required {
                    true => "required".to_owned(),
                    false => format!("`{}`", (key.show)(&Config::default(), 0)),
                };
                let (allowed, meaning) = (cell(&key.kind.allowed()), cell(&joined(key.doc)));
                let _ = writeln!(text, "| `{}` | {default} | {allowed} | {meaning} |", key.name);
            }
        }
    }
    text
}

/// The list of environment variables, each with its default.
pub fn env_example() -> String {
    let mut text = String::from(
        "# OpenEgiz environment variables, each with its default; docs/configuration.md says what they mean.\n\
         # Variables win over the configuration file. Unknown variables that begin with EGIZ__ are refused.\n\
         # Lists are separated by commas.\n",
    );
    for (section, keys) in sections() {
        let _ = writeln!(text, "\n# {}", joined(section.doc));
        for key in keys {
            let value = (key.show)(&Config::default());
            let value = if matches!(key.kind, Kind::List(_)) {
                value.trim_matches(['[', ']']).replace('"', "").replace(", ", ",")
            } else {
                value.trim_matches('"').replace('_', if is_number(&value) { "" } else { "_" })
            };
            let _ = writeln!(text, "# {}={value}", key.variable());
        }
    }
    text.push_str(
        "\n# Known names of external servers. The broker's messages are taken in as [[mqtt.external]] says; InfluxDB is\n\
         # not used by this version, which warns when it is set.\n\
         # MQTT_BROKER=mosquitto:1883\n# INFLUXDB_URL=http://influxdb:8086\n",
    );
    text
}

/// The effective values with their origins, then the notices.
pub(super) fn report(config: &Config, origins: &Origins, notices: &[Notice]) -> String {
    let mut text = String::new();
    for (section, keys) in sections() {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "[{}]", section.name);
        for key in keys {
            let line = format!("{} = {}", key.name, (key.show)(config));
            let _ = writeln!(text, "{line:<50} # {}", origin_of(origins, key.path));
        }
        for list in lists(section) {
            for at in 0..(list.len)(config) {
                let _ = writeln!(text, "\n[[{}]]", list.path);
                for key in list.keys {
                    let line = format!("{} = {}", key.name, (key.show)(config, at));
                    let path = format!("{}[{at}].{}", list.path, key.name);
                    let _ = writeln!(text, "{line:<50} # {}", origin_of(origins, &path));
                }
            }
        }
    }
    for notice in notices {
        let _ = writeln!(text, "\n# warning: {notice}");
    }
    text
}

fn sections() -> impl Iterator<Item = (&'static Section, Vec<&'static Key>)> {
    SECTIONS.iter().map(|section| (section, KEYS.iter().filter(|key| key.section == section.name).collect()))
}

fn lists(section: &Section) -> impl Iterator<Item = &'static List> {
    LISTS.iter().filter(|list| list.section == section.name)
}

fn joined(doc: &[&str]) -> String {
    doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn is_number(value: &str) -> bool {
    value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_')
}

/// Writes a text as comment lines of at most [`WIDTH`] characters.
fn comment(text: &mut String, mark: &str, doc: &[&str]) {
    let mut line = mark.trim_end().to_owned();
    for word in joined(doc).split(' ') {
        if line.len() > mark.len() && line.chars().count() + 1 + word.chars().count() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = mark.trim_end().to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
