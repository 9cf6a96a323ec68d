{{/* The Deployment of a part of the platform. Arguments: root, role, env, ports, mounts, volumes. */}}
{{- define "kubefox.part" -}}
{{- $root := .root -}}
{{- $part := index $root.Values .role -}}
{{- $account := "" -}}
{{- if eq .role "pods" -}}
{{- $account = include "kubefox.serviceAccount" $root -}}
{{- else if and (eq .role "control") $root.Values.customResources.enabled -}}
{{- $account = printf "%s-control" (include "kubefox.fullname" $root) -}}
{{- end -}}
{{- $preStop := int (default 0 $part.preStopSeconds) -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "kubefox.fullname" $root }}-{{ .role }}
  labels: {{- include "kubefox.labels" . | nindent 4 }}
spec:
  {{- if not (and $part.autoscaling $part.autoscaling.enabled) }}
  replicas: {{ $part.replicas }}
  {{- end }}
  revisionHistoryLimit: 3
  selector:
    matchLabels: {{- include "kubefox.selector" . | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  template:
    metadata:
      labels: {{- include "kubefox.labels" . | nindent 8 }}
      {{- with $root.Values.podAnnotations }}
      annotations: {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      {{- with $account }}
      serviceAccountName: {{ . }}
      {{- end }}
      automountServiceAccountToken: {{ ne $account "" }}
      enableServiceLinks: false
      # The pre-stop hook, the drain, and the requests of idle connections after it.
      terminationGracePeriodSeconds: {{ add $preStop $root.Values.drainSeconds 15 }}
      securityContext: {{- include "kubefox.podSecurity" . | nindent 8 }}
      {{- include "kubefox.placement" . | nindent 6 }}
      containers:
        - name: {{ .role }}
          image: {{ include "kubefox.image" $root | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: [fox, serve, {{ .role }}]
          env:
            - name: POD_IP
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            {{- include "kubefox.environment" . | nindent 12 }}
          ports:
            - {name: health, containerPort: {{ $root.Values.health.port }}}
            {{- with .ports }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          startupProbe:
            httpGet: {path: /healthz, port: health}
            periodSeconds: 1
            timeoutSeconds: 5
            failureThreshold: 120
          readinessProbe:
            httpGet: {path: /readyz, port: health}
            periodSeconds: 2
            timeoutSeconds: 5
            failureThreshold: 2
          livenessProbe:
            httpGet: {path: /healthz, port: health}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          {{- if $preStop }}
          lifecycle:
            preStop:
              exec: {command: [sleep, {{ $preStop | quote }}]}
          {{- end }}
          resources: {{- toYaml $part.resources | nindent 12 }}
          securityContext: {{- include "kubefox.containerSecurity" . | nindent 12 }}
          volumeMounts:
            - {name: data, mountPath: /var/lib/kubefox}
            - {name: work, mountPath: /tmp}
            - {name: keys, mountPath: /etc/kubefox/keys, readOnly: true}
            - {name: nats, mountPath: /etc/kubefox/nats, readOnly: true}
            {{- with .mounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        - name: data
          emptyDir: {}
        - name: work
          emptyDir: {}
        - name: keys
          secret: {secretName: {{ $root.Values.keys.secret }}, defaultMode: 0400}
        - name: nats
          secret: {secretName: {{ $root.Values.nats.secret }}, defaultMode: 0400}
        {{- with .volumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end -}}

{{/* The variables of a part: those of the chart first, so that settings win. */}}
{{- define "kubefox.environment" -}}
{{- $root := .root -}}
{{- $part := index $root.Values .role -}}
{{- $own := dict
  "FOX_DATA_DIR" "/var/lib/kubefox"
  "FOX_NATS_URL" (include "kubefox.natsUrl" $root)
  "FOX_NATS_CREDENTIALS" "/etc/kubefox/nats/account.key"
  "FOX_KEY_FILE" "/etc/kubefox/keys/key-encryption-keys"
  "FOX_HEALTH_HOST" $root.Values.health.host
  "FOX_HEALTH_PORT" ($root.Values.health.port | toString)
  "FOX_DRAIN_S" ($root.Values.drainSeconds | toString)
  "FOX_LOG_FORMAT" "json"
  "HOME" "/tmp"
-}}
{{- $all := dict -}}
{{/* Not by merge, which takes false, 0 and an empty text as unset. */}}
{{- range list $own (default (dict) .env) $root.Values.settings $part.settings -}}
{{- range $name, $value := . -}}
{{- $_ := set $all $name (include "kubefox.text" $value) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := $all }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}
