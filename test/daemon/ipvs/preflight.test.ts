// What the preflight of ipvs mode finds missing, what it loads for that, and how it says so.

import { describe, expect, it, test } from 'vitest';
import { ipvsSysctls, setIpvsSysctls } from '../../../src/daemon/ipvs/ipvs-sysctls.ts';
import {
  findMissingSupport,
  missingSupportError,
  type PreflightProbes,
} from '../../../src/daemon/ipvs/preflight.ts';
import { KernelError } from '../../../src/errors.ts';

/** A kernel that lacks some modules, of which modprobe can load some. */
class Kernel implements PreflightProbes {
  readonly #lacks: Set<string>;
  readonly #loadable: ReadonlySet<string>;
  /** In the order of the calls. */
  readonly loaded: string[] = [];

  constructor(lacks: readonly string[], loadable: readonly string[] = []) {
    this.#lacks = new Set(lacks);
    this.#loadable = new Set(loadable);
  }

  ipvs = () => this.#probe('ip_vs');
  scheduler = (name: string) => this.#probe(`ip_vs_${name}`);
  dummyDevice = () => this.#probe('dummy');
  nftables = () => this.#probe('nf_tables');
  connectionTracking = () => this.#probe('nf_conntrack');

  load = async (module: string): Promise<string | undefined> => {
    this.loaded.push(module);
    if (this.#loadable.has(module)) {
      this.#lacks.delete(module);
      return undefined;
    }
    return `module ${module} not found`;
  };

  async #probe(module: string): Promise<void> {
    if (this.#lacks.has(module)) throw new KernelError('ENOENT', 2, `probe ${module}`);
  }
}

const missingOf = (kernel: Kernel, schedulers: readonly string[]) =>
  findMissingSupport(schedulers, kernel, kernel.load);

describe('findMissingSupport', () => {
  it('finds nothing, and loads nothing, where all is there', async () => {
    const kernel = new Kernel([]);
    expect(await missingOf(kernel, ['rr', 'mh'])).toEqual([]);
    expect(kernel.loaded).toEqual([]);
  });

  it('loads what can be loaded', async () => {
    const modules = ['ip_vs', 'ip_vs_wlc', 'dummy', 'nf_tables', 'nf_conntrack'];
    const kernel = new Kernel(modules, modules);
    expect(await missingOf(kernel, ['rr', 'wlc'])).toEqual([]);
    expect(kernel.loaded).toEqual(modules);
  });

  it('tells all that is missing in one error, with the command that would load it', async () => {
    const kernel = new Kernel(['ip_vs_wlc', 'dummy'], []);
    const error = missingSupportError(await missingOf(kernel, ['rr', 'wlc']));
    expect(error.code).toBe('IPVS_MISSING');
    expect(error.message).toBe(
      'ipvs mode cannot run: the kernel lacks ' +
        'the IPVS scheduler wlc (probe ip_vs_wlc: ENOENT; modprobe: module ip_vs_wlc not found), ' +
        'dummy devices (probe dummy: ENOENT; modprobe: module dummy not found). ' +
        'On this host, as root: modprobe -a ip_vs_wlc dummy',
    );
  });

  it('asks for no scheduler without IPVS', async () => {
    const kernel = new Kernel(['ip_vs', 'ip_vs_wlc']);
    expect((await missingOf(kernel, ['wlc'])).map(({ what }) => what)).toEqual(['IPVS']);
    expect(kernel.loaded).toEqual(['ip_vs']);
  });

  it('passes no name to modprobe that is not one of the kernel', async () => {
    const name = 'rr --config=/tmp/evil';
    const kernel = new Kernel([`ip_vs_${name}`]);
    const missing = await missingOf(kernel, [name]);
    expect(missing).toMatchObject([{ what: `the IPVS scheduler ${name}`, module: undefined }]);
    expect(kernel.loaded).toEqual([]);
    expect(missingSupportError(missing).message).not.toContain('modprobe');
  });

  it('does not guess without privilege', async () => {
    const kernel = new Kernel([]);
    kernel.dummyDevice = () => Promise.reject(new KernelError('EPERM', 1, 'make device'));
    await expect(missingOf(kernel, ['rr'])).rejects.toMatchObject({ code: 'EPERM' });
  });
});

describe('sysctls', () => {
  const namesFor = (kernelRelease: string, strictArp = false) =>
    ipvsSysctls({ kernelRelease, strictArp }).map(({ name, value }) => `${name}=${value}`);
  const always = [
    'net/ipv4/vs/conntrack=1',
    'net/ipv4/vs/expire_nodest_conn=1',
    'net/ipv4/vs/expire_quiescent_template=1',
    'net/ipv4/ip_forward=1',
  ];

  test.each([
    ['4.19.0-27-amd64', true],
    ['5.8.18', true],
    ['5.9.0', false],
    ['5.10.0-30-amd64', false],
    ['6.1.0-56-amd64', false],
  ])('Linux %s: conn_reuse_mode is set: %s', (release, isSet) => {
    expect(namesFor(release)).toEqual([...always, ...(isSet ? ['net/ipv4/vs/conn_reuse_mode=0'] : [])]);
  });

  it('keeps virtual IPs out of ARP only when asked to', () => {
    expect(namesFor('6.1', true)).toEqual([
      ...always,
      'net/ipv4/conf/all/arp_ignore=1',
      'net/ipv4/conf/all/arp_announce=2',
    ]);
  });

  it('sets each of them, and stops at one that cannot be', () => {
    const written: string[] = [];
    setIpvsSysctls({ kernelRelease: '6.1', strictArp: false }, (name, value) =>
      written.push(`${name}=${value}`),
    );
    expect(written).toEqual(always);
    const refuse = (name: string) => {
      if (name.endsWith('nodest_conn')) throw new KernelError('EROFS', 30, `set sysctl ${name}`);
    };
    expect(() => setIpvsSysctls({ kernelRelease: '6.1', strictArp: false }, refuse)).toThrow(/nodest_conn/);
  });
});
