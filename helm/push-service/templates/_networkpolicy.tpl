{{/* Ports of Redis, as a list in YAML. Sentinels name servers, and a cluster's members name others: those have 6379, or are named. */}}
{{- define "push-service.redisPorts" -}}
{{- $ports := list -}}
{{- range .Values.networkPolicy.redisPorts -}}{{- $ports = append $ports (int64 .) -}}{{- end -}}
{{- if not $ports -}}
{{- $ports = list 6379 -}}
{{- $url := .Values.storage.redis.url -}}
{{- $servers := regexReplaceAll "^[a-z+]+://([^/@]*@)?" $url "" | splitList "/" | first -}}
{{- $default := ternary 26379 6379 (contains "+sentinel:" $url) -}}
{{- range splitList "," $servers -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" -}}
{{- $ports = append $ports (ternary (int64 $port) $default (ne $port "")) -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toYaml -}}
{{- end -}}

{{- define "push-service.acmePort" -}}
{{- regexFind ":[0-9]+$" (urlParse .Values.tls.acme.directory).host | trimPrefix ":" | default "443" -}}
{{- end -}}
