//! Names stored once: a feature or property called `temperature_zones` on ten thousand Things costs four bytes each.

use std::sync::Arc;

use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// A name's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Symbol(pub(crate) u32);

/// The table. Names are never removed: what they cost is bounded, and a symbol stays valid.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    texts: Vec<Arc<str>>,
    symbols: HashMap<Arc<str>, Symbol, FxBuildHasher>,
}

impl Names {
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        self.symbols.get(text).copied()
    }

    /// The name's symbol, new if need be; `None` when the table is full.
    pub(crate) fn intern(&mut self, text: &str, names_max: usize) -> Option<Symbol> {
        if let Some(symbol) = self.find(text) {
            return Some(symbol);
        }
        if self.texts.len() >= names_max {
            return None;
        }
        let symbol = Symbol(u32::try_from(self.texts.len()).ok()?);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.symbols.insert(text, symbol);
        Some(symbol)
    }

    /// How many of these names are new.
    pub(crate) fn count_new<'a>(&self, texts: impl Iterator<Item = &'a str>) -> usize {
        let mut new: Vec<&str> = texts.filter(|text| self.find(text).is_none()).collect();
        new.sort_unstable();
        new.dedup();
        new.len()
    }

    pub(crate) fn text(&self, symbol: Symbol) -> &Arc<str> {
        &self.texts[symbol.0 as usize]
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.texts.iter()
    }
}
