{{/* Names, labels and the image. */}}

{{- define "productlane-gateway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "productlane-gateway.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 55 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 55 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "productlane-gateway.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "productlane-gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "productlane-gateway.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "productlane-gateway.labels" -}}
{{- $own := dict
    "app.kubernetes.io/name" (include "productlane-gateway.name" .)
    "app.kubernetes.io/instance" .Release.Name
    "app.kubernetes.io/component" "gateway"
    "app.kubernetes.io/version" .Chart.AppVersion
    "app.kubernetes.io/managed-by" .Release.Service
    "app.kubernetes.io/part-of" "productlane-gateway"
    "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-") }}
{{- tpl (toYaml (merge $own .Values.commonLabels)) . }}
{{- end }}

{{/* No version of the chart: a new chart alone replaces no pod. */}}
{{- define "productlane-gateway.podLabels" -}}
{{- $own := include "productlane-gateway.selectorLabels" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" .Chart.AppVersion }}
{{- tpl (toYaml (merge $own .Values.podLabels .Values.commonLabels)) . }}
{{- end }}

{{/* Metadata of an object. Takes a list: the context, its name, labels, annotations, a namespace. */}}
{{- define "productlane-gateway.metadata" -}}
{{- $context := index . 0 }}
{{- $labels := include "productlane-gateway.labels" $context | fromYaml | merge (deepCopy (index . 2)) -}}
name: {{ index . 1 }}
namespace: {{ default (include "productlane-gateway.namespace" $context) (index . 4) }}
labels:
  {{- tpl (toYaml $labels) $context | nindent 2 }}
{{- with index . 3 }}
annotations:
  {{- tpl (toYaml .) $context | nindent 2 }}
{{- end }}
{{- end }}

{{- define "productlane-gateway.serviceAccountName" -}}
{{- default (ternary (include "productlane-gateway.fullname" .) "default" .Values.serviceAccount.enabled) .Values.serviceAccount.name }}
{{- end }}

{{- define "productlane-gateway.image" -}}
{{- $registry := default .Values.image.registry (.Values.global).imageRegistry }}
{{- if $registry }}{{ $registry | trimSuffix "/" }}/{{ end }}{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ default .Chart.AppVersion .Values.image.tag }}{{ end }}
{{- end }}

{{- define "productlane-gateway.imagePullSecrets" -}}
{{- range $place, $secret := concat .Values.imagePullSecrets (default list (.Values.global).imagePullSecrets) }}
{{- if $place }}
{{ end -}}
- name: {{ kindIs "map" $secret | ternary (get (kindIs "map" $secret | ternary $secret dict) "name") $secret }}
{{- end }}
{{- end }}

{{/* The Service that resolves to each replica. */}}
{{- define "productlane-gateway.headless" -}}
{{- include "productlane-gateway.fullname" . }}-headless
{{- end }}

{{- define "productlane-gateway.servicePort" -}}
{{- default (ternary 443 80 (ne .Values.tls.existingSecret "")) .Values.service.portNumber }}
{{- end }}
