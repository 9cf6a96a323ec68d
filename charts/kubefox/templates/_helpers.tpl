{{- define "kubefox.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kubefox.image" -}}
{{- include "kubefox.imageOf" (dict "image" .Values.image "tag" .Chart.AppVersion) -}}
{{- end -}}

{{/* The name of an image. Arguments: image, and the tag if it names none. */}}
{{- define "kubefox.imageOf" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .tag .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Labels of a part. Arguments: root, role. */}}
{{- define "kubefox.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end -}}

{{- define "kubefox.labels" -}}
{{ include "kubefox.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "kubefox.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (printf "%s-pods" (include "kubefox.fullname" .)) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is required if serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "kubefox.natsUrl" -}}
{{- if .Values.nats.url -}}
{{- .Values.nats.url -}}
{{- else if .Values.nats.server.enabled -}}
{{- $name := printf "%s-nats" (include "kubefox.fullname" .) -}}
{{- $port := .Values.nats.server.port -}}
{{- $urls := list -}}
{{- range $index := until (int .Values.nats.server.replicas) -}}
{{- $urls = append $urls (printf "nats://%s-%d.%s:%v" $name $index $name $port) -}}
{{- end -}}
{{- join "," $urls -}}
{{- else -}}
{{- required "nats.url is required: the addresses of your NATS servers, or set nats.server.enabled" .Values.nats.url -}}
{{- end -}}
{{- end -}}

{{/* The ports of the NATS servers, as a list in JSON. */}}
{{- define "kubefox.natsPorts" -}}
{{- $ports := list -}}
{{- range splitList "," (include "kubefox.natsUrl" .) -}}
{{- $port := . | trimSuffix "/" | regexFind ":[0-9]+$" | trimPrefix ":" -}}
{{- $ports = append $ports (int (default "4222" $port)) -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* Values of environments must not come from the Secrets of the platform itself. */}}
{{- define "kubefox.checkSecrets" -}}
{{- $monitor := .Values.metrics.serviceMonitor -}}
{{- $own := list .Values.keys.secret .Values.nats.secret .Values.nats.server.secret .Values.control.tls.secret $monitor.tokenSecret -}}
{{- range .Values.image.pullSecrets -}}
{{- $own = append $own .name -}}
{{- end -}}
{{- range .Values.customResources.secrets -}}
{{- if has . $own -}}
{{- fail (printf "customResources.secrets has %s, a Secret of the platform itself: name Secrets with values of environments only" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A value of a setting as a text: a whole number without an exponent. */}}
{{- define "kubefox.text" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- int64 . -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* The restricted Pod Security Standard. */}}
{{- define "kubefox.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "kubefox.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where pods run: spread over nodes. Arguments: root, role. */}}
{{- define "kubefox.placement" -}}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "kubefox.selector" . | nindent 8 }}
{{- end -}}
