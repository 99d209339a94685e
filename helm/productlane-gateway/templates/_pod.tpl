{{/* Parts that the Deployment, the preflight Job and the test pod share: volumes, mounts, environment, replicas. */}}

{{/* A value as YAML, after its templates were filled in. Takes a list: the value, the context. */}}
{{- define "productlane-gateway.filled" -}}
{{- tpl (toYaml (index . 0)) (index . 1) }}
{{- end }}

{{- define "productlane-gateway.fewestReplicas" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.replicaCount .Values.autoscaling.enabled }}
{{- end }}

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

{{/* The pod's volumes. Takes a list: the context, the names of the ConfigMaps of gateway.yaml and of the policies. */}}
{{- define "productlane-gateway.volumes" -}}
{{- $policies := index . 2 }}
- name: config
  configMap:
    name: {{ index . 1 }}
{{- with index . 0 }}
- name: policies
  {{- if .Values.policyConfigMaps }}
  projected:
    sources:
      {{- if .Values.policies }}
      - configMap:
          name: {{ $policies }}
      {{- end }}
      {{- range .Values.policyConfigMaps }}
      - configMap:
          {{- toYaml . | nindent 10 }}
      {{- end }}
  {{- else }}
  configMap:
    name: {{ $policies }}
  {{- end }}
{{- range $name, $key := .Values.keys }}
{{- if $key.existingSecret }}
- name: key-{{ $name }}
  secret:
    secretName: {{ tpl $key.existingSecret $ }}
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
{{ include "productlane-gateway.filled" (list . $) }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the gateway needs to ask the API server, for pods that go online. */}}
{{- define "productlane-gateway.apiServerVolume" -}}
{{- if eq (include "productlane-gateway.asksAPIServer" .) "true" }}
# A token for the API server that is valid for an hour, and the API server's CA. Kubernetes renews both.
- name: api-server
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3600
      - configMap:
          name: kube-root-ca.crt
          items:
            - {key: ca.crt, path: ca.crt}
{{- end }}
{{- end }}

{{- define "productlane-gateway.apiServerMount" -}}
{{- if eq (include "productlane-gateway.asksAPIServer" .) "true" }}
- name: api-server
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- end }}

{{/* Folders, never single files: a file mounted by `subPath` keeps its first content for ever. */}}
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
{{ include "productlane-gateway.filled" (list . $) }}
{{- end }}
{{- end }}

{{/* "true" if the number of replicas is known: nothing but `helm upgrade` changes it. */}}
{{- define "productlane-gateway.knowsReplicas" -}}
{{- if not (or .Values.autoscaling.enabled (kindIs "invalid" .Values.replicaCount)) }}true{{ end }}
{{- end }}

{{/* For `productlane-gateway keys`: the other replicas, their number, and the token that their status asks for. */}}
{{- define "productlane-gateway.replicasEnv" -}}
{{- if .Values.statusToken.existingSecret }}
- name: PRODUCTLANE_GATEWAY_STATUS_TOKEN
  value: file:/run/secrets-status/{{ .Values.statusToken.existingSecretKey }}
- name: PRODUCTLANE_GATEWAY_KEYS_ADMIN
  value: http://{{ include "productlane-gateway.headless" . }}:{{ .Values.containerPorts.metrics }}
{{- if and (include "productlane-gateway.knowsReplicas" .) (not .Values.existingConfig) }}
- name: PRODUCTLANE_GATEWAY_REPLICAS
  value: file:/etc/gateway/replicas
{{- end }}
{{- end }}
{{- end }}

{{/* A container that runs the gateway's image, without its name, command and mounts. */}}
{{- define "productlane-gateway.container" -}}
image: {{ include "productlane-gateway.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
# What a container that ends has said last is in `kubectl describe pod`.
terminationMessagePolicy: FallbackToLogsOnError
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Fields of each pod of the chart. */}}
{{- define "productlane-gateway.podFields" -}}
enableServiceLinks: false
{{- with include "productlane-gateway.imagePullSecrets" . }}
imagePullSecrets:
  {{- . | nindent 2 }}
{{- end }}
{{- with .Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A probe. Takes a list: its values, a path, a port. */}}
{{- define "productlane-gateway.probe" -}}
httpGet:
  path: {{ index . 1 }}
  port: {{ index . 2 }}
{{ toYaml (omit (index . 0) "enabled") }}
{{- end }}
