//! `keys`: the application server's key pair.

use user_agent_client::application_server::key_file;

use super::args::Keys;
use super::console::{print_line, say};
use super::exit::{Exit, Failure};

pub(super) fn keys(arguments: &Keys) -> Result<Exit, Failure> {
    let file = &arguments.vapid_key;
    let (key, is_new) = key_file::read_or_make(file).map_err(|error| Failure::of_key(file, &error))?;
    if is_new {
        say(format_args!(
            "{} holds a new private key. Keep it secret, and keep a copy: subscriptions for it accept only \
             messages signed with it",
            file.display()
        ));
    }
    print_line(key.public_key())?;
    Ok(Exit::Done)
}
