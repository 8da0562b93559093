//! The long help of each command.

pub(super) const ABOUT: &str = "\
A Web Push user agent without a browser: for kiosks, gateways, desktops and servers.

It subscribes at a push service, you give the subscription to an application server, and what that one sends arrives here: \
stored while this machine was away, encrypted up to here. Try it on one machine:

    user-agent-client subscribe --server ws://127.0.0.1:8080 > subscription.json
    user-agent-client send --subscription subscription.json 'Hello'
    user-agent-client listen --count 1

Results go to standard output, everything else to standard error. Connections go through the HTTP proxy that HTTPS_PROXY, HTTP_PROXY \
and ALL_PROXY name, but not to what NO_PROXY names; --proxy URL or --proxy none say it regardless of them.";

pub(super) const SUBSCRIBE: &str = "\
Makes a subscription, or finds the one of this name again, and prints it in one line of JSON: a PushSubscription, as \
browsers give it to their pages. Give it to the application server, over a channel that others can't read: whoever has it \
can send, unless --application-server-key restricts it.

The first time, --server says which push service to use; the state remembers it, and stays with it once that has \
confirmed something. While `listen` runs with the same state, it does the work; nothing else changes.

The URL says how to talk to it: wss:// is the WebSocket that Firefox speaks, https:// is RFC 8030 over HTTP/2, which needs a \
direct connection, because most proxies drop server push. A secret in the path stands in both. --transport says it \
regardless of the URL. A subscription stays with the transport that it was made over.

    user-agent-client subscribe --server wss://push.example.net --name doorbell > doorbell.json
    user-agent-client subscribe --server https://push.example.net --state over-http2 > doorbell.json
    user-agent-client subscribe --name alarms --application-server-key \"$(user-agent-client keys --vapid-key alarms.pem)\"";

pub(super) const LISTEN: &str = "\
Connects, stays connected, and hands over each message that arrives for any subscription of the state. A message is \
acknowledged, and so leaves the push service, when it was handed over: when its line is written, when the command of --exec \
ended with 0, when the desktop shows it. Otherwise it comes again, --attempts times, or 16 times \
over restarts and crashes; then it is given up. What comes twice has the same id.

--format text prints what the message says. A line is a message: line feeds are written \\n, carriage returns \\r, \
backslashes \\\\, and other control characters but tabs as \\u{1b}; bytes that are no UTF-8 become U+FFFD, and a message \
without data is an empty line.

--format json prints {\"subscription\":NAME,\"id\":ID,\"attempt\":1,\"time\":MS,\"received\":MS,\"text\":TEXT}. Instead of \
text there is base64 if the bytes are no UTF-8; an empty message has the text \"\", one without data null. Times are \
milliseconds since 1970; time (when the service accepted it), urgency and topic are there if the service says them.

--exec runs a command for each message. Its standard input is the message, byte by byte; PUSH_SUBSCRIPTION, PUSH_MESSAGE_ID, \
PUSH_ATTEMPT and PUSH_RECEIVED are in its environment, and PUSH_TIME, PUSH_URGENCY and PUSH_TOPIC if the service says them. \
What it prints is passed through. When listen ends, even by kill -9, its commands are killed.

Exit code 0 acknowledges the message. 75, 126 and 127 say that the command can't work now: messages wait, one is tried after \
1 s, 2 s, … 60 s, and none is given up. Any other code is a failed attempt. --exec-for and --exec-dir give a subscription a \
command of its own.

--notify shows each message on the desktop. One in the declarative format (web_push: 8030) says itself what to show and \
where a click leads; another one has the subscription's name as title.

    user-agent-client listen
    user-agent-client listen --format json --count 10 | jq -r .text
    user-agent-client listen --exec 'logger -t \"$PUSH_SUBSCRIPTION\"' --attempts 5
    user-agent-client listen --exec-for alarms=./alarm --exec 'cat; echo' --jobs 4
    user-agent-client listen --notify

--urgency takes only what is worth the battery: messages that were sent with this urgency or a higher one. The rest stays \
with the service until it expires, or until somebody listens with a lower one. Over a WebSocket, Mozilla's service closes the \
channel of whoever asks for that.

--until-empty hands over what waits, and ends with 0 when the service says that nothing waits any more; by then the service \
knows every acknowledgement. Only over HTTP/2 does a push service say so. While it can't be reached, this goes on trying: give \
it a deadline, as below.

    user-agent-client listen --urgency high --notify
    timeout 60 user-agent-client listen --until-empty --exec ./work

If the service lost the subscriptions, they are made anew, with other URLs and keys, and the application server has to get \
them: --on-renew runs a command that does it, with the new subscription as standard input and PUSH_SUBSCRIPTION in its \
environment. One that fails is run again. Until such a command ended with 0, or `subscribe` printed the new one, it is said \
again at each start.

SIGINT and SIGTERM end it well: what is being worked on is finished, acknowledgements are sent. A second one ends it at once.";

pub(super) const UNSUBSCRIBE: &str = "\
Ends a subscription. No message of it is handed over from now on; when the push service knows, application servers learn \
that it is gone. If the service can't be reached in time, it is told by the next `listen` or `subscribe`, and the exit code \
is 4.

    user-agent-client unsubscribe --name doorbell";

pub(super) const LIST: &str = "\
Shows the subscriptions of a state directory, one in each line. It takes no lock, so it works while `listen` runs.

--format text prints name and state, separated by a tab: ready; waiting, if the push service hasn't confirmed it yet; or \
renewed, if it is another one than the application server was told.

--format json prints an object with name, state, created (milliseconds since 1970), application_server_key and \
subscription: what `subscribe` prints, or null. Whoever reads it can send.

    user-agent-client list
    user-agent-client list --format json | jq -c 'select(.state == \"renewed\").subscription'";

pub(super) const SEND: &str = "\
Sends one message, as an application server does: encrypted for the subscription (RFC 8291), signed if there is a key (RFC \
8292). Prints the URL of the message, which says that the push service has it, not that it arrived. A DELETE there takes it \
back as long as it hasn't.

The message is TEXT, or standard input, at most 3993 bytes with the padding.

    user-agent-client send --subscription doorbell.json 'Somebody is at the door'
    date | user-agent-client send --subscription doorbell.json --vapid-key alarms.pem --subject mailto:me@example.com
    user-agent-client send --subscription - --ttl 0 --urgency high 'Now or never' < doorbell.json
    user-agent-client send --subscription doorbell.json --ttl 60 --receipt 'Are you there?' || echo nobody

--receipt asks for a receipt and waits for it: until the message's time is over, for --timeout seconds, or until a signal comes. \
The URL of the message goes to standard error at once; what became of it to standard output: `acknowledged by the user agent`, \
or `given up by the push service`, with exit code 9. An acknowledgement says that the user agent is done with the message, not that \
its application did what you wanted: one that failed several times, or could not be decrypted, is acknowledged too. A message \
that is replaced by its topic has no receipt. Exit code 4 says that none came in time, or that this service gives none; the message may still arrive.

Exit code 5 says that the subscription is gone: forget it. Exit code 6 says that the service wants no more now; the sentence \
on standard error says when.";

pub(super) const KEYS: &str = "\
Prints the public half of a VAPID key (RFC 8292): what `subscribe --application-server-key` and the page's \
applicationServerKey take. If there is no such file, a key pair is made: PEM, PKCS#8, for its owner only. A file that is \
there is only read: PEM or DER, PKCS#8 or SEC 1, or the private key that npm's web-push prints, alone or in JSON.

Don't lose it: subscriptions that are restricted to it take messages from nobody else.

    user-agent-client keys --vapid-key alarms.pem";
