{{/* Mistakes in the values that the gateway would refuse: each stops Helm, with what to do. */}}

{{- define "productlane-gateway.check" -}}
{{- if not .Values.keys }}
{{- fail "\n\nkeys: name an upstream key and the Secret that holds it, such as\n  keys: {main: {existingSecret: productlane-key}}\n" }}
{{- end }}
{{- if not (or .Values.policies .Values.policyConfigMaps) }}
{{- fail "\n\npolicies: without a policy, no caller may do anything; set `policies` or `policyConfigMaps`\n" }}
{{- end }}
{{- if and .Values.tls.clientCA (not .Values.tls.existingSecret) }}
{{- fail "\n\ntls.clientCA: client certificates need tls.existingSecret\n" }}
{{- end }}
{{- include "productlane-gateway.checkPolicies" . }}
{{- if not .Values.existingConfig }}
{{- include "productlane-gateway.checkRoutes" . }}
{{- include "productlane-gateway.checkCredentials" . }}
{{- end }}
{{- include "productlane-gateway.checkReplicas" . }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
{{- fail "\n\nmetrics: a ServiceMonitor and a PodMonitor together scrape every pod twice; enable one\n" }}
{{- end }}
{{- end }}

{{/* Each token, service account, SPIFFE id and so on belongs to one caller. */}}
{{- define "productlane-gateway.checkPolicies" -}}
{{- $owners := dict }}
{{- range $caller, $policy := .Values.policies }}
{{- if hasSuffix ".cases" $caller }}
{{- fail (printf "\n\npolicies.%s: the gateway does not read *.cases.yaml as a policy; give the caller another name\n" $caller) }}
{{- end }}
{{- range $kind, $entries := default dict $policy.authenticate }}
{{- if kindIs "slice" $entries }}
{{- range $entries }}
{{- $claim := printf "%s %s" $kind (toJson .) }}
{{- if ne $caller (get $owners $claim | default $caller) }}
{{- fail (printf "\n\npolicies.%s.authenticate.%s: this entry also belongs to caller %s; one credential is one caller\n" $caller $kind (get $owners $claim)) }}
{{- end }}
{{- $_ := set $owners $claim $caller }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A route names keys and callers that exist. With `policyConfigMaps`, the chart does not know all callers. */}}
{{- define "productlane-gateway.checkRoutes" -}}
{{- range $place, $route := .Values.routes }}
{{- range $route.keys }}
{{- if not (hasKey $.Values.keys .) }}
{{- fail (printf "\n\nroutes[%d].keys: no key has the name %s; `keys` has %s\n" $place . (keys $.Values.keys | sortAlpha | join ", ")) }}
{{- end }}
{{- end }}
{{- range $route.callers }}
{{- if not (or $.Values.policyConfigMaps (hasKey (default dict $.Values.policies) .)) }}
{{- fail (printf "\n\nroutes[%d].callers: no policy for caller %s; `policies` has %s\n" $place . (keys (default dict $.Values.policies) | sortAlpha | join ", ")) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A kind of credential needs the setting that verifies it. */}}
{{- define "productlane-gateway.checkCredentials" -}}
{{- $callers := default dict .Values.config.callers }}
{{- $needed := dict
    "kubernetes" (ternary "" "config.callers.kubernetes" (hasKey $callers "kubernetes"))
    "oidc" (ternary "" "config.callers.oidc" (hasKey $callers "oidc"))
    "spiffe" (ternary "" "config.callers.trusted_spiffe_domain" (hasKey $callers "trusted_spiffe_domain"))
    "unix_uids" "a unix socket, which only a sidecar has" }}
{{- range $caller, $policy := .Values.policies }}
{{- range $kind, $entries := default dict $policy.authenticate }}
{{- $setting := get $needed $kind }}
{{- if and $entries $setting }}
{{- fail (printf "\n\npolicies.%s.authenticate.%s: needs %s\n" $caller $kind $setting) }}
{{- end }}
{{- end }}
{{- if and (default dict $policy.authenticate).anonymous (not $.Values.config.dangerously_allow_anonymous) }}
{{- fail (printf "\n\npolicies.%s: with `anonymous`, everyone who reaches the Service is this caller; let callers authenticate, or set config.dangerously_allow_anonymous\n" $caller) }}
{{- end }}
{{- end }}
{{- if and (hasKey $callers "trusted_spiffe_domain") (not .Values.tls.clientCA) }}
{{- fail "\n\nconfig.callers.trusted_spiffe_domain: client certificates need tls.clientCA\n" }}
{{- end }}
{{- if and .Values.tls.clientCA (not (hasKey $callers "trusted_spiffe_domain")) }}
{{- fail "\n\ntls.clientCA: name the trust domain of the certificates in config.callers.trusted_spiffe_domain\n" }}
{{- end }}
{{- end }}

{{/* The bounds of the autoscaler, and a budget that lets a node drain. */}}
{{- define "productlane-gateway.checkReplicas" -}}
{{- $auto := .Values.autoscaling }}
{{- if and $auto.enabled (gt (int $auto.minReplicas) (int $auto.maxReplicas)) }}
{{- fail (printf "\n\nautoscaling: minReplicas %v is more than maxReplicas %v\n" $auto.minReplicas $auto.maxReplicas) }}
{{- end }}
{{- if and $auto.enabled (not $auto.targetCPUUtilizationPercentage) (not $auto.targetMemoryUtilizationPercentage) (not $auto.metrics) }}
{{- fail "\n\nautoscaling: name a target; without one, the autoscaler never acts\n" }}
{{- end }}
{{- $budget := .Values.podDisruptionBudget }}
{{- $fewest := include "productlane-gateway.fewestReplicas" . | int }}
{{- if and $budget.enabled (gt $fewest 1) }}
{{- $stays := toString (default "" $budget.minAvailable) }}
{{- if or (eq $stays "100%") (and (regexMatch "^[0-9]+$" $stays) (ge (int $stays) $fewest)) }}
{{- fail (printf "\n\npodDisruptionBudget.minAvailable: %s of %d replicas must stay, so no node with one of them can be drained\n" $stays $fewest) }}
{{- end }}
{{- if and (kindIs "invalid" $budget.minAvailable) (has (toString $budget.maxUnavailable) (list "0" "0%" "<nil>")) }}
{{- fail "\n\npodDisruptionBudget.maxUnavailable: no pod may be away, so no node with one can be drained; use 1 or more\n" }}
{{- end }}
{{- end }}
{{- end }}
