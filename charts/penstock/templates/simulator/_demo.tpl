{{/* The Secret with the key that `helm test` sends; nothing when there is none. */}}
{{- define "penstock.testSecret" -}}
{{- if .Values.test.existingSecret -}}
{{- .Values.test.existingSecret -}}
{{- else if .Values.simulator.enabled -}}
{{- include "penstock.fullname" . }}-demo-key
{{- end -}}
{{- end -}}

{{/* The accounts that the simulator plays: from a provider to where its API begins. */}}
{{- define "penstock.simulatedProviders" -}}
Anthropic: ""
OpenAI: /v1
Gemini: ""
{{- end -}}

{{/* Accounts at the simulator, a plan and a key: what `kubectl apply` takes. They are not part of the release, because
custom resources in the release of their own definitions cannot be installed in one go. */}}
{{- define "penstock.demo" -}}
{{- $fullname := include "penstock.fullname" . -}}
{{- $address := printf "http://%s.%s.svc:8090" (include "penstock.name" (list . "simulator")) .Release.Namespace -}}
apiVersion: v1
kind: Secret
metadata:
  name: {{ $fullname }}-demo-accounts
stringData:
{{- range $provider, $path := fromYaml (include "penstock.simulatedProviders" .) }}
  {{ lower $provider }}: sim-key-{{ lower $provider }}
{{- end }}
{{- range $provider, $path := fromYaml (include "penstock.simulatedProviders" .) }}
---
apiVersion: penstock.dev/v1alpha1
kind: UpstreamAccount
metadata:
  name: {{ $fullname }}-demo-{{ lower $provider }}
spec:
  provider: {{ $provider }}
  baseURL: {{ $address }}{{ $path }}
  allowPrivateAddress: Allow
  auth:
    apiKey:
      secretRef: {name: {{ $fullname }}-demo-accounts, key: {{ lower $provider }}}
{{- end }}
---
apiVersion: penstock.dev/v1alpha1
kind: Plan
metadata:
  name: {{ $fullname }}-demo
spec:
  messagesTranslation: Allow
---
apiVersion: penstock.dev/v1alpha1
kind: APIKey
metadata:
  name: {{ $fullname }}-demo
spec:
  project: demo
  planRef: {name: {{ $fullname }}-demo}
  secretName: {{ $fullname }}-demo-key
{{- end -}}
