// deploy/ against the API's schemas, and against the program: what it asks of the API server, its ports, flags and version.

import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import yaml from 'js-yaml';
import { describe, expect, test } from 'vitest';
import { COMMAND_FLAGS } from '../../src/cli/command-flags.ts';
import { SETTINGS_FLAGS } from '../../src/config/flags.ts';
import type { Settings } from '../../src/config/settings.ts';
import { NODE_EVENTS, resourcesOf } from '../../src/source/kubernetes/resources.ts';
import { run } from '../cli/run.ts';
import { build, buildText, type Manifest } from './kustomize.ts';
import { schemaProblems } from './schema.ts';

const DEPLOY = fileURLToPath(new URL('../../deploy/', import.meta.url));
const OVERLAYS = ['nftables', 'iptables', 'iptables-legacy', 'ipvs', 'userspace'];
const MONITORING = path.join(DEPLOY, 'monitoring');
const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly command?: readonly string[];
  readonly env?: readonly { name: string; valueFrom: { configMapKeyRef?: { name: string; key: string } } }[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly securityContext: {
    readonly privileged?: boolean;
    readonly allowPrivilegeEscalation?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly capabilities?: { readonly add: readonly string[]; readonly drop: readonly string[] };
    readonly seccompProfile?: { readonly type: string };
  };
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string } };
}

interface PodSpec {
  readonly containers: readonly [Container];
  readonly initContainers: readonly Container[];
  readonly volumes: readonly { readonly name: string; readonly hostPath?: { readonly path: string } }[];
  readonly serviceAccountName: string;
  readonly [field: string]: unknown;
}

const modeOf = (name: string) => name.replace('-legacy', '');

const overlay = (name: string) => build(path.join(DEPLOY, name));

const only = (objects: readonly Manifest[], kind: string, name = 'kproxy-ts'): Manifest => {
  const found = objects.filter((one) => one.kind === kind && one.metadata.name === name);
  expect(found).toHaveLength(1);
  return found[0]!;
};

function podOf(objects: readonly Manifest[]): PodSpec {
  const { spec } = only(objects, 'DaemonSet') as unknown as {
    spec: {
      selector: { matchLabels: unknown };
      template: { metadata: { labels: unknown }; spec: PodSpec };
    };
  };
  expect(spec.template.metadata.labels).toEqual(spec.selector.matchLabels);
  return spec.template.spec;
}

/** `list services`, with the group before the resource where it has one. */
function allowed(role: Manifest): string[] {
  const rules = role['rules'] as readonly Record<'apiGroups' | 'resources' | 'verbs', string[]>[];
  return rules
    .flatMap(({ apiGroups, resources, verbs, ...others }) => {
      expect(others).toEqual({});
      return apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${group}/${resource}`)),
      );
    })
    .sort();
}

test('every folder of deploy is an overlay, the base or the component', () => {
  const folders = readdirSync(DEPLOY, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map(({ name }) => name).sort()).toEqual([...OVERLAYS, 'base', 'monitoring'].sort());
});

describe.each(OVERLAYS)('%s', (name) => {
  const objects = overlay(name);
  const pod = podOf(objects);
  const [main] = pod.containers;
  const containers = [...pod.initContainers, ...pod.containers];

  test.each([[], [MONITORING]])('is what the API says it is', (...components) => {
    for (const object of build(path.join(DEPLOY, name), components)) {
      expect(schemaProblems(object), `${object.kind} ${object.metadata.name}`).toEqual([]);
    }
  });

  test('says where everything belongs', () => {
    for (const { kind, metadata } of objects) {
      const namespace = kind.startsWith('Cluster')
        ? undefined
        : kind.startsWith('Role')
          ? 'default'
          : 'kube-system';
      expect([kind, metadata.namespace]).toEqual([kind, namespace]);
    }
  });

  test('may do what the program asks for, and nothing else', () => {
    const asked = resourcesOf('node').flatMap(({ group, plural }) =>
      ['list', 'watch'].map((verb) => `${verb} ${group}/${plural}`),
    );
    expect(allowed(only(objects, 'ClusterRole'))).toEqual(asked.sort());
    const events = `${NODE_EVENTS.group}/${NODE_EVENTS.plural}`;
    const role = only(objects, 'Role', 'kproxy-ts-events');
    expect(role.metadata.namespace).toBe(NODE_EVENTS.namespace);
    expect(allowed(role)).toEqual([`create ${events}`, `patch ${events}`]);
    const account = only(objects, 'ServiceAccount').metadata;
    expect(pod.serviceAccountName).toBe(account.name);
    const bindings = objects.filter(({ kind }) => kind.endsWith('Binding'));
    expect(bindings).toHaveLength(2);
    for (const { kind, metadata, roleRef, subjects } of bindings) {
      expect(subjects).toEqual([
        { kind: 'ServiceAccount', name: account.name, namespace: account.namespace },
      ]);
      expect(roleRef).toEqual({
        apiGroup: 'rbac.authorization.k8s.io',
        kind: kind.replace('Binding', ''),
        name: metadata.name,
      });
    }
  });

  test('runs with one capability, on a root that it cannot write to', () => {
    const legacy = name === 'iptables-legacy' ? ['NET_RAW'] : [];
    expect(main.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN', ...legacy] },
      seccompProfile: { type: 'RuntimeDefault' },
    });
    for (const { securityContext } of containers) expect(securityContext.readOnlyRootFilesystem).toBe(true);
    const privileged = containers.filter(({ securityContext }) => securityContext.privileged === true);
    expect(privileged.map((one) => one.name)).toEqual(['sysctls']);
    expect(JSON.stringify(containers)).not.toMatch(/\/sh\b|"-c"/);
  });

  test('is there on every node, before anything that needs it', () => {
    expect(pod).toMatchObject({
      hostNetwork: true,
      dnsPolicy: 'Default',
      priorityClassName: 'system-node-critical',
      tolerations: [{ operator: 'Exists' }],
      nodeSelector: { 'kubernetes.io/os': 'linux' },
    });
  });

  test('has of the host what its mode needs', () => {
    const paths = pod.volumes.flatMap(({ hostPath }) => hostPath?.path ?? []);
    const needed: Record<string, string[]> = {
      'iptables-legacy': ['/run/xtables.lock'],
      ipvs: ['/lib/modules'],
    };
    expect(paths).toEqual(['/var/lib/kproxy-ts', ...(needed[name] ?? [])]);
    const volumes = new Set(pod.volumes.map((volume) => volume.name));
    const mounted = containers.flatMap(({ volumeMounts = [] }) => volumeMounts.map((mount) => mount.name));
    expect(new Set(mounted)).toEqual(volumes);
  });

  test('is probed where the program answers', () => {
    const ports = Object.fromEntries(main.ports!.map((port) => [port.name, port.containerPort]));
    expect(ports).toEqual({ health: 10256, metrics: 10249 });
    expect(SETTINGS_FLAGS['healthz-bind-address'].default).toBe('0.0.0.0:10256');
    expect(SETTINGS_FLAGS['metrics-bind-address'].default).toBe('127.0.0.1:10249');
    const probes = ['startup', 'liveness', 'readiness'].map((probe) => main[`${probe}Probe`]!.httpGet);
    expect(probes.map((probe) => probe.port)).toEqual(['health', 'health', 'health']);
    expect(probes.map((probe) => probe.path)).toEqual(['/livez', '/livez', '/readyz']);
  });

  test('runs images of this version, the one with tools only where tools are needed', () => {
    const images = containers.map(({ name: container, image }) => [container, image]);
    const tools = `kproxy-ts-tools:${version}`;
    const program = name === 'iptables-legacy' ? tools : `kproxy-ts:${version}`;
    expect(images).toEqual([
      ...(name === 'ipvs' ? [['modules', tools]] : []),
      ['sysctls', program],
      ['kproxy-ts', program],
    ]);
  });

  test('takes from the ConfigMap what is there', () => {
    const { data } = only(objects, 'ConfigMap') as unknown as { data: Record<string, string> };
    const keys = containers.flatMap(({ env = [] }) =>
      env.flatMap(({ valueFrom }) => valueFrom.configMapKeyRef?.key ?? []),
    );
    expect(new Set(keys)).toEqual(new Set(Object.keys(data).filter((key) => key !== 'config.conf')));
    const mount = main.volumeMounts!.find((one) => one.name === 'config')!;
    const state = main.volumeMounts!.find((one) => one.name === 'state')!;
    expect(main.args!.slice(0, 3)).toEqual([
      `--config=${mount.mountPath}/config.conf`,
      '--hostname-override=$(NODE_NAME)',
      `--state-dir=${state.mountPath}`,
    ]);
    expect(yaml.load(data['config.conf']!)).toMatchObject({
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
    });
  });

  test('asks for its mode', () => {
    const { data } = only(objects, 'ConfigMap') as unknown as { data: Record<string, string> };
    const inFile = (yaml.load(data['config.conf']!) as { mode: string }).mode;
    const asked = main.args!.findLast((arg) => arg.startsWith('--proxy-mode='));
    expect(asked?.replace('--proxy-mode=', '') ?? inFile).toBe(modeOf(name));
  });
});

describe('flags', () => {
  const flags: Record<string, unknown> = COMMAND_FLAGS.run;
  const used = [...OVERLAYS.map((name) => build(path.join(DEPLOY, name), [MONITORING]))]
    .flatMap((objects) => [...podOf(objects).initContainers, ...podOf(objects).containers])
    .flatMap(({ args = [] }) => args.map((arg) => /^--([^=]+)/.exec(arg)![1]!));

  test('are all of the program', () => {
    const known = [...Object.keys(flags), 'config', 'state-dir'];
    expect([...new Set(used)].filter((flag) => !known.includes(flag))).toEqual([]);
  });
});

test('the overlay that the docs show is one, and says where the API server is', () => {
  const docs = readFileSync(new URL('../../docs/replace-kube-proxy.md', import.meta.url), 'utf8');
  const [, text = ''] = /```yaml\n(.*?)```/s.exec(docs) ?? [];
  const beside = text.replaceAll('kproxy-ts/deploy', '.').replace('# components:', 'components:');
  const objects = buildText(beside, DEPLOY);
  expect(only(objects, 'ConfigMap')['data']).toMatchObject({ 'api-server-host': '192.168.50.2' });
  expect(objects.map(({ kind }) => kind)).toContain('PodMonitor');
});

test.each(OVERLAYS)('%s: the program takes its arguments and its configuration', async (name) => {
  const objects = build(path.join(DEPLOY, name), [MONITORING]);
  const { data } = only(objects, 'ConfigMap') as unknown as { data: Record<string, string> };
  const folder = mkdtempSync(path.join(tmpdir(), 'kproxy-deploy-'));
  try {
    writeFileSync(path.join(folder, 'config.conf'), data['config.conf']!);
    const args = podOf(objects).containers[0].args!.map((arg) =>
      arg.replace('/etc/kproxy-ts', folder).replace('$(NODE_NAME)', 'node-1'),
    );
    let wanted: Settings | undefined;
    const { stderr } = await run(args, {
      runDaemon: async (settings) => {
        wanted = settings;
        return 0;
      },
    });
    expect(stderr).toBe('');
    expect(wanted).toMatchObject({ nodeName: 'node-1', proxyMode: modeOf(name) });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('init containers', () => {
  test.each(OVERLAYS)('%s: the node is set up with the flags of the daemon', (name) => {
    const { initContainers, containers } = podOf(overlay(name));
    const { args: [first, ...flags] = [], volumeMounts } = initContainers.find(
      (one) => one.name === 'sysctls',
    )!;
    expect(first).toBe('--init-only');
    expect(flags).toEqual(containers[0].args!.filter((arg) => !arg.startsWith('--state-dir')));
    expect(containers[0].volumeMounts).toEqual(expect.arrayContaining([...volumeMounts!]));
  });

  test('run programs of the image with tools', () => {
    const dockerfile = readFileSync(path.join(DEPLOY, 'Dockerfile'), 'utf8');
    const packages: Record<string, string> = { modprobe: 'kmod' };
    const commands = OVERLAYS.flatMap((name) =>
      podOf(overlay(name)).initContainers.flatMap(({ command = [] }) => command.slice(0, 1)),
    );
    expect(commands).toEqual(['modprobe']);
    for (const command of commands) {
      expect(dockerfile).toMatch(new RegExp(`install .*\\b${packages[command]}\\b`));
    }
  });
});

describe('the schema check', () => {
  const object = only(overlay('nftables'), 'DaemonSet');
  const withSpec = (fields: object): string[] =>
    schemaProblems({ ...object, spec: { ...(object['spec'] as object), ...fields } } as Manifest);

  test('sees a misspelt field, a wrong type and a list that is none', () => {
    expect(withSpec({})).toEqual([]);
    expect(withSpec({ updateStrategie: {}, minReadySeconds: '3' })).toEqual([
      'DaemonSet.spec.updateStrategie: unknown field',
      'DaemonSet.spec.minReadySeconds: must be a number, is "3"',
    ]);
    expect(withSpec({ template: { spec: { tolerations: {} } } })).toEqual([
      'DaemonSet.spec.template.spec.tolerations: must be a list',
    ]);
    expect(schemaProblems({ apiVersion: 'v2', kind: 'X' })).toEqual(['v2 X: unknown']);
  });
});
