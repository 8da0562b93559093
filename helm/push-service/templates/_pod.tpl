{{/*
The pod, the same for Deployment and StatefulSet. It meets Pod Security `restricted`, and needs no right in the cluster.
*/}}
{{- define "push-service.podTemplate" -}}
{{- $directory := include "push-service.directory" . -}}
{{- $drain := include "push-service.drain" . | fromYaml -}}
{{- $secrets := include "push-service.secrets" . | fromYamlArray -}}
{{- $certificate := include "push-service.certificateSecret" . -}}
{{- $ca := include "push-service.redisCa" . -}}
{{- $embedded := eq .Values.storage.kind "embedded" -}}
metadata:
  labels:
    {{- include "push-service.podLabels" . | nindent 4 }}
  annotations:
    {{- /* The configuration is read at the start only, so another one makes new pods. */}}
    checksum/config: {{ include "push-service.toml" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "push-service.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $drain.grace }}
  securityContext:
    {{- include "push-service.podSecurityContext" . | nindent 4 }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  containers:
    - name: push-service
      image: {{ include "push-service.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: ["push-service"]
      args: ["serve", "--config", "{{ $directory }}/config/push-service.toml"]
      env:
        {{- include "push-service.env" . | nindent 8 }}
      ports:
        {{- range $name, $port := include "push-service.ports" . | fromYaml }}
        - name: {{ $name }}
          containerPort: {{ $port }}
          protocol: {{ ternary "UDP" "TCP" (eq $name "quic") }}
        {{- end }}
        - name: admin
          containerPort: {{ include "push-service.adminPort" . }}
          protocol: TCP
      {{- /* The admin listener answers before storage is open, so a Redis that is away fails no start. */}}
      startupProbe:
        httpGet:
          path: /healthz
          port: admin
        periodSeconds: 1
        timeoutSeconds: 1
        failureThreshold: 60
      livenessProbe:
        httpGet:
          path: /healthz
          port: admin
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: admin
        periodSeconds: 5
        timeoutSeconds: 3
        failureThreshold: 2
      resources:
        {{- include "push-service.resources" . | nindent 8 }}
      securityContext:
        {{- include "push-service.containerSecurityContext" . | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: {{ $directory }}/config
          readOnly: true
        {{- if $secrets }}
        - name: secrets
          mountPath: {{ $directory }}/secrets
          readOnly: true
        {{- end }}
        {{- if $certificate }}
        - name: tls
          mountPath: {{ $directory }}/tls
          readOnly: true
        {{- end }}
        {{- if $ca }}
        - name: redis-ca
          mountPath: {{ $directory }}/redis-ca
          readOnly: true
        {{- end }}
        {{- if $embedded }}
        - name: data
          mountPath: /var/lib/push-service
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "push-service.fullname" . }}
    {{- if $secrets }}
    - name: secrets
      projected:
        # The group of podSecurity.fsGroup reads them.
        defaultMode: 0440
        sources:
          {{- range $secrets }}
          - secret:
              name: {{ .secret }}
              items:
                - key: {{ .key | quote }}
                  path: {{ .file }}
          {{- end }}
    {{- end }}
    {{- with $certificate }}
    - name: tls
      secret:
        secretName: {{ . }}
        defaultMode: 0440
        items:
          - key: tls.crt
            path: tls.crt
          - key: tls.key
            path: tls.key
    {{- end }}
    {{- if eq $ca "configMap" }}
    - name: redis-ca
      configMap:
        name: {{ .Values.storage.redis.ca.existingConfigMap }}
        items:
          - key: {{ .Values.storage.redis.ca.key | quote }}
            path: ca.crt
    {{- else if eq $ca "secret" }}
    - name: redis-ca
      secret:
        secretName: {{ .Values.storage.redis.ca.existingSecret }}
        defaultMode: 0440
        items:
          - key: {{ .Values.storage.redis.ca.key | quote }}
            path: ca.crt
    {{- end }}
    {{- if and $embedded .Values.storage.embedded.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.storage.embedded.existingClaim }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if not $embedded }}
  {{- include "push-service.topologySpread" . | nindent 2 }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}

{{/* An id that is left out is chosen by the platform. An empty string leaves it out too, where a parent chart cannot pass null. */}}
{{- define "push-service.podSecurityContext" -}}
runAsNonRoot: true
{{- range $key := list "runAsUser" "runAsGroup" "fsGroup" }}
{{- $id := get $.Values.podSecurity $key }}
{{- if not (or (kindIs "invalid" $id) (eq (toString $id) "")) }}
{{ $key }}: {{ int64 $id }}
{{- if eq $key "fsGroup" }}
{{- /* `Always` would give the group rights to the store at each start, and the service takes them away again. */}}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "push-service.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: ["ALL"]
{{- end -}}

{{/*
Memory follows from the connections. An idle WebSocket over TLS takes 5.1 KB in the process and 5.5 KB in the kernel, which
count together: 12 KiB are requested. A monitor over HTTP/2 takes 30 KB and 5.5 KB: with 40 KiB, all channels may be that. Messages
on their way take up to `channels.delivery_bytes`. The rest is for the program and its caches; the limit also has room for what
floods of HTTP/2 take, 160 MiB, and for the embedded store.
*/}}
{{- define "push-service.resources" -}}
{{- $connections := int64 .Values.connections -}}
{{- $channels := get (.Values.config | default dict) "channels" | default dict -}}
{{- $delivery := div (int64 (get $channels "delivery_bytes" | default 67108864)) 1048576 -}}
{{- $memory := dict
  "requests" (add 64 $delivery (div (mul $connections 12) 1024))
  "limits" (add 448 $delivery (div (mul $connections 40) 1024))
-}}
{{- $resources := dict -}}
{{- range $kind := list "requests" "limits" -}}
{{- $values := get $.Values.resources $kind | default dict -}}
{{- $set := dict "memory" (get $values "memory" | default (printf "%dMi" (get $memory $kind))) -}}
{{- with get $values "cpu" -}}{{- $_ := set $set "cpu" . -}}{{- end -}}
{{- $_ := set $resources $kind $set -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/* Pods of one version are spread, so that those of the version before do not count while both run. */}}
{{- define "push-service.topologySpread" -}}
{{- $keys := dict "zone" "topology.kubernetes.io/zone" "host" "kubernetes.io/hostname" -}}
{{- if or .Values.topologySpread.zone .Values.topologySpread.host -}}
topologySpreadConstraints:
  {{- range $name := list "zone" "host" }}
  {{- with get $.Values.topologySpread $name }}
  - maxSkew: 1
    topologyKey: {{ get $keys $name }}
    whenUnsatisfiable: {{ . }}
    nodeTaintsPolicy: Honor
    labelSelector:
      matchLabels:
        {{- include "push-service.selectorLabels" $ | nindent 8 }}
    matchLabelKeys: ["pod-template-hash"]
  {{- end }}
  {{- end }}
{{- end -}}
{{- end -}}
