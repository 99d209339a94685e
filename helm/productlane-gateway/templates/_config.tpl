{{/* gateway.yaml, and what the rest of the chart reads from it. */}}

{{- define "productlane-gateway.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $_ := set $config "listen" (printf "%s:%v" .Values.listenAddress .Values.containerPorts.http) }}
{{- $_ := set $config "admin" (printf "%s:%v" .Values.listenAddress .Values.containerPorts.metrics) }}
{{- $keys := dict }}
{{- range $name, $key := .Values.keys }}
{{- $sources := $key.secrets }}
{{- if $key.existingSecret }}
{{- $sources = list }}
{{- range default (list "current" "previous") $key.secretKeys }}
{{- $sources = append $sources (printf "file:/run/secrets/%s/%s" $name .) }}
{{- end }}
{{- end }}
{{- $entry := dict "secrets" $sources }}
{{- with $key.workspace }}
{{- $_ := set $entry "workspace" . }}
{{- end }}
{{- $_ := set $keys $name $entry }}
{{- end }}
{{- $_ := set $config "keys" $keys }}
{{- $_ := set $config "routes" (default (list (dict "path" "/**" "keys" (keys (default dict .Values.keys) | sortAlpha))) .Values.routes) }}
{{- $_ := set $config "policies" "/etc/gateway-policies" }}
{{- with (default dict $config.callers).kubernetes }}
{{- $_ := set . "cluster_domain" (default $.Values.clusterDomain .cluster_domain) }}
{{- end }}
{{- if .Values.tls.existingSecret }}
{{- $tls := dict "certificate" "/run/secrets-tls/tls.crt" "private_key" "/run/secrets-tls/tls.key" }}
{{- if .Values.tls.clientCA }}
{{- $_ := set $tls "client_ca" "/run/secrets-tls/ca.crt" }}
{{- end }}
{{- $_ := set $config "tls" $tls }}
{{- end }}
{{- if not .Values.store.existingSecret }}
{{- $_ := set $config "store" .Values.store.url }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* The policy files: entries of a ConfigMap. */}}
{{- define "productlane-gateway.policies" -}}
{{- range $caller, $policy := .Values.policies }}
{{ $caller }}.yaml: |
  caller: {{ $caller | quote }}
  {{- toYaml $policy | nindent 2 }}
{{- end }}
{{- end }}

{{/* A digest of the settings that a process reads once, at its start. Pods are replaced when it changes. */}}
{{- define "productlane-gateway.processSettings" -}}
{{- pick (include "productlane-gateway.config" . | fromYaml) "listen" "admin" "tls" "store" "redis" "log" | toJson | sha256sum }}
{{- end }}

{{/* Seconds of a duration such as 500ms, 5s, 2m, 1h, 30d, rounded up. */}}
{{- define "productlane-gateway.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- if eq $unit "ms" }}{{ div (add $number 999) 1000 }}{{ else }}{{ mul $number (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit) }}{{ end }}
{{- end }}

{{- define "productlane-gateway.gracePeriod" -}}
{{- $drain := default dict .Values.config.drain }}
{{- $delay := include "productlane-gateway.seconds" (default "3s" $drain.delay) | int }}
{{- $timeout := include "productlane-gateway.seconds" (default "30s" $drain.timeout) | int }}
{{- default (add $delay $timeout 7) .Values.terminationGracePeriodSeconds }}
{{- end }}

{{/*
"true" if the gateway asks the API server for the keys of service-account tokens. Only then may it have a token for the
API server. The issuer's whole name has to be that of the API server; an issuer elsewhere is asked without a token.
*/}}
{{- define "productlane-gateway.asksAPIServer" -}}
{{- if not (kindIs "invalid" .Values.serviceAccount.mountToken) }}
{{- .Values.serviceAccount.mountToken }}
{{- else if not .Values.existingConfig }}
{{- with (default dict .Values.config.callers).kubernetes }}
{{- $host := regexReplaceAll ":[0-9]+$" (urlParse .issuer).host "" }}
{{- and (not .jwks) (has $host (list "kubernetes.default.svc" (printf "kubernetes.default.svc.%s" (default $.Values.clusterDomain .cluster_domain)))) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "productlane-gateway.usesRedis" -}}
{{- or (ne .Values.store.existingSecret "") (regexMatch "^rediss?://" .Values.store.url) }}
{{- end }}

{{- define "productlane-gateway.upstreamPort" -}}
{{- $url := urlParse (default "https://productlane.com/api/v2" (default dict .Values.config.upstream).url) }}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) }}
{{- default (default (ternary 80 443 (eq $url.scheme "http")) $port) .Values.networkPolicy.egress.upstream.port }}
{{- end }}

{{- define "productlane-gateway.redisPort" -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" (urlParse .Values.store.url).host) }}
{{- default (default 6379 $port) .Values.networkPolicy.egress.redis.port }}
{{- end }}
