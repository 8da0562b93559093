//! From the text of a file to the names that its modules define, import and mention.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The segments of a path, from the root of the crate.
pub(crate) type ModulePath = Vec<String>;

/// What matters of a module's code.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// Items that it defines.
    pub(crate) items: Vec<String>,
    /// Names that it imports or re-exports, each with its path.
    pub(crate) imports: Vec<(String, Vec<String>)>,
    /// Paths of `use …::*`.
    pub(crate) globs: Vec<Vec<String>>,
    /// Paths of at least two segments in its code, `use` included.
    pub(crate) mentions: Vec<Mention>,
}

#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    /// File and line.
    pub(crate) at: String,
}

/// A module of a file: the file's own, or one that is written inside of it.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path within the file's own module.
    pub(crate) inner: ModulePath,
    pub(crate) module: Module,
    /// Modules that it declares and that stand in other files.
    pub(crate) declares: Vec<String>,
}

/// All modules in a file, its own one first. Code for tests only is left out.
pub(crate) fn source(file: &str, text: &str) -> Vec<Source> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut reader = Reader {
        file,
        found: Vec::new(),
    };
    reader.module(Vec::new(), tokens);
    reader.found
}

struct Reader<'a> {
    file: &'a str,
    found: Vec<Source>,
}

impl Reader<'_> {
    fn module(&mut self, inner: ModulePath, tokens: TokenStream) {
        let at = self.found.len();
        self.found.push(Source {
            inner,
            module: Module::default(),
            declares: Vec::new(),
        });
        self.code(at, tokens, true);
    }

    /// Reads code of module number `at`. Only at the top level of a module do names belong to the module.
    fn code(&mut self, at: usize, tokens: TokenStream, top: bool) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut next = 0;
        while next < tokens.len() {
            next = self.token(at, &tokens, next, top);
        }
    }

    /// Reads what begins at `next`, and returns where to go on.
    fn token(&mut self, at: usize, tokens: &[TokenTree], next: usize, top: bool) -> usize {
        if is_punctuation(tokens.get(next), '#') {
            return self.attribute(at, tokens, next);
        }
        let Some(word) = word(tokens.get(next)) else {
            if let Some(TokenTree::Group(group)) = tokens.get(next) {
                self.code(at, group.stream(), false);
            }
            // A path that begins with `::` names another crate.
            return match is_double_colon(tokens, next) {
                true => path(tokens, next + 2).1,
                false => next + 1,
            };
        };
        match word.as_str() {
            "use" if !is_punctuation(tokens.get(next + 1), '<') => self.import(at, tokens, next + 1),
            "mod" => self.child(at, tokens, next),
            "fn" | "struct" | "enum" | "union" | "trait" | "const" | "static" | "type" | "macro_rules"
                if top =>
            {
                let name = next + 1 + usize::from(word == "macro_rules");
                if let Some(name) = self::word(tokens.get(name)).filter(|name| !is_keyword(name)) {
                    self.found[at].module.items.push(name);
                }
                next + 1
            }
            _ => self.mention(at, tokens, next),
        }
    }

    /// An attribute. If it says that what follows is for tests only, that is skipped.
    fn attribute(&mut self, at: usize, tokens: &[TokenTree], next: usize) -> usize {
        let body = next + 1 + usize::from(is_punctuation(tokens.get(next + 1), '!'));
        let Some(TokenTree::Group(group)) = tokens.get(body) else {
            return next + 1;
        };
        if is_for_tests(group) {
            return end_of_item(tokens, body + 1);
        }
        self.code(at, group.stream(), false);
        body + 1
    }

    fn child(&mut self, at: usize, tokens: &[TokenTree], next: usize) -> usize {
        let Some(name) = word(tokens.get(next + 1)) else {
            return next + 1;
        };
        match tokens.get(next + 2) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                let inner = [self.found[at].inner.clone(), vec![name]].concat();
                self.module(inner, group.stream());
            }
            _ => self.found[at].declares.push(name),
        }
        next + 3
    }

    fn import(&mut self, at: usize, tokens: &[TokenTree], next: usize) -> usize {
        let end = (next..tokens.len()).find(|index| is_punctuation(tokens.get(*index), ';'));
        let end = end.unwrap_or(tokens.len());
        // `use ::name` names another crate.
        if !is_double_colon(tokens, next) {
            self.tree(at, &[], &tokens[next..end]);
        }
        end + 1
    }

    /// One part of a `use`, behind `prefix`.
    fn tree(&mut self, at: usize, prefix: &[String], tokens: &[TokenTree]) {
        let (segments, next) = path(tokens, 0);
        let path = [prefix, &segments].concat();
        match tokens.get(next) {
            Some(TokenTree::Group(group)) => {
                let inner: Vec<_> = group.stream().into_iter().collect();
                for part in inner.split(|token| is_punctuation(Some(token), ',')) {
                    self.tree(at, &path, part);
                }
            }
            Some(star) if is_punctuation(Some(star), '*') => self.found[at].module.globs.push(path),
            Some(_) => self.leaf(at, path, word(tokens.get(next + 1)), &tokens[0]),
            None if tokens.is_empty() => {}
            None => self.leaf(at, path, None, &tokens[0]),
        }
    }

    fn leaf(&mut self, at: usize, mut path: Vec<String>, alias: Option<String>, token: &TokenTree) {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let mention = Mention {
            path: path.clone(),
            at: self.place(token),
        };
        let module = &mut self.found[at].module;
        if let Some(name) = alias.or_else(|| path.last().cloned()) {
            module.imports.push((name, path));
        }
        module.mentions.push(mention);
    }

    fn mention(&mut self, at: usize, tokens: &[TokenTree], next: usize) -> usize {
        let (path, end) = path(tokens, next);
        if path.len() > 1 {
            let mention = Mention {
                path,
                at: self.place(&tokens[next]),
            };
            self.found[at].module.mentions.push(mention);
        }
        end.max(next + 1)
    }

    fn place(&self, token: &TokenTree) -> String {
        format!("{}:{}", self.file, token.span().start().line)
    }
}

/// The segments `a::b::c` from `next` on, and where they end: at a token that is no segment.
fn path(tokens: &[TokenTree], mut next: usize) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    while let Some(segment) = word(tokens.get(next)) {
        segments.push(segment);
        next += 1;
        if !is_double_colon(tokens, next) {
            break;
        }
        next += 2;
    }
    (segments, next)
}

/// Where the item ends that begins at `next`: behind its semicolon or its block.
fn end_of_item(tokens: &[TokenTree], next: usize) -> usize {
    let is_use = (next..tokens.len())
        .map(|index| word(tokens.get(index)))
        .take_while(Option::is_some)
        .any(|word| word.is_some_and(|word| word == "use"));
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(mark) => matches!(mark.as_char(), ';' | ','),
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && !is_use,
        _ => false,
    };
    tokens[next..]
        .iter()
        .position(ends)
        .map_or(tokens.len(), |at| next + at + 1)
}

/// `#[cfg(test)]`, `#[cfg(all(test, …))]`, `#[test]`, `#[tokio::test]`.
fn is_for_tests(attribute: &Group) -> bool {
    let text: String = attribute.stream().to_string().split_whitespace().collect();
    let condition = text
        .strip_prefix("cfg(")
        .map(|rest| rest.strip_prefix("all(").unwrap_or(rest));
    match condition {
        Some(condition) => condition.split([',', ')']).any(|part| part == "test"),
        None => text == "test" || text.starts_with("tokio::test"),
    }
}

fn word(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(word)) => Some(word.to_string().trim_start_matches("r#").to_owned()),
        _ => None,
    }
}

/// `const fn`, `unsafe trait` and the like: the name comes later. `const _` names nothing.
fn is_keyword(word: &str) -> bool {
    matches!(word, "fn" | "mut" | "unsafe" | "extern" | "async" | "_")
}

fn is_punctuation(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == mark)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    is_punctuation(tokens.get(at), ':') && is_punctuation(tokens.get(at + 1), ':')
}
