{{/* Parts that the Deployment and the test pod share: volumes, mounts and environment. */}}

{{/*
The replicas of the Deployment. With an autoscaler: those that run now, at least `minReplicas`. Without the field, an
upgrade that turns the autoscaler on would drop a running Deployment to one pod. Empty if `replicaCount` is null.
*/}}
{{- define "productlane-gateway.replicas" -}}
{{- if not (kindIs "invalid" .Values.replicaCount) }}
{{- if .Values.autoscaling.enabled }}
{{- $running := lookup "apps/v1" "Deployment" (include "productlane-gateway.namespace" .) (include "productlane-gateway.fullname" .) }}
{{- max .Values.autoscaling.minReplicas (dig "spec" "replicas" 0 (default dict $running)) }}
{{- else }}
{{- .Values.replicaCount }}
{{- end }}
{{- end }}
{{- end }}

{{- define "productlane-gateway.volumes" -}}
- name: config
  configMap:
    name: {{ default (include "productlane-gateway.fullname" .) .Values.existingConfig }}
- name: policies
  {{- if .Values.policyConfigMaps }}
  projected:
    sources:
      {{- if .Values.policies }}
      - configMap:
          name: {{ include "productlane-gateway.fullname" . }}-policies
      {{- end }}
      {{- range .Values.policyConfigMaps }}
      - configMap:
          {{- toYaml . | nindent 10 }}
      {{- end }}
  {{- else }}
  configMap:
    name: {{ include "productlane-gateway.fullname" . }}-policies
  {{- end }}
{{- range $name, $key := .Values.keys }}
{{- if $key.existingSecret }}
- name: key-{{ $name }}
  secret:
    secretName: {{ $key.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- end }}
{{- if .Values.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ .Values.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- if and (hasPrefix "sqlite:" .Values.store.url) (not .Values.store.existingSecret) }}
- name: store
  emptyDir:
    sizeLimit: 64Mi
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Folders and never single files: a file mounted by `subPath` is not changed when its ConfigMap or Secret is. */}}
{{- define "productlane-gateway.volumeMounts" -}}
- name: config
  mountPath: /etc/gateway
  readOnly: true
- name: policies
  mountPath: /etc/gateway-policies
  readOnly: true
{{- range $name, $key := .Values.keys }}
{{- if $key.existingSecret }}
- name: key-{{ $name }}
  mountPath: /run/secrets/{{ $name }}
  readOnly: true
{{- end }}
{{- end }}
{{- if .Values.tls.existingSecret }}
- name: tls
  mountPath: /run/secrets-tls
  readOnly: true
{{- end }}
{{- if and (hasPrefix "sqlite:" .Values.store.url) (not .Values.store.existingSecret) }}
- name: store
  mountPath: /var/lib/gateway
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "productlane-gateway.env" -}}
- name: PRODUCTLANE_GATEWAY_CONFIG
  value: /etc/gateway/gateway.yaml
{{- if .Values.store.existingSecret }}
- name: PRODUCTLANE_GATEWAY_STORE
  valueFrom:
    secretKeyRef:
      name: {{ .Values.store.existingSecret }}
      key: {{ .Values.store.existingSecretKey }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A probe. Takes a list: its values, a path, a port. */}}
{{- define "productlane-gateway.probe" -}}
httpGet:
  path: {{ index . 1 }}
  port: {{ index . 2 }}
{{ toYaml (omit (index . 0) "enabled") }}
{{- end }}
