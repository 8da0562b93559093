//! Keys and tokens that the tests share.

/// RFC 8292 §2.4: the token of its example; for `https://push.example.net`, until 1453523768.
pub(crate) const RFC_TOKEN: &str = concat!(
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9",
    ".eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0",
    ".i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA",
);

/// RFC 8292 §3.2: the key of its example.
pub(crate) const RFC_KEY: &str =
    "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs";

/// A token of our own, for `https://push.example.test:8443`, until 1893456000.
pub(crate) const OUR_TOKEN: &str = concat!(
    "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9",
    ".eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS50ZXN0Ojg0NDMiLCJleHAiOjE4OTM0NTYwMDAsInN1YiI6Im1haWx0bzpvcHNAZXhhbXBsZS50ZXN0In0",
    ".Q42tb7pdNkgHASFR7kCHKv175ZHNmClfC74IxW7a_MD6J4ITSD3KhlnNdtuE41cLJ2iJnNuF-H98cieG-YabDQ",
);

/// The key of [`OUR_TOKEN`].
pub(crate) const OUR_KEY: &str =
    "BOhnStszuT6lEbkZ6rxsR5X0Fo_UHLG9FDZTSgbheRmjY7sIAKlGlHT4gh6y18tdWySS09MUb2onpNjeLZVWQ8A";

/// The private half of [`OUR_KEY`].
pub(crate) const OUR_PRIVATE_KEY: &str = "M3jgOU_f3ZtDezx7vJcEoXdAOgTLaLIuqof782JOGm4";
