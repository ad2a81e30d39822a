// The typed side of agent.mjs: real connections, made and served inside a network namespace by one long-lived process,
// so that thousands of requests cost no process start.

import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** SCTP takes a kernel that has it; most distributions' do. */
export type TrafficProtocol = 'tcp' | 'udp' | 'sctp';

/** What to dial. Each request is a new connection (UDP: a new socket, so a new flow). */
export interface Target {
  readonly protocol: TrafficProtocol;
  readonly host: string;
  readonly port: number;
  /** Longest wait for an answer; 2,000 by default. */
  readonly timeoutMs?: number;
  /** Address to dial from, one of the namespace; the kernel chooses unless given. */
  readonly localAddress?: string;
}

/**
 * `reset`: the connection was made, then broken. `unreachable`: no route, or an ICMP error other than port unreachable;
 * Linux does not tell a UDP socket of the latter, which times out.
 */
export type Outcome = 'reply' | 'refused' | 'reset' | 'timeout' | 'unreachable' | 'error';

/** How one request went. Server and peer are known when, and only when, there was a reply. */
export interface Reply {
  readonly outcome: Outcome;
  /** Name of the server that answered. */
  readonly server?: string;
  /** Address of the client as the server saw it. */
  readonly peer?: string;
  readonly peerPort?: number;
  /** System error code, when there was no reply. */
  readonly code?: string;
}

/** A reply and the time from dialling to the answer or failure. */
export type TimedReply = Reply & { readonly latencyMs: number };

/** What many requests came to. */
export interface Tally {
  readonly total: number;
  readonly outcomes: Readonly<Partial<Record<Outcome, number>>>;
  /** Replies by name of the server. */
  readonly servers: Readonly<Record<string, number>>;
  /** Replies by address of the client as the server saw it. */
  readonly peers: Readonly<Record<string, number>>;
  /** The first 100 requests without a reply; `atMs` is wall-clock time since the epoch. */
  readonly failures: readonly { readonly atMs: number; readonly outcome: Outcome }[];
  /** Of requests with a reply. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
}

/** How a held connection fared: the last outcome and server, the first reply, the number of times it was asked. */
export interface HoldReport extends Reply {
  readonly first: Reply;
  readonly asked: number;
}

/** The part of a namespace that an agent needs. */
interface Host {
  readonly name: string;
  spawn(argv: readonly string[]): ChildProcessWithoutNullStreams;
}

const AGENT = fileURLToPath(new URL('./agent.mjs', import.meta.url));

/** A traffic agent in one namespace. Ends with the namespace, or when this process does. */
/** Requests that go on until they are stopped. */
export interface Load {
  peek(): Promise<Tally>;
  stop(): Promise<Tally>;
}

/** A connection that is kept open. */
export interface Held {
  readonly first: Reply;
  release(how?: { readonly isReset: boolean }): Promise<HoldReport>;
}

export class Agent {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>();
  #lastId = 0;
  #stderr = '';

  private constructor(child: ChildProcessWithoutNullStreams, name: string) {
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { id, result, error } = JSON.parse(line) as { id: number; result: unknown; error?: string };
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) waiting?.resolve(result);
      else waiting?.reject(new Error(`agent in ${name}: ${error}`));
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    // A dead agent shows as the failure of its requests.
    child.stdin.on('error', () => undefined);
    child.on('close', () => {
      const error = new Error(`agent in ${name} ended\n${this.#stderr}`);
      for (const waiting of this.#waiting.values()) waiting.reject(error);
      this.#waiting.clear();
    });
  }

  static start(host: Host): Agent {
    return new Agent(host.spawn([process.execPath, AGENT]), host.name);
  }

  /**
   * Serves on every address, answering with `name`. Returns what stops it. A UDP server on a host with several
   * addresses of one family must bind one (`address`), or its answers may leave with another; an SCTP server always must.
   */
  async serve(server: {
    readonly protocol: TrafficProtocol;
    readonly port: number;
    readonly name: string;
    readonly address?: string;
    /** Over UDP, how long it takes to answer. */
    readonly delayMs?: number;
  }): Promise<() => Promise<void>> {
    const handle = await this.#request<number>('serve', server);
    return () => this.#request('unserve', { handle });
  }

  /** One request. */
  probe(target: Target): Promise<TimedReply> {
    return this.#request('probe', target);
  }

  /** `count` requests at once. */
  probes(target: Target, count: number): Promise<TimedReply[]> {
    return this.#request('probes', { ...target, count });
  }

  /** `count` requests, `concurrency` (10) at a time. */
  burst(target: Target & { readonly count: number; readonly concurrency?: number }): Promise<Tally> {
    return this.#request('burst', target);
  }

  /** Requests without end: `concurrency` (4) at a time, each followed by a pause of `pauseMs` (5). */
  async startLoad(
    target: Target & { readonly concurrency?: number; readonly pauseMs?: number },
  ): Promise<Load> {
    const handle = await this.#request<number>('startLoad', target);
    return {
      peek: () => this.#request('peekLoad', { handle }),
      stop: () => this.#request('stopLoad', { handle }),
    };
  }

  /**
   * One connection (not of SCTP) kept open and asked every `intervalMs` (50). Rejects when it cannot be made. `release` ends the pause,
   * asks once more and closes: by a reset if that is asked for.
   */
  async hold(target: Target & { readonly intervalMs?: number }): Promise<Held> {
    const { handle, first } = await this.#request<{ handle: number; first: Reply }>('hold', target);
    return { first, release: (how) => this.#request('release', { handle, ...how }) };
  }

  #request<T>(op: string, parameters: object): Promise<T> {
    const id = ++this.#lastId;
    return new Promise<T>((resolve, reject) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        reject(new Error(`agent has ended\n${this.#stderr}`));
        return;
      }
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#child.stdin.write(`${JSON.stringify({ id, op, ...parameters })}\n`);
    });
  }
}
