{{/*
The native sidecar, for a pod of another chart. That chart has this one as a dependency with `enabled: false`:

  initContainers:
    {{- include "productlane-gateway.sidecar.container" (index .Subcharts "productlane-gateway") | nindent 4 }}
  volumes:
    {{- include "productlane-gateway.sidecar.volumes" (index .Subcharts "productlane-gateway") | nindent 4 }}

The settings are the values under `productlane-gateway.sidecar` of that chart. The pod needs an `fsGroup`, so that the
gateway may read the Secret.
*/}}
{{- define "productlane-gateway.sidecar.container" -}}
{{- $sidecar := .Values.sidecar }}
{{- if not $sidecar.existingSecret }}
{{- fail "\n\nsidecar.existingSecret: name the Secret that holds the app's key\n" }}
{{- end }}
{{- if not $sidecar.scopes }}
{{- fail "\n\nsidecar.scopes: name the scopes that the app may use; there is no default\n" }}
{{- end -}}
# A native sidecar: an init container that keeps running. It is ready before the app starts, and stops after the app.
- name: productlane-gateway
  image: {{ include "productlane-gateway.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  restartPolicy: Always
  terminationMessagePolicy: FallbackToLogsOnError
  args: [serve]
  env:
    - name: PRODUCTLANE_KEY
      value: file:/run/secrets/productlane/{{ $sidecar.existingSecretKey }}
    - name: PRODUCTLANE_SCOPES
      value: {{ join " " $sidecar.scopes | quote }}
    - name: PRODUCTLANE_GATEWAY_LISTEN
      value: {{ ternary "unix:/run/productlane/gateway.sock" (printf "127.0.0.1:%v" $sidecar.port) $sidecar.unixSocket }}
    # The kubelet and Prometheus use the address of the pod. Traffic stays inside the pod.
    - name: PRODUCTLANE_GATEWAY_ADMIN
      value: {{ printf "%s:%v" .Values.listenAddress $sidecar.metricsPort | quote }}
    {{- with $sidecar.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  ports:
    - name: gateway-metrics
      containerPort: {{ $sidecar.metricsPort }}
  startupProbe:
    {{- include "productlane-gateway.probe" (list .Values.startupProbe "/readyz" $sidecar.metricsPort) | nindent 4 }}
  readinessProbe:
    {{- include "productlane-gateway.probe" (list .Values.readinessProbe "/readyz" $sidecar.metricsPort) | nindent 4 }}
  livenessProbe:
    {{- include "productlane-gateway.probe" (list .Values.livenessProbe "/livez" $sidecar.metricsPort) | nindent 4 }}
  resources:
    {{- toYaml $sidecar.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  volumeMounts:
    - name: productlane-key
      mountPath: /run/secrets/productlane
      readOnly: true
    {{- if $sidecar.unixSocket }}
    - name: productlane-socket
      mountPath: /run/productlane
    {{- end }}
{{- end }}

{{- define "productlane-gateway.sidecar.volumes" -}}
- name: productlane-key
  secret:
    secretName: {{ .Values.sidecar.existingSecret }}
    defaultMode: 0440
{{- if .Values.sidecar.unixSocket }}
# The app mounts it as well, at /run/productlane.
- name: productlane-socket
  emptyDir:
    medium: Memory
    sizeLimit: 1Mi
{{- end }}
{{- end }}
