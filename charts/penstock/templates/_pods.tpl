{{/*
Pods. All of them run the one image, as its own user, on a read-only root, with nothing that the profile "restricted" of
Pod Security forbids.
*/}}

{{- define "penstock.podSecurityContext" -}}
runAsNonRoot: true
{{- with .Values.securityContext.runAsUser }}
runAsUser: {{ . | int64 }}
{{- end }}
{{- with .Values.securityContext.runAsGroup }}
runAsGroup: {{ . | int64 }}
{{- end }}
{{- with .Values.securityContext.fsGroup }}
fsGroup: {{ . | int64 }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "penstock.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* A variable: (list name value), value being a string, something with valueFrom, or what becomes JSON. */}}
{{- define "penstock.variable" -}}
{{- $value := index . 1 -}}
- name: {{ index . 0 }}
{{- if kindIs "string" $value }}
  value: {{ $value | quote }}
{{- else if kindIs "map" $value }}
{{- if $value.valueFrom }}
  {{- toYaml $value | nindent 2 }}
{{- else }}
  value: {{ toJson $value | quote }}
{{- end }}
{{- else }}
  value: {{ toJson $value | quote }}
{{- end }}
{{- end -}}

{{/*
Variables of a component: what the chart decides, then the settings of the values, then extraEnv.
(list root component decided), decided being a map from names of settings to values.
*/}}
{{- define "penstock.environment" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $decided := index . 2 -}}
{{- $values := index $root.Values $component -}}
{{- $prefix := printf "PENSTOCK_%s_" (upper $component) -}}
{{- include "penstock.variable" (list (printf "%sNAME" $prefix) (dict "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name")))) }}
{{- range $name, $value := $decided }}
{{ include "penstock.variable" (list (printf "%s%s" $prefix (upper $name)) $value) }}
{{- end }}
{{- range $name, $value := $values.settings }}
{{- if not (or (kindIs "invalid" $value) (hasKey $decided $name)) }}
{{ include "penstock.variable" (list (printf "%s%s" $prefix (upper $name)) $value) }}
{{- end }}
{{- end }}
{{- range $name, $value := fromYaml (include "penstock.tracing" (list $root $component)) }}
{{- if not (hasKey $values.extraEnv $name) }}
{{ include "penstock.variable" (list $name $value) }}
{{- end }}
{{- end }}
{{- range $name, $value := $values.extraEnv }}
{{ include "penstock.variable" (list $name $value) }}
{{- end }}
{{- end -}}

{{/* OpenTelemetry's own variables, a map in YAML: (list root component). The simulator plays others' servers. */}}
{{- define "penstock.tracing" -}}
{{- $root := index . 0 -}}
{{- $tracing := $root.Values.tracing -}}
{{- if and $tracing.endpoint (ne (index . 1) "simulator") -}}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ $tracing.endpoint | quote }}
OTEL_TRACES_SAMPLER: parentbased_traceidratio
OTEL_TRACES_SAMPLER_ARG: {{ $tracing.sampleRatio | toString | quote }}
OTEL_RESOURCE_ATTRIBUTES: {{ printf "service.namespace=%s/%s,k8s.namespace.name=%s" $root.Release.Namespace (include "penstock.fullname" $root) $root.Release.Namespace | quote }}
{{- with $tracing.existingSecret }}
OTEL_EXPORTER_OTLP_HEADERS: {valueFrom: {secretKeyRef: {name: {{ . | quote }}, key: {{ $tracing.key | quote }}}}}
{{- end }}
{{- end -}}
{{- end -}}

{{/* What every process is told: a map in YAML. (list root component) */}}
{{- define "penstock.commonSettings" -}}
metrics_host: {{ (index . 0).Values.listenHost | quote }}
metrics_port: "9090"
{{- end -}}

{{/* How a process proves itself to its siblings: a map in YAML. (list root component) */}}
{{- define "penstock.tlsSettings" -}}
{{- $root := index . 0 -}}
{{- if eq $root.Values.tls.mode "Off" }}
insecure_plaintext: "true"
{{- else }}
tls_domain: {{ include "penstock.tlsDomain" $root | quote }}
{{- if include "penstock.mountsTls" . }}
tls_cert_file: /etc/penstock/tls/tls.crt
tls_key_file: /etc/penstock/tls/tls.key
tls_ca_file: /etc/penstock/tls/ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/* "true" when the component's certificate is mounted; an operator that issues certificates makes its own. */}}
{{- define "penstock.mountsTls" -}}
{{- $mode := (index . 0).Values.tls.mode -}}
{{- if and (ne $mode "Off") (not (and (eq $mode "Operator") (eq (index . 1) "operator"))) }}true{{ end -}}
{{- end -}}

{{/*
A component's pod template. (dict
  "root"      the root context
  "component" its name, which is also the command's: penstock-<component>
  "env"       what the chart decides: a map from names of settings to values
  "ports"     a map from names to numbers, without metrics
  "volumes", "mounts"  lists beyond /tmp and the certificate
  "token"     whether the process speaks with the Kubernetes API
  "rpc"       whether it speaks with its siblings
  "pause"     seconds between the pod's end and its SIGTERM, in which others learn of the end
  "drain"     seconds that open work may take after SIGTERM)
*/}}
{{- define "penstock.podTemplate" -}}
{{- $root := .root -}}
{{- $component := .component -}}
{{- $values := index $root.Values $component -}}
{{- $env := merge (dict) .env (fromYaml (include "penstock.commonSettings" (list $root $component))) -}}
{{- if .rpc -}}
{{- $env = merge $env (fromYaml (include "penstock.tlsSettings" (list $root $component))) -}}
{{- end -}}
{{- $authorities := and (has $component (list "edge" "router")) (or $root.Values.upstreamCA.configMap $root.Values.upstreamCA.secret) -}}
{{- if $authorities -}}
{{- $_ := set $env "upstream_ca_file" "/etc/penstock/upstreams/ca.crt" -}}
{{- end -}}
{{- $certificate := and .rpc (include "penstock.mountsTls" (list $root $component)) -}}
metadata:
  labels:
    {{- include "penstock.podLabels" (list $root $component) | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "penstock.serviceAccountName" (list $root $component) | quote }}
  automountServiceAccountToken: {{ .token }}
  {{- /* Variables of Services would be taken for settings: PENSTOCK_EDGE_PORT=tcp://... */}}
  enableServiceLinks: false
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.priorityClassName }}
  priorityClassName: {{ . | quote }}
  {{- end }}
  terminationGracePeriodSeconds: {{ add (.pause | int) (.drain | float64 | ceil | int) 15 }}
  securityContext:
    {{- include "penstock.podSecurityContext" $root | nindent 4 }}
  containers:
    - name: {{ $component }}
      image: {{ include "penstock.image" $root | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [penstock-{{ $component }}]
      env:
        {{- include "penstock.environment" (list $root $component $env) | nindent 8 }}
      ports:
        {{- range $name, $port := .ports }}
        - name: {{ $name }}
          containerPort: {{ $port }}
        {{- end }}
        - name: metrics
          containerPort: 9090
      startupProbe:
        httpGet: {path: /healthz, port: metrics}
        initialDelaySeconds: 2
        periodSeconds: 2
        timeoutSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: metrics}
        periodSeconds: 10
        timeoutSeconds: 6
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: metrics}
        periodSeconds: 3
        timeoutSeconds: 3
        failureThreshold: 2
      {{- if .pause }}
      lifecycle:
        preStop:
          exec:
            {{- /* There is no shell, and Kubernetes 1.28 has no sleep of its own. */}}
            command: [/opt/penstock/bin/python, -c, "import time; time.sleep({{ .pause }})"]
      {{- end }}
      {{- with $values.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "penstock.containerSecurityContext" $root | nindent 8 }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if $certificate }}
        - name: tls
          mountPath: /etc/penstock/tls
          readOnly: true
        {{- end }}
        {{- if $authorities }}
        - name: upstreams
          mountPath: /etc/penstock/upstreams
          readOnly: true
        {{- end }}
        {{- with concat .mounts $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir:
        medium: Memory
        sizeLimit: 64Mi
    {{- if $certificate }}
    - name: tls
      secret:
        secretName: {{ include "penstock.tlsSecret" (list $root $component) | quote }}
        {{- /* Read through the group of the volume, by nobody else. */}}
        defaultMode: 0440
    {{- end }}
    {{- if $authorities }}
    - name: upstreams
      {{- $items := list (dict "key" $root.Values.upstreamCA.key "path" "ca.crt") }}
      {{- if $root.Values.upstreamCA.secret }}
      secret:
        secretName: {{ $root.Values.upstreamCA.secret | quote }}
        items: {{- toYaml $items | nindent 10 }}
      {{- else }}
      configMap:
        name: {{ $root.Values.upstreamCA.configMap | quote }}
        items: {{- toYaml $items | nindent 10 }}
      {{- end }}
    {{- end }}
    {{- with concat .volumes $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- include "penstock.spread" (list $root $component) | nindent 4 }}
{{- end -}}

{{/* Over zones and nodes where that can be, or as the values say; their selector is added. (list root component) */}}
{{- define "penstock.spread" -}}
{{- $selector := fromYaml (include "penstock.selectorLabels" .) -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- $soft := list -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" -}}
{{- $soft = append $soft (dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" "ScheduleAnyway") -}}
{{- end -}}
{{- $all := list -}}
{{- range $constraint := default $soft $values.topologySpreadConstraints -}}
{{- $all = append $all (merge (dict) $constraint (dict "labelSelector" (dict "matchLabels" $selector))) -}}
{{- end -}}
{{- toYaml $all -}}
{{- end -}}
