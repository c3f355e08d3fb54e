//! The tree of filters: who subscribed, by where a filter ends.
//!
//! A branch runs on for as many levels as nobody parts from it, so that a filter costs its bytes and at most two nodes,
//! however many levels it has. What is below a node goes no deeper than a filter may have levels, so recursion is bounded.
//!
//! ```text
//! a/b/c   a/b/+/d      root ──a/b──► ○ ──c──► ●
//!                                    └──+/d──► ●
//! ```
//!
//! A *path* is a filter or a topic with a slash before each level: `a//b` is `/a//b`. What is behind a level is a path again,
//! and empty at the end.

use std::collections::HashMap;

use super::Subscribers;

/// Where filters end or part.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// By their first level.
    named: HashMap<Box<str>, Box<Branch>>,
    /// The branch that begins with `+`.
    any: Option<Box<Branch>>,
    /// Subscriptions that end here.
    pub(super) exact: Subscribers,
    /// Subscriptions that end here with `#`.
    pub(super) rest: Subscribers,
}

#[derive(Debug)]
struct Branch {
    /// The path from behind its first level to its node; a `+` in it stands for any level.
    more: Box<str>,
    node: Node,
}

impl Node {
    pub(super) fn is_empty(&self) -> bool {
        self.named.is_empty() && self.any.is_none() && self.is_passed_through()
    }

    /// Whether no filter ends here.
    fn is_passed_through(&self) -> bool {
        self.exact.is_empty() && self.rest.is_empty()
    }

    /// The node at the end of a path, made if it is not there.
    pub(super) fn at(&mut self, path: &str) -> &mut Self {
        let Some((level, below)) = split(path) else { return self };
        let new = || Box::new(Branch { more: below.into(), node: Self::default() });
        let branch = match level {
            "+" => self.any.get_or_insert_with(new),
            level => self.named.entry(level.into()).or_insert_with(new),
        };
        let shared = shared(&branch.more, below);
        branch.part(shared);
        branch.node.at(&below[shared..])
    }

    /// Lets `take` take something away at the end of a path, and with it the nodes that are not needed any more; what `take`
    /// says, or `false` where the path does not exist.
    pub(super) fn take(&mut self, path: &str, take: impl FnOnce(&mut Self) -> bool) -> bool {
        let Some((level, below)) = split(path) else { return take(self) };
        let branch = if level == "+" { self.any.as_mut() } else { self.named.get_mut(level) };
        let Some(branch) = branch else { return false };
        let below = below.strip_prefix(&*branch.more);
        let Some(below) = below.filter(|below| below.is_empty() || below.starts_with('/')) else {
            return false;
        };
        let taken = branch.node.take(below, take);
        if !branch.node.is_empty() {
            branch.join();
        } else if level == "+" {
            self.any = None;
        } else {
            self.named.remove(level);
        }
        taken
    }

    /// Calls `found` for everybody whose filter matches a topic. Where `is_dollar`, no wildcard stands for its first level.
    pub(super) fn find(&self, path: &str, is_dollar: bool, found: &mut impl FnMut(&Subscribers)) {
        if !is_dollar {
            found(&self.rest);
        }
        let Some((level, below)) = split(path) else { return found(&self.exact) };
        let any = self.any.as_ref().filter(|_| !is_dollar);
        for branch in self.named.get(level).into_iter().chain(any) {
            if let Some(below) = behind(&branch.more, below) {
                branch.node.find(below, false, found);
            }
        }
    }

    /// How many nodes there are below it.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.named.values().chain(&self.any).map(|branch| 1 + branch.node.count()).sum()
    }
}

impl Branch {
    /// Ends it at this place of its path, and puts what is behind that below its node.
    fn part(&mut self, place: usize) {
        let (more, below) = self.more.split_at(place);
        let Some((level, below)) = split(below) else { return };
        let lower = Box::new(Self { more: below.into(), node: std::mem::take(&mut self.node) });
        if level == "+" {
            self.node.any = Some(lower);
        } else {
            self.node.named.insert(level.into(), lower);
        }
        self.more = more.into();
    }

    /// Takes in the only branch below its node, if no filter ends there.
    fn join(&mut self) {
        let node = &mut self.node;
        if !node.is_passed_through() || node.named.len() + usize::from(node.any.is_some()) != 1 {
            return;
        }
        let any = node.any.take().map(|lower| ("+".into(), lower));
        if let Some((level, lower)) = any.or_else(|| node.named.drain().next()) {
            self.more = format!("{}/{level}{}", self.more, lower.more).into();
            self.node = lower.node;
        }
    }
}

/// A path's first level and what is behind it.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

/// The bytes of the levels that both paths begin with.
fn shared(one: &str, other: &str) -> usize {
    let (mut left, mut right) = (one, other);
    while let (Some((level, below)), Some((same, beside))) = (split(left), split(right)) {
        if level != same {
            break;
        }
        (left, right) = (below, beside);
    }
    one.len() - left.len()
}

/// What is left of a topic's path behind the levels of a branch, if they match.
fn behind<'t>(branch: &str, topic: &'t str) -> Option<&'t str> {
    let (mut wanted, mut topic) = (branch, topic);
    while let Some((level, more)) = split(wanted) {
        let (found, below) = split(topic)?;
        if level != "+" && level != found {
            return None;
        }
        (wanted, topic) = (more, below);
    }
    Some(topic)
}
