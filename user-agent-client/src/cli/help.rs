//! The long help of each command.

pub(super) const ABOUT: &str = "\
A Web Push user agent without a browser: for kiosks, gateways, desktops and servers.

It subscribes at a push service. You give the subscription to an application server. The messages that it sends arrive here, \
encrypted end to end; while this machine is offline, the push service stores them. Try it on one machine:

    user-agent-client subscribe --server ws://127.0.0.1:8080 > subscription.json
    user-agent-client send --subscription subscription.json 'Hello'
    user-agent-client listen --count 1

Results go to standard output, everything else to standard error. Connections use the HTTP proxy of HTTPS_PROXY, HTTP_PROXY or \
ALL_PROXY, except to hosts in NO_PROXY. --proxy URL and --proxy none override these variables.";

pub(super) const SUBSCRIBE: &str = "\
Makes a subscription, or finds the one that has this name, and prints it as one line of JSON: a PushSubscription, as browsers \
give it to their pages. Give it to the application server, and keep it secret: anyone who has it can send, unless \
--application-server-key restricts it.

The first time, --server says which push service to use. The state remembers it. Once that service has confirmed a \
subscription, the state cannot be used with another one. This command also works while `listen` runs with the same state.

The URL selects the transport: wss:// is the WebSocket that Firefox uses, https:// is RFC 8030 over HTTP/2. If a proxy blocks \
server push, messages come as Server-Sent Events. If the service needs a secret in the path, both kinds of URL have it. \
--transport overrides what the URL says. A subscription keeps the transport that it was made with.

    user-agent-client subscribe --server wss://push.example.net --name doorbell > doorbell.json
    user-agent-client subscribe --server https://push.example.net --state over-http2 > doorbell.json
    user-agent-client subscribe --name alarms --application-server-key \"$(user-agent-client keys --vapid-key alarms.pem)\"";

pub(super) const LISTEN: &str = "\
Connects, stays connected, and hands over each message for any subscription of the state. A message is acknowledged, and so \
leaves the push service, when it was handed over: its line was written, the command of --exec ended with 0, or the desktop \
showed it. Otherwise it is tried again: --attempts times, or 16 times over restarts and crashes; then it is given up. If a \
message comes twice, it has the same id.

--format text prints each message as one line. Line feeds are written \\n, carriage returns \\r, backslashes \\\\, and other \
characters that a terminal obeys or that change the order of text as \\u{1b}; bytes that are not UTF-8 become U+FFFD. A message without data is an empty line.

--format json prints {\"subscription\":NAME,\"id\":ID,\"attempt\":1,\"time\":MS,\"received\":MS,\"text\":TEXT}. If the message is \
not UTF-8, there is base64 instead of text. An empty message has the text \"\", a message without data has null. Times are \
milliseconds since 1970. The members time (when the service accepted the message), urgency and topic exist if the service \
sends them.

--exec runs a command for each message. The message is its standard input, byte by byte. A message may begin with a hyphen: \
if it has to be an argument, put -- before it. The environment has \
PUSH_SUBSCRIPTION, PUSH_MESSAGE_ID, PUSH_ATTEMPT and PUSH_RECEIVED, and PUSH_TIME, PUSH_URGENCY and PUSH_TOPIC if the service \
sends them. Its output is passed through. When listen ends, even by kill -9, its commands are killed.

Exit code 0 of the command acknowledges the message. 75, 126 and 127 mean that the command cannot work now: messages wait, one \
of them is tried after 1 s, 2 s, … 60 s, and none is given up. Any other code is a failed attempt. --exec-for and --exec-dir \
give a subscription its own command.

--notify shows each message on the desktop. A message in the declarative format (web_push: 8030) itself says what to show and \
where a click leads. Any other message is shown with the subscription's name as its title.

    user-agent-client listen
    user-agent-client listen --format json --count 10 | jq -a .text
    user-agent-client listen --exec 'logger -t \"$PUSH_SUBSCRIPTION\"' --attempts 5
    user-agent-client listen --exec-for alarms=./alarm --exec ./other --jobs 4
    user-agent-client listen --exec 'notify-send -- \"$PUSH_SUBSCRIPTION\" \"$(cat)\"'
    user-agent-client listen --notify

--urgency saves battery: it takes only messages that were sent with this urgency or a higher one. The others stay at the \
service until they expire, or until a `listen` with a lower urgency takes them. Mozilla's service does not support this over a \
WebSocket: it closes the channel.

--until-empty hands over all waiting messages, and ends with 0 when the service says that no more wait. The service then has \
every acknowledgement. Push services say so only over HTTP/2. While the service cannot be reached, this command keeps trying: \
give it a deadline, as below.

    user-agent-client listen --urgency high --notify
    timeout 60 user-agent-client listen --until-empty --exec ./work

If the service lost the subscriptions, listen makes new ones, with new URLs and keys. The application server needs them: \
--on-renew runs a command that passes them on. The new subscription is its standard input, and PUSH_SUBSCRIPTION is in its \
environment. If the command fails, it runs again. Until it has ended with 0, or `subscribe` has printed the new subscription, \
each start of listen reports it again.

SIGINT and SIGTERM end it in order: commands finish, and acknowledgements are sent. A second signal ends it at once.";

pub(super) const UNSUBSCRIBE: &str = "\
Ends a subscription. From now on none of its messages is handed over. Once the push service knows, application servers get \
404 or 410. If the service cannot be reached in time, the exit code is 4, and the next `listen` or `subscribe` tells it.

    user-agent-client unsubscribe --name doorbell";

pub(super) const LIST: &str = "\
Shows the subscriptions of a state directory, one on each line. It takes no lock, so it works while `listen` runs.

--format text prints name and state, separated by a tab. The state is ready; or waiting: the push service has not confirmed \
the subscription yet; or renewed: the application server has an older one.

--format json prints an object with name, state, created (milliseconds since 1970), application_server_key and \
subscription: what `subscribe` prints, or null. Keep it secret: anyone who has the subscription can send.

    user-agent-client list
    user-agent-client list --format json | jq -c 'select(.state == \"renewed\").subscription'";

pub(super) const SEND: &str = "\
Sends one message, as an application server does: encrypted for the subscription (RFC 8291), and signed if there is a key \
(RFC 8292). Prints the URL of the message: the push service has it, but the user agent may not have it yet. Until then a \
DELETE to that URL takes the message back.

The message is TEXT, or standard input: at most 3993 bytes, padding included.

    user-agent-client send --subscription doorbell.json 'Somebody is at the door'
    date | user-agent-client send --subscription doorbell.json --vapid-key alarms.pem --subject mailto:me@example.com
    user-agent-client send --subscription - --ttl 0 --urgency high 'Now or never' < doorbell.json
    user-agent-client send --subscription doorbell.json --ttl 60 --receipt 'Are you there?' || echo 'no answer'

--receipt asks for a receipt and waits for it: until the message expires, for --timeout seconds, or until a signal. The URL of \
the message goes to standard error at once. Standard output gets `acknowledged by the user agent`, or `given up by the push \
service` with exit code 9. An acknowledgement says that the user agent has finished with the message, not that its application \
succeeded: a message that failed several times, or that cannot be decrypted, is acknowledged too. A message that another one \
of its topic replaces gets no receipt. Exit code 4 says that no receipt came in time, or that this service sends none; the \
message may still arrive.

Exit code 5 says that the subscription has ended: delete it. Exit code 6 says that the service does not accept messages now; \
the sentence on standard error says when to try again.";

pub(super) const KEYS: &str = "\
Prints the public half of a VAPID key (RFC 8292), as `subscribe --application-server-key` and a page's applicationServerKey \
need it. If the file does not exist, a key pair is made: PEM, PKCS#8, readable by its owner only. An existing file is never \
changed: PEM or DER, PKCS#8 or SEC 1, or the private key that npm's web-push prints, alone or in JSON.

Keep the file: subscriptions that are restricted to this key accept only messages that are signed with it.

    user-agent-client keys --vapid-key alarms.pem";

pub(super) const PROBE: &str = "\
Tests a push service from end to end: connects, makes a subscription, sends a message to it (encrypted, and signed with a new VAPID \
key), receives it, acknowledges it, and ends the subscription. It needs no state directory and keeps nothing.

The message is sent through the server of --server, also if the service's public URL has another name. So the probe works inside \
a cluster, where the public name may lead nowhere, and through each proxy by itself. TLS verifies the name in --server.

Standard output gets one line with the time of each step; receive counts from the beginning of send. Exit code 0: all steps were \
done. 1: a step failed, and standard error says which and why. After a failure, a timeout or a signal, the subscription is ended \
if the push service can be reached.

    user-agent-client probe --server wss://push.example.net
    user-agent-client probe --server https://push.example.net --timeout 10
    user-agent-client probe --server ws://push-service:8080/SECRET --idle 230";
