{{/*
The configuration of the service: a TOML file without secrets, and variables that name the files with secrets.
*/}}

{{/* Keys of the configuration that other values of the chart set: what `config` and `extraEnv` may not set, as YAML. */}}
{{- define "push-service.ownedKeys" -}}
public_url: publicUrl
listen.http: service.http.enabled
listen.tls: tls.existingSecret, tls.certManager or tls.acme
listen.quic: service.quic.enabled
listen.admin: nothing, because probes and monitors use port 9090
listen.trusted_proxies: trustedProxies
tls.certificate: tls.existingSecret
tls.key: tls.existingSecret
tls.self_signed: tls.existingSecret
tls.acme: tls.acme
storage.url: storage.kind and storage.redis.url
storage.redis.username: storage.redis.username
storage.redis.password: storage.redis.existingSecret
storage.redis.wait_replicas: storage.redis.waitReplicas
storage.redis.start_within: storage.redis.startWithin
storage.redis.ca: storage.redis.ca
security.sealing_keys: sealingKeys.existingSecret
security.user_agent_secret: userAgentSecret.existingSecret
admin.token_file: adminToken.existingSecret
limits.connections: connections
drain.delay: drain.delaySeconds
drain.spread: drain.perSecond
drain.deadline: drain.perSecond
{{- end -}}

{{/* Of these, what the environment may set all the same: secrets, and what the chart sets there itself. */}}
{{- define "push-service.keysForTheEnvironment" -}}
- storage.url
- storage.redis.password
- security.sealing_keys
- security.user_agent_secret
{{- end -}}

{{- define "push-service.directory" -}}/etc/push-service{{- end -}}

{{/* `http`, `tls`, `quic`: the ports that this configuration opens, as YAML. */}}
{{- define "push-service.ports" -}}
{{- if .Values.service.http.enabled }}
http: 8080
{{- end }}
{{- if include "push-service.certificate" . }}
tls: 8443
{{- end }}
{{- if and .Values.service.quic.enabled (include "push-service.hasQuic" .) }}
quic: 8443
{{- end }}
{{- end -}}

{{- define "push-service.adminPort" -}}9090{{- end -}}

{{/* Not empty if this version of the service has QUIC. */}}
{{- define "push-service.hasQuic" -}}
{{- if eq (toString (index .Chart.Annotations "push-service/quic")) "true" }}true{{ end -}}
{{- end -}}

{{/* Where the certificate comes from: `secret`, `certManager`, `acme`, or empty. */}}
{{- define "push-service.certificate" -}}
{{- if .Values.tls.existingSecret -}}secret
{{- else if .Values.tls.certManager.enabled -}}certManager
{{- else if .Values.tls.acme.enabled -}}acme
{{- end -}}
{{- end -}}

{{/* The Secret with the certificate, or empty. */}}
{{- define "push-service.certificateSecret" -}}
{{- $from := include "push-service.certificate" . -}}
{{- if eq $from "secret" -}}{{ .Values.tls.existingSecret }}
{{- else if eq $from "certManager" -}}{{ include "push-service.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{/*
The secrets that the pod mounts, as a list in YAML. Each has the name of its file, the Secret, its key there, and the variable
that names the file to the service.
*/}}
{{- define "push-service.secrets" -}}
{{- $values := .Values -}}
{{- $redis := eq $values.storage.kind "redis" -}}
{{- $made := printf "%s-secrets" (include "push-service.fullname" .) -}}
{{- $secrets := list -}}
{{- $rows := list
  (dict "file" "sealing-keys" "external" $values.externalSecret.sealingKeys "secret" $values.sealingKeys.existingSecret
    "key" $values.sealingKeys.key "variable" "PUSH_SERVICE__SECURITY__SEALING_KEYS")
  (dict "file" "user-agent-secret" "external" $values.externalSecret.userAgentSecret
    "secret" $values.userAgentSecret.existingSecret "key" $values.userAgentSecret.key
    "variable" "PUSH_SERVICE__SECURITY__USER_AGENT_SECRET")
  (dict "file" "admin-token" "external" $values.externalSecret.adminToken "secret" $values.adminToken.existingSecret
    "key" $values.adminToken.key "variable" "")
-}}
{{- if and $redis $values.storage.redis.urlKey -}}
{{- $rows = append $rows (dict "file" "redis-url" "external" dict "secret" $values.storage.redis.existingSecret
    "key" $values.storage.redis.urlKey "variable" "PUSH_SERVICE__STORAGE__URL") -}}
{{- else if $redis -}}
{{- $rows = append $rows (dict "file" "redis-password" "external" $values.externalSecret.redisPassword
    "secret" $values.storage.redis.existingSecret "key" $values.storage.redis.passwordKey
    "variable" "PUSH_SERVICE__STORAGE__REDIS__PASSWORD") -}}
{{- end -}}
{{- range $rows -}}
{{- if and $values.externalSecret.enabled .external.key -}}
{{- $secrets = append $secrets (dict "file" .file "secret" $made "key" .file "variable" .variable "store" .external) -}}
{{- else if .secret -}}
{{- $secrets = append $secrets (dict "file" .file "secret" .secret "key" .key "variable" .variable) -}}
{{- end -}}
{{- end -}}
{{- toYaml $secrets -}}
{{- end -}}

{{/* The configuration as TOML. */}}
{{- define "push-service.toml" -}}
{{- $values := .Values -}}
{{- $directory := include "push-service.directory" . -}}
{{- $ports := include "push-service.ports" . | fromYaml -}}
{{- $drain := include "push-service.drain" . | fromYaml -}}
{{- $config := deepCopy ($values.config | default dict) -}}
{{- range $section := list "listen" "tls" "storage" "security" "admin" "limits" "channels" "drain" -}}
{{- if not (get $config $section) -}}{{- $_ := set $config $section dict -}}{{- end -}}
{{- end -}}
{{- $_ := set $config "public_url" $values.publicUrl -}}
{{- $listen := $config.listen -}}
{{- range $name := list "http" "tls" "quic" -}}
{{- $addresses := list -}}
{{- with get $ports $name -}}{{- $addresses = list (printf "%s:%v" $values.listenAddress .) -}}{{- end -}}
{{- $_ := set $listen $name $addresses -}}
{{- end -}}
{{- $_ := set $listen "admin" (list (printf "%s:%s" $values.listenAddress (include "push-service.adminPort" .))) -}}
{{- $_ := set $listen "trusted_proxies" ($values.trustedProxies | default list) -}}
{{- $from := include "push-service.certificate" . -}}
{{- if include "push-service.certificateSecret" . -}}
{{- $_ := set $config.tls "certificate" (printf "%s/tls/tls.crt" $directory) -}}
{{- $_ := set $config.tls "key" (printf "%s/tls/tls.key" $directory) -}}
{{- else if eq $from "acme" -}}
{{- $acme := dict "domains" (list (include "push-service.host" .)) "challenge" $values.tls.acme.challenge -}}
{{- with $values.tls.acme.contact -}}{{- $_ := set $acme "contact" . -}}{{- end -}}
{{- with $values.tls.acme.directory -}}{{- $_ := set $acme "directory" . -}}{{- end -}}
{{- /* Beside the store, which the service may remove and make anew. */ -}}
{{- $_ := set $acme "cache" "/var/lib/push-service/acme" -}}
{{- $_ := set $config.tls "acme" $acme -}}
{{- end -}}
{{- if eq $values.storage.kind "redis" -}}
{{- $redis := deepCopy (get $config.storage "redis" | default dict) -}}
{{- if not $values.storage.redis.urlKey -}}{{- $_ := set $config.storage "url" $values.storage.redis.url -}}{{- end -}}
{{- with $values.storage.redis.username -}}{{- $_ := set $redis "username" . -}}{{- end -}}
{{- $_ := set $redis "wait_replicas" $values.storage.redis.waitReplicas -}}
{{- $_ := set $redis "start_within" $values.storage.redis.startWithin -}}
{{- if include "push-service.redisCa" . -}}{{- $_ := set $redis "ca" (printf "%s/redis-ca/ca.crt" $directory) -}}{{- end -}}
{{- $_ := set $config.storage "redis" $redis -}}
{{- else -}}
{{- /* A directory of its own: that of the volume belongs to root. */ -}}
{{- $_ := set $config.storage "url" "embedded:/var/lib/push-service/store" -}}
{{- end -}}
{{- range include "push-service.secrets" . | fromYamlArray -}}
{{- if eq .file "admin-token" -}}{{- $_ := set $config.admin "token_file" (printf "%s/secrets/admin-token" $directory) -}}{{- end -}}
{{- end -}}
{{- $_ := set $config.limits "connections" (int64 $values.connections) -}}
{{- $_ := set $config "drain" (dict "delay" (printf "%vs" $drain.delay) "spread" (printf "%vs" $drain.spread)
  "deadline" (printf "%vs" $drain.deadline)) -}}
{{- include "push-service.table" (dict "path" "" "table" $config) | trim -}}
{{- end -}}

{{/*
A table of TOML: its values, then its tables. JSON's strings, numbers and lists of them are TOML's too. `toToml` is not used,
because it writes whole numbers of a values file as fractions.
*/}}
{{- define "push-service.table" -}}
{{- $path := .path -}}
{{- $lines := list -}}
{{- range $key, $value := .table -}}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) -}}
{{- $lines = append $lines (printf "%s = %s" $key (toJson $value)) -}}
{{- end -}}
{{- end -}}
{{- if $lines }}
{{ if $path }}
[{{ $path }}]
{{- end }}
{{ join "\n" $lines }}
{{- end -}}
{{- range $key, $value := .table -}}
{{- if kindIs "map" $value -}}
{{- include "push-service.table" (dict "path" (ternary (printf "%s.%s" $path $key) $key (ne $path "")) "table" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* `configMap` or `secret`, where the CA certificates for Redis are; empty for those of the image. */}}
{{- define "push-service.redisCa" -}}
{{- if eq .Values.storage.kind "redis" -}}
{{- if .Values.storage.redis.ca.existingConfigMap -}}configMap
{{- else if .Values.storage.redis.ca.existingSecret -}}secret
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The container's variables: those of the chart, then those of extraEnv. One of extraEnv takes the place of the chart's with the
same name, and of the chart's that names a file with the same key's value: the service refuses both together.
*/}}
{{- define "push-service.env" -}}
{{- $directory := include "push-service.directory" . -}}
{{- $extra := list -}}
{{- range .Values.extraEnv -}}{{- $extra = append $extra .name -}}{{- end -}}
{{- $own := list (dict "name" "PUSH_SERVICE_LOG" "value" .Values.logLevel) -}}
{{- range include "push-service.secrets" . | fromYamlArray -}}
{{- if and .variable (not (has .variable $extra)) -}}
{{- $own = append $own (dict "name" (printf "%s_FILE" .variable) "value" (printf "%s/secrets/%s" $directory .file)) -}}
{{- end -}}
{{- end -}}
{{- $all := list -}}
{{- range $own -}}{{- if not (has .name $extra) -}}{{- $all = append $all . -}}{{- end -}}{{- end -}}
{{- range .Values.extraEnv -}}{{- $all = append $all . -}}{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* Whether extraEnv sets a key of the configuration, itself or by a file. Takes a list: the context, and the variable's name. */}}
{{- define "push-service.setByEnv" -}}
{{- $name := index . 1 -}}
{{- range (index . 0).Values.extraEnv -}}
{{- if or (eq .name $name) (eq .name (printf "%s_FILE" $name)) }}true{{ end -}}
{{- end -}}
{{- end -}}
