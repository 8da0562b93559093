{{/*
The times of a pod's end and of a rollout, in seconds, as YAML: the one place where they are computed.

With Redis, a pod that gets SIGTERM serves on for `delay`, then closes its channels over `spread`, `drain.perSecond` in a second.
With embedded storage no other pod can take over, so it closes them at once.
*/}}
{{- define "push-service.drain" -}}
{{- /* After the last channel: a second for acknowledgements, then requests under way (10 s for a body), then storage. */ -}}
{{- $finish := 15 -}}
{{- /* Kubernetes kills this long after the service would have ended by itself. */ -}}
{{- $reserve := 5 -}}
{{- /* User agents come back 5 s after their channel was closed; the node that they come to should be ready for them. */ -}}
{{- $settle := 15 -}}
{{- /* To schedule a pod and to pull its image. */ -}}
{{- $begin := 180 -}}
{{- $perSecond := max 1 (int64 .Values.drain.perSecond) -}}
{{- $delay := 0 -}}
{{- $spread := 0 -}}
{{- $startWithin := 0 -}}
{{- if eq .Values.storage.kind "redis" -}}
{{- $delay = int64 .Values.drain.delaySeconds -}}
{{- $spread = div (sub (add (int64 .Values.connections) $perSecond) 1) $perSecond -}}
{{- $startWithin = int64 (include "push-service.seconds" .Values.storage.redis.startWithin) -}}
{{- end -}}
{{- $deadline := add $delay $spread $finish -}}
{{- $leastGrace := add $deadline $reserve -}}
{{- $grace := $leastGrace -}}
{{- if not (kindIs "invalid" .Values.drain.terminationGracePeriodSeconds) -}}
{{- $grace = int64 .Values.drain.terminationGracePeriodSeconds -}}
{{- end -}}
{{- /* One by one, the next pod may end only when the user agents of the one before have found a pod. */ -}}
{{- $minReady := $settle -}}
{{- if eq .Values.rollout "oneByOne" -}}
{{- $minReady = add $delay $spread $settle -}}
{{- end -}}
{{- $leastProgress := add $minReady 1 -}}
{{- $progress := add $begin $startWithin $minReady $grace -}}
{{- if not (kindIs "invalid" .Values.drain.progressDeadlineSeconds) -}}
{{- $progress = int64 .Values.drain.progressDeadlineSeconds -}}
{{- end -}}
delay: {{ $delay }}
spread: {{ $spread }}
deadline: {{ $deadline }}
leastGrace: {{ $leastGrace }}
grace: {{ $grace }}
minReady: {{ $minReady }}
leastProgress: {{ $leastProgress }}
progress: {{ $progress }}
{{- end -}}

{{/* A time of the configuration (`500ms`, `30s`, `5m`, `12h`, `30d`, a bare number) in seconds, rounded up. */}}
{{- define "push-service.seconds" -}}
{{- $text := toString . -}}
{{- $number := regexFind "^[0-9]+" $text | int64 -}}
{{- $unit := regexFind "[a-z]+$" $text -}}
{{- if eq $unit "ms" -}}
{{- div (add $number 999) 1000 -}}
{{- else -}}
{{- mul $number (get (dict "" 1 "s" 1 "m" 60 "h" 3600 "d" 86400) $unit | default 1) -}}
{{- end -}}
{{- end -}}
