{{/* What tells this release's series, alerts and dashboards from another's. */}}
{{- define "penstock.gateway" -}}
{{- printf "%s/%s" .Release.Namespace (include "penstock.fullname" .) -}}
{{- end -}}
