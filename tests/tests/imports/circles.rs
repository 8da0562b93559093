//! From edges between modules to circles among the children of one folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::parse::ModulePath;
use super::resolve::{Crate, Edge};

/// Children of one module that all reach each other by imports.
#[derive(Debug)]
pub(crate) struct Circle {
    folder: String,
    members: Vec<String>,
    /// For each import between two members one line.
    examples: Vec<String>,
}

impl Circle {
    /// As `known.rs` lists it.
    pub(crate) fn name(&self) -> String {
        format!("{}: {}", self.folder, self.members.join(" "))
    }
}

impl fmt::Display for Circle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.name())?;
        self.examples
            .iter()
            .try_for_each(|example| writeln!(f, "    {example}"))
    }
}

/// The children of one folder: for each who imports whom, with one example.
type Siblings = BTreeMap<String, BTreeMap<String, String>>;

/// All circles of a crate.
pub(crate) fn circles(of: &Crate) -> Vec<Circle> {
    let mut folders: BTreeMap<ModulePath, Siblings> = BTreeMap::new();
    for edge in of.edges() {
        if let Some((folder, from, to)) = siblings(&edge) {
            let targets = folders.entry(folder).or_default().entry(from).or_default();
            targets
                .entry(to)
                .or_insert(format!("{} names {}", edge.at, edge.path));
        }
    }
    let circles_of = |(folder, siblings): (&ModulePath, &Siblings)| {
        let folder = [vec![of.name.clone()], folder.clone()].concat().join("::");
        groups(siblings)
            .into_iter()
            .map(move |members| circle(&folder, members, siblings))
            .collect::<Vec<_>>()
    };
    folders.iter().flat_map(circles_of).collect()
}

/// The folder in which both ends stand under different children, and these two children.
fn siblings(edge: &Edge) -> Option<(ModulePath, String, String)> {
    let common = edge
        .from
        .iter()
        .zip(&edge.to)
        .take_while(|(from, to)| from == to)
        .count();
    let (from, to) = (edge.from.get(common)?, edge.to.get(common)?);
    Some((edge.from[..common].to_vec(), from.clone(), to.clone()))
}

/// Groups of at least two that all reach each other.
fn groups(siblings: &Siblings) -> BTreeSet<Vec<String>> {
    let reach: BTreeMap<_, _> = siblings
        .keys()
        .map(|from| (from, reached(siblings, from)))
        .collect();
    let group = |from: &String| {
        let reaches_back = |to: &&String| reach.get(to).is_some_and(|back| back.contains(from));
        reach[from]
            .iter()
            .filter(reaches_back)
            .cloned()
            .collect::<Vec<_>>()
    };
    siblings
        .keys()
        .map(group)
        .filter(|group| group.len() > 1)
        .collect()
}

/// Everything that `from` imports, directly or through others.
fn reached(siblings: &Siblings, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        for to in siblings.get(at).into_iter().flat_map(BTreeMap::keys) {
            if found.insert(to.clone()) {
                open.push(to);
            }
        }
    }
    found
}

fn circle(folder: &str, members: Vec<String>, siblings: &Siblings) -> Circle {
    let mut examples = Vec::new();
    for from in &members {
        for (to, example) in siblings
            .get(from)
            .into_iter()
            .flatten()
            .filter(|(to, _)| members.contains(to))
        {
            examples.push(format!("{from} → {to}: {example}"));
        }
    }
    Circle {
        folder: folder.to_owned(),
        members,
        examples,
    }
}
