//! The modules of a crate, and where a path leads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemMod, UseTree, Visibility};

/// Names from the root of the crate.
pub(crate) type ModulePath = Vec<String>;

/// A crate's modules, without those that only tests have.
pub(crate) struct Source {
    pub(crate) modules: BTreeMap<ModulePath, Vec<Item>>,
}

/// What a path names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Named {
    Module(ModulePath),
    /// An item of a module.
    Item(ModulePath, String),
    /// Another crate's.
    Foreign,
}

/// A name that a `use` brings in.
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// `None` for `*`.
    pub(crate) name: Option<String>,
    pub(crate) is_public: bool,
}

impl Source {
    pub(crate) fn read(root: &Path) -> Self {
        let mut source = Self {
            modules: BTreeMap::new(),
        };
        source.read_file(root, root.parent().expect("a file is in a folder"), Vec::new());
        source
    }

    /// `children`: where the files of its modules are.
    fn read_file(&mut self, file: &Path, children: &Path, path: ModulePath) {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.add(parsed.items, children, path);
    }

    fn add(&mut self, items: Vec<Item>, children: &Path, path: ModulePath) {
        let items: Vec<_> = items
            .into_iter()
            .filter(|item| !is_for_tests(attributes(item)))
            .collect();
        for item in &items {
            if let Item::Mod(module) = item {
                self.add_module(module, children, &path);
            }
        }
        self.modules.insert(path, items);
    }

    fn add_module(&mut self, module: &ItemMod, children: &Path, parent: &ModulePath) {
        let name = module.ident.to_string();
        let directory = children.join(&name);
        let path = joined(parent, &name);
        match &module.content {
            Some((_, items)) => self.add(items.clone(), &directory, path),
            None => {
                let files: [PathBuf; 2] = [children.join(format!("{name}.rs")), directory.join("mod.rs")];
                let file = files.iter().find(|file| file.exists());
                self.read_file(file.unwrap_or(&files[0]), &directory, path);
            }
        }
    }

    /// What `path` names in `module`.
    pub(crate) fn resolve(&self, module: &ModulePath, path: &[String]) -> Named {
        self.resolve_within(module, path, 0)
    }

    fn resolve_within(&self, module: &ModulePath, path: &[String], depth: usize) -> Named {
        let mut module = module.clone();
        let mut rest = path;
        if depth > 16 {
            return Named::Foreign;
        }
        while let [first, others @ ..] = rest {
            match first.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => drop(module.pop()),
                _ => break,
            }
            rest = others;
        }
        loop {
            let [first, others @ ..] = rest else {
                return Named::Module(module);
            };
            let child = joined(&module, first);
            if self.modules.contains_key(&child) {
                (module, rest) = (child, others);
                continue;
            }
            if self.item(&module, first).is_some() {
                // What follows is a variant or an associated item.
                return Named::Item(module, first.clone());
            }
            return self.resolve_import(&module, first, others, depth);
        }
    }

    fn resolve_import(&self, module: &ModulePath, first: &str, others: &[String], depth: usize) -> Named {
        for import in self.imports(module) {
            let found = match import.name.as_deref() {
                Some(name) if name == first => {
                    let path = [&import.path[..], others].concat();
                    // `use name::…` of another crate names itself.
                    if import.path.first().is_some_and(|root| root == first) && import.path.len() == 1 {
                        continue;
                    }
                    self.resolve_within(module, &path, depth + 1)
                }
                None => match self.resolve_within(module, &import.path, depth + 1) {
                    Named::Module(other) if other != *module => {
                        let path = [&[first.to_owned()], others].concat();
                        self.resolve_within(&other, &path, depth + 1)
                    }
                    _ => Named::Foreign,
                },
                Some(_) => Named::Foreign,
            };
            if found != Named::Foreign {
                return found;
            }
        }
        Named::Foreign
    }

    /// The item of this name that `module` defines itself.
    pub(crate) fn item(&self, module: &ModulePath, name: &str) -> Option<&Item> {
        let items = self.modules.get(module)?;
        items.iter().find(|item| {
            let ident = match item {
                Item::Struct(item) => &item.ident,
                Item::Enum(item) => &item.ident,
                Item::Fn(item) => &item.sig.ident,
                Item::Const(item) => &item.ident,
                Item::Static(item) => &item.ident,
                Item::Type(item) => &item.ident,
                Item::Trait(item) => &item.ident,
                _ => return false,
            };
            ident == name
        })
    }

    pub(crate) fn imports(&self, module: &ModulePath) -> Vec<Import> {
        let mut imports = Vec::new();
        for item in self.modules.get(module).into_iter().flatten() {
            if let Item::Use(item) = item {
                let is_public = matches!(item.vis, Visibility::Public(_));
                flatten(&item.tree, &mut Vec::new(), is_public, &mut imports);
            }
        }
        imports
    }
}

fn flatten(tree: &UseTree, path: &mut Vec<String>, is_public: bool, imports: &mut Vec<Import>) {
    let mut add = |path: Vec<String>, name: Option<String>| {
        imports.push(Import {
            path,
            name,
            is_public,
        });
    };
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            flatten(&inner.tree, path, is_public, imports);
            path.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, path, is_public, imports);
            }
        }
        UseTree::Name(name) if name.ident == "self" => add(path.clone(), path.last().cloned()),
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            add(joined(path, &name), Some(name));
        }
        UseTree::Rename(rename) => {
            let path = joined(path, &rename.ident.to_string());
            add(path, Some(rename.rename.to_string()));
        }
        UseTree::Glob(_) => add(path.clone(), None),
    }
}

pub(crate) fn joined(path: &[String], name: &str) -> Vec<String> {
    let mut path = path.to_vec();
    path.push(name.to_owned());
    path
}

pub(crate) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let path = attribute.path();
        let list = attribute.meta.require_list();
        path.is_ident("test")
            || path.is_ident("cfg") && list.is_ok_and(|list| list.tokens.to_string() == "test")
    })
}
