{{/* gateway.yaml, and what the rest of the chart has to know of it. */}}

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
{{- $_ := set $config "routes" (default (list (dict "path" "/**" "keys" (keys .Values.keys | sortAlpha))) .Values.routes) }}
{{- $_ := set $config "policies" "/etc/gateway-policies" }}
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

{{/* Stops a release that could not start, with what to do. */}}
{{- define "productlane-gateway.check" -}}
{{- if not .Values.keys }}
{{- fail "\n\nkeys: name an upstream key and the Secret that holds it, as in\n  keys: {main: {existingSecret: productlane-key}}\n" }}
{{- end }}
{{- if not (or .Values.policies .Values.policyConfigMaps) }}
{{- fail "\n\npolicies: without one nothing is allowed to anybody; give `policies` or `policyConfigMaps`\n" }}
{{- end }}
{{- range $caller, $policy := .Values.policies }}
{{- if hasSuffix ".cases" $caller }}
{{- fail (printf "\n\npolicies.%s: a file *.cases.yaml is not read as a policy; call the caller something else\n" $caller) }}
{{- end }}
{{- end }}
{{- if not .Values.existingConfig }}
{{- range $place, $route := .Values.routes }}
{{- range $route.keys }}
{{- if not (hasKey $.Values.keys .) }}
{{- fail (printf "\n\nroutes[%d].keys: no key is called %s; `keys` has %s\n" $place . (keys $.Values.keys | sortAlpha | join ", ")) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $caller, $policy := .Values.policies }}
{{- if and (default dict $policy.authenticate).anonymous (not $.Values.config.dangerously_allow_anonymous) }}
{{- fail (printf "\n\npolicies.%s: anonymous here is whoever reaches the Service; let callers authenticate, or take config.dangerously_allow_anonymous\n" $caller) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
{{- fail "\n\nmetrics: a ServiceMonitor and a PodMonitor together would scrape every pod twice; enable one\n" }}
{{- end }}
{{- if and .Values.tls.clientCA (not .Values.tls.existingSecret) }}
{{- fail "\n\ntls.clientCA: client certificates need tls.existingSecret\n" }}
{{- end }}
{{- end }}

{{/* Seconds of a duration such as 500ms, 5s, 2m, 1h; a part of a second is a whole one. */}}
{{- define "productlane-gateway.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int }}
{{- $unit := regexFind "[a-z]+$" . }}
{{- if eq $unit "ms" }}{{ div (add $number 999) 1000 }}{{ else }}{{ mul $number (get (dict "s" 1 "m" 60 "h" 3600) $unit) }}{{ end }}
{{- end }}

{{- define "productlane-gateway.gracePeriod" -}}
{{- $drain := default dict .Values.config.drain }}
{{- $delay := include "productlane-gateway.seconds" (default "3s" $drain.delay) | int }}
{{- $timeout := include "productlane-gateway.seconds" (default "30s" $drain.timeout) | int }}
{{- default (add $delay $timeout 7) .Values.terminationGracePeriodSeconds }}
{{- end }}

{{/* "true" where the API server is asked for the keys that sign service-account tokens. */}}
{{- define "productlane-gateway.asksAPIServer" -}}
{{- with (default dict .Values.config.callers).kubernetes }}{{ not .jwks }}{{ end }}
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
