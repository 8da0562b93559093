//! One line for each public item.

use std::collections::{BTreeMap, BTreeSet};

use quote::ToTokens;
use syn::visit::Visit;
use syn::{
    Attribute, Fields, ImplItem, Item, ItemEnum, ItemImpl, ItemStruct, ItemTrait, TraitItem, Type, Visibility,
};

use crate::source::{ModulePath, Named, Source, attributes, joined};

/// The public items of a crate.
pub(crate) struct Listing {
    pub(crate) lines: Vec<String>,
    /// Signatures that name what cannot be named from outside.
    pub(crate) hidden: Vec<String>,
}

/// An item, by where it is defined.
type Definition = (ModulePath, String);

struct Lister<'a> {
    source: &'a Source,
    /// The public items, by where they are defined, and the paths by which they can be named.
    public: BTreeMap<Definition, Vec<String>>,
    visited: BTreeSet<(ModulePath, String)>,
    lines: BTreeSet<String>,
    hidden: BTreeSet<String>,
}

impl Listing {
    pub(crate) fn of(name: &str, source: &Source) -> Self {
        let mut lister = Lister {
            source,
            public: BTreeMap::new(),
            visited: BTreeSet::new(),
            lines: BTreeSet::new(),
            hidden: BTreeSet::new(),
        };
        lister.visit(&Vec::new(), name);
        lister.list_items();
        lister.list_implementations();
        Self {
            lines: lister.lines.into_iter().collect(),
            hidden: lister.hidden.into_iter().collect(),
        }
    }
}

impl Lister<'_> {
    /// Everything public in `module`, which is called `name` from outside.
    fn visit(&mut self, module: &ModulePath, name: &str) {
        if !self.visited.insert((module.clone(), name.to_owned())) {
            return;
        }
        self.lines.insert(format!("mod {name}"));
        self.visit_items(module, name);
    }

    fn visit_items(&mut self, module: &ModulePath, name: &str) {
        for item in &self.source.modules[module] {
            let Some((ident, Visibility::Public(_))) = ident(item) else {
                continue;
            };
            let path = format!("{name}::{ident}");
            match item {
                Item::Mod(_) => self.visit(&joined(module, &ident), &path),
                _ => self.add(module, &ident, path),
            }
        }
        for import in self
            .source
            .imports(module)
            .into_iter()
            .filter(|import| import.is_public)
        {
            let named = self.source.resolve(module, &import.path);
            match (named, import.name) {
                (Named::Item(of, ident), Some(shown)) => self.add(&of, &ident, format!("{name}::{shown}")),
                (Named::Module(of), Some(shown)) => self.visit(&of, &format!("{name}::{shown}")),
                (Named::Module(of), None) => self.visit_items(&of, name),
                (_, shown) => {
                    let shown = shown.unwrap_or_else(|| "*".to_owned());
                    let line = format!("use {} as {name}::{shown}", import.path.join("::"));
                    self.lines.insert(line);
                }
            }
        }
    }

    fn add(&mut self, module: &ModulePath, ident: &str, path: String) {
        let paths = self.public.entry((module.clone(), ident.to_owned())).or_default();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }

    /// The shortest path by which an item can be named.
    fn path_of(&self, definition: &Definition) -> Option<String> {
        let paths = self.public.get(definition)?;
        paths
            .iter()
            .min_by_key(|path| (path.matches("::").count(), path.as_str()))
            .cloned()
    }

    fn list_items(&mut self) {
        for (definition, paths) in self.public.clone() {
            let path = self.path_of(&definition).expect("it is among the public ones");
            for other in paths.iter().filter(|other| **other != path) {
                self.lines.insert(format!("use {path} as {other}"));
            }
            let (module, ident) = &definition;
            let item = self.source.item(module, ident).expect("it was found there");
            self.list_item(item, module, &path);
        }
    }

    fn list_item(&mut self, item: &Item, module: &ModulePath, path: &str) {
        let marks = marks(attributes(item));
        match item {
            Item::Struct(item) => self.list_struct(item, module, path, &marks),
            Item::Enum(item) => self.list_enum(item, module, path, &marks),
            Item::Trait(item) => self.list_trait(item, module, path, &marks),
            Item::Fn(item) => {
                let signature = signature(&item.sig, path);
                self.line(format!("{signature}{marks}"), module, &item.sig);
            }
            Item::Const(item) => {
                self.line(
                    format!("const {path}: {}{marks}", tidy(&*item.ty)),
                    module,
                    &*item.ty,
                );
            }
            Item::Static(item) => {
                self.line(
                    format!("static {path}: {}{marks}", tidy(&*item.ty)),
                    module,
                    &*item.ty,
                );
            }
            Item::Type(item) => {
                self.line(
                    format!("type {path} = {}{marks}", tidy(&*item.ty)),
                    module,
                    &*item.ty,
                );
            }
            _ => {}
        }
    }

    fn list_struct(&mut self, item: &ItemStruct, module: &ModulePath, path: &str, marks: &str) {
        let is_open = |field: &syn::Field| matches!(field.vis, Visibility::Public(_));
        let closed = match item.fields.iter().all(is_open) {
            true => "",
            false => " { .. }",
        };
        let line = format!("struct {path}{}{closed}{marks}", tidy(&item.generics));
        self.line(line, module, &item.generics);
        self.list_derived(&item.attrs, path);
        for (number, field) in item.fields.iter().enumerate().filter(|(_, field)| is_open(field)) {
            let name = field
                .ident
                .as_ref()
                .map_or_else(|| number.to_string(), ToString::to_string);
            self.line(
                format!("field {path}::{name}: {}", tidy(&field.ty)),
                module,
                &field.ty,
            );
        }
    }

    fn list_enum(&mut self, item: &ItemEnum, module: &ModulePath, path: &str, marks: &str) {
        let line = format!("enum {path}{}{marks}", tidy(&item.generics));
        self.line(line, module, &item.generics);
        self.list_derived(&item.attrs, path);
        for variant in &item.variants {
            let fields = variant.fields.iter().map(|field| {
                let ty = tidy(&field.ty);
                field
                    .ident
                    .as_ref()
                    .map_or(ty.clone(), |name| format!("{name}: {ty}"))
            });
            let fields = fields.collect::<Vec<_>>().join(", ");
            let fields = match variant.fields {
                Fields::Named(_) => format!(" {{ {fields} }}"),
                Fields::Unnamed(_) => format!("({fields})"),
                Fields::Unit => String::new(),
            };
            let line = format!("variant {path}::{}{fields}", variant.ident);
            self.line(line, module, &variant.fields);
        }
    }

    fn list_trait(&mut self, item: &ItemTrait, module: &ModulePath, path: &str, marks: &str) {
        let bounds = match item.supertraits.is_empty() {
            true => String::new(),
            false => format!(": {}", tidy(&item.supertraits)),
        };
        self.lines
            .insert(format!("trait {path}{}{bounds}{marks}", tidy(&item.generics)));
        for inner in &item.items {
            match inner {
                TraitItem::Fn(inner) => {
                    let path = format!("{path}::{}", inner.sig.ident);
                    let provided = if inner.default.is_some() { " { .. }" } else { "" };
                    let line = format!("{}{provided}", signature(&inner.sig, &path));
                    self.line(line, module, &inner.sig);
                }
                TraitItem::Const(inner) => {
                    let line = format!("const {path}::{}: {}", inner.ident, tidy(&inner.ty));
                    self.line(line, module, &inner.ty);
                }
                TraitItem::Type(inner) => {
                    let line = format!("type {path}::{}", inner.ident);
                    self.lines.insert(line);
                }
                _ => {}
            }
        }
    }

    fn list_derived(&mut self, attributes: &[Attribute], path: &str) {
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("derive"))
        {
            let derived = attribute.meta.require_list().map(|list| list.tokens.to_string());
            for name in derived.unwrap_or_default().split(',') {
                self.lines.insert(format!("impl {} for {path}", name.trim()));
            }
        }
    }

    fn list_implementations(&mut self) {
        let source = self.source;
        for (module, items) in &source.modules {
            for item in items {
                if let Item::Impl(item) = item {
                    self.list_implementation(item, module);
                }
            }
        }
    }

    fn list_implementation(&mut self, item: &ItemImpl, module: &ModulePath) {
        let of = self
            .definition_of(&item.self_ty, module)
            .and_then(|of| self.path_of(&of));
        let Some((_, path, _)) = &item.trait_ else {
            if let Some(of) = of {
                self.list_methods(item, module, &of);
            }
            return;
        };
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        let (is_ours, is_public) = match self.source.resolve(module, &segments) {
            Named::Item(of, ident) => (true, self.public.contains_key(&(of, ident))),
            Named::Module(_) | Named::Foreign => (false, true),
        };
        if !is_public || (of.is_none() && !is_ours) {
            return;
        }
        let of = of.unwrap_or_else(|| tidy(&item.self_ty));
        let line = format!(
            "impl{} {} for {of}{}",
            tidy(&item.generics),
            tidy(path),
            marks(&item.attrs)
        );
        self.lines.insert(line);
    }

    fn list_methods(&mut self, item: &ItemImpl, module: &ModulePath, of: &str) {
        for inner in &item.items {
            match inner {
                ImplItem::Fn(inner) if matches!(inner.vis, Visibility::Public(_)) => {
                    let path = format!("{of}::{}", inner.sig.ident);
                    let line = format!("{}{}", signature(&inner.sig, &path), marks(&inner.attrs));
                    self.line(line, module, &inner.sig);
                }
                ImplItem::Const(inner) if matches!(inner.vis, Visibility::Public(_)) => {
                    let line = format!("const {of}::{}: {}", inner.ident, tidy(&inner.ty));
                    self.line(line, module, &inner.ty);
                }
                _ => {}
            }
        }
    }

    /// Where the type behind references and smart pointers is defined, if it is ours.
    fn definition_of(&self, ty: &Type, module: &ModulePath) -> Option<Definition> {
        match ty {
            Type::Reference(reference) => self.definition_of(&reference.elem, module),
            Type::Path(path) => {
                let segments = path.path.segments.iter();
                let segments: Vec<_> = segments.map(|segment| segment.ident.to_string()).collect();
                match self.source.resolve(module, &segments) {
                    Named::Item(module, ident) => Some((module, ident)),
                    Named::Module(_) | Named::Foreign => None,
                }
            }
            _ => None,
        }
    }

    /// Adds a line, and what its signature names that is not public.
    fn line(&mut self, line: String, module: &ModulePath, signature: &dyn Signature) {
        let mut paths = Paths::default();
        signature.visit(&mut paths);
        for path in paths.0 {
            if let Named::Item(of, ident) = self.source.resolve(module, &path)
                && !self.public.contains_key(&(of, ident.clone()))
            {
                self.hidden.insert(format!("{line}: {ident} is not public"));
            }
        }
        self.lines.insert(line);
    }
}

/// The paths in a piece of source.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(
            path.segments
                .iter()
                .map(|segment| segment.ident.to_string())
                .collect(),
        );
        syn::visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

/// A piece of source that names types.
trait Signature {
    fn visit(&self, paths: &mut Paths);
}

impl Signature for Type {
    fn visit(&self, paths: &mut Paths) {
        paths.visit_type(self);
    }
}

impl Signature for syn::Signature {
    fn visit(&self, paths: &mut Paths) {
        paths.visit_signature(self);
    }
}

impl Signature for syn::Generics {
    fn visit(&self, paths: &mut Paths) {
        paths.visit_generics(self);
    }
}

impl Signature for Fields {
    fn visit(&self, paths: &mut Paths) {
        paths.visit_fields(self);
    }
}

fn ident(item: &Item) -> Option<(String, &Visibility)> {
    let (ident, visibility) = match item {
        Item::Struct(item) => (&item.ident, &item.vis),
        Item::Enum(item) => (&item.ident, &item.vis),
        Item::Fn(item) => (&item.sig.ident, &item.vis),
        Item::Const(item) => (&item.ident, &item.vis),
        Item::Static(item) => (&item.ident, &item.vis),
        Item::Type(item) => (&item.ident, &item.vis),
        Item::Trait(item) => (&item.ident, &item.vis),
        Item::Mod(item) => (&item.ident, &item.vis),
        _ => return None,
    };
    Some((ident.to_string(), visibility))
}

/// Attributes that callers notice.
fn marks(attributes: &[Attribute]) -> String {
    let noticed = attributes.iter().filter(|attribute| {
        let path = attribute.path();
        path.is_ident("non_exhaustive") || path.is_ident("cfg") || path.is_ident("deprecated")
    });
    noticed.map(|attribute| format!(" {}", tidy(attribute))).collect()
}

fn signature(signature: &syn::Signature, path: &str) -> String {
    let text = tidy(signature);
    let name = format!("fn {}", signature.ident);
    // `mut` before a parameter is the function's own matter.
    let text = text.replace("(mut ", "(").replace(", mut ", ", ");
    text.replacen(&name, &format!("fn {path}"), 1)
}

/// Source as people write it: the tokens come with a space between any two.
fn tidy(source: &impl ToTokens) -> String {
    let mut text = source.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" <", "<"),
        (" >", ">"),
        (" ,", ","),
        (",)", ")"),
        ("( ", "("),
        (" )", ")"),
        (" (", "("),
        ("[ ", "["),
        (" ]", "]"),
        (" ;", ";"),
        (" : ", ": "),
        ("& ", "&"),
        ("# [", "#["),
        (" ?", "?"),
        ("->(", "-> ("),
        (" :", ":"),
        ("impl(", "impl ("),
        ("dyn(", "dyn ("),
    ] {
        text = text.replace(from, to);
    }
    text
}
