//! Parameters of InfluxDB's routes: of the URL, and of a form where one is sent. The first of a name counts; names that are
//! not known are passed over, as InfluxDB does.

use percent_encoding::percent_decode_str;

/// The most that are looked at.
const COUNT_MAX: usize = 64;

/// Parameters.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Those of a URL.
    pub(super) fn of_query(query: Option<&str>) -> Self {
        let mut params = Self::default();
        params.add(query.unwrap_or_default());
        params
    }

    /// Adds those of a form; what the URL says goes before.
    pub(super) fn add(&mut self, form: &str) {
        for pair in form.split('&').filter(|pair| !pair.is_empty()) {
            if self.0.len() == COUNT_MAX {
                return;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.0.push((decoded(name), decoded(value)));
        }
    }

    /// Sets a parameter that the URL does not say.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// The value of a parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(other, _)| other == name)?;
        (!value.is_empty()).then_some(value)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_goes_before_the_form() {
        let mut params = Params::of_query(Some("db=a%20b&empty=&x"));
        params.add("db=other&q=SELECT+1%2B1");
        assert_eq!(params.get("db"), Some("a b"));
        assert_eq!(params.get("q"), Some("SELECT 1+1"));
        assert_eq!((params.get("empty"), params.get("x"), params.get("y")), (None, None, None));
    }
}
