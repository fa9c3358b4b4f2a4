{{/* What a Deployment or StatefulSet is scaled to. Once an autoscaler decides, the number is not ours, and no number is given.
But an upgrade that switches autoscaling on would take the old number away, which means 1; so where Helm can see the
number in force, it is repeated: (list root component kind). */}}
{{- define "penstock.replicas" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
{{- if not $values.autoscaling.enabled -}}
replicas: {{ $values.replicaCount }}
{{- else -}}
{{- with lookup "apps/v1" (index . 2) $root.Release.Namespace (include "penstock.name" (list $root (index . 1))) -}}
replicas: {{ .spec.replicas }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* How a Deployment is brought up to date: one replica more at a time where two may live at once, else first the old one
ends. Both keys are always given, so that one takes the other's place: (list root parallel). */}}
{{- define "penstock.strategy" -}}
{{- if index . 1 -}}
strategy:
  type: RollingUpdate
  rollingUpdate:
    maxSurge: 1
    maxUnavailable: 0
{{- else -}}
strategy:
  type: Recreate
{{- end -}}
{{- end -}}

{{/* A Service whose name stands for the addresses of all pods: (list root component ports), ports being a map from names to
numbers. */}}
{{- define "penstock.headlessService" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "penstock.metadata" (list $root (index . 1) (printf "%s-headless" (include "penstock.name" (list $root (index . 1))))) | nindent 2 }}
spec:
  clusterIP: None
  ports:
    {{- range $name, $port := index . 2 }}
    - name: {{ $name }}
      port: {{ $port }}
      targetPort: {{ $name }}
    {{- end }}
  selector:
    {{- include "penstock.selectorLabels" (list $root (index . 1)) | nindent 4 }}
{{- end -}}

{{/* A Service with an address of its own: (list root component name port). */}}
{{- define "penstock.service" -}}
{{- $root := index . 0 -}}
{{- $service := (index $root.Values (index . 1)).service -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "penstock.metadata" (list $root (index . 1) (include "penstock.name" (list $root (index . 1)))) | nindent 2 }}
  {{- with $service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ default "ClusterIP" $service.type }}
  {{- with $service.loadBalancerClass }}
  loadBalancerClass: {{ . | quote }}
  {{- end }}
  {{- with $service.loadBalancerSourceRanges }}
  loadBalancerSourceRanges:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $service.externalTrafficPolicy }}
  externalTrafficPolicy: {{ . }}
  {{- end }}
  ports:
    - name: {{ index . 2 }}
      port: {{ index . 3 }}
      targetPort: {{ index . 2 }}
      {{- with $service.nodePort }}
      nodePort: {{ . }}
      {{- end }}
  selector:
    {{- include "penstock.selectorLabels" (list $root (index . 1)) | nindent 4 }}
{{- end -}}

{{/* Nodes are emptied one pod at a time. A pod that is broken holds up nobody: (list root component). */}}
{{- define "penstock.disruptionBudget" -}}
{{- $root := index . 0 -}}
{{- $budget := (index $root.Values (index . 1)).podDisruptionBudget -}}
{{- if $budget.enabled -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "penstock.metadata" (list $root (index . 1) (include "penstock.name" (list $root (index . 1)))) | nindent 2 }}
spec:
  maxUnavailable: {{ $budget.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "penstock.selectorLabels" (list $root (index . 1)) | nindent 6 }}
{{- end -}}
{{- end -}}

{{/* (list root component kind): a HorizontalPodAutoscaler on CPU, and for the edge on open requests. */}}
{{- define "penstock.autoscaler" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $name := include "penstock.name" (list $root $component) -}}
{{- $scaling := (index $root.Values $component).autoscaling -}}
{{- include "penstock.boundsOf" (list $root $component) -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "penstock.metadata" (list $root $component $name) | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: {{ index . 2 }}
    name: {{ $name }}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    {{- with $scaling.activeRequests }}
    - type: Pods
      pods:
        metric:
          name: penstock_edge_active_requests
        target:
          type: AverageValue
          averageValue: {{ . | quote }}
    {{- end }}
    {{- with $scaling.cpuUtilization }}
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ . }}
    {{- end }}
  {{- with $scaling.behavior }}
  behavior:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Edges have numbers when their spools outlive them. */}}
{{- define "penstock.edgeKind" -}}
{{- ternary "StatefulSet" "Deployment" .Values.edge.persistence.enabled -}}
{{- end -}}

{{/* The spec of a PersistentVolumeClaim, from a component's `persistence`. */}}
{{- define "penstock.claim" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ eq . "-" | ternary "" . | quote }}
{{- end }}
resources:
  requests:
    storage: {{ .size | quote }}
{{- end -}}

{{/* The edges' claim. It cannot be changed while the StatefulSet is there, and an upgrade that tried would fail half-way:
so where Helm can see the claim in force, it is repeated, and the notes tell of the difference. */}}
{{- define "penstock.edgeClaim" -}}
{{- $live := lookup "apps/v1" "StatefulSet" .Release.Namespace (include "penstock.name" (list . "edge")) -}}
{{- if $live -}}
{{- $claim := (first $live.spec.volumeClaimTemplates).spec -}}
accessModes: [ReadWriteOnce]
{{- if hasKey $claim "storageClassName" }}
storageClassName: {{ $claim.storageClassName | quote }}
{{- end }}
resources:
  requests:
    storage: {{ $claim.resources.requests.storage | quote }}
{{- else -}}
{{- include "penstock.claim" .Values.edge.persistence -}}
{{- end -}}
{{- end -}}

{{/* Refuses bounds that a schema cannot compare: (list root component). */}}
{{- define "penstock.boundsOf" -}}
{{- $scaling := (index (index . 0).Values (index . 1)).autoscaling -}}
{{- if gt ($scaling.minReplicas | int) ($scaling.maxReplicas | int) -}}
{{- fail (printf "%s.autoscaling: minReplicas is %v and maxReplicas %v: the least cannot be more than the most" (index . 1) $scaling.minReplicas $scaling.maxReplicas) -}}
{{- end -}}
{{- end -}}
