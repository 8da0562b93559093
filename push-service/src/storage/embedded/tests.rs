//! What only a store on disk can promise, beside the suite that all storages share.

use std::sync::Arc;

use super::*;
use crate::storage::contract::{Rig, suite};

async fn open() -> Rig {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::new(|announce, clock| {
        let options = Options {
            clock,
            ..Options::new(directory.path(), announce)
        };
        Arc::new(Embedded::open(options).unwrap())
    });
    rig.keeping(directory)
}

suite!(open);
