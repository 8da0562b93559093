"""Mistakes planted in the templates, one for each row: the assertion that the row names has to find it."""

import shutil

import pytest

from assertions import ALL, faults
from rendering import CHART, rendered, value_set

# The value set that shows it, the template, what is there, what a mistake makes of it, and the assertion that finds it.
MISTAKES = [
    ("embedded", "_pod.tpl", "runAsNonRoot: true\n{{- range", "{{- range", "pod_security_restricted"),
    ("embedded", "_pod.tpl", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "pod_security_restricted"),
    ("embedded", "_pod.tpl", 'drop: ["ALL"]', 'drop: ["NET_RAW"]', "pod_security_restricted"),
    ("embedded", "_pod.tpl", "type: RuntimeDefault", "type: Unconfined", "pod_security_restricted"),
    ("redis", "_pod.tpl", "  enableServiceLinks: false\n", "  hostNetwork: true\n  enableServiceLinks: false\n", "pod_security_restricted"),
    ("embedded", "_pod.tpl", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "root_is_read_only"),
    ("redis", "_pod.tpl", "  automountServiceAccountToken: false\n", "", "no_token_and_no_service_links"),
    ("openshift", "_pod.tpl", "runAsNonRoot: true\n{{- range", "runAsNonRoot: true\nrunAsUser: 65532\n{{- range", "ids_are_the_values"),
    ("redis", "_pod.tpl", "name: secrets\n          mountPath", "name: secret\n          mountPath", "mounts_have_volumes"),
    ("embedded", "statefulset.yaml", "        name: data\n", "        name: store\n", "mounts_have_volumes"),
    ("redis", "_pod.tpl", "path: {{ .file }}", "path: {{ .key }}-1", "files_are_mounted"),
    ("embedded", "_config.tpl", "embedded:/var/lib/push-service/store", "embedded:/var/lib/push/store", "files_are_mounted"),
    ("embedded-tls", "_pod.tpl", "path: tls.key", "path: key", "files_are_mounted"),
    ("extras", "_config.tpl", "if not (has .name $extra)", "if true", "environment_has_each_name_once"),
    ("extras", "_config.tpl", "if and .variable (not (has .variable $extra))", "if .variable", "environment_has_each_name_once"),
    ("redis", "_pod.tpl", "path: /healthz\n          port: admin\n        periodSeconds: 10", "path: /readyz\n          port: admin\n        periodSeconds: 10", "probes_ask_the_admin_port"),
    ("redis", "_pod.tpl", "      volumeMounts:\n", "      lifecycle:\n        preStop:\n          sleep:\n            seconds: 5\n      volumeMounts:\n", "probes_ask_the_admin_port"),
    ("redis-cluster", "_pod.tpl", "(mul $connections 12)", "(mul $connections 4)", "memory_follows_from_connections"),
    ("redis", "_pod.tpl", "checksum/config:", "checksum/other:", "version_of_the_chart_restarts_no_pod"),
    ("redis", "services.yaml", "{{ eq $port \"http\" | ternary $fullname", "{{ eq $port \"http\" | ternary \"Push_Service\"", "names_fit"),
    ("embedded-tls", "services.yaml", '(printf "%s-%s" $fullname $port)', "$fullname", "objects_are_unique"),
    ("redis", "_names.tpl", "app.kubernetes.io/managed-by: {{ .Release.Service }}\nhelm.sh", "helm.sh", "labels_are_complete"),
    ("redis", "services.yaml", "selectorLabels\" $ | nindent 4 }}\n{{- end }}", "selectorLabels\" $ | nindent 4 }}\n    tier: web\n{{- end }}", "selectors_match_the_pods"),
    ("redis", "tests/probe.yaml", "app.kubernetes.io/component: probe", "app.kubernetes.io/component: server", "selectors_match_the_pods"),
    ("redis", "services.yaml", "selectorLabels\" $ | nindent 4 }}\n{{- end }}", "podLabels\" $ | nindent 4 }}\n{{- end }}", "selectors_never_change"),
    ("embedded", "statefulset.yaml", "selectorLabels\" . | nindent 10", "labels\" . | nindent 10", "selectors_never_change"),
    ("redis", "_pod.tpl", "configMap:\n        name: {{ include \"push-service.fullname\" . }}", "configMap:\n        name: {{ .Release.Name }}", "references_lead_somewhere"),
    ("external-secret", "externalsecret.yaml", "secretKey: {{ .key }}", "secretKey: {{ .store.key | base }}", "references_lead_somewhere"),
    ("cert-manager", "certificate.yaml", "secretName: {{ include \"push-service.certificateSecret\" . }}", "secretName: {{ .Release.Name }}-tls", "references_lead_somewhere"),
    ("redis", "serviceaccount.yaml", "name: {{ include \"push-service.serviceAccountName\" . }}", "name: {{ .Release.Name }}", "references_lead_somewhere"),
    ("redis", "_pod.tpl", "defaultMode: 0440\n        sources", "defaultMode: 0444\n        sources", "nothing_is_secret"),
    ("redis-sentinel", "_config.tpl", '"variable" "PUSH_SERVICE__STORAGE__REDIS__PASSWORD"', '"variable" ""', "secrets_reach_the_service"),
    ("embedded-tls", "_config.tpl", 'if eq .file "admin-token"', 'if eq .file "token"', "secrets_reach_the_service"),
    ("redis", "services.yaml", "targetPort: {{ $port }}", "targetPort: web", "ports_have_names"),
    ("embedded-tls", "_config.tpl", "tls: 8443", "tls: 8080", "ports_have_names"),
    ("monitoring", "podmonitor.yaml", "port: admin", "port: http", "ports_have_names"),
    ("redis", "_pod.tpl", "containerPort: {{ include \"push-service.adminPort\" . }}", "containerPort: 9091", "service_listens_on_its_ports"),
    ("redis", "services.yaml", "    - name: {{ $port }}\n", "    - {name: admin, port: 9090, targetPort: admin, protocol: TCP}\n    - name: {{ $port }}\n", "admin_port_is_in_no_service"),
    ("embedded-tls", "services.yaml", '{{- if ne $service.type "ClusterIP" }}\n  externalTrafficPolicy', '{{- if eq $service.type "ClusterIP" }}\n  externalTrafficPolicy', "each_public_port_has_a_service"),
    ("dual-stack", "services.yaml", "  ipFamilyPolicy: {{ $.Values.service.ipFamilyPolicy }}\n", "", "each_public_port_has_a_service"),
    ("ingress", "ingress.yaml", "                  name: http", "                  name: web", "routes_lead_to_a_service"),
    ("tls-route", "tlsroute.yaml", "-tls\n          port", "\n          port", "routes_lead_to_a_service"),
    ("cert-manager", "tests/probe.yaml", "ternary $values.service.http.port $values.service.tls.port", "ternary $values.service.tls.port $values.service.http.port", "routes_lead_to_a_service"),
    ("http-route", "httproute.yaml", ".Values.httpRoute.extraHosts", "(list \"push.example.com\")", "routes_have_the_public_host"),
    ("http-route", "httproute.yaml", "request: 0s", "request: 60s", "a_channel_is_not_cut_off"),
    ("ingress", "_config.tpl", '"trusted_proxies" ($values.trustedProxies', '"trusted_proxies" (list', "proxies_are_trusted"),
    ("monitoring", "networkpolicy.yaml", "- ports:\n        - port: {{ include \"push-service.adminPort\" $ }}", "- ports:\n        - port: 8080\n        - port: {{ include \"push-service.adminPort\" $ }}", "policy_lets_in_what_it_should"),
    ("redis-sentinel", "networkpolicy.yaml", "- port: 53\n          protocol: TCP\n", "", "policy_lets_out_what_it_should"),
    ("embedded-acme", "networkpolicy.yaml", "{{- if .Values.tls.acme.enabled }}", "{{- if .Values.tls.existingSecret }}", "policy_lets_out_what_it_should"),
    ("redis", "_drain.tpl", "$deadline := add $delay $spread $finish", "$deadline := add $spread $finish", "drain_sums"),
    ("redis", "_drain.tpl", "$leastGrace := add $deadline $reserve", "$leastGrace := $deadline", "drain_sums"),
    ("one-by-one", "_drain.tpl", "div (sub (add (int64 .Values.connections) $perSecond) 1) $perSecond", "div (int64 .Values.connections) (mul 2 $perSecond)", "drain_sums"),
    ("embedded", "_drain.tpl", 'if eq .Values.storage.kind "redis"', 'if true', "drain_sums"),
    ("redis", "deployment.yaml", "maxUnavailable: 0", "maxUnavailable: 1", "rollout_loses_no_pod"),
    ("one-by-one", "deployment.yaml", 'ternary "1" "100%"', 'ternary "100%" "1"', "rollout_loses_no_pod"),
    ("one-by-one", "_drain.tpl", "$minReady = add $delay $spread $settle", "$minReady = $settle", "rollout_loses_no_pod"),
    ("redis", "_drain.tpl", "add $begin $startWithin $minReady $grace", "add $begin $minReady $grace", "rollout_loses_no_pod"),
    ("embedded", "statefulset.yaml", "podManagementPolicy: Parallel", "podManagementPolicy: OrderedReady", "rollout_loses_no_pod"),
    ("embedded", "statefulset.yaml", "whenDeleted: Retain", "whenDeleted: Delete", "claim_is_kept"),
    ("redis", "poddisruptionbudget.yaml", "maxUnavailable: {{", "minAvailable: {{", "budget_lets_nodes_be_drained"),
    ("redis", "poddisruptionbudget.yaml", "AlwaysAllow", "IfHealthyBudget", "budget_lets_nodes_be_drained"),
    ("single-redis", "poddisruptionbudget.yaml", '(include "push-service.several" .)', "true", "budget_lets_nodes_be_drained"),
    ("autoscaling-cpu", "deployment.yaml", "if not .Values.autoscaling.enabled", "if true", "one_decides_the_number_of_pods"),
    ("autoscaling-keda", "horizontalpodautoscaler.yaml", '(ne $scaling.connections.source "keda")', "true", "one_decides_the_number_of_pods"),
    ("autoscaling-cpu", "_replicas.tpl", "value: 1\n", "value: 4\n", "autoscaler_is_slow_down"),
    ("autoscaling-keda", "_replicas.tpl", ".Values.autoscaling.connections.percent)) 100)", ".Values.autoscaling.connections.percent)) 60)", "autoscaler_is_slow_down"),
    ("redis", "_pod.tpl", 'matchLabelKeys: ["pod-template-hash"]', "matchLabelKeys: []", "pods_of_a_version_are_spread"),
    ("monitoring", "prometheusrule.yaml", 'replace "job=\\"push-service\\"" $selector', "trim", "alerts_are_about_these_pods"),
    ("monitoring", "dashboard.yaml", "{{- if .enabled }}", "{{- if not .enabled }}", "monitoring_is_what_the_values_say"),
]


def test_every_assertion_finds_something():
    """An assertion that no mistake needs might see nothing at all."""
    assert set(ALL) == {row[-1] for row in MISTAKES}


@pytest.mark.parametrize("where,template,right,wrong,assertion", MISTAKES, ids=[f"{row[-1]}-{number}" for number, row in enumerate(MISTAKES)])
def test_a_planted_mistake_is_found(where, template, right, wrong, assertion, tmp_path):
    chart = tmp_path / "push-service"
    shutil.copytree(CHART, chart)
    path = chart / "templates" / template
    text = path.read_text()
    assert right in text, f"{template} has changed: plant this mistake elsewhere"
    path.write_text(text.replace(right, wrong, 1))
    assert faults(rendered(value_set(where), chart), [assertion]), "no assertion of this name finds it"
