{{/* Where clients find the gateway from outside, "" where only a tunnel leads to it. */}}
{{- define "penstock.address" -}}
{{- $host := "" -}}
{{- $scheme := "https" -}}
{{- if and .Values.ingress.enabled .Values.ingress.hosts -}}
{{- $host = first .Values.ingress.hosts -}}
{{- $scheme = ternary "https" "http" .Values.ingress.tls.enabled -}}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames -}}
{{- $host = first .Values.httpRoute.hostnames -}}
{{- end -}}
{{- if and $host (not (contains "*" $host)) -}}{{ $scheme }}://{{ $host }}{{- end -}}
{{- end -}}

{{/* What people read after an installation. It stands here so that tests can read it, too. */}}
{{- define "penstock.notes" -}}
{{- $fullname := include "penstock.fullname" . -}}
{{- $edge := include "penstock.name" (list . "edge") -}}
{{- $address := include "penstock.address" . -}}
{{- $k := printf "kubectl -n %s" .Release.Namespace -}}
{{- $secret := include "penstock.testSecret" . -}}
Penstock {{ .Chart.AppVersion }} is release {{ .Release.Name }} in namespace {{ .Release.Namespace }}.

{{- if .Values.simulator.enabled }}

The next three commands: simulated accounts, a plan and a key; wait until they are served; one request through the gateway.

{{ $k }} get configmap {{ $fullname }}-demo -o 'jsonpath={.data.resources\.yaml}' | {{ $k }} apply -f -

{{ $k }} wait --for=condition=Ready --timeout=5m upstreamaccount/{{ $fullname }}-demo-anthropic apikey/{{ $fullname }}-demo

helm test {{ .Release.Name }} -n {{ .Release.Namespace }} --logs
{{- else }}

The next three commands: an account, a plan and a key (put your provider's key in); wait until they are served; one request.

{{ $k }} apply -f - <<'RESOURCES'
apiVersion: v1
kind: Secret
metadata: {name: anthropic-a}
stringData: {api-key: "YOUR-KEY"}
---
apiVersion: penstock.dev/v1alpha1
kind: UpstreamAccount
metadata: {name: anthropic-a}
spec: {provider: Anthropic, auth: {apiKey: {secretRef: {name: anthropic-a, key: api-key}}}}
---
apiVersion: penstock.dev/v1alpha1
kind: Plan
metadata: {name: standard}
spec: {}
---
apiVersion: penstock.dev/v1alpha1
kind: APIKey
metadata: {name: first}
spec: {project: first, planRef: {name: standard}, secretName: first-key}
RESOURCES

{{ $k }} wait --for=condition=Ready --timeout=5m upstreamaccount/anthropic-a apikey/first
{{ if $address }}
curl {{ $address }}/v1/messages -H "x-api-key: $({{ $k }} get secret first-key -o 'jsonpath={.data.api-key}' | base64 -d)" -H 'content-type: application/json' -d '{"model": {{ .Values.test.model | toJson }}, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}'
{{- else }}
{{ $k }} port-forward service/{{ $edge }} 8080:{{ .Values.edge.service.port }} & sleep 3; curl http://127.0.0.1:8080/v1/messages -H "x-api-key: $({{ $k }} get secret first-key -o 'jsonpath={.data.api-key}' | base64 -d)" -H 'content-type: application/json' -d '{"model": {{ .Values.test.model | toJson }}, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}'; kill %%
{{- end }}
{{- end }}

{{- if not $secret }}

helm test {{ .Release.Name }} -n {{ .Release.Namespace }} has no key and nothing to send to: it only sees that the gateway answers. To have it send a request, give test.existingSecret the name of a Secret with an API key{{ if not .Values.simulator.enabled }}, such as first-key{{ end }}.
{{- end }}

Clients in the cluster use http://{{ $edge }}.{{ .Release.Namespace }}:{{ .Values.edge.service.port }}{{ if $address }}, others {{ $address }}{{ end }}. What the gateway does with each account: {{ $k }} get upstreamaccounts.

{{- if eq .Values.tls.mode "Off" }}

tls.mode is Off: the processes speak plain text with each other, credentials of upstream accounts included, and nothing but NetworkPolicies decides who may ask for them.
{{- end }}
{{- if eq .Values.tls.mode "ExistingSecrets" }}

Every certificate must be valid for <component>.{{ include "penstock.tlsDomain" . }}, such as edge.{{ include "penstock.tlsDomain" . }}. Pods wait until their Secrets are there.
{{- end }}
{{- if and (not .Values.database.existingSecret) (not .Values.auth.persistence.enabled) }}

auth.persistence is off and there is no database: all books end with auth's pod.
{{- end }}
{{- if not .Values.edge.persistence.enabled }}

edge.persistence is off: what an edge has not booked yet is lost with its pod.
{{- end }}
{{- if .Values.edge.persistence.enabled }}
{{- $inForce := (fromYaml (include "penstock.edgeClaim" .)) }}
{{- if ne $inForce.resources.requests.storage .Values.edge.persistence.size }}

edge.persistence.size is {{ .Values.edge.persistence.size }}, and the edges' volumes go on having {{ $inForce.resources.requests.storage }}: a StatefulSet keeps what it was made with. {{ $k }} delete statefulset {{ $edge }} --cascade=orphan before the next upgrade lets new volumes have the new size.
{{- end }}
{{- end }}
{{- range $component := list "edge" "auth" "router" "status" }}
{{- if (index $.Values $component).autoscaling.enabled }}

{{ $component }}.autoscaling is on, so {{ $component }}.replicaCount is not used, and the number of pods is the autoscaler's.
{{- end }}
{{- end }}
{{- end -}}
