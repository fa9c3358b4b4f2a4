{{/*
Names and labels. Helpers take what they need: the root context, or (list root component).
*/}}

{{/* What the names of all objects begin with. At most 40 characters, so that every longer name still is one. */}}
{{- define "penstock.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | replace "." "-" | trunc 40 | trimAll "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 40 | trimAll "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 40 | trimAll "-" -}}
{{- end -}}
{{- end -}}

{{/* A component's objects: (list root component). */}}
{{- define "penstock.name" -}}
{{- printf "%s-%s" (include "penstock.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{/* What selects a component's pods; never changed, because selectors cannot be: (list root component). */}}
{{- define "penstock.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: penstock
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels of a component's objects: (list root component). */}}
{{- define "penstock.labels" -}}
{{- $root := index . 0 -}}
{{ include "penstock.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: penstock
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Labels of a component's pods: what changes with the chart alone must not start them anew. (list root component) */}}
{{- define "penstock.podLabels" -}}
{{ include "penstock.selectorLabels" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/part-of: penstock
{{- end -}}

{{/* metadata of an object: (list root component name). */}}
{{- define "penstock.metadata" -}}
name: {{ index . 2 | quote }}
namespace: {{ (index . 0).Release.Namespace | quote }}
labels:
  {{- include "penstock.labels" (list (index . 0) (index . 1)) | nindent 2 }}
{{- end -}}

{{- define "penstock.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* (list root component) */}}
{{- define "penstock.serviceAccountName" -}}
{{- $account := (index (index . 0).Values (index . 1)).serviceAccount -}}
{{- if $account.create -}}
{{- default (include "penstock.name" .) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{/* What catalogs' Secrets are called: (list root component), component being router or auth. */}}
{{- define "penstock.catalogPrefix" -}}
{{- printf "%s-catalog" (include "penstock.name" .) -}}
{{- end -}}

{{/* The names of a catalog's Secrets, a list in YAML: (list root component). */}}
{{- define "penstock.catalogSecrets" -}}
{{- $prefix := include "penstock.catalogPrefix" . -}}
- {{ $prefix }}-head
{{- range $shard := until 16 }}
- {{ printf "%s-%02d" $prefix $shard }}
{{- end }}
{{- end -}}

{{- define "penstock.tlsDomain" -}}
{{- default (printf "%s.%s.penstock.internal" (include "penstock.fullname" .) .Release.Namespace) .Values.tls.domain -}}
{{- end -}}

{{/* The Secret with a component's certificate: (list root component). */}}
{{- define "penstock.tlsSecret" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.tls.mode "ExistingSecrets" -}}
{{- index $root.Values.tls.existingSecrets (index . 1) -}}
{{- else -}}
{{- printf "%s-tls" (include "penstock.name" .) -}}
{{- end -}}
{{- end -}}

{{- define "penstock.adminTokenSecret" -}}
{{- default (printf "%s-admin" (include "penstock.fullname" .)) .Values.status.adminToken.existingSecret -}}
{{- end -}}

{{/* Where a process listens: (list root port). */}}
{{- define "penstock.listen" -}}
{{- $host := (index . 0).Values.listenHost -}}
{{- printf (ternary "[%s]:%v" "%s:%v" (contains ":" $host)) $host (index . 1) -}}
{{- end -}}

{{/* "true" when state is in stores that several processes can share. */}}
{{- define "penstock.shared" -}}
{{- if and .Values.database.existingSecret .Values.redis.existingSecret }}true{{ end -}}
{{- end -}}

{{/* The components that there are, a list in JSON. */}}
{{- define "penstock.components" -}}
{{- $components := list "edge" "auth" "router" "status" "operator" -}}
{{- if .Values.simulator.enabled -}}{{- $components = append $components "simulator" -}}{{- end -}}
{{- toJson $components -}}
{{- end -}}

{{/* Gives a component's Role to its ServiceAccount: (list root component). */}}
{{- define "penstock.roleBinding" -}}
{{- $name := include "penstock.name" . -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "penstock.metadata" (list (index . 0) (index . 1) $name) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "penstock.serviceAccountName" . | quote }}
    namespace: {{ (index . 0).Release.Namespace | quote }}
{{- end -}}

{{/* The claim of the volume with SQLite's file. */}}
{{- define "penstock.ledgerClaim" -}}
{{- default (printf "%s-ledger" (include "penstock.name" (list . "auth"))) .Values.auth.persistence.existingClaim -}}
{{- end -}}
