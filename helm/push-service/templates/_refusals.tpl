{{/*
What no single value shows: values that contradict each other, or that would fail in the cluster. All faults are told at once.
values.schema.json refuses unknown keys and wrong types before. Each sentence names the value and the way out.
*/}}
{{- define "push-service.refuse" -}}
{{- $faults := list -}}
{{- range $rule := list "service" "storage" "secrets" "certificate" "routes" "services" "drain" "autoscaling" "environment" "config" "pod" "names" "networkPolicy" -}}
{{- $found := include (printf "push-service.refuse.%s" $rule) $ -}}
{{- range splitList "\n" $found -}}{{- with trim . -}}{{- $faults = append $faults . -}}{{- end -}}{{- end -}}
{{- end -}}
{{- if $faults -}}
{{- fail (printf "the values are refused:\n  %s\n" (join "\n  " $faults)) -}}
{{- end -}}
{{- end -}}

{{- define "push-service.refuse.service" -}}
{{- $values := .Values -}}
{{- if not $values.publicUrl }}
publicUrl is empty: set it to the origin of all URLs that the service hands out, such as https://push.example.net. Choose one that you can keep: subscriptions end when it no longer leads to the service
{{- else if not (regexMatch "^https?://[^/?#@\\s]+/?$" $values.publicUrl) }}
publicUrl `{{ $values.publicUrl }}` is not an origin: write https://HOST or https://HOST:PORT, without user, path or query
{{- end }}
{{- if not $values.image.repository }}
image.repository is empty: set it to the image in your registry, such as registry.example.net/push-service. docs/kubernetes.md says how to build and push it
{{- else if regexMatch "@|:[^/]*$" $values.image.repository }}
image.repository `{{ $values.image.repository }}` has a tag or a digest: put it into image.tag or image.digest
{{- end }}
{{- if not (or $values.service.http.enabled (include "push-service.certificate" .)) }}
service.http.enabled is false and there is no certificate, so nothing listens: set service.http.enabled to true, or tls.existingSecret, tls.certManager or tls.acme
{{- end }}
{{- end -}}

{{- define "push-service.refuse.storage" -}}
{{- $values := .Values -}}
{{- $redis := $values.storage.redis -}}
{{- $replicas := $values.replicas -}}
{{- if eq $values.storage.kind "embedded" -}}
{{- if and (not (kindIs "invalid" $replicas)) (gt (int64 $replicas) 1) }}
replicas is {{ $replicas }}, and with storage.kind embedded there can be one pod only: set replicas to 1, or storage.kind to redis
{{- end }}
{{- if $values.autoscaling.enabled }}
autoscaling.enabled is true, and with storage.kind embedded there can be one pod only: set it to false, or storage.kind to redis
{{- end }}
{{- range $key := list "url" "username" "existingSecret" "urlKey" -}}
{{- if get $redis $key }}
storage.redis.{{ $key }} is set, and storage.kind is embedded, so it has no effect: set storage.kind to redis, or remove it
{{- end -}}
{{- end }}
{{- if and $values.externalSecret.enabled $values.externalSecret.redisPassword.key }}
externalSecret.redisPassword.key is set, and storage.kind is embedded, so it has no effect: set storage.kind to redis, or remove it
{{- end }}
{{- else -}}
{{- if $values.storage.embedded.existingClaim }}
storage.embedded.existingClaim is set, and storage.kind is redis, so it has no effect: set storage.kind to embedded, or remove it
{{- end }}
{{- if and $redis.url $redis.urlKey }}
storage.redis.url and storage.redis.urlKey are both set: remove one of them
{{- end }}
{{- if and $redis.urlKey (not $redis.existingSecret) }}
storage.redis.urlKey is set, but not the Secret that has this key: set storage.redis.existingSecret
{{- end }}
{{- $isInEnv := include "push-service.setByEnv" (list . "PUSH_SERVICE__STORAGE__URL") -}}
{{- if not (or $redis.url $redis.urlKey $isInEnv) }}
storage.redis.url is empty, and storage.kind is redis: set it to your Redis, such as redis://redis.example.net:6379, or name the key of a Secret that has it in storage.redis.urlKey. The chart installs no Redis
{{- end }}
{{- if $redis.url -}}
{{- if not (regexMatch "^rediss?(\\+(cluster|sentinel))?://." $redis.url) }}
storage.redis.url does not begin with redis://, redis+sentinel:// or redis+cluster://, or, over TLS, rediss:// and so on: correct it
{{- else if regexMatch "://[^/@]*:.*@" $redis.url }}
storage.redis.url has a password, and everyone who may read the ConfigMap could read it: take it out, put it into a Secret, and name that in storage.redis.existingSecret
{{- else if and (regexMatch "^redis[+:]" $redis.url) (include "push-service.redisCa" .) }}
storage.redis.ca is set, but storage.redis.url does not speak TLS: write rediss instead of redis there, or remove storage.redis.ca
{{- end -}}
{{- end }}
{{- $hasPassword := or $redis.existingSecret (and $values.externalSecret.enabled $values.externalSecret.redisPassword.key) (include "push-service.setByEnv" (list . "PUSH_SERVICE__STORAGE__REDIS__PASSWORD")) $isInEnv -}}
{{- if and $redis.username (not $hasPassword) }}
storage.redis.username is set, but there is no password: set storage.redis.existingSecret to the Secret that has it
{{- end }}
{{- if and $redis.ca.existingConfigMap $redis.ca.existingSecret }}
storage.redis.ca.existingConfigMap and storage.redis.ca.existingSecret are both set: remove one of them
{{- end }}
{{- if and $redis.existingSecret $values.externalSecret.enabled $values.externalSecret.redisPassword.key }}
storage.redis.existingSecret and externalSecret.redisPassword.key are both set: remove one of them
{{- end }}
{{- end }}
{{- end -}}

{{- define "push-service.refuse.secrets" -}}
{{- $values := .Values -}}
{{- $external := $values.externalSecret -}}
{{- $fromStore := and $external.enabled $external.sealingKeys.key -}}
{{- $isInEnv := include "push-service.setByEnv" (list . "PUSH_SERVICE__SECURITY__SEALING_KEYS") -}}
{{- if and (eq $values.storage.kind "redis") (not (or $values.sealingKeys.existingSecret $fromStore $isInEnv)) }}
sealingKeys.existingSecret is empty, and with Redis all pods need the same sealing keys. Make a Secret, and set sealingKeys.existingSecret to its name: push-service keys generate | kubectl create secret generic push-service-keys --namespace {{ .Release.Namespace }} --from-file={{ $values.sealingKeys.key }}=/dev/stdin
{{- end }}
{{- range $own, $entry := dict "sealingKeys" $external.sealingKeys "userAgentSecret" $external.userAgentSecret "adminToken" $external.adminToken -}}
{{- if and $external.enabled $entry.key (get $values $own).existingSecret }}
{{ $own }}.existingSecret and externalSecret.{{ $own }}.key are both set: remove one of them
{{- end -}}
{{- end }}
{{- if $external.enabled -}}
{{- if not $external.secretStoreRef.name }}
externalSecret.enabled is true, and externalSecret.secretStoreRef.name is empty: set it to the SecretStore that has the secrets
{{- end }}
{{- if not (or $external.sealingKeys.key $external.redisPassword.key $external.userAgentSecret.key $external.adminToken.key) }}
externalSecret.enabled is true, and no entry has a key: set externalSecret.sealingKeys.key, or externalSecret.enabled to false
{{- end }}
{{- if and $values.storage.redis.urlKey $external.redisPassword.key }}
externalSecret.redisPassword.key and storage.redis.urlKey are both set: the password belongs into the URL of the Secret, so remove one of them
{{- end }}
{{- end }}
{{- end -}}

{{- define "push-service.refuse.certificate" -}}
{{- $values := .Values -}}
{{- $sources := list -}}
{{- if $values.tls.existingSecret -}}{{- $sources = append $sources "tls.existingSecret" -}}{{- end -}}
{{- if $values.tls.certManager.enabled -}}{{- $sources = append $sources "tls.certManager.enabled" -}}{{- end -}}
{{- if $values.tls.acme.enabled -}}{{- $sources = append $sources "tls.acme.enabled" -}}{{- end -}}
{{- if gt (len $sources) 1 }}
{{ join " and " $sources }} are set, and the service has one certificate: keep one of them
{{- end }}
{{- if and $values.tls.certManager.enabled (not $values.tls.certManager.issuerRef.name) }}
tls.certManager.enabled is true, and tls.certManager.issuerRef.name is empty: set it to your issuer
{{- end }}
{{- if $values.tls.acme.enabled -}}
{{- if eq $values.storage.kind "redis" }}
tls.acme.enabled is true, and with several pods the ACME server may reach one that did not order: use tls.certManager, or tls.existingSecret
{{- end }}
{{- if and (eq $values.tls.acme.challenge "tls-alpn-01") (ne (int64 $values.service.tls.port) 443) }}
tls.acme.challenge is tls-alpn-01, and service.tls.port is {{ $values.service.tls.port }}: the ACME server connects to port 443, so set it to 443
{{- end }}
{{- if eq $values.tls.acme.challenge "http-01" -}}
{{- if not $values.service.http.enabled }}
tls.acme.challenge is http-01, and service.http.enabled is false: the ACME server connects to port 80, so set it to true, or use tls-alpn-01
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "push-service.refuse.routes" -}}
{{- $values := .Values -}}
{{- $byName := list -}}
{{- range $name := list "ingress" "httpRoute" "tlsRoute" -}}
{{- if (get $values $name).enabled -}}{{- $byName = append $byName (printf "%s.enabled" $name) -}}{{- end -}}
{{- end -}}
{{- if $values.tls.certManager.enabled -}}{{- $byName = append $byName "tls.certManager.enabled" -}}{{- end -}}
{{- if $values.tls.acme.enabled -}}{{- $byName = append $byName "tls.acme.enabled" -}}{{- end -}}
{{- $host := include "push-service.host" . -}}
{{- if and $byName (regexMatch "^[0-9.]+$|:" $host) }}
publicUrl has the address {{ $host }} as its host, and {{ join ", " $byName }} needs a name: write a host name there
{{- end }}
{{- range $name := list "ingress" "httpRoute" "tlsRoute" -}}
{{- $route := get $values $name -}}
{{- if $route.enabled -}}
{{- if not $values.trustedProxies }}
{{ $name }}.enabled is true, and trustedProxies is empty: the proxy would count as one peer, and be cut off at {{ include "push-service.connectionsPerAddress" $ }} connections. Set trustedProxies to the networks of its pods, such as 10.0.0.0/8
{{- end }}
{{- if and (ne $name "tlsRoute") (not $values.service.http.enabled) }}
{{ $name }}.enabled is true, and service.http.enabled is false, so there is no Service that it leads to: set service.http.enabled to true
{{- end }}
{{- if and (eq $name "tlsRoute") (not (include "push-service.certificate" $)) }}
tlsRoute.enabled is true, and there is no certificate, which the pods need because TLS is passed through: set tls.existingSecret or tls.certManager
{{- end }}
{{- if and (ne $name "ingress") (not $route.parentRefs) }}
{{ $name }}.enabled is true, and {{ $name }}.parentRefs is empty: name your Gateway there
{{- end }}
{{- end -}}
{{- end }}
{{- end -}}

{{- define "push-service.connectionsPerAddress" -}}
{{- $limits := get (.Values.config | default dict) "limits" | default dict -}}
{{- get (merge (dict) $limits (dict "connections_per_address" 1000)) "connections_per_address" -}}
{{- end -}}

{{- define "push-service.refuse.services" -}}
{{- $values := .Values -}}
{{- $limits := get ($values.config | default dict) "limits" | default dict -}}
{{- $limited := list -}}
{{- range $key := list "connections_per_address" "work_per_address" "records_per_address" -}}
{{- if or (not (hasKey $limits $key)) (ne (toString (get $limits $key)) "0") -}}
{{- $limited = append $limited (printf "config.limits.%s" $key) -}}
{{- end -}}
{{- end -}}
{{- $open := list -}}
{{- range $name := list "http" "tls" "quic" -}}
{{- $isMade := hasKey (include "push-service.ports" $ | fromYaml) $name -}}
{{- if and $isMade (ne (get $values.service $name).type "ClusterIP") -}}{{- $open = append $open $name -}}{{- end -}}
{{- end -}}
{{- if and $open (eq $values.service.externalTrafficPolicy "Cluster") $limited (not $values.trustedProxies) }}
service.externalTrafficPolicy is Cluster, so all peers would have the address of a node, and share its limits: set it to Local, or {{ join ", " $limited }} to 0
{{- end }}
{{- if and $values.service.quic.enabled (not (include "push-service.hasQuic" .)) }}
service.quic.enabled is true, and the service has no QUIC yet: set it to false
{{- end }}
{{- range $name := list "http" "tls" "quic" -}}
{{- $service := get $values.service $name -}}
{{- if eq $service.type "ClusterIP" -}}
{{- if not (kindIs "invalid" $service.nodePort) }}
service.{{ $name }}.nodePort is set, and service.{{ $name }}.type is ClusterIP, so it has no effect: set the type to NodePort or LoadBalancer, or remove it
{{- end }}
{{- end }}
{{- if ne $service.type "LoadBalancer" -}}
{{- range $key := list "loadBalancerClass" "loadBalancerSourceRanges" -}}
{{- if get $service $key }}
service.{{ $name }}.{{ $key }} is set, and service.{{ $name }}.type is {{ $service.type }}, so it has no effect: set the type to LoadBalancer, or remove it
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "push-service.refuse.drain" -}}
{{- $values := .Values -}}
{{- $drain := include "push-service.drain" . | fromYaml -}}
{{- $spread := int64 $drain.spread -}}
{{- if gt $spread 3600 }}
drain.perSecond is {{ $values.drain.perSecond }}, and with {{ int64 $values.connections }} connections a drain would take {{ $spread }} s: set it to at least {{ div (add (int64 $values.connections) 3599) 3600 }}, because a drain takes at most an hour
{{- end }}
{{- if lt (int64 $drain.grace) (int64 $drain.leastGrace) }}
drain.terminationGracePeriodSeconds is {{ $drain.grace }}, and the drain takes up to {{ $drain.deadline }} s, so Kubernetes would kill the pod while it closes its channels: leave it empty, set it to at least {{ $drain.leastGrace }}, or raise drain.perSecond
{{- end }}
{{- if lt (int64 $drain.progress) (int64 $drain.leastProgress) }}
drain.progressDeadlineSeconds is {{ $drain.progress }}, and a new pod counts only after {{ $drain.minReady }} s: leave it empty, or set it to more than that
{{- end }}
{{- end -}}

{{- define "push-service.refuse.autoscaling" -}}
{{- $scaling := .Values.autoscaling -}}
{{- if $scaling.enabled -}}
{{- if gt (int64 $scaling.minReplicas) (int64 $scaling.maxReplicas) }}
autoscaling.minReplicas is {{ $scaling.minReplicas }}, more than autoscaling.maxReplicas {{ $scaling.maxReplicas }}: lower it, or raise the other one
{{- end }}
{{- if and (not $scaling.cpu) (not $scaling.connections.source) }}
autoscaling.enabled is true, and neither autoscaling.cpu nor autoscaling.connections.source is set: set one of them
{{- end }}
{{- if and $scaling.cpu (not .Values.resources.requests.cpu) }}
autoscaling.cpu is set, and resources.requests.cpu, of which it is a share, is not: set it, or leave autoscaling.cpu empty
{{- end }}
{{- if and (eq $scaling.connections.source "keda") (not $scaling.connections.keda.serverAddress) }}
autoscaling.connections.source is keda, and autoscaling.connections.keda.serverAddress is empty: set it to the URL of your Prometheus
{{- end }}
{{- if not (kindIs "invalid" .Values.replicas) }}
replicas is {{ .Values.replicas }}, and autoscaling.enabled is true, so it has no effect: leave it empty, or set autoscaling.minReplicas
{{- end }}
{{- end -}}
{{- end -}}

{{- define "push-service.refuse.environment" -}}
{{- $seen := list -}}
{{- $owned := include "push-service.ownedKeys" . | fromYaml -}}
{{- $free := include "push-service.keysForTheEnvironment" . | fromYamlArray -}}
{{- range .Values.extraEnv -}}
{{- $name := .name -}}
{{- if has $name $seen }}
extraEnv has {{ $name }} twice: remove one of them
{{- end }}
{{- $seen = append $seen $name -}}
{{- if and (hasKey . "value") (hasKey . "valueFrom") }}
extraEnv has {{ $name }} with value and valueFrom: remove one of them
{{- end }}
{{- range $key, $value := $owned -}}
{{- $variable := printf "PUSH_SERVICE__%s" ($key | upper | replace "." "__") -}}
{{- if not (has $key $free) -}}
{{- if or (eq $name $variable) (eq $name (printf "%s_FILE" $variable)) (and (eq $key "tls.acme") (hasPrefix (printf "%s__" $variable) $name)) }}
extraEnv has {{ $name }}, and the chart decides other things by this key: use {{ $value }} instead
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "push-service.refuse.config" -}}
{{- $config := .Values.config | default dict -}}
{{- range $key, $value := include "push-service.ownedKeys" . | fromYaml -}}
{{- $at := $config -}}
{{- $isThere := true -}}
{{- range splitList "." $key -}}
{{- if and $isThere (kindIs "map" $at) (hasKey $at .) -}}
{{- $at = get $at . -}}
{{- else -}}
{{- $isThere = false -}}
{{- end -}}
{{- end -}}
{{- if and $isThere (not (kindIs "invalid" $at)) }}
config.{{ $key }} is set, and the chart writes this key itself: use {{ $value }} instead
{{- end }}
{{- end }}
{{- if eq .Values.storage.kind "embedded" -}}
{{- range $section := list (list "cluster" (get $config "cluster")) (list "storage.redis" (get (get $config "storage" | default dict) "redis")) -}}
{{- if index $section 1 }}
config.{{ index $section 0 }} is set, and storage.kind is embedded, so it has no effect: set storage.kind to redis, or remove it
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "push-service.refuse.pod" -}}
{{- $values := .Values -}}
{{- $taken := list "config" "secrets" "tls" "redis-ca" "data" -}}
{{- $names := list -}}
{{- range $values.extraVolumes -}}
{{- if or (has .name $taken) (has .name $names) }}
extraVolumes has a volume `{{ .name }}`, and there is another one of this name: give it another name
{{- end }}
{{- $names = append $names .name -}}
{{- end -}}
{{- range $values.extraVolumeMounts -}}
{{- if not (has .name $names) }}
extraVolumeMounts mounts `{{ .name }}`, which is not in extraVolumes: add it there
{{- end }}
{{- if or (hasPrefix (include "push-service.directory" $) .mountPath) (hasPrefix "/var/lib/push-service" .mountPath) }}
extraVolumeMounts mounts `{{ .name }}` at {{ .mountPath }}, where the chart mounts its own files: choose another directory, such as /mnt/{{ .name }}
{{- end }}
{{- end -}}
{{- if and $values.podDisruptionBudget.enabled (has (toString $values.podDisruptionBudget.maxUnavailable) (list "0" "0%")) }}
podDisruptionBudget.maxUnavailable is {{ $values.podDisruptionBudget.maxUnavailable }}, so no node could ever be drained: set it to at least 1
{{- end }}
{{- if or (eq (toString $values.podSecurity.runAsUser) "0") (eq (toString $values.podSecurity.runAsGroup) "0") }}
podSecurity.runAsUser or podSecurity.runAsGroup is 0, and Pod Security `restricted` refuses root: choose another id, or null
{{- end }}
{{- if hasKey $values.podAnnotations "checksum/config" }}
podAnnotations has checksum/config, which the chart sets: remove it
{{- end }}
{{- range $list := list "commonLabels" "podLabels" -}}
{{- range $key, $_ := get $values $list -}}
{{- if or (hasPrefix "app.kubernetes.io/" $key) (hasPrefix "helm.sh/" $key) }}
{{ $list }} has {{ $key }}, and the chart sets labels with this prefix: choose another name
{{- end }}
{{- if and (eq $list "podLabels") (hasKey $values.commonLabels $key) }}
podLabels and commonLabels both have {{ $key }}: remove one of them
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "push-service.refuse.names" -}}
{{- /* A StatefulSet's pods have a label with its name and 11 more characters, and a label has at most 63. */ -}}
{{- $most := 52 -}}
{{- $name := include "push-service.fullname" . -}}
{{- if gt (len $name) $most }}
the name of the objects, `{{ $name }}`, has {{ len $name }} characters, and at most {{ $most }} fit: set fullnameOverride to a shorter one, or choose a shorter name for the release
{{- end }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
the name of the objects, `{{ $name }}`, is not a name for a Service: it takes lower-case letters, digits and `-`, and begins with a letter. Set fullnameOverride
{{- end }}
{{- if gt (len (include "push-service.name" .)) 63 }}
nameOverride has {{ len (include "push-service.name" .) }} characters, and a label has at most 63: choose a shorter one
{{- end }}
{{- end -}}

{{- define "push-service.refuse.networkPolicy" -}}
{{- $values := .Values -}}
{{- if and $values.networkPolicy.enabled (eq $values.storage.kind "redis") (not $values.storage.redis.url) (not $values.networkPolicy.redisPorts) }}
networkPolicy.enabled is true, and the URL of Redis is in a Secret, where the chart does not look: set networkPolicy.redisPorts to its ports, such as [6379]
{{- end }}
{{- end -}}
