//! One connection through a gate: two lanes, each passing or standing still as the gate was told.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

use super::{Order, Passage, SUBSCRIBERS, Way, Which};

/// What is read at once. Chosen: a page or two of messages.
const CHUNK_BYTES: usize = 16 * 1024;

/// Carries one connection until both sides have ended, or one has failed, or the server behind the gate is gone.
pub(super) async fn carry(client: TcpStream, passage: &Passage) -> io::Result<()> {
    let server = TcpStream::connect(passage.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let said = watch::Sender::new(Vec::new());
    let lane = |way| Lane {
        passage,
        way,
        orders: passage.order.subscribe(),
        said: said.subscribe(),
    };
    tokio::try_join!(
        lane(Way::ToServer).run(from_client, to_server, WordListener::new(&passage.words, &said)),
        lane(Way::ToClient).run(from_server, to_client, WordListener::for_nothing(&said)),
    )?;
    Ok(())
}

/// One way of one connection.
struct Lane<'a> {
    passage: &'a Passage,
    way: Way,
    orders: watch::Receiver<Order>,
    said: watch::Receiver<Vec<&'static str>>,
}

impl Lane<'_> {
    async fn run(
        mut self,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        mut listener: WordListener<'_>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut buffer).await?;
            let mut chunk = &buffer[..length];
            for word in listener.hear(chunk) {
                let counts = &self.passage.counts;
                counts.send_modify(|counts| *counts.said.entry(word).or_default() += 1);
            }
            self.wait_until_stalled_is(false).await;
            if chunk.is_empty() {
                return to.shutdown().await;
            }
            while !chunk.is_empty() {
                self.wait_until_stalled_is(false).await;
                tokio::select! {
                    biased;
                    () = self.wait_until_stalled_is(true) => {}
                    written = to.write(chunk) => {
                        let written = written?;
                        chunk = &chunk[written..];
                        self.count(written);
                    }
                }
            }
        }
    }

    async fn wait_until_stalled_is(&mut self, stalled: bool) {
        while self.is_stalled() != stalled {
            // The other ends live as long as the connection.
            tokio::select! {
                _ = self.orders.changed() => {}
                _ = self.said.changed() => {}
            }
        }
    }

    fn is_stalled(&mut self) -> bool {
        let order = *self.orders.borrow_and_update();
        let said = self.said.borrow_and_update();
        match order {
            Order::Stall(which, way) => {
                let this_one = match which {
                    Which::All => true,
                    Which::Said(word) => said.contains(&word),
                };
                this_one && (way == Way::Both || way == self.way)
            }
            Order::Pass => false,
            // What stands still or comes then is lost: the connection is about to be closed.
            Order::Cut => true,
        }
    }

    fn count(&self, written: usize) {
        self.passage.counts.send_modify(|counts| match self.way {
            Way::ToServer => counts.to_server_bytes += written as u64,
            Way::ToClient | Way::Both => counts.to_client_bytes += written as u64,
        });
    }
}

/// The head of a command before its first word, `*2\r\n$10\r\n`: so many bytes at most are kept of what was heard.
const HEAD_BYTES: usize = 16;

/// Whether the word that follows is a command, and not one that another command names, as `ACL DRYRUN` does.
fn is_command(before: &[u8]) -> bool {
    let mut lines = before.rsplit(|byte| *byte == b'\n');
    let is_line = |line: Option<&[u8]>, first: u8| line.is_some_and(|line| line.first() == Some(&first));
    // Behind the last line break there is nothing, or the S of SSUBSCRIBE.
    lines.next();
    is_line(lines.next(), b'$') && is_line(lines.next(), b'*')
}

/// Listens for words in what a client says, each once.
struct WordListener<'a> {
    words: Vec<&'static str>,
    said: &'a watch::Sender<Vec<&'static str>>,
    /// The end of what was heard: a word may come in two chunks.
    recent: Vec<u8>,
}

impl<'a> WordListener<'a> {
    fn new(words: &[&'static str], said: &'a watch::Sender<Vec<&'static str>>) -> Self {
        Self {
            words: words.to_vec(),
            said,
            recent: Vec::new(),
        }
    }

    fn for_nothing(said: &'a watch::Sender<Vec<&'static str>>) -> Self {
        Self::new(&[], said)
    }

    /// The words that are said for the first time.
    fn hear(&mut self, chunk: &[u8]) -> Vec<&'static str> {
        let longest = self.words.iter().map(|word| word.len()).max().unwrap_or(0);
        if longest == 0 {
            return Vec::new();
        }
        self.recent.extend_from_slice(chunk);
        let (recent, words) = (&self.recent, &mut self.words);
        let is_said = |word: &&str| {
            let mut places = recent.windows(word.len()).enumerate();
            places.any(|(at, place)| {
                place.eq_ignore_ascii_case(word.as_bytes())
                    && (!SUBSCRIBERS.contains(word) || is_command(&recent[..at]))
            })
        };
        let (heard, unheard) = words.drain(..).partition(is_said);
        *words = unheard;
        let heard: Vec<&'static str> = heard;
        if !heard.is_empty() {
            self.said.send_modify(|said| said.extend(&heard));
        }
        let kept = HEAD_BYTES + longest - 1;
        self.recent.drain(..self.recent.len().saturating_sub(kept));
        heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command is heard once, in whatever case, also when it comes in pieces, and not when it was not said, or only named by
    /// another command.
    #[test]
    fn words_are_heard_across_chunks() {
        let said = watch::Sender::new(Vec::new());
        let mut listener = WordListener::new(&["SUBSCRIBE", "SSUBSCRIBE"], &said);
        for (chunk, heard) in [
            (&b"*2\r\n$9\r\nSUBSCRIB"[..], &[][..]),
            (b"!", &[]),
            (
                b"*5\r\n$3\r\nACL\r\n$6\r\nDRYRUN\r\n$7\r\ndefault\r\n$10\r\nSSUBSCRIBE\r\n",
                &[],
            ),
            (b"*2\r\n$10\r\nSSUBs", &[]),
            (b"cri", &[]),
            (b"be", &["SUBSCRIBE", "SSUBSCRIBE"]),
            (b"*2\r\n$10\r\nSSUBSCRIBE", &[]),
        ] {
            assert_eq!(listener.hear(chunk), heard, "{}", String::from_utf8_lossy(chunk));
        }
        assert_eq!(*said.borrow(), ["SUBSCRIBE", "SSUBSCRIBE"]);
    }
}
