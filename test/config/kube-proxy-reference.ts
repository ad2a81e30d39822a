// What kube-proxy 1.36 takes on Linux (cmd/kube-proxy/app/options.go, kube-proxy/config/v1alpha1/types.go): each flag with a valid value,
// each field with a valid value as JSON, and what a cluster installer writes.

/** Flags by name; an empty text stands for a value that is given as such. */
export const KUBE_PROXY_FLAGS: Readonly<Record<string, string>> = {
  config: '/no/such/file',
  'write-config-to': '',
  cleanup: 'false',
  'init-only': 'false',
  'feature-gates': 'AllowServiceExternalIPs=true',
  kubeconfig: '/etc/kubernetes/kube-proxy.conf',
  master: 'https://10.0.0.1:6443',
  'kube-api-content-type': 'application/vnd.kubernetes.protobuf',
  'kube-api-qps': '5.5',
  'kube-api-burst': '10',
  'hostname-override': 'node-1',
  'bind-address': '0.0.0.0',
  'healthz-bind-address': '0.0.0.0:10256',
  'metrics-bind-address': '127.0.0.1:10249',
  'healthz-port': '10256',
  'metrics-port': '10249',
  'bind-address-hard-fail': 'true',
  profiling: 'true',
  'show-hidden-metrics-for-version': '1.35',
  'proxy-mode': 'iptables',
  'iptables-masquerade-bit': '14',
  'masquerade-all': 'true',
  'iptables-localhost-nodeports': 'true',
  'iptables-sync-period': '30s',
  'iptables-min-sync-period': '1s',
  'ipvs-sync-period': '30s',
  'ipvs-min-sync-period': '1s',
  'ipvs-scheduler': 'rr',
  'ipvs-exclude-cidrs': '10.0.0.0/8,fd00::/8',
  'ipvs-strict-arp': 'true',
  'ipvs-tcp-timeout': '15m',
  'ipvs-tcpfin-timeout': '2m',
  'ipvs-udp-timeout': '5m',
  'detect-local-mode': 'ClusterCIDR',
  'cluster-cidr': '10.244.0.0/16,fd00:10:244::/56',
  'pod-bridge-interface': 'cni0',
  'pod-interface-name-prefix': 'veth',
  'nodeport-addresses': '10.0.0.0/8',
  'oom-score-adj': '-999',
  'conntrack-max-per-core': '32768',
  'conntrack-min': '131072',
  'conntrack-tcp-timeout-established': '24h0m0s',
  'conntrack-tcp-timeout-close-wait': '1h0m0s',
  'conntrack-tcp-be-liberal': 'true',
  'conntrack-udp-timeout': '30s',
  'conntrack-udp-timeout-stream': '2m',
  'config-sync-period': '15m0s',
  'logging-format': 'json',
  'log-flush-frequency': '5s',
  v: '2',
  vmodule: 'proxier=4,server*=2',
  'log-text-split-stream': 'false',
  'log-text-info-buffer-size': '64Ki',
  'log-json-split-stream': 'false',
  'log-json-info-buffer-size': '0',
  version: 'false',
  'boot-id-file': '/proc/sys/kernel/random/boot_id',
  'machine-id-file': '/etc/machine-id',
  'windows-service': 'false',
  'source-vip': '10.0.0.1',
  'network-name': 'cbr0',
  'enable-dsr': 'false',
  'root-hnsendpoint-name': 'cbr0',
  'forward-healthcheck-vip': 'false',
};

/** Fields by path. */
export const KUBE_PROXY_FIELDS: Readonly<Record<string, unknown>> = {
  featureGates: { AllowServiceExternalIPs: true },
  'clientConnection.kubeconfig': '/var/lib/kube-proxy/kubeconfig.conf',
  'clientConnection.acceptContentTypes': 'application/json',
  'clientConnection.contentType': 'application/vnd.kubernetes.protobuf',
  'clientConnection.qps': 5.5,
  'clientConnection.burst': 10,
  'logging.format': 'json',
  'logging.flushFrequency': '5s',
  'logging.verbosity': 2,
  'logging.vmodule': [{ filePattern: 'proxier', verbosity: 4 }],
  'logging.options.text.splitStream': true,
  'logging.options.text.infoBufferSize': '64Ki',
  'logging.options.json.splitStream': true,
  'logging.options.json.infoBufferSize': '0',
  hostnameOverride: 'node-1',
  bindAddress: '0.0.0.0',
  healthzBindAddress: '0.0.0.0:10256',
  metricsBindAddress: '127.0.0.1:10249',
  bindAddressHardFail: true,
  enableProfiling: true,
  showHiddenMetricsForVersion: '1.35',
  mode: 'iptables',
  'iptables.masqueradeBit': 14,
  'iptables.masqueradeAll': true,
  'iptables.localhostNodePorts': true,
  'iptables.syncPeriod': '30s',
  'iptables.minSyncPeriod': '1s',
  'ipvs.syncPeriod': '30s',
  'ipvs.minSyncPeriod': '1s',
  'ipvs.scheduler': 'rr',
  'ipvs.excludeCIDRs': ['10.0.0.0/8'],
  'ipvs.strictARP': true,
  'ipvs.tcpTimeout': '15m',
  'ipvs.tcpFinTimeout': '2m',
  'ipvs.udpTimeout': '5m',
  'nftables.masqueradeBit': 14,
  'nftables.masqueradeAll': true,
  'nftables.syncPeriod': '30s',
  'nftables.minSyncPeriod': '1s',
  'winkernel.networkName': 'x',
  'winkernel.sourceVip': '10.0.0.1',
  'winkernel.enableDSR': true,
  'winkernel.rootHnsEndpointName': 'cbr0',
  'winkernel.forwardHealthCheckVip': true,
  detectLocalMode: 'ClusterCIDR',
  'detectLocal.bridgeInterface': 'cni0',
  'detectLocal.interfaceNamePrefix': 'veth',
  clusterCIDR: '10.244.0.0/16,fd00:10:244::/56',
  nodePortAddresses: ['10.0.0.0/8'],
  oomScoreAdj: -999,
  'conntrack.maxPerCore': 32768,
  'conntrack.min': 131072,
  'conntrack.tcpEstablishedTimeout': '24h0m0s',
  'conntrack.tcpCloseWaitTimeout': '1h0m0s',
  'conntrack.tcpBeLiberal': true,
  'conntrack.udpTimeout': '30s',
  'conntrack.udpStreamTimeout': '2m',
  configSyncPeriod: '15m0s',
  portRange: '1-2',
  windowsRunAsService: true,
};

/** The form of what kubeadm puts into the ConfigMap kube-proxy: every field, nearly all of them with Go's zero value. */
export const KUBEADM_CONFIG = `
apiVersion: kubeproxy.config.k8s.io/v1alpha1
bindAddress: 0.0.0.0
bindAddressHardFail: false
clientConnection:
  acceptContentTypes: ""
  burst: 0
  contentType: ""
  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
  qps: 0
clusterCIDR: 10.244.0.0/16
configSyncPeriod: 0s
conntrack:
  maxPerCore: null
  min: null
  tcpBeLiberal: false
  tcpCloseWaitTimeout: null
  tcpEstablishedTimeout: null
  udpStreamTimeout: 0s
  udpTimeout: 0s
detectLocal:
  bridgeInterface: ""
  interfaceNamePrefix: ""
detectLocalMode: ""
enableProfiling: false
healthzBindAddress: ""
hostnameOverride: ""
iptables:
  localhostNodePorts: null
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
ipvs:
  excludeCIDRs: null
  minSyncPeriod: 0s
  scheduler: ""
  strictARP: false
  syncPeriod: 0s
  tcpFinTimeout: 0s
  tcpTimeout: 0s
  udpTimeout: 0s
kind: KubeProxyConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
metricsBindAddress: ""
mode: ""
nftables:
  masqueradeAll: false
  masqueradeBit: null
  minSyncPeriod: 0s
  syncPeriod: 0s
nodePortAddresses: null
oomScoreAdj: null
portRange: ""
showHiddenMetricsForVersion: ""
winkernel:
  enableDSR: false
  forwardHealthCheckVip: false
  networkName: ""
  rootHnsEndpointName: ""
  sourceVip: ""
`;
