{{/* Pods of this release: (list root component...). A list of peers in YAML. */}}
{{- define "penstock.peers" -}}
{{- $root := first . -}}
{{- range $component := rest . }}
- podSelector:
    matchLabels:
      {{- include "penstock.selectorLabels" (list $root $component) | nindent 6 }}
{{- end }}
{{- end -}}

{{/* The head of a component's policy: (list root component). Both directions are closed but for what is listed. */}}
{{- define "penstock.policyHead" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "penstock.metadata" (list (index . 0) (index . 1) (include "penstock.name" .)) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "penstock.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
{{- end -}}

{{/* Prometheus may come for metrics. */}}
{{- define "penstock.metricsIngress" -}}
- ports:
    - {port: 9090, protocol: TCP}
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Everybody may ask for names; 5353 is where OpenShift's servers listen. */}}
{{- define "penstock.dnsEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
    - {port: 5353, protocol: UDP}
    - {port: 5353, protocol: TCP}
  {{- with .Values.networkPolicy.dnsTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Rules of egress from the values: (list root name), a list of {to, ports}. */}}
{{- define "penstock.valuesEgress" -}}
{{- range index (index . 0).Values.networkPolicy (index . 1) }}
- {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where traces go, if they go anywhere. */}}
{{- define "penstock.tracesEgress" -}}
{{- if .Values.tracing.endpoint }}
{{- include "penstock.valuesEgress" (list . "traces") }}
{{- end }}
{{- end -}}

{{/* Where upstream accounts are: for edges, and for the router, which probes them. */}}
{{- define "penstock.upstreamsEgress" -}}
{{- include "penstock.valuesEgress" (list . "upstreams") }}
{{- if .Values.simulator.enabled }}
- ports:
    - {port: 8090, protocol: TCP}
  to:
    {{- include "penstock.peers" (list . "simulator") | nindent 4 }}
{{- end }}
{{- end -}}

{{/* To auth and the router. */}}
{{- define "penstock.rpcEgress" -}}
{{- range $component, $port := dict "auth" 7001 "router" 7002 }}
- ports:
    - {port: {{ $port }}, protocol: TCP}
  to:
    {{- include "penstock.peers" (list $ $component) | nindent 4 }}
{{- end }}
{{- end -}}

{{/* How long a proxy before the edge must wait: the longest stream, and the time in which it begins. */}}
{{- define "penstock.proxySeconds" -}}
{{- add (.Values.edge.longestStreamSeconds | float64 | ceil | int) 30 -}}
{{- end -}}

{{/* What the edge takes at most, for proxies before it. */}}
{{- define "penstock.maxBodyBytes" -}}
{{- default 33554432 .Values.edge.settings.max_body_bytes | int64 -}}
{{- end -}}
