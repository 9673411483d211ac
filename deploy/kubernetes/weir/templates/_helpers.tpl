{{- define "weir.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "weir.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "weir.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "weir.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "weir.selectorLabels" -}}
app.kubernetes.io/name: {{ include "weir.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "weir.labels" -}}
{{ include "weir.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "weir.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "weir.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "weir.image" -}}
{{- $repository := required "image.repository: name the registry and repository of weir's image" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- define "weir.configMapName" -}}
{{- default (include "weir.fullname" .) .Values.existingConfigMap -}}
{{- end -}}

{{/* The key of a file in the ConfigMap, where a key has no `/`. */}}
{{- define "weir.fileKey" -}}
{{- . | replace "/" "__" -}}
{{- end -}}

{{/* Whether there is a claim that only one pod can have, or "". */}}
{{- define "weir.claimOfOne" -}}
{{- if and (eq .Values.state.kind "claim") (not (has "ReadWriteMany" .Values.state.claim.accessModes)) -}}yes{{- end -}}
{{- end -}}

{{/* Whether there may be more than one replica, or "". */}}
{{- define "weir.many" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}yes{{- end -}}
{{- end -}}

{{/* Whether nobody gets past the handshake of the listener without a certificate, or "". */}}
{{- define "weir.wantsCertificates" -}}
{{- $listen := default dict .Values.config.listen -}}
{{- $auth := ternary $listen.auth dict (kindIs "map" $listen.auth) -}}
{{- if dig "client_certificates" "required" false $auth -}}yes{{- end -}}
{{- end -}}

{{/* Refuses values that contradict one another. */}}
{{- define "weir.check" -}}
{{- $config := .Values.config -}}
{{- $listen := default dict $config.listen -}}
{{- if .Values.existingConfigMap -}}
{{- if or $config .Values.files -}}
{{- fail "existingConfigMap: leave out `config` and `files`, which the chart would not use" -}}
{{- end -}}
{{- else -}}
{{- if not (hasKey $listen "auth") -}}
{{- fail "config.listen.auth: write how callers log in, or `none` if something in front of weir authenticates them" -}}
{{- end -}}
{{- range $key, $value := dict "admin" "admin" "state" "state" "sealing_key" "sealingKeys" "sealing_keys" "sealingKeys" "instance" "instance" -}}
{{- if hasKey $config $key -}}
{{- fail (printf "config.%s: the chart writes it; set the value `%s`" $key $value) -}}
{{- end -}}
{{- end -}}
{{- range $key, $value := dict "address" "bindAddress" "drain" "drainSeconds" -}}
{{- if hasKey $listen $key -}}
{{- fail (printf "config.listen.%s: the chart writes it; set the value `%s`" $key $value) -}}
{{- end -}}
{{- end -}}
{{- if and (include "weir.wantsCertificates" .) (not .Values.admin.existingSecret) -}}
{{- fail "config.listen.auth.client_certificates.required: probes have no certificate; set `admin.existingSecret`, so that they ask the admin listener" -}}
{{- end -}}
{{- end -}}
{{- if .Values.peers.enabled -}}
{{- if and (not .Values.existingConfigMap) (not .Values.sealingKeys) -}}
{{- fail "sealingKeys: pods that forward to each other need the same one" -}}
{{- end -}}
{{- if hasKey (default dict $config.replicas) "peers" -}}
{{- fail "config.replicas.peers: the chart writes it with the value `peers.enabled`; leave one of them out" -}}
{{- end -}}
{{- end -}}
{{- if and (include "weir.many" .) (not .Values.existingConfigMap) (not .Values.sealingKeys) -}}
{{- fail "sealingKeys: replicas need the same one, or each refuses the sessions of the others" -}}
{{- end -}}
{{- if and (include "weir.many" .) (include "weir.claimOfOne" .) -}}
{{- fail "state.claim.accessModes: more than one replica needs ReadWriteMany, or `state.kind: emptyDir`" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (not .Values.autoscaling.cpu) (not .Values.autoscaling.memory) -}}
{{- fail "autoscaling: set `cpu` or `memory`" -}}
{{- end -}}
{{- if and (or .Values.serviceMonitor.enabled .Values.prometheusRule.enabled) (not .Values.admin.existingSecret) -}}
{{- fail "serviceMonitor, prometheusRule: set `admin.existingSecret`; without a token /metrics is on loopback of the pod only" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- fail "ingress.hosts: name at least one" -}}
{{- end -}}
{{- end -}}

{{/* The config: that of the values, and what the chart knows better. */}}
{{- define "weir.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $listen := default dict $config.listen -}}
{{- $_ := set $listen "address" (printf "%s:8000" .Values.bindAddress) -}}
{{- $_ := set $listen "drain" (printf "%ds" (int .Values.drainSeconds)) -}}
{{- $_ := set $config "version" 1 -}}
{{- $_ := set $config "listen" $listen -}}
{{- $_ := set $config "instance" (default (include "weir.fullname" .) .Values.instance) -}}
{{- if .Values.admin.existingSecret -}}
{{- $token := printf "/run/secrets/weir.admin/%s" .Values.admin.key -}}
{{- $_ := set $config "admin" (dict "address" (printf "%s:8001" .Values.bindAddress) "token" (dict "file" $token)) -}}
{{- else -}}
{{- $_ := set $config "admin" (dict "address" "127.0.0.1:8001") -}}
{{- end -}}
{{- if ne .Values.state.kind "none" -}}
{{- $_ := set $config "state" (dict "dir" "/var/lib/weir/state") -}}
{{- end -}}
{{- if .Values.sealingKeys -}}
{{- $keys := list -}}
{{- range $index, $key := .Values.sealingKeys -}}
{{- $keys = append $keys (dict "file" (printf "/run/secrets/weir.sealing/%d" $index)) -}}
{{- end -}}
{{- $_ := set $config "sealing_keys" $keys -}}
{{- end -}}
{{- if .Values.peers.enabled -}}
{{- $peer := printf "%s://%s-replicas:8000" (ternary "https" "http" (hasKey $listen "tls")) (include "weir.fullname" .) -}}
{{- $_ := set $config "replicas" (merge (dict "peers" (list $peer)) (default dict $config.replicas)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* What weir does not take over from a changed config without a restart: pods are replaced for it. */}}
{{- define "weir.fixed" -}}
{{- $config := fromYaml (include "weir.config" .) -}}
{{- $listen := $config.listen -}}
{{- $auth := ternary $listen.auth dict (kindIs "map" $listen.auth) -}}
{{- $fixed := dict "listen" (omit $listen "auth") "certificates" (dig "client_certificates" dict $auth) -}}
{{- toYaml (merge $fixed (pick $config "admin" "state" "sealing_keys" "instance" "replicas")) -}}
{{- end -}}
