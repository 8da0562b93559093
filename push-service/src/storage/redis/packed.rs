//! Values side by side in one string, as Lua's `struct` packs them.
//!
//! A layout is a struct whose fields are all [`Packed`]. It is written once, in Rust: Rust packs and reads it, and scripts get
//! its format, its size and the positions of its fields from [`layout`](super::layout). Integers are big-endian.

use push_protocol::capability::{Dialect, KeyId};
use push_protocol::{MessageNumber, SubscriptionId, SubscriptionName, Urgency, UserAgentId};

use crate::storage::spelling::{Fields, Unreadable};
use crate::storage::{Seat, SenderTag};

/// A value of a fixed size.
pub(super) trait Packed: Sized {
    const BYTES: usize;

    /// Appends its format, without the byte order.
    fn put_format(format: &mut String);

    fn put(&self, into: &mut Vec<u8>);

    fn read(fields: &mut Fields<'_>) -> Result<Self, Unreadable>;

    /// The whole value.
    fn packed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::BYTES);
        self.put(&mut bytes);
        bytes
    }

    /// Its format, with the byte order.
    fn format() -> String {
        let mut format = ">".to_owned();
        Self::put_format(&mut format);
        format
    }
}

/// Defines structs of packed fields. `position` says at which byte a field begins, as Lua counts: from 1.
macro_rules! layouts {
    ($($(#[$doc:meta])* struct $Name:ident { $($(#[$field_doc:meta])* $field:ident: $Type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Debug)]
        #[allow(dead_code, reason = "some fields and layouts are used by scripts alone")]
        pub(super) struct $Name { $($(#[$field_doc])* pub(super) $field: $Type,)* }

        impl $crate::storage::redis::packed::Packed for $Name {
            const BYTES: usize = 0 $(+ <$Type as $crate::storage::redis::packed::Packed>::BYTES)*;

            fn put_format(format: &mut String) {
                $(<$Type as $crate::storage::redis::packed::Packed>::put_format(format);)*
            }

            fn put(&self, into: &mut Vec<u8>) {
                $($crate::storage::redis::packed::Packed::put(&self.$field, into);)*
            }

            fn read(
                fields: &mut $crate::storage::spelling::Fields<'_>,
            ) -> Result<Self, $crate::storage::spelling::Unreadable> {
                $(let $field = $crate::storage::redis::packed::Packed::read(fields)?;)*
                Ok(Self { $($field,)* })
            }
        }

        impl $Name {
            #[allow(dead_code, reason = "scripts need the positions of some layouts")]
            pub(super) fn position(field: &str) -> usize {
                let mut at = 1;
                $(
                    if field == stringify!($field) {
                        return at;
                    }
                    at += <$Type as $crate::storage::redis::packed::Packed>::BYTES;
                )*
                unreachable!("no field {field} in {}, which ends at {at}", stringify!($Name))
            }
        }
    )* };
}
pub(super) use layouts;

/// An integer of six bytes. As milliseconds it lasts for another 8,900 years.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct U48(pub(super) u64);

/// The random half of a message's id. Scripts only compare it, so for them it is text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Nonce(pub(super) u64);

/// Implements [`Packed`] for a type that stands for `N` bytes.
macro_rules! packed {
    ($($Type:ty: $bytes:literal, $format:literal, |$value:ident| $put:expr, |$read:ident| $from:expr;)*) => { $(
        impl Packed for $Type {
            const BYTES: usize = $bytes;

            fn put_format(format: &mut String) {
                format.push_str($format);
            }

            fn put(&self, into: &mut Vec<u8>) {
                let $value = self;
                let bytes: [u8; $bytes] = $put;
                into.extend(bytes);
            }

            fn read(fields: &mut Fields<'_>) -> Result<Self, Unreadable> {
                let $read: [u8; $bytes] = fields.array()?;
                $from
            }
        }
    )* };
}

packed! {
    u8: 1, "B", |v| [*v], |b| Ok(b[0]);
    bool: 1, "B", |v| [u8::from(*v)], |b| Ok(b[0] != 0);
    u32: 4, "I4", |v| v.to_be_bytes(), |b| Ok(Self::from_be_bytes(b));
    u64: 8, "I8", |v| v.to_be_bytes(), |b| Ok(Self::from_be_bytes(b));
    f64: 8, "d", |v| v.to_be_bytes(), |b| Ok(Self::from_be_bytes(b));
    U48: 6, "I6", |v| {
        let [_, _, six @ ..] = v.0.min((1 << 48) - 1).to_be_bytes();
        six
    }, |b| Ok(Self(b.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))));
    MessageNumber: 8, "I8", |v| v.0.to_be_bytes(), |b| Ok(Self(u64::from_be_bytes(b)));
    Nonce: 8, "c8", |v| v.0.to_be_bytes(), |b| Ok(Self(u64::from_be_bytes(b)));
    [u8; 8]: 8, "c8", |v| *v, |b| Ok(b);
    SubscriptionId: 8, "c8", |v| v.0, |b| Ok(Self(b));
    SubscriptionName: 16, "c16", |v| v.0, |b| Ok(Self(b));
    UserAgentId: 16, "c16", |v| v.0, |b| Ok(Self(b));
    KeyId: 1, "B", |v| [v.0], |b| Ok(Self(b[0]));
    Urgency: 1, "B", |v| [*v as u8], |b| Self::from_u8(b[0]).ok_or(Unreadable);
    Dialect: 1, "B", |v| [v.to_byte()], |b| Self::from_byte(b[0]).ok_or(Unreadable);
    // Incarnation and session. No seat is zeros, which no random seat is.
    Option<Seat>: 16, "c16", |v| {
        let bits = v.map_or(0, |seat| u128::from(seat.incarnation) << 64 | u128::from(seat.session));
        bits.to_be_bytes()
    }, |b| {
        let bits = u128::from_be_bytes(b);
        Ok((bits != 0).then_some(Seat { incarnation: (bits >> 64) as u64, session: bits as u64 }))
    };
    // No sender is zeros.
    Option<SenderTag>: 8, "c8", |v| v.map_or([0; 8], SenderTag::to_bytes), |b| Ok(SenderTag::from_bytes(b));
}

#[cfg(test)]
mod tests {
    use super::*;

    layouts! {
        struct Sample {
            small: u8,
            seat: Option<Seat>,
            moment: U48,
            rate: f64,
            nonce: Nonce,
        }
    }

    /// A layout is read as it was packed; its format, size and positions are those that Lua's `struct` has to be told.
    #[test]
    fn a_layout_is_read_as_it_was_packed() {
        let sample = Sample {
            small: 7,
            seat: Some(Seat {
                incarnation: 1 << 63 | 7,
                session: 9,
            }),
            moment: U48(1_790_000_000_000),
            rate: 0.5,
            nonce: Nonce(11),
        };
        let packed = sample.packed();
        assert_eq!(packed.len(), Sample::BYTES);
        assert_eq!(Sample::read(&mut Fields(&packed)).ok(), Some(sample));
        assert_eq!(Sample::format(), ">Bc16I6dc8");
        assert_eq!((Sample::position("small"), Sample::position("moment")), (1, 18));
        for end in 0..packed.len() {
            assert!(Sample::read(&mut Fields(&packed[..end])).is_err(), "{end}");
        }
        assert_eq!(U48(u64::MAX).packed(), [0xff; 6]);
        let no_seat = Option::<Seat>::read(&mut Fields(&[0; 16]));
        assert!(matches!(no_seat, Ok(None)));
    }
}
