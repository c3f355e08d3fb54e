//! User names and passwords of the devices, from a JSON or a CSV file.
//!
//! JSON: `{"oven-001": {"username": "oven-001", "password": "…"}}` or a list of
//! `{"device": …, "username": …, "password": …}`. CSV: lines `device,username,password`, a header line of these
//! words, empty lines and lines that begin with `#` are skipped; no quoting, so no commas inside.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What a device presents to the broker.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// MQTT user name.
    pub username: String,
    /// MQTT password.
    pub password: String,
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Credentials by device name.
pub type Credentials = HashMap<String, Credential>;

/// Why a file of credentials was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file can't be read.
    #[error("can't read credentials from {path}")]
    Read {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The text is not JSON of one of the two shapes.
    #[error("{path} is not a JSON file of credentials")]
    Json {
        /// File.
        path: PathBuf,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// A line is not `device,username,password`.
    #[error("{path}, line {line}: expected device,username,password")]
    Csv {
        /// File.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Devices of the plant have no entry.
    #[error("{path} has no credentials for {count} devices, the first is {device:?}")]
    Missing {
        /// File.
        path: PathBuf,
        /// How many are missing.
        count: usize,
        /// The first of them.
        device: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    device: String,
    username: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Shape {
    Map(Credentials),
    List(Vec<Row>),
}

/// Reads a file: CSV if its name ends in `.csv`, else JSON.
///
/// # Errors
/// Returns why the file was not taken.
pub fn read(path: &Path) -> Result<Credentials, CredentialsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| CredentialsError::Read { path: path.to_owned(), source })?;
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
        return parse_csv(&text).map_err(|line| CredentialsError::Csv { path: path.to_owned(), line });
    }
    let shape = serde_json::from_str(&text)
        .map_err(|source| CredentialsError::Json { path: path.to_owned(), source })?;
    Ok(match shape {
        Shape::Map(credentials) => credentials,
        Shape::List(rows) => rows
            .into_iter()
            .map(|row| (row.device, Credential { username: row.username, password: row.password }))
            .collect(),
    })
}

/// Returns the number of the first wrong line as the error.
fn parse_csv(text: &str) -> Result<Credentials, usize> {
    let mut credentials = Credentials::new();
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') || line == "device,username,password" {
            continue;
        }
        let parts: Vec<&str> = line.split(',').collect();
        let [device, username, password] = parts[..] else { return Err(index + 1) };
        let credential = Credential { username: username.to_owned(), password: password.to_owned() };
        credentials.insert(device.to_owned(), credential);
    }
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::read;

    fn check(name: &str, text: &str, expected: Result<&str, &str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        match (read(&path), expected) {
            (Ok(found), Ok(password)) => assert_eq!(found["oven-001"].password, password, "{text}"),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, expected) => panic!("{text}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn both_json_shapes_and_csv_are_read() {
        check("a.json", r#"{"oven-001":{"username":"u","password":"p1"}}"#, Ok("p1"));
        check("a.json", r#"[{"device":"oven-001","username":"u","password":"p2"}]"#, Ok("p2"));
        check("a.csv", "device,username,password\n# plant\n\noven-001,u,p3\n", Ok("p3"));
        check("a.csv", "oven-001,u\n", Err("line 1"));
        check("a.json", "{", Err("is not a JSON file"));
    }

    #[test]
    fn passwords_are_not_shown() {
        let credential = super::Credential { username: "u".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{credential:?}").contains("secret"));
    }
}
