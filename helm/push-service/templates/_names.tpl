{{/*
Names and labels. A name is refused if it is too long, never cut: two releases could get the same one.
*/}}

{{- define "push-service.name" -}}
{{- .Values.nameOverride | default .Chart.Name -}}
{{- end -}}

{{- define "push-service.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (include "push-service.name" .) .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "push-service.name" .) -}}
{{- end -}}
{{- end -}}

{{/* Labels by which Services, the workload and the disruption budget find the pods. They never change. */}}
{{- define "push-service.selectorLabels" -}}
app.kubernetes.io/name: {{ include "push-service.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{/* Labels of all objects. Takes the context; `component` beside it is for what is not the server. */}}
{{- define "push-service.labels" -}}
{{ include "push-service.selectorLabels" . }}
{{ include "push-service.commonLabels" . }}
{{- end -}}

{{/* Labels that say nothing about the component. */}}
{{- define "push-service.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of pods. They have no version of the chart: a new one alone restarts no pod. */}}
{{- define "push-service.podLabels" -}}
{{ include "push-service.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "push-service.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "push-service.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{/* The host of publicUrl, without its port. */}}
{{- define "push-service.host" -}}
{{- regexReplaceAll ":[0-9]+$" (urlParse .Values.publicUrl).host "" | lower -}}
{{- end -}}

{{/* The hosts of a route, as a list in YAML: that of publicUrl first. Takes a list: the context, and further hosts. */}}
{{- define "push-service.hosts" -}}
{{- $context := index . 0 -}}
{{- concat (list (include "push-service.host" $context)) (index . 1 | default list) | uniq | toYaml -}}
{{- end -}}

{{- define "push-service.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}
