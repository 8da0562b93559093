//! What makes a section: its fields, their documentation, their defaults and their ranges, written once.
//!
//! The `section!` macro makes of one table the struct that the service reads, its `Default`, its reader, and the
//! description from which `config print-default` and the search for the nearest key live. So none of the four can
//! contradict another.

use std::ops::RangeInclusive;

use super::given::Given;
use super::setting::Setting;
use super::unsure::Unsure;

/// One line of the table, to be printed or searched.
pub(crate) enum Item {
    /// A section begins. Its path is empty for the root.
    Section {
        /// Dotted.
        path: &'static str,
        /// Its documentation, one entry a line.
        about: &'static [&'static str],
    },
    /// A key of the section before it.
    Key {
        /// Its last part.
        name: &'static str,
        /// Its documentation, one entry a line.
        about: &'static [&'static str],
        /// Its default, in TOML.
        default: String,
        /// What it takes.
        takes: String,
    },
}

/// A part of the configuration with keys of its own.
pub(crate) trait Section: Sized {
    /// Lists its keys, and those of the sections in it.
    fn describe(items: &mut Vec<Item>);

    /// Takes its values out of what was given.
    fn read(reader: &mut Reader) -> Self;
}

/// Takes values out of what was given, and collects a sentence for each that is not good.
pub(crate) struct Reader {
    given: Given,
    /// What the operator has to mend.
    pub(crate) faults: Vec<String>,
    /// Keys for which something was given that is no value for them.
    pub(crate) unsure: Unsure,
}

impl Reader {
    /// Reads from `given`.
    pub(crate) fn new(given: Given, unsure: Unsure) -> Self {
        Self {
            given,
            faults: Vec::new(),
            unsure,
        }
    }

    /// The value of a key; its default if it was not given, or with a fault if it is no value for it.
    pub(crate) fn take<T: Setting>(
        &mut self,
        section: &str,
        name: &str,
        default: T,
        bounds: &Bounds<T>,
    ) -> T {
        let key = dotted(section, name);
        let Some((raw, source)) = self.given.take(&key) else {
            return default;
        };
        match T::parse(&raw).filter(|value| bounds.hold(value)) {
            Some(value) => value,
            None => {
                self.unsure.note(&key);
                let place = source.name(&key);
                let shown = T::show(&raw).filter(|_| source.may_be_quoted());
                let value = shown.map_or_else(|| "its value".to_owned(), |shown| format!("`{shown}`"));
                let why = T::why_not(&raw).or_else(|| raw.why_not());
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                self.faults.push(format!(
                    "{place}: {value} is not accepted{why}; it takes {}",
                    bounds.takes()
                ));
                default
            }
        }
    }
}

/// The range that a value has to be in, if it has one.
pub(crate) struct Bounds<T> {
    range: Option<RangeInclusive<T>>,
    contains: fn(&RangeInclusive<T>, &T) -> bool,
}

impl<T: Setting> Bounds<T> {
    /// Any value will do.
    pub(crate) fn none() -> Self {
        Self {
            range: None,
            contains: |_, _| true,
        }
    }

    /// Both ends are allowed.
    pub(crate) fn within(range: RangeInclusive<T>) -> Self
    where
        T: PartialOrd,
    {
        Self {
            range: Some(range),
            contains: |range, value| range.contains(value),
        }
    }

    fn hold(&self, value: &T) -> bool {
        self.range
            .as_ref()
            .is_none_or(|range| (self.contains)(range, value))
    }

    /// What a value looks like, for a person.
    pub(crate) fn takes(&self) -> String {
        let kind = T::takes();
        let bare = |value: &T| value.to_toml().trim_matches('"').to_owned();
        match &self.range {
            None => kind,
            Some(range) => format!("{kind}, from {} to {}", bare(range.start()), bare(range.end())),
        }
    }
}

/// `section.name`, or `name` in the root.
pub(crate) fn dotted(section: &str, name: &str) -> String {
    if section.is_empty() {
        name.to_owned()
    } else {
        format!("{section}.{name}")
    }
}

/// Declares one section: a struct of documented keys with defaults, and of further sections.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $path:literal $name:ident {
            $( $(#[doc = $doc:literal])+ $key:ident: $type:ty = $default:expr $(, in $range:expr)?; )*
        }
        $( sections { $( $(#[doc = $inner_doc:literal])+ $inner:ident: $section:ty; )+ } )?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, PartialEq, Debug)]
        pub struct $name {
            $( $(#[doc = $doc])+ pub $key: $type, )*
            $( $( $(#[doc = $inner_doc])+ pub $inner: $section, )+ )?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $( $key: $default, )*
                    $( $( $inner: <$section>::default(), )+ )?
                }
            }
        }

        impl $crate::config::sections::Section for $name {
            fn describe(items: &mut Vec<$crate::config::sections::Item>) {
                items.push($crate::config::sections::Item::Section { path: $path, about: &[$($about),+] });
                $( items.push($crate::config::sections::Item::Key {
                    name: stringify!($key),
                    about: &[$($doc),+],
                    default: <$type as $crate::config::setting::Setting>::to_toml(&$default),
                    takes: section!(@bounds $type $(, $range)?).takes(),
                }); )*
                $( $( <$section as $crate::config::sections::Section>::describe(items); )+ )?
            }

            fn read(reader: &mut $crate::config::sections::Reader) -> Self {
                Self {
                    $( $key: reader.take(
                        $path,
                        stringify!($key),
                        $default,
                        &section!(@bounds $type $(, $range)?),
                    ), )*
                    $( $( $inner: <$section as $crate::config::sections::Section>::read(reader), )+ )?
                }
            }
        }
    };
    (@bounds $type:ty) => { $crate::config::sections::Bounds::<$type>::none() };
    (@bounds $type:ty, $range:expr) => { $crate::config::sections::Bounds::<$type>::within($range) };
}

pub(crate) use section;
