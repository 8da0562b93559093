//! A configuration in a few lines, for `config check` and the log: what an operator looks at first. No secrets.

use std::fmt;
use std::fmt::Display;

use super::{Config, Domain, Tls};

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listen = &self.listen;
        let security = &self.security;
        match &self.public_url {
            Some(url) => writeln!(f, "public URL    {url}")?,
            None => writeln!(f, "public URL    from the first public listener")?,
        }
        writeln!(f, "HTTP          {}", joined(&listen.http))?;
        writeln!(f, "TLS           {}", joined(&listen.tls))?;
        if !listen.tls.is_empty() {
            writeln!(f, "certificate   {}", certificate(&self.tls))?;
        }
        writeln!(f, "admin         {}", joined(&listen.admin))?;
        writeln!(f, "storage       {}", self.storage.url)?;
        match security.sealing_keys.len() {
            0 => writeln!(f, "sealing keys  made and kept by the storage")?,
            keys => writeln!(f, "sealing keys  {keys}")?,
        }
        match (security.application_servers.len(), security.require_vapid) {
            (0, false) => writeln!(f, "senders       any")?,
            (0, true) => writeln!(f, "senders       any with a VAPID signature")?,
            (keys, _) => writeln!(f, "senders       {keys} application servers, by their keys")?,
        }
        match security.user_agent_secret {
            Some(_) => write!(f, "user agents   only with security.user_agent_secret"),
            None => write!(f, "user agents   any"),
        }
    }
}

fn certificate(tls: &Tls) -> String {
    let domains = tls.acme.domains.iter().map(Domain::as_str);
    let own = match &tls.certificate {
        Some(file) => file.display().to_string(),
        None if tls.acme.domains.is_empty() => "self-signed".to_owned(),
        None => format!("ordered for {}", domains.collect::<Vec<_>>().join(", ")),
    };
    match &tls.directory {
        Some(directory) => format!("{own}, further ones from {}", directory.display()),
        None => own,
    }
}

fn joined<T: Display>(list: &[T]) -> String {
    if list.is_empty() {
        return "none".to_owned();
    }
    list.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
