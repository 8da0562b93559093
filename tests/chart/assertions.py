"""What schemas do not see: a table of assertions about the rendered objects.

Each takes a `Rendered` and yields a sentence for each fault. Its name is how a planted mistake says which one has to find it.
"""

import collections
import ipaddress
import re

from rendering import NAMESPACE, RELEASE, bytes_of, seconds

ALL = {}

LABEL = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$")
DNS_LABEL = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
ADMIN = 9090
# Between the last closed channel and the end of the process: requests under way, 10 s for a body, then storage.
AFTER_THE_LAST_CHANNEL = 10
# Azure's balancer leaves 4 minutes idle, the least of those in docs/kubernetes.md.
LEAST_IDLE_TIME = 240


def assertion(check):
    ALL[check.__name__] = check
    return check


def faults(rendered, names=None):
    """The faults that the named assertions find, all without names, each with its assertion's name."""
    return [f"{name}: {fault}" for name in names or ALL for fault in ALL[name](rendered)]


# The pod.


@assertion
def pod_security_restricted(rendered):
    """Pod Security `restricted`, level by level as the standard lists it."""
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for pod in rendered.pods:
        context = pod.get("securityContext", {})
        if context.get("runAsNonRoot") is not True:
            yield "the pod may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield "the pod has no seccomp profile"
        if any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")):
            yield "the pod uses a namespace of the host"
        for volume in pod.get("volumes", []):
            if set(volume) - {"name"} - allowed:
                yield f"volume {volume['name']} has a kind that is not allowed"
        for container in pod["containers"] + pod.get("initContainers", []):
            own = container.get("securityContext", {})
            if own.get("allowPrivilegeEscalation") is not False:
                yield f"{container['name']} may gain privileges"
            if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
                yield f"{container['name']} has capabilities"
            if own.get("privileged") or own.get("runAsNonRoot", True) is not True:
                yield f"{container['name']} is privileged"
            if 0 in (own.get("runAsUser"), context.get("runAsUser"), context.get("runAsGroup")):
                yield f"{container['name']} runs as root"
            if any(port.get("hostPort") for port in container.get("ports", [])):
                yield f"{container['name']} uses a port of the host"


@assertion
def root_is_read_only(rendered):
    for pod in rendered.pods:
        for container in pod["containers"]:
            if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
                yield f"{container['name']} may write to its root"


@assertion
def no_token_and_no_service_links(rendered):
    for thing in rendered.pods + rendered.of("ServiceAccount"):
        if thing.get("automountServiceAccountToken") is not False:
            yield "a token is mounted"
    for pod in rendered.pods:
        if pod.get("enableServiceLinks") is not False:
            yield "the pod gets variables with the addresses of Services"


@assertion
def ids_are_the_values(rendered):
    """`null` leaves an id out; the platform chooses it."""
    for pod in rendered.pods:
        for key, value in rendered.values["podSecurity"].items():
            if pod["securityContext"].get(key) != value:
                yield f"{key} is {pod['securityContext'].get(key)}, and the value is {value}"


@assertion
def mounts_have_volumes(rendered):
    claims = [claim["metadata"]["name"] for claim in rendered.workload["spec"].get("volumeClaimTemplates", [])]
    for pod, claimed in zip(rendered.pods, [claims] + [[]] * len(rendered.pods)):
        volumes = [volume["name"] for volume in pod.get("volumes", [])] + claimed
        mounts = [mount for container in pod["containers"] for mount in container.get("volumeMounts", [])]
        if len(set(volumes)) < len(volumes):
            yield "two volumes have the same name"
        paths = [mount["mountPath"] for mount in mounts]
        if len(set(paths)) < len(paths):
            yield "two volumes are mounted at the same path"
        for name in set(volumes) ^ {mount["name"] for mount in mounts}:
            yield f"{name} is a mount without a volume, or a volume that is not mounted"


@assertion
def files_are_mounted(rendered):
    """Each file that the command, the configuration or the environment names is in a volume."""
    files = mounted_files(rendered)
    for where, path in named_files(rendered):
        if path not in files:
            yield f"{where} names {path}, which no volume has"
    writable = [mount["mountPath"] for mount in rendered.container["volumeMounts"] if not mount.get("readOnly")]
    for where, path in named_directories(rendered):
        if not any(path.startswith(f"{directory}/") for directory in writable):
            yield f"{where} writes to {path}, which is in no writable volume"
    for mount in rendered.container["volumeMounts"]:
        if mount["name"] != "data" and not mount.get("readOnly"):
            yield f"{mount['name']} is mounted writable"


def mounted_files(rendered):
    """The path of each file that ConfigMaps and Secrets bring into the service's container."""
    files = set()
    volumes = {volume["name"]: volume for volume in rendered.pod.get("volumes", [])}
    for mount in rendered.container["volumeMounts"]:
        for _, _, keys in references_of_volume(volumes.get(mount["name"], {}), rendered):
            files |= {f"{mount['mountPath']}/{path}" for path in keys.values()}
    return files


def named_files(rendered):
    arguments = rendered.container["args"]
    yield "the command", arguments[arguments.index("--config") + 1]
    toml = rendered.toml
    for where, path in (
        ("tls.certificate", toml.get("tls", {}).get("certificate")),
        ("tls.key", toml.get("tls", {}).get("key")),
        ("storage.redis.ca", toml["storage"].get("redis", {}).get("ca")),
        ("admin.token_file", toml.get("admin", {}).get("token_file")),
    ):
        if path:
            yield where, path
    for variable in rendered.container["env"]:
        if variable["name"].endswith("_FILE"):
            yield variable["name"], variable["value"]


def named_directories(rendered):
    url = rendered.toml["storage"].get("url", "")
    if url.startswith("embedded:"):
        yield "storage.url", url.removeprefix("embedded:")
    acme = rendered.toml.get("tls", {}).get("acme", {})
    if acme:
        yield "tls.acme.cache", acme["cache"]


@assertion
def environment_has_each_name_once(rendered):
    """Helm 4 applies on the server, which refuses doubles."""
    names = [variable["name"] for variable in rendered.container["env"]]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name} is there twice"
    for name in names:
        if f"{name}_FILE" in names:
            yield f"{name} and {name}_FILE are both there, and the service refuses that"
    given = {variable["name"]: variable for variable in rendered.values["extraEnv"]}
    for variable in rendered.container["env"]:
        if given.get(variable["name"], variable) != variable:
            yield f"extraEnv does not replace {variable['name']}"
    for name in set(given) - set(names):
        yield f"{name} of extraEnv is missing"


@assertion
def probes_ask_the_admin_port(rendered):
    """A service that is not ready gets no traffic; only one that hangs is started again. The service itself waits in its drain."""
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = rendered.container.get(probe, {}).get("httpGet", {})
        if (asked.get("path"), asked.get("port")) != (path, "admin"):
            yield f"{probe} asks {asked}"
    if rendered.container.get("lifecycle"):
        yield "there is a hook, and the service waits by itself"


@assertion
def memory_follows_from_connections(rendered):
    resources, connections = rendered.container["resources"], rendered.values["connections"]
    request, limit = bytes_of(resources["requests"]["memory"]), bytes_of(resources["limits"]["memory"])
    if rendered.values["resources"]["requests"]["memory"]:
        return
    # 10.6 KB for an idle WebSocket over TLS, 35.5 KB for a monitor over HTTP/2; the sizes are in docs/operations.md.
    if request < connections * 10_600 + 2**26:
        yield f"{request} bytes are requested for {connections} connections"
    if limit < connections * 35_500 + 2**28 or limit < request:
        yield f"{limit} bytes are the limit for {connections} connections"


@assertion
def version_of_the_chart_restarts_no_pod(rendered):
    if any("helm.sh/chart" in key for key in rendered.template["metadata"]["labels"]):
        yield "the pod has a label with the version of the chart"
    if "checksum/config" not in rendered.template["metadata"]["annotations"]:
        yield "another configuration makes no new pods"


# Names, labels, references.


@assertion
def names_fit(rendered):
    for thing in rendered.objects:
        name, most = thing["metadata"]["name"], 52 if thing["kind"] in ("Deployment", "StatefulSet") else 63
        if len(name) > most or not DNS_LABEL.match(name):
            yield f"{thing['kind']} {name} has no good name"
    for pod in rendered.pods:
        for part in pod["containers"] + pod.get("volumes", []):
            if not DNS_LABEL.match(part["name"]) or len(part["name"]) > 63:
                yield f"{part['name']} is no good name"
    for name, _, _ in container_ports(rendered):
        if len(name) > 15:
            yield f"{name} is too long for a port"


@assertion
def objects_are_unique(rendered):
    counted = collections.Counter((thing["kind"], thing["metadata"]["name"]) for thing in rendered.objects)
    for (kind, name), count in counted.items():
        if count > 1:
            yield f"{kind} {name} is there {count} times"
    for thing in rendered.objects:
        if thing["metadata"].get("namespace") != NAMESPACE:
            yield f"{thing['kind']} {thing['metadata']['name']} is not in the release's namespace"


@assertion
def labels_are_complete(rendered):
    for thing in rendered.objects + [rendered.template]:
        labels = thing["metadata"]["labels"]
        for key in ("name", "instance", "version", "component", "managed-by"):
            if not labels.get(f"app.kubernetes.io/{key}"):
                yield f"{thing.get('kind', 'the pod')} has no label {key}"
        for key, value in labels.items():
            if not isinstance(value, str) or len(value) > 63 or not LABEL.match(value):
                yield f"{key}: {value} is no good label"
        if labels.get("app.kubernetes.io/instance") != RELEASE:
            yield f"{thing.get('kind', 'the pod')} does not name the release"


@assertion
def selectors_match_the_pods(rendered):
    """And no other pod: that of `helm test` is no server."""
    pod = rendered.template["metadata"]["labels"]
    others = [probe["metadata"]["labels"] for probe in rendered.of("Pod")]
    for where, selector in selectors(rendered):
        if not selector or not selector.items() <= pod.items():
            yield f"{where} does not select the pods"
        if any(selector.items() <= other.items() for other in others):
            yield f"{where} selects the pod of the test, too"


@assertion
def selectors_never_change(rendered):
    """Kubernetes refuses another selector or claim template, and a Service that selects one version has no pods in a rollout."""
    for where, selector in [*selectors(rendered), *claim_labels(rendered)]:
        for key in selector:
            if key not in [f"app.kubernetes.io/{name}" for name in ("name", "instance", "component")]:
                yield f"{where} has {key}, which may change"


def selectors(rendered):
    yield "the workload", rendered.workload["spec"]["selector"]["matchLabels"]
    for service in rendered.of("Service"):
        yield f"Service {service['metadata']['name']}", service["spec"]["selector"]
    for policy in rendered.of("NetworkPolicy"):
        yield "NetworkPolicy", policy["spec"]["podSelector"]["matchLabels"]
    for kind in ("PodDisruptionBudget", "PodMonitor"):
        for thing in rendered.of(kind):
            yield kind, thing["spec"]["selector"]["matchLabels"]
    for constraint in rendered.pod.get("topologySpreadConstraints", []):
        yield "a spread", constraint["labelSelector"]["matchLabels"]


def claim_labels(rendered):
    for claim in rendered.workload["spec"].get("volumeClaimTemplates", []):
        yield "a claim", claim["metadata"].get("labels", {})


@assertion
def references_lead_somewhere(rendered):
    """Each ConfigMap, Secret, claim and ServiceAccount is made by the chart, or named by a value."""
    named = set(strings_of(rendered.values))
    made = {(thing["kind"], thing["metadata"]["name"]): thing for thing in rendered.objects}
    for kind, name, keys in references(rendered):
        if kind == "Secret":
            source = secret_makers(rendered).get(name)
        else:
            source = made.get((kind, name), {}).get("data", {}) if (kind, name) in made else None
        if source is None:
            if name not in named and (kind, name) != ("ServiceAccount", "default"):
                yield f"{kind} {name} is made by no object, and no value names it"
        elif kind != "ServiceAccount":
            for key in set(keys) - set(source):
                yield f"{kind} {name} has no key {key}"


def references(rendered):
    """Kind, name, and keys, each with the path of its file, of everything that pods need."""
    for pod in rendered.pods:
        yield "ServiceAccount", pod["serviceAccountName"], {}
        for secret in pod.get("imagePullSecrets", []):
            yield "Secret", secret["name"], {}
        for volume in pod.get("volumes", []):
            yield from references_of_volume(volume, rendered)
        for container in pod["containers"]:
            for variable in container.get("env", []):
                source = variable.get("valueFrom", {}).get("secretKeyRef")
                if source:
                    yield "Secret", source["name"], {source["key"]: source["key"]}


def references_of_volume(volume, rendered):
    for source in volume.get("projected", {}).get("sources", []):
        yield "Secret", source["secret"]["name"], items(source["secret"])
    if "secret" in volume:
        yield "Secret", volume["secret"]["secretName"], items(volume["secret"])
    if "configMap" in volume:
        name = volume["configMap"]["name"]
        keys = items(volume["configMap"])
        if not keys:
            own = [map_ for map_ in rendered.of("ConfigMap") if map_["metadata"]["name"] == name]
            keys = {key: key for map_ in own for key in map_["data"]}
        yield "ConfigMap", name, keys
    if "persistentVolumeClaim" in volume:
        yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], {}


def items(source):
    return {item["key"]: item["path"] for item in source.get("items", [])}


def secret_makers(rendered):
    """The Secrets that operators make for the chart, with their keys."""
    made = {certificate["spec"]["secretName"]: {"tls.crt", "tls.key"} for certificate in rendered.of("Certificate")}
    for external in rendered.of("ExternalSecret"):
        made[external["spec"]["target"]["name"]] = {entry["secretKey"] for entry in external["spec"]["data"]}
    return made


def strings_of(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from strings_of(part)
    elif isinstance(value, str):
        yield value


@assertion
def nothing_is_secret(rendered):
    """The chart makes no Secret, and its ConfigMap has no key that belongs into one."""
    if rendered.of("Secret"):
        yield "the chart makes a Secret"
    if "sealing_keys" in rendered.toml.get("security", {}) or "user_agent_secret" in rendered.toml.get("security", {}):
        yield "the configuration has a secret"
    if "password" in rendered.toml["storage"].get("redis", {}):
        yield "the configuration has a password"
    given = [variable["name"] for variable in rendered.values["extraEnv"]]
    for variable in rendered.container["env"]:
        if "valueFrom" in variable and variable["name"] not in given:
            yield f"{variable['name']} is a secret in the environment"
    for volume in rendered.pod.get("volumes", []):
        for source in ("projected", "secret"):
            if volume["name"] in ("secrets", "tls", "redis-ca") and volume.get(source, {}).get("defaultMode", 0o440) != 0o440:
                yield f"{volume['name']} has files that others may read"


@assertion
def secrets_reach_the_service(rendered):
    """A Secret that a value names is a file that the service knows of."""
    values, names = rendered.values, [variable["name"] for variable in rendered.container["env"]]
    external = values["externalSecret"] if values["externalSecret"]["enabled"] else collections.defaultdict(lambda: {"key": ""})
    redis = values["storage"]["redis"]
    for given, variable in (
        (values["sealingKeys"]["existingSecret"] or external["sealingKeys"]["key"], "SECURITY__SEALING_KEYS"),
        (values["userAgentSecret"]["existingSecret"] or external["userAgentSecret"]["key"], "SECURITY__USER_AGENT_SECRET"),
        (redis["existingSecret"] and redis["urlKey"], "STORAGE__URL"),
        ((redis["existingSecret"] and not redis["urlKey"]) or external["redisPassword"]["key"], "STORAGE__REDIS__PASSWORD"),
    ):
        names_it = f"PUSH_SERVICE__{variable}_FILE" in names or f"PUSH_SERVICE__{variable}" in names
        if bool(given) and not names_it:
            yield f"the service does not learn {variable}"
    token = values["adminToken"]["existingSecret"] or external["adminToken"]["key"]
    if bool(token) != ("token_file" in rendered.toml.get("admin", {})):
        yield "the service does not learn the admin token"
    if rendered.redis and not any(name.startswith("PUSH_SERVICE__SECURITY__SEALING_KEYS") for name in names):
        yield "pods make sealing keys of their own, and refuse each other's URLs"


# Ports and ways in.


def container_ports(rendered):
    for port in rendered.container["ports"]:
        yield port["name"], port["containerPort"], port.get("protocol", "TCP")


@assertion
def ports_have_names(rendered):
    """What names a port, or has its number, means one that the container has, of the same protocol."""
    ports = {name: protocol for name, _, protocol in container_ports(rendered)}
    if len(ports) < len(rendered.container["ports"]):
        yield "two ports of the container have the same name"
    numbers = [(number, protocol) for _, number, protocol in container_ports(rendered)]
    if len(set(numbers)) < len(numbers):
        yield "two ports of the container have the same number"
    for service in rendered.of("Service"):
        seen = set()
        for port in service["spec"]["ports"]:
            if ports.get(port["targetPort"]) != port["protocol"]:
                yield f"Service {service['metadata']['name']} leads to {port['targetPort']}, which the pods do not have"
            if not 1 <= port["port"] <= 65535 or port["port"] in seen:
                yield f"Service {service['metadata']['name']} has port {port['port']}"
            seen.add(port["port"])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        asked = rendered.container.get(probe, {}).get("httpGet", {}).get("port")
        if asked not in ports:
            yield f"{probe} asks port {asked}"
    for monitor in rendered.of("PodMonitor"):
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if endpoint.get("port") != "admin" or endpoint.get("path") != "/metrics":
                yield f"PodMonitor asks {endpoint}"


@assertion
def service_listens_on_its_ports(rendered):
    listen = rendered.toml["listen"]
    opened = {name: int(address.rsplit(":", 1)[1]) for name in listen for address in listen[name] if name != "trusted_proxies"}
    declared = {name: number for name, number, _ in container_ports(rendered)}
    if opened != declared:
        yield f"the configuration opens {opened}, and the container has {declared}"
    for name in ("http", "tls", "quic"):
        for address in listen[name]:
            if not address.startswith(rendered.values["listenAddress"]):
                yield f"{name} listens on {address}"


@assertion
def admin_port_is_in_no_service(rendered):
    for service in rendered.of("Service"):
        for port in service["spec"]["ports"]:
            if port["targetPort"] in ("admin", ADMIN) or port["port"] == ADMIN:
                yield f"Service {service['metadata']['name']} leads to the admin port"


@assertion
def each_public_port_has_a_service(rendered):
    """A Service for each public port, of the type that the values name. Peers keep their addresses."""
    public = {name for name, _, _ in container_ports(rendered)} - {"admin"}
    made = {port["name"]: service["spec"] for service in rendered.of("Service") for port in service["spec"]["ports"]}
    if set(made) != public:
        yield f"there are Services for {sorted(made)}, and the pods have {sorted(public)}"
    for name, service in made.items():
        if service["type"] != rendered.values["service"][name]["type"]:
            yield f"the Service for {name} has the type {service['type']}"
        policy = None if service["type"] == "ClusterIP" else rendered.values["service"]["externalTrafficPolicy"]
        if service.get("externalTrafficPolicy") != policy:
            yield f"the Service for {name} has externalTrafficPolicy {service.get('externalTrafficPolicy')}"
        if service.get("ipFamilyPolicy") != rendered.values["service"]["ipFamilyPolicy"]:
            yield f"the Service for {name} has ipFamilyPolicy {service.get('ipFamilyPolicy')}"


@assertion
def routes_lead_to_a_service(rendered):
    services = {
        service["metadata"]["name"]: {value for port in service["spec"]["ports"] for value in (port["name"], port["port"])}
        for service in rendered.of("Service")
    }
    for kind, backend, port in backends(rendered):
        if port not in services.get(backend, ()):
            yield f"{kind} leads to {backend}:{port}"
    if rendered.workload["kind"] == "StatefulSet" and rendered.workload["spec"]["serviceName"] not in services:
        if rendered.values["service"]["http"]["enabled"]:
            yield f"the StatefulSet names {rendered.workload['spec']['serviceName']}, which is no Service"


def backends(rendered):
    for ingress in rendered.of("Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                yield "Ingress", backend["name"], backend["port"].get("name", backend["port"].get("number"))
    for kind, suffix in (("HTTPRoute", ""), ("TLSRoute", "-tls")):
        for route in rendered.of(kind):
            for backend in route["spec"]["rules"][0]["backendRefs"]:
                right = backend["name"].endswith("-tls") == bool(suffix)
                yield kind, backend["name"] if right else f"{backend['name']} (with the wrong protocol)", backend["port"]
    for pod in rendered.of("Pod"):
        url = pod["spec"]["containers"][0]["args"][2]
        scheme, host, port = re.match(r"^(wss?)://([^:]+):(\d+)/", url).groups()
        service, namespace, suffix = host.split(".")
        if (namespace, suffix) != (NAMESPACE, "svc") or (scheme == "wss") != service.endswith("-tls"):
            service = url
        yield "helm test", service, int(port)


@assertion
def routes_have_the_public_host(rendered):
    host = re.match(r"^https?://([^:/]+)", rendered.values["publicUrl"])[1]
    if rendered.toml["public_url"] != rendered.values["publicUrl"]:
        yield "the configuration has another public URL"
    for kind in ("HTTPRoute", "TLSRoute"):
        for route in rendered.of(kind):
            extra = rendered.values["httpRoute" if kind == "HTTPRoute" else "tlsRoute"]["extraHosts"]
            if route["spec"]["hostnames"] != [host, *extra]:
                yield f"{kind} has the hosts {route['spec']['hostnames']}"
            if route["spec"]["parentRefs"] != rendered.values["httpRoute" if kind == "HTTPRoute" else "tlsRoute"]["parentRefs"]:
                yield f"{kind} belongs to other Gateways"
    for ingress in rendered.of("Ingress"):
        hosts = [host, *rendered.values["ingress"]["extraHosts"]]
        if [rule["host"] for rule in ingress["spec"]["rules"]] != hosts:
            yield "Ingress has other hosts"
        if any(entry["hosts"] != hosts for entry in ingress["spec"].get("tls", [])):
            yield "the certificate of the Ingress is for other hosts"
    for certificate in rendered.of("Certificate"):
        if host not in certificate["spec"]["dnsNames"]:
            yield "the certificate does not name the public host"


@assertion
def a_channel_is_not_cut_off(rendered):
    """A channel is a request that does not end, and a ping comes before a balancer calls it idle."""
    for route in rendered.of("HTTPRoute"):
        for rule in route["spec"]["rules"]:
            if rule.get("timeouts", {}).get("request") != "0s":
                yield "HTTPRoute ends requests"
    if not seconds(rendered.toml["channels"]["ping_every"]) < LEAST_IDLE_TIME:
        yield "pings come after a balancer has dropped the channel"


@assertion
def proxies_are_trusted(rendered):
    trusted = rendered.toml["listen"]["trusted_proxies"]
    if any(rendered.of(kind) for kind in ("Ingress", "HTTPRoute", "TLSRoute")) and not trusted:
        yield "a proxy would count as one peer"
    for network in trusted:
        ipaddress.ip_network(network)
    if trusted != rendered.values["trustedProxies"]:
        yield "other proxies are trusted than the values name"


@assertion
def policy_lets_in_what_it_should(rendered):
    for policy in rendered.of("NetworkPolicy"):
        spec, public = policy["spec"], {number for name, number, _ in container_ports(rendered) if name != "admin"}
        if sorted(spec["policyTypes"]) != ["Egress", "Ingress"]:
            yield "the policy has no say about one direction"
        for rule in spec["ingress"]:
            ports = {port["port"] for port in rule.get("ports", [])}
            if not ports:
                yield "a rule lets peers in at all ports"
            if ADMIN in ports and (ports != {ADMIN} or not admin_peers(rule)):
                yield "the admin port is open to more than the chosen namespaces"
            if ADMIN not in ports and ports != public:
                yield f"the policy opens {ports}, and the pods listen on {public}"
        chosen = rendered.values["networkPolicy"]["adminNamespaces"]
        seen = [space for rule in spec["ingress"] for space in admin_peers(rule)]
        if seen != chosen:
            yield f"the admin port is open to {seen}, and the values name {chosen}"


def admin_peers(rule):
    """The namespaces that a rule lets in, and no other peers."""
    peers = rule.get("from", [])
    if {ADMIN} != {port["port"] for port in rule.get("ports", [])} or any(set(peer) != {"namespaceSelector"} for peer in peers):
        return []
    return [space for peer in peers for rule_ in peer["namespaceSelector"]["matchExpressions"] for space in rule_["values"]]


@assertion
def policy_lets_out_what_it_should(rendered):
    """DNS; with Redis its ports; with ACME the server's. Nothing else than what the values add."""
    for policy in rendered.of("NetworkPolicy"):
        extra = rendered.values["networkPolicy"]["extraEgress"]
        rules = [rule for rule in policy["spec"]["egress"] if rule not in extra]
        ports = {port["port"] for rule in rules for port in rule.get("ports", [])}
        if any(not rule.get("ports") for rule in rules):
            yield "a rule lets out to all ports"
        expected = {53} | ports_of_redis(rendered) | ports_of_acme(rendered)
        if ports != expected:
            yield f"the policy lets out to {sorted(ports)}, and needed are {sorted(expected)}"
        if {port["protocol"] for rule in rules for port in rule["ports"] if port["port"] == 53} != {"UDP", "TCP"}:
            yield "DNS is let out over one protocol only"


def ports_of_redis(rendered):
    values = rendered.values
    if not rendered.redis:
        return set()
    if values["networkPolicy"]["redisPorts"]:
        return set(values["networkPolicy"]["redisPorts"])
    servers = values["storage"]["redis"]["url"].split("://")[1].split("/")[0].split(",")
    default = 26379 if "+sentinel" in values["storage"]["redis"]["url"] else 6379
    return {6379} | {int(server.split(":")[1]) if ":" in server else default for server in servers}


def ports_of_acme(rendered):
    acme = rendered.values["tls"]["acme"]
    if not acme["enabled"]:
        return set()
    port = re.search(r":(\d+)(/|$)", acme["directory"])
    return {int(port[1]) if port else 443}


# A pod's end, rollouts, number of pods.


@assertion
def drain_sums(rendered):
    """Kubernetes waits longer than the service, which waits longer than its delay and spread."""
    drain = {key: seconds(rendered.toml["drain"][key]) for key in ("delay", "spread", "deadline")}
    connections, per_second = rendered.values["connections"], rendered.values["drain"]["perSecond"]
    grace = rendered.pod["terminationGracePeriodSeconds"]
    if rendered.toml["limits"]["connections"] != connections:
        yield "the configuration has another limit of connections"
    if not rendered.redis and (drain["delay"], drain["spread"]) != (0, 0):
        yield "a single pod waits for others"
    if rendered.redis and drain["delay"] != rendered.values["drain"]["delaySeconds"]:
        yield f"the delay is {drain['delay']} s"
    if rendered.redis and drain["spread"] * per_second < connections:
        yield f"{connections} channels do not end in {drain['spread']} s at {per_second} in a second"
    if drain["deadline"] < drain["delay"] + drain["spread"] + AFTER_THE_LAST_CHANNEL:
        yield f"the deadline of {drain['deadline']} s is shorter than delay, spread and requests under way"
    if not grace > drain["deadline"]:
        yield f"Kubernetes kills the pod after {grace} s, and the drain takes up to {drain['deadline']} s"


@assertion
def rollout_loses_no_pod(rendered):
    workload, values = rendered.workload["spec"], rendered.values
    if not rendered.redis:
        if rendered.workload["kind"] != "StatefulSet" or workload["replicas"] > 1:
            yield "embedded storage is not one pod of a StatefulSet"
        if workload["podManagementPolicy"] != "Parallel" or workload["updateStrategy"]["type"] != "RollingUpdate":
            yield "a pod that never gets ready would not be replaced"
        return
    if rendered.workload["kind"] != "Deployment":
        yield "with Redis the pods are not a Deployment"
        return
    rolling = workload["strategy"].get("rollingUpdate", {})
    if workload["strategy"]["type"] != "RollingUpdate" or rolling.get("maxUnavailable") != 0:
        yield "a rollout takes a pod before its successor is ready"
    if rolling.get("maxSurge") != {"allFirst": "100%", "oneByOne": 1}[values["rollout"]]:
        yield f"maxSurge is {rolling.get('maxSurge')} with rollout {values['rollout']}"
    drain = seconds(rendered.toml["drain"]["delay"]) + seconds(rendered.toml["drain"]["spread"])
    least = drain + 15 if values["rollout"] == "oneByOne" else 15
    if workload.get("minReadySeconds", 0) < least:
        yield f"a pod counts as ready after {workload.get('minReadySeconds')} s, and {least} s are needed"
    if "startWithin" in values["storage"]["redis"] and not values["drain"]["progressDeadlineSeconds"]:
        wait = seconds(rendered.toml["storage"]["redis"]["start_within"])
        if workload["progressDeadlineSeconds"] <= wait + workload["minReadySeconds"]:
            yield "a rollout counts as failed while its pods wait for Redis"
    if workload["progressDeadlineSeconds"] <= workload.get("minReadySeconds", 0):
        yield "Kubernetes refuses a progress deadline below minReadySeconds"


@assertion
def claim_is_kept(rendered):
    """All subscriptions are in it."""
    if rendered.redis:
        return
    spec, embedded = rendered.workload["spec"], rendered.values["storage"]["embedded"]
    if embedded["existingClaim"]:
        if spec.get("volumeClaimTemplates"):
            yield "there is a second claim"
        return
    if spec.get("persistentVolumeClaimRetentionPolicy") != {"whenDeleted": "Retain", "whenScaled": "Retain"}:
        yield "the claim is deleted with the release"
    claim = spec["volumeClaimTemplates"][0]["spec"]
    if claim["accessModes"] != [embedded["accessMode"]] or claim["resources"]["requests"]["storage"] != embedded["size"]:
        yield "the claim is not what the values name"
    if claim.get("storageClassName", "") != embedded["storageClass"]:
        yield "the claim has another class"


@assertion
def budget_lets_nodes_be_drained(rendered):
    budgets = rendered.of("PodDisruptionBudget")
    if bool(budgets) != (rendered.several and rendered.values["podDisruptionBudget"]["enabled"]):
        yield f"there are {len(budgets)} disruption budgets"
    for budget in budgets:
        if "minAvailable" in budget["spec"] or budget["spec"].get("maxUnavailable") in (None, 0, "0%"):
            yield "no node could be drained"
        if budget["spec"].get("unhealthyPodEvictionPolicy") != "AlwaysAllow":
            yield "a pod that waits for Redis keeps its node from being drained"


@assertion
def one_decides_the_number_of_pods(rendered):
    scaling = rendered.values["autoscaling"]
    scalers = rendered.of("HorizontalPodAutoscaler") + rendered.of("ScaledObject")
    if len(scalers) != (1 if scaling["enabled"] else 0):
        yield f"there are {len(scalers)} autoscalers"
    if scalers and "replicas" in rendered.workload["spec"]:
        yield "each upgrade undoes what the autoscaler decided"
    if not scalers and "replicas" not in rendered.workload["spec"]:
        yield "nothing decides the number of pods"
    for scaler in scalers:
        target = scaler["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) != (rendered.workload["kind"], rendered.workload["metadata"]["name"]):
            yield f"the autoscaler is for {target['kind']} {target['name']}"
        least, most = (scaler["spec"].get(f"{end}Replicas", scaler["spec"].get(f"{end}ReplicaCount")) for end in ("min", "max"))
        if (least, most) != (scaling["minReplicas"], scaling["maxReplicas"]):
            yield f"the autoscaler has {least} to {most} pods"


@assertion
def autoscaler_is_slow_down(rendered):
    """Down by one pod in 10 minutes: its user agents have to find another one."""
    scaling = rendered.values["autoscaling"]
    for scaler in rendered.of("HorizontalPodAutoscaler") + rendered.of("ScaledObject"):
        spec = scaler["spec"]
        behavior = spec.get("behavior") or spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        if behavior["scaleDown"]["policies"] != [{"type": "Pods", "value": 1, "periodSeconds": scaling["scaleDownSeconds"]}]:
            yield "more than one pod may go at a time"
        target = str(rendered.values["connections"] * scaling["connections"]["percent"] // 100)
        targets = [metric["pods"]["target"]["averageValue"] for metric in spec.get("metrics", []) if "pods" in metric]
        targets += [trigger["metadata"]["threshold"] for trigger in spec.get("triggers", []) if trigger["type"] == "prometheus"]
        if targets != ([target] if scaling["connections"]["source"] else []):
            yield f"the target of connections is {targets}"
        by_cpu = sum("resource" in metric for metric in spec.get("metrics", []))
        by_cpu += sum(trigger["type"] == "cpu" for trigger in spec.get("triggers", []))
        if by_cpu != (1 if scaling["cpu"] else 0):
            yield "the autoscaler does not follow the CPU as the values say"


@assertion
def pods_of_a_version_are_spread(rendered):
    constraints = rendered.pod.get("topologySpreadConstraints", [])
    keys = {"zone": "topology.kubernetes.io/zone", "host": "kubernetes.io/hostname"}
    wanted = {keys[name]: how for name, how in rendered.values["topologySpread"].items() if how} if rendered.redis else {}
    if {constraint["topologyKey"]: constraint["whenUnsatisfiable"] for constraint in constraints} != wanted:
        yield "the pods are not spread as the values say"
    for constraint in constraints:
        if constraint.get("matchLabelKeys") != ["pod-template-hash"]:
            yield "in a rollout, pods of the old version count"


# Monitoring.


@assertion
def alerts_are_about_these_pods(rendered):
    for rule in rendered.of("PrometheusRule"):
        for alert in [alert for group in rule["spec"]["groups"] for alert in group["rules"]]:
            if not alert["annotations"].get("runbook_url", "").startswith(rendered.values["monitoring"]["prometheusRule"]["runbookUrl"]):
                yield f"{alert['alert']} has no runbook"
            if f'namespace="{NAMESPACE}"' not in alert["expr"]:
                yield f"{alert['alert']} is about all namespaces"


@assertion
def monitoring_is_what_the_values_say(rendered):
    monitoring = rendered.values["monitoring"]
    for kind, enabled in (("PodMonitor", monitoring["podMonitor"]), ("PrometheusRule", monitoring["prometheusRule"])):
        if bool(rendered.of(kind)) != enabled["enabled"]:
            yield f"there is no {kind}, or one too many"
    if len(rendered.of("ConfigMap")) != 1 + monitoring["dashboard"]["enabled"]:
        yield "there is no dashboard, or one too many"
