//! From a path in the code to the module that defines what it names.

use std::collections::BTreeMap;

use super::parse::{Module, ModulePath};

/// Re-exports of re-exports are followed so often.
const RE_EXPORTS: usize = 16;

#[derive(Debug)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) modules: BTreeMap<ModulePath, Module>,
}

/// Code of one module names something that another module defines.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) from: ModulePath,
    pub(crate) to: ModulePath,
    /// File and line.
    pub(crate) at: String,
    /// As it stands in the code.
    pub(crate) path: String,
}

enum Found {
    Module(ModulePath),
    /// An item, with the module that defines it.
    Item(ModulePath),
}

impl Crate {
    /// Everything that modules of this crate name in other modules of it.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut edges = Vec::new();
        for (from, module) in &self.modules {
            for mention in &module.mentions {
                let Some(Found::Module(to) | Found::Item(to)) = self.find(from, &mention.path, RE_EXPORTS)
                else {
                    continue;
                };
                if to != *from {
                    let path = mention.path.join("::");
                    edges.push(Edge {
                        from: from.clone(),
                        to,
                        at: mention.at.clone(),
                        path,
                    });
                }
            }
            for glob in &module.globs {
                if let Some(Found::Module(to)) = self.find(from, glob, RE_EXPORTS) {
                    let path = glob.join("::") + "::*";
                    edges.push(Edge {
                        from: from.clone(),
                        to,
                        at: from.join("::"),
                        path,
                    });
                }
            }
        }
        edges
    }

    /// Whether the module declares a module of this name.
    pub(crate) fn has_child(&self, module: &[String], name: &str) -> bool {
        self.modules.contains_key(&[module, &[name.to_owned()]].concat())
    }

    /// What a path names in code of the module `from`. `None` is something of another crate, or not a path of modules.
    fn find(&self, from: &[String], path: &[String], depth: usize) -> Option<Found> {
        let mut at = from.to_vec();
        let mut rest = path;
        let mut is_anchored = false;
        while let Some(first) = rest.first() {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                _ => break,
            }
            is_anchored = true;
            rest = &rest[1..];
        }
        match self.walk(&at, rest, depth) {
            // A macro of the module may have made it.
            None if is_anchored => Some(Found::Item(self.deepest(at, rest))),
            found => found,
        }
    }

    /// What a path names, beginning in the module `at`.
    fn walk(&self, at: &[String], path: &[String], depth: usize) -> Option<Found> {
        let Some((name, rest)) = path.split_first() else {
            return Some(Found::Module(at.to_vec()));
        };
        let child = [at, std::slice::from_ref(name)].concat();
        let module = self.modules.get(at)?;
        let imported = module.imports.iter().find(|(imported, _)| imported == name);
        // A path that ends here names an item rather than a module of the same name.
        if rest.is_empty() && module.items.contains(name) {
            return Some(Found::Item(at.to_vec()));
        }
        if self.modules.contains_key(&child) && !(rest.is_empty() && imported.is_some()) {
            return self.walk(&child, rest, depth);
        }
        let depth = depth.checked_sub(1)?;
        if let Some((_, path)) = imported {
            // An import that names itself is one of another crate.
            if path.first() == Some(name) && !self.modules.contains_key(&child) {
                return None;
            }
            return match self.find(at, path, depth)? {
                Found::Module(module) => self.walk(&module, rest, depth),
                item @ Found::Item(_) => Some(item),
            };
        }
        if module.items.contains(name) {
            return Some(Found::Item(at.to_vec()));
        }
        module
            .globs
            .iter()
            .find_map(|glob| match self.find(at, glob, depth)? {
                Found::Module(module) if module != at => self.walk(&module, path, depth),
                _ => None,
            })
    }

    fn deepest(&self, mut at: ModulePath, path: &[String]) -> ModulePath {
        for name in path {
            let child = [at.as_slice(), std::slice::from_ref(name)].concat();
            if !self.modules.contains_key(&child) {
                break;
            }
            at = child;
        }
        at
    }
}
