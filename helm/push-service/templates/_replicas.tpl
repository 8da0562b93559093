{{/* The number of pods, where no autoscaler decides. */}}
{{- define "push-service.replicas" -}}
{{- if not (kindIs "invalid" .Values.replicas) -}}
{{- int64 .Values.replicas -}}
{{- else -}}
{{- ternary 3 1 (eq .Values.storage.kind "redis") -}}
{{- end -}}
{{- end -}}

{{/* Not empty if there may be more than one pod. */}}
{{- define "push-service.several" -}}
{{- if eq .Values.storage.kind "redis" -}}
{{- if .Values.autoscaling.enabled -}}
{{- if gt (int64 .Values.autoscaling.maxReplicas) 1 }}true{{ end -}}
{{- else if gt (int64 (include "push-service.replicas" .)) 1 -}}true
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Open connections of a pod at which the autoscaler adds another. */}}
{{- define "push-service.connectionsTarget" -}}
{{- max 1 (div (mul (int64 .Values.connections) (int64 .Values.autoscaling.connections.percent)) 100) -}}
{{- end -}}

{{/* At most one pod less in a time: its user agents have to find another pod. */}}
{{- define "push-service.scaleDown" -}}
scaleDown:
  stabilizationWindowSeconds: 300
  selectPolicy: Max
  policies:
    - type: Pods
      value: 1
      periodSeconds: {{ int64 .Values.autoscaling.scaleDownSeconds }}
{{- end -}}
